/*
 * decide: what the access rules say, for many at once. A line `= NETWORK` is the only rule from then on; any other
 * is an address, and 1 (it may come) or 0 is written; an empty line sends what is decided. A word that cannot be
 * taken is `!`.
 */
#include <stdio.h>
#include <string.h>

#include "policy/access.h"

static void
quiet(void *arg, const char *text)
{
	(void)arg;
	(void)text;
}

int
main(void)
{
	struct rules only = { 0 };
	const struct rules none = { 0 };
	bool bad = true;
	char line[256];

	while (fgets(line, sizeof line, stdin) != NULL) {
		struct peer p = { .kind = PEER_IP };
		struct err err;

		line[strcspn(line, "\n")] = '\0';
		if (line[0] == '\0') {
			(void)fflush(stdout);
		} else if (line[0] == '=') {
			rules_free(&only);
			bad = rules_add(&only, line + 2, true, quiet, NULL, &err) == -1;
		} else {
			(void)putchar(bad || !ip_parse(line, &p.ip) ? '!' : access_allows(&only, &none, &p, NULL, NULL) ? '1' : '0');
		}
	}
	rules_free(&only);
	return fflush(stdout) == 0 ? 0 : 1;
}

#include "table/rpc.h"

#include <stdio.h>
#include <string.h>

#include "base/num.h"

bool
rpc_number(const char *name, uint32_t *number)
{
	char line[512];
	bool found = false;
	uint64_t n;
	FILE *f;

	if (num_parse(name, 0, UINT32_MAX, &n)) {
		*number = (uint32_t)n;
		return true;
	}
	f = fopen("/etc/rpc", "re");
	while (f != NULL && !found && fgets(line, sizeof line, f) != NULL) {
		const char *word[16];
		size_t words = 0;

		line[strcspn(line, "#\n")] = '\0';
		for (char *p = line; words < 16; words++) {
			p += strspn(p, " \t");
			if (*p == '\0')
				break;
			word[words] = p;
			p += strcspn(p, " \t");
			if (*p != '\0')
				*p++ = '\0';
		}
		if (words < 2 || !num_parse(word[1], 0, UINT32_MAX, &n))
			continue;
		for (size_t i = 0; i < words && !found; i++)
			found = i != 1 && strcmp(word[i], name) == 0;
	}
	if (f != NULL)
		(void)fclose(f);
	if (found)
		*number = (uint32_t)n;
	return found;
}

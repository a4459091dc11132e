#include "base/state.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void
state_begin(struct buf *b, const char *kind)
{
	buf_add(b, kind, strlen(kind));
}

void
state_end(struct buf *b)
{
	buf_add(b, "\n", 1);
}

void
state_number(struct buf *b, const char *name, int64_t n)
{
	if (n != 0)
		buf_addf(b, " %s=%" PRId64, name, n);
}

/* What is no printing character, and %, as %HH. */
void
state_text(struct buf *b, const char *name, const char *s)
{
	if (s == NULL)
		return;
	buf_addf(b, " %s=", name);
	for (; *s != '\0'; s++) {
		if (isgraph((unsigned char)*s) && *s != '%')
			buf_add(b, s, 1);
		else
			buf_addf(b, "%%%02x", (unsigned char)*s);
	}
}

void
state_bytes(struct buf *b, const char *name, const void *bytes, size_t len)
{
	const unsigned char *p = bytes;

	if (len == 0)
		return;
	buf_addf(b, " %s=", name);
	for (size_t i = 0; i < len; i++)
		buf_addf(b, "%02x", p[i]);
}

static int
digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void
unescape(char *s)
{
	char *to = s;

	for (; *s != '\0'; s++) {
		if (*s == '%' && digit(s[1]) >= 0 && digit(s[2]) >= 0) {
			*to++ = (char)(digit(s[1]) << 4 | digit(s[2]));
			s += 2;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* The next word of a line, cut off; NULL: there is none. */
static char *
next_word(char **at)
{
	char *word = *at + strspn(*at, " ");
	size_t n = strcspn(word, " ");

	*at = word + n;
	if (n == 0)
		return NULL;
	if (word[n] != '\0') {
		word[n] = '\0';
		++*at;
	}
	return word;
}

bool
state_next(char **at, struct fact *r)
{
	char *line = *at, *end = strchr(line, '\n'), *word;

	if (end == NULL)
		return false;
	*end = '\0';
	*at = end + 1;
	*r = (struct fact){ .kind = next_word(&line) };
	while (r->n < STATE_WORDS && (word = next_word(&line)) != NULL) {
		char *equals = strchr(word, '=');

		if (equals == NULL)
			continue;
		*equals = '\0';
		r->word[r->n].name = word;
		r->word[r->n].value = equals + 1;
		unescape(r->word[r->n++].value);
	}
	if (r->kind == NULL)
		r->kind = "";
	return true;
}

const char *
state_get_text(const struct fact *r, const char *name)
{
	for (size_t i = 0; i < r->n; i++)
		if (strcmp(r->word[i].name, name) == 0)
			return r->word[i].value;
	return NULL;
}

int64_t
state_get(const struct fact *r, const char *name, int64_t missing)
{
	const char *s = state_get_text(r, name);

	return s != NULL ? strtoll(s, NULL, 10) : missing;
}

bool
state_get_bytes(const struct fact *r, const char *name, void *out, size_t len)
{
	const char *s = state_get_text(r, name);
	unsigned char *to = out;

	if (s == NULL || strlen(s) != 2 * len)
		return false;
	for (size_t i = 0; i < len; i++) {
		int high = digit(s[2 * i]), low = digit(s[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		to[i] = (unsigned char)(high << 4 | low);
	}
	return true;
}

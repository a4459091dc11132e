#include "base/str.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool
blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

/* One word from *p to out; moves both. NULL: fine; else what is wrong. */
static const char *
take_word(const char **p, char **out, bool shell)
{
	const char *s = *p;
	char *o = *out, quote = 0;

	for (; *s != '\0' && (quote != 0 || !blank(*s)); s++) {
		if (quote != 0 ? *s == quote : *s == '"' || *s == '\'') {
			quote = quote != 0 ? 0 : *s;
			continue;
		}
		if (*s == '\\' && quote != '\'' && s[1] != '\0' &&
		    ((shell && quote == 0) || (quote == '"' && (s[1] == '"' || s[1] == '\\'))))
			s++;
		*o++ = *s;
	}
	*o++ = '\0';
	*p = s;
	*out = o;
	return quote == 0 ? NULL : quote == '"' ? "a \" is not closed" : "a ' is not closed";
}

char **
str_split(const char *text, bool shell, size_t *n, const char **why)
{
	size_t len = strlen(text), max = len / 2 + 2, count = 0;
	char **words = malloc(max * sizeof *words + len + max), *out;
	const char *p = text;

	*why = NULL;
	if (words == NULL)
		return NULL;
	out = (char *)(words + max);
	for (;;) {
		while (blank(*p))
			p++;
		if (*p == '\0')
			break;
		words[count++] = out;
		*why = take_word(&p, &out, shell);
		if (*why != NULL) {
			free(words);
			return NULL;
		}
	}
	words[count] = NULL;
	*n = count;
	return words;
}

size_t
str_escape(char *out, size_t size, const char *from, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)from[i];
		char e[4] = { '\\', 0, 0, 0 };
		size_t w = 2;

		if (c == '\\')
			e[1] = '\\';
		else if (c == '\n')
			e[1] = 'n';
		else if (c == '\r')
			e[1] = 'r';
		else if (c == '\t')
			e[1] = 't';
		else if (c >= 0x20 && c < 0x7f) {
			e[0] = (char)c;
			w = 1;
		} else {
			e[1] = 'x';
			e[2] = hex[c >> 4];
			e[3] = hex[c & 15];
			w = 4;
		}
		if (n + w >= size)
			break;
		memcpy(out + n, e, w);
		n += w;
	}
	if (size > 0)
		out[n] = '\0';
	return n;
}

size_t
str_utf8(const char *s, size_t len)
{
	const unsigned char *b = (const unsigned char *)s;
	/* What the second byte may be, so that nothing is written longer than it must, no surrogate. */
	unsigned char low = b[0] == 0xe0 ? 0xa0 : b[0] == 0xf0 ? 0x90 : 0x80;
	unsigned char high = b[0] == 0xed ? 0x9f : b[0] == 0xf4 ? 0x8f : 0xbf;
	size_t n = b[0] < 0x80 ? 1 : b[0] < 0xc2 ? 0 : b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : b[0] < 0xf5 ? 4 : 0;

	if (n > len || (n > 1 && (b[1] < low || b[1] > high)))
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((b[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

size_t
str_distance(const char *a, const char *b)
{
	enum { MAX = 40 };
	size_t la = strlen(a), lb = strlen(b);
	size_t d[3][MAX + 1];

	if (la > MAX || lb > MAX)
		return la > lb ? la : lb;
	for (size_t j = 0; j <= lb; j++)
		d[0][j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t *row = d[i % 3], *up = d[(i + 2) % 3], *upup = d[(i + 1) % 3];

		row[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			size_t best = up[j - 1] + (a[i - 1] != b[j - 1]);

			if (up[j] + 1 < best)
				best = up[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    upup[j - 2] + 1 < best)
				best = upup[j - 2] + 1;
			row[j] = best;
		}
	}
	return d[la % 3][lb];
}

bool
str_nearer(const char *word, const char *to, size_t *best)
{
	size_t n = strlen(word), m = strlen(to), d;

	if ((n > m ? n - m : m - n) > *best)
		return false;	/* so many letters at least */
	d = str_distance(word, to);
	if (d > *best)
		return false;
	*best = d - (d > 0);
	return true;
}

bool
str_listed(const char *text, const char *word)
{
	size_t n = strlen(word);

	if (strcasecmp(text, word) == 0)
		return true;
	for (const char *p = text;; p++) {
		if (strncasecmp(p, word, n) == 0 && (p[n] == '\0' || p[n] == ','))
			return true;
		p = strchr(p, ',');
		if (p == NULL)
			return false;
	}
}

const char *
str_basename(const char *path)
{
	const char *p = strrchr(path, '/');

	return p != NULL && p[1] != '\0' ? p + 1 : path;
}

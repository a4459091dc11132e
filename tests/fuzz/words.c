/*
 * fuzz: any text as a command line's words: split as a plain model splits it, by either way of quoting, and a
 * command that is printed reads back; any text escaped, whatever the room; as UTF-8; as an ident reply.
 */
#include <strings.h>

#include "base/str.h"
#include "serve/ident.h"
#include "table/attr.h"

#include "fuzz.h"
#include "quiet.h"

enum { WORDS = 1024 };

/* --- words */

static char *model_word[WORDS];
static size_t model_n;
static char model_text[1 << 16];

/* False: a quote is not closed. */
static bool
model_split(const char *s, bool shell)
{
	char *to = model_text, quote = 0;
	bool inside = false;

	model_n = 0;
	for (; *s != '\0'; s++) {
		if (quote != 0 && *s == quote) {
			quote = 0;
			continue;
		}
		if (quote == 0 && strchr(" \t\n\r\f\v", *s) != NULL) {
			if (inside)
				*to++ = '\0';
			inside = false;
			continue;
		}
		if (!inside)
			model_word[model_n++] = to;
		inside = true;
		if (quote == 0 && (*s == '"' || *s == '\'')) {
			quote = *s;
			continue;
		}
		if (*s == '\\' && quote == '"' && (s[1] == '"' || s[1] == '\\'))
			s++;
		else if (*s == '\\' && quote == 0 && shell && s[1] != '\0')
			s++;
		*to++ = *s;
	}
	*to = '\0';
	return quote == 0;
}

/* The words as a command that is dumped, and read again. */
static void
check_command(char *const *word, size_t n)
{
	const struct attr *exec = attr_find("exec");
	struct service *s = service_new(), *t = service_new();
	struct buf b = { 0 };
	struct err err;

	CHECK(s != NULL && t != NULL);
	for (size_t i = 0; i < n; i++)
		CHECK(words_add(&s->exec, word[i]) == 0);
	buf_addf(&b, "exec=");
	exec->kind->print(&b, s, exec);
	buf_add(&b, "", 1);
	CHECK(!b.failed && (attr_set_option(t, b.data, NULL, NULL, &err) == 0) == (n > 0) && t->exec.n == n);
	for (size_t i = 0; i < n; i++)
		CHECK(strcmp(t->exec.word[i], word[i]) == 0);
	buf_free(&b);
	service_free(s);
	service_free(t);
}

static void
check_split(const char *text, bool shell)
{
	const char *why;
	size_t n = 0;
	char **word = str_split(text, shell, &n, &why);
	bool good = model_split(text, shell);

	CHECK((word != NULL) == good && (why == NULL) == good);
	if (word == NULL)
		return;
	CHECK(n == model_n && word[n] == NULL);
	for (size_t i = 0; i < n; i++)
		CHECK(strcmp(word[i], model_word[i]) == 0);
	check_command(word, n);
	free(word);
}

/* --- texts */

/* How one byte is written. Returns how long that is. */
static size_t
model_escape(unsigned char c, char out[5])
{
	static const char hex[] = "0123456789abcdef", plain[] = "\n\r\t\\", as[] = "nrt\\";
	const char *p = c != '\0' ? strchr(plain, c) : NULL;

	if (p != NULL) {
		out[0] = '\\';
		out[1] = as[p - plain];
		return 2;
	}
	if (c >= ' ' && c <= '~') {
		out[0] = (char)c;
		return 1;
	}
	out[0] = '\\';
	out[1] = 'x';
	out[2] = hex[c / 16];
	out[3] = hex[c % 16];
	return 4;
}

static void
check_escape(const uint8_t *data, size_t size, size_t room)
{
	char *out = malloc(room > 0 ? room : 1), one[5];
	char *bytes = exactly(data, size);
	size_t n, at = 0, i = 0, w;

	CHECK(out != NULL);
	n = str_escape(out, room, bytes, size);
	for (; i < size; i++) {
		w = model_escape(data[i], one);
		if (at + w >= room)
			break;
		CHECK(at + w <= n && memcmp(out + at, one, w) == 0);
		at += w;
	}
	CHECK(n == at && (room == 0 || out[n] == '\0'));
	free(out);
	free(bytes);
}

/* The length of the character that stands at the front; 0: none. By the code point that it would be. */
static size_t
model_utf8(const uint8_t *s, size_t n)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : 0;
	uint32_t point = len == 1 ? s[0] : len == 0 ? 0 : s[0] & (0x7fU >> len);

	if (len == 0 || len > n)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if (s[i] >> 6 != 2)
			return 0;
		point = point << 6 | (s[i] & 0x3f);
	}
	return point < least[len] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff) ? 0 : len;
}

static void
check_utf8(const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size && i < 64; i++) {
		char *rest = exactly(data + i, size - i);

		CHECK(str_utf8(rest, size - i) == model_utf8(data + i, size - i));
		free(rest);
	}
}

/* NUMBER, blanks around it, and what must follow. */
static bool
skip_number(const char **p, unsigned is, char end)
{
	unsigned long long n = 0;

	*p += strspn(*p, " \t");
	if (**p < '0' || **p > '9')
		return false;
	for (; **p >= '0' && **p <= '9'; ++*p)
		n = n > 1000000 ? n : n * 10 + (unsigned)(**p - '0');
	*p += strspn(*p, " \t");
	return n == is && *(*p)++ == end;
}

static void
check_ident(const char *line, unsigned peer, unsigned local)
{
	char out[IDENT_MOST + 1];
	const char *p = line;
	bool found;

	memset(out, '?', sizeof out);
	found = ident_parse(line, peer, local, out);
	if (!found)
		return;
	CHECK(memchr(out, '\0', sizeof out) != NULL && strchr(out, ':') != NULL);
	CHECK(skip_number(&p, peer, ',') && skip_number(&p, local, ':'));
	p += strspn(p, " \t");
	CHECK(strncasecmp(p, "USERID", 6) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (size > 2000)
		return 0;
	text = exact_text(data, size);
	check_split(text, false);
	check_split(text, true);
	check_ident(text, 6193, 23);
	free(text);
	check_escape(data, size, size * 4 + 1);
	check_escape(data, size, size > 0 ? data[0] % 64 : 0);
	check_utf8(data, size);
	return 0;
}

#include "manage/escape.h"

#include <string.h>

#include "base/str.h"

#define UNKNOWN "\xef\xbf\xbd"		/* U+FFFD */

/* The next character is copied as it stands, or told to be none. */
static size_t
copy(struct buf *b, const char *s)
{
	size_t n = str_utf8(s, strlen(s));

	if (n == 0)
		buf_text(b, UNKNOWN);
	else
		buf_add(b, s, n);
	return n == 0 ? 1 : n;
}

void
add_json(struct buf *b, const char *s)
{
	static const char hex[] = "0123456789abcdef";

	if (s == NULL) {
		buf_text(b, "null");
		return;
	}
	buf_text(b, "\"");
	while (*s != '\0') {
		unsigned char c = (unsigned char)*s;
		char code[] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };

		if (c == '"' || c == '\\') {
			buf_text(b, "\\");
			buf_add(b, s++, 1);
		} else if (c < 0x20 || c == 0x7f) {
			buf_add(b, code, sizeof code);
			s++;
		} else {
			s += copy(b, s);
		}
	}
	buf_text(b, "\"");
}

/* Controls, and those that change which way the text runs (U+200E, 200F, 202A to 202E, 2066 to 2069). */
static bool
is_hidden(const char *s)
{
	const unsigned char *c = (const unsigned char *)s;

	if (c[0] < 0x20 || c[0] == 0x7f || (c[0] == 0xc2 && c[1] < 0xa0))
		return true;
	return c[0] == 0xe2 && ((c[1] == 0x80 && (c[2] == 0x8e || c[2] == 0x8f || (c[2] >= 0xaa && c[2] <= 0xae))) ||
	    (c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9));
}

void
add_html(struct buf *b, const char *s)
{
	while (*s != '\0') {
		size_t n = str_utf8(s, strlen(s));

		if (n > 0 && is_hidden(s)) {
			buf_text(b, UNKNOWN);
			s += n;
			continue;
		}
		switch (*s) {
		case '&':
			buf_text(b, "&amp;");
			break;
		case '<':
			buf_text(b, "&lt;");
			break;
		case '>':
			buf_text(b, "&gt;");
			break;
		case '"':
			buf_text(b, "&quot;");
			break;
		case '\'':
			buf_text(b, "&#39;");
			break;
		default:
			s += copy(b, s);
			continue;
		}
		s++;
	}
}

void
add_label(struct buf *b, const char *s)
{
	while (*s != '\0') {
		if (*s == '\n')
			buf_text(b, "\\n");
		else if (*s == '"' || *s == '\\')
			buf_text(b, "\\"), buf_add(b, s, 1);
		else {
			s += copy(b, s);
			continue;
		}
		s++;
	}
}

void
add_plain(struct buf *b, const char *s)
{
	char text[1024];

	buf_add(b, text, str_escape(text, sizeof text, s, strlen(s)));
}

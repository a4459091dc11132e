#include "base/put.h"

#include <string.h>

#include "base/str.h"

void
put_bytes(struct put *p, const char *s, size_t len)
{
	if (p->used < p->size)
		memcpy(p->at + p->used, s, len < p->size - p->used ? len : p->size - p->used);
	p->used += len;
}

void
put_text(struct put *p, const char *s)
{
	put_bytes(p, s, strlen(s));
}

void
put_char(struct put *p, char c)
{
	put_bytes(p, &c, 1);
}

void
put_padded(struct put *p, uint64_t n, unsigned width)
{
	char digits[20];
	size_t at = sizeof digits;

	if (width > sizeof digits)
		width = sizeof digits;
	do
		digits[--at] = (char)('0' + n % 10);
	while ((n /= 10) != 0 || sizeof digits - at < width);
	put_bytes(p, digits + at, sizeof digits - at);
}

void
put_number(struct put *p, uint64_t n)
{
	put_padded(p, n, 1);
}

void
put_signed(struct put *p, int64_t n)
{
	if (n < 0)
		put_char(p, '-');
	put_number(p, n < 0 ? -(uint64_t)n : (uint64_t)n);
}

void
put_escaped(struct put *p, const char *s, size_t len, size_t spare)
{
	if (p->used + spare < p->size)
		p->used += str_escape(p->at + p->used, p->size - p->used - spare, s, len);
}

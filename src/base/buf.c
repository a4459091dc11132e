#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/put.h"

static bool
room(struct buf *b, size_t more)
{
	size_t size = b->size != 0 ? b->size : 256;
	char *p;

	if (more > (size_t)-1 / 4 - b->len) {
		b->failed = true;
		return false;
	}
	while (size < b->len + more)
		size *= 2;
	if (size == b->size)
		return true;
	p = realloc(b->data, size);
	if (p == NULL) {
		b->failed = true;
		return false;
	}
	b->data = p;
	b->size = size;
	return true;
}

void
buf_add(struct buf *b, const void *bytes, size_t len)
{
	if (len == 0 || !room(b, len))
		return;
	memcpy(b->data + b->len, bytes, len);
	b->len += len;
}

void
buf_text(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void
buf_number(struct buf *b, uint64_t n)
{
	char digits[24] = { 0 };
	struct put p = { .at = digits, .size = sizeof digits };

	put_number(&p, n);
	buf_add(b, digits, p.used);
}

void
buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		b->failed = true;
	else if (room(b, (size_t)n + 1)) {
		(void)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
		b->len += (size_t)n;
	}
	va_end(again);
}

void
buf_cut(struct buf *b, size_t n)
{
	memmove(b->data, b->data + n, b->len - n);
	b->len -= n;
}

void
buf_free(struct buf *b)
{
	free(b->data);
	*b = (struct buf){ 0 };
}

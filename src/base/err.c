#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int
err_set(struct err *e, const char *fmt, ...)
{
	va_list ap;

	e->of = NULL;
	e->fault = e->absent = false;
	e->word = -1;
	e->at = NULL;
	e->system = 0;
	va_start(ap, fmt);
	(void)vsnprintf(e->text, sizeof e->text, fmt, ap);
	va_end(ap);
	return -1;
}

int
err_sys(struct err *e, int errnum, const char *fmt, ...)
{
	va_list ap;
	size_t n;

	e->of = NULL;
	e->fault = e->absent = false;
	e->word = -1;
	e->at = NULL;
	e->system = errnum;
	va_start(ap, fmt);
	(void)vsnprintf(e->text, sizeof e->text, fmt, ap);
	va_end(ap);
	n = strlen(e->text);
	(void)snprintf(e->text + n, sizeof e->text - n, ": %s", strerror(errnum));
	return -1;
}

int
err_at(struct err *e, const char *of, int word)
{
	e->of = of;
	e->word = word;
	return -1;
}

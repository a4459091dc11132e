#include "base/say.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

const char *say_name = "server";

void
say(const char *fmt, ...)
{
	char text[1024], out[2048];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	(void)str_escape(out, sizeof out, text, strlen(text));
	(void)fprintf(stderr, "%s: %s\n", say_name, out);
}

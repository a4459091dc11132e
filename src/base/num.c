#include "base/num.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Reads digits at *s, moves *s behind them. False: no digit, or more than max. */
static bool
digits(const char **s, unsigned base, uint64_t max, uint64_t *out)
{
	uint64_t n = 0;
	const char *p = *s;

	for (; *p >= '0' && *p < (char)('0' + base); p++) {
		unsigned d = (unsigned)(*p - '0');

		if (d > max || n > (max - d) / base)
			return false;
		n = n * base + d;
	}
	if (p == *s || n > max)
		return false;
	*s = p;
	*out = n;
	return true;
}

bool
num_parse(const char *s, uint64_t min, uint64_t max, uint64_t *out)
{
	uint64_t n;

	if (!digits(&s, 10, max, &n) || *s != '\0' || n < min)
		return false;
	*out = n;
	return true;
}

bool
num_parse_signed(const char *s, int64_t min, int64_t max, int64_t *out)
{
	uint64_t n;
	int64_t v;
	bool minus = *s == '-';

	if (*s == '-' || *s == '+')
		s++;
	if (!digits(&s, 10, INT64_MAX, &n) || *s != '\0')
		return false;
	v = minus ? -(int64_t)n : (int64_t)n;
	if (v < min || v > max)
		return false;
	*out = v;
	return true;
}

bool
num_parse_octal(const char *s, unsigned max, unsigned *out)
{
	uint64_t n;

	if (!digits(&s, 8, max, &n) || *s != '\0')
		return false;
	*out = (unsigned)n;
	return true;
}

bool
num_parse_size(const char *s, uint64_t max, uint64_t *out)
{
	static const char units[] = "KMG";
	const char *u;
	uint64_t n;
	unsigned shift = 0;

	if (!digits(&s, 10, max, &n))
		return false;
	if (*s != '\0') {
		char c = (char)(*s >= 'a' ? *s - 'a' + 'A' : *s);

		u = strchr(units, c);
		if (u == NULL || s[1] != '\0')
			return false;
		shift = 10 * (unsigned)(u - units + 1);
	}
	if (n > max >> shift)
		return false;
	*out = n << shift;
	return true;
}

static const struct {
	const char *name;
	int64_t ms;
} units[] = {
	{ "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 },
};

#define UNITS (sizeof units / sizeof units[0])

bool
num_parse_duration(const char *s, int64_t unit, int64_t max, int64_t *out)
{
	uint64_t whole, part = 0;
	int64_t scale = 1, ms;
	size_t i;

	if (!digits(&s, 10, (uint64_t)max, &whole))
		return false;
	if (*s == '.') {
		s++;
		for (; *s >= '0' && *s <= '9'; s++) {
			if (scale >= 1000000000)
				continue;	/* finer than a tenth of a millisecond of a day */
			part = part * 10 + (uint64_t)(*s - '0');
			scale *= 10;
		}
		if (scale == 1)
			return false;
	}
	if (*s != '\0') {
		for (i = 0; i < UNITS && strcmp(s, units[i].name) != 0; i++)
			;
		if (i == UNITS)
			return false;
		unit = units[i].ms;
	}
	if (whole > (uint64_t)(max / unit))
		return false;
	ms = (int64_t)part * unit / scale;
	if (ms > max - (int64_t)whole * unit)
		return false;
	*out = (int64_t)whole * unit + ms;
	return true;
}

char *
num_print_duration(int64_t ms, char *buf, size_t size)
{
	size_t i;

	for (i = 0; i < UNITS - 1 && (ms == 0 || ms % units[i].ms != 0); i++)
		;
	if (ms == 0)
		i = 3;
	(void)snprintf(buf, size, "%" PRId64 "%s", ms / units[i].ms, units[i].name);
	return buf;
}

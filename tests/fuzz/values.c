/*
 * fuzz: any text as a number, a size, a duration, a rate, an interval, a port: taken exactly if a slow model
 * with room for everything takes it, and with the same value; what is printed reads back.
 */
#include <stdint.h>

#include "base/num.h"
#include "net/where.h"
#include "policy/access.h"
#include "policy/rate.h"
#include "table/values.h"

#include "fuzz.h"
#include "quiet.h"

typedef unsigned __int128 big;

#define HUGE_ ((big)1 << 80)	/* beyond all bounds */

/* Digits from *s on; moved behind them. Without one: false. */
static bool
model_digits(const char **s, unsigned base, big *out)
{
	const char *from = *s;

	for (*out = 0; **s >= '0' && (unsigned)(**s - '0') < base; ++*s)
		if (*out < HUGE_)
			*out = *out * base + (unsigned)(**s - '0');
	return *s != from;
}

static void
check_numbers(const char *text, uint64_t a, uint64_t b)
{
	uint64_t got = 77;
	int64_t low, high, sgot = 77;
	unsigned ugot = 77;
	const char *s = text;
	bool minus, ok;
	big n;

	ok = model_digits(&s, 10, &n) && *s == '\0' && n >= a && n <= b;
	CHECK(num_parse(text, a, b, &got) == ok && got == (ok ? (uint64_t)n : 77));

	minus = *text == '-';
	s = text + (minus || *text == '+');
	low = (int64_t)a == INT64_MIN ? -INT64_MAX : (int64_t)a;
	high = (int64_t)b;
	ok = model_digits(&s, 10, &n) && *s == '\0' && n <= INT64_MAX;
	if (ok) {
		__int128 v = minus ? -(__int128)n : (__int128)n;

		ok = v >= low && v <= high;
	}
	CHECK(num_parse_signed(text, low, high, &sgot) == ok);
	CHECK(sgot == (!ok ? 77 : minus ? -(int64_t)n : (int64_t)n));

	s = text;
	ok = model_digits(&s, 8, &n) && *s == '\0' && n <= (unsigned)b;
	CHECK(num_parse_octal(text, (unsigned)b, &ugot) == ok && ugot == (ok ? (unsigned)n : 77));
}

static void
check_size(const char *text, uint64_t max)
{
	const char *s = text, *units = "KMGkmg", *unit;
	uint64_t got = 77;
	bool ok;
	big n;

	ok = model_digits(&s, 10, &n);
	if (ok && *s != '\0') {
		unit = strchr(units, *s);
		ok = unit != NULL && s[1] == '\0';
		for (size_t i = 0; ok && i <= (size_t)(unit - units) % 3; i++)
			n *= 1024;
	}
	ok = ok && n <= max;
	CHECK(num_parse_size(text, max, &got) == ok && got == (ok ? (uint64_t)n : 77));
}

/* How many ms it is, as far as whole ones go; false: it is no duration. */
static bool
model_duration(const char *s, int64_t unit, big *ms)
{
	static const struct { const char *name; int64_t ms; } units[] = {
		{ "", 0 }, { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 },
	};
	big whole, part = 0, scale = 1;
	const char *from;
	size_t i;

	if (!model_digits(&s, 10, &whole))
		return false;
	if (*s == '.') {
		for (from = ++s; *s >= '0' && *s <= '9'; s++)
			if (scale < (big)1000000000000 * 1000000000000) {
				part = part * 10 + (unsigned)(*s - '0');
				scale *= 10;
			}
		if (s == from)
			return false;
	}
	for (i = 0; i < sizeof units / sizeof units[0] && strcmp(units[i].name, s) != 0; i++)
		;
	if (i == sizeof units / sizeof units[0])
		return false;
	if (i > 0)
		unit = units[i].ms;
	*ms = whole >= HUGE_ ? HUGE_ : whole * (big)(uint64_t)unit + part * (big)(uint64_t)unit / scale;
	return true;
}

/* Of digits without end the last ms may be lost. */
static void
check_duration(const char *text, int64_t unit, int64_t max)
{
	int64_t got = -77;
	bool ok = num_parse_duration(text, unit, max, &got);
	big ms;

	if (!model_duration(text, unit, &ms)) {
		CHECK(!ok && got == -77);
		return;
	}
	if (!ok)
		CHECK(ms > (big)max && got == -77);
	else
		CHECK(got >= 0 && got <= max && (big)got <= ms && ms <= (big)got + 1);
}

static void
check_printed(int64_t ms)
{
	char text[32];
	int64_t back;

	CHECK(num_parse_duration(num_print_duration(ms, text, sizeof text), 1, INT64_MAX, &back) && back == ms);
}

/* N/DURATION, or two words: N DURATION. */
static void
check_rate(const char *text)
{
	const int64_t year = INT64_C(86400000) * 365;
	char *copy = exact_text(text, strlen(text)), *cut;
	const char *words[2] = { copy, NULL };
	struct rate r = { .n = 77 };
	int64_t rest = 0;
	uint64_t n = 0;
	bool ok;

	ok = rate_parse(words, 1, &r);
	CHECK(ok || r.n == 77);
	cut = strchr(copy, '/');
	if (ok) {
		CHECK(cut != NULL && r.pace && r.n > 0 && r.n <= 1000000 && r.per > 0 && r.per <= year);
		*cut = '\0';
		CHECK(num_parse(copy, 1, 1000000, &n) && n == r.n && num_parse_duration(cut + 1, 1000, year, &rest) &&
		    rest == r.per);
		*cut = '/';
	}
	cut = strchr(copy, ' ');
	if (cut != NULL) {
		*cut = '\0';
		words[1] = cut + 1;
		r = (struct rate){ .n = 77 };
		ok = num_parse(words[0], 0, 1000000, &n) && num_parse_duration(words[1], 1000, year, &rest);
		CHECK(rate_parse(words, 2, &r) == ok && r.n == (ok ? n : 77));
		CHECK(!ok || (!r.pace && r.rest == rest && r.per == 1000));
	}
	free(copy);
}

/* Two digits at most, the last of them behind a colon if `minutes`; false: there are none. */
static bool
model_clock(const char **s, int *minute)
{
	int hours = 0, minutes = 0, n;

	for (n = 0; **s >= '0' && **s <= '9'; ++*s, n++)
		hours = n < 5 ? hours * 10 + (**s - '0') : hours;
	if (n < 1 || n > 2 || **s != ':')
		return false;
	++*s;
	for (n = 0; **s >= '0' && **s <= '9'; ++*s, n++)
		minutes = n < 5 ? minutes * 10 + (**s - '0') : minutes;
	*minute = hours * 60 + minutes;
	return n >= 1 && n <= 2 && minutes < 60 && *minute <= 24 * 60;
}

static void
check_interval(const char *text)
{
	struct interval i = { -7, -7 };
	const char *s = text;
	int from = 0, to = 0;
	bool ok = model_clock(&s, &from) && *s++ == '-' && model_clock(&s, &to) && *s == '\0' && from != to && from < 1440;

	CHECK(interval_parse(text, &i) == ok);
	if (!ok) {
		CHECK(i.from == -7 && i.to == -7);
		return;
	}
	CHECK(i.from == from && i.to == to);
	/* From the one to the other round the clock. */
	for (int n = 0, m = from; n < 1440; n++, m = (m + 1) % 1440) {
		int length = to > from ? to - from : to + 1440 - from;

		CHECK(interval_holds(&i, 1, m) == (n < length));
	}
}

static void
check_port(const char *text)
{
	const char *s = text;
	unsigned port = 77;
	big n;

	if (model_digits(&s, 10, &n) && *s == '\0')
		CHECK(port_parse(text, "tcp", &port) == (n <= 65535) && port == (n <= 65535 ? n : 77));
	else if (text[0] != '\0')
		CHECK(!port_parse(text, "tcp", &port) || port <= 65535);
}

static void
remark(void *arg, const struct err *e)
{
	(void)arg;
	CHECK(e->text[0] != '\0');
}

/* As -o takes it: what an attribute prints sets it to the same. */
static void
check_attribute(const char *text, unsigned which)
{
	static const struct kind *const kinds[] = { &kind_number, &kind_nice, &kind_octal, &kind_bytes, &kind_duration,
		&kind_linger, &kind_rate, &kind_prefix, &kind_load, &kind_range, &kind_deny, &kind_times, &kind_rlimit };
	const struct attr *a = &attrs[which % nattrs];
	struct buf first = { 0 }, second = { 0 };
	struct service *s = service_new();
	struct err err = { .text = "" };
	bool ours = false;

	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		ours = ours || a->kind == kinds[i];
	CHECK(s != NULL);
	if (ours) {
		buf_addf(&first, "%s=%s", a->name, text);
		buf_add(&first, "", 1);
		if (attr_set_option(s, first.data, remark, NULL, &err) == -1) {
			CHECK(err.text[0] != '\0');
		} else {
			first.len = 0;
			buf_addf(&first, "%s=", a->name);
			a->kind->print(&first, s, a);
			buf_add(&first, "", 1);
			if (attr_set_option(s, first.data, remark, NULL, &err) == -1)
				(void)fprintf(stderr, "%s: %s\n", first.data, err.text);
			buf_addf(&second, "%s=", a->name);
			a->kind->print(&second, s, a);
			buf_add(&second, "", 1);
			CHECK(strcmp(first.data, second.data) == 0 && err.text[0] == '\0');
		}
	}
	service_free(s);
	buf_free(&first);
	buf_free(&second);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int64_t units[] = { 1, 1000, 60000, 3600000, 86400000 };
	struct feed f = { data, data + size };
	unsigned how = feed_byte(&f);
	uint64_t a = feed_number(&f, how / 4 % 9), b = feed_number(&f, how / 4 % 9);
	char *text;

	if (how % 4 == 1)
		b = UINT64_MAX;
	else if (how % 4 == 2)
		b = INT64_MAX;
	else if (how % 4 == 3)
		a = 0;
	text = exact_text(f.at, feed_left(&f));
	check_numbers(text, a, b);
	check_size(text, b);
	check_duration(text, units[how % 5], (int64_t)(b & INT64_MAX));
	check_printed((int64_t)(a & INT64_MAX));
	check_rate(text);
	check_interval(text);
	check_port(text);
	check_attribute(text, how);
	free(text);
	return 0;
}

#include "table/value.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/num.h"
#include "base/str.h"

enum { NAME_LONGEST = 128 };

#define DAY (86400 * SECOND)
#define YEARS (36500 * DAY)	/* the longest duration */

void *
value_field(struct service *s, const struct attr *a)
{
	return (char *)s + a->offset;
}

const void *
value_field_of(const struct service *s, const struct attr *a)
{
	return (const char *)s + a->offset;
}

/* --- printing words */

void
word_print(struct buf *b, const char *word)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = strlen(word);
	bool plain = n > 0 && strchr(word, '#') == NULL && word[0] != '"' && word[0] != '\'' && word[n - 1] != '\\' &&
	    strcmp(word, "{") != 0 && strcmp(word, "}") != 0;

	for (size_t i = 0; i < n; i++)
		plain = plain && (unsigned char)word[i] > ' ' && word[i] != 0x7f;
	if (plain) {
		buf_add(b, word, n);
		return;
	}
	buf_add(b, "\"", 1);
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)word[i];
		char e[4] = { '\\', 0, 0, 0 };
		size_t w = 2;

		if (c == '"' || c == '\\')
			e[1] = (char)c;
		else if (c == '\n')
			e[1] = 'n';
		else if (c == '\r')
			e[1] = 'r';
		else if (c == '\t')
			e[1] = 't';
		else if (c >= ' ' && c != 0x7f) {
			e[0] = (char)c;
			w = 1;
		} else {
			e[1] = 'x';
			e[2] = hex[c >> 4];
			e[3] = hex[c & 15];
			w = 4;
		}
		buf_add(b, e, w);
	}
	buf_add(b, "\"", 1);
}

static void
print_list(struct buf *b, const struct words *w)
{
	for (size_t i = 0; i < w->n; i++) {
		if (i > 0)
			buf_add(b, " ", 1);
		word_print(b, w->word[i]);
	}
}

/* --- reading */

int
value_fault(struct err *err, size_t word, const struct attr *a, const char *is)
{
	(void)err_set(err, "\"%s\" is not a value of %s; it takes %s%s", is, a->name, a->form,
	    strncmp(a->form, "duration", 8) == 0 ? ", such as 500ms, 30s, 5m, 2h or 1d" : "");
	return err_at(err, a->name, (int)word);
}

int
value_absent(struct err *err, size_t word, const struct attr *a, const char *is)
{
	(void)err_set(err, "\"%s\" is not in the list of %s", is, a->name);
	err->absent = true;
	return err_at(err, a->name, (int)word);
}

int
value_one(const struct setting *v, const struct attr *a, struct err *err)
{
	if (v->n == 1)
		return 0;
	(void)err_set(err, "%s takes one word (%s), not %zu", a->name, a->form, v->n);
	return err_at(err, a->name, v->n > 1 ? 1 : -1);
}

int
value_no_memory(const struct attr *a, struct err *err)
{
	return err_sys(err, ENOMEM, "%s", a->name);
}

/* unsigned: min..max, and UNLIMITED as UINT32_MAX where max is that. */
static int
set_number(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	uint64_t n;

	if (value_one(v, a, err) == -1)
		return -1;
	if (a->max == UINT32_MAX && strcasecmp(v->word[0], "unlimited") == 0)
		n = UINT32_MAX;
	else if (!num_parse(v->word[0], a->min, a->max, &n))
		return value_fault(err, 0, a, v->word[0]);
	*(unsigned *)value_field(s, a) = (unsigned)n;
	return 0;
}

static int
set_nice(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	int64_t n;

	if (value_one(v, a, err) == -1)
		return -1;
	if (!num_parse_signed(v->word[0], -40, 40, &n))
		return value_fault(err, 0, a, v->word[0]);
	s->nice = (int)n;
	return 0;
}

static int
set_octal(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	unsigned n;

	if (value_one(v, a, err) == -1)
		return -1;
	if (!num_parse_octal(v->word[0], (unsigned)a->max, &n))
		return value_fault(err, 0, a, v->word[0]);
	*(unsigned *)value_field(s, a) = n;
	return 0;
}

static int
set_bytes(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	uint64_t n;

	if (value_one(v, a, err) == -1)
		return -1;
	if (!num_parse_size(v->word[0], a->max, &n) || n < a->min)
		return value_fault(err, 0, a, v->word[0]);
	*(int *)value_field(s, a) = (int)n;
	return 0;
}

static int
set_duration(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	int64_t ms;

	if (value_one(v, a, err) == -1)
		return -1;
	if (!num_parse_duration(v->word[0], SECOND, YEARS, &ms) || (uint64_t)ms < a->min)
		return value_fault(err, 0, a, v->word[0]);
	*(int64_t *)value_field(s, a) = ms;
	return 0;
}

static int
set_linger(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	if (v->n == 1 && strcasecmp(v->word[0], "no") == 0) {
		s->linger = -1;
		return 0;
	}
	return set_duration(s, a, v, err);
}

bool
value_choose(const struct attr *a, const char *word, unsigned *out)
{
	for (unsigned i = 0; a->choice[i] != NULL; i++) {
		if (strcasecmp(a->choice[i], word) == 0) {
			*out = i;
			return true;
		}
	}
	return false;
}

/* An enum whose values are the places of the words. */
static int
set_choice(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	unsigned n;

	if (value_one(v, a, err) == -1)
		return -1;
	if (!value_choose(a, v->word[0], &n))
		return value_fault(err, 0, a, v->word[0]);
	*(unsigned *)value_field(s, a) = n;
	return 0;
}

static int
set_bool(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	unsigned n;

	if (value_one(v, a, err) == -1)
		return -1;
	if (!value_choose(a, v->word[0], &n))
		return value_fault(err, 0, a, v->word[0]);
	*(bool *)value_field(s, a) = n == 1;
	return 0;
}

int
value_set_text(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	char **p = value_field(s, a), *copy;

	if (value_one(v, a, err) == -1)
		return -1;
	if (v->word[0][0] == '\0')
		return value_fault(err, 0, a, v->word[0]);
	copy = strdup(v->word[0]);
	if (copy == NULL)
		return value_no_memory(a, err);
	free(*p);
	*p = copy;
	return 0;
}

/* A name that stands in log lines and tables: one word of printing characters. */
int
value_set_name(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	if (value_one(v, a, err) == -1)
		return -1;
	for (const char *p = v->word[0]; *p != '\0'; p++)
		if (!isgraph((unsigned char)*p))
			return value_fault(err, 0, a, v->word[0]);
	if (strlen(v->word[0]) > NAME_LONGEST)
		return err_set(err, "%s is too long: at most %d letters", a->name, NAME_LONGEST);
	return value_set_text(s, a, v, err);
}

static int
set_path(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	if (v->n == 1 && v->word[0][0] != '/')
		return value_fault(err, 0, a, v->word[0]);
	return value_set_text(s, a, v, err);
}

int
value_set_words(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	struct words *w = value_field(s, a);

	if (v->op == ATTR_SET)
		words_free(w);
	for (size_t i = 0; i < v->n; i++) {
		if (v->op == ATTR_REMOVE) {
			if (!words_remove(w, v->word[i]))
				return value_absent(err, i, a, v->word[i]);
		} else if (words_add(w, v->word[i]) == -1) {
			return value_no_memory(a, err);
		}
	}
	return 0;
}

static int
set_rlimit(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	uint64_t n;
	int64_t ms;

	if (value_one(v, a, err) == -1)
		return -1;
	if (strcasecmp(v->word[0], "unlimited") == 0)
		n = RLIM_INFINITY;
	else if (a->min == RLIMIT_IN_SECONDS && num_parse_duration(v->word[0], SECOND, YEARS, &ms))
		n = (uint64_t)(ms + SECOND - 1) / SECOND;
	else if (a->min == RLIMIT_IN_SECONDS ? !num_parse(v->word[0], 0, a->max, &n) : !num_parse_size(v->word[0], a->max, &n))
		return value_fault(err, 0, a, v->word[0]);
	if (s->rlimit == NULL && (s->rlimit = calloc(LIMITS, sizeof *s->rlimit)) == NULL)
		return value_no_memory(a, err);
	s->rlimit[a->offset] = (rlim_t)n;
	return 0;
}

static int
set_rate(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	struct rate *r = value_field(s, a), out;

	if (v->n > a->max) {
		(void)err_set(err, "%s takes %s, not %zu words", a->name, a->form, v->n);
		return err_at(err, a->name, (int)a->max);
	}
	if (!rate_parse(v->word, (unsigned)v->n, &out)) {
		bool second = v->n == 2 && v->word[0][strspn(v->word[0], "0123456789")] == '\0';

		return value_fault(err, second, a, v->word[second]);
	}
	*r = out;
	return 0;
}

static int
set_prefix(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	uint64_t n[2];

	if (v->n != 2)
		return err_set(err, "%s takes two words (%s), not %zu", a->name, a->form, v->n);
	for (size_t i = 0; i < 2; i++)
		if (!num_parse(v->word[i], 0, i == 0 ? 32 : 128, &n[i]))
			return value_fault(err, i, a, v->word[i]);
	s->source.v4 = (unsigned)n[0];
	s->source.v6 = (unsigned)n[1];
	return 0;
}

static int
set_load(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	char *end;
	double d;

	if (value_one(v, a, err) == -1)
		return -1;
	d = strtod(v->word[0], &end);
	if (v->word[0][strspn(v->word[0], "0123456789.")] != '\0' || *end != '\0' || !(d > 0) || d > 1e6)
		return value_fault(err, 0, a, v->word[0]);
	/* The load is told in hundredths: below, all is the same, and this is printed without an exponent. */
	s->max_load = d < 0.0001 ? 0.0001 : d;
	return 0;
}

static int
set_ignored(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	(void)s;
	(void)err;
	attr_remark(v->note, v->arg, a->name, 0, "%s has no effect here: %s", a->name, a->help);
	return 0;
}

/* --- printing */

static void
print_number(struct buf *b, const struct service *s, const struct attr *a)
{
	unsigned n = *(const unsigned *)value_field_of(s, a);

	if (n == UINT32_MAX && a->max == UINT32_MAX)
		buf_addf(b, "UNLIMITED");
	else
		buf_addf(b, "%u", n);
}

static void
print_nice(struct buf *b, const struct service *s, const struct attr *a)
{
	(void)a;
	buf_addf(b, "%d", s->nice);
}

static void
print_octal(struct buf *b, const struct service *s, const struct attr *a)
{
	buf_addf(b, "%03o", *(const unsigned *)value_field_of(s, a));
}

static void
print_bytes(struct buf *b, const struct service *s, const struct attr *a)
{
	buf_addf(b, "%d", *(const int *)value_field_of(s, a));
}

static void
print_duration(struct buf *b, const struct service *s, const struct attr *a)
{
	char text[32];

	buf_addf(b, "%s", num_print_duration(*(const int64_t *)value_field_of(s, a), text, sizeof text));
}

static void
print_linger(struct buf *b, const struct service *s, const struct attr *a)
{
	if (s->linger == -1)
		buf_addf(b, "no");
	else
		print_duration(b, s, a);
}

static void
print_choice(struct buf *b, const struct service *s, const struct attr *a)
{
	buf_addf(b, "%s", a->choice[*(const unsigned *)value_field_of(s, a)]);
}

static void
print_bool(struct buf *b, const struct service *s, const struct attr *a)
{
	buf_addf(b, "%s", *(const bool *)value_field_of(s, a) ? "yes" : "no");
}

void
value_print_text(struct buf *b, const struct service *s, const struct attr *a)
{
	const char *text = *(char *const *)value_field_of(s, a);

	if (text != NULL)
		word_print(b, text);
}

void
value_print_words(struct buf *b, const struct service *s, const struct attr *a)
{
	print_list(b, value_field_of(s, a));
}

static void
print_rlimit(struct buf *b, const struct service *s, const struct attr *a)
{
	rlim_t n = s->rlimit[a->offset];

	if (n == RLIM_INFINITY)
		buf_addf(b, "UNLIMITED");
	else
		buf_addf(b, "%" PRIu64, (uint64_t)n);
}

static void
print_rate(struct buf *b, const struct service *s, const struct attr *a)
{
	const struct rate *r = value_field_of(s, a);
	char text[32];

	if (r->pace)
		buf_addf(b, "%u/%s", r->n, num_print_duration(r->per, text, sizeof text));
	else
		buf_addf(b, "%u %s", r->n, num_print_duration(r->rest, text, sizeof text));
}

static void
print_prefix(struct buf *b, const struct service *s, const struct attr *a)
{
	(void)a;
	buf_addf(b, "%u %u", s->source.v4, s->source.v6);
}

static void
print_load(struct buf *b, const struct service *s, const struct attr *a)
{
	(void)a;
	buf_addf(b, "%.10g", s->max_load);
}

const struct kind kind_number = { set_number, print_number },
    kind_nice = { set_nice, print_nice }, kind_octal = { set_octal, print_octal },
    kind_bytes = { set_bytes, print_bytes }, kind_duration = { set_duration, print_duration },
    kind_linger = { set_linger, print_linger }, kind_choice = { set_choice, print_choice },
    kind_bool = { set_bool, print_bool }, kind_text = { value_set_text, value_print_text },
    kind_name = { value_set_name, value_print_text }, kind_path = { set_path, value_print_text },
    kind_words = { value_set_words, value_print_words },
    kind_rlimit = { set_rlimit, print_rlimit }, kind_rate = { set_rate, print_rate },
    kind_prefix = { set_prefix, print_prefix }, kind_load = { set_load, print_load },
    kind_ignored = { set_ignored, NULL };

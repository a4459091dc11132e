#include "table/value.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/num.h"

/* Lists. */

/*
 * log_on_success, log_on_failure: `max` says which records are possible there. RECORD is a word of
 * xinetd 2.1's: known, and nothing is left of it.
 */
static int
set_record(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	unsigned *bits = value_field(s, a), all = 0, n;

	for (size_t i = 0; i < v->n; i++) {
		if (strcasecmp(v->word[i], "RECORD") == 0)
			attr_remark(v->note, v->arg, a->name, (int)i,
			    "RECORD is xinetd 2.1's and is not recorded any more");
		else if (!value_choose(a, v->word[i], &n))
			return value_fault(err, i, a, v->word[i]);
		else if ((a->max & 1U << n) == 0)
			attr_remark(v->note, v->arg, a->name, (int)i, "%s has no effect in %s", v->word[i], a->name);
		else
			all |= 1U << n;
	}
	/* With no word left there would be no lines, which is not what was meant: it is as if it were not given. */
	if (all == 0 && v->n > 0 && v->op == ATTR_SET)
		return 0;
	*bits = v->op == ATTR_SET ? all : v->op == ATTR_ADD ? *bits | all : *bits & ~all;
	return 0;
}

static bool
variable_name(const char *s, size_t n)
{
	if (n == 0 || isdigit((unsigned char)s[0]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && s[i] != '_')
			return false;
	return true;
}

static int
set_env(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	for (size_t i = 0; i < v->n; i++) {
		size_t n = strcspn(v->word[i], "=");

		if (!variable_name(v->word[i], n) || (v->word[i][n] == '\0' && v->op != ATTR_REMOVE))
			return value_fault(err, i, a, v->word[i]);
	}
	return value_set_words(s, a, v, err);
}

static int
set_passenv(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	for (size_t i = 0; i < v->n; i++)
		if (strcmp(v->word[i], "*") != 0 && !variable_name(v->word[i], strlen(v->word[i])))
			return value_fault(err, i, a, v->word[i]);
	/* Not given means everything: what is added is added to that. */
	if (v->op == ATTR_ADD && !s->table && !attr_given(s, a->name) && words_add(&s->passenv, "*") == -1)
		return value_no_memory(a, err);
	if (v->op == ATTR_ADD && s->table && !attr_given(s, a->name))
		words_free(&s->passenv);	/* the * that the name xinetd brings is no list to add to */
	return value_set_words(s, a, v, err);
}

struct rule_note {		/* what a remark of the access list is about */
	const struct setting *v;
	const struct attr *a;
	size_t word;
};

static void
note_rule(void *arg, const char *text)
{
	const struct rule_note *n = arg;

	attr_remark(n->v->note, n->v->arg, n->a->name, (int)n->word, "%s", text);
}

/* Splits one word at its commas, but not at those in braces. */
static int
add_rules(struct rules *r, const struct attr *a, const struct setting *v, size_t i, struct err *err)
{
	struct rule_note rn = { v, a, i };
	char buf[512];
	const char *p = v->word[i];

	while (*p != '\0') {
		size_t n = 0;
		int depth = 0;

		for (; p[n] != '\0' && (depth > 0 || p[n] != ','); n++)
			depth += p[n] == '{' ? 1 : p[n] == '}' ? -1 : 0;
		if (n >= sizeof buf)
			return value_fault(err, i, a, "...");
		memcpy(buf, p, n);
		buf[n] = '\0';
		p += n + (p[n] == ',');
		if (n == 0)
			continue;
		if (v->op == ATTR_REMOVE) {
			if (!rules_remove(r, buf))
				return value_absent(err, i, a, buf);
		} else if (rules_add(r, buf, a->max == 1, note_rule, &rn, err) == -1) {
			return err_at(err, a->name, (int)i);
		}
	}
	return 0;
}

static int
set_rules(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	struct rules *r = value_field(s, a);

	if (v->op == ATTR_SET)
		rules_free(r);
	r->given = true;
	for (size_t i = 0; i < v->n; i++)
		if (add_rules(r, a, v, i, err) == -1)
			return -1;
	return 0;
}

static int
set_times(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	struct interval *t = calloc(v->n, sizeof *t);

	if (t == NULL)
		return value_no_memory(a, err);
	for (size_t i = 0; i < v->n; i++) {
		if (!interval_parse(v->word[i], &t[i])) {
			free(t);
			return value_fault(err, i, a, v->word[i]);
		}
	}
	free(s->times);
	s->times = t;
	s->ntimes = v->n;
	return 0;
}

static int
set_listen(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	if (v->op == ATTR_SET)
		while (s->nlisten > 0)
			address_free(&s->listen[--s->nlisten]);
	for (size_t i = 0; i < v->n; i++) {
		struct address new = { 0 }, *p;
		size_t k;

		if (where_parse(&new.where, v->word[i], err) == -1)
			return err_at(err, a->name, (int)i);
		if (v->op == ATTR_REMOVE) {
			where_free(&new.where);
			for (k = 0; k < s->nlisten && strcmp(s->listen[k].text, v->word[i]) != 0; k++)
				;
			if (k == s->nlisten)
				return value_absent(err, i, a, v->word[i]);
			address_free(&s->listen[k]);
			s->listen[k] = s->listen[--s->nlisten];
			continue;
		}
		new.text = strdup(v->word[i]);
		p = realloc(s->listen, (s->nlisten + 1) * sizeof *p);
		if (p != NULL)
			s->listen = p;
		if (p == NULL || new.text == NULL) {
			address_free(&new);
			return value_no_memory(a, err);
		}
		p[s->nlisten++] = new;
	}
	return 0;
}

/* flags: the words behind IDLE_FLAGS are known and change nothing. */
static int
set_flags(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	static const char *const why[] = {
		"REUSE: ports are always reused", "INTERCEPT: packets are not looked at",
		"NORETRY: what cannot be started waits and is tried again", "NOLIBWRAP: there is no libwrap",
		"LABELED: security labels are not looked at",
	};

	unsigned all = 0, n;

	for (size_t i = 0; i < v->n; i++) {
		if (!value_choose(a, v->word[i], &n))
			return value_fault(err, i, a, v->word[i]);
		if (n < IDLE_FLAGS)
			all |= 1U << n;
		else if (v->op != ATTR_REMOVE)
			attr_remark(v->note, v->arg, a->name, (int)i,
			    "%s, so the flag has no effect", why[n - IDLE_FLAGS]);
		if (1U << n == FLAG_DISABLE && s->table)
			attr_remark(v->note, v->arg, a->name, (int)i,
			    "DISABLE is read as disable = yes; xinetd does not know the flag");
	}
	s->flags = v->op == ATTR_SET ? all : v->op == ATTR_ADD ? s->flags | all : s->flags & ~all;
	return 0;
}

/* type: SPECIAL is known and means nothing. */
static int
set_type(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	unsigned all = 0, n;

	for (size_t i = 0; i < v->n; i++) {
		if (strcasecmp(v->word[i], "SPECIAL") == 0)
			attr_remark(v->note, v->arg, a->name, (int)i,
			    "SPECIAL has no meaning, in xinetd neither");
		else if (value_choose(a, v->word[i], &n))
			all |= 1U << n;
		else
			return value_fault(err, i, a, v->word[i]);
	}
	s->type = all;
	return 0;
}

static void
print_bits(struct buf *b, const struct service *s, const struct attr *a)
{
	unsigned bits = *(const unsigned *)value_field_of(s, a);
	const char *before = "";

	for (unsigned i = 0; a->choice[i] != NULL; i++) {
		if ((bits & 1U << i) != 0) {
			buf_addf(b, "%s%s", before, a->choice[i]);
			before = " ";
		}
	}
}

static void
print_rules(struct buf *b, const struct service *s, const struct attr *a)
{
	const struct rules *r = value_field_of(s, a);

	for (size_t i = 0; i < r->n; i++) {
		/* A host's name or a list in braces is one word and several rules. */
		if (i > 0 && strcmp(r->rule[i].word, r->rule[i - 1].word) == 0)
			continue;
		if (i > 0)
			buf_add(b, " ", 1);
		word_print(b, r->rule[i].word);
	}
}

static void
print_times(struct buf *b, const struct service *s, const struct attr *a)
{
	(void)a;
	for (size_t i = 0; i < s->ntimes; i++)
		buf_addf(b, "%s%02d:%02d-%02d:%02d", i > 0 ? " " : "", s->times[i].from / 60,
		    s->times[i].from % 60, s->times[i].to / 60, s->times[i].to % 60);
}

static void
print_listen(struct buf *b, const struct service *s, const struct attr *a)
{
	(void)a;
	for (size_t i = 0; i < s->nlisten; i++) {
		if (i > 0)
			buf_add(b, " ", 1);
		word_print(b, s->listen[i].text);
	}
}

const struct kind kind_record = { set_record, print_bits },
    kind_env = { set_env, value_print_words }, kind_passenv = { set_passenv, value_print_words },
    kind_rules = { set_rules, print_rules }, kind_times = { set_times, print_times },
    kind_listen = { set_listen, print_listen }, kind_flags = { set_flags, print_bits },
    kind_type = { set_type, print_bits };

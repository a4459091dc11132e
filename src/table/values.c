#include "table/values.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/num.h"
#include "base/str.h"

enum { NAME_LONGEST = 128 };

#define DAY (86400 * SECOND)
#define YEARS (36500 * DAY)	/* the longest duration */

static void *
field(struct service *s, const struct attr *a)
{
	return (char *)s + a->offset;
}

static const void *
field_of(const struct service *s, const struct attr *a)
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

static int
fault(struct err *err, size_t word, const struct attr *a, const char *is)
{
	(void)err_set(err, "\"%s\" is not a value of %s; it takes %s", is, a->name, a->form);
	return err_at(err, a->name, (int)word);
}

static int
absent(struct err *err, size_t word, const struct attr *a, const char *is)
{
	(void)err_set(err, "\"%s\" is not in the list of %s", is, a->name);
	return err_at(err, a->name, (int)word);
}

static int
one(const struct setting *v, const struct attr *a, struct err *err)
{
	if (v->n == 1)
		return 0;
	(void)err_set(err, "%s takes one word (%s), not %zu", a->name, a->form, v->n);
	return err_at(err, a->name, v->n > 1 ? 1 : -1);
}

static int
no_memory(const struct attr *a, struct err *err)
{
	return err_sys(err, ENOMEM, "%s", a->name);
}

/* unsigned: min..max, and UNLIMITED as UINT32_MAX where max is that. */
static int
set_number(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	uint64_t n;

	if (one(v, a, err) == -1)
		return -1;
	if (a->max == UINT32_MAX && strcasecmp(v->word[0], "unlimited") == 0)
		n = UINT32_MAX;
	else if (!num_parse(v->word[0], a->min, a->max, &n))
		return fault(err, 0, a, v->word[0]);
	*(unsigned *)field(s, a) = (unsigned)n;
	return 0;
}

static int
set_nice(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	int64_t n;

	if (one(v, a, err) == -1)
		return -1;
	if (!num_parse_signed(v->word[0], -40, 40, &n))
		return fault(err, 0, a, v->word[0]);
	s->nice = (int)n;
	return 0;
}

static int
set_octal(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	unsigned n;

	if (one(v, a, err) == -1)
		return -1;
	if (!num_parse_octal(v->word[0], (unsigned)a->max, &n))
		return fault(err, 0, a, v->word[0]);
	*(unsigned *)field(s, a) = n;
	return 0;
}

static int
set_bytes(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	uint64_t n;

	if (one(v, a, err) == -1)
		return -1;
	if (!num_parse_size(v->word[0], a->max, &n) || n < a->min)
		return fault(err, 0, a, v->word[0]);
	*(int *)field(s, a) = (int)n;
	return 0;
}

static int
set_duration(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	int64_t ms;

	if (one(v, a, err) == -1)
		return -1;
	if (!num_parse_duration(v->word[0], SECOND, YEARS, &ms) || (uint64_t)ms < a->min)
		return fault(err, 0, a, v->word[0]);
	*(int64_t *)field(s, a) = ms;
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

static bool
choose(const struct attr *a, const char *word, unsigned *out)
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

	if (one(v, a, err) == -1)
		return -1;
	if (!choose(a, v->word[0], &n))
		return fault(err, 0, a, v->word[0]);
	*(unsigned *)field(s, a) = n;
	return 0;
}

static int
set_bool(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	unsigned n;

	if (one(v, a, err) == -1)
		return -1;
	if (!choose(a, v->word[0], &n))
		return fault(err, 0, a, v->word[0]);
	*(bool *)field(s, a) = n == 1;
	return 0;
}

/*
 * log_on_success, log_on_failure: `max` says which records are possible there. RECORD is a word of
 * xinetd 2.1's: known, and nothing is left of it.
 */
static int
set_record(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	unsigned *bits = field(s, a), all = 0, n;

	for (size_t i = 0; i < v->n; i++) {
		if (strcasecmp(v->word[i], "RECORD") == 0)
			attr_remark(v->note, v->arg, a->name, (int)i,
			    "RECORD is xinetd 2.1's and is not recorded any more");
		else if (!choose(a, v->word[i], &n) || (a->max & 1U << n) == 0)
			return fault(err, i, a, v->word[i]);
		else
			all |= 1U << n;
	}
	*bits = v->op == ATTR_SET ? all : v->op == ATTR_ADD ? *bits | all : *bits & ~all;
	return 0;
}

static int
set_text(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	char **p = field(s, a), *copy;

	if (one(v, a, err) == -1)
		return -1;
	if (v->word[0][0] == '\0')
		return fault(err, 0, a, v->word[0]);
	copy = strdup(v->word[0]);
	if (copy == NULL)
		return no_memory(a, err);
	free(*p);
	*p = copy;
	return 0;
}

/* A name that stands in log lines and tables: one word of printing characters. */
static int
set_name(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	if (one(v, a, err) == -1)
		return -1;
	for (const char *p = v->word[0]; *p != '\0'; p++)
		if (!isgraph((unsigned char)*p))
			return fault(err, 0, a, v->word[0]);
	if (strlen(v->word[0]) > NAME_LONGEST)
		return err_set(err, "%s is too long: at most %d letters", a->name, NAME_LONGEST);
	return set_text(s, a, v, err);
}

static int
set_path(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	if (v->n == 1 && v->word[0][0] != '/')
		return fault(err, 0, a, v->word[0]);
	return set_text(s, a, v, err);
}

static int
set_words(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	struct words *w = field(s, a);

	if (v->op == ATTR_SET)
		words_free(w);
	for (size_t i = 0; i < v->n; i++) {
		if (v->op == ATTR_REMOVE) {
			if (!words_remove(w, v->word[i]))
				return absent(err, i, a, v->word[i]);
		} else if (words_add(w, v->word[i]) == -1) {
			return no_memory(a, err);
		}
	}
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
			return fault(err, i, a, v->word[i]);
	}
	return set_words(s, a, v, err);
}

static int
set_passenv(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	for (size_t i = 0; i < v->n; i++)
		if (strcmp(v->word[i], "*") != 0 && !variable_name(v->word[i], strlen(v->word[i])))
			return fault(err, i, a, v->word[i]);
	/* Not given means everything: what is added is added to that. */
	if (v->op == ATTR_ADD && !s->table && !attr_given(s, a->name) && words_add(&s->passenv, "*") == -1)
		return no_memory(a, err);
	return set_words(s, a, v, err);
}

static int
set_rlimit(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	uint64_t n;

	if (one(v, a, err) == -1)
		return -1;
	if (strcasecmp(v->word[0], "unlimited") == 0)
		n = RLIM_INFINITY;
	else if (a->min != 0 ? !num_parse(v->word[0], 0, a->max, &n) :
	    !num_parse_size(v->word[0], a->max, &n))
		return fault(err, 0, a, v->word[0]);
	if (s->rlimit == NULL && (s->rlimit = calloc(LIMITS, sizeof *s->rlimit)) == NULL)
		return no_memory(a, err);
	s->rlimit[a->offset] = (rlim_t)n;
	return 0;
}

static int
set_rate(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	struct rate *r = field(s, a), out;

	if (v->n > a->max) {
		(void)err_set(err, "%s takes %s, not %zu words", a->name, a->form, v->n);
		return err_at(err, a->name, (int)a->max);
	}
	if (!rate_parse(v->word, (unsigned)v->n, &out)) {
		bool second = v->n == 2 && v->word[0][strspn(v->word[0], "0123456789")] == '\0';

		return fault(err, second, a, v->word[second]);
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
			return fault(err, i, a, v->word[i]);
	s->source.v4 = (unsigned)n[0];
	s->source.v6 = (unsigned)n[1];
	return 0;
}

static int
set_load(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	char *end;
	double d;

	if (one(v, a, err) == -1)
		return -1;
	d = strtod(v->word[0], &end);
	if (v->word[0][strspn(v->word[0], "0123456789.")] != '\0' || *end != '\0' || !(d > 0) || d > 1e6)
		return fault(err, 0, a, v->word[0]);
	s->max_load = d;
	return 0;
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
			return fault(err, i, a, "…");
		memcpy(buf, p, n);
		buf[n] = '\0';
		p += n + (p[n] == ',');
		if (n == 0)
			continue;
		if (v->op == ATTR_REMOVE) {
			if (!rules_remove(r, buf))
				return absent(err, i, a, buf);
		} else if (rules_add(r, buf, a->max == 1, note_rule, &rn, err) == -1) {
			return err_at(err, a->name, (int)i);
		}
	}
	return 0;
}

static int
set_rules(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	struct rules *r = field(s, a);

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
		return no_memory(a, err);
	for (size_t i = 0; i < v->n; i++) {
		if (!interval_parse(v->word[i], &t[i])) {
			free(t);
			return fault(err, i, a, v->word[i]);
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
		struct address new, *p;
		size_t k;

		if (where_parse(&new.where, v->word[i], err) == -1)
			return err_at(err, a->name, (int)i);
		if (v->op == ATTR_REMOVE) {
			where_free(&new.where);
			for (k = 0; k < s->nlisten && strcmp(s->listen[k].text, v->word[i]) != 0; k++)
				;
			if (k == s->nlisten)
				return absent(err, i, a, v->word[i]);
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
			return no_memory(a, err);
		}
		p[s->nlisten++] = new;
	}
	return 0;
}

/* Two programs in one service are an error at the second. */
static int
second_program(const struct service *s, const struct attr *a, struct err *err)
{
	if (s->exec.n == 0 && s->server == NULL && s->redirect.n == 0)
		return 0;
	return err_set(err, "%s: the service already has a command; give one of exec, shell, server and "
	    "redirect", a->name);
}

static int
set_exec(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	if (second_program(s, a, err) == -1)
		return -1;
	for (size_t i = 0; i < v->n; i++)
		if (words_add(&s->exec, v->word[i]) == -1)
			return no_memory(a, err);
	return 0;
}

/* Words as a shell reads them: in '…' where they must be. */
static void
print_exec(struct buf *b, const struct service *s, const struct attr *a)
{
	static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./-_";

	(void)a;
	for (size_t i = 0; i < s->exec.n; i++) {
		const char *w = s->exec.word[i];

		if (i > 0)
			buf_add(b, " ", 1);
		if (w[0] != '\0' && w[strspn(w, safe)] == '\0') {
			buf_add(b, w, strlen(w));
			continue;
		}
		buf_add(b, "'", 1);
		for (; *w != '\0'; w++) {
			if (*w == '\'')
				buf_add(b, "'\\''", 4);
			else
				buf_add(b, w, 1);
		}
		buf_add(b, "'", 1);
	}
}

static int
set_shell(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	static const char *const sh[] = { "/bin/sh", "-c" };

	if (second_program(s, a, err) == -1)
		return -1;
	if (v->word[0][strspn(v->word[0], " \t")] == '\0')
		return err_set(err, "%s is empty; it takes %s", a->name, a->form);
	s->shell = true;
	if (words_add(&s->exec, sh[0]) == -1 || words_add(&s->exec, sh[1]) == -1 ||
	    words_add(&s->exec, v->word[0]) == -1 || words_add(&s->exec, "sh") == -1)
		return no_memory(a, err);
	return 0;
}

static void
print_shell(struct buf *b, const struct service *s, const struct attr *a)
{
	(void)a;
	if (s->exec.n > 2)
		buf_add(b, s->exec.word[2], strlen(s->exec.word[2]));
}

/* A path, or a name that is searched for along PATH. */
static int
set_server(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	if (second_program(s, a, err) == -1)
		return -1;
	if (v->n == 1 && v->word[0][0] != '/' && strchr(v->word[0], '/') != NULL)
		return fault(err, 0, a, v->word[0]);
	return set_text(s, a, v, err);
}

static int
set_redirect(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	if (second_program(s, a, err) == -1)
		return -1;
	if (v->n > 2)
		return err_set(err, "redirect takes two words (%s), not %zu", a->form, v->n);
	if (v->n < 2 && strchr(v->word[0], ':') == NULL)
		return err_set(err, "redirect: a port is missing behind the host; it takes %s", a->form);
	return set_words(s, a, v, err);
}

static int
set_port(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	uint64_t n;

	if (one(v, a, err) == -1)
		return -1;
	if (isdigit((unsigned char)v->word[0][0]) && !num_parse(v->word[0], 0, 65535, &n)) {
		(void)err_set(err, "%s is no port; ports go from 0 to 65535", v->word[0]);
		return err_at(err, a->name, 0);
	}
	return set_name(s, a, v, err);
}

/* N or N-M */
static int
set_range(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	struct number_range r;
	char first[16] = "";
	const char *dash;
	uint64_t n;

	if (one(v, a, err) == -1)
		return -1;
	dash = strchr(v->word[0], '-');
	if (dash != NULL && (size_t)(dash - v->word[0]) < sizeof first)
		memcpy(first, v->word[0], (size_t)(dash - v->word[0]));
	if (!num_parse(dash != NULL ? first : v->word[0], 0, UINT32_MAX, &n))
		return fault(err, 0, a, v->word[0]);
	r.from = r.to = (unsigned)n;
	if (dash != NULL) {
		if (!num_parse(dash + 1, r.from, UINT32_MAX, &n))
			return fault(err, 0, a, v->word[0]);
		r.to = (unsigned)n;
	}
	*(struct number_range *)field(s, a) = r;
	return 0;
}

static int
set_deny(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	uint64_t n;

	if (one(v, a, err) == -1)
		return -1;
	if (strcasecmp(v->word[0], "forever") == 0)
		n = FOREVER;
	else if (strcasecmp(v->word[0], "never") == 0)
		n = 0;
	else if (!num_parse(v->word[0], 0, UINT64_C(60) * 24 * 36500, &n))
		return fault(err, 0, a, v->word[0]);
	s->deny_time = (unsigned)n;
	return 0;
}

static const char *const facilities[] = { "kern", "user", "mail", "daemon", "auth", "syslog", "lpr",
	"news", "uucp", "cron", "authpriv", "ftp", "", "", "", "", "local0", "local1", "local2", "local3",
	"local4", "local5", "local6", "local7", NULL };
static const char *const levels[] = { "emerg", "alert", "crit", "err", "warning", "notice", "info",
	"debug", NULL };

static int
syslog_word(const char *const *words, const struct setting *v, size_t i, const struct attr *a,
    int *out, struct err *err)
{
	for (int n = 0; words[n] != NULL; n++) {
		if (words[n][0] != '\0' && strcasecmp(words[n], v->word[i]) == 0) {
			*out = n;
			return 0;
		}
	}
	(void)err_set(err, "\"%s\" is not a %s of syslog; it is one of %s", v->word[i],
	    words == levels ? "level" : "facility",
	    words == levels ? "emerg alert crit err warning notice info debug" :
	    "daemon auth authpriv user mail lpr news uucp ftp cron local0 to local7");
	return err_at(err, a->name, (int)i);
}

static int
set_log(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	struct log_to l = { .level = 6 };

	if (strcasecmp(v->word[0], "stderr") == 0 && v->n == 1) {
		l.kind = LOG_STDERR;
	} else if (strcasecmp(v->word[0], "syslog") == 0 && (v->n == 2 || v->n == 3)) {
		l.kind = LOG_SYSLOG;
		if (syslog_word(facilities, v, 1, a, &l.facility, err) == -1 ||
		    (v->n == 3 && syslog_word(levels, v, 2, a, &l.level, err) == -1))
			return -1;
	} else if (strcasecmp(v->word[0], "file") == 0 && v->n >= 2 && v->n <= 4) {
		l.kind = LOG_FILE;
		if (v->word[1][0] != '/')
			return fault(err, 1, a, v->word[1]);
		if (v->n > 2 && (!num_parse_size(v->word[2], INT64_MAX, &l.soft) || l.soft == 0))
			return fault(err, 2, a, v->word[2]);
		if (v->n == 3) {	/* one in a hundred more, at least 5 KiB, at most 20 */
			uint64_t more = l.soft / 100;

			l.hard = l.soft + (more < 5120 ? 5120 : more > 20480 ? 20480 : more);
		}
		if (v->n == 4 && (!num_parse_size(v->word[3], INT64_MAX, &l.hard) || l.hard < l.soft))
			return fault(err, 3, a, v->word[3]);
	} else if (strcasecmp(v->word[0], "syslog") == 0 || strcasecmp(v->word[0], "file") == 0 ||
	    strcasecmp(v->word[0], "stderr") == 0) {
		return err_set(err, "log_type takes %s", a->form);
	} else {
		return fault(err, 0, a, v->word[0]);
	}
	if (l.kind == LOG_FILE) {
		l.path = strdup(v->word[1]);
		if (l.path == NULL)
			return no_memory(a, err);
	}
	free(s->log.path);
	s->log = l;
	return 0;
}

static void
print_log(struct buf *b, const struct service *s, const struct attr *a)
{
	(void)a;
	switch (s->log.kind) {
	case LOG_MASTER:
		break;
	case LOG_STDERR:
		buf_addf(b, "STDERR");
		break;
	case LOG_SYSLOG:
		buf_addf(b, "SYSLOG %s %s", facilities[s->log.facility], levels[s->log.level]);
		break;
	case LOG_FILE:
		buf_addf(b, "FILE ");
		word_print(b, s->log.path);
		if (s->log.soft != 0)
			buf_addf(b, " %" PRIu64 " %" PRIu64, s->log.soft, s->log.hard);
		break;
	}
}

static int
set_ignored(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	(void)s;
	(void)err;
	attr_remark(v->note, v->arg, a->name, 0, "%s has no effect here: %s", a->name, a->help);
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
		if (!choose(a, v->word[i], &n))
			return fault(err, i, a, v->word[i]);
		if (n < IDLE_FLAGS)
			all |= 1U << n;
		else if (v->op != ATTR_REMOVE)
			attr_remark(v->note, v->arg, a->name, (int)i,
			    "%s, so the flag has no effect", why[n - IDLE_FLAGS]);
		if (1U << n == FLAG_DISABLE)
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
		else if (choose(a, v->word[i], &n))
			all |= 1U << n;
		else
			return fault(err, i, a, v->word[i]);
	}
	s->type = all;
	return 0;
}

/* --- printing */

static void
print_number(struct buf *b, const struct service *s, const struct attr *a)
{
	unsigned n = *(const unsigned *)field_of(s, a);

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
	buf_addf(b, "%03o", *(const unsigned *)field_of(s, a));
}

static void
print_bytes(struct buf *b, const struct service *s, const struct attr *a)
{
	buf_addf(b, "%d", *(const int *)field_of(s, a));
}

static void
print_duration(struct buf *b, const struct service *s, const struct attr *a)
{
	char text[32];

	buf_addf(b, "%s", num_print_duration(*(const int64_t *)field_of(s, a), text, sizeof text));
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
	buf_addf(b, "%s", a->choice[*(const unsigned *)field_of(s, a)]);
}

static void
print_bool(struct buf *b, const struct service *s, const struct attr *a)
{
	buf_addf(b, "%s", *(const bool *)field_of(s, a) ? "yes" : "no");
}

static void
print_bits(struct buf *b, const struct service *s, const struct attr *a)
{
	unsigned bits = *(const unsigned *)field_of(s, a);
	const char *before = "";

	for (unsigned i = 0; a->choice[i] != NULL; i++) {
		if ((bits & 1U << i) != 0) {
			buf_addf(b, "%s%s", before, a->choice[i]);
			before = " ";
		}
	}
}

static void
print_text(struct buf *b, const struct service *s, const struct attr *a)
{
	const char *text = *(char *const *)field_of(s, a);

	if (text != NULL)
		word_print(b, text);
}

static void
print_words(struct buf *b, const struct service *s, const struct attr *a)
{
	print_list(b, field_of(s, a));
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
	const struct rate *r = field_of(s, a);
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

static void
print_rules(struct buf *b, const struct service *s, const struct attr *a)
{
	const struct rules *r = field_of(s, a);

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

static void
print_range(struct buf *b, const struct service *s, const struct attr *a)
{
	const struct number_range *r = field_of(s, a);

	buf_addf(b, r->from == r->to ? "%u" : "%u-%u", r->from, r->to);
}

static void
print_deny(struct buf *b, const struct service *s, const struct attr *a)
{
	(void)a;
	if (s->deny_time == FOREVER || s->deny_time == 0)
		buf_addf(b, s->deny_time == 0 ? "NEVER" : "FOREVER");
	else
		buf_addf(b, "%u", s->deny_time);
}

const struct kind kind_number = { set_number, print_number }, kind_nice = { set_nice, print_nice },
    kind_octal = { set_octal, print_octal }, kind_bytes = { set_bytes, print_bytes },
    kind_duration = { set_duration, print_duration }, kind_linger = { set_linger, print_linger },
    kind_choice = { set_choice, print_choice }, kind_bool = { set_bool, print_bool },
    kind_flags = { set_flags, print_bits },
    kind_record = { set_record, print_bits }, kind_text = { set_text, print_text },
    kind_name = { set_name, print_text }, kind_path = { set_path, print_text },
    kind_words = { set_words, print_words }, kind_env = { set_env, print_words },
    kind_passenv = { set_passenv, print_words }, kind_rlimit = { set_rlimit, print_rlimit },
    kind_rate = { set_rate, print_rate }, kind_prefix = { set_prefix, print_prefix },
    kind_load = { set_load, print_load }, kind_rules = { set_rules, print_rules },
    kind_times = { set_times, print_times }, kind_listen = { set_listen, print_listen },
    kind_exec = { set_exec, print_exec }, kind_shell = { set_shell, print_shell },
    kind_log = { set_log, print_log }, kind_range = { set_range, print_range },
    kind_redirect = { set_redirect, print_words }, kind_deny = { set_deny, print_deny },
    kind_ignored = { set_ignored, NULL },
    kind_port = { set_port, print_text }, kind_type = { set_type, print_bits },
    kind_server = { set_server, print_text };

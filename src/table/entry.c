#include "table/entry.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "table/account.h"

enum { HINTS = 20 };	/* of accounts, in a table: a directory answers slowly */

static void
mark(uint64_t *set, const struct attr *row)
{
	set[(row - attrs) / 64] |= (uint64_t)1 << (row - attrs) % 64;
}

static bool
is_marked(const uint64_t *set, const char *attr)
{
	ptrdiff_t i = attr_find(attr) - attrs;

	return (set[i / 64] >> i % 64 & 1) != 0;
}

static bool
stands_in(const char *const *list, const char *name)
{
	for (; *list != NULL; list++)
		if (strcmp(*list, name) == 0)
			return true;
	return false;
}

/*
 * A value that is none: what the check would say of it, of those that stand for the same, and of those that it
 * decides about, only follows from that.
 */
static void
is_wrong(struct apply *k, const struct attr *row)
{
	static const struct {
		const char *of[8], *then[20];
		bool remarks;	/* only those */
	} follows[] = {
		{ { "listen", "port", "bind", "protocol", "socket_type", "type", "flags" },
		  { "listen", "port", "bind", "protocol", "socket_type", "mode", "owner", "session", "wait", "idle_timeout",
		    "hangup", "proxy_protocol", "only_from", "no_access", "per_source", "source_cps" }, false },
		{ { "exec", "shell", "server", "server_args", "redirect", "type", "flags" },
		  { "exec", "shell", "server", "server_args", "redirect", "send_proxy", "lookup" }, false },
		{ { "type", "rpc_version" }, { "type", "rpc_version" }, false },
		{ { "flags" }, { "deny_time" }, false },
		{ { "per_source", "source_cps" }, { "source_prefix", "instances" }, false },
		{ { "timeout", "idle_timeout" }, { "instances" }, false },
		{ { "proxy_protocol" }, { "proxy_from" }, false },
		{ { "session", "redirect", "type" }, { "idle_timeout" }, false },
		{ { "overload" }, { "instances" }, true },
		{ { "chroot", "directory" }, { "chroot", "directory" }, true },
		{ { "chroot", "directory", "env", "passenv" }, { "exec", "shell", "server" }, true },
	};

	mark(k->wrong, row);
	for (size_t g = 0; g < sizeof follows / sizeof follows[0]; g++)
		for (const char *const *a = follows[g].then; stands_in(follows[g].of, row->name) && *a != NULL; a++)
			mark(follows[g].remarks ? k->doubtful : k->wrong, attr_find(*a));
}

bool
entry_was_wrong(const struct apply *k, const char *attr)
{
	return is_marked(k->wrong, attr);
}

static void __attribute__((format(printf, 4, 5)))
fault(struct apply *k, const struct word *w, const char *hint, const char *fmt, ...)
{
	char text[500];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	conf_error(&k->t->conf, k->e->in, w, hint, "%s", text);
	k->e->faulty = true;
}

static const struct word *
word_of(const struct assign *a, int word)
{
	return word >= 0 && (size_t)word < a->n ? &a->word[word] : a->n > 0 && !a->field ? &a->word[0] :
	    &a->name;
}

static void
note_value(void *arg, const struct err *e)
{
	const struct apply *k = arg;

	conf_warn(&k->t->conf, k->e->in, word_of(k->a, e->word < 0 ? -1 : e->word + (int)k->skipped), NULL, "%s", e->text);
}

/* Was it assigned before in this entry? `defaults` are one entry in several blocks. */
static const struct assign *
earlier(const struct table *t, const struct entry *e, const struct assign *a)
{
	for (const struct entry *d = e->kind == ENTRY_DEFAULTS ? t->conf.first : e; d != NULL; d = d->next) {
		if (d->kind != e->kind)
			continue;
		for (const struct assign *b = d->first; b != NULL && b != a; b = b->next)
			if (b->row == a->row && !b->field)
				return b;
		if (d == e)
			break;
	}
	return NULL;
}

/* A machine that is short of something, or whose disk fails, is no fault of an entry: nothing is read then. */
static void
look_for_want(struct table *t, const struct err *err)
{
	t->conf.no_memory |= err->system == ENOMEM || err->system == EMFILE || err->system == ENFILE || err->system == EIO;
}

/*
 * `REUSE#comment`: where a word cannot hold a #, the rest is a comment. Returns how many words are
 * left, with the last one cut in `cut`.
 */
static size_t
without_comment(struct apply *k, const char **word, char *cut, size_t size)
{
	const struct assign *a = k->a;

	for (size_t i = 0; i < a->n; i++) {
		size_t n = strcspn(a->word[i].text, "#");

		if (a->word[i].quoted || a->word[i].text[n] == '\0' || n == 0 || n >= size)
			continue;
		memcpy(cut, a->word[i].text, n);
		cut[n] = '\0';
		word[i] = cut;
		word[i + 1] = NULL;
		conf_warn(&k->t->conf, k->e->in, &a->word[i], NULL, "from its # on the word is taken for a comment; "
		    "xinetd takes it for a part of the value");
		return i + 1;
	}
	return a->n;
}

/* The one of a row's values that was probably meant, or all of them. NULL: it has no such. */
static const char *
hint_of(struct table *t, const struct attr *row, const char *word)
{
	const char *near = attr_nearest_choice(row, word);
	char text[300] = "one of";

	if (near != NULL || row->choice == NULL || (row->flags & ATTR_LIST) != 0)
		return conf_meant(&t->conf, near);
	for (size_t i = 0, n = strlen(text); row->choice[i] != NULL && n < sizeof text; i++)
		n += (size_t)snprintf(text + n, sizeof text - n, " `%s`", row->choice[i]);
	return arena_text(&t->conf.arena, text, strlen(text));
}

static void
set(struct apply *k, struct service *s, enum attr_op op)
{
	const struct assign *a = k->a;
	const char **word = calloc(a->n + 1, sizeof *word), *hint = NULL;
	struct setting v = { .op = op, .word = word, .n = a->n, .note = note_value, .arg = k };
	char cut[256];
	struct err err = { .word = -1 };

	if (word == NULL) {
		k->t->conf.no_memory = true;
		return;
	}
	for (size_t i = 0; i < a->n; i++)
		word[i] = a->word[i].text;
	if ((a->row->flags & ATTR_FREE) == 0 && !a->field)
		v.n = without_comment(k, word, cut, sizeof cut);
	k->skipped = 0;
	while (attr_set(s, a->row, &v, &err) == -1) {
		bool whole = v.n == 0 || (op != ATTR_SET && (a->row->flags & ATTR_LIST) == 0);

		look_for_want(k->t, &err);
		/* A word too many is no wrong one. */
		hint = err.word >= 0 && (size_t)err.word < v.n && (v.n == 1 || (a->row->flags & ATTR_EACH) != 0) ?
		    hint_of(k->t, a->row, v.word[err.word]) : NULL;
		fault(k, whole ? &a->name : word_of(a, err.word < 0 ? -1 : err.word + (int)(v.word - word)), hint,
		    "%s", err.text);
		is_wrong(k, a->row);
		for (size_t i = 0; i < a->n; i++)
			if (strcmp(a->word[i].text, "=") == 0)
				is_wrong(k, attr_find("type"));	/* two on one line */
		/* The words of a list are told one by one: go on behind the faulty one. */
		if (err.word < 0 || (size_t)err.word + 1 >= v.n || (a->row->flags & ATTR_EACH) == 0)
			break;
		v.n -= (size_t)err.word + 1;
		v.word += err.word + 1;
		k->skipped = (size_t)(v.word - word);
		err.word = -1;
	}
	free(word);
}

static bool
is_written(const struct entry *e, const struct attr *row)
{
	for (const struct assign *a = e->first; a != NULL; a = a->next)
		if (a->row == row)
			return true;
	return false;
}

static void
unknown(struct apply *k)
{
	const char *name = k->a->name.text, *near = attr_nearest(name);

	if (k->t->conf.dialect == DIALECT_XINETD)
		conf_warn(&k->t->conf, k->e->in, &k->a->name, conf_meant(&k->t->conf, near),
		    "there is no attribute `%s`; ignored, as xinetd does", name);
	else
		fault(k, &k->a->name, conf_meant(&k->t->conf, near), "there is no attribute `%s`", name);
	if (near != NULL && k->t->conf.dialect != DIALECT_XINETD && !is_written(k->e, attr_find(near)))
		is_wrong(k, attr_find(near));
}

/* A second = of an attribute that has one value: it is not set. */
static void
repeated(struct apply *k, const struct assign *before)
{
	const struct assign *a = k->a;
	bool same = before->n == a->n;

	for (size_t i = 0; same && i < a->n; i++)
		same = strcmp(before->word[i].text, a->word[i].text) == 0;
	if (same || k->t->conf.dialect == DIALECT_XINETD)
		conf_warn(&k->t->conf, k->e->in, &a->name, NULL, "%s was given in line %u already; %s", before->name.text,
		    before->name.line, same ? "it says the same" : "the first holds, as in xinetd");
	else
		fault(k, &a->name, NULL, "%s was given in line %u already, with another value", before->name.text,
		    before->name.line);
}

static void
apply_one(struct apply *k, struct service *s)
{
	const struct assign *a = k->a, *before;
	bool defaults = k->e->kind == ENTRY_DEFAULTS, list;
	enum attr_op op = a->op;

	if (a->row == NULL) {
		unknown(k);
		return;
	}
	if (defaults && (a->row->flags & ATTR_ENTRY) != 0) {
		fault(k, &a->name, NULL, "%s belongs to one service and cannot stand in defaults", a->name.text);
		return;
	}
	if (!defaults && (a->row->flags & ATTR_SERVER) != 0) {
		fault(k, &a->name, NULL, "%s is of the whole server and can only stand in defaults", a->name.text);
		return;
	}
	list = (a->row->flags & (ATTR_LIST | ATTR_ONCE)) == ATTR_LIST;
	before = a->field ? NULL : earlier(k->t, k->e, a);
	if (before != NULL && a->op == ATTR_SET) {
		if (defaults && list) {
			op = ATTR_ADD;		/* as xinetd: there = means += */
			if (a->n == 0)
				return;
		} else if (list) {
			conf_warn(&k->t->conf, k->e->in, &a->name, NULL, "%s: this replaces the list of line %u; += "
			    "would add to it", a->row->name, before->name.line);
		} else if (k->t->conf.dialect == DIALECT_XINETD || (strcmp(a->row->name, "server") != 0 &&
		    strcmp(a->row->name, "exec") != 0 && strcmp(a->row->name, "shell") != 0 &&
		    strcmp(a->row->name, "redirect") != 0)) {
			repeated(k, before);
			return;
		}
	}
	set(k, s, op);
}

/* A name stands in logs, in --ready and in what is dumped: one word of printing characters. */
static void
check_name(struct apply *k)
{
	const char *name = k->e->name.text;
	size_t n = strlen(name);

	for (size_t i = 0; i < n; i++)
		if (!isgraph((unsigned char)name[i]) || strchr("{\"'\\", name[i]) != NULL || name[0] == '#')
			n = 0;
	if (n == 0 || n > 128)
		fault(k, &k->e->name, NULL, "a service's name is one word of at most 128 printing characters, without "
		    "quotes and \\");
}

void
entry_apply(struct apply *k, struct service *s)
{
	const struct assign *args = NULL;

	if (k->e->faulty)	/* a line of it could not be read: it may have said where, or what */
		is_wrong(k, attr_find("type"));
	else if (k->e->kind != ENTRY_DEFAULTS)
		check_name(k);
	for (k->a = k->e->first; k->a != NULL; k->a = k->a->next) {
		apply_one(k, s);
		if (k->a->row == NULL || k->a->field)
			continue;
		if (strcmp(k->a->row->name, "server_args") == 0)
			args = k->a;
		else if (args != NULL && strcmp(k->a->row->name, "flags") == 0 &&
		    (s->flags & FLAG_NAMEINARGS) != 0)
			conf_warn(&k->t->conf, k->e->in, &k->a->name, NULL, "NAMEINARGS holds wherever it stands; xinetd "
			    "looks only at what comes before server_args");
	}
}

/* --- remarks and faults of the check, at the word they are about */

const struct assign *
entry_assign(const struct table *t, const struct entry *e, const char *attr, const struct entry **of)
{
	const struct attr *row = attr_find(attr);
	const struct assign *found = NULL;

	*of = e;
	for (const struct assign *a = e->first; a != NULL; a = a->next)
		if (a->row == row)
			found = a;
	for (const struct entry *d = found == NULL ? t->defaults_first : NULL; d != NULL; d = d->next) {
		for (const struct assign *a = d->first; d->kind == ENTRY_DEFAULTS && a != NULL; a = a->next) {
			if (a->row == row) {
				found = a;
				*of = d;
			}
		}
		if (d == t->defaults_last)
			break;
	}
	return found;
}

const char *
entry_id(const struct entry *e)
{
	return e->id != NULL ? e->id : e->name.text;
}

const struct word *
entry_list_word(const struct entry *e, const char *attr, int n)
{
	const struct attr *row = attr_find(attr);
	const struct word *found = NULL;
	int base = 0;

	for (const struct assign *a = e->first; a != NULL && n >= 0; a = a->next) {
		if (a->row != row || a->op == ATTR_REMOVE)
			continue;
		if (a->op == ATTR_SET)
			base = 0;
		if (n >= base && (size_t)(n - base) < a->n)
			found = &a->word[n - base];
		base += (int)a->n;
	}
	return found;
}

static const struct word *
word_like(const struct entry *e, const struct attr *row, const char *text)
{
	for (const struct assign *a = e->first; a != NULL; a = a->next)
		for (size_t i = 0; a->row == row && i < a->n; i++)
			if (str_listed(a->word[i].text, text))
				return &a->word[i];
	return NULL;
}

static void
say_check(struct apply *k, bool error, const struct err *err)
{
	const struct entry *of = k->e;
	const struct assign *a = err->of != NULL ? entry_assign(k->t, k->e, err->of, &of) : NULL;
	const struct word *w = a != NULL ? word_of(a, err->word) : &k->e->name, *listed = NULL;
	const char *hint = NULL;
	char near[64];

	k->e->faulty |= error;
	if (err->of != NULL && (entry_was_wrong(k, err->of) || (!error && is_marked(k->doubtful, err->of))))
		return;
	if (a != NULL && (a->row->flags & ATTR_LIST) != 0)
		listed = err->at != NULL ? word_like(of, a->row, err->at) : entry_list_word(of, err->of, err->word);
	if (err->at != NULL && listed == NULL)	/* it is one of defaults' */
		return;
	w = listed != NULL ? listed : w;
	assert(w != NULL);
	if (!error) {
		conf_warn(&k->t->conf, of->in, w, NULL, "%s", err->text);
		return;
	}
	look_for_want(k->t, err);
	if (a != NULL && err->system == 0 && (strcmp(err->of, "user") == 0 || strcmp(err->of, "group") == 0) &&
	    k->t->hints++ < HINTS && account_nearest(err->of[0] == 'g', w->text, near, sizeof near))
		hint = conf_meant(&k->t->conf, near);
	conf_error(&k->t->conf, of->in, w, hint, "%s", err->text);
}

static void
note_check(void *arg, const struct err *err)
{
	say_check(arg, err->fault, err);
}

void
entry_check(struct apply *k, struct service *s)
{
	struct err err = { .word = -1 };

	if (s->id != NULL && strcmp(s->id, k->e->name.text) != 0)
		k->e->id = arena_text(&k->t->conf.arena, s->id, strlen(s->id));
	if (!s->off && check_service(s, k->t->m, note_check, k, &err) == -1)
		say_check(k, true, &err);
}

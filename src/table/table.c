#include "table/table.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "table/read.h"
#include "table/rivals.h"

/* --- entries to services */

struct apply {			/* one assignment on its way */
	struct table *t;
	struct entry *e;
	const struct assign *a;
};

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

	conf_warn(&k->t->conf, k->e->in, word_of(k->a, e->word), NULL, "%s", e->text);
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
	while (attr_set(s, a->row, &v, &err) == -1) {
		bool whole = v.n == 0 || (op != ATTR_SET && (a->row->flags & ATTR_LIST) == 0);

		look_for_want(k->t, &err);
		hint = NULL;
		if (err.word >= 0 && (size_t)err.word < v.n)
			hint = conf_meant(&k->t->conf, attr_nearest_choice(a->row, v.word[err.word]));
		fault(k, whole ? &a->name : word_of(a, err.word < 0 ? -1 : err.word + (int)(v.word - word)), hint,
		    "%s", err.text);
		/* The words of a list are told one by one: go on behind the faulty one. */
		if (err.word < 0 || (size_t)err.word + 1 >= v.n || (a->row->flags & ATTR_EACH) == 0)
			break;
		v.n -= (size_t)err.word + 1;
		v.word += err.word + 1;
		err.word = -1;
	}
	free(word);
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
		conf_warn(&k->t->conf, k->e->in, &a->name, NULL, "%s was given in line %u already; %s", a->row->name,
		    before->name.line, same ? "it says the same" : "the first holds, as in xinetd");
	else
		fault(k, &a->name, NULL, "%s was given in line %u already, and otherwise", a->row->name,
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
		fault(k, &a->name, NULL, "%s belongs to one service and cannot stand in defaults", a->row->name);
		return;
	}
	if (!defaults && (a->row->flags & ATTR_SERVER) != 0) {
		fault(k, &a->name, NULL, "%s is of the whole server and can only stand in defaults", a->row->name);
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

static void
apply(struct table *t, struct entry *e, struct service *s)
{
	struct apply k = { .t = t, .e = e };
	const struct assign *args = NULL;

	for (k.a = e->first; k.a != NULL; k.a = k.a->next) {
		apply_one(&k, s);
		if (k.a->row == NULL || k.a->field)
			continue;
		if (strcmp(k.a->row->name, "server_args") == 0)
			args = k.a;
		else if (args != NULL && strcmp(k.a->row->name, "flags") == 0 &&
		    (s->flags & FLAG_NAMEINARGS) != 0)
			conf_warn(&t->conf, e->in, &k.a->name, NULL, "NAMEINARGS holds wherever it stands; xinetd "
			    "looks only at what comes before server_args");
	}
}

/* --- remarks and faults of the check, at the word they are about */

const struct assign *
table_assign(const struct table *t, const struct entry *e, const char *attr, const struct entry **of)
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

const struct word *
table_list_word(const struct entry *e, const char *attr, int n)
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

static void
say_check(struct apply *k, bool error, const struct err *err)
{
	const struct entry *of = k->e;
	const struct assign *a = err->of != NULL ? table_assign(k->t, k->e, err->of, &of) : NULL;
	const struct word *w = a != NULL ? word_of(a, err->word) : &k->e->name;

	if (a != NULL && (a->row->flags & ATTR_LIST) != 0 && table_list_word(of, err->of, err->word) != NULL)
		w = table_list_word(of, err->of, err->word);
	if (!error) {
		conf_warn(&k->t->conf, of->in, w, NULL, "%s", err->text);
		return;
	}
	look_for_want(k->t, err);
	conf_error(&k->t->conf, of->in, w, NULL, "%s", err->text);
	k->e->faulty = true;
}

static void
note_check(void *arg, const struct err *err)
{
	say_check(arg, err->fault, err);
}

static int
by_word(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* `sorted`: enabled or disabled, which are put in order when defaults are complete. */
static bool
is_among(const struct words *sorted, const char *id)
{
	return sorted->n > 0 && bsearch(&id, sorted->word, sorted->n, sizeof *sorted->word, by_word) != NULL;
}

/* `outside`: is it off by what stands outside the entry? */
static bool
is_off(const struct table *t, const struct service *s, bool outside)
{
	const struct service *d = t->defaults;
	const char *id = s->id != NULL ? s->id : s->name;

	if (t->m->on != NULL && words_have(t->m->on, id))
		return false;
	if (t->m->off != NULL && words_have(t->m->off, id))
		return true;
	return (!outside && (s->disable || (s->flags & FLAG_DISABLE) != 0)) || is_among(&d->disabled, id) ||
	    (attr_given(d, "enabled") && !is_among(&d->enabled, id));
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
	if (!k->e->faulty && (n == 0 || n > 128))
		fault(k, &k->e->name, NULL, "a service's name is one word of at most 128 printing characters, without "
		    "quotes and \\");
}

static void
make_service(struct table *t, struct entry *e)
{
	struct apply k = { .t = t, .e = e };
	struct service *s = service_copy(t->defaults);
	struct err err = { .word = -1 };

	if (s != NULL)
		s->name = strdup(e->name.text);
	if (s == NULL || s->name == NULL) {
		t->conf.no_memory = true;
		service_free(s);
		return;
	}
	apply(t, e, s);
	check_name(&k);
	s->off = is_off(t, s, false);
	if (!s->off && (e->faulty ? check_account(s, t->m, &err) :
	    check_service(s, t->m, note_check, &k, &err)) == -1)
		say_check(&k, true, &err);
	if (!e->faulty && s->id == NULL)
		s->id = s->name;
	if (e->faulty) {
		t->faulty++;
		e->off = is_off(t, s, true);
		service_free(s);
		return;
	}
	t->item[t->n++] = (struct item){ .service = s, .entry = e };
}

/* --- the whole */

static void
quiet(void *arg, const struct err *err)
{
	(void)arg;
	(void)err;
}

/* What the name of the program brings. It is no word of the table: anything stands over it. */
static void
apply_presets(struct service *s, const struct master *m)
{
	struct err err;

	for (size_t i = 0; i < m->npresets; i++)
		(void)attr_set_option(s, m->preset[i], quiet, NULL, &err);
	for (size_t i = 0; i < sizeof s->given / sizeof s->given[0]; i++)
		s->given[i] = s->own[i] = 0;
}

/* `tried`: s is none of a table. What is taken away may stand in the table only: that is seen then. */
static int
apply_options(struct service *s, char *const *option, size_t n, bool tried, struct err *err)
{
	for (size_t i = 0; i < n; i++) {
		size_t len = strcspn(option[i], "=+-");
		char name[64];
		const struct attr *a;
		struct err e;

		(void)snprintf(name, sizeof name, "%.*s", (int)len, option[i]);
		a = attr_find(name);
		if (a != NULL && (a->flags & ATTR_ENTRY) != 0)
			return err_set(err, "-o %s: %s belongs to one service; the table says it", option[i], a->name);
		if (tried && a != NULL && option[i][len] == '-')
			continue;
		if (attr_set_option(s, option[i], quiet, NULL, &e) == -1)
			return err_set(err, "-o %s: %s", option[i], e.text);
	}
	return 0;
}

int
table_try_options(const struct master *m, char *const *option, size_t noptions, struct err *err)
{
	struct service *s = service_new();
	struct err why;
	int rc;

	if (s == NULL)
		return err_sys(err, ENOMEM, "-o");
	s->table = true;
	rc = apply_options(s, option, noptions, true, err);
	if (rc == 0 && check_account(s, m, &why) == -1)
		rc = err_set(err, "-o %s", why.text);
	service_free(s);
	return rc;
}

/* defaults, then -o. A fault in defaults is a fault of the whole: limits would be missing. */
static void
make_defaults(struct table *t)
{
	const struct entry *service = NULL;
	struct err err;

	service_free(t->defaults);
	t->defaults = service_new();
	if (t->defaults == NULL) {
		t->conf.no_memory = true;
		return;
	}
	t->defaults->table = true;
	apply_presets(t->defaults, t->m);
	for (struct entry *e = t->conf.first; e != NULL; e = e->next) {
		if (e->kind == ENTRY_BLOCK && service == NULL)
			service = e;
		if (e->kind != ENTRY_DEFAULTS)
			continue;
		t->defaults_first = t->defaults_first != NULL ? t->defaults_first : e;
		t->defaults_last = e;
		if (service != NULL)
			conf_warn(&t->conf, e->in, &e->name, NULL, "defaults holds for services before it too; in xinetd "
			    "access lists and what is logged would not");
		apply(t, e, t->defaults);
		t->conf.broken = t->conf.broken || e->faulty;
	}
	if (apply_options(t->defaults, t->option, t->noptions, false, &err) == -1) {
		diag_add(&t->diags, true, (struct place){ 0 }, err.text, NULL);
		t->conf.broken = true;
	}
	if (t->defaults->enabled.n > 1)
		qsort(t->defaults->enabled.word, t->defaults->enabled.n, sizeof(char *), by_word);
	if (t->defaults->disabled.n > 1)
		qsort(t->defaults->disabled.word, t->defaults->disabled.n, sizeof(char *), by_word);
}

static enum dialect
dialect_of(const struct table *t)
{
	struct service *s = service_new();
	enum dialect d;
	struct err err;

	if (s == NULL)
		return DIALECT_OWN;
	apply_presets(s, t->m);
	for (const struct entry *e = t->conf.first; e != NULL; e = e->next) {
		for (const struct assign *a = e->first; e->kind == ENTRY_DEFAULTS && a != NULL; a = a->next) {
			const char *word[2] = { a->n > 0 ? a->word[0].text : NULL, NULL };

			if (a->row != NULL && strcmp(a->row->name, "dialect") == 0 && a->n == 1)
				(void)attr_set(s, a->row, &(struct setting){ .op = ATTR_SET, .word = word, .n = 1,
				    .note = quiet }, &err);
		}
	}
	(void)apply_options(s, t->option, t->noptions, true, &err);
	d = (enum dialect)s->dialect;
	service_free(s);
	return d;
}

/* enabled and disabled may name what is not there: a slip of the pen, or of a package. */
static void
look_for_ids(struct table *t)
{
	const struct attr *const lists[] = { attr_find("enabled"), attr_find("disabled") };
	char **ids = calloc(t->n + t->faulty + 1, sizeof *ids);
	struct words all = { .word = ids };

	if (ids == NULL) {
		t->conf.no_memory = true;
		return;
	}
	for (size_t i = 0; i < t->n; i++) {
		assert(t->item[i].service != NULL);
		ids[all.n++] = t->item[i].service->id;
	}
	for (struct entry *e = t->conf.first; e != NULL && all.n < t->n + t->faulty; e = e->next)
		if (e->faulty && e->kind != ENTRY_DEFAULTS)
			ids[all.n++] = (char *)(uintptr_t)e->name.text;
	qsort(ids, all.n, sizeof *ids, by_word);
	for (const struct entry *e = t->defaults_first; e != NULL; e = e->next)
		for (const struct assign *a = e->first; e->kind == ENTRY_DEFAULTS && a != NULL; a = a->next)
			for (size_t i = 0; (a->row == lists[0] || a->row == lists[1]) && i < a->n; i++)
				if (!is_among(&all, a->word[i].text))
					conf_warn(&t->conf, e->in, &a->word[i], NULL, "no service has the id %s",
					    a->word[i].text);
	free(ids);
}

/* From what was read to services. */
static void
make_services(struct table *t)
{
	size_t entries = 0;

	make_defaults(t);
	for (const struct entry *e = t->conf.first; e != NULL; e = e->next)
		entries += e->kind == ENTRY_BLOCK || e->kind == ENTRY_LINE;
	t->item = calloc(entries + 1, sizeof *t->item);
	if (t->item == NULL || t->defaults == NULL) {
		t->conf.no_memory = t->unread = true;
		return;
	}
	for (struct entry *e = t->conf.first; e != NULL && !t->conf.no_memory; e = e->next)
		if (e->kind == ENTRY_BLOCK || e->kind == ENTRY_LINE)
			make_service(t, e);
	look_for_ids(t);
	rivals_find(t);
	for (size_t i = 0; i < t->n; i++)
		t->on += !t->item[i].service->off;
	if (t->conf.no_memory) {
		diag_add(&t->diags, true, (struct place){ 0 }, "the table is not used: the system had no memory or descriptor for it, or a disk failed", NULL);
		t->unread = true;
	}
	diags_sort(&t->diags);
	accounts_free(&t->accounts);
	t->m = NULL;
}

static void
begin(struct table *t, const struct master *m, struct master *with)
{
	*t = (struct table){ .m = with, .off = m->off };
	*with = *m;
	with->accounts = &t->accounts;
}

void
table_read(struct table *t, const struct master *m, char *const *files, size_t nfiles,
    char *const *option, size_t noptions)
{
	struct master with;
	enum dialect dialect;

	begin(t, m, &with);
	t->option = option;
	t->noptions = noptions;
	table_read_files(t, files, nfiles, DIALECT_OWN);
	dialect = dialect_of(t);
	if (dialect != DIALECT_OWN) {	/* it had to be read to know how it is to be read */
		table_forget_files(t);
		checked_free(&t->checked);
		t->unread = false;
		table_read_files(t, files, nfiles, dialect);
	}
	make_services(t);
}

void
table_read_text(struct table *t, const struct master *m, const char *text, size_t len)
{
	struct master with;
	struct err err;
	struct file *f;
	enum dialect dialect = DIALECT_OWN;

	begin(t, m, &with);
	for (int again = 0;; again++) {
		conf_begin(&t->conf, dialect, &t->diags);
		t->conf.is_user = table_is_user;
		t->conf.arg = t;
		f = file_of_text("-", text, len, &err);
		if (f == NULL)
			t->conf.no_memory = true;
		else
			table_take_file(t, f, "-");
		dialect = dialect_of(t);
		if (again == 1 || dialect == DIALECT_OWN)
			break;
		table_forget_files(t);
	}
	make_services(t);
}

void
table_free(struct table *t)
{
	for (size_t i = 0; i < t->n; i++)
		service_free(t->item[i].service);
	free(t->item);
	service_free(t->defaults);
	table_forget_files(t);
	while (t->once != NULL) {
		struct file *next = (struct file *)(void *)t->once->source.next;

		file_free(t->once);
		t->once = next;
	}
	checked_free(&t->checked);
	accounts_free(&t->accounts);
	*t = (struct table){ 0 };
}

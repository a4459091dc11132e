#include "table/table.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "table/entry.h"
#include "table/read.h"
#include "table/rivals.h"

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

static void
make_service(struct table *t, struct entry *e)
{
	struct apply k = { .t = t, .e = e };
	struct service *s = service_copy(t->defaults);

	if (s != NULL)
		s->name = strdup(e->name.text);
	if (s == NULL || s->name == NULL) {
		t->conf.no_memory = true;
		service_free(s);
		return;
	}
	entry_apply(&k, s);
	s->off = is_off(t, s, false);
	entry_check(&k, s);
	if (!e->faulty && s->id == NULL)
		s->id = s->name;
	if (e->faulty) {
		t->faulty++;
		t->faulty_on += !s->off || (entry_was_wrong(&k, "disable") && !is_off(t, s, true));
		e->asleep = s->off && !entry_was_wrong(&k, "disable");
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

struct remark {			/* on an option of the command line */
	struct table *t;
	const char *option;
};

static void
note_option(void *arg, const struct err *err)
{
	const struct remark *r = arg;
	struct err e;

	(void)err_set(&e, "-o %s: %s", r->option, err->text);
	diag_add(&r->t->diags, false, (struct place){ 0 }, e.text, NULL);
}

/* t NULL: s is none of a table. What is taken away may stand in the table only, or in another one: that is seen then. */
static int
apply_options(struct service *s, char *const *option, size_t n, struct table *t, struct err *err)
{
	for (size_t i = 0; i < n; i++) {
		struct err e;
		enum attr_op op;
		const struct attr *a = attr_of_option(option[i], &op, &e);

		if (a != NULL && (a->flags & ATTR_ENTRY) != 0)
			return err_set(err, "-o %s: %s belongs to one service; the table says it", option[i], a->name);
		if (attr_set_option(s, option[i], t != NULL ? note_option : quiet, &(struct remark){ t, option[i] }, &e) == 0)
			continue;
		if (!e.absent || (t != NULL && !t->m->alone))
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
	rc = apply_options(s, option, noptions, NULL, err);
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
		entry_apply(&(struct apply){ .t = t, .e = e }, t->defaults);
		t->conf.broken = t->conf.broken || e->faulty;
	}
	if (apply_options(t->defaults, t->option, t->noptions, t, &err) == -1) {
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
	(void)apply_options(s, t->option, t->noptions, NULL, &err);
	d = (enum dialect)s->dialect;
	service_free(s);
	return d;
}

/* The same for the words of -o. */
static void
look_for_options(struct table *t, const struct words *all)
{
	struct service *s = service_new();
	struct err err;

	if (s == NULL) {
		t->conf.no_memory = true;
		return;
	}
	for (size_t i = 0; i < t->noptions; i++) {
		enum attr_op op;
		const struct attr *a = attr_of_option(t->option[i], &op, &err);

		if (a == attr_find("enabled") || a == attr_find("disabled"))
			(void)attr_set_option(s, t->option[i], quiet, NULL, &err);	/* what it takes away is no matter */
	}
	for (int which = 0; which < 2; which++) {
		const struct words *w = which == 0 ? &s->enabled : &s->disabled;

		for (size_t i = 0; i < w->n; i++) {
			if (is_among(all, w->word[i]))
				continue;
			(void)err_set(&err, "-o %s: no service has the id %s", which == 0 ? "enabled" : "disabled", w->word[i]);
			diag_add(&t->diags, false, (struct place){ 0 }, err.text, NULL);
		}
	}
	service_free(s);
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
			ids[all.n++] = (char *)(uintptr_t)entry_id(e);
	qsort(ids, all.n, sizeof *ids, by_word);
	for (const struct entry *e = t->defaults_first; e != NULL; e = e->next)
		for (const struct assign *a = e->first; e->kind == ENTRY_DEFAULTS && a != NULL; a = a->next)
			for (size_t i = 0; (a->row == lists[0] || a->row == lists[1]) && a->op != ATTR_REMOVE && i < a->n; i++)
				if (!is_among(&all, a->word[i].text))
					conf_warn(&t->conf, e->in, &a->word[i], NULL, "no service has the id %s",
					    a->word[i].text);
	if (!t->m->alone)
		look_for_options(t, &all);
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
	*t = (struct table){ .m = with, .switched_on = m->on, .off = m->off };
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

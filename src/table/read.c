#include "table/read.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void
table_take_file(struct table *t, struct file *f, const char *path)
{
	struct source *s = &f->source;
	const struct word *address = t->conf.address, every = { .text = t->m->address, .quoted = true };
	const char *nul;
	struct err err;
	int exposed = file_exposed(path, f, &t->checked, &err);

	t->bytes += s->len;
	s->number = t->sources != NULL ? t->sources->number + 1 : 1;
	s->next = t->sources;
	t->sources = s;
	if (exposed >= 0)
		diag_add(&t->diags, exposed == 1, (struct place){ .in = s, .line = 1, .col = 1 }, err.text, NULL);
	if (exposed == 1) {
		t->conf.broken = true;
		return;
	}
	nul = memchr(s->text, '\0', s->len);
	if (nul != NULL) {
		struct word w = { .text = "", .line = 1, .col = 1 };

		for (const char *p = s->text; p < nul; p++) {
			w.line += *p == '\n';
			w.col = *p == '\n' ? 1 : w.col + 1;
		}
		conf_broken(&t->conf, s, &w, NULL, "a NUL byte: this is no text");
		return;
	}
	/* Each file begins with every address. */
	t->conf.address = t->m->address != NULL ? &every : NULL;
	conf_parse(&t->conf, s);
	t->conf.address = address;
}

struct include {		/* one include at work */
	struct table *t;
	const struct source *from;
	const struct word *path;
};

static void
say_skipped(void *arg, const char *name)
{
	const struct include *i = arg;
	char text[400];

	(void)snprintf(text, sizeof text, "%s is not read: includedir takes only names without a dot", name);
	diag_add(&i->t->diags, false, i->from != NULL ? conf_place(i->from, i->path) : (struct place){ 0 },
	    text, NULL);
}

static void
say_unread(struct include *i, bool error, const char *path, const struct err *err)
{
	char text[600];

	(void)snprintf(text, sizeof text, "%s: %s", path, err->text);
	diag_add(&i->t->diags, error, i->from != NULL ? conf_place(i->from, i->path) : (struct place){ 0 },
	    text, NULL);
	if (error && i->from != NULL)
		i->t->conf.broken = true;
	else if (error)
		i->t->unread = true;
}

static void
read_one(struct include *i, const char *path)
{
	struct table *t = i->t;
	struct err err;
	bool missing;
	struct file *f;

	/* Files that include each other several times would be read without end. */
	if (t->sources != NULL && t->sources->number >= FILES_MOST) {
		(void)err_set(&err, "too many files; at most %d are read", FILES_MOST);
		if (!t->too_many)
			say_unread(i, true, path, &err);
		t->too_many = true;
		return;
	}
	f = file_read(path, i->from, i->path != NULL ? i->path->line : 0, &missing, &err);
	if (f == NULL) {
		say_unread(i, true, path, &err);
	} else if (t->bytes + f->source.len > FILE_MOST) {
		(void)err_set(&err, "with this file it is larger than a table can be (%d MiB)", FILE_MOST >> 20);
		if (!t->too_many)
			say_unread(i, true, path, &err);
		t->too_many = true;
		file_free(f);
	} else {
		table_take_file(t, f, path);
	}
}

static void
read_directory(struct include *i, const char *path)
{
	struct err err;
	bool missing;
	char **list = files_of(path, say_skipped, i, &missing, &err);
	struct err why;
	int exposed = list != NULL ? file_exposed(path, NULL, &i->t->checked, &why) : -1;

	if (exposed >= 0) {
		diag_add(&i->t->diags, exposed == 1, i->from != NULL ? conf_place(i->from, i->path) :
		    (struct place){ 0 }, why.text, NULL);
		i->t->conf.broken = i->t->conf.broken || exposed == 1;
	}
	if (list == NULL) {
		/* Every distribution's xinetd.conf includes one that may not be there. */
		say_unread(i, !missing || i->from == NULL, path, &err);
		return;
	}
	for (char **p = list; *p != NULL; p++) {
		read_one(i, *p);
		free(*p);
	}
	free(list);
}

static void
read_pattern(struct include *i, const char *pattern)
{
	glob_t g;
	int rc = glob(pattern, GLOB_ERR, NULL, &g);

	if (rc != 0) {
		struct err err;

		(void)err_set(&err, rc == GLOB_NOMATCH ? "no file has such a name" : "cannot be read");
		say_unread(i, rc != GLOB_NOMATCH, pattern, &err);
		return;
	}
	for (size_t n = 0; n < g.gl_pathc; n++)
		read_one(i, g.gl_pathv[n]);
	globfree(&g);
}

static void
include(void *arg, struct conf *c, const struct source *from, const struct word *path, bool directory,
    bool glob_too)
{
	struct include i = { .t = arg, .from = from, .path = path };
	char *full = path_from(from, path->text);

	if (full == NULL)
		c->no_memory = true;
	else if (directory)
		read_directory(&i, full);
	else if (glob_too && access(full, F_OK) == -1 && strpbrk(full, "*?[") != NULL)
		read_pattern(&i, full);
	else
		read_one(&i, full);
	free(full);
}

bool
table_is_user(void *arg, const char *name)
{
	struct table *t = arg;
	struct err err;

	return account_find(&t->accounts, name, &err) != NULL;
}

/* A text that is gone when it has been read, and may be needed twice. */
static struct file *
read_once(struct table *t, const char *path, struct err *err)
{
	struct file *kept = t->once;
	bool missing;

	while (kept != NULL && strcmp(kept->source.name, path) != 0)
		kept = (struct file *)(void *)kept->source.next;
	if (kept == NULL) {
		kept = file_read(path, NULL, 0, &missing, err);
		if (kept == NULL)
			return NULL;
		kept->source.next = (struct source *)(void *)t->once;
		t->once = kept;
	}
	return file_of_text(path, kept->source.text, kept->source.len, err);
}

void
table_read_files(struct table *t, char *const *files, size_t nfiles, enum dialect dialect)
{
	struct include i = { .t = t };

	t->bytes = 0;
	t->too_many = false;
	conf_begin(&t->conf, dialect, &t->diags);
	t->conf.include = include;
	t->conf.is_user = table_is_user;
	t->conf.arg = t;
	t->conf.checking = t->m->checking;
	for (size_t n = 0; n < nfiles; n++) {
		bool missing = false;
		struct err err;
		struct file *f;

		f = file_once(files[n]) ? read_once(t, files[n], &err) : file_read(files[n], NULL, 0, &missing, &err);
		if (f != NULL)
			table_take_file(t, f, files[n]);
		else if (err.system == EISDIR)
			read_directory(&i, files[n]);
		else if (!missing || t->m->must == 0 || n < t->m->must)
			say_unread(&i, true, files[n], &err);
	}
}

void
table_forget_files(struct table *t)
{
	while (t->sources != NULL) {
		struct source *next = t->sources->next;

		file_free((struct file *)(void *)t->sources);
		t->sources = next;
	}
	conf_free(&t->conf);
	diags_free(&t->diags);
}

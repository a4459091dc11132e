/*
 * table: files to services: reads them, merges defaults, checks every entry, and finds two that
 * want one address. All faults are told in one run. Opens no socket.
 */
#ifndef TABLE_TABLE_H
#define TABLE_TABLE_H

#include "table/account.h"
#include "table/check.h"
#include "table/conf.h"
#include "table/files.h"

struct item {			/* a sound entry */
	struct service *service;	/* held */
	struct entry *entry;
};

struct table {
	const struct master *m;		/* borrowed; while it is read */
	const struct words *switched_on, *off;	/* borrowed: services that the master was told to switch; NULL: none */
	struct account *accounts;
	struct checked *checked;
	struct source *sources;		/* all texts; in struct files */
	struct file *once;		/* owned: copies of what can be read only once, chained as sources are */
	struct conf conf;
	struct diags diags;
	char *const *option;		/* borrowed: -o */
	size_t noptions;
	struct service *defaults;	/* held; the server's own attributes too */
	const struct entry *defaults_first, *defaults_last;	/* those that made it, others between them */
	struct item *item;		/* owned; in the order of the table */
	size_t n;
	size_t faulty, faulty_on;	/* entries that are not among them; those that nothing says to be off */
	size_t on;			/* services that are to be served */
	size_t bytes;			/* of all texts */
	unsigned hints;			/* so often the accounts were looked through for one that is meant */
	bool too_many;			/* files, or bytes; it was told */
	bool unread;			/* a table could not be read, or there is no memory */
};

/*
 * Reads the tables. The options are sound (table_try_options). What is wrong stands in t->diags.
 * Nothing of t is to be served if t->conf.broken or t->unread.
 */
void table_read(struct table *t, const struct master *m, char *const *files, size_t nfiles,
    char *const *option, size_t noptions);

/* The same for one text, which is copied; includes are not followed. */
void table_read_text(struct table *t, const struct master *m, const char *text, size_t len);

/* Can every -o be a word of `defaults`, as far as that can be said without the table? -1: err. */
int table_try_options(const struct master *m, char *const *option, size_t noptions, struct err *err);

void table_free(struct table *t);

/* Writes the table as service blocks that read back to the same. */
void table_dump(const struct table *t, struct buf *out);

#endif

/*
 * diag: what is wrong with a table, or worth a remark: where, one sentence, and what would be right.
 * All of it is kept, up to a bound, and printed as people read it.
 */
#ifndef TABLE_DIAG_H
#define TABLE_DIAG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

struct source {			/* a text that is parsed */
	struct source *next;
	char *name;		/* owned: the file's, or "standard input" */
	char *text;		/* owned */
	size_t len;
	unsigned number;	/* in the order of reading */
	const struct source *from;	/* included there; NULL: named by the caller */
	unsigned from_line;
};

struct place {
	const struct source *in;	/* NULL: no text, the command line */
	unsigned line, col;	/* from 1, col in bytes */
	const char *at;		/* that byte of the text; NULL: there is no line to show */
};

struct diag {
	struct place at;
	bool error;		/* else a warning */
	char *text;		/* owned */
	char *hint;		/* owned; NULL: none */
	size_t order;		/* of being said */
};

enum { DIAGS_MOST = 10000 };

struct diags {
	struct diag *diag;	/* owned */
	size_t n, size;
	size_t errors, warnings;	/* those dropped included */
};

/* Adds one; texts are copied, hint may be NULL. */
void diag_add(struct diags *d, bool error, struct place at, const char *text, const char *hint);

/* FILE:LINE:COL: error: sentence. Without a newline. */
void diag_line(const struct diag *d, struct buf *out);

/* That line, the line of the table with a caret, the hint, and where the file was included. */
void diag_print(const struct diag *d, bool colour, struct buf *out);

/* Puts them in the order of files, lines and columns. */
void diags_sort(struct diags *d);

void diags_print(const struct diags *d, bool colour, struct buf *out);

void diags_free(struct diags *d);

#endif

/*
 * conf_line: a classic line, or NetBSD's key-value entry, taken apart: the same fields, and the
 * same attributes come of them. For conf_inetd and conf_pairs.
 */
#ifndef TABLE_CONF_LINE_H
#define TABLE_CONF_LINE_H

#include "table/conf.h"

struct line {
	struct conf *c;
	struct entry *e;
	const struct source *in;
	const struct word *addresses;	/* "", "*", one or several with commas; NULL: none given */
	struct word service;		/* without addresses */
	struct word socket, proto, wait, user, group, program;	/* text NULL: not given */
	const struct word *arg;		/* argv[0] first */
	size_t nargs;
	bool inside;			/* internal */
	/* of the protocol */
	bool rpc, local, dgram;
	const char *scheme;
};

/* Tells a fault at a word, and makes the entry faulty. The hint may be NULL. */
void line_fault(struct line *l, const struct word *w, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Sets an attribute of the entry to one word that stands at `at` in the table. */
void line_give(struct line *l, const char *attr, const struct word *at, const char *text);
void line_give_text(struct line *l, const char *attr, const struct word *at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Splits ADDRESSES:SERVICE at the last colon; the addresses, if any, live in *addresses. */
void line_split_address(struct line *l, struct word *addresses);

/* All fields are there: makes attributes of them. */
void line_finish(struct line *l);

#endif

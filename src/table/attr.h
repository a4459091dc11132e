/*
 * attr: the vocabulary. One row a word; from the row follow -o, blocks, --dump, --attributes, "did
 * you mean" and the manual's check.
 */
#ifndef TABLE_ATTR_H
#define TABLE_ATTR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "table/service.h"

enum attr_op { ATTR_SET, ATTR_ADD, ATTR_REMOVE };

enum attr_where {
	ATTR_LIST = 1 << 0,	/* += and -= are possible */
	ATTR_SERVER = 1 << 1,	/* of the whole server: defaults and -o only */
	ATTR_LINE = 1 << 2,	/* the value is the rest of its line as it stands */
	ATTR_SHELL = 1 << 3,	/* its words are quoted as a shell would */
	ATTR_EMPTY = 1 << 4,	/* a value of no words means something */
	ATTR_ENTRY = 1 << 5,	/* names one service, its sockets or its program: not in defaults */
	ATTR_FREE = 1 << 6,	/* free text: a # inside a word is part of it */
	ATTR_TABLE = 1 << 7,	/* means nothing where one command is served */
	ATTR_ALIAS = 1 << 8,	/* another name of the row above */
	ATTR_NO_EFFECT = 1 << 9,	/* known, and without effect here */
	ATTR_EACH = 1 << 10,	/* each of its words stands for itself */
	ATTR_ONCE = 1 << 11,	/* a list of which one assignment is one member: a second = is a mistake */
};

/* A remark on something that is taken: of what, which word, one sentence. */
typedef void attr_note(void *arg, const struct err *e);

void attr_remark(attr_note *note, void *arg, const char *of, int word, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

struct setting {		/* one assignment, on its way into a service */
	enum attr_op op;
	const char *const *word;	/* n words, NULL behind them; borrowed */
	size_t n;
	attr_note *note;
	void *arg;
};

struct attr;

struct kind {			/* of value: how it is read, and written back as it would be read */
	int (*set)(struct service *, const struct attr *, const struct setting *, struct err *);
	void (*print)(struct buf *, const struct service *, const struct attr *);
};

struct attr {
	const char *name;
	const char *form;	/* of the value, for people */
	const char *initial;	/* the default, for people */
	const char *help;	/* one sentence */
	const struct kind *kind;
	size_t offset;
	uint64_t min, max;	/* bounds; of a duration `min` is the least */
	const char *const *choice;	/* NULL-terminated words */
	unsigned flags;		/* enum attr_where */
};

extern const struct attr attrs[];
extern const size_t nattrs;

/* The row of that name, in any case of letters; NULL: none. An alias gives the row it stands for. */
const struct attr *attr_find(const char *name);

/* The name most like this one, NULL if none is near. */
const char *attr_nearest(const char *name);

/* The one of a row's words most like this one, NULL if none is near or it has none. */
const char *attr_nearest_choice(const struct attr *a, const char *word);

/*
 * Sets an attribute to words. -1: err, with the index of the faulty word, and the service is not
 * to be used.
 */
int attr_set(struct service *s, const struct attr *a, const struct setting *v, struct err *err);

/* Of "NAME=VALUE", "NAME+=VALUE", "NAME-=VALUE", as -o takes it, the row, and how it is assigned. NULL: err. */
const struct attr *attr_of_option(const char *option, enum attr_op *op, struct err *err);

/* Does what such a one says. */
int attr_set_option(struct service *s, const char *option, attr_note *note, void *arg,
    struct err *err);

/* Says that there is no such attribute, with the one that was probably meant. Always -1. */
int attr_unknown(const char *name, struct err *err);

/* Was it written, if in defaults? By the entry itself? */
bool attr_given(const struct service *s, const char *name);
bool attr_own(const struct service *s, const char *name);

/* Says that it was, or was not. */
void attr_give(struct service *s, const char *name);
void attr_forget(struct service *s, const char *name);

#endif

/*
 * attr: the vocabulary. One row a word; from the row follow -o, --attributes, "did you mean", the
 * manual's check and, for the table, blocks and --dump.
 */
#ifndef TABLE_ATTR_H
#define TABLE_ATTR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "table/service.h"

enum attr_op { ATTR_SET, ATTR_ADD, ATTR_REMOVE };

enum attr_where {
	ATTR_LIST = 1 << 0,	/* += and -= are possible */
	ATTR_SERVER = 1 << 1,	/* of the whole server: defaults and -o only */
	ATTR_LINE = 1 << 2,	/* the value is the rest of its line as it stands */
	ATTR_EMPTY = 1 << 3,	/* a value of no words means something */
};

/* A remark on a value that is taken: one sentence. */
typedef void attr_note(void *arg, const char *text);

struct setting {		/* one assignment, on its way into a service */
	enum attr_op op;
	const char *const *word;	/* n words, NULL behind them; borrowed */
	size_t n;
	attr_note *note;
	void *arg;
};

struct attr {
	const char *name;
	const char *form;	/* of the value, for people */
	const char *initial;	/* the default, for people */
	const char *help;	/* one sentence */
	int (*set)(struct service *, const struct attr *, const struct setting *, struct err *);
	size_t offset;
	uint64_t min, max;	/* bounds; of a duration `min` is a bare number's unit */
	const char *const *choice;	/* NULL-terminated words */
	unsigned flags;		/* enum attr_where */
};

extern const struct attr attrs[];
extern const size_t nattrs;

/* The row of that name, in any case of letters; NULL: none. */
const struct attr *attr_find(const char *name);

/* The name most like this one, NULL if none is near. */
const char *attr_nearest(const char *name);

/*
 * Sets an attribute. -1: err, with the index of the faulty word, and the service is not to be used.
 * `text` is the value as written; it is split into words, or kept whole where the row says so.
 */
int attr_set(struct service *s, const struct attr *a, enum attr_op op, const char *text,
    attr_note *note, void *arg, struct err *err);

/* "NAME=VALUE", "NAME+=VALUE", "NAME-=VALUE", as -o takes it. */
int attr_set_option(struct service *s, const char *option, attr_note *note, void *arg,
    struct err *err);

/* Was it written? */
bool attr_given(const struct service *s, const char *name);

#endif

/*
 * state: records of names and values as text, by which a program tells its successor what it has. A
 * line a record, words between blanks: its kind, then NAME=VALUE. Who reads leaves out what it does not
 * know, and takes what is missing for nothing, so that versions may differ.
 */
#ifndef BASE_STATE_H
#define BASE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* A record: its kind, what it holds, its end. Texts may hold anything; NULL and no bytes are left out. */
void state_begin(struct buf *b, const char *kind);
void state_number(struct buf *b, const char *name, int64_t n);		/* 0 is left out */
void state_text(struct buf *b, const char *name, const char *s);
void state_bytes(struct buf *b, const char *name, const void *bytes, size_t len);
void state_end(struct buf *b);

enum { STATE_WORDS = 64 };

struct fact {			/* borrows from the text, which is changed */
	const char *kind;
	struct { const char *name; char *value; } word[STATE_WORDS];
	size_t n;
};

/* The next of a NUL-terminated text; false: there is none. */
bool state_next(char **at, struct fact *r);

int64_t state_get(const struct fact *r, const char *name, int64_t missing);
const char *state_get_text(const struct fact *r, const char *name);	/* NULL: none */

/* False: it is not there, or has not that many bytes. */
bool state_get_bytes(const struct fact *r, const char *name, void *out, size_t len);

#endif

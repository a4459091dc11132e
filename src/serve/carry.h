/*
 * carry: all that runs, as records that a successor of this program reads (base/state.h), so that it
 * goes on where this one was: services with their counts, listeners with their queues, children and
 * connections. There a service is first what its records say, only as far as those who are connected
 * need it: the successor's own table must follow before the loop turns.
 */
#ifndef SERVE_CARRY_H
#define SERVE_CARRY_H

#include "base/buf.h"
#include "base/state.h"
#include "serve/engine.h"

/* The first of the records: it tells what form the others have. */
void carry_form(const struct engine *e, struct buf *out);

/* Appends the records to `out`, and the descriptors that they name, as int, to `fds`. */
void carry_write(const struct engine *e, struct buf *out, struct buf *fds);

struct carry;

/* Of a check: the record of kind "engine" tells whether the others can be read. -1: err. */
int carry_look(const struct fact *r, struct err *err);

/* NULL: no memory. */
struct carry *carry_new(struct engine *e);

/* Takes one record, in the order in which they were written. -1: err, it cannot be kept. */
int carry_read(struct carry *k, const struct fact *r, struct err *err);

/* After the table has been taken: what depends on it. Frees k. */
void carry_finish(struct carry *k);

#endif

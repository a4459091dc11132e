/*
 * services: the services that run, brought to what a plan says: listeners that both have stay open
 * with their queues, others are opened and closed, live connections are never touched. An address
 * that cannot be bound is tried again with a growing delay.
 */
#ifndef MANAGE_SERVICES_H
#define MANAGE_SERVICES_H

#include "base/buf.h"
#include "base/state.h"
#include "manage/plan.h"
#include "serve/engine.h"

struct services;

struct applied {
	unsigned added, changed, removed, same, off, faulty;
	unsigned lost;		/* addresses that are not open, and for want of memory not tried again */
};

enum applying {			/* bits */
	APPLY_FIRST = 1,	/* an address that cannot be bound is an error */
	APPLY_ANYWAY = 2,	/* what there is no memory for is told and left out, the others go on */
};

struct absent {			/* an entry that does not run */
	char *id;		/* owned */
	char *fault;		/* owned; NULL: it is off */
};

/* NULL: no memory. */
struct services *services_new(struct engine *e);
void services_free(struct services *s);	/* closes the listeners */

/*
 * Takes what p says, and what it holds for it. -1: err; then the old ones serve on, as they were.
 */
int services_apply(struct services *s, struct plan *p, unsigned how, struct applied *did, struct err *err);

/* Before the first: nothing is inherited by a descriptor's number, a predecessor had it all. */
void services_resumed(struct services *s);

/* For a successor: records of kind "rpc", and what becomes of one there. Is something registered just now? */
void services_carry(const struct services *s, struct buf *out);
void services_resume(struct services *s, const struct fact *f);
bool services_register(const struct services *s);

/* Closes all listeners and forgets what waits. */
void services_close(struct services *s);

/* At once: what others know of them is taken back, the sockets stay. */
void services_abandon(struct services *s);

/* How many sockets listen. *why: why one does not, or NULL. */
size_t services_listening(const struct services *s, const char **why);

/*
 * "listen SERVICE ADDRESS" for each listener, "failed SERVICE ADDRESS REASON" for each that waits,
 * then "ready", a line each.
 */
void services_ready_lines(const struct services *s, struct buf *out);

/* A log line for each listener. */
void services_log(const struct services *s);

/* The entries that do not run; *n of them. */
const struct absent *services_absent(const struct services *s, size_t *n);

/* Each address that is not listened on yet: whose, and why. */
void services_waiting(const struct services *s, void (*tell)(void *arg, const struct unit *u, const char *why),
    void *arg);

/* Why one of all addresses is not listened on; NULL: all are. */
const char *services_waits_for(const struct services *s);

/* Why one of u's addresses is not listened on; NULL: all are. */
const char *services_waits(const struct services *s, const struct unit *u);

#endif

/*
 * place: where relays lead, in the worker: a target and the addresses that its name stands for. A name
 * is resolved by a process of its own, however long that takes.
 */
#ifndef SERVE_PLACE_H
#define SERVE_PLACE_H

#include <sys/types.h>

#include "net/loop.h"
#include "serve/job.h"

enum { ADDRESSES = 16 };	/* of one target, that are tried */

struct link;

struct place {
	unsigned refs;
	struct target is;
	struct addr *to;	/* owned: n of them */
	size_t n;
	bool known;		/* resolved, if to nothing */
	int64_t tried;		/* when that was found out */
	int fd;			/* of the process that resolves; -1 */
	uint32_t watch;
	pid_t pid;
	struct link *waiting;	/* the worker's: who waits for it to be known */
};

/* `known` is called when a place's addresses are. */
void place_begin(struct loop *l, void (*known)(struct place *));

/* A target is told, or told anew. */
void place_take(const struct target *t);

/* NULL: there is none. Hold what is kept, and leave it. */
struct place *place_find(uint32_t id);
struct place *place_hold(struct place *p);
void place_leave(struct place *p);	/* NULL is fine */

/* Asks for its name once more. */
void place_resolve(struct place *p);

#endif

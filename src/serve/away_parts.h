/* away_parts: what the files of away share: away.c has the connections, away_keep.c keeps the worker. */
#ifndef SERVE_AWAY_PARTS_H
#define SERVE_AWAY_PARTS_H

#include "serve/away.h"
#include "serve/conn.h"
#include "serve/job.h"

enum { AWAY_AGAIN = 100 };	/* ms until what failed for want of memory is tried again; at least, a worker started */

struct worker_state {
	struct engine *engine;
	pid_t pid;
	int channel;		/* -1: there is none now */
	uint32_t watch;
	struct worker_state *next;	/* of those that a predecessor of this program started */
	unsigned n, most;	/* connections it has; may have */
	struct conn *unsent;	/* the first of those that are not sent yet; in the engine's list, all behind it too */
	bool blocked;		/* the channel takes no more for now */
	bool behind;		/* it was asked to say when it has read all, and has not */
	bool old;		/* started by a predecessor of this program: it finishes what it has */
	bool leaving;		/* it is to end when nothing lingers there any more */
	struct timer again;
	int64_t delay;
	int64_t since;
	struct place_of *place;	/* owned: the targets, by their number from 1 */
	uint32_t nplaces, nfree;
	uint32_t told;		/* all up to that number are */
};

struct place_of {
	struct unit *unit;	/* whose target has that number; NULL: it is free */
	bool told;		/* the worker, and of it this one */
};

/* --- away.c */

/* Whose connection it is; NULL: nobody's any more. */
struct worker_state *away_worker(const struct conn *c);

/* It is not of the worker's any more; away_over gives back what it counts for, too. */
void away_unlist(struct worker_state *w, struct conn *c);
void away_over(struct worker_state *w, struct conn *c, const struct ended *end);

/* The channel takes messages again. */
void away_unblock(struct worker_state *w);

/* For loop_watch: reports came, or there is room. */
void away_ready(void *arg, uint32_t events);

/* --- away_keep.c */

/* No messages until there is room in the channel, or for want of memory a little later. */
void away_block(struct worker_state *w, int why);

/*
 * Tells where relays lead, as far as the channel takes it: the worker may be busy with its reports,
 * and each would wait for the other. Jobs come behind all of it.
 */
void away_tell_targets(struct worker_state *w);

/* The worker is gone, and what it served with it. An old one is freed. */
void away_lost(struct worker_state *w);

#endif

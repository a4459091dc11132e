/* listener: a bound socket of a unit and its state; accepting, admitting, pausing. */
#ifndef SERVE_LISTENER_H
#define SERVE_LISTENER_H

#include "net/sock.h"
#include "serve/engine.h"

struct listener {
	struct listener *next;		/* of the unit */
	struct unit *unit;
	struct bound bound;		/* owned */
	int type;			/* SOCK_STREAM, SOCK_SEQPACKET */
	uint32_t watch;			/* 0: not in the loop */
	unsigned batch;			/* how many the last turns found waiting */
	unsigned full_turns;		/* that took as many, in a row */
	unsigned faults;		/* accept(2) failures in a row */
	bool pausing;
	bool resource;			/* it pauses for want of a resource */
	enum reason why;		/* it pauses */
	struct timer timer;		/* when to try again; or not running */
	struct listener *prev_paused, *next_paused;
	bool listed;			/* among those that wait for a child's end anywhere */
};

/* Takes what `b` holds and begins to accept. NULL: errno, and b is the caller's still. */
struct listener *listener_open(struct unit *u, struct bound *b);

/*
 * Ends it: serves those who are already through (unless it pauses), closes the socket and removes
 * its path.
 */
void listener_close(struct listener *l);

/* A child of u has ended, or a resource came back: those that pause may go on. */
void listener_room(struct engine *e, struct unit *u);

#endif

/*
 * listener: a bound socket, or FIFO, of a unit and its state: what it is watched for, when it pauses
 * or rests. What is done with who comes is accept's, handover's or datagram's.
 */
#ifndef SERVE_LISTENER_H
#define SERVE_LISTENER_H

#include "net/sock.h"
#include "serve/admit.h"
#include "serve/engine.h"

enum took {
	TOOK_ALL,		/* nobody waits any more */
	TOOK_SOME,
	TOOK_PAUSE,		/* the listener pauses now */
};

struct listener;

/* A turn: at most so many of those that wait. */
typedef enum took listener_take(struct listener *l, unsigned most);

struct listener {
	struct listener *next;		/* of the unit */
	struct unit *unit;
	struct bound bound;		/* owned */
	uint64_t from;			/* the ADDRESS that it is of: where_hash */
	int type;			/* SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM; 0: a FIFO */
	listener_take *take;
	uint32_t watch;			/* 0: not in the loop */
	unsigned batch;			/* how many the last turns found waiting */
	unsigned full_turns;		/* that took as many, in a row */
	unsigned faults;		/* accept(2) failures in a row */
	unsigned blank;			/* turns in a row that found nobody */
	bool pausing;
	bool restored;			/* of a predecessor, and not moved yet: it pauses for nothing else */
	bool resource;			/* it pauses for want of a resource */
	bool said;			/* its pause is in the log */
	bool moved;			/* its service has changed: it may have to take in another way */
	bool parting;			/* in the engine's list of those, not in the unit's */
	enum reason why;		/* it pauses */
	struct timer timer;		/* when to try again; or not running */
	struct listener *prev_paused, *next_paused;
	struct listener *next_resting;
	bool rests;			/* among those; it is in the loop, for nothing */
	bool listed;			/* among those that wait for a child's end anywhere */

	union {				/* by what it takes; NULL: it is a connection's */
		struct outlet *outlet;		/* datagram_take, builtin_take: held; replies leave through it */
		struct handover *handover;	/* handover_take: owned */
	};
};

/* Takes what `b` holds and begins to serve. NULL: errno, and b is the caller's still. */
struct listener *listener_open(struct unit *u, struct bound *b);

/* The same for one that a predecessor of this program had: it rests until it is moved, or is closed. */
struct listener *listener_restore(struct unit *u, struct bound *b);

/*
 * Ends it: serves those who are already through (unless it pauses), closes the socket and removes
 * its path.
 */
void listener_close(struct listener *l);

/*
 * The same, but of a listening socket somebody may be in the middle of his handshake, on another processor
 * or far away: nobody finds it any more from now on, and a little later it is closed.
 */
void listener_part(struct listener *l);

/*
 * It is u's from now on, whose service may be of another kind: the socket and its queue stay. Where
 * that cannot be yet it rests, and is tried again.
 */
void listener_move(struct listener *l, struct unit *u);

/* Somebody is there, or a fault is. */
bool listener_is_readable(const struct listener *l);

/* A child of u has ended, or a resource came back: those that pause may go on. NULL: only those that rest. */
void listener_room(struct engine *e, struct unit *u);

/* Those that wait for any child's end, or for a resource, try now: the limit has become another. */
void listeners_retry(struct engine *e);

/*
 * Takes the listener out of the loop. `until`: try again then (0: when a child ends). A message
 * means that a resource is short: that is one state of the whole master, told once.
 */
void listener_pause(struct listener *l, enum reason why, int64_t until, const char *message);
void listener_resume(struct listener *l);

/* When to try again what a resource was short for: later each time. */
int64_t listener_delay(struct engine *e);

/*
 * Somebody waits, or may: can one more be taken? Where who `waits` stays in the kernel's queue, a
 * full service leaves it there. False: the listener pauses.
 */
bool listener_has_room(struct listener *l, bool waits);

#endif

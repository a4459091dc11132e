/* link_parts: what link.c and relay.c share of one connection in the worker. */
#ifndef SERVE_LINK_PARTS_H
#define SERVE_LINK_PARTS_H

#include "base/hash.h"
#include "serve/flow.h"
#include "serve/link.h"
#include "serve/place.h"

enum { LINK_EVENTS = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP };	/* and edge-triggered */

enum { LOOK_LEAST = 10, LOOK_MOST = 250 };	/* ms between looks at what no event tells */

enum link_state { LINK_RESOLVING, LINK_CONNECTING, LINK_OPEN, LINK_LINGERING };

struct link {
	struct hash_node node;	/* by number */
	struct links *in;
	struct link *next;	/* of those that have more to do at once */
	struct link *prev_waiting, *next_waiting;	/* of those whose target is not known yet */
	struct place *place;	/* of a relay; held */
	struct job job;
	int fd, to;		/* the client; the target, -1 */
	uint32_t watch, to_watch;
	struct flow up, down;	/* from the client; to the client */
	struct timer timer;
	int64_t moved;
	size_t address;		/* of the target, that is tried */
	unsigned line;		/* chargen: the next; of it */
	unsigned sent;
	enum link_state state;
	bool listed;		/* among those that have more to do */
	bool reported;		/* that it is over */
	bool reset;		/* lingering: it ends so, once the client has taken what there was */
	int untaken;		/* lingering: bytes that the client had not taken */
	int64_t until;		/* lingering: it is over then; connecting: how long a full queue is waited for */
	int64_t interval;	/* the last between looks */
	bool waiting;		/* for its target's addresses */
};

struct links {
	struct loop *loop;
	link_report *report;
	void *arg;
	struct hash by_number;
	unsigned n, nlingering, lingering_most;
	struct link *more, **more_end;	/* a queue */
	unsigned nmore;
};

/* --- link.c; those that end it may free l. */

/* The end. `reset`: the client is to see that it was no good end. */
void link_free(struct link *l, bool reset);

/* It is served, and counts for nothing any more; but the client may not have everything yet. */
void link_linger(struct link *l);

/* Everything for the client is sent: its end of stream is awaited, but not for ever. */
void link_finish(struct link *l);

/* Moves what there is. */
void link_run(struct link *l);

/* It has more to do at once. */
void link_again(struct link *l);

/* Something moved: idleness counts from now on. */
void link_moved(struct link *l, int64_t now);

struct report *link_tell(const struct link *l, enum report_kind kind);

/* --- relay.c; l may be freed. */

/* From a new one to an open one. */
void relay_begin(struct link *l);

/* What it waited for on that way was too long. */
void relay_late(struct link *l);

/* It is about to end: it waits for no addresses any more. */
void relay_no_more(struct link *l);

/* For place_begin: those that wait for its addresses go on. */
void relay_known(struct place *p);

/* A turn of an open one. */
void relay_run(struct link *l);

/* The target's side, if there is one, is to end as a reset. */
void relay_reset_target(const struct link *l);

#endif

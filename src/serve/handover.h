/*
 * handover: wait = yes, and FIFOs. One command at a time gets the listening socket itself, and the
 * server looks at it again when that one has ended. A command that ends and leaves there what was
 * there is started again, but after a growing pause.
 */
#ifndef SERVE_HANDOVER_H
#define SERVE_HANDOVER_H

#include "serve/listener.h"

struct handover {
	struct conn *child;		/* who has the socket now; the listener pauses meanwhile. NULL: nobody */
	uint64_t head;			/* what waited there when that one was started */
	int64_t ran;			/* ms: how long it did */
	int arrivals;			/* more came while it ran, so often at least; -1: not told yet */
	unsigned unread;		/* how often in a row one left what was there */
	bool ended;			/* it has ended, and it is to be seen what it left */
};

listener_take handover_take;

/* Before it is listened on; -1: no memory. */
int handover_prepare(struct listener *l, int fd);

/* Of UNIX datagrams the sender is asked for where a rule needs it. */
void handover_ask(const struct listener *l, int fd);

/* Who sent the first datagram was refused by the name that was found: it is read and dropped. */
void handover_drop(struct listener *l);

/* The listener's command has ended, having run for so many ms. */
void handover_over(struct listener *l, int64_t ran);

#endif

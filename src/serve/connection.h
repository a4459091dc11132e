/*
 * connection: one accepted connection, from the start of its child to the last byte: counts,
 * times, hangups, the end of its process group, and the lingering close.
 */
#ifndef SERVE_CONNECTION_H
#define SERVE_CONNECTION_H

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "serve/engine.h"

enum {
	CONN_MOST = 1 << 20,		/* connections of a master at once */
	CONN_LINGER_MOST = 4096,	/* that linger; the oldest gives way */
	BURIALS_MOST = 256,		/* processes that end UNIX connections, at once */
	START_MOST = 256,		/* starts in flight of one service; then its listeners pause */
};

/*
 * Serves the peer on fd: starts the child, or keeps the connection until there is a process for
 * it. Takes fd and source. False: it had to be kept, the listener should pause (errno says why).
 */
bool conn_serve(struct unit *u, int fd, const struct peer *peer, const struct addr *local,
    struct source *source);

/* Tells the peer that it is refused, logs it, and ends the connection gently. Takes fd. */
void conn_refuse(struct unit *u, int fd, const struct peer *peer, enum reason why);

/* Closes the longest lingering connection. False: there is none. */
bool conn_give_way(struct engine *e);

/* Tries to start what is waiting for a process (the timer's call). */
void conn_retry(void *arg, int64_t now);

struct ended {			/* a process that was reaped */
	pid_t pid;
	pid_t group;		/* its process group, as far as known */
	int status;		/* exit status, or the signal */
	bool signalled;
	struct rusage usage;
};

/*
 * A process has ended: a child of ours or, for process 1 and a subreaper, a stranger; then its
 * group's connection, if it has one, looks whether it was the last.
 */
void conn_reaped(struct engine *e, const struct ended *end);

/* Signals the process group of every connection. */
void conn_signal_all(struct engine *e, int sig);

/*
 * Ends one connection by its number, or with number 0 every one of the services of that id, as a
 * timeout would. Returns how many.
 */
unsigned conn_kill(struct engine *e, uint64_t number, const char *id);

/* Closes every connection that lingers; every one that waits for a process. */
void conn_drop_quiet(struct engine *e);
void conn_drop_waiting(struct engine *e);

/* Is there room to remember one more? Ask before accept(2). */
bool conn_room(struct engine *e);

/* Do the lists hold a domain, so that the child must decide about this peer by its name? */
bool conn_decides_by_name(const struct service *s, const struct peer *p);

/* Finds out which ways of signalling a group work here. */
void conn_probe(struct engine *e);

/* Is nothing left: no child, no group, nobody lingering or waiting? */
bool conn_none(const struct engine *e);

/* What lives of those services that say so (`anew`) is counted for its sources, as they are now. */
void conn_count_anew(struct engine *e);

/* Calls `each` for every connection there is. */
struct conn;
void conn_each(const struct engine *e, void (*each)(const struct conn *c, void *arg), void *arg);

void conn_free_all(struct engine *e);

#endif

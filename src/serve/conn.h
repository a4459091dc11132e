/*
 * conn: one connection from the inside, for the modules that share its life: pool (there is one),
 * connection (its child), group (its process group and its times), ending (its last bytes), record
 * (its log lines).
 */
#ifndef SERVE_CONN_H
#define SERVE_CONN_H

#include <linux/tcp.h>

#include "serve/connection.h"
#include "serve/errlog.h"

enum state {
	CONN_FREE,
	CONN_WAITING,		/* accepted; no process to be had yet */
	CONN_RUNNING,		/* its child lives */
	CONN_GROUP,		/* its child has ended, others of the group live */
	CONN_AWAY,		/* the worker serves it */
	CONN_HEADER,		/* its PROXY header is awaited */
	CONN_LINGERING,		/* our side is shut; the client's end is awaited */
};

struct conn {
	struct hash_node node;		/* by pid, while RUNNING or GROUP; by number, while AWAY */
	struct conn *prev, *next;	/* in the list of its state */
	struct unit *unit;
	struct service *conf;		/* held: what it was when it came */
	struct source *source;		/* while RUNNING or WAITING */
	struct errlog *errlog;
	struct dialog *dialog;		/* of datagrams; NULL: it is a connection. Owned */
	struct listener *handed;	/* wait = yes: whose socket its child has; NULL: none, or it is closed */
	struct header *header;		/* while HEADER: owned */
	struct addr *local;		/* while AWAY: whom it asked, if the target is told. Owned */
	uint64_t bytes_in, bytes_out;	/* what the worker counted; else what was last asked for */
	uint64_t number;
	int64_t started;
	int64_t deadline;		/* ms: TERM then, or KILL once told; of the lingering; 0: none */
	int64_t idle_at, look_at;	/* ms: when to look; 0: not */
	struct timer timer;
	struct peer peer;
	uint32_t index;
	int fd;				/* -1: not held */
	uint32_t fd_watch;
	int pidfd;			/* -1: none */
	uint32_t pid_watch;
	pid_t pid;
	int tell;			/* of the lookup; -1: none */
	uint32_t tell_watch;
	uint32_t interval;		/* ms: the last between looks */
	uint32_t untaken;		/* lingering: bytes that the client had not taken */
	enum state state : 8;
	bool told;			/* its group has been sent TERM: KILL is next */
	bool refused;			/* by the lookup, or before it: `asked` */
	bool asked;			/* refused, and its child only asks who it is: it counts for nothing */
	bool end_seen;			/* lingering: the client's end of stream */
	bool taken;			/* the client has everything: closing cannot wait */
	bool shut;			/* our end of stream has been sent */
	bool counted;			/* bytes_in and bytes_out are known */
};

/* pool: a new one, in no state; conn_room was asked. Takes fd and source. */
struct conn *conn_new(struct unit *u, int fd, const struct peer *peer, struct source *source);

/* Counts it for its source, as the service is now, if in that state it counts. */
void conn_count(struct conn *c, enum state state);

/* connection: starts its child. -1: errno, and it is as it was. */
int conn_start(struct conn *c, const struct addr *local);

/* The same, or keeps it until there is a process; false: kept, the listener should pause. */
bool conn_begin(struct conn *c, const struct addr *local);

/*
 * One that a predecessor of this program had goes on: everything of it is as it was there, but for
 * what is watched and counted. `state`: RUNNING, GROUP or LINGERING. It may end at once.
 */
void conn_resume(struct conn *c, enum state state);

/* Moves it to that state and its list. */
void conn_enter(struct conn *c, enum state to);

/* The end of it: closes what it holds. */
void conn_free(struct conn *c);

/* The one whose child has, or had, that pid; NULL: none. */
struct conn *conn_find(const struct engine *e, pid_t pid);

/* group: is no process of the child's group left? */
bool conn_group_gone(const struct conn *c);

/* TERM to the group now, KILL later; `why` is logged, NULL: nothing is. */
void conn_end_group(struct conn *c, const char *why);

void conn_say_kill(const struct conn *c, const char *why);

/* connection: what everybody gets to read who is served. */
void conn_banners(struct conn *c);

/* header: it did not come in time; what was read of it. */
void header_late(struct conn *c);
void header_free(struct conn *c);

/* Starts the timer for what is due first. */
void conn_set_timer(struct conn *c);

/* The loop's calls. */
void conn_timer(void *arg, int64_t now);
void conn_hung_up(void *arg, uint32_t events);

/* What the kernel tells of a TCP connection; false: it is none. */
bool conn_tcp_info(int fd, struct tcp_info *i);

struct traffic { uint64_t in, out; int64_t idle /* ms; -1: not known */; };

/* record: what has passed over it so far. False: nobody can tell. */
bool conn_traffic(const struct conn *c, struct traffic *t);

/*
 * Adds what has passed since it was asked last to the unit's bytes. Ask before our end of stream is
 * sent: the kernel counts it.
 */
void record_bytes(struct conn *c);

/* ending: our side is done; sends the end of stream and waits for the client's. c may be freed. */
void conn_finish(struct conn *c);

/* One more look at a connection that lingers; at a UNIX one that waits for its burial. */
void conn_linger(struct conn *c, int64_t now);
void conn_finish_unix(struct conn *c);

/* record: the lines of its life. */
void record_start(const struct conn *c, const char *host);
void record_user(const struct unit *u, const struct peer *peer, const char *user);
void record_fail(struct unit *u, const struct peer *peer, enum reason why, const char *host);
void record_exit(const struct conn *c, const struct ended *end);
void record_traffic(const struct conn *c);	/* what a relay carried */
void record_not_started(const struct conn *c, uint32_t failed);

#endif

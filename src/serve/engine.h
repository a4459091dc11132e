/*
 * engine: what all services of the master share while they run, and a service at run time (a
 * unit). Plain state; listener.c and connection.c work on it.
 */
#ifndef SERVE_ENGINE_H
#define SERVE_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/log.h"
#include "child/helper.h"
#include "child/spawn.h"
#include "net/loop.h"
#include "policy/ban.h"
#include "policy/limit.h"
#include "table/service.h"

struct conn;
struct history;
struct listener;

enum reason {			/* why a connection is refused, or a listener pauses */
	REASON_ADDRESS, REASON_TIME, REASON_SOURCE_RATE, REASON_PER_SOURCE, REASON_SERVICE_LIMIT,
	REASON_PROCESS_LIMIT, REASON_LOAD, REASON_FORK, REASON_SENSOR, REASON_PROXY, REASONS,
};

/* SPEC's word for it. */
const char *reason_text(enum reason r);

struct last_error {
	int64_t at;		/* wall clock, s */
	char text[];
};

struct past {			/* of most services there is none, so it takes no room in them */
	uint64_t bytes_in, bytes_out;	/* of connections that are over */
	bool counted;		/* of one of them they were known */
	struct last_error *error;	/* owned; NULL: there was none */
};

enum flood { FLOOD_REFUSALS, FLOOD_FAILURES, FLOOD_STDERR, FLOOD_REPLIES, FLOODS };	/* kinds of lines */

struct unit {
	struct service *conf;	/* held */
	struct unit *prev, *next;	/* of the engine's */
	struct engine *engine;
	uint64_t number;	/* unique: the sources' key */
	uint64_t print;		/* of the entry it was made from */
	unsigned uses;		/* connections, and logs of children, that point here */
	unsigned live;		/* children whose first process lives */
	unsigned starting;	/* starts in flight */
	unsigned awaited;	/* connections whose PROXY header is not there yet */
	uint32_t place;		/* the worker's number of its target, from 1; 0: none */
	struct muxed *muxed;	/* owned: tcpmux leads here; NULL: it does not */
	struct pace pace;
	struct listener *listeners;	/* a list */
	struct sink *log;	/* held: where its lines go, maybe several places; NULL: the master's own log */
	struct bucket flood[FLOODS];	/* of each kind of lines */
	unsigned flood_dropped[FLOODS];
	int64_t flood_line[FLOODS];	/* when one was written last */
	struct unit *next_flooded;	/* in the engine's list, if `flooded` */
	bool flooded;		/* lines were dropped and not told yet */
	bool retired;		/* gone from the table: it stays while `uses` says so */
	bool claimed;		/* by an entry of the plan that is being applied */
	bool anew;		/* its connections' sources are to be counted again: conn_count_anew */
	uint64_t started, failed, refused[REASONS];
	struct past *past;	/* owned; NULL: nothing to tell */
	struct history *history;	/* owned; NULL: nothing came lately, or nobody looks */
};

struct engine {
	struct loop *loop;
	struct spawner *spawner;
	uint32_t bell;		/* the watch of its bell */
	struct sources sources;
	struct bans bans;	/* who touched a sensor */
	struct hash by_pid;	/* connections with a child or a group */
	struct unit *units, *units_last;	/* a list, in the order of the table */
	struct unit *gone;	/* a list: retired ones */
	struct listener *parting;	/* owned: a list of those that nobody finds any more */
	bool unused;		/* one of them is free now */
	struct worker_state *worker;	/* owned; NULL: none was needed yet */
	struct worker_state *old_workers;	/* owned: started by a predecessor of this program */
	struct conn *away, *away_last;	/* connections that workers have */
	struct hash away_by_number;	/* the same */
	struct lower lower;	/* what processes of ours become */
	struct hash muxed;	/* units that tcpmux leads to */
	struct errlog *errlogs;	/* a list: all there are */
	struct hash sessions;	/* dialogs of `session`, by peer */
	uint16_t *builtin_ports;	/* owned: of each port, how many built-ins answer datagrams there; NULL: none */
	void *chunks;		/* all connections there are, in use or not; owned */
	struct conn *spare;
	uint32_t *failed;	/* one word a connection, shared with children */
	uint32_t nconns;	/* made so far */
	struct conn *lingering, *lingering_last;	/* oldest first */
	unsigned nlingering, lingering_most;
	unsigned awaited;	/* connections whose PROXY header is not there yet */
	unsigned awaited_children;	/* of those, whom a child is to serve */
	unsigned asking;	/* processes that only ask who was refused */
	unsigned burials;	/* processes that end UNIX connections */
	struct conn *waiting, *waiting_last;	/* accepted, and no process to be had for them yet */
	struct conn *running, *running_last;	/* with a child or a group */
	unsigned limit;		/* children at once; UINT32_MAX: unlimited */
	unsigned live;
	uint64_t next_conn;
	struct listener *resting;	/* a list: until the worker has read what it was sent */
	struct listener *paused, *paused_last;	/* until a child ends anywhere, oldest first */
	unsigned npaused_short;	/* listeners that pause for want of a resource */
	int64_t backoff;	/* ms: the next delay for want of a resource */
	struct unit *flooded;	/* a list: of their lines some were dropped */
	struct timer flood_over;	/* tells what was dropped when no line comes any more */
	struct timer tick;	/* once a second while starts are in flight */
	struct timer settle;	/* every ms while copies for children are to be let go */
	struct timer retry;	/* for `waiting` */
	double load;		/* load average, read at load_at */
	int64_t load_at;
	int load_fd;
	bool stopping;		/* kill_after is at most a second */
	bool no_pidfd;		/* a child is only known by SIGCHLD */
	bool pidfd_signals, pidfd_groups;	/* pidfd_send_signal(2) works, for groups too */
	void (*sweep)(void *arg);	/* reaps strangers, if it was not done just now */
	void *sweep_arg;
	void (*room)(struct engine *e, struct unit *u);	/* listener_room */
	struct history *history;	/* of all services together; owned; NULL: nobody looks */
	struct history *recent, *recent_last;	/* a list: of services, those with news first */
	unsigned watchers;	/* services that show it: `status` */
	/* In a process of its own: answers a client of the built-in `status`. */
	void (*answer)(void *arg, const struct service *s, const struct peer *peer, int fd);
	void *answer_arg;
	uint32_t *ending;	/* shared with children: the server drains or stops */
};

/* NULL: errno. The descriptors below the spawner's zone must be free: call it early. */
struct engine *engine_new(struct loop *loop);
void engine_free(struct engine *e);

/*
 * A service begins to run; no listener yet. Holds conf. NULL: no memory. `instead`: whose pace it need not have,
 * for it is to take that one's place by unit_change; or NULL.
 */
struct unit *unit_new(struct engine *e, struct service *conf, const struct unit *instead);
void unit_free(struct unit *u);

/* It is as `to` from now on, for those who come; its counts stay. Takes `to`, a new one. */
void unit_change(struct unit *u, struct unit *to);

/* Its entry is gone: it is freed by units_bury when nobody uses it any more; or comes back. */
void unit_retire(struct unit *u);
void unit_return(struct unit *u);
void unit_to_end(struct unit *u);	/* of the engine's list */
void unit_leave(struct unit *u);	/* one that used it does so no more */
void units_bury(struct engine *e);

/* How the service wants its log lines. */
struct log_style unit_style(const struct unit *u);

/* Its past, made if there was none. NULL: no memory. */
struct past *unit_past(struct unit *u);

/* One came and is served, or is refused. */
void unit_started(struct unit *u);
void unit_refused(struct unit *u, enum reason why);

/* A line about a service with a sentence. An "error" is remembered for the status. */
void unit_say(struct unit *u, enum level level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* What is to be remembered as its last error, and when that was (wall clock, s). */
void unit_failed_at(struct unit *u, const char *text, int64_t at);

/*
 * May a line of this kind be written? At most a burst of them, then one a second; what is dropped
 * is counted, and told with the next one that is written or when a second has passed.
 */
bool flood_allows(struct unit *u, enum flood f);

/* What was dropped so far is told now. */
void engine_tell_dropped(struct engine *e);

/* The one-minute load average, at most a second old. */
double engine_load(struct engine *e);

#endif

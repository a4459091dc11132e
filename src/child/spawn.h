/*
 * spawn: one child in flight, from clone until it has exec'd or ended. The only module that forks.
 *
 * Three ways, one behaviour:
 *   async   clone(CLONE_VM) on a stack of its own; the master does not wait for the exec. A
 *           child shares the descriptor table and copies only its lowest numbers; one that alone is
 *           to have the connection does so only where there are many.
 *           Linux 5.16 and later on x86-64 and aarch64.
 *   vfork   the master waits for the exec. Everywhere else.
 *   fork    for what must run code of libc in the child (a name lookup), under sanitizers and
 *           valgrind, and where sharing memory with a child is not safe.
 */
#ifndef CHILD_SPAWN_H
#define CHILD_SPAWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "child/vars.h"
#include "child/way.h"

struct spawner;

struct order {			/* one child to be started; borrowed for the call but for `run` and `starting` */
	struct facts facts;
	int fd;			/* the connection, or with facts.listening the listener */
	int in;			/* for descriptor 0; -1: the connection */
	bool give_fd;		/* it is closed here once the child runs; else the caller keeps it */
	int highest;		/* descriptor of the caller, about: its table is so large */
	int err;		/* for descriptor 2: -1 the connection, 2 the master's, else this one */
	bool give_err;		/* as give_fd */
	uint32_t *failed;	/* in memory from spawn_shared(); 0, until a step fails: step << 16 | errno */
	unsigned *starting;	/* counts the starts in flight; outlives them */
	/*
	 * With it the child is forked and calls this first, with all of libc. It may change what
	 * the facts point to. False: the child ends with status 0 and the command does not run.
	 */
	bool (*before)(void *arg, struct facts *f);
	void *arg;
};

struct spawned {
	pid_t pid;
	int pidfd;		/* owned by the caller; -1: the kernel has none */
	bool in_flight;		/* it may not have exec'd yet */
	bool settles;		/* spawner_settle is to be called soon */
};

/* Sets up what is needed and finds the best way that works here. NULL: errno. */
struct spawner *spawner_new(void);
void spawner_free(struct spawner *s);
enum spawn_way spawner_way(const struct spawner *s);

/* Starts a child and closes what was given. -1: errno, and nothing was given. */
int spawn(struct spawner *s, const struct order *o, int64_t now, struct spawned *out);

/* /dev/null, at a number that every child's copy of the table has: for order.err. Not to be closed. */
int spawner_null(const struct spawner *s);

/*
 * An eventfd, readable when a child waits for spawner_settle. The caller watches and closes it. -1: none
 * ever does.
 */
int spawner_bell(const struct spawner *s);

/* Are starts in flight? */
bool spawner_busy(struct spawner *s);

/*
 * Lets go of copies that were made for children which have their own by now, and which keep a
 * connection or a pipe open here. Every ms while it returns true, and when a child was reaped.
 */
bool spawner_settle(struct spawner *s);

/* This process ends: a child that waits for spawner_settle needs not any more. */
void spawner_let_go(struct spawner *s);

/*
 * Once a second while a start is in flight: kills starts older than 10 s (a hung file system, a
 * SIGSTOP from its own user), calls `told` with each one's pid, and lets go of low descriptors of
 * ended starts. Returns whether it is to be called again.
 */
bool spawner_tick(struct spawner *s, int64_t now, void (*told)(void *arg, pid_t pid), void *arg);

/* Memory that a child writes and the master reads, whichever way it is started. NULL: errno. */
void *spawn_shared(size_t size);

#endif

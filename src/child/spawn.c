#include "child/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "child/burial.h"
#include "child/clone.h"
#include "child/raw.h"
#include "child/setup.h"

enum {
	STACK = 8192,		/* the child's code up to exec is shallow: setup.c and no libc */
	BIG_STACK = 65536,	/* where it runs libc's system calls */
	BLOCK = 4096,		/* first size of an environment */
	LOW = 64,		/* children that may share the table at once */
	PAIRS = 8,		/* of them with more descriptors than their connection */
	MOST = 1024,		/* starts in flight */
	STUCK = 10000,		/* ms */
	KEPT = 16,		/* slots whose memory is kept when all is quiet */
	MANY = 1000,		/* descriptors: to copy their table costs more than to wait for the master */
};

struct slot {			/* what one child in flight works with; not touched until it is clear */
	int ctid;		/* 0: the child has exec'd or ended. Written by the kernel */
	struct slot *next;
	char *stack;		/* owned */
	char *block;		/* owned: its environment */
	size_t size;
	struct start start;
	pid_t pid;
	int64_t since;
	unsigned *starting;
	int low;		/* its number in the low zone; -1: it has none */
	int pair;		/* which of the spawner's; -1: none */
	bool used_low;		/* those numbers still hold copies */
	bool by_unix;		/* its connection */
	struct slot *next_soon;	/* they must not for long */
};

struct spawner {
	enum spawn_way way;
	bool ids_unsafe;	/* fs.suid_dumpable is 1: other users' children must not share memory */
	int null;		/* the lowest number of all that are ours: in every child's copy */
	int bell;		/* in it too: an eventfd that says that a child waits; -1: none */
	struct slot *free;	/* a stack */
	struct slot *soon;	/* whose low numbers are to be let go as soon as their child has its own table */
	int pair[PAIRS][2];	/* low numbers for descriptors 0 and 2, where they are not the connection */
	bool taken[PAIRS];
	struct slot *head, **tail;	/* in flight, oldest first */
	struct slot *all[MOST];
	unsigned nslots;
};

void *
spawn_shared(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int
spawner_null(const struct spawner *s)
{
	return s->null;
}

int
spawner_bell(const struct spawner *s)
{
	return s->bell;
}

enum spawn_way
spawner_way(const struct spawner *s)
{
	return s->way;
}

/* --- slots */

static void
slot_free(struct slot *t)
{
	if (t->stack != NULL)
		(void)munmap(t->stack, STACK);
	free(t->block);
	free(t);
}

void
spawner_free(struct spawner *s)
{
	if (s == NULL)
		return;
	for (unsigned i = 0; i < s->nslots; i++) {
		/* One still in flight works with its memory: then that is left to the end. */
		if (__atomic_load_n(&s->all[i]->ctid, __ATOMIC_ACQUIRE) == 0)
			slot_free(s->all[i]);
	}
	(void)close(s->null);
	free(s);
}

/* The lowest descriptors are the spawner's: nothing else of the master may land there. */
static void
take_low(struct spawner *s, struct slot *t)
{
	struct rlimit r;

	t->low = -1;
	if (s->way != SPAWN_ASYNC || s->nslots >= LOW)
		return;
	if (getrlimit(RLIMIT_NOFILE, &r) == -1 || r.rlim_cur < 1024)
		return;
	t->low = fcntl(s->null, F_DUPFD_CLOEXEC, s->null + 1);
}

static struct slot *
slot_new(struct spawner *s)
{
	struct slot *t;

	if (s->nslots == MOST) {
		errno = EAGAIN;
		return NULL;
	}
	t = calloc(1, sizeof *t);
	if (t == NULL)
		return NULL;
	t->pair = -1;
	take_low(s, t);
	s->all[s->nslots++] = t;
	return t;
}

/*
 * The first slots have numbers in the low zone. They are made at once, before anything else of the
 * master can land there, and the lowest is used first: a child copies the table up to its number.
 */
static void
make_low_zone(struct spawner *s)
{
	int bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	s->bell = bell != -1 && bell < s->null ? fcntl(bell, F_DUPFD_CLOEXEC, s->null + 1) : bell;
	if (s->bell != bell)
		(void)close(bell);
	while (s->nslots < LOW && slot_new(s) != NULL)
		;
	for (unsigned i = s->nslots; i > 0; i--) {
		s->all[i - 1]->next = s->free;
		s->free = s->all[i - 1];
	}
	for (int i = 0; i < PAIRS; i++)
		for (int k = 0; k < 2; k++)
			s->pair[i][k] = s->nslots > 0 && s->all[0]->low != -1 ?
			    fcntl(s->null, F_DUPFD_CLOEXEC, s->null + 1) : -1;
}

struct spawner *
spawner_new(void)
{
	struct spawner *s = calloc(1, sizeof *s);

	if (s == NULL)
		return NULL;
	s->tail = &s->head;
	s->bell = -1;
	s->null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (s->null != -1 && s->null < 4) {	/* 3 is LISTEN_FDS's in a child */
		int fd = fcntl(s->null, F_DUPFD_CLOEXEC, 4);

		(void)close(s->null);
		s->null = fd;
	}
	if (s->null == -1) {
		free(s);
		return NULL;
	}
	/*
	 * setresuid in a child that shares the memory makes it undumpable, and that keeps the
	 * target user out of the master's memory. So it is from the start, for good.
	 */
	if (geteuid() == 0)
		(void)prctl(PR_SET_DUMPABLE, 0);
	s->ids_unsafe = way_ids_unsafe();
	s->way = way_find();
	if (s->way == SPAWN_ASYNC)
		make_low_zone(s);
	return s;
}

/* A child that waits for this goes on. */
static void
wake(struct slot *t)
{
	__atomic_store_n(&t->start.gone, 1, __ATOMIC_RELEASE);
	(void)syscall(SYS_futex, &t->start.gone, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
}

/*
 * Ours may be the last of a connection that the child alone was to have: it was killed before it had a
 * table, or the master was not there for a second. Then its close must not wait either.
 */
static void
close_gently(const struct slot *t)
{
	(void)setsockopt(t->low, SOL_SOCKET, SO_LINGER, &(struct linger){ 0, 0 }, sizeof(struct linger));
	if (t->by_unix)
		(void)spawn_burial(t->low, -1);
}

/* Puts /dev/null back on the low numbers, so that the copies there are closed. */
static void
let_go_low(struct spawner *s, struct slot *t)
{
	if (!t->used_low)
		return;
	if (t->start.bell != -1 && __atomic_load_n(&t->ctid, __ATOMIC_ACQUIRE) == 0)
		close_gently(t);
	/* If it fails the next tick tries again: a client would wait for the end of a connection that is held here. */
	if (dup3(s->null, t->low, O_CLOEXEC) == -1)
		return;
	if (t->pair != -1) {
		for (int k = 0; k < 2; k++)
			if (dup3(s->null, s->pair[t->pair][k], O_CLOEXEC) == -1)
				return;
		s->taken[t->pair] = false;
		t->pair = -1;
	}
	t->used_low = false;
	if (t->start.bell != -1)
		wake(t);
}

bool
spawner_settle(struct spawner *s)
{
	struct slot **at = &s->soon;

	while (*at != NULL) {
		struct slot *t = *at;

		if (__atomic_load_n(&t->start.moved, __ATOMIC_ACQUIRE) == 0 &&
		    __atomic_load_n(&t->ctid, __ATOMIC_ACQUIRE) != 0) {
			at = &t->next_soon;
			continue;
		}
		*at = t->next_soon;
		let_go_low(s, t);
	}
	return s->soon != NULL;
}

void
spawner_let_go(struct spawner *s)
{
	for (struct slot *t = s->soon; t != NULL; t = t->next_soon)
		if (t->start.bell != -1)
			wake(t);
}

/* Looks at starts in flight, at most `most` that are not over, oldest first. */
static void
reclaim(struct spawner *s, unsigned most)
{
	struct slot **at = &s->head;

	while (*at != NULL && most > 0) {
		struct slot *t = *at;

		if (__atomic_load_n(&t->ctid, __ATOMIC_ACQUIRE) != 0) {
			at = &t->next;
			most--;
			continue;
		}
		*at = t->next;
		if (s->tail == &t->next)
			s->tail = at;
		--*t->starting;
		t->next = s->free;
		s->free = t;
	}
}

bool
spawner_tick(struct spawner *s, int64_t now, void (*told)(void *arg, pid_t pid), void *arg)
{
	unsigned spare = 0;
	bool again = false;

	reclaim(s, MOST);
	for (struct slot *t = s->head; t != NULL; t = t->next) {
		if (now - t->since < STUCK)
			continue;
		t->since = now;
		/* Not clear: so it has not ended, and the pid is its own. */
		(void)kill(t->pid, SIGKILL);
		told(arg, t->pid);
	}
	for (struct slot *t = s->free; t != NULL; t = t->next) {
		let_go_low(s, t);
		again = again || t->used_low;
		if (++spare <= KEPT)
			continue;
		free(t->block);
		t->block = NULL;
		t->size = 0;
		if (t->stack != NULL)
			(void)munmap(t->stack, STACK);
		t->stack = NULL;
	}
	return s->head != NULL || again;
}

bool
spawner_busy(struct spawner *s)
{
	reclaim(s, MOST);
	return s->head != NULL;
}

static struct slot *
take_slot(struct spawner *s)
{
	struct slot *t;

	reclaim(s, 4);
	if (s->free == NULL && s->nslots >= KEPT)
		reclaim(s, MOST);
	t = s->free;
	if (t != NULL)
		s->free = t->next;
	else
		t = slot_new(s);
	return t;
}

static void
give_back(struct spawner *s, struct slot *t)
{
	t->next = s->free;
	s->free = t;
}

/* The slot's environment for these facts. -1: no memory. */
static int
fill(struct slot *t, const struct facts *f)
{
	for (;;) {
		size_t need = vars_fill(t->block, t->size, f);
		char *p;

		if (need <= t->size)
			break;
		need = need < BLOCK ? BLOCK : need;
		p = malloc(need);
		if (p == NULL)
			return -1;
		free(t->block);
		t->block = p;
		t->size = need;
	}
	t->start.envp = (char **)(void *)t->block;
	return 0;
}

/* --- the three ways */

/* As the order says, in a table of its own. */
static void
plain(struct slot *t, const struct order *o)
{
	t->start.fd = o->fd;
	t->start.in = o->in;
	t->start.err = o->err;
	t->start.bound = 0;
	t->start.moved = 0;
	t->start.bell = -1;
}

#ifdef WAY_ASYNC

static void
run_child(void *arg)
{
	setup_child(arg);
}

/* Keeps what a child works with until it has exec'd. */
static void
keep_in_flight(struct spawner *s, struct slot *t)
{
	t->next = NULL;
	*s->tail = t;
	s->tail = &t->next;
	++*t->starting;
}

static int
find_pair(const struct spawner *s)
{
	for (int i = 0; i < PAIRS; i++)
		if (!s->taken[i] && s->pair[i][0] != -1 && s->pair[i][1] != -1)
			return i;
	return -1;
}

/*
 * Copies what the child needs to low numbers, so that it may share the table until it has its own
 * copy of the lowest. The connection's copy may stay there where the master holds the connection and
 * ends it by shutdown(2), as it does to linger; what is ended by a close is let go soon. A connection
 * that the child alone is to have must not be ended by our close, which could take long (the command's
 * SO_LINGER; a stranger's descriptors in a UNIX socket's queue): that child waits for it, or gets a
 * table of its own where that costs less. False: it gets a table of its own.
 */
static bool
share(struct spawner *s, struct slot *t, const struct order *o)
{
	bool in = o->in != -1, err = o->err > 2 && o->err != s->null;
	bool soon = o->facts.service->linger == -1 || o->facts.dgram || o->facts.listening || in || err ||
	    o->facts.peer->by_unix;
	int pair = in || err ? find_pair(s) : -1;

	if (t->low == -1 || (o->give_fd && (o->highest < MANY || s->bell == -1)) || ((in || err) && pair == -1))
		return false;
	if (dup3(o->fd, t->low, O_CLOEXEC) == -1)
		return false;
	t->used_low = true;
	t->start.fd = t->low;
	t->start.bound = (unsigned)t->low + 1;
	t->start.bell = o->give_fd ? s->bell : -1;
	t->start.gone = 0;
	t->by_unix = o->facts.peer->by_unix;
	if (pair != -1) {
		t->pair = pair;
		s->taken[pair] = true;
		if ((in && dup3(o->in, s->pair[pair][0], O_CLOEXEC) == -1) ||
		    (err && dup3(o->err, s->pair[pair][1], O_CLOEXEC) == -1)) {
			let_go_low(s, t);
			return false;
		}
		t->start.in = in ? s->pair[pair][0] : -1;
		t->start.err = err ? s->pair[pair][1] : o->err;
		t->start.bound = (unsigned)s->pair[pair][1] + 1;
	}
	if (soon) {
		t->next_soon = s->soon;
		s->soon = t;
	}
	return true;
}

static int
start_async(struct spawner *s, struct slot *t, const struct order *o, struct spawned *out)
{
	unsigned long flags = CLONE_VM | CLONE_PIDFD | CLONE_CHILD_CLEARTID | SIGCHLD;
	long pid;

	if (t->stack == NULL) {
		t->stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (t->stack == MAP_FAILED) {
			t->stack = NULL;
			return -1;
		}
	}
	if (share(s, t, o))
		flags |= CLONE_FILES;
	else
		plain(t, o);
	out->pidfd = -1;
	__atomic_store_n(&t->ctid, 1, __ATOMIC_RELEASE);
	pid = clone_onto(flags, t->stack + STACK, &out->pidfd, &t->ctid, run_child, &t->start);
	if (pid < 0) {
		__atomic_store_n(&t->ctid, 0, __ATOMIC_RELEASE);
		(void)spawner_settle(s);
		let_go_low(s, t);
		errno = (int)-pid;
		return -1;
	}
	out->pid = (pid_t)pid;
	out->in_flight = true;
	out->settles = s->soon != NULL;
	keep_in_flight(s, t);
	return 0;
}

#endif

static int
run_child_libc(void *arg)
{
	setup_child(arg);
}

static int
open_pidfd(pid_t pid)
{
#ifdef SYS_pidfd_open
	return (int)syscall(SYS_pidfd_open, pid, 0);
#else
	(void)pid;
	return -1;
#endif
}

/* The master waits here until the child has exec'd or ended. */
static int
start_vfork(struct slot *t, struct spawned *out)
{
	char *stack = malloc(BIG_STACK);
	int saved;
	pid_t pid;

	if (stack == NULL)
		return -1;
	saved = errno;
	pid = clone(run_child_libc, stack + BIG_STACK - (uintptr_t)(stack + BIG_STACK) % 16,
	    CLONE_VM | CLONE_VFORK | SIGCHLD, &t->start);
	if (pid != -1)
		errno = saved;	/* the child may have used it */
	saved = errno;
	free(stack);
	errno = saved;
	if (pid == -1)
		return -1;
	out->pid = pid;
	out->pidfd = open_pidfd(pid);
	return 0;
}

/* In a process of its own: others' connections, whose end must not wait for what it does first. */
static void
leave_low(const struct spawner *s)
{
	for (unsigned i = 0; i < s->nslots; i++)
		if (s->all[i]->used_low)
			(void)close(s->all[i]->low);
	for (int i = 0; i < PAIRS; i++)
		for (int k = 0; k < 2 && s->taken[i]; k++)
			(void)close(s->pair[i][k]);
}

static int
start_fork(struct spawner *s, struct slot *t, const struct order *o, struct spawned *out)
{
	struct facts f = o->facts;
	pid_t pid = fork();

	if (pid == -1)
		return -1;
	if (pid == 0) {
		if (o->before != NULL)
			leave_low(s);
		if (o->before != NULL && (!o->before(o->arg, &f) || fill(t, &f) == -1))
			_exit(0);
		setup_child(&t->start);
	}
	out->pid = pid;
	out->pidfd = open_pidfd(pid);
	return 0;
}

int
spawn(struct spawner *s, const struct order *o, int64_t now, struct spawned *out)
{
	struct slot *t = take_slot(s);
	enum spawn_way way = s->way;
	int rc = -1;

	if (t == NULL)
		return -1;
	(void)spawner_settle(s);	/* a slot that is clear is not among them any more */
	/*
	 * A child that shares the memory shares its OOM score, and would as a victim take the master
	 * with it: a service with a score or a cgroup of its own would have to be forked too.
	 */
	if (o->before != NULL || (s->ids_unsafe && o->facts.service->run.set_ids))
		way = SPAWN_FORK;
	if (fill(t, &o->facts) == -1) {
		give_back(s, t);
		errno = ENOMEM;
		return -1;
	}
	t->start.run = &o->facts.service->run;
	t->start.listening = o->facts.listening;
	plain(t, o);
	t->start.failed = o->failed;
	t->since = now;
	t->starting = o->starting;
	out->in_flight = out->settles = false;
	switch (way) {
	case SPAWN_ASYNC:
#ifdef WAY_ASYNC
		rc = start_async(s, t, o, out);
#endif
		if (rc == 0 || (errno != EINVAL && errno != ENOSYS))
			break;
		/* A filter put on since the probe: from now on the other way. */
		s->way = SPAWN_VFORK;
		plain(t, o);
		rc = start_vfork(t, out);
		break;
	case SPAWN_VFORK:
		rc = start_vfork(t, out);
		break;
	case SPAWN_FORK:
		rc = start_fork(s, t, o, out);
		break;
	}
	if (rc == -1) {
		int why = errno;

		give_back(s, t);
		errno = why;
		return -1;
	}
	/* The child has its copies: in a table of its own, or at the low numbers. */
	if (o->give_fd)
		(void)close(o->fd);
	if (o->give_err)
		(void)close(o->err);
	if (out->in_flight)
		t->pid = out->pid;
	else
		give_back(s, t);
	return 0;
}

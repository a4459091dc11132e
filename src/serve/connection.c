#include "serve/connection.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <linux/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "child/setup.h"
#include "serve/errlog.h"
#include "serve/lookup.h"

#ifndef PIDFD_SIGNAL_PROCESS_GROUP
#define PIDFD_SIGNAL_PROCESS_GROUP (1UL << 2)	/* Linux 6.9 */
#endif

enum {
	CHUNK = 37,		/* 8 KiB less what malloc adds */
	NO_PROGRESS = 60000,	/* ms: a client that takes nothing for so long is cut */
	UNIX_AGAIN = 50,	/* ms */
	RETRY_LEAST = 10, RETRY_MOST = 1000,	/* ms */
	GROUP_LEAST = 5, GROUP_MOST = 1000,	/* ms between looks at a group */
};

enum state {
	CONN_FREE,
	CONN_WAITING,		/* accepted; no process to be had yet */
	CONN_RUNNING,		/* its child lives */
	CONN_GROUP,		/* its child has ended, others of the group live */
	CONN_LINGERING,		/* our side is shut; the client's end is awaited */
};

struct conn {
	struct hash_node node;		/* by pid, while RUNNING or GROUP; next of the spare ones */
	struct conn *prev, *next;	/* in the list of its state */
	struct unit *unit;
	struct service *conf;		/* held: what it was when it came */
	struct source *source;		/* while RUNNING or WAITING */
	struct errlog *errlog;
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
	bool refused;			/* by the lookup */
	bool end_seen;			/* lingering: the client's end of stream */
	bool taken;			/* the client has everything: closing cannot wait */
	bool shut;			/* our end of stream has been sent */
};

struct chunk {
	struct chunk *next;
	struct conn conn[CHUNK];
};

static void conn_timer(void *arg, int64_t now);
static void finish(struct conn *c);

/* --- the pool and the lists */

static int
more(struct engine *e)
{
	struct chunk *k;

	if (e->nconns + CHUNK > CONN_MOST) {
		errno = ENOMEM;
		return -1;
	}
	k = calloc(1, sizeof *k);
	if (k == NULL)
		return -1;
	for (int i = 0; i < CHUNK; i++) {
		if (loop_timer_room(e->loop) == -1) {
			while (i-- > 0)
				loop_timer_leave(e->loop);
			free(k);
			return -1;
		}
	}
	k->next = e->chunks;
	e->chunks = k;
	for (int i = CHUNK - 1; i >= 0; i--) {
		k->conn[i].index = e->nconns + (uint32_t)i;
		k->conn[i].next = e->spare;
		e->spare = &k->conn[i];
	}
	e->nconns += CHUNK;
	return 0;
}

bool
conn_room(struct engine *e)
{
	return e->spare != NULL || more(e) == 0;
}

static struct conn *
conn_new(struct unit *u, int fd, const struct peer *peer, struct source *source)
{
	struct engine *e = u->engine;
	struct conn *c;
	uint32_t index;

	c = e->spare;
	assert(c != NULL);	/* conn_room was asked */
	e->spare = c->next;
	index = c->index;
	*c = (struct conn){ .unit = u, .conf = service_hold(u->conf), .source = source, .peer = *peer,
		.index = index, .fd = fd, .pidfd = -1, .tell = -1, .number = ++e->next_conn,
		.started = loop_now(e->loop), .timer = { .fire = conn_timer } };
	c->timer.arg = c;
	return c;
}

static void
list(struct conn **first, struct conn **last, struct conn *c)
{
	c->next = NULL;
	c->prev = *last;
	*(*last != NULL ? &(*last)->next : first) = c;
	*last = c;
}

static void
unlist(struct conn **first, struct conn **last, struct conn *c)
{
	*(c->prev != NULL ? &c->prev->next : first) = c->next;
	*(c->next != NULL ? &c->next->prev : last) = c->prev;
}

static void
enter(struct conn *c, enum state to)
{
	struct engine *e = c->unit->engine;

	switch (c->state) {
	case CONN_FREE:
		break;
	case CONN_WAITING:
		unlist(&e->waiting, &e->waiting_last, c);
		break;
	case CONN_RUNNING:
	case CONN_GROUP:
		if (to != CONN_GROUP)
			unlist(&e->running, &e->running_last, c);
		break;
	case CONN_LINGERING:
		unlist(&e->lingering, &e->lingering_last, c);
		e->nlingering--;
		break;
	}
	switch (to) {
	case CONN_FREE:
	case CONN_GROUP:
		break;
	case CONN_WAITING:
		list(&e->waiting, &e->waiting_last, c);
		break;
	case CONN_RUNNING:
		list(&e->running, &e->running_last, c);
		break;
	case CONN_LINGERING:
		list(&e->lingering, &e->lingering_last, c);
		e->nlingering++;
		break;
	}
	c->state = to;
}

/* The end of it: closes what it holds. */
static void
conn_free(struct conn *c)
{
	struct engine *e = c->unit->engine;

	if (c->state == CONN_RUNNING || c->state == CONN_GROUP)
		hash_remove(&e->by_pid, &c->node);
	enter(c, CONN_FREE);
	loop_timer_stop(e->loop, &c->timer);
	/* The command may have set SO_LINGER, and then the last close would wait for the client. */
	if (c->fd != -1 && !c->taken)
		(void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 0, 0 }, sizeof(struct linger));
	loop_close(e->loop, c->fd_watch, c->fd);
	loop_close(e->loop, c->pid_watch, c->pidfd);
	loop_close(e->loop, c->tell_watch, c->tell);
	if (c->errlog != NULL)
		errlog_leave(c->errlog);
	source_leave(&e->sources, c->source);
	service_free(c->conf);
	c->next = e->spare;
	e->spare = c;
}

void
conn_free_all(struct engine *e)
{
	struct chunk *k = e->chunks, *next;

	for (; k != NULL; k = next) {
		next = k->next;
		for (int i = 0; i < CHUNK; i++)
			if (k->conn[i].state != CONN_FREE)
				conn_free(&k->conn[i]);
		free(k);
	}
	e->chunks = NULL;
}

bool
conn_none(const struct engine *e)
{
	return e->running == NULL && e->lingering == NULL && e->waiting == NULL;
}

/* --- log lines */

static unsigned
peer_port(const struct peer *p)
{
	return p->kind == PEER_UNIX ? 0 : p->port;
}

static void
log_start(const struct conn *c, const char *host)
{
	struct log_style style = unit_style(c->unit);
	unsigned fields = c->conf->on_success & (RECORD_PID | RECORD_HOST | RECORD_PORT | RECORD_CONN);
	char from[ADDR_TEXT];

	if (fields == 0)
		return;
	if (c->peer.kind == PEER_UNIX)
		fields &= ~(unsigned)LOG_PORT;
	log_event(&(struct event){ .level = LEVEL_INFO, .name = "start", .service = c->conf->id,
	    .fields = fields, .pid = (int)c->pid, .from = peer_print(&c->peer, from), .host = host,
	    .port = peer_port(&c->peer), .conn = c->number }, &style);
}

static void
log_fail(struct unit *u, const struct peer *peer, enum reason why, const char *host)
{
	struct log_style style = unit_style(u);
	char from[ADDR_TEXT];
	unsigned fields;

	u->refused[why]++;
	if (u->conf->on_failure == 0 || !flood_allows(u, &u->refusals))
		return;
	fields = u->conf->on_failure & (RECORD_HOST | RECORD_PORT);
	if (peer->kind == PEER_UNIX)
		fields &= ~(unsigned)LOG_PORT;
	log_event(&(struct event){ .level = LEVEL_NOTICE, .name = "fail", .service = u->conf->id,
	    .reason = reason_text(why), .fields = fields, .from = peer_print(peer, from), .host = host,
	    .port = peer_port(peer) }, &style);
}

enum tcp_side { PEER_FIN = 1, OUR_FIN = 2 };

/* The kernel counts a FIN as a byte: which have been sent or received in that state? */
static unsigned
fins(unsigned state)
{
	switch (state) {
	case 4:			/* FIN_WAIT1 */
	case 5:			/* FIN_WAIT2 */
		return OUR_FIN;
	case 8:			/* CLOSE_WAIT */
		return PEER_FIN;
	case 6:			/* TIME_WAIT */
	case 9:			/* LAST_ACK */
	case 11:		/* CLOSING */
		return OUR_FIN | PEER_FIN;
	default:
		return 0;
	}
}

static bool
tcp_info(int fd, struct tcp_info *i)
{
	socklen_t len = sizeof *i;

	memset(i, 0, sizeof *i);
	return fd != -1 && getsockopt(fd, IPPROTO_TCP, TCP_INFO, i, &len) == 0;
}

static bool
count_bytes(const struct conn *c, struct event *ev)
{
	struct tcp_info i;
	unsigned fin;
	int waiting = 0;

	if (!tcp_info(c->fd, &i))
		return false;
	fin = fins(i.tcpi_state);
	(void)ioctl(c->fd, SIOCOUTQ, &waiting);
	ev->bytes_in = i.tcpi_bytes_received - ((fin & PEER_FIN) != 0 && i.tcpi_bytes_received > 0);
	ev->bytes_out = i.tcpi_bytes_acked + (uint64_t)waiting;
	ev->bytes_out -= (fin & OUR_FIN) != 0 && ev->bytes_out > 0;
	return true;
}

static int64_t
timeval_ms(const struct timeval *t)
{
	return (int64_t)t->tv_sec * 1000 + t->tv_usec / 1000;
}

static void
log_exit(const struct conn *c, const struct ended *end)
{
	struct log_style style = unit_style(c->unit);
	struct event ev = { .level = LEVEL_INFO, .name = "exit", .service = c->conf->id,
		.pid = (int)c->pid, .port = peer_port(&c->peer), .conn = c->number,
		.duration = loop_now(c->unit->engine->loop) - c->started,
		.maxrss = end->usage.ru_maxrss,
		.cpu = timeval_ms(&end->usage.ru_utime) + timeval_ms(&end->usage.ru_stime) };
	struct rusage own;

	/* An EXIT line is written when something of the end is to be told; then with its pid. */
	ev.fields = c->conf->on_success & (RECORD_EXIT | RECORD_DURATION | RECORD_CPU | RECORD_MAXRSS |
	    RECORD_BYTES);
	if (ev.fields == 0)
		return;
	ev.fields |= c->conf->on_success & (RECORD_PID | RECORD_PORT | RECORD_CONN);
	if (c->peer.kind == PEER_UNIX)
		ev.fields &= ~(unsigned)LOG_PORT;
	if (end->signalled)
		ev.signal = end->status;
	else
		ev.status = end->status;
	if ((ev.fields & LOG_BYTES) != 0 && !count_bytes(c, &ev))
		ev.fields &= ~(unsigned)LOG_BYTES;
	/* Until the exec the child's memory was the master's: a figure not above that says nothing. */
	if ((ev.fields & LOG_MAXRSS) != 0 && getrusage(RUSAGE_SELF, &own) == 0 &&
	    ev.maxrss <= own.ru_maxrss)
		ev.fields &= ~(unsigned)LOG_MAXRSS;
	log_event(&ev, &style);
}

/* --- signals to a group */

static int
send_pidfd(int pidfd, int sig, unsigned long flags)
{
#ifdef SYS_pidfd_send_signal
	return (int)syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, flags);
#else
	(void)pidfd, (void)sig, (void)flags;
	errno = ENOSYS;
	return -1;
#endif
}

void
conn_probe(struct engine *e)
{
#ifdef SYS_pidfd_open
	int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);

	if (fd == -1)
		return;
	/* A filter may answer anything to what it does not know: only what works is used. */
	e->pidfd_signals = send_pidfd(fd, 0, 0) == 0;
	e->pidfd_groups = e->pidfd_signals &&
	    (send_pidfd(fd, 0, PIDFD_SIGNAL_PROCESS_GROUP) == 0 || errno == ESRCH);
	(void)close(fd);
#endif
}

static struct conn *find(const struct engine *e, pid_t pid);

/* Signals the connection's process group; 0 only asks. -1 and ESRCH: nobody is left. */
static int
signal_group(const struct conn *c, int sig)
{
	const struct engine *e = c->unit->engine;
	const struct conn *other;
	int rc;

	if (c->pidfd != -1 && e->pidfd_groups) {
		rc = send_pidfd(c->pidfd, sig, PIDFD_SIGNAL_PROCESS_GROUP);
	} else {
		/* The number may be another child's by now: then the old group is gone. */
		other = find(e, c->pid);
		if (other != NULL && other != c && other->state == CONN_RUNNING) {
			errno = ESRCH;
			return -1;
		}
		rc = kill(-c->pid, sig);
	}
	/* A child just started has no group yet. */
	if (rc == -1 && errno == ESRCH && sig != 0 && c->state == CONN_RUNNING)
		rc = c->pidfd != -1 && e->pidfd_signals ? send_pidfd(c->pidfd, sig, 0) : kill(c->pid, sig);
	return rc;
}

static bool
group_gone(const struct conn *c)
{
	return signal_group(c, 0) == -1 && errno == ESRCH;
}

/* --- times */

static void
set_timer(struct conn *c)
{
	const int64_t at[] = { c->deadline, c->idle_at, c->look_at };
	int64_t first = 0;

	for (size_t i = 0; i < sizeof at / sizeof at[0]; i++)
		if (at[i] != 0 && (first == 0 || at[i] < first))
			first = at[i];
	if (first != 0)
		loop_timer(c->unit->engine->loop, &c->timer, first);
	else
		loop_timer_stop(c->unit->engine->loop, &c->timer);
}

/* TERM to the group now, KILL later. */
static void
end_group(struct conn *c, const char *why)
{
	struct engine *e = c->unit->engine;
	int64_t after = c->conf->kill_after;
	char from[ADDR_TEXT];

	if (e->stopping && after > SECOND)
		after = SECOND;
	if (c->told) {		/* already; but a stop does not wait as long */
		if (c->deadline > loop_now(e->loop) + after)
			c->deadline = loop_now(e->loop) + after;
		set_timer(c);
		return;
	}
	if (why != NULL) {
		struct log_style style = unit_style(c->unit);

		log_event(&(struct event){ .level = LEVEL_NOTICE, .name = "kill", .service = c->conf->id,
		    .fields = LOG_PID | LOG_FROM, .pid = (int)c->pid,
		    .from = peer_print(&c->peer, from), .message = why }, &style);
	}
	(void)signal_group(c, SIGTERM);
	c->told = true;
	c->idle_at = 0;
	c->deadline = loop_now(e->loop) + (after > 0 ? after : 1);
	set_timer(c);
}

static void
look_idle(struct conn *c, int64_t now)
{
	struct tcp_info i;
	int64_t quiet;

	c->idle_at = 0;
	if (!tcp_info(c->fd, &i))
		return;
	quiet = i.tcpi_last_data_recv < i.tcpi_last_data_sent ? i.tcpi_last_data_recv :
	    i.tcpi_last_data_sent;
	if (quiet >= c->conf->idle_timeout)
		end_group(c, "idle_timeout");
	else
		c->idle_at = now + c->conf->idle_timeout - quiet;
}

static void
look_group(struct conn *c, int64_t now)
{
	struct engine *e = c->unit->engine;

	uint64_t number = c->number;

	/* Orphans of the group are ours to reap, and until then it lives. That may be the end of c. */
	c->look_at = 0;
	e->sweep(e->sweep_arg);
	if (c->state != CONN_GROUP || c->number != number)
		return;
	if (group_gone(c)) {
		finish(c);
		return;
	}
	c->interval = c->interval * 2 > GROUP_MOST ? GROUP_MOST : c->interval * 2;
	c->look_at = now + c->interval;
	set_timer(c);
}

static void linger(struct conn *c, int64_t now);
static void finish_unix(struct conn *c);

static void
conn_timer(void *arg, int64_t now)
{
	struct conn *c = arg;

	if (c->state == CONN_LINGERING) {
		if (c->peer.kind == PEER_UNIX)
			finish_unix(c);
		else
			linger(c, now);
		return;
	}
	if (c->deadline != 0 && now >= c->deadline) {
		if (c->told) {
			(void)signal_group(c, SIGKILL);
			c->deadline = now + SECOND;
		} else {
			end_group(c, "timeout");
		}
	}
	if (c->idle_at != 0 && now >= c->idle_at)
		look_idle(c, now);
	if (c->look_at != 0 && now >= c->look_at) {
		look_group(c, now);
		return;
	}
	set_timer(c);
}

static void
hung_up(void *arg, uint32_t events)
{
	struct conn *c = arg;

	if ((events & (EPOLLHUP | EPOLLERR)) != 0)
		end_group(c, "hangup");
}

/* --- the lingering close */

static void
linger_ready(void *arg, uint32_t events)
{
	struct conn *c = arg;

	(void)events;
	linger(c, loop_now(c->unit->engine->loop));
}

/* Reads and drops what the client still sends. False: it is gone, cleanly or not. */
static bool
drain_input(struct conn *c)
{
	static char sink[16384];

	for (int i = 0; i < 16 && !c->end_seen; i++) {
		/* TCP drops the bytes without copying them. */
		ssize_t n = recv(c->fd, sink, sizeof sink, MSG_DONTWAIT | MSG_TRUNC);

		if (n == 0)
			c->end_seen = true;
		else if (n == -1)
			return errno == EAGAIN || errno == EINTR;
	}
	return true;
}

/* Bytes that the client has not taken; 0 too when it is beyond taking any. */
static uint32_t
not_taken(const struct conn *c)
{
	int n = 0, fault = 0;
	socklen_t len = sizeof fault;

	if (ioctl(c->fd, SIOCOUTQ, &n) == -1 || n <= 0)
		return 0;
	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &fault, &len) == 0 && fault != 0)
		return 0;
	return (uint32_t)n;
}

/*
 * One look at a connection whose end we have sent. It is closed at the client's end of stream, or
 * when the client has taken everything and `linger` has passed since; a client that is still taking
 * a long reply is not cut, one that takes nothing for NO_PROGRESS is.
 */
static void
linger(struct conn *c, int64_t now)
{
	struct engine *e = c->unit->engine;
	uint32_t left;

	if (!drain_input(c)) {
		conn_free(c);
		return;
	}
	left = not_taken(c);
	if (left == 0 && (c->end_seen || (c->untaken == 0 && now >= c->deadline))) {
		c->taken = true;
		conn_free(c);
		return;
	}
	if (left != c->untaken) {	/* it is taking, or has just taken all */
		c->untaken = left;
		c->deadline = now + (left == 0 ? c->conf->linger : NO_PROGRESS);
		c->interval = 10;
	} else if (left != 0 && now >= c->deadline) {
		conn_free(c);
		return;
	}
	/* While bytes are on their way nothing tells when they have arrived: look again. */
	c->look_at = left == 0 ? c->deadline : now + c->interval;
	c->interval = c->interval * 2 > 250 ? 250 : c->interval * 2;
	loop_timer(e->loop, &c->timer, c->look_at < c->deadline ? c->look_at : c->deadline);
	if (c->end_seen) {
		loop_unwatch(e->loop, c->fd_watch);
		c->fd_watch = 0;
	} else if (c->fd_watch == 0) {
		/* Once: a hangup would be told for ever. */
		c->fd_watch = loop_watch(e->loop, c->fd, EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, linger_ready, c);
	} else {
		(void)loop_change(e->loop, c->fd_watch, EPOLLIN | EPOLLRDHUP | EPOLLONESHOT);
	}
}

bool
conn_give_way(struct engine *e)
{
	struct conn *c = e->lingering;

	while (c != NULL && c->peer.kind == PEER_UNIX)	/* those are on their way to a burial */
		c = c->next;
	if (c == NULL)
		return false;
	conn_free(c);
	return true;
}

/*
 * A UNIX socket's queue may hold descriptors, and whoever closes the last of such a one may wait
 * for it. So a queue that is not empty, or may become so, is emptied by a process of its own.
 */
static void
finish_unix(struct conn *c)
{
	struct engine *e = c->unit->engine;
	char byte;

	/* Nothing there, and nothing can come any more: to close it takes no time. */
	if (recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0) {
		conn_free(c);
		return;
	}
	if (e->burials >= BURIALS_MOST || spawn_burial(c->fd, c->conf->linger) == -1) {
		/* Tried again, and meanwhile its listeners pause. */
		c->look_at = loop_now(e->loop) + UNIX_AGAIN;
		loop_timer(e->loop, &c->timer, c->look_at);
		return;
	}
	e->burials++;
	conn_free(c);
}

/* Our side is done: sends the end of stream and waits for the client's. */
static void
finish(struct conn *c)
{
	struct engine *e = c->unit->engine;
	int64_t now = loop_now(e->loop);

	if (c->state == CONN_RUNNING || c->state == CONN_GROUP)
		hash_remove(&e->by_pid, &c->node);
	loop_close(e->loop, c->pid_watch, c->pidfd);
	c->pid_watch = 0;
	c->pidfd = -1;
	loop_unwatch(e->loop, c->fd_watch);
	c->fd_watch = 0;
	enter(c, CONN_LINGERING);
	if (c->fd != -1 && c->peer.kind == PEER_UNIX) {
		finish_unix(c);
		return;
	}
	if (c->fd == -1 || c->conf->linger == -1 || (!c->shut && shutdown(c->fd, SHUT_WR) == -1)) {
		conn_free(c);
		return;
	}
	c->idle_at = 0;
	c->deadline = now + c->conf->linger;
	c->interval = 10;
	c->untaken = 0;
	linger(c, now);
	if (e->nlingering > e->lingering_most)
		(void)conn_give_way(e);
}

/* --- the child's end */

static void
log_not_started(const struct conn *c, uint32_t failed)
{
	enum step step = (enum step)(failed >> 16);
	const struct service *s = c->conf;
	const char *what = NULL;

	switch (step) {
	case STEP_EXEC:
		what = s->exec.word[0];
		break;
	case STEP_CHROOT:
		what = s->chroot;
		break;
	case STEP_DIRECTORY:
		what = s->run.directory;
		break;
	case STEP_GROUPS:
	case STEP_USER:
		what = s->user;
		break;
	case STEP_GROUP:
		what = s->group;
		break;
	default:
		break;
	}
	c->unit->failed++;
	if (!flood_allows(c->unit, &c->unit->failures))
		return;
	if (what != NULL)
		unit_say(c->unit, LEVEL_ERR, "error", "%s \"%s\": %s", step_text(step), what,
		    strerror((int)(failed & 0xffff)));
	else
		unit_say(c->unit, LEVEL_ERR, "error", "%s: %s", step_text(step),
		    strerror((int)(failed & 0xffff)));
}

static void
told(void *arg, uint32_t events)
{
	struct conn *c = arg;
	struct told t;
	ssize_t n;

	(void)events;
	n = read(c->tell, &t, sizeof t);
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	loop_close(c->unit->engine->loop, c->tell_watch, c->tell);
	c->tell_watch = 0;
	c->tell = -1;
	if (n != (ssize_t)sizeof t)
		return;		/* the child ended before it knew */
	t.name[NAME_MOST] = '\0';
	c->refused = !t.allowed;
	if (c->refused)
		log_fail(c->unit, &c->peer, REASON_ADDRESS, t.name[0] != '\0' ? t.name : NULL);
	else
		log_start(c, c->conf->lookup && t.name[0] != '\0' ? t.name : NULL);
}

static void
send_banner(const struct conn *c, const struct banner *b)
{
	if (b->len > 0 && send(c->fd, b->text, b->len, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)b->len)
		unit_say(c->unit, LEVEL_WARNING, "error", "the banner %s was not sent whole", b->path);
}

static void
leader_ended(struct conn *c, const struct ended *end)
{
	struct engine *e = c->unit->engine;
	struct unit *u = c->unit;
	uint32_t failed = __atomic_load_n(&e->failed[c->index], __ATOMIC_ACQUIRE);
	bool over = group_gone(c);

	if (c->tell != -1)
		told(c, 0);
	/* First of all the client's: it waits for this. (A FIN would be counted among the bytes.) */
	if (over && (c->conf->on_success & RECORD_BYTES) == 0 && c->fd != -1 && c->conf->linger != -1 && !c->refused && c->peer.kind != PEER_UNIX)
		c->shut = shutdown(c->fd, SHUT_WR) == 0;
	if (c->errlog != NULL) {
		errlog_drain(c->errlog);
		errlog_leave(c->errlog);
		c->errlog = NULL;
	}
	if (failed != 0)
		log_not_started(c, failed);
	if (!c->refused)
		log_exit(c, end);
	u->live--;
	e->live--;
	source_leave(&e->sources, c->source);
	c->source = NULL;
	if (c->refused && c->fd != -1)
		send_banner(c, &c->conf->banner_fail);
	/* Nothing is held and nothing limits the group's life: it is on its own now. */
	if ((c->fd == -1 || c->conf->linger == -1) && c->deadline == 0 && c->idle_at == 0 &&
	    c->conf->hangup == HANGUP_IGNORE) {
		conn_free(c);
	} else if (over) {
		finish(c);
	} else {
		enter(c, CONN_GROUP);
		loop_unwatch(e->loop, c->pid_watch);	/* it would tell of the end for ever */
		c->pid_watch = 0;
		c->interval = GROUP_LEAST;
		c->look_at = loop_now(e->loop) + c->interval;
		set_timer(c);
	}
	e->room(e, u);
}

static struct conn *
find(const struct engine *e, pid_t pid)
{
	for (struct hash_node *n = hash_find(&e->by_pid, hash_number((uint64_t)pid)); n != NULL;
	    n = hash_next(n)) {
		struct conn *c = (struct conn *)n;

		if (c->pid == pid)
			return c;
	}
	return NULL;
}

void
conn_reaped(struct engine *e, const struct ended *end)
{
	struct conn *c = find(e, end->pid);

	if (c != NULL && c->state == CONN_RUNNING) {
		leader_ended(c, end);
		return;
	}
	/* Strangers are few; whoever else ends here was burying a connection. */
	if (e->burials > 0 && end->group == getpgrp())
		e->burials--;
	c = find(e, end->group);
	if (c != NULL && c->state == CONN_GROUP && group_gone(c))
		finish(c);
}

static void
pid_ready(void *arg, uint32_t events)
{
	struct conn *c = arg;
	struct ended end = { .pid = c->pid, .group = c->pid };
	siginfo_t si = { .si_pid = 0 };

	(void)events;
	/* libc's waitid(3) has no place for the usage. */
	if (syscall(SYS_waitid, 3 /* P_PIDFD */, c->pidfd, &si, WEXITED | WNOHANG, &end.usage) == -1) {
		if (errno != ECHILD)
			return;
		end.status = -1;	/* somebody else reaped it: its status is lost, the rest holds */
	} else if (si.si_pid == 0) {
		return;
	} else {
		end.status = si.si_status;
		end.signalled = si.si_code != CLD_EXITED;
	}
	leader_ended(c, &end);
}

/* --- the child's start */

static bool
holds_fd(const struct service *s)
{
	return s->linger != -1 || s->idle_timeout != 0 || s->hangup == HANGUP_KILL ||
	    (s->on_success & RECORD_BYTES) != 0;
}

bool
conn_decides_by_name(const struct service *s, const struct peer *p)
{
	return p->kind == PEER_IP && (rules_need_name(&s->only_from) || rules_need_name(&s->no_access));
}

/* Where descriptor 2 of the child is to go. -1: errno. */
static int
choose_stderr(struct conn *c, struct order *o)
{
	switch (c->conf->stderr_to) {
	case STDERR_SOCKET:
		o->err = -1;
		return 0;
	case STDERR_NULL:
		o->err = spawner_null(c->unit->engine->spawner);
		return 0;
	case STDERR_INHERIT:
		o->err = 2;
		return 0;
	case STDERR_LOG:
		c->errlog = errlog_open(c->unit, c->number, &o->err);
		o->give_err = true;
		return c->errlog != NULL ? 0 : -1;
	}
	return 0;
}

/* After the clone: nothing of it may fail any more, as the child runs. */
static void
watch_child(struct conn *c, const struct spawned *child)
{
	struct engine *e = c->unit->engine;
	const struct service *s = c->conf;

	c->pid = child->pid;
	c->pidfd = child->pidfd;
	hash_put(&e->by_pid, &c->node, hash_number((uint64_t)c->pid));
	enter(c, CONN_RUNNING);
	c->unit->live++;
	c->unit->started++;
	e->live++;
	if (c->pidfd != -1)
		c->pid_watch = loop_watch(e->loop, c->pidfd, EPOLLIN, pid_ready, c);
	if (c->pid_watch == 0)
		e->no_pidfd = true;	/* then SIGCHLD alone must find it */
	if (!holds_fd(s))
		c->fd = -1;
	if (s->hangup == HANGUP_KILL)
		c->fd_watch = loop_watch(e->loop, c->fd, EPOLLONESHOT, hung_up, c);
	if (s->timeout != 0)
		c->deadline = loop_now(e->loop) + s->timeout;
	if (s->idle_timeout != 0)
		c->idle_at = loop_now(e->loop) + s->idle_timeout;
	if (c->deadline != 0 || c->idle_at != 0)
		set_timer(c);
	if (child->in_flight && e->tick.place == 0)
		loop_timer(e->loop, &e->tick, loop_now(e->loop) + SECOND);
}

/* -1: errno, and the connection is as it was. */
static int
start(struct conn *c, const struct addr *local)
{
	struct engine *e = c->unit->engine;
	struct lookup look = { .tell = -1, .fd = c->fd, .decide = conn_decides_by_name(c->conf, &c->peer) };
	struct spawned child;
	int p[2] = { -1, -1 }, why;
	struct order o = {
		.facts = { .service = c->conf, .peer = &c->peer, .local = local, .conn = c->number },
		.fd = c->fd, .give_fd = !holds_fd(c->conf), .err = -1, .failed = &e->failed[c->index],
		.starting = &c->unit->starting,
	};

	if (choose_stderr(c, &o) == -1)
		return -1;
	if ((c->conf->lookup && c->peer.kind == PEER_IP) || look.decide) {
		if (pipe2(p, O_CLOEXEC | O_NONBLOCK) == -1)
			goto out;
		look.tell = p[1];
		o.before = lookup_before;
		o.arg = &look;
	}
	*o.failed = 0;
	if (spawn(e->spawner, &o, loop_now(e->loop), &child) == -1)
		goto out;
	watch_child(c, &child);
	if (c->errlog != NULL)
		errlog_pid(c->errlog, c->pid);
	if (p[0] == -1) {
		log_start(c, NULL);
	} else {
		(void)close(p[1]);
		c->tell = p[0];
		c->tell_watch = loop_watch(e->loop, p[0], EPOLLIN, told, c);
	}
	return 0;
out:
	why = errno;
	if (o.give_err)
		(void)close(o.err);
	if (c->errlog != NULL) {
		errlog_drain(c->errlog);
		errlog_leave(c->errlog);
		c->errlog = NULL;
	}
	if (p[0] != -1) {
		(void)close(p[0]);
		(void)close(p[1]);
	}
	errno = why;
	return -1;
}

static void
wait_for_process(struct conn *c)
{
	struct engine *e = c->unit->engine;

	enter(c, CONN_WAITING);
	if (e->retry.place == 0) {
		e->backoff = e->backoff == 0 ? RETRY_LEAST : e->backoff;
		loop_timer(e->loop, &e->retry, loop_now(e->loop) + e->backoff);
	}
}

bool
conn_serve(struct unit *u, int fd, const struct peer *peer, const struct addr *local,
    struct source *source)
{
	struct conn *c = conn_new(u, fd, peer, source);
	int why;

	send_banner(c, &u->conf->banner);
	if (!conn_decides_by_name(u->conf, peer))
		send_banner(c, &u->conf->banner_success);
	if (start(c, local) == 0)
		return true;
	why = errno;
	wait_for_process(c);
	errno = why;
	return false;
}

void
conn_retry(void *arg, int64_t now)
{
	struct engine *e = arg;

	while (e->waiting != NULL && !e->stopping) {
		struct conn *c = e->waiting;
		struct addr local = { .len = sizeof local - offsetof(struct addr, sa) };

		if (getsockname(c->fd, &local.sa, &local.len) == -1)
			local.sa.sa_family = AF_UNSPEC;
		if (start(c, &local) == -1) {
			if (e->retry.place == 0) {
				e->backoff = e->backoff * 2 > RETRY_MOST ? RETRY_MOST : e->backoff * 2;
				loop_timer(e->loop, &e->retry, now + e->backoff);
			}
			return;
		}
	}
	e->backoff = 0;
	loop_timer_stop(e->loop, &e->retry);
}

void
conn_refuse(struct unit *u, int fd, const struct peer *peer, enum reason why)
{
	struct conn *c;

	log_fail(u, peer, why, NULL);
	c = conn_new(u, fd, peer, NULL);
	send_banner(c, &u->conf->banner);
	send_banner(c, &u->conf->banner_fail);
	finish(c);
}

void
conn_signal_all(struct engine *e, int sig)
{
	for (struct conn *c = e->running, *next; c != NULL; c = next) {
		next = c->next;
		if (sig == SIGTERM)
			end_group(c, NULL);
		else
			(void)signal_group(c, sig);
	}
}

void
conn_drop_quiet(struct engine *e)
{
	while (e->lingering != NULL)
		conn_free(e->lingering);
}

void
conn_drop_waiting(struct engine *e)
{
	while (e->waiting != NULL)
		conn_free(e->waiting);
}

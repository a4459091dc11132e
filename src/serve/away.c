#include "serve/away.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "child/helper.h"
#include "serve/conn.h"
#include "serve/job.h"
#include "serve/mux.h"
#include "serve/worker.h"

enum {
	AGAIN_LEAST = 100, AGAIN_MOST = 10000,	/* ms until a worker that died is replaced */
	SPARE = 256,		/* descriptors of the worker that are not connections */
	EACH = 2,		/* that a connection takes there, beside pipes in use */
	LINGERING = 8,		/* the part of all that those may have that only linger there */
	QUEUE = 1 << 20,
};

struct worker_state {
	struct engine *engine;
	pid_t pid;
	int channel;		/* -1: there is none now */
	uint32_t watch;
	struct worker_state *next;	/* of those that a predecessor of this program started */
	unsigned n, most;	/* connections it has; may have */
	struct conn *unsent;	/* the first of those that are not sent yet; in the engine's list, all behind it too */
	bool blocked;		/* the channel takes no more for now */
	bool old;		/* started by a predecessor of this program: it finishes what it has */
	bool leaving;		/* it is to end when nothing lingers there any more */
	struct timer again;
	int64_t delay;
	int64_t since;
	struct place_of *place;	/* owned: the targets, by their number from 1 */
	uint32_t nplaces, nfree;
	uint32_t told;		/* all up to that number are */
};

struct place_of {
	struct unit *unit;	/* whose target has that number; NULL: it is free */
	bool told;		/* the worker, and of it this one */
};

static void channel_ready(void *arg, uint32_t events);
static void unblock(struct worker_state *w);

bool
away_serves(const struct service *s)
{
	switch (s->internal) {
	case BUILTIN_NONE:
		return s->redirect.n > 0;
	case BUILTIN_ECHO:
	case BUILTIN_DISCARD:
	case BUILTIN_CHARGEN:
	case BUILTIN_DAYTIME:
	case BUILTIN_TIME:
	case BUILTIN_TCPMUX:
		return true;
	case BUILTIN_SERVERS:
	case BUILTIN_SERVICES:
	case BUILTIN_STATUS:
		return false;
	}
	return false;
}

static enum job_kind
kind_of(const struct service *s)
{
	switch (s->internal) {
	case BUILTIN_ECHO:
		return JOB_ECHO;
	case BUILTIN_DISCARD:
		return JOB_DISCARD;
	case BUILTIN_CHARGEN:
		return JOB_CHARGEN;
	case BUILTIN_DAYTIME:
		return JOB_DAYTIME;
	case BUILTIN_TIME:
		return JOB_TIME;
	case BUILTIN_TCPMUX:
		return JOB_MUX;
	default:
		return JOB_RELAY;
	}
}

/* --- the worker */

static int
send_target(struct worker_state *w, uint32_t id)
{
	const struct where *to = w->place[id - 1].unit->conf->target;
	struct target t = { .kind = JOB_TARGET, .id = id, .scheme = to->scheme, .type = to->type,
		.family = to->family, .port = to->port, .cid = to->cid };

	memcpy(t.host, to->host, strlen(to->host) + 1);
	return send(w->channel, &t, sizeof t, MSG_DONTWAIT | MSG_NOSIGNAL) == -1 ? -1 : 0;
}

/* Until there is room in the channel, or for want of memory a little later. */
static void
block(struct worker_state *w, int why)
{
	struct engine *e = w->engine;

	w->blocked = true;
	if (why == EAGAIN)
		(void)loop_change(e->loop, w->watch, EPOLLIN | EPOLLOUT);
	else
		loop_timer(e->loop, &w->again, loop_now(e->loop) + AGAIN_LEAST);
}

/*
 * Tells where relays lead, as far as the channel takes it: the worker may be busy with its reports,
 * and each would wait for the other. Jobs come behind all of it.
 */
static void
tell_targets(struct worker_state *w)
{
	for (; w->told < w->nplaces && w->channel != -1 && !w->blocked; w->told++) {
		struct place_of *p = &w->place[w->told];

		if (p->unit == NULL || p->told)
			continue;
		if (send_target(w, w->told + 1) == -1) {
			block(w, errno);
			return;
		}
		p->told = true;
	}
}

static int
start_worker(struct worker_state *w)
{
	struct engine *e = w->engine;
	int pair[2], size = QUEUE, why;
	struct rlimit r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == -1)
		return -1;
	for (int i = 0; i < 2; i++)
		if (setsockopt(pair[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) == -1)
			(void)setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	w->most = SPARE / EACH;
	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur / 2 > SPARE) {
		rlim_t all = r.rlim_cur < CONN_MOST ? r.rlim_cur : CONN_MOST;

		w->most = (unsigned)((all - all / LINGERING - SPARE) / EACH);
	}
	w->pid = helper_start(pair[1], false, &e->lower, worker_run, NULL);
	why = errno;
	(void)close(pair[1]);
	if (w->pid == -1) {
		(void)close(pair[0]);
		errno = why;
		return -1;
	}
	w->channel = pair[0];
	w->watch = loop_watch(e->loop, w->channel, EPOLLIN, channel_ready, w);
	if (w->watch == 0) {
		why = errno;
		(void)close(w->channel);
		w->channel = -1;
		errno = why;
		return -1;
	}
	w->since = loop_now(e->loop);
	w->told = 0;
	for (uint32_t i = 0; i < w->nplaces; i++)
		w->place[i].told = false;
	tell_targets(w);
	return 0;
}

/* A number for the unit's target. -1: no memory. */
static int
number_place(struct worker_state *w, struct unit *u)
{
	uint32_t i = w->nplaces;

	if (w->nfree > 0) {
		for (i = 0; w->place[i].unit != NULL; i++)
			;
		w->nfree--;
	} else {
		struct place_of *p = realloc(w->place, (w->nplaces + 1) * sizeof *p);

		if (p == NULL)
			return -1;
		w->place = p;
		w->nplaces++;
	}
	w->place[i] = (struct place_of){ .unit = u };
	u->place = i + 1;
	if (w->told > i)
		w->told = i;
	return 0;
}

static void
unlist(struct worker_state *w, struct conn *c)
{
	struct engine *e = w->engine;

	if (w->unsent == c)
		w->unsent = c->next;
	*(c->prev != NULL ? &c->prev->next : &e->away) = c->next;
	*(c->next != NULL ? &c->next->prev : &e->away_last) = c->prev;
	hash_remove(&e->away_by_number, &c->node);
	w->n--;
}

static void
enlist(struct worker_state *w, struct conn *c)
{
	struct engine *e = w->engine;

	c->prev = e->away_last;
	*(e->away_last != NULL ? &e->away_last->next : &e->away) = c;
	e->away_last = c;
	w->n++;
	hash_put(&e->away_by_number, &c->node, hash_number(c->number));
	conn_enter(c, CONN_AWAY);
	c->pid = w->pid;
}

/* Whose connection it is; NULL: nobody's any more. */
static struct worker_state *
worker_of(const struct conn *c)
{
	struct engine *e = c->unit->engine;
	struct worker_state *w = e->worker;

	if (w != NULL && w->pid == c->pid)
		return w;
	for (w = e->old_workers; w != NULL && w->pid != c->pid; w = w->next)
		;
	return w;
}

/* What it counts for is given back. */
static void
over(struct worker_state *w, struct conn *c, const struct ended *end)
{
	struct unit *u = c->unit;

	unlist(w, c);
	u->live--;
	record_exit(c, end);
	source_leave(&w->engine->sources, c->source);
	c->source = NULL;
	conn_free(c);
	w->engine->room(w->engine, u);
	if (w->n == 0 && w->old && w->channel != -1)
		(void)shutdown(w->channel, SHUT_WR);	/* it ends with what lingers there */
}

static void
start_again(void *arg, int64_t now)
{
	struct worker_state *w = arg;

	if (w->channel != -1) {		/* it was only blocked */
		unblock(w);
		return;
	}
	if (start_worker(w) == 0)
		return;
	w->delay = w->delay * 2 > AGAIN_MOST ? AGAIN_MOST : w->delay * 2;
	log_say(LEVEL_ERR, "error", "cannot start the worker: %s; it is tried again", strerror(errno));
	loop_timer(w->engine->loop, &w->again, now + w->delay);
}

static void
old_free(struct worker_state *w)
{
	struct worker_state **at = &w->engine->old_workers;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	free(w);
}

/* The worker is gone, and what it served with it. An old one is freed. */
static void
lost(struct worker_state *w)
{
	struct engine *e = w->engine;
	const struct ended end = { .status = 1 };

	if (w->channel == -1)
		return;
	loop_close(e->loop, w->watch, w->channel);
	w->channel = -1;
	w->watch = 0;
	w->blocked = false;
	if (!w->old)
		loop_timer_stop(e->loop, &w->again);
	if (!e->stopping && !w->leaving && !w->old) {
		log_say(LEVEL_ERR, "error", "the worker (process %d) has ended, and %u connections with it; it is "
		    "started again", (int)w->pid, w->n);
		w->delay = loop_now(e->loop) - w->since > AGAIN_MOST || w->delay == 0 ? AGAIN_LEAST :
		    w->delay * 2 > AGAIN_MOST ? AGAIN_MOST : w->delay * 2;
		loop_timer(e->loop, &w->again, loop_now(e->loop) + w->delay);
	}
	if (w->old && w->n > 0 && !e->stopping)
		log_say(LEVEL_ERR, "error", "an old worker (process %d) has ended, and %u connections with it", (int)w->pid,
		    w->n);
	for (struct conn *c = e->away, *next; c != NULL; c = next) {
		next = c->next;
		if (c->pid == w->pid)
			over(w, c, &end);
	}
	if (w->old)
		old_free(w);
}

int
away_prepare(struct unit *u)
{
	struct engine *e = u->engine;
	struct worker_state *w = e->worker;

	if (w == NULL) {
		w = calloc(1, sizeof *w);
		if (w == NULL || loop_timer_room(e->loop) == -1) {
			free(w);
			errno = ENOMEM;
			return -1;
		}
		w->engine = e;
		w->channel = -1;
		w->again.fire = start_again;
		w->again.arg = w;
		e->worker = w;
	}
	if (w->channel == -1 && w->again.place == 0 && start_worker(w) == -1)
		return -1;
	if (u->conf->target != NULL && u->place == 0) {
		if (number_place(w, u) == -1)
			return -1;
		tell_targets(w);
	}
	return 0;
}

void
away_refresh(struct engine *e)
{
	struct worker_state *w = e->worker;
	struct ip ip;

	for (uint32_t i = 0; w != NULL && i < w->nplaces; i++) {
		const struct unit *u = w->place[i].unit;

		if (u == NULL || u->conf->target->scheme != SCHEME_TCP || ip_parse(u->conf->target->host, &ip))
			continue;
		w->place[i].told = false;
		if (w->told > i)
			w->told = i;
	}
}

void
away_forget(struct unit *u)
{
	struct worker_state *w = u->engine->worker;

	if (u->place == 0 || w == NULL)
		return;
	/*
	 * What is on its way to the worker comes there before whatever has the number next; what is not
	 * sent yet takes the unit's number of then.
	 */
	w->place[u->place - 1].unit = NULL;
	w->nfree++;
	u->place = 0;
}

bool
away_none(const struct engine *e)
{
	return e->away == NULL;
}

void
away_kill(struct engine *e)
{
	if (e->worker != NULL && e->worker->channel != -1)
		(void)kill(e->worker->pid, SIGKILL);
	for (const struct worker_state *w = e->old_workers; w != NULL; w = w->next)
		(void)kill(w->pid, SIGKILL);
}

bool
away_reaped(struct engine *e, pid_t pid)
{
	struct worker_state *w = e->old_workers;

	while (w != NULL && w->pid != pid)
		w = w->next;
	if (w == NULL && e->worker != NULL && e->worker->pid == pid)
		w = e->worker;
	if (w != NULL)
		lost(w);
	return w != NULL;
}

/* --- connections */

const char *
away_full(const struct engine *e)
{
	const struct worker_state *w = e->worker;

	if (w == NULL || w->channel == -1)
		return "the worker is being started again";
	return w->n < w->most && !w->blocked ? NULL : "the worker has its fill";
}

const struct conn *
away_first(const struct engine *e)
{
	return e->away;
}

unsigned
away_live(const struct engine *e)
{
	return e->worker != NULL ? (unsigned)e->worker->n : 0;
}

bool
away_gone(struct engine *e)
{
	struct worker_state *w = e->worker;

	if (w == NULL || w->channel == -1)
		return e->old_workers == NULL;
	/* What still lingers there is waited for: the channel ends when that has. */
	if (w->n == 0 && !w->leaving) {
		w->leaving = true;
		(void)shutdown(w->channel, SHUT_WR);
	}
	return false;
}

static struct job
job_of(const struct conn *c)
{
	const struct service *s = c->conf;
	struct job j = { .kind = kind_of(s), .number = c->number, .target = c->unit->place,
		.send_proxy = s->send_proxy, .idle = s->idle_timeout, .linger = s->linger, .peer = c->peer };

	if (c->local != NULL)
		memcpy(&j.local, c->local, offsetof(struct addr, sa) + c->local->len);
	return j;
}

/* The first of those that are not sent, as many as one message holds. -1: errno. */
static int
send_some(struct worker_state *w)
{
	union { struct cmsghdr head; char room[CMSG_SPACE(JOBS * sizeof(int))]; } control;
	struct job j[JOBS];
	int fds[JOBS] = { -1 };
	struct iovec v = { .iov_base = j };
	struct msghdr h = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &control };
	struct conn *c = w->unsent;
	size_t n = 0;

	for (; c != NULL && n < JOBS; c = c->next, n++) {
		j[n] = job_of(c);
		fds[n] = c->fd;
	}
	v.iov_len = n * sizeof j[0];
	memset(&control, 0, sizeof control);
	h.msg_controllen = CMSG_SPACE(n * sizeof fds[0]);
	control.head.cmsg_level = SOL_SOCKET;
	control.head.cmsg_type = SCM_RIGHTS;
	control.head.cmsg_len = CMSG_LEN(n * sizeof fds[0]);
	memcpy(CMSG_DATA(&control.head), fds, n * sizeof fds[0]);
	if (sendmsg(w->channel, &h, MSG_DONTWAIT | MSG_NOSIGNAL) == -1)
		return -1;
	/* On their way they stay open. Only tcpmux's come back. */
	for (; w->unsent != c; w->unsent = w->unsent->next)
		if (w->unsent->conf->internal != BUILTIN_TCPMUX) {
			loop_close(w->engine->loop, 0, w->unsent->fd);
			w->unsent->fd = -1;
		}
	return 0;
}

void
away_flush(struct engine *e)
{
	struct worker_state *w = e->worker;

	if (w == NULL)
		return;
	tell_targets(w);
	while (w->unsent != NULL && w->channel != -1 && !w->blocked) {
		if (send_some(w) == 0)
			continue;
		if (errno == EPIPE || errno == ECONNRESET) {
			lost(w);
			return;
		}
		block(w, errno);
	}
}

static void
unblock(struct worker_state *w)
{
	w->blocked = false;
	(void)loop_change(w->engine->loop, w->watch, EPOLLIN);
	away_flush(w->engine);
}

bool
away_serve(struct unit *u, int fd, const struct peer *peer, const struct addr *local,
    struct source *source)
{
	struct worker_state *w = u->engine->worker;
	struct conn *c = conn_new(u, fd, peer, source);
	size_t size = offsetof(struct addr, sa) + local->len;

	/* Only a header for the target needs it. */
	if (u->conf->send_proxy != SEND_PROXY_NO && (c->local = malloc(size)) != NULL)
		memcpy(c->local, local, size);
	enlist(w, c);
	u->live++;
	unit_started(u);
	record_start(c, NULL);
	conn_banners(c);
	if (u->conf->timeout != 0) {
		c->deadline = loop_now(u->engine->loop) + u->conf->timeout;
		conn_set_timer(c);
	}
	if (w->channel == -1) {	/* it ended while a header was awaited */
		over(w, c, &(struct ended){ .status = 1 });
		return true;
	}
	if (w->unsent == NULL)
		w->unsent = c;	/* it goes with the others of this turn of the loop */
	return true;
}

void
away_end(struct conn *c)
{
	struct worker_state *w = worker_of(c);
	struct engine *e = c->unit->engine;
	const struct job j = { .kind = JOB_END, .number = c->number };

	if (w == NULL || w->channel == -1)
		return;
	away_flush(e);
	/* It must not overtake its job, nor be lost: it is said again until the end is told. */
	if (w->unsent == NULL)
		(void)send(w->channel, &j, sizeof j, MSG_DONTWAIT | MSG_NOSIGNAL);
	c->deadline = loop_now(e->loop) + AGAIN_LEAST;
	conn_set_timer(c);
}

void
away_end_all(struct engine *e)
{
	const struct job j = { .kind = JOB_END };

	away_flush(e);
	if (e->worker != NULL && e->worker->channel != -1 && e->worker->n > 0)
		(void)send(e->worker->channel, &j, sizeof j, MSG_DONTWAIT | MSG_NOSIGNAL);
	for (const struct worker_state *w = e->old_workers; w != NULL; w = w->next)
		(void)send(w->channel, &j, sizeof j, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void
no_target(struct conn *c, int fault)
{
	struct unit *u = c->unit;

	u->failed++;
	c->refused = true;
	if (flood_allows(u, FLOOD_FAILURES))
		unit_say(u, LEVEL_ERR, "error", "cannot connect to %s%s%s: %s", c->conf->redirect.word[0],
		    c->conf->redirect.n > 1 ? " " : "", c->conf->redirect.n > 1 ? c->conf->redirect.word[1] : "",
		    fault == 0 ? "the name has no address" : strerror(fault));
}

static struct conn *
find(const struct engine *e, uint64_t number)
{
	for (struct hash_node *n = hash_find(&e->away_by_number, hash_number(number)); n != NULL; n = hash_next(n))
		if (((struct conn *)n)->number == number)
			return (struct conn *)n;
	return NULL;
}

static void
take_report(struct worker_state *w, const struct report *r)
{
	struct engine *e = w->engine;
	struct conn *c = find(e, r->number);
	struct ended end = { .pid = w->pid };

	if (c == NULL)
		return;
	switch (r->kind) {
	case REPORT_LOST:
		unit_say(c->unit, LEVEL_ERR, "error", "the worker could not take a connection: %s", strerror(r->fault));
		end.status = 1;
		over(w, c, &end);
		break;
	case REPORT_IDLE:
		conn_say_kill(c, "idle_timeout");
		break;
	case REPORT_NO_TARGET:
		no_target(c, r->fault);
		break;
	case REPORT_DONE:
		c->bytes_in = r->bytes.in;
		c->bytes_out = r->bytes.out;
		record_bytes(c);
		end.status = c->refused;
		if (c->told) {
			end.signalled = true;
			end.status = SIGTERM;
		}
		record_traffic(c);
		over(w, c, &end);
		break;
	case REPORT_NAME: {
		int fd = c->fd;

		c->fd = -1;
		mux_named(c, fd, r->name);
		over(w, c, &end);
		break;
	}
	}
}

static void
channel_ready(void *arg, uint32_t events)
{
	struct worker_state *w = arg;
	struct report r[REPORTS];

	if ((events & EPOLLOUT) != 0)
		unblock(w);
	for (int turn = 0; turn < 16 && w->channel != -1; turn++) {
		ssize_t n = recv(w->channel, r, sizeof r, MSG_DONTWAIT);

		if (n == -1 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n == -1 && errno != ECONNRESET) {	/* for want of memory */
			w->blocked = true;
			(void)loop_change(w->engine->loop, w->watch, 0);
			loop_timer(w->engine->loop, &w->again, loop_now(w->engine->loop) + AGAIN_LEAST);
			return;
		}
		if (n <= 0) {
			lost(w);
			return;
		}
		for (size_t i = 0; i < (size_t)n / sizeof r[0] && w->channel != -1; i++)
			take_report(w, &r[i]);
	}
}

bool
away_carry(const struct engine *e, size_t i, struct carried_worker *out)
{
	const struct worker_state *w = e->worker;

	/* Who has no connection ends when the channel does. */
	bool first = w != NULL && w->channel != -1 && w->n > 0;

	if (!first || i > 0) {
		w = e->old_workers;
		for (i -= first; i > 0 && w != NULL; i--)
			w = w->next;
	}
	if (w != NULL)
		*out = (struct carried_worker){ w->pid, w->channel };
	return w != NULL;
}

bool
away_unsent(const struct engine *e)
{
	return e->worker != NULL && e->worker->unsent != NULL;
}

int
away_resume(struct engine *e, const struct carried_worker *had)
{
	struct worker_state *w = calloc(1, sizeof *w);

	if (w == NULL)
		return -1;
	*w = (struct worker_state){ .engine = e, .pid = had->pid, .channel = had->channel, .old = true,
		.next = e->old_workers };
	w->watch = loop_watch(e->loop, w->channel, EPOLLIN, channel_ready, w);
	if (w->watch == 0) {
		int why = errno;

		free(w);
		errno = why;
		return -1;
	}
	e->old_workers = w;
	return 0;
}

bool
away_resume_conn(struct conn *c)
{
	struct worker_state *w = worker_of(c);

	if (w == NULL)
		return false;
	enlist(w, c);
	c->unit->live++;
	if (c->deadline != 0)
		conn_set_timer(c);
	return true;
}

void
away_resumed(struct engine *e)
{
	for (const struct worker_state *w = e->old_workers; w != NULL; w = w->next)
		if (w->n == 0)
			(void)shutdown(w->channel, SHUT_WR);
}

void
away_free(struct engine *e)
{
	struct worker_state *w = e->worker;

	while (e->away != NULL) {
		struct conn *c = e->away;

		unlist(worker_of(c), c);
		c->unit->live--;
		conn_free(c);
	}
	for (struct worker_state *old = e->old_workers, *next; old != NULL; old = next) {
		next = old->next;
		loop_close(e->loop, old->watch, old->channel);
		old_free(old);
	}
	if (w == NULL)
		return;
	loop_timer_stop(e->loop, &w->again);
	loop_timer_leave(e->loop);
	if (w->channel != -1)
		loop_close(e->loop, w->watch, w->channel);
	free(w->place);
	free(w);
	e->worker = NULL;
}

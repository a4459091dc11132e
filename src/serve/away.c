#include "serve/away_parts.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "serve/mux.h"

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

void
away_unlist(struct worker_state *w, struct conn *c)
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

struct worker_state *
away_worker(const struct conn *c)
{
	struct engine *e = c->unit->engine;
	struct worker_state *w = e->worker;

	if (w != NULL && w->pid == c->pid)
		return w;
	for (w = e->old_workers; w != NULL && w->pid != c->pid; w = w->next)
		;
	return w;
}

void
away_over(struct worker_state *w, struct conn *c, const struct ended *end)
{
	struct unit *u = c->unit;

	away_unlist(w, c);
	u->live--;
	record_exit(c, end);
	source_leave(&w->engine->sources, c->source);
	c->source = NULL;
	conn_free(c);
	w->engine->room(w->engine, u);
	if (w->n == 0 && w->old && w->channel != -1)
		(void)shutdown(w->channel, SHUT_WR);	/* it ends with what lingers there */
}

bool
away_none(const struct engine *e)
{
	return e->away == NULL;
}

const char *
away_full(const struct engine *e)
{
	const struct worker_state *w = e->worker;

	if (w == NULL || w->channel == -1)
		return "the worker is being started again";
	return w->n < w->most && !w->blocked ? NULL : "the worker has its fill";
}

bool
away_is_behind(const struct engine *e)
{
	return e->worker != NULL && e->worker->behind;
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
	int unread = 0;

	for (; c != NULL && n < JOBS; c = c->next, n++) {
		j[n] = job_of(c);
		fds[n] = c->fd;
	}
	j[0].asks = n > 1 || (ioctl(w->channel, SIOCOUTQ, &unread) == 0 && unread > 0);
	v.iov_len = n * sizeof j[0];
	memset(&control, 0, sizeof control);
	h.msg_controllen = CMSG_SPACE(n * sizeof fds[0]);
	control.head.cmsg_level = SOL_SOCKET;
	control.head.cmsg_type = SCM_RIGHTS;
	control.head.cmsg_len = CMSG_LEN(n * sizeof fds[0]);
	memcpy(CMSG_DATA(&control.head), fds, n * sizeof fds[0]);
	if (sendmsg(w->channel, &h, MSG_DONTWAIT | MSG_NOSIGNAL) == -1)
		return -1;
	w->behind |= j[0].asks;
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
	away_tell_targets(w);
	while (w->unsent != NULL && w->channel != -1 && !w->blocked) {
		if (send_some(w) == 0)
			continue;
		if (errno != EPIPE && errno != ECONNRESET)
			away_block(w, errno);
		/* Where it is gone the channel's end tells that later: who calls this may hold a connection of it. */
		w->blocked = true;
	}
}

void
away_unblock(struct worker_state *w)
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
		away_over(w, c, &(struct ended){ .status = 1 });
		return true;
	}
	if (w->unsent == NULL)
		w->unsent = c;	/* it goes with the others of this turn of the loop */
	return true;
}

void
away_end(struct conn *c)
{
	struct worker_state *w = away_worker(c);
	struct engine *e = c->unit->engine;
	const struct job j = { .kind = JOB_END, .number = c->number };

	if (w == NULL || w->channel == -1)
		return;
	away_flush(e);
	/* It must not overtake its job, nor be lost: it is said again until the end is told. */
	if (w->unsent == NULL)
		(void)send(w->channel, &j, sizeof j, MSG_DONTWAIT | MSG_NOSIGNAL);
	c->deadline = loop_now(e->loop) + AWAY_AGAIN;
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
	bool of_one = r->kind != REPORT_READ && r->kind != REPORT_UNFIT;
	struct conn *c = of_one ? find(e, r->number) : NULL;
	struct ended end = { .pid = w->pid };

	if (r->kind == REPORT_READ) {
		w->behind = false;
		e->room(e, NULL);
	}
	if (r->kind == REPORT_UNFIT)
		log_say(LEVEL_ERR, "error", "the worker cannot become user %u: %s; relays and built-ins need it",
		    (unsigned)e->lower.uid, strerror(r->fault));
	if (c == NULL)
		return;
	switch (r->kind) {
	case REPORT_READ:
	case REPORT_UNFIT:
		break;
	case REPORT_LOST:
		unit_say(c->unit, LEVEL_ERR, "error", "the worker could not take a connection: %s", strerror(r->fault));
		end.status = 1;
		away_over(w, c, &end);
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
		away_over(w, c, &end);
		break;
	case REPORT_NAME: {
		int fd = c->fd;

		c->fd = -1;
		mux_named(c, fd, r->name);
		away_over(w, c, &end);
		break;
	}
	}
}

void
away_ready(void *arg, uint32_t events)
{
	struct worker_state *w = arg;
	struct report r[REPORTS];

	if ((events & EPOLLOUT) != 0)
		away_unblock(w);
	for (int turn = 0; turn < 16 && w->channel != -1; turn++) {
		ssize_t n = recv(w->channel, r, sizeof r, MSG_DONTWAIT);

		if (n == -1 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n == -1 && errno != ECONNRESET) {	/* for want of memory */
			w->blocked = true;
			(void)loop_change(w->engine->loop, w->watch, 0);
			loop_timer(w->engine->loop, &w->again, loop_now(w->engine->loop) + AWAY_AGAIN);
			return;
		}
		if (n <= 0) {
			away_lost(w);
			return;
		}
		for (size_t i = 0; i < (size_t)n / sizeof r[0] && w->channel != -1; i++)
			take_report(w, &r[i]);
	}
}

bool
away_unsent(const struct engine *e)
{
	return e->worker != NULL && e->worker->unsent != NULL;
}

bool
away_resume_conn(struct conn *c)
{
	struct worker_state *w = away_worker(c);

	if (w == NULL)
		return false;
	enlist(w, c);
	c->unit->live++;
	if (c->deadline != 0)
		conn_set_timer(c);
	return true;
}

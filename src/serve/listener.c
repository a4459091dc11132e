#include "serve/listener.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "serve/accept.h"
#include "serve/away.h"
#include "serve/builtin.h"
#include "serve/conn.h"
#include "serve/datagram.h"
#include "serve/handover.h"
#include "serve/header.h"

enum {
	BATCH_MOST = 16,		/* connections taken in one turn, so that others get theirs */
	LAST = 4096,			/* taken when it is closed, at most: as many as a backlog holds */
	GROWS = 4,			/* full turns in a row that make the next ones longer */
	PAUSE_LEAST = 20, PAUSE_MOST = 500,	/* ms */
	PARTING = 200,			/* ms from hidden to closed: for handshakes that have begun */
};

static void listener_ready(void *arg, uint32_t events);
static int settle(struct listener *l);

/* --- pausing */

static void
unlist(struct listener *l)
{
	struct engine *e = l->unit->engine;

	if (!l->listed)
		return;
	l->listed = false;
	*(l->prev_paused != NULL ? &l->prev_paused->next_paused : &e->paused) = l->next_paused;
	*(l->next_paused != NULL ? &l->next_paused->prev_paused : &e->paused_last) = l->prev_paused;
}

static void
enlist(struct listener *l)
{
	struct engine *e = l->unit->engine;

	if (l->listed)
		return;
	l->listed = true;
	l->next_paused = NULL;
	l->prev_paused = e->paused_last;
	*(e->paused_last != NULL ? &e->paused_last->next_paused : &e->paused) = l;
	e->paused_last = l;
}

static void
say_pause(const struct listener *l, const char *event, const char *message)
{
	struct log_style style = unit_style(l->unit);

	log_event(&(struct event){ .level = LEVEL_NOTICE, .name = event, .service = l->unit->conf->id,
	    .reason = reason_text(l->why), .message = message }, &style);
}

void
listener_pause(struct listener *l, enum reason why, int64_t until, const char *message)
{
	struct engine *e = l->unit->engine;

	l->pausing = true;
	l->why = why;
	if (l->watch != 0) {
		loop_unwatch(e->loop, l->watch);
		l->watch = 0;
	}
	if (until != 0)
		loop_timer(e->loop, &l->timer, until);
	else
		loop_timer_stop(e->loop, &l->timer);
	if (message != NULL || why == REASON_PROCESS_LIMIT)
		enlist(l);
	if (message != NULL && !l->resource) {
		l->resource = true;
		if (e->npaused_short++ == 0)
			say_pause(l, "pause", message);
	} else if (!l->said && !l->resource) {
		l->said = true;
		say_pause(l, "pause", l->bound.name);
	}
}

void
listener_resume(struct listener *l)
{
	struct engine *e = l->unit->engine;

	if (!l->pausing)
		return;
	/* In the loop again first: were that refused, it goes on pausing. */
	l->watch = loop_watch(e->loop, l->bound.fd, EPOLLIN, listener_ready, l);
	if (l->watch == 0) {
		loop_timer(e->loop, &l->timer, loop_now(e->loop) + PAUSE_MOST);
		return;
	}
	l->pausing = false;
	loop_timer_stop(e->loop, &l->timer);
	unlist(l);
	if (!l->resource) {
		if (l->said)
			say_pause(l, "resume", l->bound.name);
		l->said = false;
		return;
	}
	l->resource = l->said = false;
	if (--e->npaused_short == 0) {
		say_pause(l, "resume", l->bound.name);
		e->backoff = 0;
	}
}

int64_t
listener_delay(struct engine *e)
{
	e->backoff = e->backoff == 0 ? PAUSE_LEAST : e->backoff * 2;
	if (e->backoff > PAUSE_MOST)
		e->backoff = PAUSE_MOST;
	return loop_now(e->loop) + e->backoff;
}

bool
listener_is_readable(const struct listener *l)
{
	struct pollfd p = { .fd = l->bound.fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* --- resting */

static bool
is_for_worker(const struct listener *l)
{
	return l->take == accept_take && away_serves(l->unit->conf);
}

/* It is in the loop, for nothing. False: it cannot be. */
static bool
rest(struct listener *l)
{
	struct engine *e = l->unit->engine;

	if (loop_change(e->loop, l->watch, 0) == -1)
		return false;
	if (!l->rests) {
		l->rests = true;
		l->next_resting = e->resting;
		e->resting = l;
	}
	return true;
}

static void
rest_no_more(struct listener *l)
{
	struct engine *e = l->unit->engine;

	l->rests = false;
	if (l->watch != 0 && loop_change(e->loop, l->watch, EPOLLIN) == -1)
		listener_pause(l, REASON_FORK, listener_delay(e), strerror(errno));
}

/* Those who have come meanwhile are taken together. Where there were some, it rests until they are read, too. */
static void
wake_all(struct engine *e)
{
	struct listener *l, *all = e->resting;

	e->resting = NULL;
	while ((l = all) != NULL) {
		uint64_t before = e->next_conn;
		int turns = BATCH_MOST;

		all = l->next_resting;
		l->rests = false;
		/* With cps each turn takes one. Limits are asked only for somebody who is there. */
		while (l->watch != 0 && listener_is_readable(l) && l->take(l, BATCH_MOST) == TOOK_SOME &&
		    e->next_conn - before < BATCH_MOST && turns-- > 0)
			;
		away_flush(e);
		if (l->watch == 0 || e->next_conn == before || !away_is_behind(e) || !rest(l))
			rest_no_more(l);
	}
}

/* --- room */

/* What the master answers itself, and what the worker serves, goes on where there is no process to be had. */
static bool
needs_process(const struct listener *l)
{
	return l->take != builtin_take && !is_for_worker(l);
}

/*
 * Do those who are too many wait in the kernel's queue? A service that takes nobody refuses them, but for what its
 * command accepts or reads itself: there nobody is refused one by one, and it is just not started.
 */
static bool
has_queue(const struct listener *l)
{
	const struct service *s = l->unit->conf;

	return l->take == handover_take || ((s->overload == OVERLOAD_QUEUE || s->wait) && s->instances > 0);
}

bool
listener_has_room(struct listener *l, bool waits)
{
	struct unit *u = l->unit;
	struct engine *e = u->engine;
	enum reason why;
	int64_t until = 0;

	if (!conn_room(e))
		listener_pause(l, REASON_FORK, listener_delay(e), strerror(ENOMEM));
	else if (e->burials >= BURIALS_MOST)
		listener_pause(l, REASON_FORK, loop_now(e->loop) + 50, "too many UNIX connections end");
	else if (e->waiting != NULL && needs_process(l))
		listener_pause(l, REASON_FORK, listener_delay(e), "no process to be had");
	else if (u->awaited >= HEADERS_MOST)
		listener_pause(l, REASON_PROXY, loop_now(e->loop) + 50, NULL);
	else if (is_for_worker(l) && away_full(e) != NULL)
		listener_pause(l, REASON_FORK, listener_delay(e), away_full(e));
	else if (u->starting >= START_MOST)
		listener_pause(l, REASON_FORK, loop_now(e->loop) + 5, "too many starts in flight");
	else if (waits && has_queue(l) && unit_is_full(u, &why, &until))
		listener_pause(l, why, until, NULL);
	else
		return true;
	return false;
}

static void
listener_ready(void *arg, uint32_t events)
{
	struct listener *l = arg;

	/*
	 * While the worker has not read what it was sent, whoever comes waits in the kernel's queue: else each of
	 * them would wake the master, in the worker's time. A fault is told all the same.
	 */
	if ((events & (EPOLLHUP | EPOLLERR)) == 0 && is_for_worker(l) && away_is_behind(l->unit->engine) && rest(l))
		return;
	/*
	 * The last accept of a turn that finds nobody is a system call for nothing: take as many as
	 * lately came together, and let the loop tell of the rest.
	 */
	switch (l->take(l, l->batch)) {
	case TOOK_SOME:
		if (++l->full_turns == GROWS && l->batch < BATCH_MOST) {
			l->batch *= 2;
			l->full_turns = 0;
		}
		break;
	case TOOK_ALL:
	case TOOK_PAUSE:
		l->batch = 1;
		l->full_turns = 0;
		break;
	}
}

/* A pausing listener tries: whoever waits is served, and if nobody waits any more it goes on. */
static void
try_again(struct listener *l)
{
	if (!l->pausing)
		return;
	if (l->moved && settle(l) == -1)
		listener_pause(l, REASON_FORK, listener_delay(l->unit->engine), strerror(errno));
	else if (l->take(l, BATCH_MOST) != TOOK_PAUSE)
		listener_resume(l);
}

static void
pause_over(void *arg, int64_t now)
{
	(void)now;
	try_again(arg);
}

void
listeners_retry(struct engine *e)
{
	for (struct listener *l = e->paused; l != NULL; l = e->paused) {
		try_again(l);
		/* While a command has the socket it does not pause for want of room. */
		if (l->pausing && l->listed) {	/* it took what there was, and stays first no longer */
			unlist(l);
			enlist(l);
			break;
		}
	}
}

void
listener_room(struct engine *e, struct unit *u)
{
	if (e->resting != NULL && !away_is_behind(e))
		wake_all(e);
	if (u == NULL)
		return;
	if (e->waiting != NULL)
		conn_retry(e, loop_now(e->loop));
	for (struct listener *l = u->listeners; l != NULL; l = l->next)
		if (l->pausing && l->why == REASON_SERVICE_LIMIT && l->timer.place == 0)
			try_again(l);
	listeners_retry(e);
}

static listener_take *
choose(const struct listener *l)
{
	const struct service *s = l->unit->conf;

	if (s->internal != BUILTIN_NONE || s->redirect.n > 0)
		return l->type == SOCK_DGRAM ? builtin_take : accept_take;
	if (l->type == 0 || s->wait)
		return handover_take;
	return l->type == SOCK_DGRAM ? datagram_take : accept_take;
}

/*
 * May clients of a UNIX socket send descriptors along? A command may want them; the worker reads none, and to
 * close a stranger's might take long. (A kernel before 6.16 cannot be told.)
 */
static void
set_rights(const struct listener *l, const struct bound *b)
{
	int on = !away_serves(l->unit->conf);

	if (l->type == SOCK_STREAM && b->addr->sa.sa_family == AF_UNIX)
		(void)setsockopt(b->fd, SOL_SOCKET, SO_PASSRIGHTS, &on, sizeof on);
}

/* What the way of taking needs; -1: errno. And the end of it. */
static int
begin(struct listener *l, const struct bound *b)
{
	struct unit *u = l->unit;

	set_rights(l, b);
	if (l->take == accept_take)
		return away_serves(u->conf) && !l->restored ? away_prepare(u) : 0;
	if (l->take == handover_take)
		return handover_prepare(l, b->fd);
	if (l->take == builtin_take && builtin_open(u->engine, b) == -1)
		return -1;
	l->outlet = outlet_new(b);
	if (l->outlet == NULL) {
		if (l->take == builtin_take)
			builtin_close(u->engine, b);
		return -1;
	}
	datagram_prepare(b->fd, l->outlet->family);
	return 0;
}

/* `b` is the socket, if it is to be closed; NULL: it goes on otherwise, here by another descriptor. */
static void
end(struct listener *l, struct bound *b)
{
	struct engine *e = l->unit->engine;

	if (l->take == accept_take)
		return;
	if (l->take == handover_take) {
		if (l->handover->child != NULL)
			l->handover->child->handed = NULL;
		free(l->handover);
		return;
	}
	if (l->take == builtin_take)
		builtin_close(e, b != NULL ? b : &l->bound);
	if (b == NULL) {
		outlet_put(l->outlet);
		return;
	}
	if (l->outlet->fd != -1)
		b->fd = -1;	/* replies may still have to leave through it */
	outlet_leave(l->outlet, e);
}

static struct listener *
make(struct unit *u, struct bound *b, bool rests)
{
	struct engine *e = u->engine;
	struct listener *l = calloc(1, sizeof *l), **last = &u->listeners;
	socklen_t len = sizeof l->type;
	int why;

	if (l == NULL)
		return NULL;
	l->unit = u;
	l->batch = 1;
	l->timer.fire = pause_over;
	l->timer.arg = l;
	if (getsockopt(b->fd, SOL_SOCKET, SO_TYPE, &l->type, &len) == -1) {
		if (errno != ENOTSOCK) {
			why = errno;
			goto out;
		}
		l->type = 0;
	}
	l->take = choose(l);
	l->pausing = l->restored = rests;
	if (loop_timer_room(e->loop) == -1) {
		why = ENOMEM;
		goto out;
	}
	if (begin(l, b) == -1) {
		why = errno;
		loop_timer_leave(e->loop);
		goto out;
	}
	if (!rests)
		l->watch = loop_watch(e->loop, b->fd, EPOLLIN, listener_ready, l);
	if (l->watch == 0 && !rests) {
		why = errno;
		end(l, b);
		loop_timer_leave(e->loop);
		goto out;
	}
	if (l->take == datagram_take || l->take == builtin_take)
		l->outlet->fd = b->fd;
	l->bound = *b;
	*b = (struct bound){ .fd = -1 };
	while (*last != NULL)
		last = &(*last)->next;
	*last = l;
	return l;
out:
	free(l);
	errno = why;
	return NULL;
}

struct listener *
listener_open(struct unit *u, struct bound *b)
{
	return make(u, b, false);
}

struct listener *
listener_restore(struct unit *u, struct bound *b)
{
	return make(u, b, true);
}

/* Takes it out of its unit and of the loop. */
static void
detach(struct listener *l)
{
	struct engine *e = l->unit->engine;
	struct listener **at = l->parting ? &e->parting : &l->unit->listeners, **resting;

	if (l->rests) {
		for (resting = &e->resting; *resting != l; resting = &(*resting)->next_resting)
			;
		*resting = l->next_resting;
		rest_no_more(l);
	}
	loop_timer_stop(e->loop, &l->timer);
	unlist(l);
	/* If another one, or it in another way, is still short, that is told anew. */
	if (l->resource && --e->npaused_short == 0) {
		e->backoff = 0;
		if (*e->ending == 0)
			say_pause(l, "resume", l->bound.name);
	}
	l->resource = false;
	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
}

static void
discard(struct listener *l)
{
	struct engine *e = l->unit->engine;

	detach(l);
	loop_timer_leave(e->loop);
	loop_unwatch(e->loop, l->watch);
	end(l, &l->bound);
	sock_close(&l->bound);
	free(l);
}

/* The same socket is served in another way. -1: errno, and all is as it was. */
static int
become(struct listener *l, listener_take *take)
{
	struct engine *e = l->unit->engine;
	struct listener was = *l;
	int flags;

	/* Replies to those that live still leave through the old descriptor. */
	if (l->take == datagram_take || l->take == builtin_take)
		l->bound.fd = fcntl(was.bound.fd, F_DUPFD_CLOEXEC, 4);
	if (l->bound.fd == -1) {
		l->bound.fd = was.bound.fd;
		return -1;
	}
	l->take = take;
	l->outlet = NULL;
	if (begin(l, &l->bound) == -1) {
		int why = errno;

		if (l->bound.fd != was.bound.fd)
			(void)close(l->bound.fd);
		*l = was;
		errno = why;
		return -1;
	}
	loop_unwatch(e->loop, was.watch);
	l->watch = 0;
	end(&was, NULL);
	/* A command that had it may have set it to wait. */
	flags = fcntl(l->bound.fd, F_GETFL);
	if ((flags & O_NONBLOCK) == 0)
		(void)fcntl(l->bound.fd, F_SETFL, flags | O_NONBLOCK);
	if (take == datagram_take || take == builtin_take)
		l->outlet->fd = l->bound.fd;
	return 0;
}

/*
 * It is served as its service wants it from now on; but a command that has the socket keeps it until
 * it ends. -1: errno, and it goes on as before.
 */
static int
settle(struct listener *l)
{
	listener_take *take = choose(l);

	if (l->take == handover_take && take == handover_take)
		handover_ask(l, l->bound.fd);
	else if (l->take == handover_take && l->handover->child != NULL)
		return 0;
	if (take != l->take && become(l, take) == -1)
		return -1;
	set_rights(l, &l->bound);
	if (take == accept_take && away_serves(l->unit->conf) && away_prepare(l->unit) == -1)
		return -1;
	l->moved = false;
	return 0;
}

void
listener_move(struct listener *l, struct unit *u)
{
	struct listener **last = &u->listeners;
	struct engine *e = u->engine;

	detach(l);
	l->next = NULL;
	while (*last != NULL)
		last = &(*last)->next;
	*last = l;
	l->unit = u;
	l->moved = true;
	if (settle(l) == -1) {
		listener_pause(l, REASON_FORK, listener_delay(e), strerror(errno));
	} else if (l->take == handover_take && l->handover->child != NULL) {
		l->pausing = true;	/* it comes back by itself */
	} else if (l->restored && !l->said && (l->take != datagram_take || l->outlet->kept == NULL)) {
		listener_resume(l);
	} else if (l->watch == 0 || l->pausing) {
		/* Who has been waiting may find room now. */
		l->pausing = true;
		loop_timer(e->loop, &l->timer, loop_now(e->loop));
	}
	l->restored = false;
}

/* Closing resets those who are through already: whoever can be served is, and nobody else comes meanwhile. */
static void
serve_last(struct listener *l)
{
	const struct engine *e = l->unit->engine;
	uint64_t before = e->next_conn;

	if (l->pausing || l->take == handover_take)
		return;
	if (l->type == SOCK_STREAM || l->type == SOCK_SEQPACKET)
		sock_hide(&l->bound);
	/* With cps each turn takes one. */
	for (int turn = 0; turn < LAST && e->next_conn - before < LAST && !l->pausing && l->take(l, BATCH_MOST) == TOOK_SOME; turn++)
		;
}

void
listener_close(struct listener *l)
{
	struct unit *u = l->unit;
	bool parting = l->parting;

	serve_last(l);
	discard(l);
	if (parting)
		unit_leave(u);
}

static void
parted(void *arg, int64_t now)
{
	(void)now;
	listener_close(arg);
}

void
listener_part(struct listener *l)
{
	struct unit *u = l->unit;
	struct engine *e = u->engine;

	serve_last(l);
	if (l->pausing || l->take == handover_take || l->type != SOCK_STREAM || l->bound.inherited ||
	    l->bound.addr->sa.sa_family == AF_UNIX) {
		discard(l);
		return;
	}
	detach(l);
	loop_unwatch(e->loop, l->watch);
	l->watch = 0;
	l->parting = true;
	l->next = e->parting;
	e->parting = l;
	u->uses++;
	l->timer.fire = parted;
	loop_timer(e->loop, &l->timer, loop_now(e->loop) + PARTING);
}

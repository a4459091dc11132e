#include "serve/listener.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "serve/connection.h"

enum {
	BATCH_MOST = 64,		/* connections taken in one turn, so that others get theirs */
	GROWS = 4,			/* full turns in a row that make the next ones longer */
	FAULTS = 8,			/* failures of accept(2) in a row that make a pause */
	PAUSE_LEAST = 20, PAUSE_MOST = 1000,	/* ms */
};

enum took { TOOK_ALL, TOOK_SOME, TOOK_PAUSE };

static void accept_ready(void *arg, uint32_t events);

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

/*
 * Takes the listener out of the loop. `until`: try again then (0: when a child ends). A message
 * means that a resource is short: that is one state of the whole master, told once.
 */
static void
pause_listener(struct listener *l, enum reason why, int64_t until, const char *message)
{
	struct engine *e = l->unit->engine;
	bool was = l->pausing;

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
	} else if (!was) {
		say_pause(l, "pause", l->bound.name);
	}
}

static void
resume(struct listener *l)
{
	struct engine *e = l->unit->engine;

	if (!l->pausing)
		return;
	/* In the loop again first: were that refused, it goes on pausing. */
	l->watch = loop_watch(e->loop, l->bound.fd, EPOLLIN, accept_ready, l);
	if (l->watch == 0) {
		loop_timer(e->loop, &l->timer, loop_now(e->loop) + PAUSE_MOST);
		return;
	}
	l->pausing = false;
	loop_timer_stop(e->loop, &l->timer);
	unlist(l);
	if (!l->resource) {
		say_pause(l, "resume", l->bound.name);
		return;
	}
	l->resource = false;
	if (--e->npaused_short == 0) {
		say_pause(l, "resume", l->bound.name);
		e->backoff = 0;
	}
}

static int64_t
next_delay(struct engine *e)
{
	e->backoff = e->backoff == 0 ? PAUSE_LEAST : e->backoff * 2;
	if (e->backoff > PAUSE_MOST)
		e->backoff = PAUSE_MOST;
	return loop_now(e->loop) + e->backoff;
}

/* --- limits */

/* Does the service, or the master, have its fill? Then why, and when to ask again (0: when a child ends). */
static bool
is_full(struct unit *u, enum reason *why, int64_t *until)
{
	struct engine *e = u->engine;
	const struct service *s = u->conf;
	int64_t now = loop_now(e->loop);

	*until = pace_wait(&u->pace, &s->cps, now);
	if (*until != 0) {
		*why = REASON_SERVICE_LIMIT;
		return true;
	}
	if (s->max_load > 0 && engine_load(e) >= s->max_load) {
		*why = REASON_LOAD;
		*until = now + SECOND;
		return true;
	}
	if (u->live >= s->instances) {
		*why = REASON_SERVICE_LIMIT;
		return true;
	}
	if (e->live >= e->limit) {
		*why = REASON_PROCESS_LIMIT;
		return true;
	}
	return false;
}

static bool
open_now(const struct service *s)
{
	time_t now;
	struct tm tm;

	if (s->ntimes == 0)
		return true;
	now = time(NULL);
	(void)localtime_r(&now, &tm);
	return interval_holds(s->times, s->ntimes, tm.tm_hour * 60 + tm.tm_min);
}

/* What depends on the peer alone. False: *why it is refused. */
static bool
may_come(struct unit *u, const struct peer *p, enum reason *why, struct source **source)
{
	const struct service *s = u->conf;
	struct engine *e = u->engine;
	const struct rule *rule;

	*why = REASON_SENSOR;
	if (p->kind == PEER_IP && ban_holds(&e->bans, &p->ip, loop_now(e->loop)))
		return false;
	/*
	 * With a domain in a list the child decides, once it knows the peer's name; but a name
	 * never overrules an address that is kept out.
	 */
	*why = REASON_ADDRESS;
	if (!access_allows(&s->only_from, &s->no_access, p, NULL, &rule) &&
	    (!conn_decides_by_name(s, p) || (rule != NULL && rule->kind == RULE_NET && rule->bits >= 96))) {
		if (rule != NULL)
			unit_say(u, LEVEL_DEBUG, "debug", "no_access %s refuses", rule->word);
		else
			unit_say(u, LEVEL_DEBUG, "debug", "only_from has no word for the peer");
		return false;
	}
	*why = REASON_TIME;
	if (!open_now(s))
		return false;
	switch (source_enter(&e->sources, u->number, &s->source, p, loop_now(e->loop), source)) {
	case SOURCE_OK:
		return true;
	case SOURCE_RATE:
		*why = REASON_SOURCE_RATE;
		return false;
	case SOURCE_LIMIT:
		*why = REASON_PER_SOURCE;
		return false;
	case SOURCE_MEMORY:
		*why = REASON_FORK;	/* what cannot be counted is not let in */
		return false;
	}
	return false;
}

/* --- accepting */

/* A service that nobody has business with: who connects is refused by all from now on. */
static void
sense(struct unit *u, int fd, const struct peer *p)
{
	struct engine *e = u->engine;
	int64_t length = u->conf->deny_time == FOREVER ? INT64_MAX : (int64_t)u->conf->deny_time * 60 * SECOND;
	char from[ADDR_TEXT], text[40];

	conn_refuse(u, fd, p, REASON_SENSOR);
	if (p->kind != PEER_IP || length == 0)
		return;
	if (!ban_holds(&e->bans, &p->ip, loop_now(e->loop)))
		unit_say(u, LEVEL_NOTICE, "deny", "%s is refused by every service %s%s", peer_print(p, from),
		    length == INT64_MAX ? "from now on" : "for ",
		    length == INT64_MAX ? "" : num_print_duration(length, text, sizeof text));
	ban_add(&e->bans, &p->ip, loop_now(e->loop), length);
}

/* One accepted connection. False: the listener has to pause. */
static bool
admit(struct listener *l, int fd, const struct addr *from)
{
	struct unit *u = l->unit;
	struct engine *e = u->engine;
	struct peer peer;
	struct source *source = NULL;
	const struct addr *own = l->bound.addr;
	struct addr local;
	enum reason why;
	int64_t until;

	if (peer_of(fd, from, &peer) == -1) {
		(void)close(fd);
		return true;
	}
	if (!may_come(u, &peer, &why, &source)) {
		conn_refuse(u, fd, &peer, why);
		return true;
	}
	if ((u->conf->flags & FLAG_SENSOR) != 0) {
		source_leave(&e->sources, source);
		sense(u, fd, &peer);
		return true;
	}
	/* With `queue` it was asked before, but a service that takes nobody has no queue. */
	if ((u->conf->overload == OVERLOAD_REJECT || u->conf->instances == 0) &&
	    is_full(u, &why, &until)) {
		source_leave(&e->sources, source);
		conn_refuse(u, fd, &peer, why);
		return true;
	}
	pace_count(&u->pace, loop_now(e->loop));
	/* Which of our addresses was asked? Only a wildcard does not know. */
	memcpy(&local, own, offsetof(struct addr, sa) + own->len);
	if (local.sa.sa_family == AF_INET || local.sa.sa_family == AF_INET6) {
		local.len = sizeof local - offsetof(struct addr, sa);
		if (getsockname(fd, &local.sa, &local.len) == -1)
			memcpy(&local, own, offsetof(struct addr, sa) + own->len);
	}
	if (conn_serve(u, fd, &peer, &local, source))
		return true;
	pause_listener(l, REASON_FORK, next_delay(e), strerror(errno));
	return false;
}

/* accept(2) failed with errno: go on (TOOK_SOME), nobody is there, or pause. */
static enum took
accept_failed(struct listener *l)
{
	struct engine *e = l->unit->engine;
	int why = errno;

	switch (why) {
	case EAGAIN:
		l->faults = 0;
		return TOOK_ALL;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		/* Who only lingers gives way first. */
		if (conn_give_way(e))
			return TOOK_SOME;
		break;
	default:
		/* The connection's own fault, as accept(2) lists them; unless it does not end. */
		if (l->faults++ < FAULTS)
			return TOOK_SOME;
		break;
	}
	l->faults = 0;
	pause_listener(l, REASON_FORK, next_delay(e), strerror(why));
	return TOOK_PAUSE;
}

/*
 * Somebody waits, or may: can one more be taken? With `queue`, a full service leaves the connection
 * where it is. False: the listener pauses.
 */
static bool
has_room(struct listener *l)
{
	struct unit *u = l->unit;
	struct engine *e = u->engine;
	enum reason why;
	int64_t until = 0;

	if (!conn_room(e))
		pause_listener(l, REASON_FORK, next_delay(e), strerror(ENOMEM));
	else if (e->burials >= BURIALS_MOST)
		pause_listener(l, REASON_FORK, loop_now(e->loop) + 50, "too many UNIX connections end");
	else if (e->waiting != NULL)
		pause_listener(l, REASON_FORK, next_delay(e), "no process to be had");
	else if (u->starting >= START_MOST)
		pause_listener(l, REASON_FORK, loop_now(e->loop) + 5, "too many starts in flight");
	else if (u->conf->overload == OVERLOAD_QUEUE && u->conf->instances > 0 &&
	    is_full(u, &why, &until))
		pause_listener(l, why, until, NULL);
	else
		return true;
	return false;
}

/* A turn: `most` connections, if so many are there. */
static enum took
take(struct listener *l, unsigned most)
{
	struct unit *u = l->unit;
	struct engine *e = u->engine;

	for (unsigned n = 0; n < most; n++) {
		struct addr from = { .len = sizeof from - offsetof(struct addr, sa) };
		enum took failed;
		int fd;

		/* Full behind the last one says nothing of whether somebody waits: the loop will tell. */
		if (n > 0 && !l->pausing && (u->live >= u->conf->instances || e->live >= e->limit ||
		    u->conf->cps.n != 0))
			return TOOK_SOME;
		if (!has_room(l))
			return TOOK_PAUSE;
		fd = accept4(l->bound.fd, &from.sa, &from.len, SOCK_CLOEXEC);
		if (fd != -1) {
			l->faults = 0;
			if (!admit(l, fd, &from))
				return TOOK_PAUSE;
			continue;
		}
		failed = accept_failed(l);
		if (failed != TOOK_SOME)
			return failed;
	}
	return TOOK_SOME;
}

static void
accept_ready(void *arg, uint32_t events)
{
	struct listener *l = arg;

	(void)events;
	/*
	 * The last accept of a turn that finds nobody is a system call for nothing: take as many as
	 * lately came together, and let the loop tell of the rest.
	 */
	switch (take(l, l->batch)) {
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
	if (l->pausing && take(l, BATCH_MOST) != TOOK_PAUSE)
		resume(l);
}

static void
pause_over(void *arg, int64_t now)
{
	(void)now;
	try_again(arg);
}

void
listener_room(struct engine *e, struct unit *u)
{
	if (e->waiting != NULL)
		conn_retry(e, loop_now(e->loop));
	for (struct listener *l = u->listeners; l != NULL; l = l->next)
		if (l->pausing && l->why == REASON_SERVICE_LIMIT && l->timer.place == 0)
			try_again(l);
	/* Those that wait for any child's end: one after the other, while there is room. */
	for (struct listener *l = e->paused; l != NULL; l = e->paused) {
		try_again(l);
		if (l->pausing) {	/* it took what there was, and stays first no longer */
			unlist(l);
			enlist(l);
			break;
		}
	}
}

struct listener *
listener_open(struct unit *u, struct bound *b)
{
	struct engine *e = u->engine;
	struct listener *l = calloc(1, sizeof *l), **last = &u->listeners;
	int why;

	if (l == NULL)
		return NULL;
	if (loop_timer_room(e->loop) == -1) {
		free(l);
		errno = ENOMEM;
		return NULL;
	}
	l->unit = u;
	l->batch = 1;
	l->timer.fire = pause_over;
	l->timer.arg = l;
	l->watch = loop_watch(e->loop, b->fd, EPOLLIN, accept_ready, l);
	if (l->watch == 0) {
		why = errno;
		loop_timer_leave(e->loop);
		free(l);
		errno = why;
		return NULL;
	}
	l->bound = *b;
	*b = (struct bound){ .fd = -1 };
	while (*last != NULL)
		last = &(*last)->next;
	*last = l;
	return l;
}

void
listener_close(struct listener *l)
{
	struct engine *e = l->unit->engine;
	struct listener **at = &l->unit->listeners;

	/* Closing resets those who are through already: whoever can be served is. */
	for (int turn = 0; turn < 64 && !l->pausing && take(l, BATCH_MOST) == TOOK_SOME; turn++)
		;
	loop_timer_stop(e->loop, &l->timer);
	loop_timer_leave(e->loop);
	unlist(l);
	if (l->resource)
		e->npaused_short--;
	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	loop_unwatch(e->loop, l->watch);
	sock_close(&l->bound);
	free(l);
}

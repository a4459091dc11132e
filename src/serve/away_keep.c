#include "serve/away_parts.h"

#include <errno.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "child/helper.h"
#include "serve/link.h"
#include "serve/worker.h"

enum {
	AGAIN_MOST = 10000,	/* ms until a worker that died is replaced */
	SPARE = 256,		/* descriptors of the worker that are not connections */
	EACH = 2,		/* that a connection takes there */
	QUEUE = 1 << 20,
};

static int
send_target(struct worker_state *w, uint32_t id)
{
	const struct where *to = w->place[id - 1].unit->conf->target;
	struct target t = { .kind = JOB_TARGET, .id = id, .scheme = to->scheme, .type = to->type,
		.family = to->family, .port = to->port, .cid = to->cid };

	/* Behind its filter the worker can ask for no interface. */
	if (to->iface[0] != '\0') {
		unsigned index = if_nametoindex(to->iface);

		(void)snprintf(t.host, sizeof t.host, "%s%%%u", to->host, index != 0 ? index : (unsigned)strtoul(to->iface, NULL, 10));
	} else
		memcpy(t.host, to->host, strlen(to->host) + 1);
	return send(w->channel, &t, sizeof t, MSG_DONTWAIT | MSG_NOSIGNAL) == -1 ? -1 : 0;
}

void
away_block(struct worker_state *w, int why)
{
	struct engine *e = w->engine;

	w->blocked = true;
	if (why == EAGAIN)
		(void)loop_change(e->loop, w->watch, EPOLLIN | EPOLLOUT);
	else
		loop_timer(e->loop, &w->again, loop_now(e->loop) + AWAY_AGAIN);
}

void
away_tell_targets(struct worker_state *w)
{
	for (; w->told < w->nplaces && w->channel != -1 && !w->blocked; w->told++) {
		struct place_of *p = &w->place[w->told];

		if (p->unit == NULL || p->told)
			continue;
		if (send_target(w, w->told + 1) == -1) {
			away_block(w, errno);
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

		w->most = (unsigned)((all - all / LINGERING_PART - all / PIPES_PART - SPARE) / EACH);
	}
	w->pid = helper_start(pair[1], false, worker_run, &e->lower);
	why = errno;
	(void)close(pair[1]);
	if (w->pid == -1) {
		(void)close(pair[0]);
		errno = why;
		return -1;
	}
	w->channel = pair[0];
	w->watch = loop_watch(e->loop, w->channel, EPOLLIN, away_ready, w);
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
	away_tell_targets(w);
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
start_again(void *arg, int64_t now)
{
	struct worker_state *w = arg;

	if (w->channel != -1) {		/* it was only blocked */
		away_unblock(w);
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

void
away_lost(struct worker_state *w)
{
	struct engine *e = w->engine;
	const struct ended end = { .status = 1 };

	if (w->channel == -1)
		return;
	loop_close(e->loop, w->watch, w->channel);
	w->channel = -1;
	w->watch = 0;
	w->blocked = w->behind = false;
	if (!w->old)
		loop_timer_stop(e->loop, &w->again);
	if (!e->stopping && !w->leaving && !w->old) {
		log_say(LEVEL_ERR, "error", "the worker (process %d) has ended, and %u connections with it; it is "
		    "started again", (int)w->pid, w->n);
		w->delay = loop_now(e->loop) - w->since > AGAIN_MOST || w->delay == 0 ? AWAY_AGAIN :
		    w->delay * 2 > AGAIN_MOST ? AGAIN_MOST : w->delay * 2;
		loop_timer(e->loop, &w->again, loop_now(e->loop) + w->delay);
	}
	if (w->old && w->n > 0 && !e->stopping)
		log_say(LEVEL_ERR, "error", "an old worker (process %d) has ended, and %u connections with it", (int)w->pid,
		    w->n);
	for (struct conn *c = e->away, *next; c != NULL; c = next) {
		next = c->next;
		if (c->pid == w->pid)
			away_over(w, c, &end);
	}
	if (w->old)
		old_free(w);
	else
		e->room(e, NULL);
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
		away_tell_targets(w);
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

		if (u == NULL || u->conf->target->scheme != SCHEME_TCP ||
		    (u->conf->target->iface[0] == '\0' && ip_parse(u->conf->target->host, &ip)))
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
		away_lost(w);
	return w != NULL;
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

int
away_resume(struct engine *e, const struct carried_worker *had)
{
	struct worker_state *w = calloc(1, sizeof *w);

	if (w == NULL)
		return -1;
	*w = (struct worker_state){ .engine = e, .pid = had->pid, .channel = had->channel, .old = true,
		.next = e->old_workers };
	w->watch = loop_watch(e->loop, w->channel, EPOLLIN, away_ready, w);
	if (w->watch == 0) {
		int why = errno;

		free(w);
		errno = why;
		return -1;
	}
	e->old_workers = w;
	return 0;
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

		away_unlist(away_worker(c), c);
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

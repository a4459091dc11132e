#include "serve/conn.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "serve/away.h"
#include "serve/datagram.h"

enum { CHUNK = 37 };		/* 8 KiB less what malloc adds */

struct chunk {
	struct chunk *next;
	struct conn conn[CHUNK];
};

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

struct conn *
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
	u->uses++;
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

void
conn_enter(struct conn *c, enum state to)
{
	struct engine *e = c->unit->engine;

	switch (c->state) {
	case CONN_FREE:
	case CONN_AWAY:		/* those are away's, which lists them itself */
	case CONN_HEADER:
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
	case CONN_AWAY:
	case CONN_HEADER:
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
void
conn_free(struct conn *c)
{
	struct engine *e = c->unit->engine;

	if (c->state == CONN_RUNNING || c->state == CONN_GROUP)
		hash_remove(&e->by_pid, &c->node);
	conn_enter(c, CONN_FREE);
	loop_timer_stop(e->loop, &c->timer);
	dialog_free(c);
	header_free(c);
	free(c->local);
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
	unit_leave(c->unit);
	c->next = e->spare;
	e->spare = c;
}

void
conn_count(struct conn *c, enum state state)
{
	struct sources *s = &c->unit->engine->sources;

	if (c->asked || c->handed != NULL || (state != CONN_WAITING && state != CONN_RUNNING && state != CONN_AWAY))
		return;
	source_leave(s, c->source);
	c->source = source_count(s, c->unit->number, &c->unit->conf->source, &c->peer);
}

void
conn_count_anew(struct engine *e)
{
	bool any = false;

	for (const struct unit *u = e->units; u != NULL; u = u->next)
		any = any || u->anew;
	for (struct chunk *k = any ? e->chunks : NULL; k != NULL; k = k->next)
		for (int i = 0; i < CHUNK; i++)
			if (k->conn[i].state != CONN_FREE && k->conn[i].unit->anew)
				conn_count(&k->conn[i], k->conn[i].state);
	for (struct unit *u = e->units; u != NULL; u = u->next)
		u->anew = false;
}

void
conn_each(const struct engine *e, void (*each)(const struct conn *c, void *arg), void *arg)
{
	for (const struct chunk *k = e->chunks; k != NULL; k = k->next)
		for (int i = 0; i < CHUNK; i++)
			if (k->conn[i].state != CONN_FREE)
				each(&k->conn[i], arg);
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
	errlogs_free(e);
}

bool
conn_none(const struct engine *e)
{
	return e->running == NULL && e->lingering == NULL && e->waiting == NULL && away_none(e);
}

struct conn *
conn_find(const struct engine *e, pid_t pid)
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
conn_drop_waiting(struct engine *e)
{
	while (e->waiting != NULL)
		conn_free(e->waiting);
}

#include "serve/history.h"

#include <stdlib.h>
#include <string.h>

enum { STALE_MOST = 8 };	/* old ones that go when a new one comes */

struct history {
	struct history *prev, *next;	/* of services: who had news last is first */
	struct unit *unit;	/* NULL: all of them */
	uint64_t tick;		/* the interval of the last news */
	struct tally slot[HISTORY_SLOTS];
};

static uint64_t
now_tick(const struct engine *e)
{
	return (uint64_t)loop_now(e->loop) / HISTORY_INTERVAL;
}

static void
add(struct history *h, uint64_t tick, bool refused)
{
	struct tally *t = &h->slot[tick % HISTORY_SLOTS];

	if (tick - h->tick >= HISTORY_SLOTS)
		memset(h->slot, 0, sizeof h->slot);
	else
		while (h->tick != tick)
			h->slot[++h->tick % HISTORY_SLOTS] = (struct tally){ 0 };
	h->tick = tick;
	*(refused ? &t->refused : &t->started) += 1;
}

static void
unlist(struct engine *e, struct history *h)
{
	*(h->prev != NULL ? &h->prev->next : &e->recent) = h->next;
	*(h->next != NULL ? &h->next->prev : &e->recent_last) = h->prev;
}

static void
list(struct engine *e, struct history *h)
{
	h->prev = NULL;
	h->next = e->recent;
	*(h->next != NULL ? &h->next->prev : &e->recent_last) = h;
	e->recent = h;
}

void
history_forget(struct unit *u)
{
	if (u->history == NULL)
		return;
	unlist(u->engine, u->history);
	free(u->history);
	u->history = NULL;
}

/* NULL: no memory, and then it is not shown. */
static struct history *
begin(struct unit *u, uint64_t tick)
{
	struct engine *e = u->engine;
	struct history *h;

	for (int i = 0; i < STALE_MOST && e->recent_last != NULL &&
	    tick - e->recent_last->tick >= HISTORY_SLOTS; i++)
		history_forget(e->recent_last->unit);
	h = calloc(1, sizeof *h);
	if (h == NULL)
		return NULL;
	h->unit = u;
	h->tick = tick;
	list(e, h);
	u->history = h;
	return h;
}

void
history_count(struct unit *u, bool refused)
{
	struct engine *e = u->engine;
	uint64_t tick = now_tick(e);
	struct history *h = u->history;

	add(e->history, tick, refused);
	if (h == NULL && (h = begin(u, tick)) == NULL)
		return;
	if (h->tick != tick && h->prev != NULL) {
		unlist(e, h);
		list(e, h);
	}
	add(h, tick, refused);
}

struct tally
history_get(const struct engine *e, const struct history *h, unsigned ago)
{
	uint64_t tick = now_tick(e), at = tick - ago;

	if (h == NULL || ago > tick || ago >= HISTORY_SLOTS || at > h->tick || h->tick - at >= HISTORY_SLOTS)
		return (struct tally){ 0 };
	return h->slot[at % HISTORY_SLOTS];
}

void
history_sums(const struct engine *e, const struct history *h, uint64_t *started, uint64_t *refused)
{
	*started = *refused = 0;
	for (unsigned ago = 0; ago < HISTORY_SLOTS; ago++) {
		struct tally t = history_get(e, h, ago);

		*started += t.started;
		*refused += t.refused;
	}
}

void
history_watch(struct engine *e, int change)
{
	e->watchers += (unsigned)change;
	if (e->watchers > 0 && e->history == NULL) {
		e->history = calloc(1, sizeof *e->history);
		if (e->history != NULL)
			e->history->tick = now_tick(e);
	} else if (e->watchers == 0) {
		while (e->recent != NULL)
			history_forget(e->recent->unit);
		free(e->history);
		e->history = NULL;
	}
}

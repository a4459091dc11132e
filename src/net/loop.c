#include "net/loop.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"

enum { BATCH = 128 };

struct watch {
	int fd;			/* -1: free, and next is the next free one */
	uint32_t generation;
	union {
		loop_ready *ready;
		uint32_t next;
	};
	void *arg;
};

struct loop {
	int epoll;
	int highest;		/* descriptor that was watched */
	int64_t now;
	struct watch *watch;	/* owned; [0] is never used */
	uint32_t nwatch;	/* there is room for; beyond `used` they were never touched */
	uint32_t used, free;	/* free 0: none */
	struct timer **heap;	/* owned; [0] is never used */
	uint32_t running, room, size;
	bool firing;		/* timers */
};

struct loop *
loop_new(void)
{
	struct loop *l = calloc(1, sizeof *l);

	if (l == NULL)
		return NULL;
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll == -1) {
		free(l);
		return NULL;
	}
	l->now = clock_ms();
	return l;
}

void
loop_free(struct loop *l)
{
	if (l == NULL)
		return;
	(void)close(l->epoll);
	free(l->watch);
	free(l->heap);
	free(l);
}

int64_t
loop_now(const struct loop *l)
{
	return l->now;
}

static int
more_watches(struct loop *l)
{
	uint32_t n = l->nwatch == 0 ? 64 : l->nwatch * 2;
	struct watch *w = realloc(l->watch, n * sizeof *w);

	if (w == NULL)
		return -1;
	l->watch = w;
	l->nwatch = n;
	return 0;
}

/* A free number, not taken yet. 0: no memory. */
static uint32_t
free_watch(struct loop *l)
{
	if (l->free != 0)
		return l->free;
	if (l->used + 1 >= l->nwatch && more_watches(l) == -1)
		return 0;
	l->free = ++l->used;
	l->watch[l->free] = (struct watch){ .fd = -1 };
	return l->free;
}

static uint64_t
tag(const struct loop *l, uint32_t i)
{
	return (uint64_t)l->watch[i].generation << 32 | i;
}

uint32_t
loop_watch(struct loop *l, int fd, uint32_t events, loop_ready *ready, void *arg)
{
	uint32_t i;
	struct epoll_event ev = { .events = events };

	i = free_watch(l);
	if (i == 0)
		return 0;
	ev.data.u64 = tag(l, i);
	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &ev) == -1)
		return 0;
	l->free = l->watch[i].next;
	l->highest = fd > l->highest ? fd : l->highest;
	l->watch[i].fd = fd;
	l->watch[i].ready = ready;
	l->watch[i].arg = arg;
	return i;
}

int
loop_highest(const struct loop *l)
{
	return l->highest;
}

int
loop_change(struct loop *l, uint32_t watch, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.u64 = tag(l, watch) };

	assert(l->watch[watch].fd != -1);
	return epoll_ctl(l->epoll, EPOLL_CTL_MOD, l->watch[watch].fd, &ev);
}

static void
forget(struct loop *l, uint32_t watch)
{
	struct watch *w = &l->watch[watch];

	w->fd = -1;
	w->generation++;
	w->next = l->free;
	l->free = watch;
}

void
loop_unwatch(struct loop *l, uint32_t watch)
{
	if (watch == 0)
		return;
	assert(l->watch[watch].fd != -1);
	(void)epoll_ctl(l->epoll, EPOLL_CTL_DEL, l->watch[watch].fd, NULL);
	forget(l, watch);
}

void
loop_drop(struct loop *l, uint32_t watch, int fd)
{
	if (watch != 0)
		forget(l, watch);
	if (fd != -1)
		(void)close(fd);
}

void
loop_close(struct loop *l, uint32_t watch, int fd)
{
	loop_unwatch(l, watch);
	if (fd != -1)
		(void)close(fd);
}

static void
place(struct loop *l, uint32_t i, struct timer *t)
{
	l->heap[i] = t;
	t->place = i;
}

static void
sift(struct loop *l, uint32_t i, struct timer *t)
{
	for (; i > 1 && l->heap[i / 2]->at > t->at; i /= 2)
		place(l, i, l->heap[i / 2]);
	for (;;) {
		uint32_t c = 2 * i;

		if (c > l->running)
			break;
		if (c < l->running && l->heap[c + 1]->at < l->heap[c]->at)
			c++;
		if (l->heap[c]->at >= t->at)
			break;
		place(l, i, l->heap[c]);
		i = c;
	}
	place(l, i, t);
}

int
loop_timer_room(struct loop *l)
{
	if (l->room + 1 >= l->size) {
		uint32_t n = l->size == 0 ? 64 : l->size * 2;
		struct timer **h = realloc(l->heap, n * sizeof(struct timer *));

		if (h == NULL)
			return -1;
		l->heap = h;
		l->size = n;
	}
	l->room++;
	return 0;
}

void
loop_timer_leave(struct loop *l)
{
	assert(l->room > l->running);
	l->room--;
}

void
loop_timer(struct loop *l, struct timer *t, int64_t at)
{
	t->at = l->firing && at <= l->now ? l->now + 1 : at;
	if (t->place == 0) {
		assert(l->running < l->room);
		t->place = ++l->running;
		l->heap[t->place] = t;
	}
	sift(l, t->place, t);
}

void
loop_timer_stop(struct loop *l, struct timer *t)
{
	uint32_t i = t->place;
	struct timer *last;

	if (i == 0)
		return;
	t->place = 0;
	last = l->heap[l->running--];
	if (last != t)
		sift(l, i, last);
}

static void
fire_timers(struct loop *l)
{
	l->firing = true;
	while (l->running > 0 && l->heap[1]->at <= l->now) {
		struct timer *t = l->heap[1];

		loop_timer_stop(l, t);
		t->fire(t->arg, l->now);
	}
	l->firing = false;
}

int
loop_run_once(struct loop *l, int64_t until)
{
	struct epoll_event ev[BATCH];
	int n, wait = -1;

	if (l->running > 0 && (until == -1 || l->heap[1]->at < until))
		until = l->heap[1]->at;
	if (until != -1) {
		int64_t left = until - clock_ms();

		wait = left < 0 ? 0 : left > 3600000 ? 3600000 : (int)left;
	}
	n = epoll_wait(l->epoll, ev, BATCH, wait);
	if (n == -1) {
		if (errno != EINTR)
			return -1;
		n = 0;
	}
	l->now = clock_ms();
	for (int i = 0; i < n; i++) {
		uint32_t w = (uint32_t)ev[i].data.u64;

		if (w <= l->used && l->watch[w].fd != -1 && ev[i].data.u64 == tag(l, w))
			l->watch[w].ready(l->watch[w].arg, ev[i].events);
	}
	fire_timers(l);
	return n;
}

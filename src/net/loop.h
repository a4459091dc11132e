/*
 * loop: descriptors, timers and signals, and nothing else. One epoll, one heap.
 *
 * A descriptor is watched under a number and a generation, never under a pointer: a child that has
 * not exec'd yet shares the open file, so the kernel may report one that we have closed, and such
 * a stale report must find nobody.
 */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

struct loop;

typedef void loop_ready(void *arg, uint32_t events);
typedef void timer_fire(void *arg, int64_t now);

/* A timer stands in its owner's struct; it must be stopped before that is freed. */
struct timer {
	int64_t at;		/* ms of the clock */
	uint32_t place;		/* in the heap, from 1; 0: not running */
	timer_fire *fire;
	void *arg;
};

/* NULL: errno. */
struct loop *loop_new(void);
void loop_free(struct loop *l);

/* Watches fd. Returns a handle > 0, or 0: errno (the fd is not watched). */
uint32_t loop_watch(struct loop *l, int fd, uint32_t events, loop_ready *ready, void *arg);

/* Changes what is waited for. -1: errno. */
int loop_change(struct loop *l, uint32_t watch, uint32_t events);

/*
 * Ends the watch, if there is one (watch 0: none), and closes fd, in that order: closing alone
 * leaves the entry alive while a child holds the open file. fd -1: nothing.
 */
void loop_close(struct loop *l, uint32_t watch, int fd);

/*
 * The same without telling epoll, which forgets a descriptor that nobody else has when it is closed.
 * Where somebody has it, stale reports may come, and find nobody.
 */
void loop_drop(struct loop *l, uint32_t watch, int fd);

/* Ends the watch and leaves the descriptor open. */
void loop_unwatch(struct loop *l, uint32_t watch);

/* The highest descriptor that was ever watched: there have been so many. */
int loop_highest(const struct loop *l);

/*
 * (Re)starts a timer whose fire and arg are set. Cannot fail: room is made by loop_timer_room. One that is
 * set while timers fire is due the next millisecond at the earliest: descriptors are looked at in between.
 */
void loop_timer(struct loop *l, struct timer *t, int64_t at);
void loop_timer_stop(struct loop *l, struct timer *t);

/* Makes room for one more timer that may run. -1: no memory. Give it back with loop_timer_leave. */
int loop_timer_room(struct loop *l);
void loop_timer_leave(struct loop *l);

/* The time at which the loop last woke, ms. */
int64_t loop_now(const struct loop *l);

/*
 * Waits for what comes first, at most until `until` (-1: no bound), and calls whom it concerns. How
 * many descriptors that were; -1: errno, of a fault in the loop itself.
 */
int loop_run_once(struct loop *l, int64_t until);

#endif

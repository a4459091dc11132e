/* rate: how many may start in a time. Pure arithmetic over `now` in milliseconds. */
#ifndef POLICY_RATE_H
#define POLICY_RATE_H

#include <stdbool.h>
#include <stdint.h>

/* As it is written: cps and source_cps. */
struct rate {
	unsigned n;		/* 0: no limit */
	int64_t per;		/* ms: at most n starts in any `per`; for `N W` it is a second */
	int64_t rest;		/* ms to rest when there were more */
	bool pace;		/* no rest: none starts before there is room */
};

/* `N W` (a rest, W a duration, bare: seconds) as two words, `N/DURATION` (pacing) as one. */
bool rate_parse(const char *const *words, unsigned nwords, struct rate *out);

/* The starts of one service within its rate's time. */
struct pace {
	int64_t *start;		/* owned: a ring of the last n starts */
	unsigned n, next;
	int64_t resting;	/* until then; 0: not */
};

/* -1: no memory. */
int pace_init(struct pace *p, const struct rate *r);
void pace_free(struct pace *p);

/*
 * May one more start now? 0: yes. Else when to ask again (ms of the clock). Asking means that a
 * connection is there: with a rest, the one too many begins it.
 */
int64_t pace_wait(struct pace *p, const struct rate *r, int64_t now);

/* For a successor of this program: of the last p->n starts the i-th, oldest first; 0 or less: there was none. */
int64_t pace_start(const struct pace *p, unsigned i);

/* One has started. */
void pace_count(struct pace *p, int64_t now);

/* One source's bucket; all 0 to begin with. Microseconds. */
struct bucket {
	int64_t full;		/* when it is full again, by the clock */
	int64_t each;		/* in which a token comes, of the rate that was asked last */
};

/*
 * A bucket of n tokens that fills n each `per`. True: a token was taken. Where the rate is another
 * one than before, as many are missing as were.
 */
bool bucket_take(struct bucket *b, unsigned n, int64_t per, int64_t now);

#endif

/* now_us: a clock for what the tests' tools measure and wait, in us, that nobody sets. */
#ifndef TESTS_NOW_H
#define TESTS_NOW_H

#include <stdint.h>
#include <time.h>

static inline int64_t
now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

#endif

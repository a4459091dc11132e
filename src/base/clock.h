/* clock: time that only goes forward. Who counts time takes `now` as an argument. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#define SECOND INT64_C(1000)	/* all times and durations are milliseconds */

/* CLOCK_MONOTONIC in milliseconds. */
int64_t clock_ms(void);

#endif

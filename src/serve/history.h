/*
 * history: how many came in each of the last intervals, for the charts of `status`. Kept only while
 * such a service is there, and only of services to whom somebody came; nothing wakes up for it.
 */
#ifndef SERVE_HISTORY_H
#define SERVE_HISTORY_H

#include "serve/engine.h"

enum { HISTORY_SLOTS = 60, HISTORY_INTERVAL = 5000 /* ms */ };

struct tally { uint32_t started, refused; };

/* One came to u; with e->history only. */
void history_count(struct unit *u, bool refused);

/* What came `ago` intervals before the one that is now. NULL: nothing did. */
struct tally history_get(const struct engine *e, const struct history *h, unsigned ago);

/* All that is remembered of it. */
void history_sums(const struct engine *e, const struct history *h, uint64_t *started, uint64_t *refused);

/* One more shows it (1), or no more (-1). */
void history_watch(struct engine *e, int change);

/* The unit is about to end. */
void history_forget(struct unit *u);

#endif

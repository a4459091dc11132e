/* admit: who may come to a service now. */
#ifndef SERVE_ADMIT_H
#define SERVE_ADMIT_H

#include "serve/engine.h"

/* Does the service, or the master, have its fill? Then why, and when to ask again (0: when a child ends). */
bool unit_is_full(struct unit *u, enum reason *why, int64_t *until);

/*
 * What depends on the peer alone. True: it is counted as one of its source's. False: *why it is
 * refused.
 */
bool unit_lets_in(struct unit *u, const struct peer *p, enum reason *why, struct source **source);

/* Is it open at this time of day? */
bool service_is_open(const struct service *s);

#endif

/*
 * ban: addresses that touched a sensor, and how long every service refuses them. Bounded: the one
 * banned longest ago is forgotten first.
 */
#ifndef POLICY_BAN_H
#define POLICY_BAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "net/addr.h"

enum { BANS_MOST = 65536 };

struct bans {
	struct hash hash;
	struct ban *oldest, *newest;
	unsigned n;
};

void bans_free(struct bans *b);

/* From now on for `length` ms; INT64_MAX: for ever. An IPv6 address stands for its /64. */
void ban_add(struct bans *b, const struct ip *ip, int64_t now, int64_t length);

/* The next, oldest first, and until when; false: there is none. *at is NULL to begin with. */
bool ban_next(const struct bans *b, const struct ban **at, struct ip *ip, int64_t *until);

bool ban_holds(struct bans *b, const struct ip *ip, int64_t now);

#endif

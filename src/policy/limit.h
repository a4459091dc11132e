/*
 * limit: how many connections a source has, and how fast it comes. One table for the whole master,
 * keyed by service and source under a secret seed, bounded: sources without a connection are
 * forgotten, the longest unseen first.
 */
#ifndef POLICY_LIMIT_H
#define POLICY_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "net/addr.h"
#include "policy/rate.h"

struct source;

struct carried_source {		/* what a successor of this program is told of one */
	uint64_t service;
	struct ip ip;
	uint32_t id, kind;
	struct bucket bucket;
};

struct sources {
	struct hash hash;
	struct source *oldest, *newest;	/* those without a connection */
	unsigned idle;
};

enum source_verdict { SOURCE_OK, SOURCE_RATE, SOURCE_LIMIT, SOURCE_MEMORY };

struct source_limits {
	unsigned most;			/* connections at once; UINT32_MAX: no limit */
	struct rate rate;
	unsigned v4, v6;		/* prefix lengths that make one source */
};

/* -1: no memory. */
int sources_init(struct sources *s);
void sources_free(struct sources *s);

/*
 * Counts one more connection of the peer for `service` (any number unique to it). SOURCE_OK: *out
 * is to be given back with source_leave when the connection's child has ended; NULL when nothing
 * is limited.
 */
enum source_verdict source_enter(struct sources *s, uint64_t service, const struct source_limits *l,
    const struct peer *p, int64_t now, struct source **out);

/* Counts one that was let in before, by a predecessor of this program. NULL: nothing is limited, or no memory. */
struct source *source_count(struct sources *s, uint64_t service, const struct source_limits *l, const struct peer *p);
void source_leave(struct sources *s, struct source *source);

/* Are those who were let in under `was` to be counted again, by source_count, when `is` holds? */
bool source_anew(const struct source_limits *was, const struct source_limits *is);

/* For a successor: what is told of the sources whose rate counts still at `now`; and it knows one again. */
void sources_each(const struct sources *s, int64_t now, void (*each)(const struct carried_source *c, void *arg),
    void *arg);
void source_resume(struct sources *s, const struct carried_source *c);

#endif

/*
 * opening: an ADDRESS of a service becomes listeners, now or as soon as it can be: one that cannot
 * be bound is tried again after 1 s, 2 s … 60 s. A host's name was asked for by whoever read the
 * table; when it is tried again, by a process of its own.
 */
#ifndef MANAGE_OPENING_H
#define MANAGE_OPENING_H

#include "manage/rpc.h"
#include "serve/engine.h"

struct openings;		/* those that wait */

/* Both are borrowed. NULL: no memory. */
struct openings *openings_new(struct engine *e, struct rpc *rpc);
void openings_free(struct openings *o);

/* From now on a descriptor's number may be that of anything. */
void openings_begun(struct openings *o);

/* Opens a for u, and says so. `beside`: a socket that leaves may be in the way. -1: err. */
int opening_try(struct openings *o, struct unit *u, const struct address *a, bool beside, struct err *err);

/* Says that and why it could not be, and tries it again later. Takes what a holds. -1: no memory, which is said. */
int opening_wait(struct openings *o, struct unit *u, struct address *a, const struct err *why);

/* Forgets those of u; NULL: all. */
void openings_drop(struct openings *o, const struct unit *u);

/* Tries all again soon: whoever reads the table again has perhaps made room for them. */
void openings_hurry(struct openings *o);

/* "listen ADDRESS"; and why each of the others does not. */
void opening_say(const struct listener *l);
void openings_say(const struct openings *o);

void openings_each(const struct openings *o, void (*tell)(void *arg, const struct unit *u, const char *why), void *arg);

/* Why one of u's addresses, or of all with NULL, is not listened on; NULL: all are. */
const char *openings_why(const struct openings *o, const struct unit *u);

#endif

/*
 * away: connections that the worker serves, as the master sees them: counted and limited as any other,
 * sent to the worker, and over when it says so. A worker that dies takes its connections with it and
 * is started again, after a growing pause.
 */
#ifndef SERVE_AWAY_H
#define SERVE_AWAY_H

#include "serve/engine.h"

/* Does the worker serve it: a stream built-in that needs nothing of the master, or a relay? */
bool away_serves(const struct service *s);

/* Before it is listened on: there is a worker, and it knows where relays lead. -1: errno. */
int away_prepare(struct unit *u);

/* A reload: targets that are names are asked for again, and until that is answered the old addresses hold. */
void away_refresh(struct engine *e);

/* The unit is about to end. */
void away_forget(struct unit *u);

/* Sends those that came since: once a turn of the loop. */
void away_flush(struct engine *e);

/* Takes fd and source. False: the listener should pause (errno says why); fd and source are taken. */
bool away_serve(struct unit *u, int fd, const struct peer *peer, const struct addr *local,
    struct source *source);

/* Why there is no room for one more; NULL: there is. Ask before accept(2). */
const char *away_full(const struct engine *e);

/* It has not read yet what it was sent: more of it can wait where it is. Then engine->room is called. */
bool away_is_behind(const struct engine *e);

/* The connections that it has: by their `next`. */
const struct conn *away_first(const struct engine *e);

/* How many connections it has. */
unsigned away_live(const struct engine *e);

/* At a drain, when it has none: lets it go. True: it is gone, and with it what lingered there. */
bool away_gone(struct engine *e);

/* Asks the worker to end one, or all. */
void away_end(struct conn *c);
void away_end_all(struct engine *e);

/* That process has ended. False: it was not the worker. */
bool away_reaped(struct engine *e, pid_t pid);

/*
 * For a successor of this program: the workers that have connections, and whether some are not sent
 * yet. There a worker goes on as an old one, which finishes what it has; its connections, with its pid
 * set, join it (false: it is gone).
 */
struct carried_worker { pid_t pid; int channel; };
bool away_carry(const struct engine *e, size_t i, struct carried_worker *out);	/* false: there is no i-th */
bool away_unsent(const struct engine *e);
int away_resume(struct engine *e, const struct carried_worker *had);	/* -1: errno */
bool away_resume_conn(struct conn *c);
void away_resumed(struct engine *e);	/* behind all of them */

/* Has it none? */
bool away_none(const struct engine *e);

/* Ends the worker at once. */
void away_kill(struct engine *e);

/* Lets the worker go: it ends when its connections have. Those of the master are closed. */
void away_free(struct engine *e);

#endif

/*
 * reaper: takes the statuses of all who have ended: of children, mostly found by their pidfds, and of
 * strangers, whose parent this process became (PR_SET_CHILD_SUBREAPER, or as process 1).
 */
#ifndef MANAGE_REAPER_H
#define MANAGE_REAPER_H

#include "base/err.h"
#include "manage/upgrade.h"
#include "serve/engine.h"

struct reaper;

/* SIGCHLD must be blocked. Whom `upgrade` does not know the engine is told of. NULL: err. */
struct reaper *reaper_new(struct engine *e, struct upgrade *upgrade, struct err *err);
void reaper_free(struct reaper *r);	/* NULL is fine */

/* At the next turn of the loop, signal or not. */
void reaper_look(struct reaper *r);

#endif

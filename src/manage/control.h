/*
 * control: the socket by which serverctl(8) talks to the server. One request a connection, one line
 * of words; what takes long to say is said by a process of its own, so a slow reader holds nobody up.
 *
 * The answer is lines: `o TEXT` for standard output, `d TEXT` for standard error (diagnostics of the
 * table), `e TEXT` for there too, as a message, and at the end `x N`, the exit status. An answer without
 * that end is no answer.
 */
#ifndef MANAGE_CONTROL_H
#define MANAGE_CONTROL_H

#include <stdbool.h>

#include "base/err.h"
#include "base/state.h"
#include "manage/plan.h"
#include "manage/server.h"

enum { CONTROL_PATH = 108, CONTROL_LINE = 512 };	/* bytes of a path, of a request: at most */

struct control;

/* Where it stands if nobody says otherwise. False: there is no such place for this user. */
bool control_default(char path[CONTROL_PATH]);

/* Listens there, for root and the server's own user. NULL: err. */
struct control *control_open(struct server *s, const char *path, struct err *err);
void control_free(struct control *c);	/* removes the path; NULL is fine */

/* At once: removes the path, the descriptors stay. */
void control_abandon(struct control *c);

/*
 * A reload is over: those who asked for one up to this number are told. p NULL: there was none, why says so.
 * `whole`: what it found is in force, all of it.
 */
void control_reloaded(struct control *c, uint64_t number, const struct plan *p, const char *why,
    const char *summary, bool whole);

/* An upgrade is over: who asked for it is told. why NULL: it was made. */
void control_upgraded(struct control *c, const char *why, const char *said);

/* Does somebody wait for a process that answers? */
bool control_queues(const struct control *c);

/* For a successor: its records, of kind "control" and "asker"; and what becomes of each there; false: it is lost. */
void control_carry(const struct control *c, struct buf *out, struct buf *fds);
bool control_resume(struct control **c, struct server *s, const struct fact *f);

#endif

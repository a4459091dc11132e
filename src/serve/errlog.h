/* errlog: stderr = log. What a child writes there becomes log lines; long ones cut, floods counted. */
#ifndef SERVE_ERRLOG_H
#define SERVE_ERRLOG_H

#include "serve/engine.h"

struct errlog;

/* Makes the pipe; the child's end goes to *child_end (owned by the caller). NULL: errno. */
struct errlog *errlog_open(struct unit *u, uint64_t conn, int *child_end);

/* The child's pid, once it is known. */
void errlog_pid(struct errlog *e, pid_t pid);

/* Reads what is there now: before the EXIT line is written. */
void errlog_drain(struct errlog *e);

/* It goes on by itself until the last writer is gone, then frees itself. `conn` forgets it. */
void errlog_leave(struct errlog *e);

/* At the end: those that are left, whoever writes there. */
void errlogs_free(struct engine *e);

/* For a successor of this program: what there is (l NULL: the first), and how it goes on there. */
struct carried_errlog {
	struct unit *unit;
	int fd;			/* -1: its end has been seen */
	pid_t pid;
	uint64_t conn;
	const char *line;	/* what has come of one */
	size_t len;
	bool cut;
};
const struct errlog *errlog_next(const struct engine *e, const struct errlog *l, struct carried_errlog *out);
struct errlog *errlog_resume(struct unit *u, const struct carried_errlog *had);	/* takes fd. NULL: errno */

#endif

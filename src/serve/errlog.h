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

#endif

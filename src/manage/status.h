/*
 * status: what a running server says of itself: for people as text and as a page, for programs as
 * JSON and OpenMetrics. It reads the master's state and writes none, so it may run in a forked
 * process, which has a snapshot of it.
 */
#ifndef MANAGE_STATUS_H
#define MANAGE_STATUS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "manage/services.h"
#include "serve/engine.h"

struct measured;

struct status {			/* all borrowed */
	const struct engine *engine;
	const struct services *services;
	int64_t started;	/* wall clock, s: when the server began */
	const char *phase;	/* "serving", "draining", "stopping" */
	uint64_t reloads;	/* that were taken */
	const char *version;
	pid_t pid;		/* of the master */
	bool still;		/* the page does not load itself again */
	const char *nonce;	/* of the page's style; NULL: none */
	const struct measured *measured;	/* as status_measure gave it; NULL: measured when it is needed */
};

/*
 * Asks the kernel what has passed over the connections that are held. Who closes them before the
 * status is written asks first; else it is done by itself. NULL: no memory, or there are none.
 */
struct measured *status_measure(const struct engine *e);
void status_measured_free(struct measured *m);

/*
 * Each appends to `out`; where there was no memory for all of it out->failed says so. `service`:
 * only the services of that id and their connections; NULL: all. False: there is none of that id.
 */
bool status_text(const struct status *s, const char *service, struct buf *out);
bool status_json(const struct status *s, const char *service, struct buf *out);
/*
 * For serverctl top, a line each with tabs between the words, escaped as in the log: server PHASE
 * UPTIME; service NUMBER ID STATE LIVE LIMIT STARTED REFUSED FAILED IN OUT LISTENERS WHY ERROR, of those that
 * run, where WHY and ERROR are sentences, or nothing; connection NUMBER SERVICE PID FROM AGE IDLE IN OUT. `-`:
 * none, or not known.
 */
void status_snapshot(const struct status *s, struct buf *out);
void status_metrics(const struct status *s, struct buf *out);
void status_page(const struct status *s, struct buf *out);

#endif

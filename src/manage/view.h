/*
 * view: what the forms of the status have in common: the services as rows, the connections, sums.
 */
#ifndef MANAGE_VIEW_H
#define MANAGE_VIEW_H

#include "manage/status.h"
#include "serve/conn.h"

/* In the order of how much they want to be looked at. */
enum row_state { ROW_FAULTY, ROW_PAUSED, ROW_DRAINING, ROW_LISTENING, ROW_DISABLED, ROW_STATES };

const char *row_state_text(enum row_state s);

struct row {			/* one service; borrowed */
	const char *id;
	const struct unit *unit;	/* NULL: it does not run */
	enum row_state state;
	const char *error;	/* the last one; NULL: none */
	int64_t error_at;	/* wall clock, s; 0: not known */
};

struct seen {			/* one connection; borrowed */
	const struct conn *conn;
	bool known;		/* its bytes */
	struct traffic traffic;
};

struct measured {
	size_t n;
	struct seen seen[];
};

struct view {
	struct row *row;	/* owned; in the order of the table, then those that do not run, then those that are gone */
	size_t nrows;
	struct seen *seen;	/* owned; oldest first, those of the worker last */
	size_t nseen;
	unsigned state[ROW_STATES];	/* how many rows */
	uint64_t started, refused, failed;
	int64_t now;		/* wall clock, s */
};

/* `service`: of that id; NULL: all. False: no memory, and there is nothing to free. */
bool view_make(struct view *v, const struct status *s, const char *service);
void view_free(struct view *v);

uint64_t unit_refusals(const struct unit *u);

/* The bytes of its connections that are over. False: of none were they known. */
bool unit_bytes(const struct unit *u, uint64_t *in, uint64_t *out);

/* "3d 4h", "12min 5s", "4s": for people. Returns out. */
char *print_span(int64_t seconds, char out[32]);

/* "512 B", "1.4 MiB" */
char *print_size(uint64_t bytes, char out[32]);

#endif

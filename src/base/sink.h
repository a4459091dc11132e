/*
 * sink: a place that log lines go to: standard error, a file, the system's log. It never blocks:
 * what it does not take is kept up to a bound, then dropped and counted, and the count is told when
 * it takes lines again. Lines are written at once when the last write is a while ago, else together,
 * at most SINK_GATHER ms later.
 */
#ifndef BASE_SINK_H
#define BASE_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SINK_GATHER = 20 };	/* ms */
enum { LOG_FACILITY_DAEMON = 3 };

enum log_kind { LOG_MASTER, LOG_SYSLOG, LOG_FILE, LOG_STDERR };

struct log_to {			/* where to; LOG_MASTER: the master's own log */
	enum log_kind kind;
	int facility, level;	/* syslog(3)'s numbers, not shifted; level -1: by the event */
	char *path;		/* of LOG_FILE */
	uint64_t soft, hard;	/* bytes of the file at which it is told, and nothing more written; 0: none */
};

struct sink;

/* The sink for it: one that is there already, or a new one. NULL: no memory, or LOG_MASTER. */
struct sink *sink_get(const struct log_to *to);
void sink_put(struct sink *s);		/* gives it back; NULL is fine */

/* Adds a line with its newline. */
void sink_add(struct sink *s, const char *line, size_t len);

/* Files are opened again by their names with the next line; until then the old one serves. */
void sinks_reopen(void);

bool sink_is_syslog(const struct sink *s, int *facility, int *level);

/* The descriptor that lines go to; -1: none that another process could use. */
int sink_fd(const struct sink *s);

/*
 * Writes what is due in all sinks; with now 0 whatever can be. `told` is given what a sink has to
 * say of itself. Returns when it wants to be called again (ms of the clock), -1: no need.
 */
int64_t sinks_flush(int64_t now, void (*told)(bool grave, const char *name, const char *text));

#endif

/*
 * sink: a place that log lines go to: standard error, a file, the system's log; or several at once.
 * It never blocks: what it does not take is kept up to a bound, then dropped and counted, and the
 * count is told when it takes lines again. Lines are written at once when the last write is a while
 * ago, else together, at most SINK_GATHER ms later.
 */
#ifndef BASE_SINK_H
#define BASE_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SINK_GATHER = 20 };	/* ms */
enum { LOG_FACILITY_DAEMON = 3 };

enum log_kind { LOG_MASTER, LOG_SYSLOG, LOG_FILE, LOG_STDERR };

struct log_to {			/* where to; LOG_MASTER: the master's own log. No gaps: it is compared as bytes */
	enum log_kind kind;
	int16_t facility, level;	/* syslog(3)'s numbers, not shifted; level -1: by the event */
	char *path;		/* of LOG_FILE */
	uint64_t soft, hard;	/* bytes of the file at which it is told, and nothing more written; 0: none */
};

struct sink;

/*
 * The sink for these places: one that is there already, or a new one. NULL: the master's own log (no
 * place at all means that too), or no memory.
 */
struct sink *sink_get(const struct log_to *to, size_t n);
void sink_put(struct sink *s);		/* gives it back; NULL is fine */

/* A file is opened now, not with its first line. -1: errno; it is tried again then. */
int sink_open(struct sink *s);

/* How many places it is, 1 for a NULL; and one of them, NULL: the master's own log. */
size_t sink_parts(const struct sink *s);
struct sink *sink_part(struct sink *s, size_t i);

/* Adds a line with its newline to one place. */
void sink_add(struct sink *s, const char *line, size_t len);

/* Lines that are not written yet, and those of which it is not told yet that they were lost. */
uint64_t sinks_unwritten(void);

/* So many were, of a predecessor: to be told. */
void sinks_missed(uint64_t lines);

/* Descriptor 2 leads elsewhere now: where it led is let go. */
void sinks_stderr_anew(void);

/* Files that are open are opened again by their names; one that cannot be goes on as it was. */
void sinks_reopen(void);

/* What it was made for; NULL for a NULL. Of several places: LOG_MASTER. */
const struct log_to *sink_place(const struct sink *s);

/* Given what a sink has to say of itself. */
typedef void sink_told(const struct sink *of, bool grave, const char *name, const char *text);

/*
 * Writes what is due in all sinks; with now 0 whatever can be. Returns when it wants to be called
 * again (ms of the clock), -1: no need.
 */
int64_t sinks_flush(int64_t now, sink_told *told);

#endif

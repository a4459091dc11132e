/*
 * log: the only writer of log lines: what an event looks like, and which sink its line goes to.
 * Lines are gathered, and written by log_flush. With sink the one module with state of its own.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#include "base/sink.h"

enum level { LEVEL_ERR, LEVEL_WARNING, LEVEL_NOTICE, LEVEL_INFO, LEVEL_DEBUG };

enum log_field {	/* the facts of an event that its line holds */
	LOG_PID = 1 << 0,
	LOG_FROM = 1 << 1,
	LOG_STATUS = 1 << 2,	/* exit status or signal */
	LOG_DURATION = 1 << 3,
	LOG_PORT = 1 << 4,
	LOG_CONN = 1 << 5,
	LOG_CPU = 1 << 6,
	LOG_MAXRSS = 1 << 7,
	LOG_BYTES = 1 << 8,
};

/* One event. Texts are borrowed for the call and escaped; NULL: none. */
struct event {
	enum level level;
	const char *name;	/* "start": START: in text */
	const char *service;	/* NULL: the server itself */
	const char *reason;	/* one of SPEC's words */
	const char *message;
	size_t message_len;	/* 0: up to the NUL */
	const char *from, *host, *user;
	unsigned fields;	/* enum log_field */
	int pid;
	int status, signal;	/* signal 0: ended by itself */
	unsigned port;
	uint64_t conn;
	int64_t duration;	/* ms */
	int64_t cpu;		/* ms */
	long maxrss;		/* KiB */
	uint64_t bytes_in, bytes_out;
};

/* How a service wants its lines. */
struct log_style {
	bool json;
	const char *tag;	/* of syslog; NULL: the program's name. Borrowed */
	struct sink *sink;	/* where to, maybe several places; NULL: the master's own. Borrowed */
};

/*
 * Where the lines of the server itself go, and of services that say nothing of it: descriptor 2, a
 * file, or the system's log, as datagrams to /dev/log (RFC 3164). `threshold`: what is less
 * important is not written. -1: errno, of a file that cannot be opened; each line tries it again.
 */
int log_open(const char *program, enum level threshold, const struct log_to *to);

/* How lines of the server itself are to look; borrowed until log_close. */
void log_set_style(const struct log_style *style);

/* Gives back what the log holds, after a last try to write it. */
void log_close(void);

void log_event(const struct event *ev, const struct log_style *style);

/* An event of the server itself with a sentence. */
void log_say(enum level level, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Writes what is due. Returns when it wants to be called again (ms of the clock), -1: no need. */
int64_t log_flush(int64_t now);

/* Opens the files again by their names: they may have been moved away. No line is lost by it. */
void log_reopen(void);

#endif

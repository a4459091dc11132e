/*
 * pour: how lines get into one place: standard error, a file, the system's log. Below sink, which
 * holds what does not go in yet.
 */
#ifndef BASE_POUR_H
#define BASE_POUR_H

#include <sys/types.h>

#include "base/sink.h"

struct pour {
	struct log_to to;	/* its path is owned by the sink */
	int fd;			/* -1: not open */
	bool own;		/* fd is ours to close */
	bool pipe;		/* it is one: whole lines only, at most PIPE_BUF at once, go in as one piece */
	bool polled;		/* fd may block: ask before each write */
	bool over_hard;		/* at the last write the file was so long that nothing went in */
};

void pour_open_stderr(struct pour *p);

/* Opens the file by its name; what was open is closed then, and only then. -1: errno. */
int pour_open_file(struct pour *p);

void pour_close(struct pour *p);

/*
 * Writes what it takes of these lines, which end with a newline. Returns how many bytes went, and
 * adds the lines among them that nobody will see to *lost; -1: none went, errno; EAGAIN: it is full.
 */
ssize_t pour(struct pour *p, const char *data, size_t len, uint64_t *lost);

uint64_t pour_lines(const char *data, size_t len);	/* how many these are */

#endif

/*
 * flow: bytes from one connected socket to another, as far as they move without waiting. A little is
 * copied; much is spliced. Sockets are watched edge-triggered, so a flow remembers whether anything
 * may be there to read. For the worker alone: its pipes are kept in here.
 */
#ifndef SERVE_FLOW_H
#define SERVE_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct flow {			/* one direction */
	int from, to;
	struct pipe *pipe;	/* owned while something is in it; NULL */
	struct rest *rest;	/* the same */
	size_t held;		/* bytes, in the one or the other */
	uint64_t bytes;
	bool ready;		/* something may be there to read: an event told so, and no read denied it */
	bool ended;		/* its end is known to have come, if it is not read yet */
	bool last;		/* nothing but it will come any more: no reset so far */
	bool parted;		/* a read may stop short of what is there, at descriptors or an urgent byte */
	bool urgent;		/* there was an urgent byte */
	bool bulk;		/* there was much lately: it is moved by a pipe, without copying */
	bool eof;		/* the end has been read */
	bool shut;		/* and passed on */
	bool drop;		/* the reader is gone: what comes is dropped */
};

enum moved {
	MOVED_ALL,		/* all that can be moved now; events tell of more */
	MOVED_MORE,		/* there is more to do at once */
	MOVED_ERROR,
};

/* An event about the socket that the flow comes from. */
void flow_told(struct flow *f, uint32_t events);

/* A turn. Its end is passed on by shutdown(2), unless the other direction has ended too. */
enum moved flow_run(struct flow *f, bool other_shut);

/* A turn that reads and drops. */
enum moved flow_drop(struct flow *f);

/* Nothing of what it holds is wanted any more. */
void flow_let_go(struct flow *f);

/* So many pipes at most, for all flows; the others copy. */
void flow_pipes(unsigned most);

#endif

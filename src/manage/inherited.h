/* inherited: descriptors that the server was started with: LISTEN_FDS (sd_listen_fds(3)), fd:N, fd:NAME. */
#ifndef MANAGE_INHERITED_H
#define MANAGE_INHERITED_H

#include "base/buf.h"
#include "base/err.h"
#include "table/service.h"

struct engine;

enum { INHERITED_MOST = 1024 };

struct kept {			/* descriptors that the start needs, by number */
	int fd[INHERITED_MOST + 2];
	size_t n;
};

/* For struct master: what such an address leads to, in the process that was started with it. -1: err: to no socket. */
int inherited_look(void *unused, struct address *a, struct err *err);

/* The same behind the start: what is inherited has a listener then. `engine`: a struct engine. */
int inherited_taken(void *engine, struct address *a, struct err *err);

/* For a successor, and who checks for it: records of kind "inherited", what the listeners of such are. */
void inherited_carry(const struct engine *e, struct buf *out);

/* Those of the addresses that name one: finds the numbers of fd:NAME. -1: err. */
int inherited_claim(struct address *listen, size_t n, struct kept *keep, struct err *err);

/* A warning for each that LISTEN_FDS promises and nobody claims. */
void inherited_say_unclaimed(const struct kept *keep);

/* Closes one; 0, 1 and 2 become /dev/null. */
void inherited_let_go(int fd);

#endif

/* server: the running whole: services, signals, drain and stop. */
#ifndef MANAGE_SERVER_H
#define MANAGE_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "table/service.h"

struct server;

/*
 * Blocks all signals, sets every disposition to its default, becomes the reaper of orphans, and
 * makes the loop and the engine. Call it before anything else that opens descriptors, behind
 * fd_close_from. NULL: err.
 */
struct server *server_new(struct err *err);

/*
 * After QUIT: removes the paths of sockets and leaves everything else as it is, since children that
 * have not exec'd yet work with this memory; the caller is to _exit. False: it did not quit so.
 */
bool server_abandon(struct server *s);

/* Ends what is left without a word to the children. */
void server_free(struct server *s);

/* Opens the service's sockets and serves it. Holds conf. -1: err, and no socket of it is left. */
int server_add(struct server *s, struct service *conf, struct err *err);

/*
 * The same for a service of a table: an address that cannot be bound is tried again, with a growing
 * delay. -1: err, no memory.
 */
int server_add_or_wait(struct server *s, struct service *conf, struct err *err);

/* How many children at once, and how long a drain waits (ms). */
void server_limits(struct server *s, unsigned limit, int64_t grace);

/* How many sockets listen. *why: why one does not, or NULL. */
size_t server_listening(const struct server *s, const char **why);

/*
 * "listen SERVICE ADDRESS" for each listener, "failed SERVICE ADDRESS REASON" for each that waits,
 * then "ready", a line each.
 */
void server_ready_lines(const struct server *s, struct buf *out);

/* A log line for each listener. */
void server_log_listeners(const struct server *s);

/* Serves until it is told to stop. 0: stopped as asked; -1: err. */
int server_run(struct server *s, struct err *err);

#endif

/* server: the running whole: services, signals, drain and stop. */
#ifndef MANAGE_SERVER_H
#define MANAGE_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "manage/plan.h"
#include "manage/reload.h"

struct server;
struct status;

enum on_term { TERM_DRAINS, TERM_STOPS, TERM_QUITS };	/* what a first TERM does */

/*
 * c: what the tables are read from, again at each reload; NULL: one command is served.
 * Blocks all signals, sets every disposition to its default, becomes the reaper of orphans, and
 * makes the loop and the engine. Call it before anything else that opens descriptors, behind
 * fd_close_from. NULL: err.
 */
struct server *server_new(const struct config *c, const struct master *m, struct err *err);

/*
 * After QUIT: removes the paths of sockets and leaves everything else as it is, since children that
 * have not exec'd yet work with this memory; the caller is to _exit. False: it did not quit so.
 */
bool server_abandon(struct server *s);

/* Ends what is left without a word to the children. */
void server_free(struct server *s);

/*
 * Serves what p says and takes what p holds for it. `first`: an address that cannot be bound is an
 * error; else it is tried again. -1: err.
 */
int server_begin(struct server *s, struct plan *p, bool first, struct err *err);

/* How many sockets listen. *why: why one does not, or NULL. */
size_t server_listening(const struct server *s, const char **why);

/*
 * "listen SERVICE ADDRESS" for each listener, "failed SERVICE ADDRESS REASON" for each that waits,
 * then "ready", a line each.
 */
void server_ready_lines(const struct server *s, struct buf *out);

/* TERM is a second TERM at once, as xinetd's is, or QUIT, as inetd's. */
void server_on_term(struct server *s, enum on_term how);

/* What is wrong with the table that it began with, once; `said`: that stands there already. */
void server_log_diagnostics(struct server *s, bool said);

/* A log line for each listener. */
void server_log_listeners(const struct server *s);

/* Becomes the program that is on disk now. */
void server_upgrade(struct server *s);

/* The successor is refused: why, and what it said itself. */
void server_upgraded(struct server *s, const char *why, const char *said);

/* Is somebody asking just now who could not be answered by a successor? It is over in a moment. */
bool server_is_asked(const struct server *s);

/*
 * For a successor: the server's own records, and where the program is; the descriptors that they name go to
 * fds as int.
 */
void server_carry(const struct server *s, const char *program, struct buf *out, struct buf *fds);

/*
 * Goes on where a predecessor was: before server_begin. -1: err. server_resumed ends it, behind that.
 */
struct inherited_state;
int server_resume(struct server *s, struct inherited_state *had, struct err *err);
/* With what the tables' diagnostics are, for who asked; `reload`: they are read again then. */
void server_resumed(struct server *s, const char *shown, bool reload);

/* How to end: no more connections are taken, and those that are there may end; all are told to end. */
void server_drain(struct server *s);
void server_stop(struct server *s);

/* Neither of that has begun. */
bool server_serves(const struct server *s);

/* Its parts, for who answers questions about it. config NULL: there is no table. */
struct engine *server_engine(const struct server *s);
struct services *server_services(const struct server *s);
struct reload *server_reload(const struct server *s);
const struct config *server_config(const struct server *s);
void server_status(const struct server *s, struct status *out);

/* The control socket: at `path`, or NULL for the usual place, where it may be missing. -1: err. */
int server_control(struct server *s, const char *path, struct err *err);

/*
 * Everything is bound or was tried: who waits for that is told, the foreground of daemon_begin (-1:
 * there is none) and the service manager. -1: err.
 */
int server_up(struct server *s, int foreground, struct err *err);

/* Serves until it is told to stop. 0: stopped as asked; -1: err. */
int server_run(struct server *s, struct err *err);

#endif

/* mux: tcpmux (RFC 1078). One port, on which the client names the service it wants in a line. */
#ifndef SERVE_MUX_H
#define SERVE_MUX_H

#include "serve/engine.h"

/* A service that tcpmux leads to, -1: no memory; no more. */
int mux_add(struct unit *u);
void mux_remove(struct unit *u);
void mux_move(struct unit *from, struct unit *to);	/* of the same name; to has none */

/*
 * The client of c, a connection of tcpmux, asked for that name; empty: it sent none. Takes fd. The
 * service's own rules and limits decide, as if the client had come to it.
 */
void mux_named(const struct conn *c, int fd, const char *name);

#endif

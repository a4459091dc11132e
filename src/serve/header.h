/*
 * header: connections that are to begin with a PROXY header. It is read before anything is decided,
 * without waiting and never a byte too far; then the client it names is admitted as any other.
 */
#ifndef SERVE_HEADER_H
#define SERVE_HEADER_H

#include "serve/listener.h"

enum { HEADERS_MOST = 1024 };	/* of one service that are awaited at once; then its listeners pause */

/* Takes fd. */
void header_await(struct unit *u, int fd, const struct peer *peer);

#endif

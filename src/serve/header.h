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

/* For a successor of this program: what has been taken of one, and how it goes on. False: no memory. */
size_t header_carry(const struct conn *c, const char **bytes);
bool header_resume(struct conn *c, const char *hex);

#endif

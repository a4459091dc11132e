/* ident: who the peer's machine says that its end of a connection belongs to (RFC 1413). */
#ifndef SERVE_IDENT_H
#define SERVE_IDENT_H

#include <stdbool.h>
#include <stddef.h>

#include "net/addr.h"

enum { IDENT_WAIT = 5000, IDENT_MOST = 255 };	/* ms for all of it; bytes of the answer kept */

/*
 * Asks; blocks up to IDENT_WAIT, so it is for a process of its own. "SYSTEM:USER" in out, IDENT_MOST + 1
 * bytes. False: no answer that says who.
 */
bool ident_ask(const struct peer *peer, const struct addr *local, char *out);

/* Takes an answer's line apart. */
bool ident_parse(const char *line, unsigned peer_port, unsigned local_port, char *out);

#endif

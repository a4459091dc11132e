/* vars: what a child's environment says of its connection, written beside what is known before. */
#ifndef CHILD_VARS_H
#define CHILD_VARS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"
#include "table/service.h"

struct facts {			/* of one connection; borrowed for the call */
	const struct service *service;
	const struct peer *peer;
	bool dgram;		/* it is of datagrams */
	bool listening;		/* the command gets the listener itself */
	const struct addr *local;
	const char *info;	/* who the peer is by RFC 1413; NULL: not asked, or not known */
	const char *host;	/* the peer's confirmed name; NULL: none */
	uint64_t conn;
};

/*
 * Writes the whole environment into block: a NULL-terminated array, then the strings. Returns the
 * bytes it takes; if that is more than size, nothing useful was written.
 */
size_t vars_fill(char *block, size_t size, const struct facts *f);

#endif

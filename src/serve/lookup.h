/*
 * lookup: the peer's name, found and confirmed, and who its machine says it is (RFC 1413), asked in
 * the child before it becomes the command, within bounded times, and told to the master through a
 * pipe. The master itself never asks anybody.
 */
#ifndef SERVE_LOOKUP_H
#define SERVE_LOOKUP_H

#include <stdbool.h>

#include "child/vars.h"
#include "serve/ident.h"

enum { NAME_MOST = 255 };

struct lookup {			/* what the child works with */
	int tell;		/* the pipe's end that it writes to */
	int fd;			/* the connection, for banner_success */
	bool name_too;		/* ask for the name */
	bool decide;		/* what is found decides: a domain in a list, flags = IDONLY */
	bool ident;		/* ask who it is */
	bool refused;		/* the connection is refused already; only who it is is wanted */
	bool unknown;		/* nobody could tell the name, or that there is none */
	char name[NAME_MOST + 1];
	char user[IDENT_MOST + 1];
};

struct told {			/* one record in the pipe */
	bool allowed;
	char name[NAME_MOST + 1];	/* "": none that is confirmed */
	char user[IDENT_MOST + 1];	/* "SYSTEM:USER"; "": not known */
};

/* For order.before: arg is a struct lookup. */
bool lookup_before(void *arg, struct facts *f);

#endif

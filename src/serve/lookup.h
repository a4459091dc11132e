/*
 * lookup: the peer's name, found and confirmed in the child before it becomes the command, within
 * two seconds, and told to the master through a pipe. The master itself never asks a name server.
 */
#ifndef SERVE_LOOKUP_H
#define SERVE_LOOKUP_H

#include <stdbool.h>

#include "child/vars.h"

enum { NAME_MOST = 255 };

struct lookup {			/* what the child works with */
	int tell;		/* the pipe's end that it writes to */
	int fd;			/* the connection, for banner_success */
	bool decide;		/* only_from or no_access has a domain */
	char name[NAME_MOST + 1];
};

struct told {			/* one record in the pipe */
	bool allowed;
	char name[NAME_MOST + 1];	/* "": none that is confirmed */
};

/* For order.before: arg is a struct lookup. */
bool lookup_before(void *arg, struct facts *f);

#endif

/* host: the addresses that the host of an ADDRESS stands for. */
#ifndef NET_HOST_H
#define NET_HOST_H

#include "net/addr.h"
#include "net/where.h"

enum { HOST_MOST = 64 };	/* addresses of one */

struct host {			/* what was found when it was asked */
	size_t n;
	struct err why;		/* nothing was, n is 0 */
	struct addr to[HOST_MOST];	/* without a port */
};

/* Is it a name, which only a resolver can tell? */
bool host_is_name(const struct where *w);

/*
 * Its addresses by getaddrinfo(3), each once. It may take as long as the resolver takes: of a name,
 * ask where nobody waits.
 */
void host_ask(const struct where *w, struct host *h);

#endif

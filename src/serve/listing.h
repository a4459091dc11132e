/*
 * listing: the built-ins that tell of the server itself: services, servers; status is answered by
 * manage. Each client by a process of its own.
 */
#ifndef SERVE_LISTING_H
#define SERVE_LISTING_H

#include "child/vars.h"
#include "serve/engine.h"

struct listing {
	const struct engine *engine;
	const struct service *service;
	int fd;
};

/* There: closes all that is the master's but fd, and gives up its rights. False: it cannot. */
bool listing_lower(const struct engine *e, int fd);

/* For an order's `before`: says it to the client. Never lets a command run. */
bool listing_before(void *arg, struct facts *f);

#endif

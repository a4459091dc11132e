/* listing: the built-ins that tell of the server itself: services, servers. In a process of their own. */
#ifndef SERVE_LISTING_H
#define SERVE_LISTING_H

#include "child/vars.h"
#include "serve/engine.h"

struct listing {
	const struct engine *engine;
	const struct service *service;
	int fd;
};

/* For an order's `before`: says it to the client. Never lets a command run. */
bool listing_before(void *arg, struct facts *f);

#endif

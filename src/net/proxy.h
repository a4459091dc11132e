/*
 * proxy: the PROXY protocol's headers, versions 1 and 2 (haproxy's doc/proxy-protocol.txt, 2020). Pure:
 * bytes in, addresses out.
 */
#ifndef NET_PROXY_H
#define NET_PROXY_H

#include <stdbool.h>
#include <stddef.h>

#include "net/addr.h"

enum {
	PROXY_V1_MOST = 536,		/* bytes of a header that are looked at */
	PROXY_V2_MOST = 16 + 4096,
	PROXY_MOST = PROXY_V2_MOST,
	PROXY_BUILT = 108,		/* the longest that is sent */
};

enum proxy_state {
	PROXY_MORE,	/* a header may begin so */
	PROXY_DONE,
	PROXY_BAD,
};

struct proxy {			/* what a header says */
	bool told;		/* false: LOCAL, UNKNOWN, or a family without an IP address: the peer is who it is */
	struct peer from;
	struct addr to;
};

/*
 * Looks at the first n bytes of a connection. PROXY_DONE: *used of them are the header, and out is
 * set. PROXY_MORE: the first *used of them belong to the header whatever follows, and may be taken.
 */
enum proxy_state proxy_read(const char *bytes, size_t n, size_t *used, struct proxy *out);

/*
 * Writes a header that says who the client is and whom it asked. Returns its length. A peer without
 * an IP address gives UNKNOWN or LOCAL.
 */
size_t proxy_write(unsigned version, const struct peer *from, const struct addr *to, char out[PROXY_BUILT]);

#endif

/*
 * http: as much of HTTP/1.1 (RFC 9112) as one answer to one request needs: the connection ends
 * behind it. The request is bounded in bytes, both ways in time.
 */
#ifndef MANAGE_HTTP_H
#define MANAGE_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum { HTTP_MOST = 8192 };	/* bytes of a request's line and headers together */

struct request {		/* borrows from the bytes it was read of */
	bool head;		/* HEAD: the answer's headers only */
	bool get;		/* neither: another method */
	const char *path;	/* without the query */
	size_t path_len;
	const char *query;	/* behind the ?; NULL: none */
	size_t query_len;
	const char *host;	/* the name asked for, without port; NULL: none was said */
	size_t host_len;
};

/*
 * What the first `len` bytes are. 0: not all of it yet; 200: *r is it; else the status to answer with
 * (400, 414, 431, 505), and *r says at most whether it was HEAD.
 */
int http_parse(const char *bytes, size_t len, struct request *r);

struct response {
	int status;
	const char *type;	/* of the body */
	const char *more;	/* further header lines, each with CR LF; NULL: none */
	struct buf body;
};

/*
 * Reads a request until `until` (ms of the clock). As http_parse; 408: it did not come in time, or -1:
 * nothing came, or the client is gone. `bytes` holds it.
 */
int http_read(int fd, int64_t until, char bytes[HTTP_MOST], struct request *r);

/* Sends it, headers only with `head`. The client may be slow until `until`. -1: it did not take all. */
int http_send(int fd, int64_t until, const struct response *p, bool head);

#endif

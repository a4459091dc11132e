/* where: an ADDRESS as people write it, taken apart. */
#ifndef NET_WHERE_H
#define NET_WHERE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"

enum scheme { SCHEME_TCP, SCHEME_UDP, SCHEME_UNIX, SCHEME_FIFO, SCHEME_VSOCK, SCHEME_FD };

enum { WHERE_HOST = 256 };	/* bytes of a host or path, at most */

struct where {			/* one ADDRESS, taken apart; nothing resolved yet */
	enum scheme scheme;
	int type;		/* SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET */
	int family;		/* AF_UNSPEC: both; AF_INET, AF_INET6 */
	char *host;		/* owned: host or path or @name or descriptor's name; "": every address */
	char iface[20];		/* %IFACE, "" for none */
	unsigned port;		/* number, or cid's port for vsock; descriptor for fd:N */
	unsigned cid;		/* vsock: VMADDR_CID_ANY for every one */
	bool named;		/* fd:NAME rather than fd:N */
};

/* Reads [SCHEME:]WHERE into *w, which then owns what it says. -1: err. */
int where_parse(struct where *w, const char *text, struct err *err);
void where_free(struct where *w);

/* Do both name the same thing? */
bool where_equal(const struct where *a, const struct where *b);

/* Equal for equal ones, in every process and version of this program. */
uint64_t where_hash(const struct where *w);

/* A relative path is one of `directory` from now on. -1: err. */
int where_root(struct where *w, const char *directory, struct err *err);

/* A port's number or its name in /etc/services or among those that every admin knows. */
bool port_parse(const char *text, const char *proto, unsigned *port);

#endif

/*
 * rpcb: asks rpcbind to register an RPC service or to forget it: rpcbind's own protocol, version 3
 * (RFC 1833), over its UNIX socket, or where that is not there portmap's, version 2, over loopback.
 * The calls wait: they are for a process of their own.
 */
#ifndef NET_RPCB_H
#define NET_RPCB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/addr.h"

struct rpcb_entry {
	uint32_t program, version;
	const char *netid;	/* "tcp", "udp", "tcp6", "udp6"; "": all of them (to forget) */
	struct addr at;
};

enum { RPCB_MESSAGE = 512 };

/* The call message for SET or UNSET, behind its record mark. Returns its length. Pure. */
size_t rpcb_build(const struct rpcb_entry *e, bool set, uint32_t xid, char out[RPCB_MESSAGE]);

/* Does the reply, behind its record mark, say yes? Pure. */
bool rpcb_agrees(const char *reply, size_t n, uint32_t xid);

/* Waits at most 5 s. 1: only portmap is there, which knows no IPv6. -1: err. */
int rpcb_call(const struct rpcb_entry *e, bool set, struct err *err);

#endif

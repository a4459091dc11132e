/*
 * rpc: the server's RPC services, registered with rpcbind by a process of its own, so that nobody
 * waits for it; tried again while rpcbind cannot be reached; forgotten at the end.
 */
#ifndef MANAGE_RPC_H
#define MANAGE_RPC_H

#include "serve/engine.h"

struct rpc;

/* NULL: no memory. */
struct rpc *rpc_new(struct engine *e);

/* Registers what listens now for services of type RPC; nothing where there is none. */
void rpc_register(struct rpc *r);

/* Forgets it, without waiting for that. */
void rpc_forget(struct rpc *r);
void rpc_free(struct rpc *r);

#endif

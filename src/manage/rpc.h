/*
 * rpc: the server's RPC services, registered with rpcbind by a process of its own, so that nobody
 * waits for it; tried again while rpcbind cannot be reached; forgotten at the end.
 */
#ifndef MANAGE_RPC_H
#define MANAGE_RPC_H

#include "base/buf.h"
#include "base/state.h"
#include "serve/engine.h"

struct rpc;

/* NULL: no memory. */
struct rpc *rpc_new(struct engine *e);

/* Registers what listens now for services of type RPC; nothing where there is none. */
void rpc_register(struct rpc *r);

/* For a successor: records of kind "rpc", and what becomes of one there. Is a process at it? */
void rpc_carry(const struct rpc *r, struct buf *out);
void rpc_resume(struct rpc *r, const struct fact *f);
bool rpc_runs(const struct rpc *r);

/* Forgets it, without waiting for that. */
void rpc_forget(struct rpc *r);
void rpc_free(struct rpc *r);

#endif

/* rpc: the numbers of RPC programs by their names in /etc/rpc, as rpc(5) has them. */
#ifndef TABLE_RPC_H
#define TABLE_RPC_H

#include <stdbool.h>
#include <stdint.h>

/* A name, an alias, or the number itself. False: it is not listed. */
bool rpc_number(const char *name, uint32_t *number);

#endif

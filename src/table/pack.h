/*
 * pack: what runs of a service, as one run of bytes: so it goes from the process that read the table
 * to the master, which keeps it as one block. What only serves to read or print the table is not in it.
 */
#ifndef TABLE_PACK_H
#define TABLE_PACK_H

#include "base/buf.h"
#include "table/service.h"

/*
 * `server`: it is the defaults, which say what is of the whole server; of others that is left out.
 * Appends a checked service, without its environment and its addresses. The same service gives the
 * same bytes in every process. When there is no memory, out->failed.
 */
void service_pack(const struct service *s, bool server, struct buf *out);
void environment_pack(const struct environment *e, struct buf *out);
void address_pack(const struct address *a, struct buf *out);

/*
 * Reads one back from *at and moves it on; one reference, or for an address what address_free frees.
 * Bytes that are none give NULL (-1), and so does a lack of memory.
 */
struct service *service_unpack(const char **at, const char *end);
struct environment *environment_unpack(const char **at, const char *end);
int address_unpack(struct address *a, const char **at, const char *end);

#endif

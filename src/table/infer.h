/* infer: where a service listens, from what xinetd's attributes say of it. */
#ifndef TABLE_INFER_H
#define TABLE_INFER_H

#include "table/check.h"

/*
 * Fills s->listen from port, bind, socket_type, protocol and flags where it was not given, and
 * gives those their inferred values. Sets s->later for kinds that are not served yet. -1: err.
 */
int check_where(struct service *s, const struct master *m, attr_note *note, void *arg,
    struct err *err);

#endif

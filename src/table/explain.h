/* explain: what the table decides for one client, told step by step. */
#ifndef TABLE_EXPLAIN_H
#define TABLE_EXPLAIN_H

#include "table/table.h"

/*
 * Writes the decision and its steps. `clock` is HH:MM, local; NULL: now. 0: served, 1: refused, 2:
 * no such service. -1: err, the question is wrong.
 */
int table_explain(const struct table *t, const char *service, const char *address, const char *clock,
    struct buf *out, struct err *err);

#endif

/* rivals: two entries that want one address. */
#ifndef TABLE_RIVALS_H
#define TABLE_RIVALS_H

#include "table/table.h"

/*
 * Finds them among what is to be served: the later one is an error and is taken out of t->item. A
 * wildcard for both families makes room for one that names a family.
 */
void rivals_find(struct table *t);

#endif

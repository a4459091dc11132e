/* edit: a table is changed as visudo(8) does it: a copy, checked, put in place in one step. */
#ifndef MANAGE_EDIT_H
#define MANAGE_EDIT_H

#include "base/err.h"
#include "table/check.h"

/*
 * It is checked as a server with that master and those -o would read it. 0: it was changed; 1: it was not, and
 * that was told; -1: err, it was not.
 */
int edit(const char *path, const struct master *m, char *const *option, size_t noptions, struct err *err);

#endif

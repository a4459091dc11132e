/* around: what the process was started with. */
#ifndef MANAGE_AROUND_H
#define MANAGE_AROUND_H

#include "table/check.h"

/* Fills all of it but the environment and the accounts; cwd is where the directory's name is kept. */
void around_look(struct master *m, char *cwd, size_t size, bool daemon);

#endif

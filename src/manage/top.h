/* top: what the server does, live on a terminal. */
#ifndef MANAGE_TOP_H
#define MANAGE_TOP_H

#include "base/err.h"

/* Until q, or the server's end. 0; -1: err. */
int top(const char *path, struct err *err);

#endif

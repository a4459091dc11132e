/* burial: the end of a UNIX connection, in a process of its own. */
#ifndef CHILD_BURIAL_H
#define CHILD_BURIAL_H

#include <stdint.h>
#include <sys/types.h>

/*
 * Forks a process that ends a UNIX connection gently: end of stream, then what the client still
 * sends is dropped until its own end or `linger` ms; below 0 it is
 * only closed. The caller closes its fd then. -1: errno.
 */
pid_t spawn_burial(int fd, int64_t linger);

#endif

/* fd: descriptors. Everything the master opens is close-on-exec. */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <stdbool.h>
#include <stddef.h>

bool fd_is_open(int fd);

/* Opens /dev/null on those of 0, 1 and 2 that are not open, so that nothing else lands there. -1: errno. */
int fd_fill_std(void);

/* Closes every descriptor from `from` up, save those in keep[0..n), in any order. */
void fd_close_from(int from, const int *keep, size_t n);

/* Every descriptor from `from` up is close-on-exec from now on. */
void fd_cloexec_from(int from);

/*
 * Makes room in the descriptor table for `count` descriptors now (bounded by the limit): a table
 * that grows while a child shares it makes the kernel wait for all processors, 8 to 29 ms.
 */
void fd_reserve(int count);

/* Writes all of it to a blocking descriptor. -1: errno. */
int fd_write_all(int fd, const void *bytes, size_t len);

#endif

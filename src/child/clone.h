/* clone: the one system call that C cannot make: it returns twice, the second time on a new stack. */
#ifndef CHILD_CLONE_H
#define CHILD_CLONE_H

#include "child/raw.h"

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif

#ifdef RAW_NATIVE

/*
 * clone(2) with a stack (its top, 16-byte aligned) on which the child calls fn(arg), which must not
 * return. pidfd and ctid are the kernel's parent_tid and child_tid words. Returns the pid or -errno.
 * (musl's clone() refuses CLONE_CHILD_CLEARTID.)
 */
long clone_onto(unsigned long flags, void *stack, int *pidfd, int *ctid, void (*fn)(void *), void *arg);

#endif

#endif

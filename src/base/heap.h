/* heap: memory that was needed for a while goes back to the system, where libc can do that. */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#ifdef __GLIBC__
#include <malloc.h>
#endif

static inline void
heap_trim(void)
{
#ifdef __GLIBC__
	(void)malloc_trim(0);
#endif
}

#endif

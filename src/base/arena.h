/* arena: memory that is given back all at once. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct arena {
	struct arena_block *block;	/* owned; the one in use first */
	size_t used;
};

/* Aligned for pointers and 64-bit numbers. NULL: no memory. */
void *arena_get(struct arena *a, size_t size);

/* A copy of those bytes with a NUL behind. NULL: no memory. */
char *arena_text(struct arena *a, const char *bytes, size_t len);

void arena_free(struct arena *a);

#endif

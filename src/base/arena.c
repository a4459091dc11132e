#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK_LEAST = 4096, BLOCK_MOST = 65536, ALIGN = 8 };	/* each twice the last one */

struct arena_block {
	struct arena_block *next;
	size_t size;
	_Alignas(ALIGN) char bytes[];
};

void *
arena_get(struct arena *a, size_t size)
{
	struct arena_block *b = a->block;
	void *p;

	if (size > (size_t)-1 / 2)
		return NULL;
	size = (size + ALIGN - 1) / ALIGN * ALIGN;
	if (b == NULL || b->size - a->used < size) {
		size_t room = b == NULL ? BLOCK_LEAST : b->size < BLOCK_MOST / 2 ? b->size * 2 : BLOCK_MOST;

		room = size > room ? size : room;

		b = malloc(sizeof *b + room);
		if (b == NULL)
			return NULL;
		b->size = room;
		b->next = a->block;
		a->block = b;
		a->used = 0;
	}
	p = b->bytes + a->used;
	a->used += size;
	return p;
}

char *
arena_text(struct arena *a, const char *bytes, size_t len)
{
	char *p = arena_get(a, len + 1);

	if (p == NULL)
		return NULL;
	if (len > 0)
		memcpy(p, bytes, len);
	p[len] = '\0';
	return p;
}

void
arena_free(struct arena *a)
{
	while (a->block != NULL) {
		struct arena_block *next = a->block->next;

		free(a->block);
		a->block = next;
	}
	a->used = 0;
}

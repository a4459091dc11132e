#include "base/hash.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { FIRST = 64 };

int
hash_init(struct hash *h)
{
	h->bucket = calloc(FIRST, sizeof *h->bucket);
	h->mask = FIRST - 1;
	h->count = 0;
	return h->bucket == NULL ? -1 : 0;
}

void
hash_free(struct hash *h)
{
	free(h->bucket);
	h->bucket = NULL;
}

static void
grow(struct hash *h)
{
	size_t size = (h->mask + 1) * 2;
	struct hash_node **to = calloc(size, sizeof h->bucket[0]);

	if (to == NULL)
		return;
	for (size_t i = 0; i <= h->mask; i++) {
		struct hash_node *n = h->bucket[i], *next;

		for (; n != NULL; n = next) {
			next = n->next;
			n->next = to[n->key & (size - 1)];
			to[n->key & (size - 1)] = n;
		}
	}
	free(h->bucket);
	h->bucket = to;
	h->mask = size - 1;
}

void
hash_put(struct hash *h, struct hash_node *node, uint64_t key)
{
	struct hash_node **b;

	if (h->count > h->mask)
		grow(h);
	b = &h->bucket[key & h->mask];
	node->key = key;
	node->next = *b;
	*b = node;
	h->count++;
}

void
hash_remove(struct hash *h, struct hash_node *node)
{
	struct hash_node **b = &h->bucket[node->key & h->mask];

	for (; *b != NULL; b = &(*b)->next) {
		if (*b == node) {
			*b = node->next;
			h->count--;
			return;
		}
	}
}

struct hash_node *
hash_find(const struct hash *h, uint64_t key)
{
	struct hash_node *n = h->bucket[key & h->mask];

	while (n != NULL && n->key != key)
		n = n->next;
	return n;
}

struct hash_node *
hash_next(const struct hash_node *node)
{
	struct hash_node *n = node->next;

	while (n != NULL && n->key != node->key)
		n = n->next;
	return n;
}

uint64_t
hash_number(uint64_t n)
{
	n = (n ^ n >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	n = (n ^ n >> 27) * UINT64_C(0x94d049bb133111eb);
	return n ^ n >> 31;
}

static uint64_t
rotl(uint64_t x, int b)
{
	return x << b | x >> (64 - b);
}

static void
sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

uint64_t
hash_bytes(const void *bytes, size_t len)
{
	static uint64_t seed[2];
	static bool seeded;
	const unsigned char *p = bytes;
	uint64_t v[4], m;

	if (!seeded) {
		/* Early at boot, or under a filter, there may be none: then an address must do. */
		if (getrandom(seed, sizeof seed, GRND_NONBLOCK) != (ssize_t)sizeof seed)
			seed[0] = hash_number((uint64_t)(uintptr_t)&v);
		seeded = true;
	}
	v[0] = seed[0] ^ UINT64_C(0x736f6d6570736575);
	v[1] = seed[1] ^ UINT64_C(0x646f72616e646f6d);
	v[2] = seed[0] ^ UINT64_C(0x6c7967656e657261);
	v[3] = seed[1] ^ UINT64_C(0x7465646279746573);
	for (size_t left = len;; left -= 8, p += 8) {
		m = left < 8 ? (uint64_t)len << 56 : 0;
		memcpy(&m, p, left < 8 ? left : 8);	/* byte order does not matter here */
		v[3] ^= m;
		sip_round(v);
		v[0] ^= m;
		if (left < 8)
			break;
	}
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

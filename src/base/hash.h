/*
 * hash: the one hash table. Intrusive: the node stands in the caller's struct, so putting one in
 * cannot fail; when there is no memory to grow, chains get longer.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct hash_node {
	struct hash_node *next;
	uint64_t key;
};

struct hash {
	struct hash_node **bucket;	/* owned; NULL until the first put */
	size_t mask;			/* buckets - 1 */
	size_t count;
};

/* -1 when there is no memory at all. */
int hash_init(struct hash *h);
void hash_free(struct hash *h);	/* frees the buckets, not the nodes */

/* Puts a node in under its key. Several nodes may have one key. */
void hash_put(struct hash *h, struct hash_node *node, uint64_t key);
void hash_remove(struct hash *h, struct hash_node *node);

/* The first node with that key, then the next; NULL: none. */
struct hash_node *hash_find(const struct hash *h, uint64_t key);
struct hash_node *hash_next(const struct hash_node *node);

/* Spreads a number over 64 bits; for keys that no stranger chooses. */
uint64_t hash_number(uint64_t n);

/* SipHash-1-3 (Aumasson, Bernstein) with a seed drawn at start: for keys that strangers choose. */
uint64_t hash_bytes(const void *bytes, size_t len);

#endif

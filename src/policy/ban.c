#include "policy/ban.h"

#include <stdlib.h>
#include <string.h>

struct ban {
	struct hash_node node;	/* first */
	struct ban *prev, *next;	/* by the time of being added */
	struct ip ip;
	int64_t until;
};

static struct ip
source_of(const struct ip *ip)
{
	struct ip s = *ip;

	if (!ip_is_v4(&s))
		(void)ip_mask(&s, 64);
	return s;
}

static struct ban *
find(const struct bans *b, const struct ip *s)
{
	struct hash_node *n;

	if (b->n == 0)
		return NULL;
	for (n = hash_find(&b->hash, hash_bytes(s, sizeof *s)); n != NULL; n = hash_next(n)) {
		struct ban *found = (struct ban *)(void *)n;

		if (memcmp(&found->ip, s, sizeof *s) == 0)
			return found;
	}
	return NULL;
}

static void
drop(struct bans *b, struct ban *x)
{
	hash_remove(&b->hash, &x->node);
	*(x->prev != NULL ? &x->prev->next : &b->oldest) = x->next;
	*(x->next != NULL ? &x->next->prev : &b->newest) = x->prev;
	b->n--;
	free(x);
}

void
bans_free(struct bans *b)
{
	while (b->oldest != NULL)
		drop(b, b->oldest);
	hash_free(&b->hash);
}

void
ban_add(struct bans *b, const struct ip *ip, int64_t now, int64_t length)
{
	struct ip s = source_of(ip);
	struct ban *x = find(b, &s);
	int64_t until = length == INT64_MAX ? INT64_MAX : now + length;

	if (x != NULL) {
		if (x->until > until)
			until = x->until;
		drop(b, x);
	}
	if (b->n >= BANS_MOST)
		drop(b, b->oldest);
	if (b->hash.bucket == NULL && hash_init(&b->hash) == -1)
		return;
	x = calloc(1, sizeof *x);
	if (x == NULL)
		return;
	x->ip = s;
	x->until = until;
	x->prev = b->newest;
	*(b->newest != NULL ? &b->newest->next : &b->oldest) = x;
	b->newest = x;
	hash_put(&b->hash, &x->node, hash_bytes(&s, sizeof s));
	b->n++;
}

bool
ban_holds(struct bans *b, const struct ip *ip, int64_t now)
{
	struct ip s = source_of(ip);
	struct ban *x = find(b, &s);

	if (x == NULL)
		return false;
	if (x->until > now)
		return true;
	drop(b, x);
	return false;
}

bool
ban_next(const struct bans *b, const struct ban **at, struct ip *ip, int64_t *until)
{
	*at = *at == NULL ? b->oldest : (*at)->next;
	if (*at == NULL)
		return false;
	*ip = (*at)->ip;
	*until = (*at)->until;
	return true;
}

#include "policy/limit.h"

#include <stdlib.h>
#include <string.h>

enum { IDLE_MOST = 65536 };

struct key {
	uint64_t service;
	struct ip ip;
	uint32_t id;
	uint32_t kind;
};

struct source {
	struct hash_node node;
	struct key key;
	unsigned live;
	struct bucket bucket;
	struct source *older, *newer;	/* while live is 0 */
};

int
sources_init(struct sources *s)
{
	*s = (struct sources){ 0 };
	return hash_init(&s->hash);
}

static void
unlink_idle(struct sources *s, struct source *x)
{
	*(x->older != NULL ? &x->older->newer : &s->oldest) = x->newer;
	*(x->newer != NULL ? &x->newer->older : &s->newest) = x->older;
	s->idle--;
}

static void
forget(struct sources *s, struct source *x)
{
	unlink_idle(s, x);
	hash_remove(&s->hash, &x->node);
	free(x);
}

void
sources_free(struct sources *s)
{
	while (s->oldest != NULL)
		forget(s, s->oldest);
	hash_free(&s->hash);
}

static struct key
key_of(uint64_t service, const struct source_limits *l, const struct peer *p)
{
	struct key k;

	memset(&k, 0, sizeof k);	/* padding too: it is hashed */
	k.service = service;
	k.kind = p->kind;
	switch (p->kind) {
	case PEER_IP:
		k.ip = p->ip;
		(void)ip_mask(&k.ip, ip_is_v4(&p->ip) ? 96 + l->v4 : l->v6);
		break;
	case PEER_UNIX:
		k.id = p->uid;
		break;
	case PEER_VSOCK:
		k.id = p->cid;
		break;
	case PEER_NONE:
		break;
	}
	return k;
}

static struct source *
find(struct sources *s, const struct key *k, uint64_t h)
{
	for (struct hash_node *n = hash_find(&s->hash, h); n != NULL; n = hash_next(n)) {
		struct source *x = (struct source *)n;

		if (memcmp(&x->key, k, sizeof *k) == 0)
			return x;
	}
	return NULL;
}

static void
link_idle(struct sources *s, struct source *x)
{
	x->newer = NULL;
	x->older = s->newest;
	*(s->newest != NULL ? &s->newest->newer : &s->oldest) = x;
	s->newest = x;
	s->idle++;
}

/* The source that the peer is of; made if it is new. NULL: no memory. */
static struct source *
source_of(struct sources *s, uint64_t service, const struct source_limits *l, const struct peer *p, int64_t now)
{
	struct key k = key_of(service, l, p);
	uint64_t h = hash_bytes(&k, sizeof k);
	struct source *x = find(s, &k, h);

	if (x != NULL)
		return x;
	while (s->idle >= IDLE_MOST || (s->oldest != NULL && s->oldest->bucket.full < now * 1000))
		forget(s, s->oldest);
	x = calloc(1, sizeof *x);
	if (x == NULL)
		return NULL;
	x->key = k;
	hash_put(&s->hash, &x->node, h);
	link_idle(s, x);
	return x;
}

static bool
limited(const struct source_limits *l)
{
	return l->most != UINT32_MAX || l->rate.n != 0;
}

bool
source_anew(const struct source_limits *was, const struct source_limits *is)
{
	return limited(is) && (!limited(was) || was->v4 != is->v4 || was->v6 != is->v6);
}

enum source_verdict
source_enter(struct sources *s, uint64_t service, const struct source_limits *l,
    const struct peer *p, int64_t now, struct source **out)
{
	struct source *x;

	*out = NULL;
	if (!limited(l))
		return SOURCE_OK;
	x = source_of(s, service, l, p, now);
	if (x == NULL)
		return SOURCE_MEMORY;
	if (l->rate.n != 0 && !bucket_take(&x->bucket, l->rate.n, l->rate.per, now))
		return SOURCE_RATE;
	if (x->live >= l->most)
		return SOURCE_LIMIT;
	if (x->live++ == 0)
		unlink_idle(s, x);
	*out = x;
	return SOURCE_OK;
}

struct source *
source_count(struct sources *s, uint64_t service, const struct source_limits *l, const struct peer *p)
{
	struct source *x;

	if (!limited(l))
		return NULL;
	x = source_of(s, service, l, p, 0);
	if (x != NULL && x->live++ == 0)
		unlink_idle(s, x);
	return x;
}

void
sources_each(const struct sources *s, int64_t now, void (*each)(const struct carried_source *c, void *arg), void *arg)
{
	for (size_t i = 0; s->hash.bucket != NULL && i <= s->hash.mask; i++)
		for (const struct hash_node *n = s->hash.bucket[i]; n != NULL; n = n->next) {
			const struct source *x = (const struct source *)n;

			if (x->bucket.full > now * 1000)
				each(&(struct carried_source){ x->key.service, x->key.ip, x->key.id, x->key.kind,
				    x->bucket }, arg);
		}
}

void
source_resume(struct sources *s, const struct carried_source *c)
{
	struct source *x;

	if (s->idle >= IDLE_MOST || (x = calloc(1, sizeof *x)) == NULL)
		return;
	x->key.service = c->service;
	x->key.ip = c->ip;
	x->key.id = c->id;
	x->key.kind = c->kind;
	x->bucket = c->bucket;
	hash_put(&s->hash, &x->node, hash_bytes(&x->key, sizeof x->key));
	link_idle(s, x);
}

void
source_leave(struct sources *s, struct source *x)
{
	if (x == NULL || --x->live > 0)
		return;
	link_idle(s, x);
	if (x->bucket.full == 0)	/* no rate: nothing to remember */
		forget(s, x);
}

#include "policy/rate.h"

#include <stdlib.h>
#include <string.h>

#include "base/num.h"

enum { MOST = 1000000 };

bool
rate_parse(const char *const *words, unsigned nwords, struct rate *out)
{
	struct rate r = { .per = 1000 };
	const char *slash;
	char count[16];
	uint64_t n;

	if (nwords == 2) {
		if (!num_parse(words[0], 0, MOST, &n) ||
		    !num_parse_duration(words[1], 1000, INT64_C(86400000) * 365, &r.rest))
			return false;
		r.n = (unsigned)n;
		*out = r;
		return true;
	}
	slash = nwords == 1 ? strchr(words[0], '/') : NULL;
	if (slash == NULL || (size_t)(slash - words[0]) >= sizeof count)
		return false;
	memcpy(count, words[0], (size_t)(slash - words[0]));
	count[slash - words[0]] = '\0';
	if (!num_parse(count, 1, MOST, &n) ||
	    !num_parse_duration(slash + 1, 1000, INT64_C(86400000) * 365, &r.per) || r.per == 0)
		return false;
	r.n = (unsigned)n;
	r.pace = true;
	*out = r;
	return true;
}

int
pace_init(struct pace *p, const struct rate *r)
{
	*p = (struct pace){ 0 };
	if (r->n == 0)
		return 0;
	p->start = malloc(r->n * sizeof *p->start);
	if (p->start == NULL)
		return -1;
	for (unsigned i = 0; i < r->n; i++)
		p->start[i] = INT64_MIN / 2;
	p->n = r->n;
	return 0;
}

void
pace_free(struct pace *p)
{
	free(p->start);
	*p = (struct pace){ 0 };
}

int64_t
pace_wait(struct pace *p, const struct rate *r, int64_t now)
{
	if (p->n == 0)
		return 0;
	if (p->resting > now)
		return p->resting;
	p->resting = 0;
	if (now - p->start[p->next] >= r->per)
		return 0;
	if (r->pace)	/* the n-th start before this one is too near */
		return p->start[p->next] + r->per;
	p->resting = now + r->rest;
	return p->resting;
}

int64_t
pace_start(const struct pace *p, unsigned i)
{
	return p->start[(p->next + i) % p->n];
}

void
pace_count(struct pace *p, int64_t now)
{
	if (p->n == 0)
		return;
	p->start[p->next] = now;
	p->next = (p->next + 1) % p->n;
}

bool
bucket_take(struct bucket *b, unsigned n, int64_t per, int64_t now)
{
	int64_t us = now * 1000, each = per * 1000 / n;
	int64_t left = b->full > us ? b->full - us : 0;

	if (each == 0)
		each = 1;
	if (b->each != each && b->each > 0) {
		int64_t missing = left / b->each + (left % b->each != 0);

		left = (missing < n ? missing : n) * each;
	}
	left = left < per * 1000 ? left : per * 1000;
	b->each = each;
	b->full = us + left;
	if (left + each > per * 1000)
		return false;
	b->full += each;
	return true;
}

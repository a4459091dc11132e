#include "table/pack.h"

#include <stdlib.h>
#include <string.h>

/*
 * A block: its size and how many pointers it holds, its bytes, then where those pointers stand. A
 * pointer is written as the distance from the block's start, 0 for NULL: nothing points to the start.
 */
struct head {
	size_t size, npointers;
};

struct packer {
	struct buf bytes;	/* of the block */
	struct buf pointers;	/* size_t each: where one stands */
};

#define AT(type, member) offsetof(struct type, member)

/* Appends bytes; `align` is a power of two. Returns where they stand. */
static size_t
add(struct packer *p, const void *bytes, size_t len, size_t align)
{
	static const char zeroes[_Alignof(max_align_t)];
	size_t at = (p->bytes.len + align - 1) & ~(align - 1);

	buf_add(&p->bytes, zeroes, at - p->bytes.len);
	buf_add(&p->bytes, bytes, len);
	return at;
}

/* The pointer at `at` leads to `to` from now on; `to` 0: nowhere. */
static void
lead(struct packer *p, size_t at, size_t to)
{
	uintptr_t value = to;

	if (p->bytes.failed)
		return;
	memcpy(p->bytes.data + at, &value, sizeof value);
	if (to != 0)
		buf_add(&p->pointers, &at, sizeof at);
}

static void
lead_to(struct packer *p, size_t at, const void *bytes, size_t len)
{
	lead(p, at, bytes != NULL && len > 0 ? add(p, bytes, len, _Alignof(max_align_t)) : 0);
}

static void
lead_to_text(struct packer *p, size_t at, const char *s)
{
	lead(p, at, s != NULL ? add(p, s, strlen(s) + 1, 1) : 0);
}

/* A list of texts; there will be a NULL behind it. */
static void
lead_to_texts(struct packer *p, size_t at, char *const *list, size_t n)
{
	char *const none = NULL;
	size_t here;

	if (list == NULL) {
		lead(p, at, 0);
		return;
	}
	here = add(p, list, n * sizeof *list, sizeof *list);
	(void)add(p, &none, sizeof none, sizeof none);	/* not every list has one behind it */
	lead(p, at, here);
	for (size_t i = 0; i < n; i++)
		lead_to_text(p, here + i * sizeof *list, list[i]);
}

static size_t
count(char *const *list)
{
	size_t n = 0;

	while (list != NULL && list[n] != NULL)
		n++;
	return n;
}

static void
lead_to_rules(struct packer *p, size_t at, const struct rules *r)
{
	size_t here = r->n > 0 ? add(p, r->rule, r->n * sizeof *r->rule, _Alignof(struct rule)) : 0;

	lead(p, at + AT(rules, rule), here);
	for (size_t i = 0; i < r->n; i++)
		lead_to_text(p, here + i * sizeof *r->rule + AT(rule, word), r->rule[i].word);
}

static void
lead_to_logs(struct packer *p, size_t at, const struct logs *l)
{
	size_t here = l->n > 0 ? add(p, l->to, l->n * sizeof *l->to, _Alignof(struct log_to)) : 0;

	lead(p, at, here);
	for (size_t i = 0; i < l->n; i++)
		lead_to_text(p, here + i * sizeof *l->to + AT(log_to, path), l->to[i].path);
}

static void
lead_to_banner(struct packer *p, size_t at, const struct banner *b)
{
	lead_to_text(p, at + AT(banner, path), b->path);
	lead(p, at + AT(banner, text), b->len > 0 ? add(p, b->text, b->len, 1) : 0);
}

static void
finish(struct packer *p, struct buf *out)
{
	struct head h = { p->bytes.len, p->pointers.len / sizeof(size_t) };

	buf_add(out, &h, sizeof h);
	buf_add(out, p->bytes.data, p->bytes.len);
	buf_add(out, p->pointers.data, p->pointers.len);
	out->failed = out->failed || p->bytes.failed || p->pointers.failed;
	buf_free(&p->bytes);
	buf_free(&p->pointers);
}

/*
 * NULL: these are no bytes of a block that begins with `least` of its own, or no memory. Behind the
 * block stands a NUL: every text in it has an end.
 */
static char *
unpack(const char **at, const char *end, size_t least, size_t *size)
{
	struct head h;
	size_t left = (size_t)(end - *at), where;
	uintptr_t value;
	char *block;

	if (left < sizeof h)
		return NULL;
	memcpy(&h, *at, sizeof h);
	left -= sizeof h;
	if (h.size < least || h.size > left || h.npointers > (left - h.size) / sizeof where)
		return NULL;
	block = malloc(h.size + 1);
	if (block == NULL)
		return NULL;
	memcpy(block, *at + sizeof h, h.size);
	block[h.size] = '\0';
	*size = h.size;
	*at += sizeof h + h.size;
	for (size_t i = 0; i < h.npointers; i++, *at += sizeof where) {
		memcpy(&where, *at, sizeof where);
		if (where > h.size - sizeof value || (memcpy(&value, block + where, sizeof value), value >= h.size)) {
			free(block);
			return NULL;
		}
		value += (uintptr_t)block;
		memcpy(block + where, &value, sizeof value);
	}
	return block;
}

void
service_pack(const struct service *s, bool server, struct buf *out)
{
	struct packer p = { .bytes = { 0 } };
	struct service c;

	memcpy(&c, s, AT(service, given));	/* there is no more of a packed one */
	c.refs = 1;
	c.packed = true;
	c.disable = c.v6only = c.off = false;
	c.run.env = NULL;
	if (!server) {
		c.limit = UINT32_MAX;
		c.grace = 0;
		c.dialect = 0;
	}
	(void)add(&p, &c, AT(service, given), _Alignof(max_align_t));	/* behind that stands what was written */
	lead_to_text(&p, AT(service, name), s->name);
	lead_to_text(&p, AT(service, id), s->id);
	lead_to_texts(&p, AT(service, redirect.word), s->redirect.word, s->redirect.n);
	lead_to_text(&p, AT(service, chroot), s->chroot);
	lead_to_text(&p, AT(service, user), s->user);
	lead_to_text(&p, AT(service, group), s->group);
	lead_to_text(&p, AT(service, log_tag), s->log_tag);
	lead_to_logs(&p, AT(service, log.to), &s->log);
	lead_to_rules(&p, AT(service, only_from), &s->only_from);
	lead_to_rules(&p, AT(service, no_access), &s->no_access);
	lead_to_rules(&p, AT(service, proxy_from), &s->proxy_from);
	lead_to(&p, AT(service, times), s->times, s->ntimes * sizeof *s->times);
	lead_to_banner(&p, AT(service, banner), &s->banner);
	lead_to_banner(&p, AT(service, banner_success), &s->banner_success);
	lead_to_banner(&p, AT(service, banner_fail), &s->banner_fail);
	lead_to(&p, AT(service, target), s->target, sizeof *s->target);
	if (s->target != NULL && !p.bytes.failed) {
		uintptr_t target;

		memcpy(&target, p.bytes.data + AT(service, target), sizeof target);
		lead_to_text(&p, target + AT(where, host), s->target->host);
	}
	lead_to_text(&p, AT(service, run.program), s->run.program);
	lead_to_texts(&p, AT(service, run.argv), s->run.argv, count(s->run.argv));
	lead_to_texts(&p, AT(service, run.path), s->run.path, count(s->run.path));
	lead_to_text(&p, AT(service, run.root), s->run.root);
	lead_to_text(&p, AT(service, run.directory), s->run.directory);
	lead_to(&p, AT(service, run.groups), s->run.groups, s->run.ngroups * sizeof *s->run.groups);
	lead_to(&p, AT(service, run.limit), s->run.limit, s->run.nlimits * sizeof *s->run.limit);
	finish(&p, out);
}

struct service *
service_unpack(const char **at, const char *end)
{
	size_t size;
	struct service *s = (struct service *)(void *)unpack(at, end, AT(service, given), &size);

	if (s != NULL) {	/* what it is freed by is not left to the bytes */
		s->refs = 1;
		s->packed = true;
		s->run.env = NULL;
	}
	return s;
}

void
environment_pack(const struct environment *e, struct buf *out)
{
	const struct environment c = { .refs = 1, .n = e->n, .packed = true };
	struct packer p = { .bytes = { 0 } };

	(void)add(&p, &c, sizeof c, _Alignof(max_align_t));
	lead_to_texts(&p, AT(environment, var), e->var, e->n);
	finish(&p, out);
}

struct environment *
environment_unpack(const char **at, const char *end)
{
	size_t size;
	struct environment *e = (struct environment *)(void *)unpack(at, end, sizeof *e, &size);

	if (e != NULL) {
		e->refs = 1;
		e->packed = true;
	}
	return e;
}

void
address_pack(const struct address *a, struct buf *out)
{
	struct packer p = { .bytes = { 0 } };

	(void)add(&p, a, sizeof *a, _Alignof(max_align_t));
	lead_to_text(&p, AT(address, text), a->text);
	lead_to_text(&p, AT(address, where.host), a->where.host);
	finish(&p, out);
}

/* A copy of the text that stands in a block at `at`; NULL: it does not, or no memory. */
static char *
text_of(const char *block, size_t size, const char *at)
{
	uintptr_t from = (uintptr_t)block, to = (uintptr_t)at;

	return to >= from && to - from < size ? strdup(at) : NULL;
}

int
address_unpack(struct address *a, const char **at, const char *end)
{
	struct address found;
	size_t size;
	char *block = unpack(at, end, sizeof found, &size);

	if (block == NULL)
		return -1;
	memcpy(&found, block, sizeof found);
	found.text = text_of(block, size, found.text);
	found.where.host = text_of(block, size, found.where.host);
	found.host = NULL;
	free(block);
	if (found.text == NULL || found.where.host == NULL) {
		address_free(&found);
		return -1;
	}
	*a = found;
	return 0;
}

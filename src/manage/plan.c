#include "manage/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/host.h"
#include "table/entry.h"
#include "table/pack.h"

enum { MAGIC = 0x506c616e };	/* at the end: it is whole */

/* --- numbers and texts */

static void
put_number(struct buf *b, uint64_t n)
{
	buf_add(b, &n, sizeof n);
}

/* NULL is another text than an empty one. */
static void
put_text(struct buf *b, const char *s)
{
	size_t n = s != NULL ? strlen(s) + 1 : 0;

	put_number(b, n);
	buf_add(b, s, n);
}

struct reader {
	const char *at, *end;
	bool bad;
};

static uint64_t
get_number(struct reader *r)
{
	uint64_t n = 0;

	if (r->bad || (size_t)(r->end - r->at) < sizeof n) {
		r->bad = true;
		return 0;
	}
	memcpy(&n, r->at, sizeof n);
	r->at += sizeof n;
	return n;
}

static char *
get_text(struct reader *r)
{
	uint64_t n = get_number(r);
	char *s;

	if (n == 0)
		return NULL;
	if (r->bad || n > (size_t)(r->end - r->at) || r->at[n - 1] != '\0' || (s = strdup(r->at)) == NULL) {
		r->bad = true;
		return NULL;
	}
	r->at += n;
	return s;
}

/* A number of things that take at least a byte each. */
static size_t
get_count(struct reader *r)
{
	uint64_t n = get_number(r);

	if (n > (size_t)(r->end - r->at))
		r->bad = true;
	return r->bad ? 0 : (size_t)n;
}

/* --- writing */

struct environments {		/* those written so far; most services share one */
	const struct environment **of;
	size_t n, size;
};

/* The number of e, from 1; 0: there is none. *is_new: it is the first time. */
static uint64_t
number_of(struct environments *all, const struct environment *e, bool *is_new, struct buf *out)
{
	const struct environment **p;

	*is_new = false;
	if (e == NULL)
		return 0;
	/* Neighbours in the table have the same more often than not. */
	for (size_t i = all->n; i > 0 && all->n - i < 64; i--)
		if (all->of[i - 1] == e)
			return i;
	if (all->n == all->size) {
		p = realloc(all->of, (all->size * 2 + 8) * sizeof(struct environment *));
		if (p == NULL) {
			out->failed = true;
			return 0;
		}
		all->of = p;
		all->size = all->size * 2 + 8;
	}
	all->of[all->n++] = e;
	*is_new = true;
	return all->n;
}

/* FNV-1a: the same in every process, and no stranger chooses what is in a table. */
static uint64_t
print_of(uint64_t h, const struct buf *b)
{
	for (size_t i = 0; i < b->len; i++)
		h = (h ^ (unsigned char)b->data[i]) * 0x100000001b3;
	return h;
}

/* What its host's name stands for: who gets the plan cannot wait for a resolver. */
static void
put_host(struct buf *out, const struct where *w)
{
	struct host h;

	put_number(out, host_is_name(w));
	if (!host_is_name(w))
		return;
	host_ask(w, &h);
	buf_add(out, &h, sizeof h);
}

static void
put_service(struct buf *out, const struct service *s, struct environments *all, plan_known *known, void *arg)
{
	struct buf body = { 0 }, env = { 0 };
	size_t listen;
	uint64_t print;
	bool is_new, same;

	service_pack(s, false, &body);
	listen = body.len;
	for (size_t i = 0; i < s->nlisten; i++)
		address_pack(&s->listen[i], &body);
	if (s->run.env != NULL)
		environment_pack(s->run.env, &env);
	print = print_of(print_of(0xcbf29ce484222325, &body), &env);
	out->failed = out->failed || body.failed || env.failed;
	same = known != NULL && known(arg, print);
	put_number(out, same ? PLANNED_SAME : PLANNED_ON);
	put_number(out, print);
	put_text(out, same ? NULL : s->id);
	put_text(out, NULL);
	if (!same) {
		put_number(out, number_of(all, s->run.env, &is_new, out));
		if (is_new)
			buf_add(out, env.data, env.len);
		buf_add(out, body.data, listen);
		put_number(out, s->nlisten);
		buf_add(out, body.data + listen, body.len - listen);
		for (size_t i = 0; i < s->nlisten; i++)
			put_host(out, &s->listen[i].where);
	}
	buf_free(&body);
	buf_free(&env);
}

static void
put_absent(struct buf *out, enum planned_state state, const char *id, const char *fault)
{
	put_number(out, state);
	put_number(out, 0);
	put_text(out, id);
	put_text(out, fault);
}

/* What is wrong with an entry: the first error behind its name, in its own text. */
static const char *
fault_of(const struct table *t, const struct entry *e)
{
	for (size_t i = 0; i < t->diags.n; i++) {
		const struct diag *d = &t->diags.diag[i];

		if (d->error && d->at.in == e->in && (d->at.line > e->name.line ||
		    (d->at.line == e->name.line && d->at.col >= e->name.col)))
			return d->text;
	}
	return "it has an error";
}

static const char *
refusal(const struct table *t)
{
	if (t->unread)
		return "the table cannot be read";
	if (t->conf.broken)
		return "an error outside an entry may hide limits";
	return NULL;
}

static void
put_diags(struct buf *out, const struct diags *d, bool nothing)
{
	static const char none[] = "server: warning: the table enables no service\n";
	struct buf shown = { 0 }, lines = { 0 };

	diags_print(d, false, &shown);
	for (size_t i = 0; i < d->n; i++) {
		diag_line(&d->diag[i], &lines);
		buf_add(&lines, "\n", 1);
	}
	if (nothing) {
		buf_add(&shown, none, sizeof none - 1);
		buf_add(&lines, none, sizeof none - 1);
	}
	buf_add(&shown, "", 1);
	buf_add(&lines, "", 1);
	put_number(out, d->errors);
	put_number(out, d->warnings + nothing);
	put_text(out, shown.failed ? "" : shown.data);
	put_text(out, lines.failed ? "" : lines.data);
	buf_free(&shown);
	buf_free(&lines);
}

void
plan_of_table(const struct table *t, plan_known *known, void *arg, struct buf *out)
{
	struct environments all = { 0 };
	size_t next = 0, entries = 0;

	put_diags(out, &t->diags, refusal(t) == NULL && t->on == 0 && t->faulty_on == 0);
	put_text(out, refusal(t));
	if (refusal(t) != NULL) {
		put_number(out, MAGIC);
		return;
	}
	service_pack(t->defaults, true, out);
	for (const struct entry *e = t->conf.first; e != NULL; e = e->next)
		entries += e->kind == ENTRY_BLOCK || e->kind == ENTRY_LINE;
	put_number(out, entries);
	for (const struct entry *e = t->conf.first; e != NULL; e = e->next) {
		if (e->kind != ENTRY_BLOCK && e->kind != ENTRY_LINE)
			continue;
		/* The items are the sound ones, in the same order. */
		if (e->faulty && e->off) {
			put_absent(out, PLANNED_OFF, entry_id(e), NULL);
		} else if (next < t->n && t->item[next].entry == e) {
			const struct service *s = t->item[next++].service;

			if (s->off)
				put_absent(out, PLANNED_OFF, s->id, NULL);
			else
				put_service(out, s, &all, known, arg);
		} else {
			put_absent(out, PLANNED_FAULTY, entry_id(e), fault_of(t, e));
		}
	}
	free(all.of);
	put_number(out, MAGIC);
}

void
plan_of_service(const struct service *s, struct buf *out)
{
	struct environments all = { 0 };
	const struct diags none = { 0 };

	put_diags(out, &none, false);
	put_text(out, NULL);
	service_pack(s, true, out);
	put_number(out, 1);
	put_service(out, s, &all, NULL, NULL);
	free(all.of);
	put_number(out, MAGIC);
}

/* --- reading */

struct held {			/* environments read so far, by their number */
	struct environment **of;
	size_t n;
};

static struct environment *
get_environment(struct reader *r, struct held *all)
{
	uint64_t number = get_number(r);
	struct environment **p, *e;

	r->bad = r->bad || number > all->n + 1;
	if (r->bad || number == 0)
		return NULL;
	if (number == all->n + 1) {
		p = realloc(all->of, number * sizeof(struct environment *));
		if (p != NULL)
			all->of = p;
		if (p == NULL || (e = environment_unpack(&r->at, r->end)) == NULL) {
			r->bad = true;
			return NULL;
		}
		all->of[all->n++] = e;
	}
	e = all->of[number - 1];
	e->refs++;
	return e;
}

static void
get_host(struct reader *r, struct address *a)
{
	struct host *h;

	if (get_number(r) == 0)
		return;
	if (r->bad || (size_t)(r->end - r->at) < sizeof *h || (h = malloc(sizeof *h)) == NULL) {
		r->bad = true;
		return;
	}
	memcpy(h, r->at, sizeof *h);
	r->at += sizeof *h;
	h->why.of = NULL;
	h->why.text[sizeof h->why.text - 1] = '\0';
	r->bad = h->n > HOST_MOST;
	for (size_t i = 0; !r->bad && i < h->n; i++)
		r->bad = h->to[i].len > sizeof h->to[i].in6;
	a->host = h;
}

static void
get_service(struct reader *r, struct planned *i, struct held *all)
{
	struct environment *env = get_environment(r, all);
	size_t n;

	i->service = r->bad ? NULL : service_unpack(&r->at, r->end);
	if (i->service == NULL) {
		environment_free(env);
		r->bad = true;
		return;
	}
	i->service->run.env = env;
	n = get_count(r);
	i->listen = calloc(n + 1, sizeof *i->listen);
	r->bad = r->bad || i->listen == NULL;
	for (; !r->bad && i->nlisten < n; i->nlisten++)
		if (address_unpack(&i->listen[i->nlisten], &r->at, r->end) == -1) {
			r->bad = true;
			break;
		}
	for (size_t k = 0; !r->bad && k < n; k++)
		get_host(r, &i->listen[k]);
}

static void
get_item(struct reader *r, struct planned *i, struct held *all)
{
	i->state = (enum planned_state)get_number(r);
	i->print = get_number(r);
	i->id = get_text(r);
	i->fault = get_text(r);
	if (i->state > PLANNED_FAULTY || (i->id == NULL && i->state != PLANNED_SAME))
		r->bad = true;
	else if (i->state == PLANNED_ON)
		get_service(r, i, all);
}

int
plan_read(struct plan *p, const char *bytes, size_t len, struct err *err)
{
	struct reader r = { bytes, bytes + len, len == 0 };
	struct held all = { 0 };
	size_t n = 0;

	*p = (struct plan){ .errors = get_number(&r) };
	p->warnings = get_number(&r);
	p->shown = get_text(&r);
	p->lines = get_text(&r);
	p->refused = get_text(&r);
	if (!r.bad && p->refused == NULL) {
		p->defaults = service_unpack(&r.at, r.end);
		r.bad = p->defaults == NULL;
		n = get_count(&r);
		p->item = calloc(n + 1, sizeof *p->item);
		r.bad = r.bad || p->item == NULL;
	}
	while (!r.bad && p->n < n) {
		struct planned *i = &p->item[p->n++];

		get_item(&r, i, &all);
		p->on += i->state <= PLANNED_SAME;
	}
	if (get_number(&r) != MAGIC)
		r.bad = true;
	for (size_t i = 0; i < all.n; i++)
		environment_free(all.of[i]);
	free(all.of);
	if (!r.bad)
		return 0;
	plan_free(p);
	return err_set(err, "the table's plan is not whole, or there is no memory for it");
}

void
plan_free(struct plan *p)
{
	for (size_t i = 0; p->item != NULL && i < p->n; i++) {
		struct planned *x = &p->item[i];

		while (x->nlisten > 0)
			address_free(&x->listen[--x->nlisten]);
		free(x->listen);
		free(x->id);
		free(x->fault);
		service_free(x->service);
	}
	free(p->item);
	service_free(p->defaults);
	free(p->refused);
	free(p->shown);
	free(p->lines);
	*p = (struct plan){ 0 };
}

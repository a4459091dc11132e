#include "manage/services.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "manage/opening.h"
#include "manage/rpc.h"
#include "serve/away.h"
#include "serve/connection.h"
#include "serve/listener.h"

struct services {
	struct engine *engine;
	struct rpc *rpc;	/* owned */
	struct openings *openings;	/* owned */
	struct absent *absent;	/* owned */
	size_t nabsent;
};

/* --- which entry is which service */

struct by_print { uint64_t print; struct unit *unit; };
struct by_id { const char *id; struct unit *unit; size_t order; };

struct loose {			/* a listener that its service may not need any more */
	uint64_t from;
	struct listener *listener;
	struct unit *was, *to;	/* to NULL: nobody wants it */
};

struct work {			/* one plan being applied */
	struct services *s;
	struct plan *p;
	struct by_print *print;
	struct by_id *id;
	size_t nprint, nid;
	struct unit **unit;	/* of each entry; NULL: it has none */
	struct unit **coming;	/* of each entry that is new or changed: what it is to be; NULL: nothing */
	struct loose *loose;
	size_t nloose;
	bool leaving;		/* sockets that nobody wants may be in the way of new ones */
};

static int
compare_prints(const void *a, const void *b)
{
	const struct by_print *x = a, *y = b;

	return x->print < y->print ? -1 : x->print > y->print;
}

static int
compare_ids(const void *a, const void *b)
{
	const struct by_id *x = a, *y = b;
	int c = strcmp(x->id, y->id);

	return c != 0 ? c : x->order < y->order ? -1 : 1;
}

static int
compare_loose(const void *a, const void *b)
{
	const struct loose *x = a, *y = b;

	return x->from < y->from ? -1 : x->from > y->from;
}

static size_t
count_units(const struct unit *u)
{
	size_t n = 0;

	for (; u != NULL; u = u->next)
		n++;
	return n;
}

static int
index_prints(struct work *w)
{
	struct engine *e = w->s->engine;

	w->print = calloc(count_units(e->units) + 1, sizeof *w->print);
	w->unit = calloc(w->p->n + 1, sizeof(struct unit *));
	w->coming = calloc(w->p->n + 1, sizeof(struct unit *));
	if (w->print == NULL || w->unit == NULL || w->coming == NULL)
		return -1;
	for (struct unit *u = e->units; u != NULL; u = u->next) {
		u->claimed = false;
		w->print[w->nprint++] = (struct by_print){ u->print, u };
	}
	for (struct unit *u = e->gone; u != NULL; u = u->next)
		u->claimed = false;
	qsort(w->print, w->nprint, sizeof *w->print, compare_prints);
	return 0;
}

/* Those that nobody has claimed. One that comes back counts those who are still there. */
static int
index_ids(struct work *w)
{
	struct engine *e = w->s->engine;

	w->id = calloc(count_units(e->units) + count_units(e->gone) + 1, sizeof *w->id);
	if (w->id == NULL)
		return -1;
	for (int gone = 0; gone < 2; gone++)
		for (struct unit *u = gone ? e->gone : e->units; u != NULL; u = u->next)
			if (!u->claimed) {
				w->id[w->nid] = (struct by_id){ u->conf->id, u, w->nid };
				w->nid++;
			}
	qsort(w->id, w->nid, sizeof *w->id, compare_ids);
	return 0;
}

static struct unit *
find_print(const struct work *w, uint64_t print)
{
	size_t low = 0, high = w->nprint;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (w->print[middle].print < print)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < w->nprint && w->print[low].print == print; low++)
		if (!w->print[low].unit->claimed)
			return w->print[low].unit;
	return NULL;
}

static bool
listens_there(const struct unit *u, const struct planned *i)
{
	for (const struct listener *l = u->listeners; l != NULL; l = l->next)
		for (size_t k = 0; k < i->nlisten; k++)
			if (l->from == where_hash(&i->listen[k].where))
				return true;
	return false;
}

/* Several may have one id: the first that nobody claims and, if `there`, that listens where this will. */
static struct unit *
find_id(const struct work *w, const struct planned *i, bool there)
{
	size_t low = 0, high = w->nid;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(w->id[middle].id, i->id) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < w->nid && strcmp(w->id[low].id, i->id) == 0; low++) {
		struct unit *u = w->id[low].unit;

		if (!u->claimed && !(i->state == PLANNED_FAULTY && u->retired) && (!there || listens_there(u, i)))
			return u;
	}
	return NULL;
}

static struct unit *
claim(struct unit *u)
{
	if (u != NULL)
		u->claimed = true;
	return u;
}

/* Finds each entry's unit. What is as it was needs nothing more. -1: no memory. */
static int
match(struct work *w)
{
	struct plan *p = w->p;

	for (size_t i = 0; i < p->n; i++) {
		if (p->item[i].state > PLANNED_SAME)
			continue;
		w->unit[i] = claim(find_print(w, p->item[i].print));
		if (w->unit[i] != NULL)
			p->item[i].state = PLANNED_SAME;
	}
	if (index_ids(w) == -1)
		return -1;
	/* Who listens where an entry says is surely meant by it; the others go by their order. */
	for (size_t i = 0; i < p->n; i++)
		if (p->item[i].state == PLANNED_ON)
			w->unit[i] = claim(find_id(w, &p->item[i], true));
	for (size_t i = 0; i < p->n; i++)
		if (w->unit[i] == NULL && (p->item[i].state == PLANNED_ON || p->item[i].state == PLANNED_FAULTY))
			w->unit[i] = claim(find_id(w, &p->item[i], false));
	return 0;
}

/* --- whose socket is whose */

static void
add_loose(struct work *w, struct unit *u)
{
	for (struct listener *l = u->listeners; l != NULL; l = l->next)
		w->loose[w->nloose++] = (struct loose){ l->from, l, u, NULL };
}

/* The listeners of services that are gone or changed. */
static int
gather_loose(struct work *w)
{
	size_t n = 0;

	for (const struct unit *u = w->s->engine->units; u != NULL; u = u->next)
		for (const struct listener *l = u->listeners; l != NULL; l = l->next)
			n++;
	w->loose = calloc(n + 1, sizeof *w->loose);
	if (w->loose == NULL)
		return -1;
	for (struct unit *u = w->s->engine->units; u != NULL; u = u->next)
		if (!u->claimed)
			add_loose(w, u);
	for (size_t i = 0; i < w->p->n; i++)
		if (w->p->item[i].state == PLANNED_ON && w->unit[i] != NULL)
			add_loose(w, w->unit[i]);
	qsort(w->loose, w->nloose, sizeof *w->loose, compare_loose);
	return 0;
}

/* The sockets of an address that are there already become u's; `own`: if they are. False: there are none. */
static bool
take_loose(struct work *w, struct unit *u, uint64_t from, bool own)
{
	const struct unit *was = NULL;
	size_t low = 0, high = w->nloose;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (w->loose[middle].from < from)
			low = middle + 1;
		else
			high = middle;
	}
	/* One that is named twice, as port 0 may be: all of its sockets were taken at once. */
	for (size_t i = low; i < w->nloose && w->loose[i].from == from; i++)
		if (w->loose[i].to == u)
			return true;
	for (size_t i = low; i < w->nloose && w->loose[i].from == from; i++) {
		struct loose *x = &w->loose[i];

		if (x->to != NULL || (own && x->was != u) || (was != NULL && x->was != was))
			continue;
		was = x->was;
		x->to = u;
	}
	return was != NULL;
}

static void
keep_some(struct work *w, bool own)
{
	for (size_t i = 0; i < w->p->n; i++) {
		struct planned *x = &w->p->item[i];
		size_t left = 0;

		if (x->state != PLANNED_ON || w->unit[i] == NULL)
			continue;
		for (size_t k = 0; k < x->nlisten; k++) {
			if (take_loose(w, w->unit[i], where_hash(&x->listen[k].where), own))
				address_free(&x->listen[k]);
			else
				x->listen[left++] = x->listen[k];
		}
		x->nlisten = left;
	}
}

/* Those addresses that are there already leave the entry's list: what is left is to be opened. */
static void
keep_sockets(struct work *w)
{
	keep_some(w, true);	/* first everybody's own: several may have port 0 */
	keep_some(w, false);
	for (size_t i = 0; i < w->nloose; i++)
		if (w->loose[i].to == NULL) {
			sock_share(&w->loose[i].listener->bound, true);
			w->leaving = true;
		}
}

static void
move_sockets(struct work *w)
{
	struct err err;

	for (size_t i = 0; i < w->nloose; i++) {
		struct loose *x = &w->loose[i];

		if (x->to == NULL)
			continue;
		listener_move(x->listener, x->to);
		if (sock_adjust(&x->listener->bound, &x->to->conf->sock, &err) == -1)
			unit_say(x->to, LEVEL_ERR, "error", "%s: %s", x->listener->bound.name, err.text);
	}
}

/* --- the change */

/*
 * What is left of an entry's list is opened. While others are leaving, what cannot be opened is left
 * there: it is tried once more when they are gone. -1: err; only if `first`.
 */
static int
open_new(struct work *w, size_t i, bool first, struct applied *did, struct err *err)
{
	struct unit *u = w->unit[i];
	struct planned *x = &w->p->item[i];
	struct err why;
	size_t n = x->nlisten;
	int rc = 0;

	x->nlisten = 0;
	for (size_t k = 0; k < n; k++) {
		struct address a = x->listen[k];

		if (rc == -1 || opening_try(w->s->openings, u, &a, w->leaving || w->s->engine->parting != NULL, &why) == 0) {
			;
		} else if (first) {
			*err = why;
			rc = -1;
		} else if (w->leaving) {
			x->listen[x->nlisten++] = a;
			continue;
		} else if (opening_wait(w->s->openings, u, &a, &why) == -1) {
			did->lost++;
			u->print = 0;	/* for the next table the entry is a changed one */
		}
		address_free(&a);
	}
	return rc;
}

static int
open_all_new(struct work *w, bool first, struct applied *did, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < w->p->n && rc == 0; i++)
		if (w->p->item[i].state == PLANNED_ON && w->unit[i] != NULL)
			rc = open_new(w, i, first, did, err);
	return rc;
}

/* Those that are gone, and the sockets that nobody wants. */
static void
remove_old(struct work *w, struct applied *did)
{
	for (size_t i = 0; i < w->nloose; i++)
		if (w->loose[i].to == NULL)
			listener_part(w->loose[i].listener);
	for (struct unit *u = w->s->engine->units, *next; u != NULL; u = next) {
		next = u->next;
		if (u->claimed)
			continue;
		did->removed++;
		openings_drop(w->s->openings, u);
		unit_retire(u);
	}
}

/* What it says of entries that do not run. */
static int
note_absent(struct work *w, struct applied *did)
{
	struct absent *list = calloc(w->p->n + 1, sizeof *list);
	size_t n = 0;

	if (list == NULL)
		return -1;
	for (size_t i = 0; i < w->p->n; i++) {
		struct planned *x = &w->p->item[i];

		if (x->state != PLANNED_OFF && x->state != PLANNED_FAULTY)
			continue;
		did->off += x->state == PLANNED_OFF;
		did->faulty += x->state == PLANNED_FAULTY;
		list[n].id = x->id;
		list[n++].fault = x->fault;
		x->id = x->fault = NULL;
	}
	for (size_t i = 0; i < w->s->nabsent; i++) {
		free(w->s->absent[i].id);
		free(w->s->absent[i].fault);
	}
	free(w->s->absent);
	if (n == 0) {
		free(list);
		list = NULL;
	}
	w->s->absent = list;
	w->s->nabsent = n;
	return 0;
}

/* All of what is new or changed that there may be no memory for. -1: there is none; if the plan is to be taken `whole`. */
static int
prepare(struct work *w, bool whole)
{
	for (size_t i = 0; i < w->p->n; i++) {
		const struct planned *x = &w->p->item[i];

		if (x->state != PLANNED_ON)
			continue;
		w->coming[i] = unit_new(w->s->engine, x->service, w->unit[i]);
		if (w->coming[i] != NULL) {
			w->coming[i]->claimed = true;
			continue;
		}
		if (whole)
			return -1;
		/* What a predecessor told of it is not what its entry says: it must not serve by that. */
		log_say(LEVEL_ERR, "error", "%s: no memory for it", x->id);
		if (w->unit[i] != NULL)
			w->unit[i]->claimed = false;
		w->unit[i] = NULL;
	}
	return 0;
}

/* Services that are new, and what those that are not say now. */
static void
change(struct work *w, struct applied *did)
{
	for (size_t i = 0; i < w->p->n; i++) {
		struct planned *x = &w->p->item[i];
		struct unit *u = w->unit[i];

		did->same += x->state == PLANNED_SAME;
		if (w->coming[i] == NULL)
			continue;
		if (u == NULL) {
			did->added++;
			u = w->unit[i] = w->coming[i];
		} else {
			did->added += u->retired;
			did->changed += !u->retired;
			openings_drop(w->s->openings, u);
			if (u->retired)
				unit_return(u);
			unit_change(u, w->coming[i]);
		}
		w->coming[i] = NULL;
		u->print = x->print;
	}
}

int
services_apply(struct services *s, struct plan *p, unsigned how, struct applied *did, struct err *err)
{
	struct work w = { .s = s, .p = p };
	bool first = (how & APPLY_FIRST) != 0;
	int rc = 0;

	*did = (struct applied){ 0 };
	if (index_prints(&w) == -1 || match(&w) == -1 || prepare(&w, (how & APPLY_ANYWAY) == 0) == -1 ||
	    gather_loose(&w) == -1 || note_absent(&w, did) == -1) {
		rc = err_sys(err, ENOMEM, "cannot take the table");
		goto out;
	}
	/* From here on the old table is gone: what fails concerns one service and is told. */
	away_flush(s->engine);	/* those on their way go where they were to go */
	openings_hurry(s->openings);
	change(&w, did);
	conn_count_anew(s->engine);
	keep_sockets(&w);
	move_sockets(&w);
	rc = open_all_new(&w, first, did, err);
	remove_old(&w, did);
	if (rc == 0 && w.leaving) {
		w.leaving = false;
		rc = open_all_new(&w, first, did, err);
	}
	for (size_t i = 0; i < p->n; i++)
		if (w.unit[i] != NULL)
			unit_to_end(w.unit[i]);		/* so all are in the order of the table */
	openings_begun(s->openings);
	rpc_register(s->rpc);
out:
	for (size_t i = 0; w.coming != NULL && i < p->n; i++)
		unit_free(w.coming[i]);
	free(w.print);
	free(w.id);
	free(w.unit);
	free(w.coming);
	free(w.loose);
	return rc;
}

/* --- the whole */

struct services *
services_new(struct engine *e)
{
	struct services *s = calloc(1, sizeof *s);

	if (s == NULL)
		return NULL;
	s->engine = e;
	s->rpc = rpc_new(e);
	s->openings = s->rpc != NULL ? openings_new(e, s->rpc) : NULL;
	if (s->openings == NULL) {
		rpc_free(s->rpc);
		free(s);
		return NULL;
	}
	return s;
}

void
services_resumed(struct services *s)
{
	openings_begun(s->openings);
}

void
services_carry(const struct services *s, struct buf *out)
{
	rpc_carry(s->rpc, out);
}

void
services_resume(struct services *s, const struct fact *f)
{
	rpc_resume(s->rpc, f);
}

bool
services_register(const struct services *s)
{
	return rpc_runs(s->rpc);
}

void
services_close(struct services *s)
{
	openings_drop(s->openings, NULL);
	rpc_forget(s->rpc);
	for (struct unit *u = s->engine->units; u != NULL; u = u->next)
		while (u->listeners != NULL)
			listener_close(u->listeners);
	while (s->engine->parting != NULL)
		listener_close(s->engine->parting);
}

void
services_abandon(struct services *s)
{
	rpc_forget(s->rpc);
	for (const struct unit *u = s->engine->units; u != NULL; u = u->next)
		for (const struct listener *l = u->listeners; l != NULL; l = l->next)
			sock_remove_path(&l->bound);
}

void
services_free(struct services *s)
{
	if (s == NULL)
		return;
	services_close(s);
	openings_free(s->openings);
	rpc_free(s->rpc);
	for (size_t i = 0; i < s->nabsent; i++) {
		free(s->absent[i].id);
		free(s->absent[i].fault);
	}
	free(s->absent);
	free(s);
}

size_t
services_listening(const struct services *s, const char **why)
{
	size_t n = 0;

	for (const struct unit *u = s->engine->units; u != NULL; u = u->next)
		for (const struct listener *l = u->listeners; l != NULL; l = l->next)
			n++;
	*why = openings_why(s->openings, NULL);
	return n;
}

static void
add_failed(void *arg, const struct unit *u, const char *why)
{
	const char *reason = strstr(why, ": ");
	size_t n = reason != NULL ? (size_t)(reason - why) : strlen(why);

	buf_addf(arg, "failed %s %.*s %s\n", u->conf->id, (int)n, why, reason != NULL ? reason + 2 : "cannot bind");
}

void
services_ready_lines(const struct services *s, struct buf *out)
{
	for (const struct unit *u = s->engine->units; u != NULL; u = u->next)
		for (const struct listener *l = u->listeners; l != NULL; l = l->next)
			buf_addf(out, "listen %s %s\n", u->conf->id, l->bound.name);
	openings_each(s->openings, add_failed, out);
	buf_addf(out, "ready\n");
}

void
services_log(const struct services *s)
{
	for (struct unit *u = s->engine->units; u != NULL; u = u->next)
		for (const struct listener *l = u->listeners; l != NULL; l = l->next)
			opening_say(l);
	openings_say(s->openings);
}

const struct absent *
services_absent(const struct services *s, size_t *n)
{
	*n = s->nabsent;
	return s->absent;
}

void
services_waiting(const struct services *s, void (*tell)(void *arg, const struct unit *u, const char *why), void *arg)
{
	openings_each(s->openings, tell, arg);
}

const char *
services_waits_for(const struct services *s)
{
	return openings_why(s->openings, NULL);
}

const char *
services_waits(const struct services *s, const struct unit *u)
{
	return openings_why(s->openings, u);
}

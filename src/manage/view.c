#include "manage/view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "serve/away.h"
#include "serve/handover.h"
#include "serve/listener.h"

const char *
row_state_text(enum row_state s)
{
	static const char *const text[ROW_STATES] = { "faulty", "paused", "draining", "listening", "disabled" };

	return text[s];
}

/* --- connections */

struct measured *
status_measure(const struct engine *e)
{
	const struct conn *const first[] = { e->running, away_first(e) };
	struct measured *m;
	size_t n = 0;

	for (int i = 0; i < 2; i++)
		for (const struct conn *c = first[i]; c != NULL; c = c->next)
			n++;
	m = malloc(sizeof *m + n * sizeof m->seen[0]);
	if (m == NULL)
		return NULL;
	m->n = 0;
	for (int i = 0; i < 2; i++)
		for (const struct conn *c = first[i]; c != NULL; c = c->next) {
			struct seen *s = &m->seen[m->n++];

			*s = (struct seen){ .conn = c, .traffic = { .idle = -1 } };
			s->known = conn_traffic(c, &s->traffic);
			/* The kernel's clock is a little further than the loop's. */
			if (s->traffic.idle > loop_now(e->loop) - c->started)
				s->traffic.idle = loop_now(e->loop) - c->started;
		}
	return m;
}

void
status_measured_free(struct measured *m)
{
	free(m);
}

static bool
take_seen(struct view *v, const struct status *s, const char *service)
{
	struct measured *own = s->measured == NULL ? status_measure(s->engine) : NULL;
	const struct measured *m = s->measured != NULL ? s->measured : own;

	if (m == NULL)
		return false;
	v->seen = malloc((m->n + 1) * sizeof *v->seen);
	for (size_t i = 0; i < m->n && v->seen != NULL; i++)
		if (service == NULL || strcmp(m->seen[i].conn->conf->id, service) == 0)
			v->seen[v->nseen++] = m->seen[i];
	status_measured_free(own);
	return v->seen != NULL;
}

/* --- services */

struct waits { const struct unit *unit; const char *why; };

struct waiting {
	struct waits *of;	/* owned */
	size_t n, size;
	bool failed;
};

static void
add_waiting(void *arg, const struct unit *u, const char *why)
{
	struct waiting *w = arg;

	if (w->n == w->size) {
		size_t size = w->size != 0 ? w->size * 2 : 16;
		struct waits *p = realloc(w->of, size * sizeof *p);

		if (p == NULL) {
			w->failed = true;
			return;
		}
		w->of = p;
		w->size = size;
	}
	w->of[w->n++] = (struct waits){ u, why };
}

static int
compare_waits(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t)((const struct waits *)a)->unit, y = (uintptr_t)((const struct waits *)b)->unit;

	return x < y ? -1 : x > y;
}

static const char *
find_waiting(const struct waiting *w, const struct unit *u)
{
	const struct waits key = { u, NULL };
	const struct waits *found = w->n > 0 ? bsearch(&key, w->of, w->n, sizeof key, compare_waits) : NULL;

	return found != NULL ? found->why : NULL;
}

static enum row_state
state_of(const struct unit *u, bool ending)
{
	bool pauses = false;

	if (u->retired || (ending && u->listeners == NULL))
		return ROW_DRAINING;
	for (const struct listener *l = u->listeners; l != NULL; l = l->next)
		pauses |= l->pausing && (l->take != handover_take || l->handover->child == NULL);
	if (u->listeners == NULL && u->muxed == NULL)
		return ROW_FAULTY;	/* nothing of it could be bound */
	return pauses ? ROW_PAUSED : ROW_LISTENING;
}

static void
add_row(struct view *v, const char *service, struct row r)
{
	if (service != NULL && strcmp(r.id, service) != 0)
		return;
	v->row[v->nrows++] = r;
	v->state[r.state]++;
	if (r.unit == NULL)
		return;
	v->started += r.unit->started;
	v->refused += unit_refusals(r.unit);
	v->failed += r.unit->failed;
}

static void
add_unit(struct view *v, const struct status *s, const char *service, const struct unit *u, const struct waiting *w)
{
	const char *waits = find_waiting(w, u);
	struct row r = { .id = u->conf->id, .unit = u, .error = waits,
		.state = state_of(u, strcmp(s->phase, "serving") != 0) };

	if (waits == NULL && u->past != NULL && u->past->error != NULL) {
		r.error = u->past->error->text;
		r.error_at = u->past->error->at;
	}
	add_row(v, service, r);
}

static struct row *
find_row(const struct view *v, const char *id)
{
	for (size_t i = 0; i < v->nrows; i++)
		if (v->row[i].id != NULL && strcmp(v->row[i].id, id) == 0)
			return &v->row[i];
	return NULL;
}

static bool
take_rows(struct view *v, const struct status *s, const char *service)
{
	const struct engine *e = s->engine;
	const struct absent *absent;
	struct waiting w = { 0 };
	size_t n = 0, nabsent;

	absent = services_absent(s->services, &nabsent);
	services_waiting(s->services, add_waiting, &w);
	for (const struct unit *u = e->units; u != NULL; u = u->next)
		n++;
	for (const struct unit *u = e->gone; u != NULL; u = u->next)
		n++;
	v->row = calloc(n + nabsent + 1, sizeof *v->row);
	if (v->row == NULL || w.failed) {
		free(w.of);
		return false;
	}
	if (w.n > 0)
		qsort(w.of, w.n, sizeof w.of[0], compare_waits);
	for (const struct unit *u = e->units; u != NULL; u = u->next)
		add_unit(v, s, service, u, &w);
	for (size_t i = 0; i < nabsent; i++) {
		struct row *old = absent[i].fault != NULL ? find_row(v, absent[i].id) : NULL;

		if (old != NULL) {	/* the entry's last good version is served */
			old->error = absent[i].fault;
			old->error_at = 0;
			continue;
		}
		add_row(v, service, (struct row){ .id = absent[i].id, .error = absent[i].fault,
		    .state = absent[i].fault != NULL ? ROW_FAULTY : ROW_DISABLED });
	}
	/* Of one that is gone only those who are still there are worth a word. */
	for (const struct unit *u = e->gone; u != NULL; u = u->next)
		if (u->live > 0)
			add_unit(v, s, service, u, &w);
	free(w.of);
	return true;
}

/* --- the whole */

bool
view_make(struct view *v, const struct status *s, const char *service)
{
	*v = (struct view){ .now = time(NULL) };
	if (take_rows(v, s, service) && take_seen(v, s, service))
		return true;
	view_free(v);
	return false;
}

void
view_free(struct view *v)
{
	free(v->row);
	free(v->seen);
	*v = (struct view){ 0 };
}

uint64_t
unit_refusals(const struct unit *u)
{
	uint64_t n = 0;

	for (int r = 0; r < REASONS; r++)
		n += u->refused[r];
	return n;
}

bool
unit_bytes(const struct unit *u, uint64_t *in, uint64_t *out)
{
	bool known = u->past != NULL && u->past->counted;

	*in = known ? u->past->bytes_in : 0;
	*out = known ? u->past->bytes_out : 0;
	return known || u->started == u->live;
}

char *
print_span(int64_t seconds, char out[32])
{
	static const struct { int64_t s; const char *name; } unit[] = { { 86400, "d" }, { 3600, "h" },
		{ 60, "min" }, { 1, "s" } };
	int64_t s = seconds < 0 ? 0 : seconds;
	size_t i = 0;

	while (i < 3 && s < unit[i].s)
		i++;
	if (i == 3)
		(void)snprintf(out, 32, "%us", (unsigned)s);
	else
		(void)snprintf(out, 32, "%u%s %u%s", (unsigned)(s / unit[i].s), unit[i].name,
		    (unsigned)(s % unit[i].s / unit[i + 1].s), unit[i + 1].name);
	return out;
}

char *
print_size(uint64_t bytes, char out[32])
{
	static const char *const name[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	uint64_t n = bytes, rest = 0;
	size_t i = 0;

	for (; n >= 1024; i++) {
		rest = n % 1024;
		n /= 1024;
	}
	if (i == 0 || n >= 100)
		(void)snprintf(out, 32, "%llu %s", (unsigned long long)n, name[i]);
	else
		(void)snprintf(out, 32, "%llu.%llu %s", (unsigned long long)n,
		    (unsigned long long)(rest * 10 / 1024), name[i]);
	return out;
}

#include <stdlib.h>
#include <string.h>

#include "manage/escape.h"
#include "manage/view.h"
#include "serve/listener.h"

/*
 * OpenMetrics 1.0. Several services may have one id, and no series may be there twice: they are added
 * up, and of their states the one that most wants to be looked at is told.
 */
struct sum {
	const char *id;		/* borrowed */
	enum row_state state;
	uint64_t live, limit, listeners, started, failed, in, out, refused[REASONS];
	bool limited, bytes;
};

static int
compare_rows(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return strcmp(x->id, y->id);
}

static void
add_row(struct sum *s, const struct row *r)
{
	const struct unit *u = r->unit;
	uint64_t in, out;

	if (r->state < s->state)
		s->state = r->state;
	if (u == NULL)
		return;
	s->live += u->live;
	s->started += u->started;
	s->failed += u->failed;
	for (int k = 0; k < REASONS; k++)
		s->refused[k] += u->refused[k];
	for (const struct listener *l = u->listeners; l != NULL; l = l->next)
		s->listeners++;
	if (u->conf->instances != UINT32_MAX && !u->retired) {
		s->limited = true;
		s->limit += u->conf->instances;
	}
	if (unit_bytes(u, &in, &out)) {
		s->bytes = true;
		s->in += in;
		s->out += out;
	}
}

/* Owned by the caller. NULL: no memory. */
static struct sum *
add_up(const struct view *v, size_t *n)
{
	struct sum *sum = calloc(v->nrows + 1, sizeof *sum);

	*n = 0;
	if (sum == NULL)
		return NULL;
	if (v->nrows > 0)
		qsort(v->row, v->nrows, sizeof v->row[0], compare_rows);
	for (size_t i = 0; i < v->nrows; i++) {
		if (*n == 0 || strcmp(sum[*n - 1].id, v->row[i].id) != 0)
			sum[(*n)++] = (struct sum){ .id = v->row[i].id, .state = v->row[i].state };
		add_row(&sum[*n - 1], &v->row[i]);
	}
	return sum;
}

/* --- the text */

static void
add_family(struct buf *b, const char *name, const char *type, const char *unit, const char *help)
{
	buf_addf(b, "# TYPE %s %s\n", name, type);
	if (unit != NULL)
		buf_addf(b, "# UNIT %s %s\n", name, unit);
	buf_addf(b, "# HELP %s %s\n", name, help);
}

/* One without labels, alone in its family. */
static void
add_one(struct buf *b, const char *name, const char *type, const char *unit, const char *help, uint64_t n)
{
	add_family(b, name, type, unit, help);
	buf_text(b, name);
	buf_text(b, strcmp(type, "counter") == 0 ? "_total " : " ");
	buf_number(b, n);
	buf_text(b, "\n");
}

/* NAME{service="ID"MORE} N */
static void
add_sample(struct buf *b, const char *name, const char *id, const char *label, const char *value, uint64_t n)
{
	buf_text(b, name);
	buf_text(b, "{service=\"");
	add_label(b, id);
	if (label != NULL) {
		buf_text(b, "\",");
		buf_text(b, label);
		buf_text(b, "=\"");
		buf_text(b, value);
	}
	buf_text(b, "\"} ");
	buf_number(b, n);
	buf_text(b, "\n");
}

static void
add_server(struct buf *b, const struct status *s)
{
	static const char *const phase[] = { "serving", "draining", "stopping" };
	const struct engine *e = s->engine;

	add_family(b, "server_build", "info", NULL, "The program.");
	buf_text(b, "server_build_info{version=\"");
	add_label(b, s->version);
	buf_text(b, "\"} 1\n");
	add_family(b, "server_state", "stateset", NULL, "Whether it serves, or is about to end.");
	for (size_t i = 0; i < sizeof phase / sizeof phase[0]; i++)
		buf_addf(b, "server_state{server_state=\"%s\"} %d\n", phase[i], strcmp(s->phase, phase[i]) == 0);
	add_one(b, "server_start_time_seconds", "gauge", "seconds", "When it was started, since 1970.",
	    (uint64_t)s->started);
	add_one(b, "server_reloads", "counter", NULL, "Tables that were taken since.", s->reloads);
	add_one(b, "server_live", "gauge", NULL, "Connections that are served now.", e->live);
	if (e->limit != UINT32_MAX)
		add_one(b, "server_limit", "gauge", NULL, "How many it serves at most.", e->limit);
	add_one(b, "server_lingering", "gauge", NULL, "Connections of which only the last bytes are awaited.",
	    e->nlingering);
}

static void
add_states(struct buf *b, const struct sum *sum, size_t n)
{
	add_family(b, "server_service_state", "stateset", NULL, "The service's state.");
	for (size_t i = 0; i < n; i++)
		for (int k = 0; k < ROW_STATES; k++)
			add_sample(b, "server_service_state", sum[i].id, "server_service_state",
			    row_state_text((enum row_state)k), sum[i].state == (enum row_state)k);
}

static void
add_services(struct buf *b, const struct sum *sum, size_t n)
{
	add_states(b, sum, n);
	add_family(b, "server_service_listeners", "gauge", NULL, "Sockets that it listens on.");
	for (size_t i = 0; i < n; i++)
		add_sample(b, "server_service_listeners", sum[i].id, NULL, NULL, sum[i].listeners);
	add_family(b, "server_service_live", "gauge", NULL, "Its connections now.");
	for (size_t i = 0; i < n; i++)
		add_sample(b, "server_service_live", sum[i].id, NULL, NULL, sum[i].live);
	add_family(b, "server_service_limit", "gauge", NULL, "How many it may have at once.");
	for (size_t i = 0; i < n; i++)
		if (sum[i].limited)
			add_sample(b, "server_service_limit", sum[i].id, NULL, NULL, sum[i].limit);
	add_family(b, "server_service_started", "counter", NULL, "Connections that it served.");
	for (size_t i = 0; i < n; i++)
		add_sample(b, "server_service_started_total", sum[i].id, NULL, NULL, sum[i].started);
	add_family(b, "server_service_refused", "counter", NULL, "Connections that were refused, and why.");
	for (size_t i = 0; i < n; i++)
		for (int k = 0; k < REASONS; k++)
			if (sum[i].refused[k] > 0)
				add_sample(b, "server_service_refused_total", sum[i].id, "reason",
				    reason_text((enum reason)k), sum[i].refused[k]);
	add_family(b, "server_service_failed", "counter", NULL, "Commands that could not be started, targets not reached.");
	for (size_t i = 0; i < n; i++)
		add_sample(b, "server_service_failed_total", sum[i].id, NULL, NULL, sum[i].failed);
	add_family(b, "server_service_received_bytes", "counter", "bytes", "What clients sent over connections that are over.");
	for (size_t i = 0; i < n; i++)
		if (sum[i].bytes)
			add_sample(b, "server_service_received_bytes_total", sum[i].id, NULL, NULL, sum[i].in);
	add_family(b, "server_service_sent_bytes", "counter", "bytes", "What was sent to clients over connections that are over.");
	for (size_t i = 0; i < n; i++)
		if (sum[i].bytes)
			add_sample(b, "server_service_sent_bytes_total", sum[i].id, NULL, NULL, sum[i].out);
}

void
status_metrics(const struct status *s, struct buf *out)
{
	struct sum *sum;
	struct view v;
	size_t n;

	if (!view_make(&v, s, NULL)) {
		out->failed = true;
		return;
	}
	sum = add_up(&v, &n);
	if (sum != NULL) {
		add_server(out, s);
		add_services(out, sum, n);
		buf_text(out, "# EOF\n");
	} else {
		out->failed = true;
	}
	free(sum);
	view_free(&v);
}

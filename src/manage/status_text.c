#include <stdio.h>
#include <string.h>

#include "manage/escape.h"
#include "manage/view.h"
#include "serve/listener.h"

enum {
	SEEN_MOST = 40,		/* connections that are shown when nobody asks for a service's */
	ID_MOST = 32,		/* columns: a longer one moves its line */
};

/* A word in a column of that width, and a blank. */
static void
add_left(struct buf *b, const char *word, size_t width)
{
	size_t from = b->len;

	add_plain(b, word);
	do
		buf_text(b, " ");
	while (!b->failed && b->len - from <= width);
}

static void
add_right(struct buf *b, uint64_t n, int width)
{
	buf_addf(b, "%*llu ", width, (unsigned long long)n);
}

static size_t
plain_width(const char *word)
{
	struct buf b = { 0 };
	size_t n;

	add_plain(&b, word);
	n = b.len;
	buf_free(&b);
	return n < ID_MOST ? n : ID_MOST;
}

static void
add_server(struct buf *b, const struct status *s, const struct view *v)
{
	const struct engine *e = s->engine;
	char span[32];

	buf_addf(b, "server %s, process %d, %s, up %s: %u live", s->version, (int)s->pid, s->phase,
	    print_span(v->now - s->started, span), e->live);
	if (e->limit != UINT32_MAX)
		buf_addf(b, " of %u", e->limit);
	if (e->nlingering > 0)
		buf_addf(b, ", %u lingering", e->nlingering);
	if (s->reloads > 0)
		buf_addf(b, ", %llu reload%s", (unsigned long long)s->reloads, s->reloads > 1 ? "s" : "");
	buf_text(b, "\n");
}

static void
add_listeners(struct buf *b, const struct unit *u)
{
	for (const struct listener *l = u->listeners; l != NULL; l = l->next) {
		add_plain(b, l->bound.name);
		buf_text(b, l->next != NULL || u->muxed != NULL ? " " : "");
	}
	if (u->muxed != NULL) {
		buf_text(b, "tcpmux:");
		add_plain(b, u->conf->name);
	}
	if (u->listeners == NULL && u->muxed == NULL)
		buf_text(b, "-");
}

static void
add_reasons(struct buf *b, const struct unit *u)
{
	for (int k = 0; k < REASONS; k++)
		if (u->refused[k] > 0)
			buf_addf(b, " %s %llu", reason_text((enum reason)k), (unsigned long long)u->refused[k]);
}

/* Its last one, with its age. */
static void
add_error(struct buf *b, const struct row *r, const struct view *v)
{
	char span[32];

	if (r->error_at != 0)
		buf_addf(b, "%s ago: ", print_span(v->now - r->error_at, span));
	add_plain(b, r->error);
}

static void
add_row(struct buf *b, const struct row *r, size_t width)
{
	const struct unit *u = r->unit;

	add_left(b, r->id, width);
	add_left(b, row_state_text(r->state), 9);
	if (u == NULL) {
		buf_addf(b, "%6s %6s %10s %9s %7s -\n", "-", "-", "-", "-", "-");
		return;
	}
	add_right(b, u->live, 6);
	if (u->conf->instances != UINT32_MAX)
		add_right(b, u->conf->instances, 6);
	else
		buf_addf(b, "%6s ", "-");
	add_right(b, u->started, 10);
	add_right(b, unit_refusals(u), 9);
	add_right(b, u->failed, 7);
	add_listeners(b, u);
	buf_text(b, "\n");
}

/* What does not fit into the table: why some were refused, how much passed, the last error. */
static void
add_more(struct buf *b, const struct row *r, const struct view *v, bool all)
{
	const struct unit *u = r->unit;
	char in[32], out[32];
	uint64_t nin, nout;

	if (u != NULL && unit_refusals(u) > 0) {
		buf_text(b, "\n");
		add_plain(b, r->id);
		buf_text(b, ": refused:");
		add_reasons(b, u);
	}
	if (all && u != NULL && unit_bytes(u, &nin, &nout)) {
		buf_text(b, "\n");
		add_plain(b, r->id);
		buf_addf(b, ": %s in, %s out", print_size(nin, in), print_size(nout, out));
	}
	if (r->error == NULL)
		return;
	buf_text(b, "\n");
	add_plain(b, r->id);
	buf_text(b, ": ");
	add_error(b, r, v);
}

static void
add_seen(struct buf *b, const struct seen *n, int64_t now, size_t width)
{
	const struct conn *c = n->conn;
	char from[ADDR_TEXT], age[32], idle[32], in[32], out[32];

	add_right(b, c->number, 8);
	add_left(b, c->conf->id, width);
	buf_addf(b, "%7d ", (int)c->pid);
	add_left(b, c->peer.kind != PEER_NONE ? peer_print(&c->peer, from) : "-", 24);
	buf_addf(b, "%10s %10s %10s %10s\n", print_span((now - c->started) / 1000, age),
	    n->traffic.idle >= 0 ? print_span(n->traffic.idle / 1000, idle) : "-",
	    n->known ? print_size(n->traffic.in, in) : "-", n->known ? print_size(n->traffic.out, out) : "-");
}

bool
status_text(const struct status *s, const char *service, struct buf *out)
{
	size_t width = strlen("SERVICE"), start;
	struct view v;

	if (!view_make(&v, s, service)) {
		out->failed = true;
		return true;
	}
	if (service != NULL && v.nrows == 0) {
		view_free(&v);
		return false;
	}
	for (size_t i = 0; i < v.nrows; i++)
		if (plain_width(v.row[i].id) > width)
			width = plain_width(v.row[i].id);
	add_server(out, s, &v);
	buf_text(out, "\n");
	add_left(out, "SERVICE", width);
	buf_addf(out, "%-9s %6s %6s %10s %9s %7s %s\n", "STATE", "LIVE", "LIMIT", "STARTED", "REFUSED", "FAILED",
	    "LISTENERS");
	for (size_t i = 0; i < v.nrows; i++)
		add_row(out, &v.row[i], width);
	start = out->len;
	for (size_t i = 0; i < v.nrows; i++)
		add_more(out, &v.row[i], &v, service != NULL);
	buf_text(out, out->len > start ? "\n" : "");
	if (v.nseen > 0) {
		size_t most = service == NULL && v.nseen > SEEN_MOST ? SEEN_MOST : v.nseen;

		buf_text(out, "\n    CONN ");
		add_left(out, "SERVICE", width);
		buf_addf(out, "%7s %-24s %10s %10s %10s %10s\n", "PID", "FROM", "AGE", "IDLE", "IN", "OUT");
		for (size_t i = 0; i < most; i++)
			add_seen(out, &v.seen[i], loop_now(s->engine->loop), width);
		if (most < v.nseen)
			buf_addf(out, "and %zu more connections\n", v.nseen - most);
	}
	view_free(&v);
	return true;
}

/* --- for serverctl top */

static void
add_word(struct buf *b, const char *word)
{
	buf_text(b, "\t");
	add_plain(b, word);
}

static void
add_known(struct buf *b, bool known, uint64_t n)
{
	buf_text(b, "\t");
	if (known)
		buf_number(b, n);
	else
		buf_text(b, "-");
}

void
status_snapshot(const struct status *s, struct buf *out)
{
	char from[ADDR_TEXT], span[32];
	uint64_t nin, nout;
	struct view v;
	bool known;

	if (!view_make(&v, s, NULL)) {
		out->failed = true;
		return;
	}
	buf_text(out, "server");
	add_word(out, s->phase);
	add_known(out, true, v.now > s->started ? (uint64_t)(v.now - s->started) : 0);
	buf_text(out, "\n");
	for (size_t i = 0; i < v.nrows; i++) {
		const struct unit *u = v.row[i].unit;

		if (u == NULL)
			continue;
		buf_text(out, "service");
		add_known(out, true, u->number);
		add_word(out, v.row[i].id);
		add_word(out, row_state_text(v.row[i].state));
		add_known(out, true, u->live);
		add_known(out, u->conf->instances != UINT32_MAX, u->conf->instances);
		add_known(out, true, u->started);
		add_known(out, true, unit_refusals(u));
		add_known(out, true, u->failed);
		known = unit_bytes(u, &nin, &nout);
		add_known(out, known, nin);
		add_known(out, known, nout);
		buf_text(out, "\t");
		add_listeners(out, u);
		buf_text(out, unit_refusals(u) > 0 ? "\trefused:" : "\t");
		add_reasons(out, u);
		buf_text(out, "\t");
		if (v.row[i].error != NULL)
			add_error(out, &v.row[i], &v);
		buf_text(out, "\n");
	}
	for (size_t i = 0; i < v.nseen; i++) {
		const struct seen *n = &v.seen[i];
		const struct conn *c = n->conn;

		buf_text(out, "connection");
		add_known(out, true, c->number);
		add_word(out, c->conf->id);
		add_known(out, true, (uint64_t)c->pid);
		add_word(out, c->peer.kind != PEER_NONE ? peer_print(&c->peer, from) : "-");
		add_word(out, print_span((loop_now(s->engine->loop) - c->started) / 1000, span));
		add_word(out, n->traffic.idle >= 0 ? print_span(n->traffic.idle / 1000, span) : "-");
		add_known(out, n->known, n->traffic.in);
		add_known(out, n->known, n->traffic.out);
		buf_text(out, "\n");
	}
	view_free(&v);
}

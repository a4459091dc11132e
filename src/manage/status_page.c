#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "manage/escape.h"
#include "manage/page.h"
#include "manage/view.h"
#include "serve/listener.h"

enum {
	AGAIN = 5,		/* s until it loads itself again */
	ROWS_MOST = 200, SEEN_MOST = 50,	/* services and connections that are shown */
	LISTENERS_MOST = 8,	/* of one service */
};

/* 1234567 as 1,234,567 */
static void
add_number(struct buf *b, uint64_t n)
{
	char digits[24], out[32];
	int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n), at = 0;

	for (int i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0)
			out[at++] = ',';
		out[at++] = digits[i];
	}
	buf_add(b, out, (size_t)at);
}

/* A cell with a number; nothing is soft. */
static void
add_count(struct buf *b, const char *label, uint64_t n)
{
	buf_addf(b, "<td role=cell class=\"n%s\" data-label=\"%s\">", n == 0 ? " zero" : "", label);
	add_number(b, n);
}

static void
add_bytes(struct buf *b, const char *label, bool known, uint64_t n)
{
	char size[32];

	buf_addf(b, "<td role=cell class=\"n%s\" data-label=\"%s\">%s</td>", known && n > 0 ? "" : " zero", label,
	    known ? print_size(n, size) : "–");
}

static void
add_tile(struct buf *b, const char *name, uint64_t n, const char *more, bool wide)
{
	buf_addf(b, "<div%s><dt>%s</dt><dd>", wide ? " class=wide" : "", name);
	add_number(b, n);
	buf_addf(b, "<small>%s</small></dd></div>", more);
}

static const char *
pill_class(enum row_state s)
{
	switch (s) {
	case ROW_FAULTY:
		return "pill bad";
	case ROW_PAUSED:
		return "pill warn";
	case ROW_DRAINING:
		return "pill move";
	case ROW_LISTENING:
		return "pill good";
	case ROW_DISABLED:
	case ROW_STATES:
		break;
	}
	return "pill";
}

/* --- the head of it */

static void
add_head(struct buf *b, const struct status *s, const char *host)
{
	buf_text(b, "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
	    "<meta name=viewport content=\"width=device-width,initial-scale=1\">");
	if (!s->still)
		buf_addf(b, "<meta http-equiv=refresh content=%d>", AGAIN);
	buf_text(b, "<title>");
	add_html(b, host);
	buf_text(b, ": ");
	add_html(b, s->phase);
	buf_text(b, "</title><link rel=icon href=\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' "
	    "viewBox='0 0 16 16'%3E%3Cpath fill='%232f6fde' d='M2 9h3v5H2zM6.5 5h3v9h-3zM11 2h3v12h-3z'/%3E%3C/svg%3E\">"
	    "<style nonce=\"");
	add_html(b, s->nonce != NULL ? s->nonce : "");
	buf_text(b, "\">");
	buf_text(b, page_style);
	buf_text(b, "</style></head>\n");
}

static void
add_top(struct buf *b, const struct status *s, const struct view *v, const char *host)
{
	char span[32];

	buf_text(b, "<body><header><h1>");
	add_html(b, host);
	buf_addf(b, "</h1> <span class=\"pill %s\">", strcmp(s->phase, "serving") == 0 ? "good" : "move");
	add_html(b, s->phase);
	buf_text(b, "</span><p>server ");
	add_html(b, s->version);
	buf_addf(b, " · process %d · up %s", (int)s->pid, print_span(v->now - s->started, span));
	if (s->reloads > 0)
		buf_addf(b, " · %llu reload%s", (unsigned long long)s->reloads, s->reloads > 1 ? "s" : "");
	buf_text(b, "</p></header>\n<main>");
}

/* "12 in the last 5 min" */
static const char *
say_lately(char *text, size_t size, uint64_t n)
{
	(void)snprintf(text, size, "%llu in the last %d min", (unsigned long long)n,
	    HISTORY_SLOTS * HISTORY_INTERVAL / 60000);
	return text;
}

static void
add_tiles(struct buf *b, const struct status *s, const struct view *v)
{
	const struct engine *e = s->engine;
	struct buf states = { 0 };
	uint64_t started, refused;
	char more[64] = "";

	history_sums(e, e->history, &started, &refused);
	for (int k = 0; k < ROW_STATES; k++)
		if (v->state[k] > 0)
			buf_addf(&states, "%s%u&nbsp;%s", states.len > 0 ? " · " : "", v->state[k],
			    row_state_text((enum row_state)k));
	buf_add(&states, "", 1);
	buf_text(b, "<dl class=tiles>");
	if (e->limit != UINT32_MAX)
		(void)snprintf(more, sizeof more, "of %u at most", e->limit);
	else if (e->nlingering > 0)
		(void)snprintf(more, sizeof more, "%u lingering", e->nlingering);
	else
		(void)snprintf(more, sizeof more, "no limit");
	add_tile(b, "Live", e->live, more, false);
	add_tile(b, "Served", v->started, say_lately(more, sizeof more, started), false);
	add_tile(b, "Refused", v->refused, say_lately(more, sizeof more, refused), false);
	add_tile(b, "Failed", v->failed, "could not be started", false);
	add_tile(b, "Services", v->nrows, states.failed ? "" : states.data, true);
	buf_text(b, "</dl>\n");
	buf_free(&states);
}

/* --- services */

static void
add_listeners(struct buf *b, const struct unit *u)
{
	unsigned n = 0, more = 0;

	for (const struct listener *l = u->listeners; l != NULL; l = l->next) {
		if (n++ >= LISTENERS_MOST) {
			more++;
			continue;
		}
		buf_text(b, "<small><code>");
		add_html(b, l->bound.name);
		buf_text(b, "</code></small>");
	}
	if (more > 0)
		buf_addf(b, "<small>and %u more</small>", more);
	if (u->muxed != NULL) {
		buf_text(b, "<small><code>tcpmux:");
		add_html(b, u->conf->name);
		buf_text(b, "</code></small>");
	}
}

static void
add_refused(struct buf *b, const struct unit *u)
{
	const char *comma = "";

	add_count(b, "Refused", unit_refusals(u));
	if (unit_refusals(u) > 0) {
		buf_text(b, "<small>");
		for (int k = 0; k < REASONS; k++)
			if (u->refused[k] > 0) {
				/* Words that may be parted: in a column there is little room. */
				buf_text(b, comma);
				for (const char *c = reason_text((enum reason)k); *c != '\0'; c++)
					buf_add(b, *c == '_' ? " " : c, 1);
				buf_text(b, " ");
				add_number(b, u->refused[k]);
				comma = ", ";
			}
		buf_text(b, "</small>");
	}
	buf_text(b, "</td>");
}

static void
add_row(struct buf *b, const struct status *s, const struct view *v, const struct row *r)
{
	const struct unit *u = r->unit;
	uint64_t in, out;
	char span[32];
	bool known;

	buf_text(b, "<tr role=row><th role=rowheader scope=row>");
	add_html(b, r->id);
	if (u != NULL)
		add_listeners(b, u);
	if (r->error != NULL) {
		buf_text(b, "<small class=error>");
		if (r->error_at != 0)
			buf_addf(b, "%s ago: ", print_span(v->now - r->error_at, span));
		add_html(b, r->error);
		buf_text(b, "</small>");
	}
	buf_addf(b, "</th><td role=cell data-label=State class=state><span class=\"%s\">%s</span></td>", pill_class(r->state),
	    row_state_text(r->state));
	if (u == NULL) {
		buf_text(b, "<td role=cell class=none colspan=7></td></tr>\n");
		return;
	}
	add_count(b, "Live", u->live);
	if (u->conf->instances != UINT32_MAX) {
		buf_text(b, "<small>of ");
		add_number(b, u->conf->instances);
		buf_text(b, "</small>");
	}
	buf_text(b, "</td>");
	add_count(b, "Served", u->started);
	buf_text(b, "</td>");
	add_refused(b, u);
	add_count(b, "Failed", u->failed);
	buf_text(b, "</td>");
	known = unit_bytes(u, &in, &out);
	add_bytes(b, "In", known, in);
	add_bytes(b, "Out", known, out);
	page_spark(b, s->engine, u->history);
	buf_text(b, "</tr>\n");
}

static uint64_t
busy(const struct row *r)
{
	return r->unit == NULL ? 0 : (uint64_t)r->unit->live + r->unit->started + unit_refusals(r->unit) + r->unit->failed;
}

/* Those that want to be looked at first; of the rest, where not all fit, those that do something. */
static int
compare_rows(const void *a, const void *b)
{
	const struct row *const *x = a, *const *y = b;

	if ((*x)->state != (*y)->state)
		return (*x)->state < (*y)->state ? -1 : 1;
	return *x < *y ? -1 : *x > *y;
}

static int
compare_busy(const void *a, const void *b)
{
	const struct row *const *x = a, *const *y = b;
	bool low = (*x)->state >= ROW_LISTENING, high = (*y)->state >= ROW_LISTENING;

	if (low && high && busy(*x) != busy(*y))
		return busy(*x) > busy(*y) ? -1 : 1;
	return compare_rows(a, b);
}

static void
add_services(struct buf *b, const struct status *s, const struct view *v)
{
	size_t most = v->nrows < ROWS_MOST ? v->nrows : ROWS_MOST;
	const struct row **order = calloc(v->nrows + 1, sizeof(struct row *));

	if (order == NULL) {
		b->failed = true;
		return;
	}
	for (size_t i = 0; i < v->nrows; i++)
		order[i] = &v->row[i];
	if (v->nrows > most)
		qsort(order, v->nrows, sizeof(struct row *), compare_busy);
	qsort(order, most, sizeof(struct row *), compare_rows);
	buf_text(b, "<section class=card aria-labelledby=services><h2 id=services>Services <small>");
	add_number(b, v->nrows);
	buf_text(b, "</small></h2><table role=table class=services aria-labelledby=services><thead role=rowgroup><tr role=row>"
	    "<th role=columnheader scope=col>Service<th role=columnheader scope=col>State"
	    "<th role=columnheader scope=col class=n>Live<th role=columnheader scope=col class=n>Served"
	    "<th role=columnheader scope=col class=n>Refused<th role=columnheader scope=col class=n>Failed"
	    "<th role=columnheader scope=col class=n>In<th role=columnheader scope=col class=n>Out");
	buf_addf(b, "<th role=columnheader scope=col>Last %d min</tr></thead><tbody role=rowgroup>\n",
	    HISTORY_SLOTS * HISTORY_INTERVAL / 60000);
	for (size_t i = 0; i < most; i++)
		add_row(b, s, v, order[i]);
	buf_text(b, "</tbody></table>");
	if (v->nrows > most) {
		buf_text(b, "<p class=more>and ");
		add_number(b, v->nrows - most);
		buf_text(b, " more: all are in <a href=\"/status.json\">status.json</a></p>");
	}
	buf_text(b, "</section>\n");
	free(order);
}

/* --- connections */

static void
add_seen(struct buf *b, const struct seen *n, int64_t now)
{
	const struct conn *c = n->conn;
	char from[ADDR_TEXT], span[32];

	buf_addf(b, "<tr role=row><th role=rowheader scope=row>");
	if (c->peer.kind != PEER_NONE) {
		buf_text(b, "<code>");
		add_html(b, peer_print(&c->peer, from));
		buf_text(b, "</code>");
	} else {
		buf_text(b, "–");
	}
	buf_text(b, "</th><td role=cell data-label=Service>");
	add_html(b, c->conf->id);
	buf_addf(b, "</td><td role=cell class=n data-label=Number>%llu</td>"
	    "<td role=cell class=n data-label=Process>%d</td>", (unsigned long long)c->number, (int)c->pid);
	buf_addf(b, "<td role=cell class=n data-label=Age>%s</td>", print_span((now - c->started) / 1000, span));
	buf_addf(b, "<td role=cell class=\"n%s\" data-label=Idle>%s</td>", n->traffic.idle >= 0 ? "" : " zero",
	    n->traffic.idle >= 0 ? print_span(n->traffic.idle / 1000, span) : "–");
	add_bytes(b, "In", n->known, n->traffic.in);
	add_bytes(b, "Out", n->known, n->traffic.out);
	buf_text(b, "</tr>\n");
}

static void
add_connections(struct buf *b, const struct status *s, const struct view *v)
{
	size_t most = v->nseen < SEEN_MOST ? v->nseen : SEEN_MOST;

	buf_text(b, "<section class=card aria-labelledby=conns><h2 id=conns>Connections <small>");
	add_number(b, v->nseen);
	buf_text(b, "</small></h2>");
	if (most == 0)
		buf_text(b, "<p class=more>Nobody is connected.</p>");
	else
		buf_text(b, "<table role=table class=conns aria-labelledby=conns><thead role=rowgroup><tr role=row>"
		    "<th role=columnheader scope=col>From<th role=columnheader scope=col>Service"
		    "<th role=columnheader scope=col class=n>Number<th role=columnheader scope=col class=n>Process"
		    "<th role=columnheader scope=col class=n>Age<th role=columnheader scope=col class=n>Idle"
		    "<th role=columnheader scope=col class=n>In<th role=columnheader scope=col class=n>Out"
		    "</tr></thead><tbody role=rowgroup>\n");
	for (size_t i = 0; i < most; i++)
		add_seen(b, &v->seen[i], loop_now(s->engine->loop));
	buf_text(b, most > 0 ? "</tbody></table>" : "");
	if (v->nseen > most) {
		buf_text(b, "<p class=more>and ");
		add_number(b, v->nseen - most);
		buf_text(b, " more: all are in <a href=\"/status.json\">status.json</a></p>");
	}
	buf_text(b, "</section>\n");
}

void
status_page(const struct status *s, struct buf *out)
{
	struct utsname name;
	struct view v;

	if (uname(&name) == -1)
		name.nodename[0] = '\0';
	if (!view_make(&v, s, NULL)) {
		out->failed = true;
		return;
	}
	add_head(out, s, name.nodename);
	add_top(out, s, &v, name.nodename);
	add_tiles(out, s, &v);
	page_chart(out, s->engine);
	add_services(out, s, &v);
	add_connections(out, s, &v);
	buf_text(out, "</main>\n<footer>");
	if (s->still)
		buf_text(out, "<span>Stands still · <a href=\"/\">load again by itself</a></span>");
	else
		buf_addf(out, "<span>Loads again every %d s · <a href=\"/?still\">stand still</a></span>", AGAIN);
	buf_text(out, "<a href=\"/status.json\">JSON</a><a href=\"/metrics\">Metrics</a></footer></body></html>\n");
	view_free(&v);
}

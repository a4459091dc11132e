#include "manage/escape.h"
#include "manage/view.h"
#include "serve/listener.h"

/* ,"key":N */
static void
add_member(struct buf *b, const char *key, uint64_t n)
{
	buf_text(b, ",\"");
	buf_text(b, key);
	buf_text(b, "\":");
	buf_number(b, n);
}

/* The same, or null where it is not known. */
static void
add_known(struct buf *b, const char *key, bool known, uint64_t n)
{
	if (known) {
		add_member(b, key, n);
		return;
	}
	buf_text(b, ",\"");
	buf_text(b, key);
	buf_text(b, "\":null");
}

/* ,"key":SECONDS; negative: not known */
static void
add_seconds(struct buf *b, const char *key, int64_t ms)
{
	char part[] = { '.', (char)('0' + ms / 100 % 10), (char)('0' + ms / 10 % 10), (char)('0' + ms % 10) };

	add_known(b, key, ms >= 0, (uint64_t)ms / 1000);
	if (ms >= 0)
		buf_add(b, part, sizeof part);
}

static void
add_server(struct buf *b, const struct status *s, const struct view *v)
{
	const struct engine *e = s->engine;

	buf_text(b, "{\"server\":{\"version\":");
	add_json(b, s->version);
	buf_text(b, ",\"state\":");
	add_json(b, s->phase);
	add_member(b, "pid", (uint64_t)s->pid);
	add_member(b, "started", (uint64_t)s->started);
	add_member(b, "uptime", v->now > s->started ? (uint64_t)(v->now - s->started) : 0);
	add_member(b, "reloads", s->reloads);
	add_member(b, "live", e->live);
	add_known(b, "limit", e->limit != UINT32_MAX, e->limit);
	add_member(b, "lingering", e->nlingering);
	buf_text(b, "}");
}

static void
add_listeners(struct buf *b, const struct unit *u)
{
	const char *comma = "";

	buf_text(b, ",\"listeners\":[");
	for (const struct listener *l = u != NULL ? u->listeners : NULL; l != NULL; l = l->next, comma = ",") {
		buf_text(b, comma);
		add_json(b, l->bound.name);
	}
	if (u != NULL && u->muxed != NULL) {
		struct buf name = { 0 };

		buf_addf(&name, "tcpmux:%s", u->conf->name);
		buf_add(&name, "", 1);
		buf_text(b, comma);
		add_json(b, name.failed ? "tcpmux:" : name.data);
		buf_free(&name);
	}
	buf_text(b, "]");
}

static void
add_refused(struct buf *b, const struct unit *u)
{
	const char *comma = "";

	buf_text(b, ",\"refused\":{");
	for (int r = 0; u != NULL && r < REASONS; r++) {
		if (u->refused[r] == 0)
			continue;
		buf_text(b, comma);
		add_json(b, reason_text((enum reason)r));
		buf_text(b, ":");
		buf_number(b, u->refused[r]);
		comma = ",";
	}
	buf_text(b, "}");
}

static void
add_row(struct buf *b, const struct row *r)
{
	const struct unit *u = r->unit;
	uint64_t in = 0, out = 0;
	bool known = u == NULL || unit_bytes(u, &in, &out);

	buf_text(b, "{\"id\":");
	add_json(b, r->id);
	buf_text(b, ",\"state\":");
	add_json(b, row_state_text(r->state));
	add_listeners(b, u);
	add_member(b, "live", u != NULL ? u->live : 0);
	add_known(b, "limit", u != NULL && u->conf->instances != UINT32_MAX, u != NULL ? u->conf->instances : 0);
	add_member(b, "started", u != NULL ? u->started : 0);
	add_refused(b, u);
	add_member(b, "failed", u != NULL ? u->failed : 0);
	add_known(b, "bytes_in", known, in);
	add_known(b, "bytes_out", known, out);
	buf_text(b, ",\"last_error\":");
	add_json(b, r->error);
	buf_text(b, "}");
}

static void
add_seen(struct buf *b, const struct seen *n, int64_t now)
{
	const struct conn *c = n->conn;
	char from[ADDR_TEXT];

	buf_text(b, "{\"conn\":");
	buf_number(b, c->number);
	buf_text(b, ",\"service\":");
	add_json(b, c->conf->id);
	add_member(b, "pid", (uint64_t)c->pid);
	buf_text(b, ",\"from\":");
	add_json(b, c->peer.kind != PEER_NONE ? peer_print(&c->peer, from) : NULL);
	add_known(b, "port", c->peer.kind == PEER_IP || c->peer.kind == PEER_VSOCK, c->peer.port);
	add_seconds(b, "age", now - c->started);
	add_seconds(b, "idle", n->traffic.idle);
	add_known(b, "bytes_in", n->known, n->traffic.in);
	add_known(b, "bytes_out", n->known, n->traffic.out);
	buf_text(b, "}");
}

bool
status_json(const struct status *s, const char *service, struct buf *out)
{
	struct view v;
	bool found;

	if (!view_make(&v, s, service)) {
		out->failed = true;
		return true;
	}
	add_server(out, s, &v);
	buf_text(out, ",\"services\":[");
	for (size_t i = 0; i < v.nrows; i++) {
		buf_text(out, i > 0 ? ",\n" : "\n");
		add_row(out, &v.row[i]);
	}
	buf_text(out, "],\n\"connections\":[");
	for (size_t i = 0; i < v.nseen; i++) {
		buf_text(out, i > 0 ? ",\n" : "\n");
		add_seen(out, &v.seen[i], loop_now(s->engine->loop));
	}
	buf_text(out, "]}\n");
	found = service == NULL || v.nrows > 0;
	view_free(&v);
	return found;
}

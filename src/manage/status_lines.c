#include <inttypes.h>
#include <string.h>

#include "manage/escape.h"
#include "manage/view.h"

/* What is not known is a -. */
static void
add_number(struct buf *b, bool known, uint64_t n)
{
	if (known)
		buf_addf(b, "\t%" PRIu64, n);
	else
		buf_addf(b, "\t-");
}

static void
add_word(struct buf *b, const char *word)
{
	buf_addf(b, "\t");
	add_plain(b, word);
}

static void
add_row(struct buf *b, const struct row *r, size_t n)
{
	const struct unit *u = r->unit;

	buf_addf(b, "service\t%" PRIu64, u != NULL ? u->number : UINT64_MAX - n);
	add_word(b, r->id);
	add_word(b, row_state_text(r->state));
	add_number(b, true, u != NULL ? u->live : 0);
	add_number(b, u != NULL && u->conf->instances != UINT32_MAX, u != NULL ? u->conf->instances : 0);
	add_number(b, true, u != NULL ? u->started : 0);
	add_number(b, true, u != NULL ? unit_refusals(u) : 0);
	add_number(b, true, u != NULL ? u->failed : 0);
	add_number(b, true, u != NULL ? u->bytes_in : 0);
	add_number(b, true, u != NULL ? u->bytes_out : 0);
	buf_addf(b, "\n");
}

static void
add_seen(struct buf *b, const struct seen *n, int64_t now)
{
	const struct conn *c = n->conn;
	char from[ADDR_TEXT];

	buf_addf(b, "connection\t%" PRIu64, c->number);
	add_word(b, c->conf->id);
	add_number(b, true, (uint64_t)c->pid);
	add_word(b, c->peer.kind != PEER_NONE ? peer_print(&c->peer, from) : "-");
	add_number(b, true, (uint64_t)(now - c->started) / 1000);
	add_number(b, n->traffic.idle >= 0, (uint64_t)(n->traffic.idle / 1000));
	add_number(b, n->known, n->traffic.in);
	add_number(b, n->known, n->traffic.out);
	buf_addf(b, "\n");
}

void
status_lines(const struct status *s, struct buf *out)
{
	struct view v;

	if (!view_make(&v, s, NULL)) {
		out->failed = true;
		return;
	}
	buf_addf(out, "server\t%s\t%" PRId64 "\n", s->phase, v.now - s->started);
	for (size_t i = 0; i < v.nrows; i++)
		add_row(out, &v.row[i], i);
	for (size_t i = 0; i < v.nseen; i++)
		add_seen(out, &v.seen[i], loop_now(s->engine->loop));
	view_free(&v);
}

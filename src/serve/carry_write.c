#include "serve/carry.h"

#include "serve/away.h"
#include "serve/carry_parts.h"
#include "serve/conn.h"
#include "serve/datagram.h"
#include "serve/handover.h"
#include "serve/header.h"

struct writer {
	struct buf *out, *fds;
};

static void
put_fd(const struct writer *w, const char *name, int fd)
{
	if (fd == -1)
		return;
	state_number(w->out, name, fd);
	buf_add(w->fds, &fd, sizeof fd);
}

static void
write_pace(const struct writer *w, const struct pace *p, int64_t since)
{
	bool begun = false;

	state_number(w->out, "resting", p->resting);
	for (unsigned i = 0; i < p->n; i++) {
		int64_t at = pace_start(p, i);

		if (at > 0 && at > since) {
			buf_addf(w->out, "%s%lld", begun ? "," : " starts=", (long long)at);
			begun = true;
		}
	}
}

static void
write_listener(const struct writer *w, const struct listener *l)
{
	state_begin(w->out, "listener");
	state_number(w->out, "unit", (int64_t)l->unit->number);
	put_fd(w, "fd", l->bound.fd);
	state_text(w->out, "name", l->bound.name);
	state_number(w->out, "from", (int64_t)l->from);
	state_number(w->out, "inherited", l->bound.inherited);
	state_number(w->out, "dev", (int64_t)l->bound.dev);
	state_number(w->out, "ino", (int64_t)l->bound.ino);
	if (l->pausing && l->said) {
		state_number(w->out, "said", 1);
		state_number(w->out, "why", l->why);
	}
	if (l->take == handover_take) {
		state_number(w->out, "unread", l->handover->unread);
		state_number(w->out, "ended", l->handover->ended);
		state_number(w->out, "ran", l->handover->ran);
	}
	if (l->take == datagram_take && l->outlet->kept != NULL) {
		state_bytes(w->out, "kept", l->outlet->kept, sizeof *l->outlet->kept);
		state_bytes(w->out, "bytes", l->outlet->kept->bytes, l->outlet->kept->len);
	}
	state_end(w->out);
}

/* Is it of another kind by now, while a command of the old one has its socket still? */
static bool
lags_behind(const struct unit *u)
{
	for (const struct listener *l = u->listeners; l != NULL; l = l->next)
		if (l->moved && l->take == handover_take)
			return true;
	return false;
}

static void
write_past(const struct writer *w, const struct past *p)
{
	if (p != NULL && p->counted) {
		state_number(w->out, "bytes_known", 1);
		state_number(w->out, "bytes_in", (int64_t)p->bytes_in);
		state_number(w->out, "bytes_out", (int64_t)p->bytes_out);
	}
	if (p != NULL && p->error != NULL) {
		state_text(w->out, "error", p->error->text);
		state_number(w->out, "error_at", p->error->at);
	}
}

static void
write_logs(const struct writer *w, const struct logs *l)
{
	static const char *const name[] = LOG_NAMES;

	for (size_t i = 0; i < l->n && i < LOGS_MOST; i++) {
		const struct log_to *to = &l->to[i];
		struct buf b = { 0 };

		buf_addf(&b, "%d %d %d %llu %llu %s", (int)to->kind, to->facility, to->level, (unsigned long long)to->soft,
		    (unsigned long long)to->hard, to->kind == LOG_FILE ? to->path : "");
		buf_add(&b, "", 1);
		state_text(w->out, name[i], b.failed ? NULL : b.data);
		buf_free(&b);
	}
}

static void
write_unit(const struct writer *w, const struct unit *u)
{
	const struct service *s = u->conf;
	bool lags = lags_behind(u);

	state_begin(w->out, "unit");
	state_number(w->out, "number", (int64_t)u->number);
	state_text(w->out, "id", s->id);
	state_text(w->out, "name", s->name);
	state_number(w->out, "retired", u->retired);
	state_number(w->out, "wait", s->wait || lags);
	state_number(w->out, "session", s->session);
	state_number(w->out, "internal", lags ? BUILTIN_NONE : s->internal);
	for (size_t i = 0; i < s->redirect.n && !lags; i++)
		state_text(w->out, i == 0 ? "redirect" : "redirect_port", s->redirect.word[i]);
	state_number(w->out, "linger", s->linger);
	state_number(w->out, "kill_after", s->kill_after);
	state_number(w->out, "idle_timeout", s->idle_timeout);
	state_number(w->out, "hangup", s->hangup);
	state_number(w->out, "on_success", s->on_success);
	state_number(w->out, "on_failure", s->on_failure);
	state_number(w->out, "json", s->json);
	state_text(w->out, "log_tag", s->log_tag);
	state_number(w->out, "lookup", s->lookup);
	write_logs(w, &s->log);
	state_number(w->out, "started", (int64_t)u->started);
	state_number(w->out, "failed", (int64_t)u->failed);
	for (enum reason r = 0; r < REASONS; r++)
		state_number(w->out, reason_text(r), (int64_t)u->refused[r]);
	write_past(w, u->past);
	write_pace(w, &u->pace, loop_now(u->engine->loop) - s->cps.per);
	state_end(w->out);
	for (const struct listener *l = u->listeners; l != NULL; l = l->next)
		write_listener(w, l);
}

static void
write_dialog(const struct writer *w, const struct dialog *d)
{
	put_fd(w, "outlet", d->outlet->fd);
	put_fd(w, "child_in", d->in);
	put_fd(w, "child_out", d->out);
	state_bytes(w->out, "who", &d->who, sizeof d->who);
	state_bytes(w->out, "asked_at", &d->local, sizeof d->local);
	state_number(w->out, "listed", d->listed);
	state_number(w->out, "moved", d->moved);
	state_number(w->out, "dialog_in", (int64_t)d->bytes_in);
	state_number(w->out, "dialog_out", (int64_t)d->bytes_out);
}

static void
write_conn(const struct writer *w, const struct conn *c)
{
	const char *bytes;
	size_t n;

	state_begin(w->out, "conn");
	state_number(w->out, "unit", (int64_t)c->unit->number);
	state_number(w->out, "state", c->state);
	state_number(w->out, "number", (int64_t)c->number);
	state_bytes(w->out, "peer", &c->peer, sizeof c->peer);
	put_fd(w, "fd", c->fd);
	state_number(w->out, "pid", c->pid);
	put_fd(w, "pidfd", c->pidfd);
	put_fd(w, "tell", c->tell);
	state_number(w->out, "at", c->started);
	state_number(w->out, "deadline", c->deadline);
	state_number(w->out, "idle_at", c->idle_at);
	state_number(w->out, "interval", c->interval);
	state_number(w->out, "untaken", c->untaken);
	state_number(w->out, "bytes_in", (int64_t)c->bytes_in);
	state_number(w->out, "bytes_out", (int64_t)c->bytes_out);
	state_number(w->out, "told", c->told);
	state_number(w->out, "refused", c->refused);
	state_number(w->out, "asked", c->asked);
	state_number(w->out, "end_seen", c->end_seen);
	state_number(w->out, "taken", c->taken);
	state_number(w->out, "shut", c->shut);
	state_number(w->out, "bytes_known", c->counted);
	state_number(w->out, "errlog", c->errlog != NULL);
	if (c->handed != NULL)
		state_number(w->out, "handed", c->handed->bound.fd);
	if (c->dialog != NULL)
		write_dialog(w, c->dialog);
	if (c->state == CONN_HEADER) {
		n = header_carry(c, &bytes);
		state_bytes(w->out, "header", bytes, n);
	}
	state_end(w->out);
}

static void
write_errlogs(const struct writer *w, const struct engine *e)
{
	const struct errlog *l = NULL;
	struct carried_errlog x;

	while ((l = errlog_next(e, l, &x)) != NULL) {
		if (x.fd == -1)
			continue;
		state_begin(w->out, "errlog");
		state_number(w->out, "unit", (int64_t)x.unit->number);
		put_fd(w, "fd", x.fd);
		state_number(w->out, "pid", x.pid);
		state_number(w->out, "conn", (int64_t)x.conn);
		state_number(w->out, "cut", x.cut);
		state_bytes(w->out, "line", x.line, x.len);
		state_end(w->out);
	}
}

static void
write_all(const struct conn *c, void *arg)
{
	write_conn(arg, c);
}

static void
write_source(const struct carried_source *c, void *arg)
{
	const struct writer *w = arg;

	state_begin(w->out, "source");
	state_number(w->out, "unit", (int64_t)c->service);
	state_bytes(w->out, "ip", &c->ip, sizeof c->ip);
	state_number(w->out, "id", c->id);
	state_number(w->out, "kind", c->kind);
	state_number(w->out, "full", c->bucket.full);
	state_number(w->out, "each", c->bucket.each);
	state_end(w->out);
}

void
carry_write(const struct engine *e, struct buf *out, struct buf *fds)
{
	struct writer w = { out, fds };
	struct carried_worker had;
	const struct ban *ban = NULL;
	struct ip ip;
	int64_t until;

	carry_form(e, out);
	while (ban_next(&e->bans, &ban, &ip, &until)) {
		state_begin(out, "ban");
		state_bytes(out, "ip", &ip, sizeof ip);
		state_number(out, "until", until);
		state_end(out);
	}
	for (const struct unit *u = e->units; u != NULL; u = u->next)
		write_unit(&w, u);
	for (const struct unit *u = e->gone; u != NULL; u = u->next)
		write_unit(&w, u);
	sources_each(&e->sources, loop_now(e->loop), write_source, &w);
	for (size_t i = 0; away_carry(e, i, &had); i++) {
		state_begin(out, "worker");
		state_number(out, "pid", had.pid);
		put_fd(&w, "channel", had.channel);
		state_end(out);
	}
	write_errlogs(&w, e);
	conn_each(e, write_all, &w);
}

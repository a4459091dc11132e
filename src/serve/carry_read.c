#include "serve/carry.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "serve/away.h"
#include "serve/carry_parts.h"
#include "serve/conn.h"
#include "serve/datagram.h"
#include "serve/handover.h"
#include "serve/header.h"

struct kept_unit {
	uint64_t number;	/* that it had */
	struct unit *unit;
	int64_t resting, *start;	/* owned */
	size_t nstarts;
};

struct kept_conn {
	struct conn *conn;
	uint64_t number;	/* it may be gone, and be another one */
	enum state state;
	char *header;		/* owned: hex */
};

struct kept_errlog { uint64_t conn; struct errlog *log; };

struct carry {
	struct engine *engine;
	struct kept_unit *unit;		/* owned */
	struct kept_conn *conn;		/* owned */
	struct kept_errlog *errlog;	/* owned */
	struct outlet **outlet;		/* owned: those whose listeners are gone */
	size_t nunits, nconns, nerrlogs, noutlets;
	bool sorted;			/* the units, by number */
};

struct carry *
carry_new(struct engine *e)
{
	struct carry *k = calloc(1, sizeof *k);

	if (k != NULL)
		k->engine = e;
	return k;
}

/* Room for one more; NULL: no memory. */
static void *
more(void **list, size_t n, size_t size)
{
	void *p = (n & (n - 1)) == 0 ? realloc(*list, (n == 0 ? 1 : n * 2) * size) : *list;

	if (p == NULL)
		return NULL;
	*list = p;
	memset((char *)p + n * size, 0, size);
	return (char *)p + n * size;
}

static int
by_number(const void *a, const void *b)
{
	const struct kept_unit *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

static struct kept_unit *
find_unit(struct carry *k, const struct fact *r)
{
	const struct kept_unit key = { .number = (uint64_t)state_get(r, "unit", 0) };

	/* The last one, if it is its listener: they follow it. */
	if (k->nunits == 0 || k->unit[k->nunits - 1].number == key.number)
		return k->nunits > 0 ? &k->unit[k->nunits - 1] : NULL;
	if (!k->sorted)
		qsort(k->unit, k->nunits, sizeof *k->unit, by_number);
	k->sorted = true;
	return bsearch(&key, k->unit, k->nunits, sizeof *k->unit, by_number);
}

/* A descriptor that the predecessor left open; -1: there is none. */
static int
get_fd(const struct fact *r, const char *name)
{
	int64_t fd = state_get(r, name, -1);

	return fd > 2 && fd < INT_MAX && fd_is_open((int)fd) ? (int)fd : -1;
}

/* Of a record that cannot be taken: an open end that nobody has would be one that never ends, or is in the way. */
static void
let_go(const struct fact *r)
{
	static const char *const name[] = { "fd", "pidfd", "tell", "child_in", "child_out", "channel" };

	for (size_t i = 0; i < sizeof name / sizeof name[0]; i++)
		if (get_fd(r, name[i]) != -1)
			(void)close(get_fd(r, name[i]));
}

/* A place as write_logs wrote it; its path is borrowed. False: it is none. */
static bool
read_log(const char *s, struct log_to *to)
{
	long long v[5];
	char *end;

	for (int i = 0; i < 5; i++, s = end) {
		v[i] = strtoll(s, &end, 10);
		if (end == s)
			return false;
	}
	s += *s == ' ';
	if (v[0] < LOG_MASTER || v[0] > LOG_STDERR || (v[0] == LOG_FILE && *s != '/'))
		return false;
	memset(to, 0, sizeof *to);
	to->kind = (enum log_kind)v[0];
	to->facility = (int16_t)v[1];
	to->level = (int16_t)v[2];
	to->soft = (uint64_t)v[3];
	to->hard = (uint64_t)v[4];
	to->path = to->kind == LOG_FILE ? (char *)(uintptr_t)s : NULL;
	return true;
}

/* False: no memory. */
static bool
read_logs(struct logs *l, const struct fact *r)
{
	static const char *const name[] = LOG_NAMES;
	struct log_to to;

	for (size_t i = 0; i < LOGS_MOST; i++) {
		const char *s = state_get_text(r, name[i]);
		struct log_to *p;

		if (s == NULL || !read_log(s, &to))
			continue;
		p = realloc(l->to, (l->n + 1) * sizeof *p);
		if (p == NULL)
			return false;
		l->to = p;
		if (to.path != NULL && (to.path = strdup(to.path)) == NULL)
			return false;
		l->to[l->n++] = to;
	}
	return true;
}

/* What those who are connected need to know of their service. */
static struct service *
make_service(const struct fact *r)
{
	struct service *s = service_new();
	const char *id = state_get_text(r, "id"), *name = state_get_text(r, "name"), *tag = state_get_text(r, "log_tag");
	const char *to = state_get_text(r, "redirect"), *port = state_get_text(r, "redirect_port");

	if (s == NULL)
		return NULL;
	s->table = true;
	s->name = strdup(name != NULL ? name : id != NULL ? id : "?");
	s->id = strdup(id != NULL ? id : "?");
	s->log_tag = tag != NULL ? strdup(tag) : NULL;
	s->wait = state_get(r, "wait", 0) != 0;
	s->session = state_get(r, "session", 0) != 0;
	s->internal = (enum builtin)state_get(r, "internal", BUILTIN_NONE);
	s->linger = state_get(r, "linger", 0);
	s->kill_after = state_get(r, "kill_after", 0);
	s->idle_timeout = state_get(r, "idle_timeout", 0);
	s->hangup = (enum hangup)state_get(r, "hangup", 0);
	s->on_success = (unsigned)state_get(r, "on_success", 0);
	s->on_failure = (unsigned)state_get(r, "on_failure", 0);
	s->json = (unsigned)state_get(r, "json", 0);
	s->lookup = state_get(r, "lookup", 0) != 0;
	if (s->name == NULL || s->id == NULL || (tag != NULL && s->log_tag == NULL) ||
	    !read_logs(&s->log, r) ||
	    (to != NULL && words_add(&s->redirect, to) == -1) || (port != NULL && words_add(&s->redirect, port) == -1)) {
		service_free(s);
		return NULL;
	}
	return s;
}

static void
read_past(struct unit *u, const struct fact *r)
{
	struct past *p = state_get(r, "bytes_known", 0) != 0 ? unit_past(u) : NULL;

	if (p != NULL)
		*p = (struct past){ .bytes_in = (uint64_t)state_get(r, "bytes_in", 0), .bytes_out = (uint64_t)state_get(r, "bytes_out", 0),
			.counted = true };
	if (state_get_text(r, "error") != NULL)
		unit_failed_at(u, state_get_text(r, "error"), state_get(r, "error_at", 0));
}

static int
read_unit(struct carry *k, const struct fact *r)
{
	struct kept_unit *x = more((void **)&k->unit, k->nunits, sizeof *x);
	struct service *s = make_service(r);
	const char *starts = state_get_text(r, "starts");
	struct unit *u = s != NULL && x != NULL ? unit_new(k->engine, s, NULL) : NULL;

	service_free(s);
	if (u == NULL)
		return -1;
	x->number = (uint64_t)state_get(r, "number", 0);
	x->unit = u;
	x->resting = state_get(r, "resting", 0);
	x->start = starts != NULL ? malloc((strlen(starts) / 2 + 1) * sizeof *x->start) : NULL;
	for (char *p = (char *)(uintptr_t)starts, *next; x->start != NULL && *p != '\0'; p = next + (*next == ',')) {
		x->start[x->nstarts++] = strtoll(p, &next, 10);
		if (next == p || (*next != ',' && *next != '\0'))
			break;
	}
	k->nunits++;
	k->sorted = false;
	u->started = (uint64_t)state_get(r, "started", 0);
	u->failed = (uint64_t)state_get(r, "failed", 0);
	for (enum reason why = 0; why < REASONS; why++)
		u->refused[why] = (uint64_t)state_get(r, reason_text(why), 0);
	read_past(u, r);
	if (state_get(r, "retired", 0) != 0)
		unit_retire(u);
	return 0;
}

/* A datagram that waits for descriptors. */
static void
read_kept(struct outlet *o, const struct fact *r)
{
	struct inbound in;

	if (!state_get_bytes(r, "kept", &in, sizeof in) || in.len > DATAGRAM_MOST)
		return;
	in.bytes = malloc(in.len + 1);
	if (in.bytes != NULL && (in.len == 0 || state_get_bytes(r, "bytes", in.bytes, in.len)))
		(void)datagram_keep(o, &in);
	free(in.bytes);
}

static int
read_listener(struct carry *k, const struct fact *r, struct err *err)
{
	const struct kept_unit *u = find_unit(k, r);
	const char *name = state_get_text(r, "name");
	int fd = get_fd(r, "fd");
	struct listener *l;
	struct bound b;

	if (u == NULL || name == NULL || fd == -1) {
		let_go(r);
		return err_set(err, "%s: %s", name != NULL ? name : "a listener", fd == -1 ? "its descriptor is not there" :
		    "its service is not there");
	}
	if (sock_resume(fd, name, state_get(r, "inherited", 0) != 0,
	    (dev_t)state_get(r, "dev", 0), (ino_t)state_get(r, "ino", 0), &b, err) == -1) {
		let_go(r);
		return -1;
	}
	l = listener_restore(u->unit, &b);
	if (l == NULL) {
		(void)err_sys(err, errno, "%s: cannot listen", name);
		b.ino = 0;	/* its path may be somebody's by now */
		sock_close(&b);
		return -1;
	}
	l->from = (uint64_t)state_get(r, "from", 0);
	l->said = state_get(r, "said", 0) != 0;
	l->why = (enum reason)state_get(r, "why", 0) < REASONS ? (enum reason)state_get(r, "why", 0) : REASON_FORK;
	if (l->take == handover_take) {
		l->handover->unread = (unsigned)state_get(r, "unread", 0);
		l->handover->ended = state_get(r, "ended", 0) != 0;
		l->handover->ran = state_get(r, "ran", 0);
	}
	if (l->take == datagram_take)
		read_kept(l->outlet, r);
	return 0;
}

static int
read_errlog(struct carry *k, const struct fact *r)
{
	const struct kept_unit *u = find_unit(k, r);
	const char *hex = state_get_text(r, "line");
	struct carried_errlog had = { .fd = get_fd(r, "fd"), .pid = (pid_t)state_get(r, "pid", 0),
		.conn = (uint64_t)state_get(r, "conn", 0), .cut = state_get(r, "cut", 0) != 0 };
	struct kept_errlog *x = more((void **)&k->errlog, k->nerrlogs, sizeof *x);
	char line[4096];

	had.len = hex != NULL ? strlen(hex) / 2 : 0;
	if (had.len > sizeof line || !state_get_bytes(r, "line", line, had.len))
		had.len = 0;
	had.line = line;
	if (x == NULL || u == NULL || had.fd == -1) {
		let_go(r);
		errno = ENOMEM;
		return x == NULL ? -1 : 0;
	}
	*x = (struct kept_errlog){ had.conn, errlog_resume(u->unit, &had) };
	if (x->log == NULL)
		return -1;
	k->nerrlogs++;
	return 0;
}

/* The outlet with that descriptor: a listener's, or one whose listener is gone. */
static struct outlet *
find_outlet(struct carry *k, int fd)
{
	struct outlet **more_of;
	struct bound b = { .fd = fd };
	struct err err;

	for (struct unit *u = k->engine->units; u != NULL; u = u->next)
		for (struct listener *l = u->listeners; l != NULL; l = l->next)
			if (l->type == SOCK_DGRAM && l->take == datagram_take && l->outlet->fd == fd)
				return l->outlet;
	for (size_t i = 0; i < k->noutlets; i++)
		if (k->outlet[i]->fd == fd)
			return k->outlet[i];
	more_of = more((void **)&k->outlet, k->noutlets, sizeof(struct outlet *));
	if (more_of == NULL || sock_resume(fd, "", false, 0, 0, &b, &err) == -1)
		return NULL;
	*more_of = outlet_new(&b);
	free(b.name);
	free(b.addr);
	if (*more_of == NULL)
		return NULL;
	(*more_of)->fd = fd;
	k->noutlets++;
	return *more_of;
}

/* What another process wrote as it stood in its memory is taken only if it can be that. */
static bool
is_bool(const bool *b)
{
	unsigned char byte;

	memcpy(&byte, b, 1);
	return byte <= 1;
}

static bool
is_peer(const struct peer *p)
{
	return p->kind <= PEER_NONE && is_bool(&p->by_unix);
}

static bool
is_addr(const struct addr *a)
{
	return a->len <= sizeof a->un;
}

static int
read_dialog(struct carry *k, struct conn *c, const struct fact *r)
{
	struct inbound who;
	struct addr local;
	struct outlet *o;

	if (!state_get_bytes(r, "who", &who, sizeof who) || !state_get_bytes(r, "asked_at", &local, sizeof local) ||
	    !is_addr(&who.from) || !is_addr(&local) || !is_peer(&who.peer) || !is_bool(&who.told) || !is_bool(&who.cut))
		return 0;
	o = get_fd(r, "outlet") != -1 ? find_outlet(k, get_fd(r, "outlet")) : NULL;
	if (o == NULL || dialog_resume(c, o, &who, &local, state_get(r, "listed", 0) != 0) == -1)
		return -1;
	c->dialog->in = get_fd(r, "child_in");
	c->dialog->out = get_fd(r, "child_out");
	c->dialog->moved = state_get(r, "moved", c->dialog->moved);
	c->dialog->bytes_in = (uint64_t)state_get(r, "dialog_in", 0);
	c->dialog->bytes_out = (uint64_t)state_get(r, "dialog_out", 0);
	return 0;
}

/* wait = yes: the command has the listener's socket. */
static void
hand_over(struct carry *k, struct conn *c, int fd)
{
	for (struct unit *u = k->engine->units; u != NULL; u = u->next)
		for (struct listener *l = u->listeners; l != NULL; l = l->next)
			if (l->bound.fd == fd && l->take == handover_take) {
				c->handed = l;
				l->handover->child = c;
				loop_unwatch(k->engine->loop, l->watch);
				l->watch = 0;
				l->pausing = true;
				l->handover->arrivals = 1;	/* it is not known how many: it counts for neither */
			}
}

static void
set_conn(struct conn *c, const struct fact *r)
{
	c->number = (uint64_t)state_get(r, "number", 0);
	c->pid = (pid_t)state_get(r, "pid", 0);
	c->pidfd = get_fd(r, "pidfd");
	c->tell = get_fd(r, "tell");
	c->started = state_get(r, "at", c->started);
	c->deadline = state_get(r, "deadline", 0);
	c->idle_at = state_get(r, "idle_at", 0);
	c->interval = (uint32_t)state_get(r, "interval", 0);
	c->untaken = (uint32_t)state_get(r, "untaken", 0);
	c->bytes_in = (uint64_t)state_get(r, "bytes_in", 0);
	c->bytes_out = (uint64_t)state_get(r, "bytes_out", 0);
	c->told = state_get(r, "told", 0) != 0;
	c->refused = state_get(r, "refused", 0) != 0;
	c->asked = state_get(r, "asked", 0) != 0;
	c->end_seen = state_get(r, "end_seen", 0) != 0;
	c->taken = state_get(r, "taken", 0) != 0;
	c->shut = state_get(r, "shut", 0) != 0;
	c->counted = state_get(r, "bytes_known", 0) != 0;
}

static int
read_conn(struct carry *k, const struct fact *r)
{
	struct kept_conn *x = more((void **)&k->conn, k->nconns, sizeof *x);
	const struct kept_unit *u = find_unit(k, r);
	int64_t state = state_get(r, "state", 0);
	const char *header = state_get_text(r, "header");
	struct peer peer;
	uint64_t next = k->engine->next_conn;

	if (x == NULL || !conn_room(k->engine)) {
		let_go(r);
		errno = ENOMEM;
		return -1;
	}
	if (u == NULL || !state_get_bytes(r, "peer", &peer, sizeof peer) || !is_peer(&peer)) {
		let_go(r);	/* that its service is lost was said */
		return 0;
	}
	x->conn = conn_new(u->unit, get_fd(r, "fd"), &peer, NULL);
	k->engine->next_conn = next;
	set_conn(x->conn, r);
	x->number = x->conn->number;
	x->state = state > 0 && state <= CONN_LINGERING ? (enum state)state : CONN_FREE;
	/* No pid, no child; and a signal to it would be one to many. */
	if ((x->state == CONN_RUNNING || x->state == CONN_GROUP) && x->conn->pid <= 1)
		x->state = CONN_FREE;
	x->header = header != NULL ? strdup(header) : NULL;
	k->nconns++;
	if (state_get(r, "handed", -1) != -1)
		hand_over(k, x->conn, (int)state_get(r, "handed", -1));
	for (size_t i = 0; state_get(r, "errlog", 0) != 0 && i < k->nerrlogs; i++)
		if (k->errlog[i].conn == x->number) {
			x->conn->errlog = k->errlog[i].log;
			k->errlog[i].log = NULL;
			k->errlog[i].conn = 0;
		}
	return state_get_text(r, "outlet") != NULL ? read_dialog(k, x->conn, r) : 0;
}

static int
read_engine(struct carry *k, const struct fact *r, struct err *err)
{
	k->engine->next_conn = (uint64_t)state_get(r, "next_conn", 0);
	k->engine->burials = (unsigned)state_get(r, "burials", 0);
	return carry_look(r, err);
}

static void
read_source(struct carry *k, const struct fact *r)
{
	const struct kept_unit *u = find_unit(k, r);
	struct carried_source c = { .id = (uint32_t)state_get(r, "id", 0), .kind = (uint32_t)state_get(r, "kind", 0),
		.bucket = { state_get(r, "full", 0), state_get(r, "each", 0) } };

	if (u == NULL)
		return;
	c.service = u->unit->number;
	(void)state_get_bytes(r, "ip", &c.ip, sizeof c.ip);
	source_resume(&k->engine->sources, &c);
}

int
carry_read(struct carry *k, const struct fact *r, struct err *err)
{
	struct engine *e = k->engine;
	struct carried_worker had;
	struct ip ip;
	int rc = 0;

	if (strcmp(r->kind, "engine") == 0)
		return read_engine(k, r, err);
	if (strcmp(r->kind, "listener") == 0)
		return read_listener(k, r, err);
	if (strcmp(r->kind, "unit") == 0) {
		rc = read_unit(k, r);
	} else if (strcmp(r->kind, "errlog") == 0) {
		rc = read_errlog(k, r);
	} else if (strcmp(r->kind, "conn") == 0) {
		rc = read_conn(k, r);
	} else if (strcmp(r->kind, "worker") == 0) {
		had = (struct carried_worker){ (pid_t)state_get(r, "pid", 0), get_fd(r, "channel") };
		rc = had.pid > 1 && had.channel != -1 ? away_resume(e, &had) : 0;
		if (rc == -1)
			let_go(r);
	} else if (strcmp(r->kind, "source") == 0) {
		read_source(k, r);
	} else if (strcmp(r->kind, "ban") == 0 && state_get_bytes(r, "ip", &ip, sizeof ip)) {
		int64_t until = state_get(r, "until", 0);

		ban_add(&e->bans, &ip, loop_now(e->loop), until == INT64_MAX ? INT64_MAX : until - loop_now(e->loop));
	}
	return rc == 0 ? 0 : err_sys(err, errno, "a %s", r->kind);
}

/*
 * One that is not with its command yet, or that waits for what a name is worth, goes by what the table says
 * now. False: that says nothing of its service any more.
 */
static bool
take_new_conf(struct conn *c)
{
	if (c->unit->retired)
		return false;
	service_free(c->conf);
	c->conf = service_hold(c->unit->conf);
	return true;
}

/* Can a process be started for it, as its service is now? */
static bool
runs_command(const struct conn *c)
{
	return !c->conf->wait && !away_serves(c->conf) &&
	    (c->dialog == NULL || (c->conf->internal == BUILTIN_NONE && c->conf->redirect.n == 0 && c->dialog->out != -1));
}

/* The end of one whose command will never run. */
static void
give_up(struct conn *c)
{
	if (c->fd != -1 && c->dialog == NULL)
		conn_finish(c);
	else
		conn_free(c);
}

/* It goes on as it was. What cannot ends. */
static void
resume(struct carry *k, struct kept_conn *x)
{
	struct conn *c = x->conn;
	struct engine *e = k->engine;

	conn_count(c, x->state);
	switch (x->state) {
	case CONN_RUNNING:
		if (c->tell != -1)
			(void)take_new_conf(c);
		conn_resume(c, x->state);
		break;
	case CONN_GROUP:
		conn_resume(c, x->state);
		break;
	case CONN_LINGERING:
		if (c->fd != -1)
			conn_resume(c, x->state);
		else
			conn_free(c);
		break;
	case CONN_WAITING:
		if (c->fd == -1 || !take_new_conf(c) || !runs_command(c)) {
			give_up(c);
			break;
		}
		conn_enter(c, CONN_WAITING);
		loop_timer(e->loop, &e->retry, loop_now(e->loop));
		break;
	case CONN_AWAY:
		if (!away_resume_conn(c))
			conn_free(c);
		break;
	case CONN_HEADER:
		if (c->fd == -1 || !take_new_conf(c) || !header_resume(c, x->header))
			give_up(c);
		break;
	case CONN_FREE:
		conn_free(c);
		break;
	}
}

void
carry_finish(struct carry *k)
{
	for (size_t i = 0; i < k->nunits; i++) {
		struct kept_unit *x = &k->unit[i];

		for (size_t n = 0; n < x->nstarts; n++)
			pace_count(&x->unit->pace, x->start[n]);
		if (x->unit->pace.n > 0)
			x->unit->pace.resting = x->resting;
		free(x->start);
	}
	for (size_t i = 0; i < k->nconns; i++) {
		resume(k, &k->conn[i]);
		free(k->conn[i].header);
	}
	away_resumed(k->engine);
	/* Those of commands whose connection is gone write on. */
	for (size_t i = 0; i < k->nerrlogs; i++)
		if (k->errlog[i].log != NULL)
			errlog_leave(k->errlog[i].log);
	for (size_t i = 0; i < k->noutlets; i++)
		outlet_leave(k->outlet[i], k->engine);
	free(k->unit);
	free(k->conn);
	free(k->errlog);
	free(k->outlet);
	free(k);
}

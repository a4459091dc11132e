#include "manage/rpc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/rpcb.h"
#include "serve/listener.h"

enum {
	AGAIN_LEAST = 1000, AGAIN_MOST = 60000,	/* ms */
	LONGEST = 60,		/* s: for all that is registered */
};

enum { NETIDS = 4 };
static const char *const netids[NETIDS] = { "tcp", "udp", "tcp6", "udp6" };

struct program {		/* of one listener */
	uint32_t number;
	unsigned long from, to;	/* versions */
	unsigned on;		/* bit n: netid n */
};

struct rpc {
	struct engine *engine;
	int answer;		/* of the process that registers; -1: none is at it */
	uint32_t watch;
	struct timer again;
	int64_t delay;
	bool more;		/* what is to be registered has changed since it began */
	struct program *had;	/* owned: what is registered, or may be */
	size_t nhad;
	bool told;		/* that it does not work */
};

struct task {			/* of the process */
	const struct rpc *rpc;
	bool set;
	char done[1 + sizeof(struct err)];	/* its answer then: a NUL, and what could not be registered here */
};

static bool
is_rpc(const struct unit *u)
{
	return (u->conf->type & TYPE_RPC) != 0 && u->listeners != NULL;
}

/* What is registered for a listener, under each name that rpcbind knows for it. */
static struct program
program_of(const struct unit *u, const struct listener *l)
{
	bool six = l->bound.addr->sa.sa_family == AF_INET6;
	bool four = strncmp(l->bound.name + 3, "6:", 2) != 0;	/* "tcp:*:PORT" is both families */
	uint32_t scope, port;
	struct ip ip;

	return (struct program){ .number = u->conf->rpc_number, .from = u->conf->rpc_version.from,
		.to = u->conf->rpc_version.to, .on = !addr_ip(l->bound.addr, &ip, &scope, &port) ? 0 :
		((unsigned)four | (unsigned)six << 2) << (l->type == SOCK_DGRAM) };
}

static void
note_left(struct task *t, const char *id, const char *name)
{
	size_t n = 1 + strlen(t->done + 1);

	(void)snprintf(t->done + n, sizeof t->done - n, "%s%s (%s)", n > 1 ? ", " :
	    "not registered, as portmap's protocol, which alone is there, knows no IPv6: ", id, name);
}

/* -1: err; its system is 0 if rpcbind says no. */
static int
register_one(struct task *t, const struct unit *u, const struct listener *l, struct err *err)
{
	const struct program p = program_of(u, l);
	struct rpcb_entry e = { .program = p.number };
	int r;

	for (unsigned long v = p.from; v <= p.to; v++) {
		for (unsigned i = 0; i < NETIDS; i++) {
			if ((p.on & 1U << i) == 0)
				continue;
			e.version = (uint32_t)v;
			e.netid = netids[i];
			memcpy(&e.at, l->bound.addr, offsetof(struct addr, sa) + l->bound.addr->len);
			if (i < 2 && l->bound.addr->sa.sa_family == AF_INET6) {
				e.at = (struct addr){ .len = sizeof e.at.in, .in = { .sin_family = AF_INET } };
				e.at.in.sin_port = l->bound.addr->in6.sin6_port;
			}
			r = rpcb_call(&e, true, err);
			if (r == -1)
				return -1;
			if (r == 1 && (p.on & 3) == 0 && v == p.from)
				note_left(t, u->conf->id, l->bound.name);
		}
	}
	return 0;
}

static int
register_all(struct task *t, struct err *err)
{
	for (const struct unit *u = t->rpc->engine->units; u != NULL; u = u->next)
		for (const struct listener *l = is_rpc(u) ? u->listeners : NULL; l != NULL; l = l->next)
			if (register_one(t, u, l, err) == -1)
				return -1;
	return 0;
}

static int
forget_one(uint32_t number, unsigned long version, const char *netid, struct err *err)
{
	const struct rpcb_entry e = { .program = number, .version = (uint32_t)version, .netid = netid };

	/* That there was none is said as a refusal. */
	return rpcb_call(&e, false, err) == -1 && err->system != 0 ? -1 : 0;
}

static int
forget(uint32_t number, unsigned long from, unsigned long to, struct err *err)
{
	for (unsigned long v = from; v <= to; v++)
		if (forget_one(number, v, "", err) == -1)
			return -1;
	return 0;
}

static bool
is_wanted(const struct engine *e, uint32_t number, unsigned long version, unsigned netid)
{
	for (const struct unit *u = e->units; u != NULL; u = u->next) {
		for (const struct listener *l = is_rpc(u) ? u->listeners : NULL; l != NULL; l = l->next) {
			const struct program p = program_of(u, l);

			if (p.number == number && p.from <= version && version <= p.to && (p.on & 1U << netid) != 0)
				return true;
		}
	}
	return false;
}

/* What was registered and is not to be any more. */
static int
forget_gone(const struct rpc *r, struct err *err)
{
	for (size_t i = 0; i < r->nhad; i++) {
		const struct program *p = &r->had[i];

		for (unsigned long v = p->from; v <= p->to; v++)
			for (unsigned k = 0; k < NETIDS; k++)
				if ((p->on & 1U << k) != 0 && !is_wanted(r->engine, p->number, v, k) &&
				    forget_one(p->number, v, netids[k], err) == -1)
					return -1;
	}
	return 0;
}

/*
 * At a reload nobody is to miss what stays: rpcbind agrees to what it has already. Else first every
 * version is forgotten, of what was registered before and, if a server that was killed has left it,
 * of what is to be; then all are set.
 */
static int
work(struct task *t, struct err *err)
{
	const struct rpc *r = t->rpc;

	if (t->set && r->nhad > 0) {
		if (forget_gone(r, err) == -1)
			return -1;
		if (register_all(t, err) == 0)
			return 0;
		if (err->system != 0)
			return -1;
	}
	for (size_t i = 0; i < r->nhad; i++)
		if (forget(r->had[i].number, r->had[i].from, r->had[i].to, err) == -1)
			return -1;
	for (const struct unit *u = t->set ? r->engine->units : NULL; u != NULL; u = u->next)
		if (is_rpc(u) && forget(u->conf->rpc_number, u->conf->rpc_version.from, u->conf->rpc_version.to, err) == -1)
			return -1;
	return t->set ? register_all(t, err) : 0;
}

static void
run(int answer, void *arg)
{
	struct task *t = arg;
	struct err err;

	(void)setsid();		/* the master takes who ends in its own group for a burial */
	(void)alarm(LONGEST);
	if (work(t, &err) == 0)
		(void)!write(answer, t->done, 1 + strlen(t->done + 1));
	else
		(void)!write(answer, err.text, strlen(err.text) + 1);
}

/*
 * What is registered from now on, or may be. `too`: beside what was before, until rpcbind has said
 * that it is forgotten. -1: no memory.
 */
static int
note_programs(struct rpc *r, bool too)
{
	struct program *list;
	size_t n = too ? r->nhad : 0;

	for (const struct unit *u = r->engine->units; u != NULL; u = u->next)
		for (const struct listener *l = is_rpc(u) ? u->listeners : NULL; l != NULL; l = l->next)
			n++;
	list = calloc(n + 1, sizeof *list);
	if (list == NULL)
		return -1;
	n = 0;
	for (size_t i = 0; too && i < r->nhad; i++)
		list[n++] = r->had[i];
	for (const struct unit *u = r->engine->units; u != NULL; u = u->next) {
		for (const struct listener *l = is_rpc(u) ? u->listeners : NULL; l != NULL; l = l->next) {
			const struct program p = program_of(u, l);
			size_t i = 0;

			while (i < n && (list[i].number != p.number || list[i].from != p.from || list[i].to != p.to ||
			    list[i].on != p.on))
				i++;
			if (i == n)
				list[n++] = p;
		}
	}
	free(r->had);
	r->had = list;
	r->nhad = n;
	return 0;
}

static void
answered(void *arg, uint32_t events)
{
	struct rpc *r = arg;
	struct loop *l = r->engine->loop;
	char text[sizeof(struct err) + 1] = "registering takes too long";
	ssize_t n = read(r->answer, text, sizeof text - 1);

	(void)events;
	if (n == -1 && errno == EAGAIN)
		return;
	loop_close(l, r->watch, r->answer);
	r->watch = 0;
	r->answer = -1;
	text[n > 0 ? (size_t)n : sizeof text - 1] = '\0';
	if (n > 0 && text[0] == '\0') {
		if (r->told && n == 1)
			log_say(LEVEL_NOTICE, "rpc", "the RPC services are registered");
		if (n > 1)
			log_say(LEVEL_WARNING, "rpc", "%s", text + 1);
		r->told = false;
		r->delay = 0;
		if (r->more)
			rpc_register(r);
		else
			(void)note_programs(r, false);
		return;
	}
	if (!r->told)
		log_say(LEVEL_WARNING, "rpc", "%s; it is tried again", text);
	r->told = true;
	r->delay = r->delay == 0 ? AGAIN_LEAST : r->delay * 2 > AGAIN_MOST ? AGAIN_MOST : r->delay * 2;
	loop_timer(l, &r->again, loop_now(l) + r->delay);
}

static void
again(void *arg, int64_t now)
{
	(void)now;
	rpc_register(arg);
}

struct rpc *
rpc_new(struct engine *e)
{
	struct rpc *r = calloc(1, sizeof *r);

	if (r == NULL || loop_timer_room(e->loop) == -1) {
		free(r);
		return NULL;
	}
	r->engine = e;
	r->answer = -1;
	r->again.fire = again;
	r->again.arg = r;
	return r;
}

void
rpc_carry(const struct rpc *r, struct buf *out)
{
	for (size_t i = 0; i < r->nhad; i++) {
		state_begin(out, "rpc");
		state_number(out, "program", r->had[i].number);
		state_number(out, "from", (int64_t)r->had[i].from);
		state_number(out, "to", (int64_t)r->had[i].to);
		state_number(out, "on", r->had[i].on);
		state_end(out);
	}
}

void
rpc_resume(struct rpc *r, const struct fact *f)
{
	struct program *list = realloc(r->had, (r->nhad + 1) * sizeof *list);

	if (list == NULL)
		return;
	list[r->nhad++] = (struct program){ (uint32_t)state_get(f, "program", 0),
		(unsigned long)state_get(f, "from", 0), (unsigned long)state_get(f, "to", 0),
		(unsigned)state_get(f, "on", 0) };
	r->had = list;
}

bool
rpc_runs(const struct rpc *r)
{
	return r->answer != -1;
}

static bool
any(const struct engine *e)
{
	for (const struct unit *u = e->units; u != NULL; u = u->next)
		if (is_rpc(u))
			return true;
	return false;
}

/* Starts the process. -1: not now. */
static int
start(struct rpc *r)
{
	struct task t = { .rpc = r, .set = true };
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) == -1)
		return -1;
	pid = helper_start(fds[1], false, run, &t);
	(void)close(fds[1]);
	if (pid == -1 || note_programs(r, true) == -1) {
		(void)close(fds[0]);
		return -1;
	}
	r->answer = fds[0];
	r->watch = loop_watch(r->engine->loop, r->answer, EPOLLIN, answered, r);
	return 0;
}

void
rpc_register(struct rpc *r)
{
	if (r->nhad == 0 && !any(r->engine))
		return;
	r->more = r->answer != -1;
	if (r->more)
		return;
	loop_timer_stop(r->engine->loop, &r->again);
	if (start(r) == -1)
		loop_timer(r->engine->loop, &r->again, clock_ms() + AGAIN_LEAST);
}

void
rpc_forget(struct rpc *r)
{
	struct task t = { .rpc = r };

	loop_timer_stop(r->engine->loop, &r->again);
	if (r->nhad == 0)
		return;
	if (r->answer != -1)
		loop_close(r->engine->loop, r->watch, r->answer);
	r->answer = -1;
	r->watch = 0;
	(void)helper_start(-1, false, run, &t);
	r->nhad = 0;
}

void
rpc_free(struct rpc *r)
{
	if (r == NULL)
		return;
	loop_timer_stop(r->engine->loop, &r->again);
	loop_timer_leave(r->engine->loop);
	if (r->answer != -1)
		loop_close(r->engine->loop, r->watch, r->answer);
	free(r->had);
	free(r);
}

#include "table/fits.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"

enum { SESSION_IDLE = 60 * SECOND };

struct fit {			/* one service and what its addresses are */
	struct service *s;
	attr_note *note;
	void *arg;
	bool tcp, stream, dgram, fifo, path, sockets, internet, local;	/* is there such a one? */
	bool untold;		/* is there a connection that does not tell when something moved? */
	bool open;		/* fd: is it not known here what it is? */
	bool faulty;
	struct err *first;	/* what is wrong; the note is told of the others */
};

static void fault(struct fit *f, const char *attr, int word, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static struct fit
look(struct service *s)
{
	struct fit f = { .s = s };

	for (size_t i = 0; i < s->nlisten; i++) {
		const struct address *a = &s->listen[i];
		const struct where *w = &a->where;
		bool fifo = w->scheme == SCHEME_FIFO, open = w->scheme == SCHEME_FD && a->found.type == 0;
		bool dgram = address_type(a) == SOCK_DGRAM, stream = !dgram && !fifo && !open;
		bool internet = w->scheme == SCHEME_TCP || w->scheme == SCHEME_UDP || a->found.family == AF_INET ||
		    a->found.family == AF_INET6;

		f.tcp |= internet && stream;
		f.open |= open;
		f.dgram |= dgram;
		f.fifo |= fifo;
		f.sockets |= !fifo;
		f.local |= w->scheme == SCHEME_UNIX || a->found.family == AF_UNIX;
		f.internet |= internet;
		f.stream |= stream;
		f.path |= fifo || (w->scheme == SCHEME_UNIX && w->host[0] != '@');
		f.untold |= !open && !dgram && !(internet && stream);
	}
	return f;
}

static void
reset(struct service *s, const char *attr)
{
	if (strcmp(attr, "idle_timeout") == 0)
		s->idle_timeout = 0;
	else if (strcmp(attr, "hangup") == 0)
		s->hangup = HANGUP_IGNORE;
	else if (strcmp(attr, "per_source") == 0)
		s->source.most = UINT32_MAX;
	else if (strcmp(attr, "source_cps") == 0)
		s->source.rate.n = 0;
	else if (strcmp(attr, "proxy_protocol") == 0)
		s->proxy_protocol = false;
	else if (strcmp(attr, "session") == 0)
		s->session = false;
	attr_forget(s, attr);
}

/* Of a table's entry all are told. */
static void
fault(struct fit *f, const char *attr, int word, const char *fmt, ...)
{
	struct err e = { .word = -1 };
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(e.text, sizeof e.text, fmt, ap);
	va_end(ap);
	(void)err_at(&e, attr, word);
	e.fault = f->faulty;
	if (!f->faulty)
		*f->first = e;
	else if (f->s->table)
		f->note(f->arg, &e);
	f->faulty = true;
}

/* It cannot hold here: a fault if the service says it itself. */
static void
cannot(struct fit *f, const char *attr, const char *why)
{
	if (!attr_given(f->s, attr))
		return;
	if (attr_own(f->s, attr))
		fault(f, attr, 0, "%s: %s", attr, why);
	reset(f->s, attr);	/* told once, also where there is another reason */
}

/* The same for a limit: that it is not there is told. */
static void
cannot_limit(struct fit *f, const char *attr, const char *why)
{
	if (attr_given(f->s, attr) && !attr_own(f->s, attr))
		attr_remark(f->note, f->arg, attr, -1, "%s of defaults does not hold for this service: %s", attr, why);
	cannot(f, attr, why);
}

/* The command accepts: what needs to know who comes cannot hold. */
static void
fit_wait(struct fit *f)
{
	static const char why[] = "with wait = yes the command itself accepts, unseen by the server";
	static const char *const access[] = { "only_from", "no_access" };

	for (size_t i = 0; i < 2; i++)
		if (attr_given(f->s, access[i]))
			fault(f, access[i], 0, "%s: %s", access[i], why);
	cannot_limit(f, "per_source", why);
	cannot_limit(f, "source_cps", why);
	cannot(f, "idle_timeout", why);
	cannot(f, "hangup", why);
	cannot(f, "proxy_protocol", why);
	if ((f->s->flags & FLAG_IDONLY) != 0)
		fault(f, "flags", -1, "flags IDONLY: %s", why);
}

/* Nobody is served there: whoever comes is told of, and banned. */
static void
fit_sensor(struct fit *f)
{
	struct service *s = f->s;

	if (f->dgram || f->fifo)
		fault(f, "flags", -1, "flags SENSOR: the sender of a datagram may be anybody; only a connection shows who it is");
	if ((s->type & (TYPE_TCPMUX | TYPE_TCPMUXPLUS)) != 0)
		fault(f, "flags", -1, "flags SENSOR: a service of tcpmux has no port that somebody could try");
	if (s->wait && attr_own(s, "wait"))
		attr_remark(f->note, f->arg, "wait", -1, "wait = yes has no effect with flags SENSOR: no command is there to wait for");
	s->wait = false;
}

static void
fit_times(struct fit *f)
{
	struct service *s = f->s;

	if ((f->untold || (f->dgram && !s->session)) && s->redirect.n == 0 && s->internal == BUILTIN_NONE)
		cannot(f, "idle_timeout", "only TCP connections tell when something moved");
	if (s->session && !attr_given(s, "idle_timeout")) {
		s->idle_timeout = SESSION_IDLE;
		attr_give(s, "idle_timeout");
	}
	if ((f->dgram || f->fifo) && !f->stream)
		cannot(f, "hangup", "only a connection can be hung up");
}

static void
fit_proxy(struct fit *f)
{
	struct service *s = f->s;

	if (!f->stream && !f->open)
		cannot(f, "proxy_protocol", "only a connection begins with a header");
	else if (s->proxy_protocol && !s->proxy_from.given)
		fault(f, "proxy_protocol", 0, "proxy_protocol: proxy_from is to say who may send such a header; anybody else "
		    "could name any address");
	if (!s->proxy_protocol && attr_own(s, "proxy_from"))
		attr_remark(f->note, f->arg, "proxy_from", -1, "proxy_from has no effect without proxy_protocol = yes");
	if (s->redirect.n == 0 && attr_own(s, "send_proxy"))
		attr_remark(f->note, f->arg, "send_proxy", -1, "send_proxy has no effect without redirect");
}

/* No process of the service's own is there: what such a one would find out or do is not. */
static void
fit_served_here(struct fit *f)
{
	static const char *const lists[] = { "only_from", "no_access" };
	struct service *s = f->s;
	const struct rules *rules[] = { &s->only_from, &s->no_access };
	const char *what = s->redirect.n > 0 ? "redirect" : "a built-in";

	if (f->dgram && s->redirect.n > 0)
		fault(f, "redirect", -1, "redirect: only connections are relayed");
	if (f->fifo)
		fault(f, s->redirect.n > 0 ? "redirect" : "type", -1, "%s: who writes to a named pipe is no connection; only "
		    "a command reads from it", what);
	if ((s->flags & FLAG_NAMEINARGS) != 0 && s->redirect.n > 0 && attr_own(s, "flags"))
		fault(f, "flags", -1, "flags NAMEINARGS: redirect has no arguments");
	if (s->wait && s->redirect.n > 0)
		fault(f, "wait", 0, "wait: redirect accepts itself; wait = no");
	for (size_t i = 0; i < 2; i++)
		if (rules_need_name(rules[i]))
			fault(f, lists[i], -1, "%s: %s cannot look up names: give addresses", lists[i], what);
	if ((s->flags & FLAG_IDONLY) != 0)
		fault(f, "flags", -1, "flags IDONLY: %s asks nobody who he is", what);
	if (attr_own(s, "lookup") && s->lookup)
		attr_remark(f->note, f->arg, "lookup", -1, "lookup has no effect with %s", what);
	cannot(f, "hangup", "there is no command that could be ended");
}

/* Words of a list that change nothing. `all`: every one of it. */
static void
idle_word(struct fit *f, const char *attr, const char *word, bool all, const char *why)
{
	struct err e = { .word = -1, .at = all ? NULL : word };

	(void)snprintf(e.text, sizeof e.text, "%s has no effect here: %s", all ? attr : word, why);
	(void)err_at(&e, attr, -1);
	f->note(f->arg, &e);
}

static void
idle_rules(struct fit *f, const char *attr, const struct rules *r, bool network, bool local)
{
	size_t idle = 0;

	for (int pass = 0; pass < 2 && attr_own(f->s, attr); pass++)
		for (size_t i = 0; i < r->n; i++) {
			bool user = r->rule[i].kind == RULE_USER || r->rule[i].kind == RULE_GROUP;

			if (user ? local : network)
				continue;
			idle += pass == 0;
			/* One word may be several rules. */
			if (pass == 0 || (i > 0 && strcmp(r->rule[i].word, r->rule[i - 1].word) == 0))
				continue;
			idle_word(f, attr, r->rule[i].word, idle == r->n, user ? "no UNIX peer comes here, whose user it could judge" :
			    "no network peer comes here, whose address it could judge");
			if (idle == r->n)
				return;
		}
}

/* What is no fault, and changes nothing: an own word of it is told with the reason. */
static void
without_effect(struct fit *f)
{
	const struct service *s = f->s;
	bool stream = f->stream || f->open, accepted = stream && !s->wait, internet = f->internet || f->open;
	bool local = f->local || f->open, limits = s->source.most != UINT32_MAX || s->source.rate.n != 0;
	bool served = s->redirect.n > 0 || s->internal != BUILTIN_NONE;	/* and that was told */
	const char *accepts = stream ? "with wait = yes the command itself accepts" : "only connections have it";
	const struct {
		const char *attr;
		bool has;
		const char *why;
	} all[] = {
		{ "backlog", stream, "only what takes connections has a queue of them" },
		{ "sndbuf", !f->fifo || f->sockets, "a named pipe is no socket" },
		{ "rcvbuf", !f->fifo || f->sockets, "a named pipe is no socket" },
		{ "linger", accepted, accepts },
		{ "banner", accepted, accepts },
		{ "banner_success", accepted, accepts },
		{ "banner_fail", accepted, accepts },
		{ "lookup", !s->lookup || served || (internet && (accepted || !stream)),
		  internet ? accepts : "only network peers have names" },
		{ "stderr", s->stderr_to != STDERR_SOCKET || accepted || f->dgram, "there is no connection; descriptor 2 is the log" },
		{ "per_source", f->sockets, "nobody knows who writes to a named pipe" },
		{ "source_cps", f->sockets, "nobody knows who writes to a named pipe" },
		{ "source_prefix", limits, "neither per_source nor source_cps limits anybody" },
	};

	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		if (!all[i].has && attr_own(s, all[i].attr))
			attr_remark(f->note, f->arg, all[i].attr, -1, "%s has no effect here: %s", all[i].attr, all[i].why);
	idle_rules(f, "only_from", &s->only_from, internet, local);
	idle_rules(f, "no_access", &s->no_access, internet, local);
	if (f->tcp || f->open || !attr_own(s, "flags"))
		return;
	if ((s->flags & FLAG_NODELAY) != 0)
		idle_word(f, "flags", "NODELAY", false, "it is of TCP");
	if ((s->flags & FLAG_KEEPALIVE) != 0)
		idle_word(f, "flags", "KEEPALIVE", false, "it is of TCP");
}

int
fits_check(struct service *s, attr_note *note, void *arg, struct err *err)
{
	static const char *const of_paths[] = { "mode", "owner" };
	struct fit f = look(s);

	f.note = note;
	f.arg = arg;
	f.first = err;
	for (size_t i = 0; i < 2; i++)
		if (attr_given(s, of_paths[i]) && !f.path)
			fault(&f, of_paths[i], 0, "%s: only the path of a UNIX socket or a FIFO has one", of_paths[i]);
	if (f.fifo && s->only_from.given && s->only_from.n == 0)
		fault(&f, "only_from", -1, "only_from: nobody can be kept from writing to a named pipe, but by its mode");
	if ((s->flags & FLAG_SENSOR) != 0)
		fit_sensor(&f);
	if (s->wait && (s->type & (TYPE_TCPMUX | TYPE_TCPMUXPLUS)) != 0)
		fault(&f, "wait", 0, "wait: tcpmux has no socket to hand over; wait = no");
	if (s->internal != BUILTIN_NONE || s->redirect.n > 0)
		fit_served_here(&f);
	if (s->wait && s->internal == BUILTIN_NONE && s->redirect.n == 0 && f.stream)
		fit_wait(&f);
	if ((!f.dgram || s->wait || s->internal != BUILTIN_NONE) && !f.open)
		cannot(&f, "session", "only datagrams with wait = no have sessions");
	fit_times(&f);
	fit_proxy(&f);
	if (!f.faulty && s->nlisten > 0)
		without_effect(&f);
	return f.faulty ? -1 : 0;
}

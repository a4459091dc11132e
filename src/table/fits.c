#include "table/fits.h"

#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"

enum { SESSION_IDLE = 60 * SECOND };

struct fit {			/* one service and what its addresses are */
	struct service *s;
	attr_note *note;
	void *arg;
	bool tcp, stream, dgram, fifo, path;	/* is there such a one? */
	bool untold;		/* is there a connection that does not tell when something moved? */
	bool open;		/* fd: what it is shows when it is taken */
};

static struct fit
look(struct service *s)
{
	struct fit f = { .s = s };

	for (size_t i = 0; i < s->nlisten; i++) {
		const struct where *w = &s->listen[i].where;
		bool dgram = w->type == SOCK_DGRAM, fifo = w->scheme == SCHEME_FIFO;

		f.tcp |= w->scheme == SCHEME_TCP;
		f.open |= w->scheme == SCHEME_FD;
		f.dgram |= dgram;
		f.fifo |= fifo;
		f.stream |= !dgram && !fifo && w->scheme != SCHEME_FD;
		f.path |= fifo || (w->scheme == SCHEME_UNIX && w->host[0] != '@');
		f.untold |= w->scheme != SCHEME_TCP && w->scheme != SCHEME_FD && (!dgram || !s->session);
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

/* It cannot hold here: a fault if the service says it itself. */
static int
cannot(const struct fit *f, const char *attr, const char *why, struct err *err)
{
	if (!attr_given(f->s, attr))
		return 0;
	if (attr_own(f->s, attr))
		return err_set(err, "%s: %s", attr, why), err_at(err, attr, 0);
	reset(f->s, attr);
	return 0;
}

/* The same for a limit: that it is not there is told. */
static int
cannot_limit(const struct fit *f, const char *attr, const char *why, struct err *err)
{
	if (attr_given(f->s, attr) && !attr_own(f->s, attr))
		attr_remark(f->note, f->arg, attr, -1, "%s of defaults does not hold for this service: %s", attr, why);
	return cannot(f, attr, why, err);
}

/* The command accepts: what needs to know who comes cannot hold. */
static int
fit_wait(const struct fit *f, struct err *err)
{
	static const char why[] = "with wait = yes the command itself accepts, unseen by the server";
	static const char *const access[] = { "only_from", "no_access" };

	for (size_t i = 0; i < 2; i++)
		if (attr_given(f->s, access[i]))
			return err_set(err, "%s: %s", access[i], why), err_at(err, access[i], 0);
	return cannot_limit(f, "per_source", why, err) == -1 || cannot_limit(f, "source_cps", why, err) == -1 ||
	    cannot(f, "idle_timeout", why, err) == -1 || cannot(f, "hangup", why, err) == -1 ||
	    cannot(f, "proxy_protocol", why, err) == -1 ? -1 : 0;
}

static int
fit_times(const struct fit *f, struct err *err)
{
	struct service *s = f->s;

	if (f->untold && s->redirect.n == 0 && s->internal == BUILTIN_NONE &&
	    cannot(f, "idle_timeout", "only TCP connections tell when something moved", err) == -1)
		return -1;
	if (s->session && !attr_given(s, "idle_timeout")) {
		s->idle_timeout = SESSION_IDLE;
		attr_give(s, "idle_timeout");
	}
	if ((f->dgram || f->fifo) && !f->stream)
		return cannot(f, "hangup", "only a connection can be hung up", err);
	return 0;
}

static int
fit_proxy(const struct fit *f, struct err *err)
{
	struct service *s = f->s;

	if (!f->stream && !f->open && cannot(f, "proxy_protocol", "only a connection begins with a header", err) == -1)
		return -1;
	if (s->proxy_protocol && !s->proxy_from.given)
		return err_set(err, "proxy_protocol: proxy_from is to say who may send such a header; anybody else "
		    "could name any address"), err_at(err, "proxy_protocol", 0);
	if (!s->proxy_protocol && attr_own(s, "proxy_from"))
		attr_remark(f->note, f->arg, "proxy_from", -1, "proxy_from has no effect without proxy_protocol = yes");
	if (s->redirect.n == 0 && attr_own(s, "send_proxy"))
		attr_remark(f->note, f->arg, "send_proxy", -1, "send_proxy has no effect without redirect");
	return 0;
}

/* No process of the service's own is there: what such a one would find out or do is not. */
static int
fit_served_here(const struct fit *f, struct err *err)
{
	static const char *const lists[] = { "only_from", "no_access" };
	struct service *s = f->s;
	const struct rules *rules[] = { &s->only_from, &s->no_access };
	const char *what = s->redirect.n > 0 ? "redirect" : "a built-in";

	if (f->dgram && s->redirect.n > 0)
		return err_set(err, "redirect: only connections are relayed"), err_at(err, "redirect", -1);
	if (f->fifo)
		return err_set(err, "%s: who writes to a named pipe is no connection; only a command reads from it",
		    what), err_at(err, s->redirect.n > 0 ? "redirect" : "type", -1);
	if ((s->flags & FLAG_NAMEINARGS) != 0 && s->redirect.n > 0 && attr_own(s, "flags"))
		return err_set(err, "flags NAMEINARGS: redirect has no arguments"), err_at(err, "flags", -1);
	if (s->wait && s->redirect.n > 0)
		return err_set(err, "wait: redirect accepts itself; wait = no"), err_at(err, "wait", 0);
	for (size_t i = 0; i < 2; i++)
		if (rules_need_name(rules[i]))
			return err_set(err, "%s: %s cannot look up names: give addresses", lists[i], what),
			    err_at(err, lists[i], -1);
	if ((s->flags & FLAG_IDONLY) != 0)
		return err_set(err, "flags IDONLY: %s asks nobody who he is", what), err_at(err, "flags", -1);
	if (attr_own(s, "lookup") && s->lookup)
		attr_remark(f->note, f->arg, "lookup", -1, "lookup has no effect with %s", what);
	return cannot(f, "hangup", "there is no command that could be ended", err);
}

int
fits_check(struct service *s, attr_note *note, void *arg, struct err *err)
{
	struct fit f = look(s);

	f.note = note;
	f.arg = arg;
	if (attr_given(s, "mode") && !f.path)
		return err_set(err, "mode: only the path of a UNIX socket or a FIFO has one"), err_at(err, "mode", 0);
	if (attr_given(s, "owner") && !f.path)
		return err_set(err, "owner: only the path of a UNIX socket or a FIFO has one"), err_at(err, "owner", 0);
	if ((s->flags & FLAG_SENSOR) != 0 && (f.dgram || f.fifo))
		return err_set(err, "flags SENSOR: the sender of a datagram may be anybody; only a connection shows "
		    "who it is"), err_at(err, "flags", -1);
	if (s->wait && (s->type & (TYPE_TCPMUX | TYPE_TCPMUXPLUS)) != 0)
		return err_set(err, "wait: tcpmux has no socket to hand over; wait = no"), err_at(err, "wait", 0);
	if ((s->internal != BUILTIN_NONE || s->redirect.n > 0) && fit_served_here(&f, err) == -1)
		return -1;
	if (s->wait && s->internal == BUILTIN_NONE && f.stream && fit_wait(&f, err) == -1)
		return -1;
	if ((!f.dgram || s->wait || s->internal != BUILTIN_NONE) && !f.open &&
	    cannot(&f, "session", "only datagrams with wait = no have sessions", err) == -1)
		return -1;
	return fit_times(&f, err) == -1 || fit_proxy(&f, err) == -1 ? -1 : 0;
}

#include "serve/accept.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "serve/away.h"
#include "serve/connection.h"
#include "serve/header.h"

enum {
	FAULTS = 8,		/* failures of accept(2) in a row that make a pause */
	BLANKS = 1000,		/* so many turns that found nobody are too many */
};

/* A service that nobody has business with: who connects is refused by all from now on. */
static void
sense(struct unit *u, int fd, const struct peer *p)
{
	struct engine *e = u->engine;
	int64_t length = u->conf->deny_time == FOREVER ? INT64_MAX : (int64_t)u->conf->deny_time * 60 * SECOND;
	char from[ADDR_TEXT], text[40];

	conn_refuse(u, fd, p, REASON_SENSOR);
	if (p->kind != PEER_IP || length == 0)
		return;
	if (!ban_holds(&e->bans, &p->ip, loop_now(e->loop)))
		unit_say(u, LEVEL_NOTICE, "deny", "%s is refused by every service %s%s", peer_print(p, from),
		    length == INT64_MAX ? "from now on" : "for ",
		    length == INT64_MAX ? "" : num_print_duration(length, text, sizeof text));
	ban_add(&e->bans, &p->ip, loop_now(e->loop), length);
}

/* Serves who was admitted. Takes fd and source. False: as accept_peer. */
static bool
serve(struct unit *u, int fd, const struct peer *peer, const struct addr *told, struct source *source)
{
	struct addr local = { .len = sizeof local - offsetof(struct addr, sa) };
	bool away = away_serves(u->conf);

	/* Which of our addresses was asked? The worker only needs it to tell it to a target. */
	if (told == NULL && (!away || u->conf->send_proxy != SEND_PROXY_NO) &&
	    getsockname(fd, &local.sa, &local.len) == -1)
		local = (struct addr){ .len = sizeof local.sa, .sa = { .sa_family = AF_UNSPEC } };
	return away ? away_serve(u, fd, peer, told != NULL ? told : &local, source) :
	    conn_serve(u, fd, peer, told != NULL ? told : &local, source);
}

bool
accept_peer(struct unit *u, int fd, const struct peer *peer, const struct addr *told)
{
	struct engine *e = u->engine;
	struct source *source = NULL;
	enum reason why;
	int64_t until;

	if (!unit_lets_in(u, peer, &why, &source)) {
		conn_refuse(u, fd, peer, why);
		return true;
	}
	if ((u->conf->flags & FLAG_SENSOR) != 0) {
		source_leave(&e->sources, source);
		sense(u, fd, peer);
		return true;
	}
	/* With `queue` it was asked before, but a service that takes nobody has no queue. */
	if ((u->conf->overload == OVERLOAD_REJECT || u->conf->instances == 0) &&
	    unit_is_full(u, &why, &until)) {
		source_leave(&e->sources, source);
		conn_refuse(u, fd, peer, why);
		return true;
	}
	if (!u->conf->proxy_protocol)	/* else it was counted when it was taken from the queue */
		pace_count(&u->pace, loop_now(e->loop));
	return serve(u, fd, peer, told, source);
}

void
accept_muxed(struct unit *u, int fd, const struct peer *peer, const char *yes, const char *no)
{
	struct engine *e = u->engine;
	struct source *source = NULL;
	enum reason why;
	int64_t until;

	if (unit_lets_in(u, peer, &why, &source)) {
		if (unit_is_full(u, &why, &until)) {
			/* why */
		} else if (away_serves(u->conf) && (away_prepare(u) == -1 || away_full(e) != NULL)) {
			why = REASON_FORK;
		} else {
			pace_count(&u->pace, loop_now(e->loop));
			(void)send(fd, yes, strlen(yes), MSG_DONTWAIT | MSG_NOSIGNAL);
			/* A command's must block, the worker's must not. */
			if (away_serves(u->conf))
				(void)fcntl(fd, F_SETFL, O_NONBLOCK);
			(void)serve(u, fd, peer, NULL, source);
			return;
		}
		source_leave(&e->sources, source);
	}
	(void)send(fd, no, strlen(no), MSG_DONTWAIT | MSG_NOSIGNAL);
	conn_refuse(u, fd, peer, why);
}

/* One accepted connection. False: the listener has to pause. */
static bool
admit(struct listener *l, int fd, const struct addr *from)
{
	struct unit *u = l->unit;
	struct peer peer;

	if (peer_of(fd, from, &peer) == -1) {
		(void)close(fd);
		return true;
	}
	if (u->conf->proxy_protocol) {
		header_await(u, fd, &peer);
		return true;
	}
	if (accept_peer(u, fd, &peer, NULL))
		return true;
	listener_pause(l, REASON_FORK, listener_delay(u->engine), strerror(errno));
	return false;
}

/*
 * Somebody is there, says the loop, and nobody, says accept(2). That happens where another process has
 * the socket too; but not all the time.
 */
static bool
is_fooled(struct listener *l)
{
	if (++l->blank < BLANKS)
		return false;
	l->blank = listener_is_readable(l) ? BLANKS : 0;
	return l->blank != 0;
}

/* accept(2) failed with errno: go on (TOOK_SOME), nobody is there, or pause. `first` of its turn? */
static enum took
accept_failed(struct listener *l, bool first)
{
	struct engine *e = l->unit->engine;
	int why = errno;

	switch (why) {
	case EAGAIN:
		if (first && is_fooled(l))
			break;
		l->faults = 0;
		return TOOK_ALL;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		/* Who only lingers gives way first. */
		if (conn_give_way(e))
			return TOOK_SOME;
		break;
	default:
		/* The connection's own fault, as accept(2) lists them; unless it does not end. */
		if (l->faults++ < FAULTS)
			return TOOK_SOME;
		break;
	}
	l->faults = 0;
	listener_pause(l, REASON_FORK, listener_delay(e), strerror(why));
	return TOOK_PAUSE;
}

enum took
accept_take(struct listener *l, unsigned most)
{
	struct unit *u = l->unit;
	struct engine *e = u->engine;
	/* A command's must block; the worker splices, and there is no flag for that. */
	int flags = SOCK_CLOEXEC | (away_serves(u->conf) && u->conf->internal != BUILTIN_TCPMUX ? SOCK_NONBLOCK : 0);

	for (unsigned n = 0; n < most; n++) {
		struct addr from = { .len = sizeof from - offsetof(struct addr, sa) };
		enum took failed;
		int fd;

		/* Full behind the last one says nothing of whether somebody waits: the loop will tell. */
		if (n > 0 && !l->pausing && (u->live >= u->conf->instances || u->conf->cps.n != 0 ||
		    (e->live >= e->limit && !away_serves(u->conf))))
			return TOOK_SOME;
		if (!listener_has_room(l, true))
			return TOOK_PAUSE;
		fd = accept4(l->bound.fd, &from.sa, &from.len, flags);
		if (fd != -1) {
			l->faults = l->blank = 0;
			if (!admit(l, fd, &from))
				return TOOK_PAUSE;
			continue;
		}
		failed = accept_failed(l, n == 0);
		if (failed != TOOK_SOME)
			return failed;
	}
	return TOOK_SOME;
}

#include "serve/listing.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "child/setup.h"
#include "serve/away.h"
#include "serve/conn.h"
#include "serve/listener.h"

enum { SLOW = 10 };		/* s: a client that takes nothing for so long has heard enough */

/* A line a listener: service and address; of tcpmux the name to ask for. */
static void
list_services(const struct engine *e, struct buf *b)
{
	for (const struct unit *u = e->units; u != NULL; u = u->next) {
		for (const struct listener *l = u->listeners; l != NULL; l = l->next)
			buf_addf(b, "%s %s\r\n", u->conf->id, l->bound.name);
		if (u->muxed != NULL)
			buf_addf(b, "%s tcpmux:%s\r\n", u->conf->id, u->conf->name);
	}
}

/* A line a child: service, process, client, for how long. */
static void
list_servers(const struct engine *e, struct buf *b)
{
	const struct conn *first[] = { e->running, away_first(e) };
	char from[ADDR_TEXT];

	for (int i = 0; i < 2; i++)
		for (const struct conn *c = first[i]; c != NULL; c = c->next)
			buf_addf(b, "%s pid=%d%s%s duration=%lld(sec)\r\n", c->conf->id, (int)c->pid,
			    c->peer.kind != PEER_NONE ? " from=" : "", peer_print(&c->peer, from),
			    (long long)(loop_now(e->loop) - c->started) / 1000);
}

bool
listing_lower(const struct engine *e, int fd)
{
	const struct rlimit none = { 0, 0 };
	sigset_t all;

	fd_close_from(3, &fd, 1);
	(void)sigemptyset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, NULL);	/* it may be told to end */
	(void)setrlimit(RLIMIT_CORE, &none);
	if (geteuid() == 0 && !setup_lower(e->lower.uid, e->lower.gid))
		return false;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

bool
listing_before(void *arg, struct facts *f)
{
	const struct listing *l = arg;
	const struct timeval slow = { .tv_sec = SLOW };
	struct buf b = { 0 };
	int fd = l->fd;

	if (l->service->internal == BUILTIN_STATUS) {
		l->engine->answer(l->engine->answer_arg, l->service, f->peer, fd);
		return false;
	}
	if (!listing_lower(l->engine, fd))
		return false;
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &slow, sizeof slow);
	if (l->service->internal == BUILTIN_SERVICES)
		list_services(l->engine, &b);
	else
		list_servers(l->engine, &b);
	if (!b.failed && b.len > 0)
		(void)fd_write_all(fd, b.data, b.len);
	buf_free(&b);
	return false;
}

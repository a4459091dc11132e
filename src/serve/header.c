#include "serve/header.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "net/proxy.h"
#include "serve/accept.h"
#include "serve/away.h"
#include "serve/conn.h"

enum { HEADER_WAIT = 5 * SECOND };

struct header {
	bool child;		/* is it one that will serve? */
	size_t len;
	char bytes[PROXY_MOST];
};

static void
leave(struct conn *c)
{
	loop_unwatch(c->unit->engine->loop, c->fd_watch);
	c->fd_watch = 0;
	loop_timer_stop(c->unit->engine->loop, &c->timer);
	c->unit->awaited--;
	c->unit->engine->awaited--;
	c->unit->engine->awaited_children -= c->header->child;
}

/* It is no conn of ours any more: its descriptor is the caller's. */
static int
give_up(struct conn *c)
{
	int fd = c->fd;

	leave(c);
	c->fd = -1;
	conn_free(c);
	return fd;
}

static void
refuse(struct conn *c)
{
	struct unit *u = c->unit;
	struct peer peer = c->peer;

	conn_refuse(u, give_up(c), &peer, REASON_PROXY);
	u->engine->room(u->engine, u);	/* its place was kept */
}

void
header_free(struct conn *c)
{
	free(c->header);
	c->header = NULL;
}

/* The service may have become another kind, or be gone, since it was accepted. -1: errno. */
static int
make_fit(const struct conn *c)
{
	struct unit *u = c->unit;
	bool away = away_serves(u->conf);
	int flags;

	if (u->conf != c->conf && (flags = fcntl(c->fd, F_GETFL)) != -1)
		(void)fcntl(c->fd, F_SETFL, away ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
	return away ? away_prepare(u) : 0;
}

/* The header is there: who it names comes now. */
static void
admitted(struct conn *c, const struct proxy *p)
{
	struct unit *u = c->unit;
	struct peer peer = p->told ? p->from : c->peer;

	if (u->engine->stopping) {
		(void)close(give_up(c));
		return;
	}
	if (make_fit(c) == -1) {
		conn_refuse(u, give_up(c), &peer, REASON_FORK);
		u->engine->room(u->engine, u);
		return;
	}
	peer.by_unix = c->peer.by_unix;
	(void)accept_peer(u, give_up(c), &peer, p->told ? &p->to : NULL);
	u->engine->room(u->engine, u);	/* if it was refused, its place is free */
}

static void
readable(void *arg, uint32_t events)
{
	struct conn *c = arg;
	struct header *h = c->header;
	struct proxy p;
	enum proxy_state state;
	size_t used;
	ssize_t n;

	(void)events;
	/* A look first: only what belongs to the header is taken. */
	n = recv(c->fd, h->bytes + h->len, sizeof h->bytes - h->len, MSG_PEEK | MSG_DONTWAIT);
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	state = n <= 0 ? PROXY_BAD : proxy_read(h->bytes, h->len + (size_t)n, &used, &p);
	if (state == PROXY_BAD || used < h->len ||
	    recv(c->fd, h->bytes + h->len, used - h->len, MSG_DONTWAIT) != (ssize_t)(used - h->len)) {
		refuse(c);
		return;
	}
	h->len = used;
	if (state == PROXY_DONE)
		admitted(c, &p);
}

void
header_late(struct conn *c)
{
	refuse(c);
}

/* c's header is read from now on, until `deadline`. False: there is no memory. */
static bool
begin(struct conn *c, int64_t deadline)
{
	struct unit *u = c->unit;
	struct engine *e = u->engine;

	c->header = malloc(sizeof *c->header);
	c->fd_watch = c->header != NULL ? loop_watch(e->loop, c->fd, EPOLLIN, readable, c) : 0;
	if (c->fd_watch == 0)
		return false;
	c->header->len = 0;
	c->header->child = !away_serves(u->conf);
	u->awaited++;
	e->awaited++;
	e->awaited_children += c->header->child;
	conn_enter(c, CONN_HEADER);
	c->deadline = deadline;
	loop_timer(e->loop, &c->timer, deadline);
	return true;
}

void
header_await(struct unit *u, int fd, const struct peer *peer)
{
	struct engine *e = u->engine;
	struct conn *c;

	if (!access_allows(&u->conf->proxy_from, &(struct rules){ 0 }, peer, NULL, NULL)) {
		conn_refuse(u, fd, peer, REASON_PROXY);
		return;
	}
	c = conn_new(u, fd, peer, NULL);
	if (!begin(c, loop_now(e->loop) + HEADER_WAIT)) {
		c->fd = -1;
		conn_free(c);
		conn_refuse(u, fd, peer, REASON_FORK);
		return;
	}
	pace_count(&u->pace, loop_now(e->loop));
}

size_t
header_carry(const struct conn *c, const char **bytes)
{
	*bytes = c->header->bytes;
	return c->header->len;
}

bool
header_resume(struct conn *c, const char *hex)
{
	size_t n = hex != NULL ? strlen(hex) / 2 : 0;

	if (n > PROXY_MOST || !begin(c, c->deadline))
		return false;
	for (size_t i = 0; i < n; i++) {
		char two[3] = { hex[2 * i], hex[2 * i + 1], '\0' };

		c->header->bytes[i] = (char)strtoul(two, NULL, 16);
	}
	c->header->len = n;
	return true;
}

#include "serve/conn.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "child/burial.h"
#include "serve/datagram.h"

enum {
	NO_PROGRESS = 60000,	/* ms: a client that takes nothing for so long is cut */
	UNIX_AGAIN = 50,	/* ms */
};

static void
linger_ready(void *arg, uint32_t events)
{
	struct conn *c = arg;

	(void)events;
	conn_linger(c, loop_now(c->unit->engine->loop));
}

/* Reads and drops what the client still sends. False: it is gone, cleanly or not. */
static bool
drain_input(struct conn *c)
{
	static char sink[16384];

	for (int i = 0; i < 16 && !c->end_seen; i++) {
		/* TCP drops the bytes without copying them. */
		ssize_t n = recv(c->fd, sink, sizeof sink, MSG_DONTWAIT | MSG_TRUNC);

		if (n == 0)
			c->end_seen = true;
		else if (n == -1)
			return errno == EAGAIN || errno == EINTR;
	}
	return true;
}

/* Bytes that the client has not taken; 0 too when it is beyond taking any. */
static uint32_t
not_taken(const struct conn *c)
{
	int n = 0, fault = 0;
	socklen_t len = sizeof fault;

	if (ioctl(c->fd, SIOCOUTQ, &n) == -1 || n <= 0)
		return 0;
	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &fault, &len) == 0 && fault != 0)
		return 0;
	return (uint32_t)n;
}

/*
 * One look at a connection whose end we have sent. It is closed at the client's end of stream, or
 * when the client has taken everything and `linger` has passed since; a client that is still taking
 * a long reply is not cut, one that takes nothing for NO_PROGRESS is.
 */
void
conn_linger(struct conn *c, int64_t now)
{
	struct engine *e = c->unit->engine;
	uint32_t left;

	if (!drain_input(c)) {
		conn_free(c);
		return;
	}
	left = not_taken(c);
	if (left == 0 && (c->end_seen || (c->untaken == 0 && now >= c->deadline))) {
		c->taken = true;
		conn_free(c);
		return;
	}
	if (left != c->untaken) {	/* it is taking, or has just taken all */
		c->untaken = left;
		c->deadline = now + (left == 0 ? c->conf->linger : NO_PROGRESS);
		c->interval = 10;
	} else if (left != 0 && now >= c->deadline) {
		conn_free(c);
		return;
	}
	/* While bytes are on their way nothing tells when they have arrived: look again. */
	c->look_at = left == 0 ? c->deadline : now + c->interval;
	c->interval = c->interval * 2 > 250 ? 250 : c->interval * 2;
	loop_timer(e->loop, &c->timer, c->look_at < c->deadline ? c->look_at : c->deadline);
	if (c->end_seen) {
		loop_unwatch(e->loop, c->fd_watch);
		c->fd_watch = 0;
	} else if (c->fd_watch == 0) {
		/* Once: a hangup would be told for ever. */
		c->fd_watch = loop_watch(e->loop, c->fd, EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, linger_ready, c);
	} else {
		(void)loop_change(e->loop, c->fd_watch, EPOLLIN | EPOLLRDHUP | EPOLLONESHOT);
	}
}

bool
conn_give_way(struct engine *e)
{
	struct conn *c = e->lingering;

	while (c != NULL && c->peer.by_unix)	/* those are on their way to a burial */
		c = c->next;
	if (c == NULL)
		return false;
	conn_free(c);
	return true;
}

/*
 * A UNIX socket's queue may hold descriptors, and whoever closes the last of such a one may wait
 * for it. So a queue that is not empty, or may become so, is emptied by a process of its own.
 */
void
conn_finish_unix(struct conn *c)
{
	struct engine *e = c->unit->engine;
	char byte;

	/* Nothing there, and nothing can come any more: to close it takes no time. */
	if (recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0) {
		conn_free(c);
		return;
	}
	if (e->burials >= BURIALS_MOST || spawn_burial(c->fd, c->conf->linger) == -1) {
		/* Tried again, and meanwhile its listeners pause. */
		c->look_at = loop_now(e->loop) + UNIX_AGAIN;
		loop_timer(e->loop, &c->timer, c->look_at);
		return;
	}
	e->burials++;
	conn_free(c);
}

/* Our side is done: sends the end of stream and waits for the client's. */
void
conn_finish(struct conn *c)
{
	struct engine *e = c->unit->engine;
	int64_t now = loop_now(e->loop);

	if (c->state == CONN_RUNNING || c->state == CONN_GROUP)
		hash_remove(&e->by_pid, &c->node);
	if (c->state == CONN_GROUP && c->dialog == NULL && c->fd != -1)
		record_bytes(c);	/* what came since the first process ended */
	loop_close(e->loop, c->pid_watch, c->pidfd);
	c->pid_watch = 0;
	c->pidfd = -1;
	loop_unwatch(e->loop, c->fd_watch);
	c->fd_watch = 0;
	conn_enter(c, CONN_LINGERING);
	if (c->dialog != NULL) {
		dialog_drain(c);
		record_bytes(c);
		conn_free(c);
		return;
	}
	if (c->fd != -1 && c->peer.by_unix) {
		conn_finish_unix(c);
		return;
	}
	if (c->fd == -1 || c->conf->linger == -1 || (!c->shut && shutdown(c->fd, SHUT_WR) == -1)) {
		conn_free(c);
		return;
	}
	c->idle_at = 0;
	c->deadline = now + c->conf->linger;
	c->interval = 10;
	c->untaken = 0;
	conn_linger(c, now);
	if (e->nlingering > e->lingering_most)
		(void)conn_give_way(e);
}

void
conn_drop_quiet(struct engine *e)
{
	while (e->lingering != NULL)
		conn_free(e->lingering);
}

#include "serve/flow.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	PIPE_SIZE = 1 << 20,
	PIPES_KEPT = 64,
	CHUNK = 1 << 20,	/* bytes moved at once */
	LITTLE = 16384,		/* that are rather copied */
	TURN = 8,		/* chunks of one flow in a turn, so that others get theirs */
};

struct pipe { int in, out; struct pipe *next; };

struct rest {			/* what was copied and not taken at once */
	size_t n;
	char bytes[LITTLE];
};

static struct pipe *pipes;	/* that are empty */
static unsigned npipes, nall, most_pipes = UINT_MAX;

void
flow_pipes(unsigned most)
{
	most_pipes = most;
}

static struct pipe *
pipe_take(void)
{
	struct pipe *p = pipes;
	int fd[2];

	if (p != NULL) {
		pipes = p->next;
		npipes--;
		return p;
	}
	p = nall < most_pipes ? malloc(sizeof *p) : NULL;
	if (p == NULL || pipe2(fd, O_CLOEXEC | O_NONBLOCK) == -1) {
		free(p);
		return NULL;
	}
	(void)fcntl(fd[1], F_SETPIPE_SZ, PIPE_SIZE);
	*p = (struct pipe){ .in = fd[1], .out = fd[0] };
	nall++;
	return p;
}

/* An empty one goes back, or is closed with what is in it. */
static void
pipe_leave(struct pipe *p, bool empty)
{
	if (p == NULL)
		return;
	if (empty && npipes < PIPES_KEPT) {
		p->next = pipes;
		pipes = p;
		npipes++;
		return;
	}
	(void)close(p->in);
	(void)close(p->out);
	free(p);
	nall--;
}

void
flow_let_go(struct flow *f)
{
	pipe_leave(f->pipe, f->held == 0);
	free(f->rest);
	f->pipe = NULL;
	f->rest = NULL;
	f->held = 0;
}

enum moved
flow_drop(struct flow *f)
{
	static char bytes[65536];

	for (int i = 0; i < TURN; i++) {
		ssize_t n = recv(f->from, bytes, sizeof bytes, MSG_DONTWAIT | MSG_TRUNC);

		if (n == 0) {
			f->eof = f->shut = true;
			return MOVED_ALL;
		}
		if (n == -1) {
			f->ready = errno != EAGAIN;
			return errno == EAGAIN || errno == EINTR ? MOVED_ALL : MOVED_ERROR;
		}
		f->bytes += (uint64_t)n;
	}
	return MOVED_MORE;
}

static ssize_t
pass_some(const struct flow *f)
{
	if (f->rest != NULL)
		return send(f->to, f->rest->bytes + f->rest->n - f->held, f->held, MSG_DONTWAIT | MSG_NOSIGNAL);
	return splice(f->pipe->out, NULL, f->to, NULL, f->held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
}

/* What is held goes on. MOVED_MORE: all of it. */
static enum moved
pass_on(struct flow *f)
{
	while (f->held > 0) {
		ssize_t n = pass_some(f);

		if (n == -1 && errno == EAGAIN)
			return MOVED_ALL;
		if (n <= 0) {
			/* Nobody reads there any more: what comes is dropped, the other direction goes on. */
			f->drop = true;
			flow_let_go(f);
			return MOVED_MORE;
		}
		f->held -= (size_t)n;
		f->bytes += (uint64_t)n;
	}
	free(f->rest);
	f->rest = NULL;
	return MOVED_MORE;
}

/* A little is copied: that costs less than a pipe. What the reader does not take at once is held. */
static ssize_t
copy(struct flow *f)
{
	static char bytes[LITTLE];
	ssize_t n = recv(f->from, bytes, sizeof bytes, MSG_DONTWAIT), sent;

	if (n <= 0)
		return n;
	f->ready = f->ended || f->parted || n == LITTLE;	/* else less means that this was all */
	f->bulk = n == LITTLE;
	/* All of it, and the end behind it: it goes out with the end of stream, in one packet. */
	if (f->last && !f->parted && n < LITTLE) {
		f->eof = true;
		f->ready = false;
	}
	sent = send(f->to, bytes, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL | (f->eof ? MSG_MORE : 0));
	if (sent == -1 && errno != EAGAIN) {
		f->drop = f->ready = true;
		return n;
	}
	sent = sent == -1 ? 0 : sent;
	f->bytes += (uint64_t)sent;
	if (sent == n)
		return n;
	/* Not in a pipe: a user who has many gets small ones. */
	f->rest = malloc(sizeof *f->rest);
	if (f->rest == NULL)
		return -1;
	f->rest->n = f->held = (size_t)(n - sent);
	memcpy(f->rest->bytes, bytes + sent, f->held);
	return n;
}

static ssize_t
move(struct flow *f)
{
	ssize_t n;

	if (f->urgent || (f->pipe == NULL && (f->pipe = pipe_take()) == NULL))
		return copy(f);
	n = splice(f->from, NULL, f->pipe->in, NULL, CHUNK, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	if (n > 0)
		f->held += (size_t)n;
	f->bulk = n >= LITTLE;
	return n;
}

enum moved
flow_run(struct flow *f, bool other_shut)
{
	enum moved m = MOVED_MORE;

	for (int i = 0; i < TURN && m == MOVED_MORE && !f->eof; i++) {
		ssize_t n;

		if (f->held > 0 && pass_on(f) == MOVED_ALL)
			return MOVED_ALL;
		if (!f->ready)
			return MOVED_ALL;
		if (f->drop)
			return flow_drop(f);
		errno = 0;
		n = f->bulk ? move(f) : copy(f);
		if (n == 0)
			f->eof = true;
		else if (n == -1)
			m = errno == EAGAIN || errno == EINTR ? MOVED_ALL : MOVED_ERROR;
		if (n <= 0)
			f->ready = m == MOVED_ERROR;
	}
	if (f->held > 0 && pass_on(f) == MOVED_ALL && m != MOVED_ERROR)
		m = MOVED_ALL;
	if (f->held == 0) {
		flow_let_go(f);
		if (f->eof && !f->shut) {
			if (!other_shut)	/* else it is closed at once */
				(void)shutdown(f->to, SHUT_WR);
			f->shut = true;
		}
	}
	return m == MOVED_MORE && (f->eof || !f->ready) ? MOVED_ALL : m;
}

void
flow_told(struct flow *f, uint32_t events)
{
	f->ready |= (events & ~(uint32_t)EPOLLOUT) != 0;
	f->ended |= (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
	f->last = (f->last || (events & EPOLLRDHUP) != 0) && (events & EPOLLERR) == 0;
	/* An urgent byte goes along in its place; splice(2) would stop before it for ever. */
	if ((events & EPOLLPRI) != 0 && !f->urgent) {
		f->urgent = f->parted = true;
		(void)setsockopt(f->from, SOL_SOCKET, SO_OOBINLINE, &(int){ 1 }, sizeof(int));
	}
}

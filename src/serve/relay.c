#include "serve/link_parts.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "net/proxy.h"

enum {
	CONNECT_WAIT = 10 * SECOND,	/* for each address of a target */
	RESOLVE_WAIT = 10 * SECOND,
	AGAIN = SECOND,		/* before a name that stood for nothing is asked for again */
};

/* --- reaching the target */

static void try_next(struct link *l, int fault);

static void
opened(struct link *l)
{
	char header[PROXY_BUILT];
	size_t n;

	l->state = LINK_OPEN;
	loop_timer_stop(l->in->loop, &l->timer);
	link_moved(l, loop_now(l->in->loop));
	if (l->job.send_proxy != 0) {
		n = proxy_write(l->job.send_proxy, &l->job.peer, &l->job.local, header);
		/* Nothing has been sent there yet: a new buffer takes so little. */
		if (send(l->to, header, n, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)n) {
			link_free(l, true);
			return;
		}
	}
	l->up.to = l->to;
	l->down.to = l->fd;
	link_run(l);
}

static void
target_ready(void *arg, uint32_t events)
{
	struct link *l = arg;
	int fault = 0;
	socklen_t len = sizeof fault;

	if (l->state > LINK_CONNECTING || (events & EPOLLERR) == 0)
		flow_told(&l->down, events);
	if (l->state == LINK_LINGERING)
		return;
	if (l->state == LINK_OPEN) {
		link_run(l);
		return;
	}
	if ((events & (EPOLLERR | EPOLLHUP)) == 0 && (events & EPOLLOUT) != 0) {
		opened(l);
		return;
	}
	if (getsockopt(l->to, SOL_SOCKET, SO_ERROR, &fault, &len) == -1 || fault != 0) {
		try_next(l, fault);
		return;
	}
	/* It may have come and gone; and some events come before it is connected. */
	if ((events & EPOLLOUT) != 0) {
		l->down.ready = l->down.ended = true;
		opened(l);
	}
}

/* A UNIX socket's queue is full; nothing tells when it is not. False: it was so for too long. */
static bool
wait_for_queue(struct link *l)
{
	int64_t now = clock_ms();

	if (l->until == 0)
		l->until = now + CONNECT_WAIT;
	if (now >= l->until)
		return false;
	l->state = LINK_CONNECTING;
	loop_timer(l->in->loop, &l->timer, now + LOOK_LEAST);
	return true;
}

/* The next address of the target; behind the last one, `fault` is why there is no relay. */
static void
try_next(struct link *l, int fault)
{
	const struct place *p = l->place;

	for (;; l->address++) {
		const struct addr *a;

		loop_drop(l->in->loop, l->to_watch, l->to);
		l->to = -1;
		l->to_watch = 0;
		if (l->address >= p->n) {
			link_tell(l, REPORT_NO_TARGET)->fault = fault;
			link_free(l, true);
			return;
		}
		a = &p->to[l->address];
		l->to = socket(a->sa.sa_family, p->is.type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (l->to == -1 || (connect(l->to, &a->sa, a->len) == -1 && errno != EINPROGRESS)) {
			fault = errno;
			if (fault == EAGAIN && wait_for_queue(l))
				return;
			l->until = 0;
			continue;
		}
		l->address++;
		l->down.from = l->to;
		l->down.parted = a->sa.sa_family == AF_UNIX;
		l->to_watch = loop_watch(l->in->loop, l->to, LINK_EVENTS | EPOLLET, target_ready, l);
		if (l->to_watch == 0) {
			fault = errno;
			continue;
		}
		l->state = LINK_CONNECTING;
		loop_timer(l->in->loop, &l->timer, clock_ms() + CONNECT_WAIT);
		return;
	}
}

void
relay_begin(struct link *l)
{
	struct place *p = l->place;

	if (p->known && (p->n > 0 || loop_now(l->in->loop) - p->tried < AGAIN)) {
		try_next(l, 0);
		return;
	}
	l->waiting = true;
	l->next_waiting = p->waiting;
	if (l->next_waiting != NULL)
		l->next_waiting->prev_waiting = l;
	p->waiting = l;
	loop_timer(l->in->loop, &l->timer, clock_ms() + RESOLVE_WAIT);
	/* A name that stood for nothing, perhaps because the name service was not there yet. */
	if (p->known) {
		p->known = false;
		place_resolve(p);
	}
}

void
relay_late(struct link *l)
{
	if (l->state == LINK_CONNECTING) {
		try_next(l, ETIMEDOUT);
		return;
	}
	link_tell(l, REPORT_NO_TARGET)->fault = ETIMEDOUT;
	link_free(l, true);
}

void
relay_no_more(struct link *l)
{
	if (!l->waiting)
		return;
	*(l->prev_waiting != NULL ? &l->prev_waiting->next_waiting : &l->place->waiting) = l->next_waiting;
	if (l->next_waiting != NULL)
		l->next_waiting->prev_waiting = l->prev_waiting;
	l->waiting = false;
}

void
relay_known(struct place *p)
{
	while (p->waiting != NULL) {
		struct link *l = p->waiting;

		relay_no_more(l);
		try_next(l, 0);
	}
}

/* --- an open one */

void
relay_reset_target(const struct link *l)
{
	if (l->to != -1)
		(void)setsockopt(l->to, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
}

void
relay_run(struct link *l)
{
	uint64_t before = l->up.bytes + l->down.bytes + l->up.held + l->down.held;
	enum moved up = flow_run(&l->up, l->down.shut), down = flow_run(&l->down, l->up.shut);

	if (l->up.bytes + l->down.bytes + l->up.held + l->down.held != before)
		link_moved(l, loop_now(l->in->loop));
	if (l->down.drop) {		/* the client takes no more: nobody is served */
		link_free(l, true);
		return;
	}
	if (up == MOVED_ERROR) {	/* the client's reset is passed on */
		relay_reset_target(l);
		link_free(l, true);
		return;
	}
	if (down == MOVED_ERROR) {	/* and the target's, behind what it had said before */
		l->reset = true;
		link_linger(l);
		return;
	}
	if (l->down.shut && (l->up.shut || l->up.drop)) {
		link_finish(l);
		return;
	}
	if (up == MOVED_MORE || down == MOVED_MORE)
		link_again(l);
}

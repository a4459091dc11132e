#include "serve/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "net/loop.h"
#include "net/proxy.h"
#include "serve/builtin.h"
#include "serve/flow.h"
#include "serve/job.h"
#include "serve/place.h"

enum {
	CONNECT_WAIT = 10 * SECOND,	/* for each address of a target */
	MUX_WAIT = 10 * SECOND,
	RESOLVE_WAIT = 10 * SECOND,
	AGAIN = SECOND,		/* before a name that stood for nothing is asked for again */
	LOOK_LEAST = 10, LOOK_MOST = 250,	/* ms between looks whether the client has taken all */
	NO_PROGRESS = 60 * SECOND,	/* a client that takes nothing for so long is cut */
	LINGERING_PART = 8,	/* of all descriptors, that may only linger */
};

static const uint32_t EVENTS = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET;

enum link_state { LINK_RESOLVING, LINK_CONNECTING, LINK_OPEN, LINK_LINGERING };

struct link {			/* one connection */
	struct hash_node node;	/* by number */
	struct link *next;	/* of those that have more to do at once */
	struct link *prev_waiting, *next_waiting;	/* of those whose target is not known yet */
	struct place *place;	/* of a relay; held */
	struct job job;
	int fd, to;		/* the client; the target, -1 */
	uint32_t watch, to_watch;
	struct flow up, down;	/* from the client; to the client */
	struct timer timer;
	int64_t moved;
	size_t address;		/* of the target, that is tried */
	unsigned line;		/* chargen: the next; of it */
	unsigned sent;
	enum link_state state;
	bool listed;		/* among those that have more to do */
	bool reported;		/* that it is over */
	bool reset;		/* lingering: it ends so, once the client has taken what there was */
	int untaken;		/* lingering: bytes that the client had not taken */
	int64_t until;		/* lingering: it is over then; connecting: how long a full queue is waited for */
	int64_t interval;	/* the last between looks */
	bool waiting;		/* for its target's addresses */
};

static struct worker {
	struct loop *loop;
	int channel;
	uint32_t channel_watch;
	bool closed;		/* the master is gone: no more connections come */
	struct hash links;
	unsigned nlinks, nlingering, lingering_most;
	struct link *more, **more_end;	/* a queue */
	unsigned nmore;
	struct report report[REPORTS];
	unsigned nreports;
} w;

/* --- reports */

static void
flush_reports(void)
{
	if (w.nreports > 0 && !w.closed)
		(void)send(w.channel, w.report, w.nreports * sizeof w.report[0], MSG_NOSIGNAL);
	w.nreports = 0;
}

static struct report *
report(const struct job *j, enum report_kind kind)
{
	struct report *r;

	if (w.nreports == REPORTS)
		flush_reports();
	r = &w.report[w.nreports++];
	*r = (struct report){ .kind = kind, .number = j->number };
	return r;
}

/* --- links */

static void link_timer(void *arg, int64_t now);

static void
wait_no_more(struct link *l)
{
	if (!l->waiting)
		return;
	*(l->prev_waiting != NULL ? &l->prev_waiting->next_waiting : &l->place->waiting) = l->next_waiting;
	if (l->next_waiting != NULL)
		l->next_waiting->prev_waiting = l->prev_waiting;
	l->waiting = false;
}

static void
report_done(struct link *l)
{
	struct report *r;

	if (l->reported)
		return;
	l->reported = true;
	r = report(&l->job, REPORT_DONE);
	r->bytes.in = l->up.bytes;
	r->bytes.out = l->down.bytes;
}

/* The end. `reset`: the client is to see that it was no good end. */
static void
link_free(struct link *l, bool reset)
{
	report_done(l);
	if (reset && l->job.peer.kind == PEER_IP)
		(void)setsockopt(l->fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
	wait_no_more(l);
	hash_remove(&w.links, &l->node);
	loop_timer_stop(w.loop, &l->timer);
	loop_timer_leave(w.loop);
	if (l->job.kind == JOB_MUX)	/* the service has it from now on: its events are none of ours */
		loop_close(w.loop, l->watch, l->fd);
	else
		loop_drop(w.loop, l->watch, l->fd);
	loop_drop(w.loop, l->to_watch, l->to);
	flow_let_go(&l->up);
	flow_let_go(&l->down);
	place_leave(l->place);
	w.nlinks--;
	w.nlingering -= l->state == LINK_LINGERING;
	if (l->listed)
		for (struct link **at = &w.more; *at != NULL; at = &(*at)->next)
			if (*at == l) {
				*at = l->next;
				if (*at == NULL)
					w.more_end = at;
				w.nmore--;
				break;
			}
	free(l);
}

/*
 * One look at a connection that lingers: it is closed at the client's end of stream, or when the client
 * has taken everything and `linger` has passed since. One that is still taking a long reply is not cut.
 */
static void
look(struct link *l, int64_t now)
{
	int left = 0;

	if (ioctl(l->fd, SIOCOUTQ, &left) == -1)
		left = 0;
	if (left != l->untaken) {
		l->untaken = left;
		l->until = now + (left > 0 ? NO_PROGRESS : l->job.linger);
		l->interval = LOOK_LEAST;
	} else if (now >= l->until) {
		link_free(l, l->reset);
		return;
	}
	if (left == 0 && l->reset) {
		link_free(l, true);
		return;
	}
	/* While bytes are on their way nothing tells when they have arrived. */
	loop_timer(w.loop, &l->timer, left == 0 || now + l->interval > l->until ? l->until : now + l->interval);
	l->interval = l->interval * 2 > LOOK_MOST ? LOOK_MOST : l->interval * 2;
}

/* It is served, and counts for nothing any more; but the client may not have everything yet. */
static void
linger(struct link *l)
{
	report_done(l);
	if (l->job.linger < 0 || w.nlingering >= w.lingering_most) {
		link_free(l, l->reset);
		return;
	}
	l->state = LINK_LINGERING;
	w.nlingering++;
	l->up.drop = true;
	l->until = loop_now(w.loop) + l->job.linger;
	l->interval = LOOK_LEAST;
	look(l, loop_now(w.loop));
}

/* Everything for the client is sent: its end of stream is awaited, but not for ever. */
static void
finish(struct link *l)
{
	if (!l->down.shut)
		(void)shutdown(l->fd, SHUT_WR);
	l->down.shut = true;
	if (l->up.eof)
		link_free(l, false);
	else
		linger(l);
}

/* --- running them */

static void
again(struct link *l)
{
	if (l->listed)
		return;
	l->listed = true;
	l->next = NULL;
	*w.more_end = l;
	w.more_end = &l->next;
	w.nmore++;
}

static void
set_idle(struct link *l, int64_t now)
{
	l->moved = now;
	if (l->job.idle > 0 && l->timer.place == 0)
		loop_timer(w.loop, &l->timer, now + l->job.idle);
}

static void
reset_target(const struct link *l)
{
	if (l->to != -1)
		(void)setsockopt(l->to, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
}

static void
run_relay(struct link *l)
{
	uint64_t before = l->up.bytes + l->down.bytes + l->up.held + l->down.held;
	enum moved up = flow_run(&l->up, l->down.shut), down = flow_run(&l->down, l->up.shut);

	if (l->up.bytes + l->down.bytes + l->up.held + l->down.held != before)
		set_idle(l, loop_now(w.loop));
	if (l->down.drop) {		/* the client takes no more: nobody is served */
		link_free(l, true);
		return;
	}
	if (up == MOVED_ERROR) {	/* the client's reset is passed on */
		reset_target(l);
		link_free(l, true);
		return;
	}
	if (down == MOVED_ERROR) {	/* and the target's, behind what it had said before */
		l->reset = true;
		linger(l);
		return;
	}
	if (l->down.shut && (l->up.shut || l->up.drop)) {
		finish(l);
		return;
	}
	if (up == MOVED_MORE || down == MOVED_MORE)
		again(l);
}

static void
run_chargen(struct link *l)
{
	char text[CHARGEN_LINE];
	enum moved in = flow_drop(&l->up);

	for (int i = 0; i < 256 && in != MOVED_ERROR; i++) {
		ssize_t n;

		chargen_line(text, l->line);
		n = send(l->fd, text + l->sent, sizeof text - l->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n == -1) {
			if (errno != EAGAIN)
				in = MOVED_ERROR;
			break;
		}
		l->down.bytes += (uint64_t)n;
		l->moved = loop_now(w.loop);
		l->sent += (unsigned)n;
		if (l->sent == sizeof text) {
			l->line = (l->line + 1) % CHARGEN_LINES;
			l->sent = 0;
		}
		if (i == 255)
			again(l);
	}
	if (in == MOVED_MORE)
		again(l);
	/* Whoever has shut his side has heard enough. */
	if (in == MOVED_ERROR || l->up.eof)
		link_free(l, false);
}

/* The name in the line, without its end; at most what fits. */
static void
run_mux(struct link *l)
{
	char text[NAME_LINE + 2], *end;
	ssize_t n = recv(l->fd, text, sizeof text, MSG_PEEK | MSG_DONTWAIT);
	struct report *r;
	size_t len;

	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	end = n > 0 ? memchr(text, '\n', (size_t)n) : NULL;
	if (end == NULL && n > 0 && n < (ssize_t)sizeof text && !l->up.ended)
		return;		/* the timer bounds it */
	r = report(&l->job, REPORT_NAME);
	l->reported = true;
	if (end != NULL) {
		/* No byte behind the line is taken: it is the service's. */
		(void)recv(l->fd, text, (size_t)(end - text) + 1, MSG_DONTWAIT);
		len = (size_t)(end - text);
		if (len > 0 && text[len - 1] == '\r')
			len--;
		if (len < sizeof r->name && memchr(text, '\0', len) == NULL)
			memcpy(r->name, text, len);
	}
	link_free(l, false);
}

static void
run(struct link *l)
{
	enum moved m;

	if (l->state == LINK_LINGERING) {
		m = flow_drop(&l->up);
		if (m == MOVED_MORE)
			again(l);
		else if (m == MOVED_ERROR || (l->up.eof && !l->reset))
			link_free(l, false);
		return;
	}
	switch (l->job.kind) {
	case JOB_RELAY:
		if (l->state == LINK_OPEN)
			run_relay(l);
		break;
	case JOB_ECHO:
		m = flow_run(&l->up, false);
		l->down.bytes = l->up.bytes;
		set_idle(l, loop_now(w.loop));
		if (m == MOVED_ERROR || l->up.drop)
			link_free(l, false);
		else if (l->up.shut)
			finish(l);
		else if (m == MOVED_MORE)
			again(l);
		break;
	case JOB_DISCARD:
		m = flow_drop(&l->up);
		set_idle(l, loop_now(w.loop));
		if (m == MOVED_MORE)
			again(l);
		else if (m == MOVED_ERROR || l->up.eof)
			link_free(l, false);
		break;
	case JOB_CHARGEN:
		run_chargen(l);
		break;
	case JOB_MUX:
		run_mux(l);
		break;
	default:
		break;
	}
}

static void
client_ready(void *arg, uint32_t events)
{
	struct link *l = arg;

	flow_told(&l->up, events);
	/* Before there is a target only the client's reset matters. */
	if (l->state < LINK_OPEN) {
		if ((events & EPOLLERR) != 0)
			link_free(l, true);
		return;
	}
	/* Behind its end of stream nothing is read that would tell of the reset. */
	if (l->up.eof && !l->down.shut && (events & (EPOLLERR | EPOLLHUP)) != 0) {
		reset_target(l);
		link_free(l, true);
		return;
	}
	run(l);
}

/* --- relays: reaching the target */

static void try_next(struct link *l, int fault);

static void
opened(struct link *l)
{
	char header[PROXY_BUILT];
	size_t n;

	l->state = LINK_OPEN;
	loop_timer_stop(w.loop, &l->timer);
	set_idle(l, loop_now(w.loop));
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
	run(l);
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
		run(l);
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

/* A UNIX socket's queue is full, and nothing will tell when it is not. False: it was so for too long. */
static bool
wait_for_queue(struct link *l)
{
	int64_t now = clock_ms();

	if (l->until == 0)
		l->until = now + CONNECT_WAIT;
	if (now >= l->until)
		return false;
	l->state = LINK_CONNECTING;
	loop_timer(w.loop, &l->timer, now + LOOK_LEAST);
	return true;
}

/* The next address of the target; behind the last one, `fault` is why there is no relay. */
static void
try_next(struct link *l, int fault)
{
	const struct place *p = l->place;

	for (;; l->address++) {
		const struct addr *a;

		loop_drop(w.loop, l->to_watch, l->to);
		l->to = -1;
		l->to_watch = 0;
		if (l->address >= p->n) {
			report(&l->job, REPORT_NO_TARGET)->fault = fault;
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
		l->to_watch = loop_watch(w.loop, l->to, EVENTS, target_ready, l);
		if (l->to_watch == 0) {
			fault = errno;
			continue;
		}
		l->state = LINK_CONNECTING;
		loop_timer(w.loop, &l->timer, clock_ms() + CONNECT_WAIT);
		return;
	}
}

/* Its addresses are known: those that wait go on. */
static void
place_known(struct place *p)
{
	while (p->waiting != NULL) {
		struct link *l = p->waiting;

		wait_no_more(l);
		try_next(l, 0);
	}
}

/* --- jobs */

static void
link_timer(void *arg, int64_t now)
{
	struct link *l = arg;

	switch (l->state) {
	case LINK_RESOLVING:
		report(&l->job, REPORT_NO_TARGET)->fault = ETIMEDOUT;
		link_free(l, true);
		return;
	case LINK_CONNECTING:
		try_next(l, ETIMEDOUT);
		return;
	case LINK_LINGERING:
		look(l, now);
		return;
	case LINK_OPEN:
		if (l->job.kind == JOB_MUX) {
			(void)report(&l->job, REPORT_NAME);
			l->reported = true;
			link_free(l, false);
		} else if (now - l->moved >= l->job.idle) {
			(void)report(&l->job, REPORT_IDLE);
			link_free(l, false);
		} else {
			loop_timer(w.loop, &l->timer, l->moved + l->job.idle);
		}
	}
}

/* Says it once, and then the end. */
static void
say(struct link *l, const char *text, size_t len)
{
	ssize_t n = send(l->fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	l->down.bytes = n > 0 ? (uint64_t)n : 0;
	l->up.from = l->fd;
	finish(l);
}

static void
take_job(const struct job *j, int fd)
{
	struct link *l = fd != -1 ? calloc(1, sizeof *l) : NULL;
	struct report *r;
	char text[DAYTIME_MOST];

	if (l == NULL || loop_timer_room(w.loop) == -1) {
		r = report(j, REPORT_LOST);
		r->fault = fd == -1 ? EMFILE : ENOMEM;
		free(l);
		if (fd != -1)
			(void)close(fd);
		return;
	}
	(void)report(j, REPORT_TAKEN);
	*l = (struct link){ .job = *j, .fd = fd, .to = -1, .state = LINK_OPEN, .moved = loop_now(w.loop),
		.timer = { .fire = link_timer } };
	l->timer.arg = l;
	l->up = (struct flow){ .from = fd, .to = fd, .parted = j->peer.by_unix };
	hash_put(&w.links, &l->node, hash_number(j->number));
	w.nlinks++;
	if (j->kind == JOB_RELAY) {
		l->state = LINK_RESOLVING;
		l->place = place_find(j->target);
		if (l->place != NULL)
			(void)place_hold(l->place);
	}
	l->watch = loop_watch(w.loop, fd, EVENTS, client_ready, l);
	if (l->watch == 0 || (j->kind == JOB_RELAY && l->place == NULL)) {
		link_free(l, true);
		return;
	}
	switch (j->kind) {
	case JOB_RELAY:
		if (l->place->known && (l->place->n > 0 || loop_now(w.loop) - l->place->tried < AGAIN)) {
			try_next(l, 0);
			return;
		}
		l->waiting = true;
		l->next_waiting = l->place->waiting;
		if (l->next_waiting != NULL)
			l->next_waiting->prev_waiting = l;
		l->place->waiting = l;
		loop_timer(w.loop, &l->timer, clock_ms() + RESOLVE_WAIT);
		/* A name that stood for nothing, perhaps because the name service was not there yet. */
		if (l->place->known) {
			l->place->known = false;
			place_resolve(l->place);
		}
		return;
	case JOB_DAYTIME:
		say(l, text, daytime_text(text));
		return;
	case JOB_TIME:
		say(l, text, time_bytes(text));
		return;
	case JOB_MUX:
		loop_timer(w.loop, &l->timer, clock_ms() + MUX_WAIT);
		break;
	default:
		set_idle(l, loop_now(w.loop));
		break;
	}
	run(l);
}

/* As the master wants it. What only lingers has its last bytes with the kernel. */
static void
link_end(struct link *l)
{
	link_free(l, l->state != LINK_LINGERING || l->reset);
}

static void
end_links(uint64_t number)
{
	struct hash_node *n;

	if (number == 0) {
		for (size_t i = 0; i <= w.links.mask && w.links.bucket != NULL; i++)
			while (w.links.bucket[i] != NULL)
				link_end((struct link *)w.links.bucket[i]);
		return;
	}
	for (n = hash_find(&w.links, hash_number(number)); n != NULL; n = hash_next(n)) {
		if (((struct link *)n)->job.number == number) {
			link_free((struct link *)n, true);
			return;
		}
	}
}

/* One message. False: none now, or the master is gone. */
static bool
take_message(void)
{
	static union { struct job job[JOBS]; struct target target; } m;
	union { struct cmsghdr head; char room[CMSG_SPACE(JOBS * sizeof(int))]; } control;
	struct iovec v = { &m, sizeof m };
	struct msghdr h = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &control,
		.msg_controllen = sizeof control };
	ssize_t n = recvmsg(w.channel, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c;
	size_t nfds = 0;
	int fds[JOBS];

	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		w.closed = true;
		loop_close(w.loop, w.channel_watch, w.channel);
		return false;
	}
	/* Without descriptors to be had there are fewer than jobs. */
	c = CMSG_FIRSTHDR(&h);
	if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		nfds = (c->cmsg_len - CMSG_LEN(0)) / sizeof fds[0];
		memcpy(fds, CMSG_DATA(c), nfds * sizeof fds[0]);
	}
	if (m.job[0].kind == JOB_TARGET)
		place_take(&m.target);
	else if (m.job[0].kind == JOB_END)
		end_links(m.job[0].number);
	else
		for (size_t i = 0; i < (size_t)n / sizeof m.job[0]; i++)
			take_job(&m.job[i], i < nfds ? fds[i] : -1);
	return true;
}

static void
channel_ready(void *arg, uint32_t events)
{
	(void)arg;
	(void)events;
	for (int i = 0; i < 64 && take_message(); i++)
		;
}

void
worker_run(int channel, void *arg)
{
	struct rlimit r;

	(void)arg;
	w.channel = channel;
	w.more_end = &w.more;
	w.lingering_most = getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < UINT32_MAX ?
	    (unsigned)r.rlim_cur / LINGERING_PART : UINT32_MAX;
	(void)signal(SIGPIPE, SIG_IGN);	/* splice(2) cannot be told to send none */
	w.loop = loop_new();
	if (w.loop == NULL || hash_init(&w.links) == -1)
		_exit(1);
	place_begin(w.loop, place_known);
	w.channel_watch = loop_watch(w.loop, channel, EPOLLIN, channel_ready, NULL);
	if (w.channel_watch == 0)
		_exit(1);
	while (!w.closed || w.nlinks > 0) {
		if (loop_run_once(w.loop, w.more != NULL ? 0 : -1) == -1)
			_exit(1);
		/* Those that had more to do than a turn allows, each once. */
		for (unsigned n = w.nmore; n > 0 && w.more != NULL; n--) {
			struct link *l = w.more;

			w.more = l->next;
			if (w.more == NULL)
				w.more_end = &w.more;
	w.lingering_most = getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < UINT32_MAX ?
	    (unsigned)r.rlim_cur / LINGERING_PART : UINT32_MAX;
			w.nmore--;
			l->listed = false;
			run(l);
		}
		flush_reports();
	}
	_exit(0);
}

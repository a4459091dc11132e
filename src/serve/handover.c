#include "serve/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/queue.h"
#include "serve/conn.h"
#include "serve/datagram.h"

enum {
	FREE = 4,		/* ends without reading, in a row, that cost nothing */
	REST_LEAST = 1000, REST_MOST = 60000,	/* ms of the pauses then */
	SHORT = 1000,		/* ms: who ran longer did something */
};

/* --- what waits there */

/*
 * When the first datagram came. One that came before the kernel began to look at the clock has no
 * time, and is said to have come now, whenever that is: so it is asked twice. 0: it is not told.
 */
static struct timespec
when_it_came(const struct outlet *o)
{
	struct timespec at[2] = { { 0 }, { 0 } };
	struct inbound in;

	for (int i = 0; i < 2; i++)
		if (!datagram_peek(o, &in) || ioctl(o->fd, SIOCGSTAMPNS, &at[i]) == -1)
			return (struct timespec){ 0 };
	return at[0].tv_sec == at[1].tv_sec && at[0].tv_nsec == at[1].tv_nsec ? at[0] : (struct timespec){ 0 };
}

/* The first datagram's mark: what it is and, where the kernel tells, when it came. 0: none is there. */
static uint64_t
first_datagram(const struct listener *l, struct inbound *in)
{
	const struct outlet o = { .fd = l->bound.fd, .family = l->bound.addr->sa.sa_family };
	struct { char bytes[512]; struct addr from; size_t len; struct timespec at; } m;
	int faults = 8;		/* ICMP messages of earlier replies are told in between */

	while (!datagram_peek(&o, in))
		if (errno == EAGAIN || faults-- == 0)
			return 0;
	memset(&m, 0, sizeof m);
	memcpy(m.bytes, in->bytes, in->len < sizeof m.bytes ? in->len : sizeof m.bytes);
	memcpy(&m.from.sa, &in->from.sa, in->from.len);
	m.len = in->len;
	if (o.family != AF_UNIX)
		m.at = when_it_came(&o);
	return hash_bytes(&m, sizeof m) | 1;
}

/* How much waits; where the kernel does not say, whether anything does. */
static uint64_t
amount(const struct listener *l)
{
	int n = queue_length(l->bound.fd, l->type);

	return n >= 0 ? (uint64_t)n : listener_is_readable(l);
}

static bool
same_datagram(const struct listener *l)
{
	struct inbound in;

	return l->handover->head != 0 && first_datagram(l, &in) == l->handover->head;
}

/*
 * Has the command left what was there? Of connections only numbers are known. None came meanwhile,
 * and there are as many as before: yes. One came, or more, and there are no more than before: no. More
 * came than can be told apart: it counts for neither.
 */
static void
judge(struct listener *l)
{
	uint64_t left;

	if (l->handover->ran >= SHORT || !listener_is_readable(l)) {
		l->handover->unread = 0;
	} else if (l->type == SOCK_DGRAM) {
		l->handover->unread = same_datagram(l) ? l->handover->unread + 1 : 0;
	} else {
		left = amount(l);
		if (left < l->handover->head || (l->handover->arrivals > 0 && left == l->handover->head))
			l->handover->unread = 0;
		else if (l->handover->arrivals <= 0)
			l->handover->unread++;
	}
}

/* --- a FIFO's two descriptors */

/*
 * The command reads from one that is for reading only, so that it sees the end when the last writer
 * leaves; until the next one it is held for writing too, so that nobody is told of that end for ever.
 * One of them is always open: what is in it is not lost.
 */
static bool
reopen_fifo(struct listener *l, int how)
{
	int fd = sock_open_fifo(sock_path(&l->bound), how);
	struct stat was, is;

	if (fd == -1)
		return false;
	/* Whoever may write into the directory could have put anything there. */
	if (fstat(l->bound.fd, &was) == -1 || fstat(fd, &is) == -1 || was.st_ino != is.st_ino || was.st_dev != is.st_dev) {
		(void)close(fd);
		errno = ESTALE;
		return false;
	}
	(void)close(l->bound.fd);
	l->bound.fd = fd;
	return true;
}

/* --- */

/* Something more waits. The first time it is what was there when this began to be told. */
static void
arrived(void *arg, uint32_t events)
{
	struct listener *l = arg;

	if ((events & EPOLLIN) == 0)
		return;
	if (l->handover->arrivals++ == -1)
		l->handover->head = amount(l);
}

static bool
hand_over(struct listener *l, const struct peer *peer, struct source *source)
{
	struct engine *e = l->unit->engine;
	struct conn *c;
	int flags;

	listener_resume(l);	/* what it paused for is over */
	loop_unwatch(e->loop, l->watch);
	l->watch = 0;
	l->pausing = true;	/* until it has ended */
	if (l->type == 0 && !reopen_fifo(l, O_RDONLY)) {
		source_leave(&e->sources, source);
		listener_pause(l, REASON_FORK, listener_delay(e), strerror(errno));
		return false;
	}
	/* Shared with the one before, who may have set it. */
	flags = fcntl(l->bound.fd, F_GETFL);
	if ((flags & O_NONBLOCK) != 0)
		(void)fcntl(l->bound.fd, F_SETFL, flags & ~O_NONBLOCK);
	pace_count(&l->unit->pace, loop_now(e->loop));
	c = conn_new(l->unit, -1, peer, source);
	c->handed = l;
	l->handover->child = c;
	if (conn_start(c, l->bound.addr) == 0) {
		l->handover->arrivals = -1;
		if (l->type != SOCK_DGRAM)
			l->watch = loop_watch(e->loop, l->bound.fd, EPOLLIN | EPOLLET, arrived, l);
		return true;
	}
	flags = errno;
	c->handed = NULL;
	l->handover->child = NULL;
	conn_free(c);
	if (l->type == 0)
		(void)reopen_fifo(l, O_RDWR);
	listener_pause(l, REASON_FORK, listener_delay(e), strerror(flags));
	return false;
}

/* Does a rule judge who sends? */
static bool
has_rules(const struct service *s)
{
	return s->only_from.given || s->no_access.given;
}

/* Who sent the first datagram decides: a refused one is read and dropped. */
static enum took
look_at_first(struct listener *l)
{
	const struct service *s = l->unit->conf;
	const struct outlet o = { .fd = l->bound.fd, .family = l->bound.addr->sa.sa_family };
	const struct peer nobody = { .kind = PEER_NONE };
	struct source *source = NULL;
	struct inbound in;
	enum reason why = REASON_TIME;

	l->handover->head = first_datagram(l, &in);
	if (l->handover->head == 0)
		return TOOK_ALL;
	if (in.peer.kind == PEER_UNIX && in.peer.uid == UINT32_MAX)
		in.peer = nobody;
	if (in.peer.kind == PEER_NONE && has_rules(s))
		why = REASON_ADDRESS;
	else if (in.peer.kind != PEER_NONE ? unit_lets_in(l->unit, &in.peer, &why, &source) : service_is_open(s)) {
		(void)hand_over(l, &in.peer, source);
		return TOOK_PAUSE;
	}
	record_fail(l->unit, &in.peer, why, NULL);
	(void)datagram_read(&o, 1, &in);
	return TOOK_SOME;
}

void
handover_ask(const struct listener *l, int fd)
{
	/* Both may have been otherwise, for another service or while the master itself read there. */
	int who = has_rules(l->unit->conf) || l->unit->conf->source.rate.n != 0, one = 1;

	if (l->type != SOCK_DGRAM)
		return;
	(void)setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &who, sizeof who);
	(void)setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &one, sizeof one);
}

int
handover_prepare(struct listener *l, int fd)
{
	struct timespec at;

	l->handover = calloc(1, sizeof *l->handover);
	if (l->handover == NULL)
		return -1;
	handover_ask(l, fd);
	if (l->type == SOCK_DGRAM)
		(void)ioctl(fd, SIOCGSTAMPNS, &at);	/* there is none yet; from now on there are */
	return 0;
}

/* Its command has ended. False: the next one has to wait. */
static bool
go_on(struct listener *l)
{
	struct engine *e = l->unit->engine;
	int64_t rest = REST_LEAST;

	loop_unwatch(e->loop, l->watch);
	l->watch = 0;
	judge(l);
	if (l->type == 0 && !reopen_fifo(l, O_RDWR)) {
		unit_say(l->unit, LEVEL_ERR, "error", "%s: cannot open it: %s", l->bound.name, strerror(errno));
		loop_timer(e->loop, &l->timer, loop_now(e->loop) + SECOND);
		return false;
	}
	l->handover->ended = false;
	if (l->handover->unread < FREE)
		return true;
	if (l->handover->unread == FREE)
		unit_say(l->unit, LEVEL_WARNING, "error", "%s: the command ends and leaves there what was there; from "
		    "now on it is started after growing pauses", l->bound.name);
	for (unsigned i = FREE; i < l->handover->unread && rest < REST_MOST; i++)
		rest *= 2;
	loop_timer(e->loop, &l->timer, loop_now(e->loop) + (rest > REST_MOST ? REST_MOST : rest));
	return false;
}

enum took
handover_take(struct listener *l, unsigned most)
{
	struct engine *e = l->unit->engine;
	const struct service *s = l->unit->conf;
	const struct peer nobody = { .kind = PEER_NONE };
	enum took took = TOOK_SOME;
	bool blind;

	if (l->handover->child != NULL)
		return TOOK_PAUSE;
	if (l->handover->ended && !go_on(l))
		return TOOK_PAUSE;
	if (!listener_is_readable(l))
		return TOOK_ALL;
	if (!listener_has_room(l, true))
		return TOOK_PAUSE;
	if (l->type == SOCK_DGRAM) {
		for (unsigned n = 0; n < most && took == TOOK_SOME; n++)
			took = look_at_first(l);
		return took;
	}
	/* An fd: that the table's check could not look at may be a stream, where nobody can be asked who comes. */
	blind = l->type != 0 && has_rules(s);
	if (blind || !service_is_open(s)) {
		listener_pause(l, blind ? REASON_ADDRESS : REASON_TIME, loop_now(e->loop) + SECOND, NULL);
		return TOOK_PAUSE;
	}
	l->handover->head = amount(l);
	(void)hand_over(l, &nobody, NULL);
	return TOOK_PAUSE;
}

void
handover_drop(struct listener *l)
{
	const struct outlet o = { .fd = l->bound.fd, .family = l->bound.addr->sa.sa_family };
	struct inbound in;

	if (l->type == SOCK_DGRAM && same_datagram(l))
		(void)datagram_read(&o, 1, &in);
}

void
handover_over(struct listener *l, int64_t ran)
{
	struct engine *e = l->unit->engine;

	l->handover->child = NULL;
	l->handover->ran = ran;
	l->handover->ended = true;
	/* Behind what else this turn of the loop tells, arrivals among it. */
	loop_timer(e->loop, &l->timer, loop_now(e->loop));
}

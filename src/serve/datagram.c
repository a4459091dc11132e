#include "serve/datagram.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "serve/conn.h"

enum {
	REPLIES = 32,		/* of one child that leave in one turn */
	DRAIN = 8192,		/* at its end: more than its buffer holds, unless it was made larger */
	OVERFLOW_ID = 65534,		/* overflowuid and -gid of the kernel: whose credentials are not known */
	QUEUE = 1 << 20,	/* bytes of datagrams that a session's command has not read yet */
	CONTROL = CMSG_SPACE(sizeof(struct in6_pktinfo)),
	/* Without room for descriptors: where SO_PASSRIGHTS is not known they would become ours. */
	CONTROL_UNIX = CMSG_SPACE(sizeof(struct ucred)),
};

/* --- datagrams */

struct outlet *
outlet_new(const struct bound *b)
{
	struct outlet *o = malloc(sizeof *o);

	if (o != NULL)
		*o = (struct outlet){ .refs = 1, .fd = -1, .family = b->addr->sa.sa_family };
	return o;
}

void
outlet_put(struct outlet *o)
{
	if (o == NULL || --o->refs > 0)
		return;
	if (o->watch != 0)
		loop_close(o->engine->loop, o->watch, o->fd);
	else if (o->fd != -1)
		(void)close(o->fd);
	free(o->kept);
	free(o);
}

bool
datagram_keep(struct outlet *o, const struct inbound *in)
{
	struct inbound *k = malloc(sizeof *k + in->len);

	if (k == NULL)
		return false;
	*k = *in;
	k->bytes = (char *)(k + 1);
	if (in->len > 0)
		memcpy(k->bytes, in->bytes, in->len);
	free(o->kept);
	o->kept = k;
	return true;
}

void
datagram_prepare(int fd, int family)
{
	int one = 1, zero = 0;

	switch (family) {
	case AF_INET:
		(void)setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof one);
		break;
	case AF_INET6:
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof one);
		break;
	default:
		(void)setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof one);
		/* Nobody could use a descriptor that comes along, and to close it might take long. */
		(void)setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &zero, sizeof zero);
		break;
	}
}

/* What the kernel tells beside a datagram: which address was asked, who sent it. */
static void
read_control(struct msghdr *m, struct inbound *in)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
		struct addr a = { .len = sizeof a.in6, .in6 = { .sin6_family = AF_INET6 } };
		struct in6_pktinfo six;
		struct in_pktinfo four;
		struct ucred who;
		uint32_t scope, port;

		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			memcpy(&four, CMSG_DATA(c), sizeof four);
			a.in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr = four.ipi_spec_dst };
			in->told = addr_ip(&a, &in->to, &scope, &port);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			memcpy(&six, CMSG_DATA(c), sizeof six);
			a.in6.sin6_addr = six.ipi6_addr;
			in->told = addr_ip(&a, &in->to, &scope, &port) &&
			    !IN6_IS_ADDR_MULTICAST(&six.ipi6_addr);
			if (IN6_IS_ADDR_LINKLOCAL(&six.ipi6_addr) || IN6_IS_ADDR_MULTICAST(&six.ipi6_addr))
				in->zone = six.ipi6_ifindex;
		} else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS) {
			memcpy(&who, CMSG_DATA(c), sizeof who);
			/* So it is of one that came before that was asked for. */
			if (who.pid != 0 || who.uid != OVERFLOW_ID || who.gid != OVERFLOW_ID)
				in->peer = (struct peer){ .kind = PEER_UNIX, .uid = who.uid, .gid = who.gid, .pid = who.pid };
		}
	}
}

static unsigned
read_some(const struct outlet *o, unsigned most, int flags, struct inbound *out)
{
	static char bytes[INBOUND_MOST][DATAGRAM_MOST];
	static _Alignas(struct cmsghdr) char control[INBOUND_MOST][CONTROL];
	struct mmsghdr m[INBOUND_MOST];
	struct iovec v[INBOUND_MOST];
	int n;

	memset(out, 0, most * sizeof *out);	/* all of one may be kept, and handed to a successor */
	for (unsigned i = 0; i < most; i++) {
		v[i] = (struct iovec){ bytes[i], DATAGRAM_MOST };
		m[i] = (struct mmsghdr){ .msg_hdr = { .msg_name = &out[i].from.sa,
			.msg_namelen = sizeof out[i].from - offsetof(struct addr, sa), .msg_iov = &v[i],
			.msg_iovlen = 1, .msg_control = control[i], .msg_controllen = o->family == AF_UNIX ? CONTROL_UNIX : CONTROL } };
	}
	n = recvmmsg(o->fd, m, most, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | flags, NULL);
	for (int i = 0; i < n; i++) {
		struct inbound *in = &out[i];

		in->from.len = m[i].msg_hdr.msg_namelen;
		in->bytes = bytes[i];
		in->len = m[i].msg_len;
		in->cut = (m[i].msg_hdr.msg_flags & MSG_TRUNC) != 0;
		in->peer = (struct peer){ .kind = o->family == AF_UNIX ? PEER_UNIX : PEER_IP,
			.uid = o->family == AF_UNIX ? UINT32_MAX : 0 };
		if (o->family != AF_UNIX)
			(void)addr_ip(&in->from, &in->peer.ip, &in->peer.scope, &in->peer.port);
		read_control(&m[i].msg_hdr, in);
	}
	return n > 0 ? (unsigned)n : 0;
}

unsigned
datagram_read(const struct outlet *o, unsigned most, struct inbound *out)
{
	return read_some(o, most, 0, out);
}

bool
datagram_peek(const struct outlet *o, struct inbound *out)
{
	return read_some(o, 1, MSG_PEEK, out) == 1;
}

/* The control message that chooses the address it leaves from. */
static void
leave_from(struct msghdr *m, int family, const struct inbound *to)
{
	struct in_pktinfo four = { .ipi_ifindex = 0 };
	struct in6_pktinfo six = { .ipi6_ifindex = to->zone };
	bool v4 = family == AF_INET;
	size_t size = v4 ? sizeof four : sizeof six;
	struct cmsghdr *c;

	m->msg_controllen = CMSG_SPACE(size);
	c = CMSG_FIRSTHDR(m);
	c->cmsg_level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
	c->cmsg_type = v4 ? IP_PKTINFO : IPV6_PKTINFO;
	c->cmsg_len = CMSG_LEN(size);
	memcpy(&four.ipi_spec_dst, to->to.b + 12, 4);
	memcpy(&six.ipi6_addr, to->to.b, 16);
	memcpy(CMSG_DATA(c), v4 ? (void *)&four : (void *)&six, size);
}

bool
datagram_reply(const struct outlet *o, const struct inbound *to, const void *bytes, size_t len)
{
	_Alignas(struct cmsghdr) char control[CONTROL] = { 0 };
	struct iovec v = { (void *)(uintptr_t)bytes, len };
	struct addr name = to->from;
	struct msghdr m = { .msg_name = &name.sa, .msg_namelen = name.len, .msg_iov = &v, .msg_iovlen = 1 };

	if (name.len <= sizeof name.sa.sa_family) {
		errno = EDESTADDRREQ;	/* a UNIX sender without a name */
		return false;
	}
	if (to->told && o->family != AF_UNIX) {
		m.msg_control = control;
		leave_from(&m, o->family, to);
		if (sendmsg(o->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) != -1)
			return true;
		/* What was asked may be nobody's address alone, as a broadcast's: the kernel chooses then. */
		if (errno != EINVAL && errno != EADDRNOTAVAIL && errno != ENETUNREACH)
			return false;
		m.msg_control = NULL;
		m.msg_controllen = 0;
	}
	return sendmsg(o->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) != -1;
}

/* --- dialogs */

static uint64_t
session_key(const struct outlet *o, const struct inbound *in)
{
	struct {
		const struct outlet *outlet;
		struct ip to, from;
		uint32_t scope, port, uid, pid;
		char path[sizeof in->from.un.sun_path];
	} k;

	memset(&k, 0, sizeof k);
	k.outlet = o;
	if (in->told)
		k.to = in->to;
	if (in->peer.kind == PEER_IP) {
		k.from = in->peer.ip;
		k.scope = in->peer.scope;
		k.port = in->peer.port;
	} else if (in->from.len <= offsetof(struct sockaddr_un, sun_path)) {
		k.uid = in->peer.uid;
		k.pid = (uint32_t)in->peer.pid;
	} else {
		k.uid = in->peer.uid;
		memcpy(k.path, in->from.un.sun_path, in->from.len - offsetof(struct sockaddr_un, sun_path));
	}
	return hash_bytes(&k, sizeof k);
}

/* A UNIX sender is its user too, on whom the rules were tried; one without a name is its process. */
static bool
same_peer(const struct dialog *d, const struct outlet *o, const struct inbound *in)
{
	const struct inbound *w = &d->who;

	if (in->peer.kind == PEER_UNIX && (w->peer.uid != in->peer.uid ||
	    (in->from.len <= offsetof(struct sockaddr_un, sun_path) && w->peer.pid != in->peer.pid)))
		return false;
	return d->outlet == o && w->told == in->told && (!in->told || memcmp(&w->to, &in->to, sizeof in->to) == 0) &&
	    w->from.len == in->from.len && memcmp(&w->from.sa, &in->from.sa, in->from.len) == 0;
}

static struct conn *
find_session(const struct engine *e, const struct outlet *o, const struct inbound *in)
{
	for (struct hash_node *n = hash_find(&e->sessions, session_key(o, in)); n != NULL; n = hash_next(n)) {
		struct dialog *d = (struct dialog *)n;

		if (same_peer(d, o, in))
			return d->conn;
	}
	return NULL;
}

static void
close_fd(int *fd)
{
	if (*fd != -1)
		(void)close(*fd);
	*fd = -1;
}

/* The pair, and what the child reads first. Our end goes to *ours. NULL: errno. */
static struct dialog *
dialog_new(const struct listener *l, const struct inbound *in, int *ours)
{
	struct dialog *d = calloc(1, sizeof *d);
	int pair[2], data[2] = { -1, -1 }, one = 1, zero = 0, size = QUEUE, why;

	if (d == NULL)
		return NULL;
	d->in = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == -1) {
		free(d);
		return NULL;
	}
	*ours = pair[0];
	d->out = pair[1];
	/* Credentials come with every datagram, and so tell an empty one from the end. */
	if (setsockopt(*ours, SOL_SOCKET, SO_PASSCRED, &one, sizeof one) == -1)
		goto out;
	(void)setsockopt(*ours, SOL_SOCKET, SO_PASSRIGHTS, &zero, sizeof zero);
	if (l->unit->conf->session) {
		if (setsockopt(*ours, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) == -1)
			(void)setsockopt(*ours, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
		if (send(*ours, in->bytes, in->len, MSG_DONTWAIT | MSG_NOSIGNAL) == -1)
			goto out;
	} else {
		ssize_t n = 0;

		if (pipe2(data, O_CLOEXEC | O_NONBLOCK) == -1)
			goto out;
		d->in = data[0];
		(void)fcntl(d->in, F_SETFL, 0);
		if (in->len > 0)
			n = write(data[1], in->bytes, in->len);
		(void)close(data[1]);
		if (n != (ssize_t)in->len) {	/* pipes are shorter for a user who has many */
			errno = ENOBUFS;
			goto out;
		}
	}
	d->outlet = l->outlet;
	d->outlet->refs++;
	d->who = *in;
	d->who.bytes = NULL;
	d->bytes_in = in->len;
	d->moved = loop_now(l->unit->engine->loop);
	memcpy(&d->local, l->bound.addr, offsetof(struct addr, sa) + l->bound.addr->len);
	if (in->told && d->local.sa.sa_family == AF_INET)
		memcpy(&d->local.in.sin_addr, in->to.b + 12, 4);
	else if (in->told && d->local.sa.sa_family == AF_INET6)
		memcpy(&d->local.in6.sin6_addr, in->to.b, 16);
	return d;
out:
	why = errno;
	(void)close(*ours);
	close_fd(&d->in);
	close_fd(&d->out);
	free(d);
	errno = why;
	return NULL;
}

int
dialog_resume(struct conn *c, struct outlet *o, const struct inbound *who, const struct addr *local, bool listed)
{
	struct engine *e = c->unit->engine;
	struct dialog *d = calloc(1, sizeof *d);

	if (d == NULL)
		return -1;
	*d = (struct dialog){ .conn = c, .outlet = o, .who = *who, .local = *local, .in = -1, .out = -1,
		.moved = loop_now(e->loop) };
	d->who.bytes = NULL;
	o->refs++;
	c->dialog = d;
	if (listed) {
		hash_put(&e->sessions, &d->node, session_key(o, who));
		d->listed = true;
	}
	return 0;
}

void
dialog_unlist(struct conn *c)
{
	if (c->dialog->listed)
		hash_remove(&c->unit->engine->sessions, &c->dialog->node);
	c->dialog->listed = false;
}

/* Its child runs and has what is the child's. */
void
dialog_started(struct conn *c)
{
	close_fd(&c->dialog->in);
	close_fd(&c->dialog->out);
	c->fd_watch = loop_watch(c->unit->engine->loop, c->fd, EPOLLIN, dialog_ready, c);
}

void
dialog_free(struct conn *c)
{
	struct dialog *d = c->dialog;

	if (d == NULL)
		return;
	dialog_unlist(c);
	close_fd(&d->in);
	close_fd(&d->out);
	outlet_put(d->outlet);
	free(d);
	c->dialog = NULL;
}

/* One datagram that the child wrote leaves. False: there is none now. */
static bool
pass_reply(struct conn *c)
{
	static char bytes[QUEUE];	/* no datagram of the pair can be longer than its buffer */
	_Alignas(struct cmsghdr) char control[CONTROL];
	struct iovec v = { bytes, sizeof bytes };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = control,
		.msg_controllen = CONTROL_UNIX };
	struct dialog *d = c->dialog;
	struct engine *e = c->unit->engine;
	ssize_t n = recvmsg(c->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n == -1)
		return errno == EINTR;
	if (n == 0 && CMSG_FIRSTHDR(&m) == NULL) {	/* the last writer is gone */
		loop_unwatch(e->loop, c->fd_watch);
		c->fd_watch = 0;
		return false;
	}
	d->moved = loop_now(e->loop);
	if (datagram_reply(d->outlet, &d->who, bytes, (size_t)n)) {
		d->bytes_out += (uint64_t)n;
	} else if (flood_allows(c->unit, FLOOD_REPLIES)) {
		char from[ADDR_TEXT];

		unit_say(c->unit, LEVEL_WARNING, "error", "a reply of %zd bytes to %s is lost: %s", n,
		    peer_print(&c->peer, from), strerror(errno));
	}
	return true;
}

void
dialog_ready(void *arg, uint32_t events)
{
	struct conn *c = arg;

	(void)events;
	for (int i = 0; i < REPLIES && pass_reply(c); i++)
		;
}

void
dialog_drain(struct conn *c)
{
	/* Whoever has left the group may write for ever. */
	for (int i = 0; i < DRAIN && pass_reply(c); i++)
		;
}

/* --- arrivals */

/* One datagram for which there is no command yet. False: the listener pauses. */
static bool
begin(struct listener *l, const struct inbound *in)
{
	struct unit *u = l->unit;
	struct engine *e = u->engine;
	const struct peer nobody = { .kind = PEER_NONE };
	struct source *source = NULL;
	enum reason why;
	int64_t until;
	struct dialog *d;
	struct conn *c;
	int ours;

	if (in->peer.kind == PEER_UNIX && in->peer.uid == UINT32_MAX && (u->conf->only_from.given || u->conf->no_access.given)) {
		record_fail(u, &nobody, REASON_ADDRESS, NULL);	/* it came before that was asked for: no rule can judge it */
		return true;
	}
	if (!unit_lets_in(u, &in->peer, &why, &source)) {
		record_fail(u, &in->peer, why, NULL);
		return true;
	}
	/* A session's datagrams must not wait for others to end, so there nobody waits. */
	if ((u->conf->session || u->conf->overload == OVERLOAD_REJECT || u->conf->instances == 0) &&
	    unit_is_full(u, &why, &until)) {
		source_leave(&e->sources, source);
		record_fail(u, &in->peer, why, NULL);
		return true;
	}
	/* Who only lingers gives way first. */
	do
		d = dialog_new(l, in, &ours);
	while (d == NULL && (errno == EMFILE || errno == ENFILE) && conn_give_way(e));
	if (d == NULL) {
		int fault = errno;

		source_leave(&e->sources, source);
		if (!datagram_keep(l->outlet, in) && flood_allows(u, FLOOD_REPLIES))
			unit_say(u, LEVEL_ERR, "error", "a datagram is lost: %s", strerror(fault));
		listener_pause(l, REASON_FORK, listener_delay(e), strerror(fault));
		return false;
	}
	pace_count(&u->pace, loop_now(e->loop));
	c = conn_new(u, ours, &in->peer, source);
	c->dialog = d;
	d->conn = c;
	if (u->conf->session) {
		hash_put(&e->sessions, &d->node, session_key(l->outlet, in));
		d->listed = true;
	}
	if (conn_begin(c, &d->local))
		return true;
	listener_pause(l, REASON_FORK, listener_delay(e), strerror(errno));
	return false;
}

/* One more for a command that is there. False: it has ended, or reads no more. */
static bool
pass_on(struct conn *c, const struct inbound *in)
{
	struct dialog *d = c->dialog;
	char from[ADDR_TEXT];

	if (send(c->fd, in->bytes, in->len, MSG_DONTWAIT | MSG_NOSIGNAL) != -1) {
		d->bytes_in += in->len;
		d->moved = loop_now(c->unit->engine->loop);
		return true;
	}
	if (errno == EPIPE || errno == ECONNRESET)
		return false;
	if (flood_allows(c->unit, FLOOD_REPLIES))
		unit_say(c->unit, LEVEL_WARNING, "error", "a datagram from %s is lost: %s", peer_print(&in->peer, from),
		    errno == EAGAIN ? "the command does not read" : strerror(errno));
	return true;
}

/* False: the listener pauses. */
static bool
arrived(struct listener *l, const struct inbound *in)
{
	struct unit *u = l->unit;
	struct conn *c;
	char from[ADDR_TEXT];

	if (in->cut) {
		if (flood_allows(u, FLOOD_REPLIES))
			unit_say(u, LEVEL_WARNING, "error", "a datagram from %s is longer than %d bytes: dropped",
			    peer_print(&in->peer, from), (int)DATAGRAM_MOST);
		return true;
	}
	/* Those that live go on, if the service is another by now. */
	c = u->conf->session || u->engine->sessions.count > 0 ? find_session(u->engine, l->outlet, in) : NULL;
	if (c != NULL && pass_on(c, in))
		return true;
	if (c != NULL)
		dialog_unlist(c);	/* its end is not known yet; this one begins the next */
	return begin(l, in);
}

/* For the sessions that live still: their peers' datagrams arrive, nobody else's do. */
static void
left_ready(void *arg, uint32_t events)
{
	struct outlet *o = arg;
	struct inbound in;

	(void)events;
	for (int i = 0; i < REPLIES && datagram_read(o, 1, &in) == 1; i++) {
		struct conn *c = find_session(o->engine, o, &in);

		if (c != NULL && !in.cut)
			(void)pass_on(c, &in);
	}
}

void
outlet_leave(struct outlet *o, struct engine *e)
{
	if (o->refs > 1) {
		o->engine = e;
		o->watch = loop_watch(e->loop, o->fd, EPOLLIN, left_ready, o);
	}
	outlet_put(o);
}

enum took
datagram_take(struct listener *l, unsigned most)
{
	struct inbound in, *kept;

	for (unsigned n = 0; n < most; n++) {
		if (!listener_has_room(l, !l->unit->conf->session))
			return TOOK_PAUSE;
		kept = l->outlet->kept;
		if (kept != NULL) {
			bool begun;

			l->outlet->kept = NULL;
			begun = arrived(l, kept);
			free(kept);
			if (!begun)
				return TOOK_PAUSE;
			continue;
		}
		if (datagram_read(l->outlet, 1, &in) == 0) {
			/* An ICMP message of an earlier reply is told once, and no more. */
			if (errno == EAGAIN || errno == EINTR)
				return TOOK_ALL;
			if (errno == ENOMEM || errno == ENOBUFS) {
				listener_pause(l, REASON_FORK, listener_delay(l->unit->engine), strerror(errno));
				return TOOK_PAUSE;
			}
			continue;
		}
		if (!arrived(l, &in))
			return TOOK_PAUSE;
	}
	return TOOK_SOME;
}

#include "net/sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

void
sock_name(const struct addr *a, int type, bool both, char *buf, size_t size)
{
	const char *kind = type == SOCK_DGRAM ? "udp" : "tcp";
	char host[ADDR_TEXT] = "*", scope[24] = "";
	struct ip ip;
	uint32_t zone, port;

	switch (a->sa.sa_family) {
	case AF_UNIX: {
		size_t len = a->len - offsetof(struct sockaddr_un, sun_path);
		const char *path = a->un.sun_path, *at = "";

		kind = type == SOCK_DGRAM ? "unix-dgram" : type == SOCK_SEQPACKET ? "unix-seqpacket" : "unix";
		if (a->len <= offsetof(struct sockaddr_un, sun_path))
			len = 0;
		else if (path[0] == '\0') {
			at = "@";
			path++;
			len--;
		}
		(void)snprintf(buf, size, "%s:%s%.*s", kind, at, (int)strnlen(path, len), path);
		return;
	}
	case AF_VSOCK:
		if (a->vm.svm_cid == VMADDR_CID_ANY)
			(void)snprintf(buf, size, "vsock:%u", a->vm.svm_port);
		else
			(void)snprintf(buf, size, "vsock:%u:%u", a->vm.svm_cid, a->vm.svm_port);
		return;
	default:
		break;
	}
	if (!addr_ip(a, &ip, &zone, &port)) {
		(void)snprintf(buf, size, "%s:?", kind);
		return;
	}
	if (a->sa.sa_family == AF_INET) {
		bool any = a->in.sin_addr.s_addr == htonl(INADDR_ANY);

		if (!any)
			(void)ip_print(&ip, host);
		(void)snprintf(buf, size, "%s%s:%s:%u", kind, any ? "4" : "", host, port);
		return;
	}
	if (memcmp(&a->in6.sin6_addr, &in6addr_any, sizeof in6addr_any) == 0) {
		(void)snprintf(buf, size, "%s%s:*:%u", kind, both ? "" : "6", port);
		return;
	}
	(void)inet_ntop(AF_INET6, &a->in6.sin6_addr, host, sizeof host);
	if (zone != 0 && if_indextoname(zone, scope + 1) != NULL)
		scope[0] = '%';
	else if (zone != 0)
		(void)snprintf(scope, sizeof scope, "%%%u", zone);
	(void)snprintf(buf, size, "%s6:[%s%s]:%u", kind, host, scope, port);
}

/* What cannot be set is told; a backlog or buffer is a wish, so the kernel's word stands. */
static int
set_options(int fd, const struct addr *a, bool stream, const struct sock_options *o, struct err *err)
{
	int one = 1;
	bool inet = a->sa.sa_family == AF_INET || a->sa.sa_family == AF_INET6;

	if (o->sndbuf != 0 && setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &o->sndbuf, sizeof o->sndbuf) == -1)
		return err_sys(err, errno, "cannot set sndbuf");
	if (o->rcvbuf != 0 && setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &o->rcvbuf, sizeof o->rcvbuf) == -1)
		return err_sys(err, errno, "cannot set rcvbuf");
	if (!inet || !stream)
		return 0;
	/* Accepted sockets inherit both from the listener: no call for each connection. */
	if (o->keepalive && setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one) == -1)
		return err_sys(err, errno, "cannot set KEEPALIVE");
	if (o->nodelay && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == -1)
		return err_sys(err, errno, "cannot set NODELAY");
	return 0;
}

/* Is there a UNIX socket at the path on which nobody listens? Anything else is left alone. */
static bool
stale(const struct addr *a, int type)
{
	struct stat st;
	int fd, rc;

	if (lstat(a->un.sun_path, &st) == -1 || !S_ISSOCK(st.st_mode))
		return false;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return false;
	rc = connect(fd, &a->sa, a->len) == -1 && errno == ECONNREFUSED ? 1 : 0;
	(void)close(fd);
	return rc == 1;
}

/* bind(2) for a path: with its mode from the start, and its owner before anyone can connect. */
static int
bind_path(int fd, const struct addr *a, int type, const struct sock_options *o, struct bound *b,
    struct err *err)
{
	const char *path = a->un.sun_path;
	mode_t old = umask(0777), mode = o->set_mode ? (mode_t)o->mode : 0666 & ~old;
	struct stat st;
	int rc;

	(void)umask(old);
	for (int again = 0;; again++) {
		(void)umask(~mode & 0777);
		rc = bind(fd, &a->sa, a->len);
		(void)umask(old);
		if (rc == 0)
			break;
		if (errno != EADDRINUSE || again != 0 || !stale(a, type)) {
			if (errno == EADDRINUSE && lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
				return err_set(err, "cannot bind: something that is no socket stands there");
			return err_sys(err, errno, "cannot bind");
		}
		(void)unlink(path);
	}
	if (lstat(path, &st) == 0) {
		b->dev = st.st_dev;
		b->ino = st.st_ino;
	}
	if (!o->set_owner)
		return 0;
	if (lchown(path, o->uid, o->gid) == -1)
		return err_sys(err, errno, "cannot set the owner");
	return 0;
}

/* Not a byte longer than it is, but for a NUL: a path need not have one. NULL: no memory. */
static struct addr *
copy_addr(const struct addr *own)
{
	size_t size = offsetof(struct addr, sa) + own->len;
	struct addr *a = calloc(1, size + 1);

	if (a != NULL)
		memcpy(a, own, size);
	return a;
}

/* What a bound socket is known by: its address and its name. */
static int
keep_names(struct bound *b, const struct addr *own, int type, bool both, const char *iface,
    struct err *err)
{
	char name[WHERE_HOST + 64], port[16];

	sock_name(own, type, both, name, sizeof name);
	if (iface[0] != '\0') {	/* an IPv4 address does not hold it itself */
		char *at = strrchr(name, ':');

		(void)snprintf(port, sizeof port, "%s", at);
		(void)snprintf(at, sizeof name - (size_t)(at - name), "%%%s%s", iface, port);
	}
	b->name = strdup(name);
	b->addr = copy_addr(own);
	if (b->name == NULL || b->addr == NULL)
		return err_sys(err, ENOMEM, "cannot keep its name");
	return 0;
}

static bool
is_group(const struct addr *a)
{
	uint32_t scope, port;
	struct ip ip;

	return addr_ip(a, &ip, &scope, &port) && ip_is_group(&ip);
}

/* Joins the group that the socket is bound to. zone 0: where the kernel's route to it leads. */
static int
join(int fd, const struct addr *a, unsigned zone, struct err *err)
{
	struct ip_mreqn four = { .imr_multiaddr = a->in.sin_addr, .imr_ifindex = (int)zone };
	struct ipv6_mreq six = { .ipv6mr_multiaddr = a->in6.sin6_addr,
		.ipv6mr_interface = zone != 0 ? zone : a->in6.sin6_scope_id };
	int zero = 0, rc;

	/* Only what came by that interface, whatever others on this machine have joined. */
	if (a->sa.sa_family == AF_INET) {
		(void)setsockopt(fd, IPPROTO_IP, IP_MULTICAST_ALL, &zero, sizeof zero);
		rc = setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &four, sizeof four);
	} else {
		(void)setsockopt(fd, IPPROTO_IPV6, 29 /* IPV6_MULTICAST_ALL */, &zero, sizeof zero);
		rc = setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &six, sizeof six);
	}
	if (rc == 0)
		return 0;
	return errno == ENODEV && zone == 0 ? err_set(err, "no route leads to the group; name the interface: "
	    "%%IFACE behind the address") : err_sys(err, errno, "cannot join the group");
}

/* Makes, binds and starts one socket; `both`: an IPv6 one that takes IPv4 too. -1: err. */
static int
open_one(const struct addr *a, int type, bool both, const char *iface, const struct sock_options *o,
    struct bound *b, struct err *err)
{
	int zero = !both, one = 1;
	struct addr own;
	bool path = a->sa.sa_family == AF_UNIX && a->un.sun_path[0] != '\0';
	bool group = type == SOCK_DGRAM && is_group(a);
	unsigned zone = group && iface[0] != '\0' ? if_nametoindex(iface) : 0;

	if (group && iface[0] != '\0' && zone == 0)
		return err_set(err, "there is no interface %s", iface);
	*b = (struct bound){ .fd = socket(a->sa.sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) };
	if (b->fd == -1)
		return err_sys(err, errno, "cannot make a socket");
	if (a->sa.sa_family == AF_INET6 &&
	    setsockopt(b->fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero) == -1) {
		(void)err_sys(err, errno, "cannot set IPV6_V6ONLY");
		goto out;
	}
	/* With it two could bind one port of UDP, and one of them would get nothing; a group is for many. */
	if (a->sa.sa_family != AF_UNIX && (type != SOCK_DGRAM || group))
		(void)setsockopt(b->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (o->beside && !path)
		(void)setsockopt(b->fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
	if (path) {
		if (bind_path(b->fd, a, type, o, b, err) == -1)
			goto out;
	} else if (bind(b->fd, &a->sa, a->len) == -1) {
		(void)err_sys(err, errno, "cannot bind");
		goto out;
	}
	if (set_options(b->fd, a, type != SOCK_DGRAM, o, err) == -1 || (group && join(b->fd, a, zone, err) == -1))
		goto out;
	if (type != SOCK_DGRAM && listen(b->fd, o->backlog != 0 ? o->backlog : INT32_MAX) == -1) {
		(void)err_sys(err, errno, "cannot listen");
		goto out;
	}
	own = *a;
	if (!path) {
		own.len = sizeof own - offsetof(struct addr, sa);
		if (getsockname(b->fd, &own.sa, &own.len) == -1) {
			(void)err_sys(err, errno, "cannot read its address");
			goto out;
		}
	}
	if (group && own.sa.sa_family == AF_INET6 && own.in6.sin6_scope_id == 0)
		own.in6.sin6_scope_id = zone;	/* the kernel keeps it of link-local ones only */
	if (keep_names(b, &own, type, both, own.sa.sa_family == AF_INET ? iface : "", err) == -1)
		goto out;
	return 0;
out:
	if (b->ino != 0)
		(void)unlink(a->un.sun_path);
	b->ino = 0;
	sock_close(b);
	return -1;
}

static void
name_first(struct err *err, const char *name)
{
	struct err was = *err;

	(void)err_set(err, "%s: %s", name, was.text);
	err->system = was.system;
}

static void
set_port(struct addr *a, unsigned port)
{
	if (a->sa.sa_family == AF_INET)
		a->in.sin_port = htons((uint16_t)port);
	else if (a->sa.sa_family == AF_INET6)
		a->in6.sin6_port = htons((uint16_t)port);
}

/* Every address: one socket for both families where the system can, two where it cannot. */
static size_t
every_address(const struct where *w, struct addr *to, bool *both)
{
	struct addr v6 = { .len = sizeof v6.in6, .in6 = { .sin6_family = AF_INET6 } };
	struct addr v4 = { .len = sizeof v4.in, .in = { .sin_family = AF_INET } };
	int fd, zero = 0;
	size_t n = 0;

	*both = false;
	if (w->family == AF_UNSPEC) {
		fd = socket(AF_INET6, w->type | SOCK_CLOEXEC, 0);
		if (fd == -1 && errno == EAFNOSUPPORT) {
			to[n++] = v4;
			return n;
		}
		*both = fd != -1 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero) == 0;
		if (fd != -1)
			(void)close(fd);
		if (!*both)
			to[n++] = v4;
		to[n++] = v6;
		return n;
	}
	to[n++] = w->family == AF_INET ? v4 : v6;
	return n;
}

/* The addresses of a host, whose name the caller has asked for. */
static int
of_host(const struct where *w, const struct host *h, struct addr *to, size_t *n, struct err *err)
{
	struct host plain;

	if (!host_is_name(w)) {
		host_ask(w, &plain);
		h = &plain;
	} else if (h == NULL) {
		return err_set(err, "%s: its addresses are not known yet", w->host);
	}
	if (h->n == 0) {
		*err = h->why;
		return -1;
	}
	memcpy(to, h->to, h->n * sizeof *to);
	*n = h->n;
	return 0;
}

static int
take_inherited(const struct where *w, const struct sock_options *o, struct bound *b, struct err *err)
{
	int fd = (int)w->port, type = 0, listening = 0, only6 = 1;
	socklen_t len = sizeof type;
	struct addr own;

	*b = (struct bound){ .fd = -1, .inherited = true };
	own.len = sizeof own - offsetof(struct addr, sa);
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == -1)
		return err_set(err, "descriptor %d is not a socket", fd);
	len = sizeof listening;
	if ((type != SOCK_DGRAM && (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == -1 ||
	    listening == 0)) || getsockname(fd, &own.sa, &own.len) == -1)
		return err_set(err, "descriptor %d is not a listening socket", fd);
	len = sizeof only6;
	if (own.sa.sa_family == AF_INET6)
		(void)getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only6, &len);
	if (set_options(fd, &own, type != SOCK_DGRAM, o, err) == -1)
		return -1;
	b->fd = fcntl(fd, F_DUPFD_CLOEXEC, 4);
	if (b->fd == -1 || fcntl(b->fd, F_SETFL, fcntl(b->fd, F_GETFL) | O_NONBLOCK) == -1)
		return err_sys(err, errno, "cannot take descriptor %d", fd);
	return keep_names(b, &own, type, only6 == 0, "", err);
}

/*
 * A FIFO, made if nothing is there: with its owner and mode before anyone can open it. It is held
 * for writing too, so that the last writer's end is not told for ever.
 */
static int
open_fifo(const struct where *w, const struct sock_options *o, struct bound *b, struct err *err)
{
	const struct addr none = { .len = sizeof none.sa, .sa = { .sa_family = AF_UNSPEC } };
	mode_t old = umask(0777), mode = o->set_mode ? (mode_t)o->mode : 0666 & ~old;
	bool made = mkfifo(w->host, 0) == 0;
	int why = errno;
	struct stat st;

	(void)umask(old);
	*b = (struct bound){ .fd = -1 };
	if (!made && why != EEXIST)
		return err_sys(err, why, "fifo:%s: cannot make it", w->host);
	if (made && ((o->set_owner && lchown(w->host, o->uid, o->gid) == -1) || chmod(w->host, mode) == -1)) {
		(void)err_sys(err, errno, "fifo:%s: cannot set owner or mode", w->host);
		(void)unlink(w->host);
		return -1;
	}
	if (lstat(w->host, &st) == 0 && !S_ISFIFO(st.st_mode))
		return err_set(err, "fifo:%s: something that is no FIFO stands there", w->host);
	b->fd = sock_open_fifo(w->host, O_RDWR);
	if (b->fd == -1 || fstat(b->fd, &st) == -1 || !S_ISFIFO(st.st_mode)) {
		(void)err_sys(err, errno, "fifo:%s: cannot open it", w->host);
		goto out;
	}
	if (made) {
		b->dev = st.st_dev;
		b->ino = st.st_ino;
	}
	b->addr = calloc(1, offsetof(struct addr, sa) + none.len);
	b->name = malloc(strlen(w->host) + sizeof "fifo:");
	if (b->addr == NULL || b->name == NULL) {
		(void)err_sys(err, ENOMEM, "fifo:%s", w->host);
		goto out;
	}
	memcpy(b->addr, &none, offsetof(struct addr, sa) + none.len);
	memcpy(b->name, "fifo:", 5);
	memcpy(b->name + 5, w->host, strlen(w->host) + 1);
	return 0;
out:
	sock_close(b);
	if (made)
		(void)unlink(w->host);
	return -1;
}

int
sock_open_fifo(const char *path, int how)
{
	return open(path, how | O_NONBLOCK | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW);
}

const char *
sock_path(const struct bound *b)
{
	if (b->name != NULL && strncmp(b->name, "fifo:", 5) == 0)
		return b->name + 5;
	if (b->addr != NULL && b->addr->sa.sa_family == AF_UNIX && b->addr->un.sun_path[0] != '\0')
		return b->addr->un.sun_path;
	return NULL;
}

static int
open_all(struct addr *to, size_t n, const struct where *w, bool both, const struct sock_options *o,
    struct bound *out, size_t *opened, struct err *err)
{
	for (*opened = 0; *opened < n; ++*opened) {
		struct bound *b = &out[*opened];
		struct ip ip;
		uint32_t scope, port;

		if (open_one(&to[*opened], w->type, both, w->iface, o, b, err) == -1)
			return -1;
		/* Port 0: what the kernel chose for the first holds for the others. */
		if (addr_ip(b->addr, &ip, &scope, &port))
			for (size_t k = *opened + 1; k < n; k++)
				set_port(&to[k], port);
	}
	return 0;
}

/* `localhost` is ::1 as well in many a hosts(5) of a machine without IPv6; that will not change while it runs. */
static bool
lacks_ipv6(const struct addr *a, int why)
{
	return a->sa.sa_family == AF_INET6 && (why == EAFNOSUPPORT ||
	    (why == EADDRNOTAVAIL && IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr)));
}

int
sock_listen(const struct where *w, const struct host *h, const struct sock_options *o, struct bound *out,
    size_t *n, struct err *err)
{
	struct addr to[SOCK_MAX] = { { 0 } };
	bool both = false;
	size_t opened = 0, tries = 0;
	char name[WHERE_HOST + 64];

	*n = 1;
	switch (w->scheme) {
	case SCHEME_FD:
		return take_inherited(w, o, &out[0], err);
	case SCHEME_FIFO:
		return open_fifo(w, o, &out[0], err);
	case SCHEME_UNIX: {
		size_t len = strlen(w->host);

		to[0].un.sun_family = AF_UNIX;
		memcpy(to[0].un.sun_path, w->host, len);
		to[0].len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
		if (w->host[0] == '@') {
			to[0].un.sun_path[0] = '\0';
			to[0].len--;
		}
		break;
	}
	case SCHEME_VSOCK:
		to[0].len = sizeof to[0].vm;
		to[0].vm.svm_family = AF_VSOCK;
		to[0].vm.svm_cid = w->cid;
		to[0].vm.svm_port = w->port != 0 ? w->port : VMADDR_PORT_ANY;
		break;
	default:
		if (w->host[0] == '\0')
			*n = every_address(w, to, &both);
		else if (of_host(w, h, to, n, err) == -1)
			return -1;
		for (size_t i = 0; i < *n; i++)
			set_port(&to[i], w->port);
		break;
	}
	while (open_all(to, *n, w, both, o, out, &opened, err) == -1) {
		bool taken = err->system == EADDRINUSE && opened > 0 && w->port == 0;
		bool passed = w->host[0] != '\0' && *n > 1 && lacks_ipv6(&to[opened], err->system);

		sock_name(&to[opened], w->type, both, name, sizeof name);
		if (passed)
			memmove(&to[opened], &to[opened + 1], (--*n - opened) * sizeof to[0]);
		while (opened > 0)
			sock_close(&out[--opened]);
		if (passed) {
			log_say(LEVEL_DEBUG, "debug", "%s is left out: no IPv6 here", name);
			continue;
		}
		/* The port that one family's socket was given may be taken in the other. */
		if (!taken || ++tries > 20) {
			name_first(err, name);
			return -1;
		}
		for (size_t i = 0; i < *n; i++)
			set_port(&to[i], 0);
	}
	return 0;
}

/*
 * Mode and owner of a path that we made, as those of a new one would be. By the descriptor of what
 * stands there: who may write into the directory could put a link in its place.
 */
static int
adjust_path(const struct bound *b, const char *path, const struct sock_options *o, struct err *err)
{
	uid_t uid = o->set_owner && o->uid != (uid_t)-1 ? o->uid : geteuid();
	gid_t gid = o->set_owner && o->gid != (gid_t)-1 ? o->gid : (gid_t)-1;
	mode_t old = umask(0777), mode = o->set_mode ? (mode_t)o->mode : 0666 & ~old;
	char name[32];
	struct stat st;
	int fd, rc = 0;

	(void)umask(old);
	fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1 || fstat(fd, &st) == -1 || st.st_ino != b->ino || st.st_dev != b->dev)
		goto out;	/* it is not ours any more */
	(void)snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
	if ((st.st_uid != uid || (gid != (gid_t)-1 && st.st_gid != gid)) && fchownat(fd, "", uid, gid, AT_EMPTY_PATH) == -1)
		rc = err_sys(err, errno, "cannot set the owner");
	if ((st.st_mode & 07777) != mode && chmod(name, mode) == -1)
		rc = err_sys(err, errno, "cannot set the mode");
out:
	if (fd != -1)
		(void)close(fd);
	return rc;
}

#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72		/* Linux 5.14 */
#endif

/* A size that was set once and is not any more: as a new socket has it. */
static void
default_buffers(const struct bound *b, int type, const struct sock_options *o)
{
	static const struct { int option; unsigned lock; } buf[] = { { SO_SNDBUF, 1 }, { SO_RCVBUF, 2 } };
	const int wanted[] = { o->sndbuf, o->rcvbuf };
	unsigned locked = 0;
	socklen_t len = sizeof locked;
	int size, like;

	if (b->inherited || getsockopt(b->fd, SOL_SOCKET, SO_BUF_LOCK, &locked, &len) == -1)
		return;
	for (int i = 0; i < 2; i++) {
		if (wanted[i] != 0 || (locked & buf[i].lock) == 0)
			continue;
		like = socket(b->addr->sa.sa_family, type | SOCK_CLOEXEC, 0);
		len = sizeof size;
		if (like != -1 && getsockopt(like, SOL_SOCKET, buf[i].option, &size, &len) == 0) {
			size /= 2;	/* what is set is doubled */
			(void)setsockopt(b->fd, SOL_SOCKET, buf[i].option, &size, sizeof size);
			locked &= ~buf[i].lock;
			(void)setsockopt(b->fd, SOL_SOCKET, SO_BUF_LOCK, &locked, sizeof locked);
		}
		if (like != -1)
			(void)close(like);
	}
}

int
sock_resume(int fd, const char *name, bool inherited, dev_t dev, ino_t ino, struct bound *b, struct err *err)
{
	struct addr own = { .len = sizeof own - offsetof(struct addr, sa) };

	*b = (struct bound){ .fd = fd, .inherited = inherited, .dev = dev, .ino = ino };
	if (getsockname(fd, &own.sa, &own.len) == -1)	/* a FIFO */
		own = (struct addr){ .len = sizeof own.sa, .sa = { .sa_family = AF_UNSPEC } };
	b->name = strdup(name);
	b->addr = copy_addr(&own);
	if (b->name == NULL || b->addr == NULL) {
		free(b->name);
		free(b->addr);
		return err_sys(err, ENOMEM, "%s", name);
	}
	return 0;
}

int
sock_adjust(const struct bound *b, const struct sock_options *o, struct err *err)
{
	const char *path = sock_path(b);
	int type = 0, keepalive = o->keepalive, nodelay = o->nodelay, rc = 0;
	socklen_t len = sizeof type;

	if (path != NULL && b->ino != 0)
		rc = adjust_path(b, path, o, err);
	if (getsockopt(b->fd, SOL_SOCKET, SO_TYPE, &type, &len) == -1)
		return errno == ENOTSOCK ? rc : err_sys(err, errno, "cannot set its options");
	default_buffers(b, type, o);
	if (set_options(b->fd, b->addr, type != SOCK_DGRAM, o, err) == -1)
		rc = -1;
	if (type != SOCK_DGRAM && (b->addr->sa.sa_family == AF_INET || b->addr->sa.sa_family == AF_INET6)) {
		(void)setsockopt(b->fd, SOL_SOCKET, SO_KEEPALIVE, &keepalive, sizeof keepalive);
		(void)setsockopt(b->fd, IPPROTO_TCP, TCP_NODELAY, &nodelay, sizeof nodelay);
	}
	if (type != SOCK_DGRAM && listen(b->fd, o->backlog != 0 ? o->backlog : INT32_MAX) == -1)
		rc = err_sys(err, errno, "cannot set the backlog");
	return rc;
}

void
sock_share(const struct bound *b, bool on)
{
	int one = on;

	if (b->addr->sa.sa_family == AF_INET || b->addr->sa.sa_family == AF_INET6)
		(void)setsockopt(b->fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
}

#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62	/* Linux 5.1 */
#endif

void
sock_hide(struct bound *b)
{
	int nowhere = INT32_MAX;	/* an interface that there is not: nothing comes from it */

	if (b->inherited)
		return;
	if (b->addr->sa.sa_family == AF_UNIX) {
		sock_remove_path(b);
		b->ino = 0;	/* the number may be another's soon */
	} else {
		(void)setsockopt(b->fd, SOL_SOCKET, SO_BINDTOIFINDEX, &nowhere, sizeof nowhere);
	}
}

void
sock_remove_path(const struct bound *b)
{
	const char *path = sock_path(b);
	struct stat st;

	if (b->ino != 0 && path != NULL && lstat(path, &st) == 0 && st.st_dev == b->dev && st.st_ino == b->ino)
		(void)unlink(path);
}

void
sock_close(struct bound *b)
{
	sock_remove_path(b);
	if (b->fd != -1)
		(void)close(b->fd);
	b->fd = -1;
	free(b->name);
	free(b->addr);
	b->name = NULL;
	b->addr = NULL;
}

#include "net/rpcb.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum {
	PROGRAM = 100000, RPCBIND = 3, PORTMAP = 2, SET = 1, UNSET = 2, PORT = 111,
	LAST = 0x80,		/* the record mark's first byte: this is all of it */
	WAIT = 5,		/* s */
};

struct message {
	char *at;
	size_t n;
};

static void
put(struct message *m, uint32_t number)
{
	const uint32_t big = htonl(number);

	memcpy(m->at + m->n, &big, 4);
	m->n += 4;
}

static void
put_string(struct message *m, const char *s)
{
	size_t len = strlen(s), padded = (len + 3) & ~(size_t)3;

	put(m, (uint32_t)len);
	memset(m->at + m->n, 0, padded);
	memcpy(m->at + m->n, s, len);
	m->n += padded;
}

/* An address as rpcbind writes it: the port as two more numbers behind it. */
static void
universal(const struct addr *a, char *out, size_t size)
{
	char host[INET6_ADDRSTRLEN] = "";
	struct ip ip;
	uint32_t scope, port = 0;

	if (a->sa.sa_family == AF_INET6)
		(void)inet_ntop(AF_INET6, &a->in6.sin6_addr, host, sizeof host);
	else if (a->sa.sa_family == AF_INET)
		(void)inet_ntop(AF_INET, &a->in.sin_addr, host, sizeof host);
	(void)addr_ip(a, &ip, &scope, &port);
	(void)snprintf(out, size, "%s.%u.%u", host, port >> 8 & 0xff, port & 0xff);
}

static void
put_call(struct message *m, uint32_t version, bool set, uint32_t xid)
{
	put(m, xid);
	put(m, 0);		/* a call */
	put(m, 2);		/* of RPC version 2 */
	put(m, PROGRAM);
	put(m, version);
	put(m, set ? SET : UNSET);
	for (int i = 0; i < 4; i++)
		put(m, 0);	/* no credentials, no verifier */
}

size_t
rpcb_build(const struct rpcb_entry *e, bool set, uint32_t xid, char out[RPCB_MESSAGE])
{
	struct message m = { .at = out };
	char address[INET6_ADDRSTRLEN + 10] = "", owner[16];

	put_call(&m, RPCBIND, set, xid);
	put(&m, e->program);
	put(&m, e->version);
	put_string(&m, e->netid);
	if (set)
		universal(&e->at, address, sizeof address);
	put_string(&m, address);
	(void)snprintf(owner, sizeof owner, "%u", (unsigned)geteuid());
	put_string(&m, owner);
	return m.n;
}

/* Portmap knows IPv4 only. */
static size_t
build_old(const struct rpcb_entry *e, bool set, uint32_t xid, char out[RPCB_MESSAGE])
{
	struct message m = { .at = out };
	uint32_t scope, port = 0;
	struct ip ip;

	put_call(&m, PORTMAP, set, xid);
	put(&m, e->program);
	put(&m, e->version);
	put(&m, strcmp(e->netid, "udp") == 0 ? IPPROTO_UDP : IPPROTO_TCP);
	(void)addr_ip(&e->at, &ip, &scope, &port);
	put(&m, set ? port : 0);
	return m.n;
}

bool
rpcb_agrees(const char *reply, size_t n, uint32_t xid)
{
	/* xid, a reply, accepted, a verifier of no length, success, and what it says. */
	uint32_t word[7];

	if (n < sizeof word)
		return false;
	memcpy(word, reply, sizeof word);
	return ntohl(word[0]) == xid && ntohl(word[1]) == 1 && word[2] == 0 && word[4] == 0 && word[5] == 0 &&
	    word[6] != 0;
}

/* A connection to rpcbind. *old: it is portmap's. -1: errno. */
static int
reach(bool *old)
{
	static const char path[] = "/run/rpcbind.sock";
	const struct timeval wait = { .tv_sec = WAIT };
	struct addr a = { .len = sizeof a.un, .un = { .sun_family = AF_UNIX } };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), rc, why;

	memcpy(a.un.sun_path, path, sizeof path);
	rc = fd != -1 ? connect(fd, &a.sa, a.len) : -1;
	*old = rc == -1;
	if (*old) {
		if (fd != -1)
			(void)close(fd);
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		a = (struct addr){ .len = sizeof a.in, .in = { .sin_family = AF_INET,
			.sin_addr.s_addr = htonl(INADDR_LOOPBACK) } };
		/* Only a privileged port may register there. */
		for (unsigned port = 1023; fd != -1 && port >= 600; port--) {
			a.in.sin_port = htons((uint16_t)port);
			if (bind(fd, &a.sa, a.len) == 0 || errno != EADDRINUSE)
				break;
		}
		a.in.sin_port = htons(PORT);
		rc = fd != -1 ? connect(fd, &a.sa, a.len) : -1;
	}
	if (rc == -1) {
		why = errno;
		if (fd != -1)
			(void)close(fd);
		errno = why;
		return -1;
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
	return fd;
}

int
rpcb_call(const struct rpcb_entry *e, bool set, struct err *err)
{
	char call[4 + RPCB_MESSAGE], reply[RPCB_MESSAGE];
	uint32_t xid = (uint32_t)getpid() ^ e->program << 8 ^ e->version, mark;
	ssize_t got = 0, n;
	bool old;
	int fd = reach(&old);
	size_t len;

	if (fd == -1)
		return err_sys(err, errno, "cannot reach rpcbind");
	if (old && strchr(e->netid, '6') != NULL) {	/* neither to be told nor known there */
		(void)close(fd);
		return 1;
	}
	len = old ? build_old(e, set, xid, call + 4) : rpcb_build(e, set, xid, call + 4);
	mark = htonl((uint32_t)LAST << 24 | (uint32_t)len);
	memcpy(call, &mark, 4);
	if (send(fd, call, len + 4, MSG_NOSIGNAL) != (ssize_t)len + 4) {
		(void)err_sys(err, errno, "rpcbind does not listen");
		goto out;
	}
	while (got < 4 + 7 * 4 && (n = recv(fd, reply + got, sizeof reply - (size_t)got, 0)) > 0)
		got += n;
	if (got < 4 + 7 * 4) {
		(void)err_set(err, "rpcbind does not answer");
		goto out;
	}
	(void)close(fd);
	if (!rpcb_agrees(reply + 4, (size_t)got - 4, xid))
		return err_set(err, "rpcbind refuses to %s program %u version %u for %s", set ? "register" : "forget",
		    e->program, e->version, e->netid[0] != '\0' ? e->netid : "every protocol");
	return 0;
out:
	(void)close(fd);
	return -1;
}

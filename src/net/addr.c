#include "net/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/put.h"

static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

bool
ip_is_v4(const struct ip *ip)
{
	return memcmp(ip->b, mapped, sizeof mapped) == 0;
}

bool
ip_is_group(const struct ip *ip)
{
	return ip_is_v4(ip) ? (ip->b[12] & 0xf0) == 0xe0 : ip->b[0] == 0xff;
}

bool
ip_parse(const char *s, struct ip *out)
{
	struct ip ip;

	memcpy(ip.b, mapped, sizeof mapped);
	if (inet_pton(AF_INET, s, ip.b + 12) != 1 && inet_pton(AF_INET6, s, ip.b) != 1)
		return false;
	*out = ip;
	return true;
}

char *
ip_print(const struct ip *ip, char buf[ADDR_TEXT])
{
	if (ip_is_v4(ip)) {
		struct put p = { .at = buf, .size = ADDR_TEXT };

		for (int i = 12; i < 16; i++) {
			put_number(&p, ip->b[i]);
			put_char(&p, i < 15 ? '.' : '\0');
		}
	} else {
		(void)inet_ntop(AF_INET6, ip->b, buf, ADDR_TEXT);
	}
	return buf;
}

bool
ip_match(const struct ip *a, const struct ip *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	if (memcmp(a->b, b->b, whole) != 0)
		return false;
	return rest == 0 || ((a->b[whole] ^ b->b[whole]) >> (8 - rest)) == 0;
}

bool
ip_mask(struct ip *ip, unsigned bits)
{
	bool set = false;

	for (unsigned i = bits; i < 128; i++) {
		uint8_t bit = (uint8_t)(0x80 >> (i % 8));

		set = set || (ip->b[i / 8] & bit) != 0;
		ip->b[i / 8] &= (uint8_t)~bit;
	}
	return set;
}

bool
addr_ip(const struct addr *a, struct ip *ip, uint32_t *scope, uint32_t *port)
{
	if (a->sa.sa_family == AF_INET) {
		memcpy(ip->b, mapped, sizeof mapped);
		memcpy(ip->b + 12, &a->in.sin_addr, 4);
		*scope = 0;
		*port = ntohs(a->in.sin_port);
		return true;
	}
	if (a->sa.sa_family == AF_INET6) {
		memcpy(ip->b, &a->in6.sin6_addr, 16);
		*scope = a->in6.sin6_scope_id;
		*port = ntohs(a->in6.sin6_port);
		return true;
	}
	return false;
}

int
peer_of(int fd, const struct addr *accepted, struct peer *out)
{
	struct peer p = { .kind = PEER_IP };

	switch (accepted->sa.sa_family) {
	case AF_UNIX: {
		struct ucred who;
		socklen_t len = sizeof who;

		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == -1)
			return -1;
		p.kind = PEER_UNIX;
		p.by_unix = true;
		p.uid = who.uid;
		p.gid = who.gid;
		p.pid = who.pid;
		break;
	}
	case AF_VSOCK:
		p.kind = PEER_VSOCK;
		p.cid = accepted->vm.svm_cid;
		p.port = accepted->vm.svm_port;
		break;
	default:
		if (!addr_ip(accepted, &p.ip, &p.scope, &p.port)) {
			errno = EAFNOSUPPORT;
			return -1;
		}
	}
	*out = p;
	return 0;
}

char *
peer_print(const struct peer *p, char buf[ADDR_TEXT])
{
	switch (p->kind) {
	case PEER_IP:
		(void)ip_print(&p->ip, buf);
		if (p->scope != 0) {
			size_t n = strlen(buf);

			(void)snprintf(buf + n, ADDR_TEXT - n, "%%%" PRIu32, p->scope);
		}
		break;
	case PEER_UNIX:
		(void)snprintf(buf, ADDR_TEXT, "uid:%" PRIu32, p->uid);
		break;
	case PEER_VSOCK:
		(void)snprintf(buf, ADDR_TEXT, "cid:%" PRIu32, p->cid);
		break;
	case PEER_NONE:
		buf[0] = '\0';
		break;
	}
	return buf;
}

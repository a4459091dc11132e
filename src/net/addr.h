/*
 * addr: addresses. Inside the program every IP address is 16 bytes, IPv4 as ::ffff:a.b.c.d
 * (RFC 4291, 2.5.5.2), so that a mapped peer and a plain one are the same peer everywhere.
 */
#ifndef NET_ADDR_H
#define NET_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <linux/vm_sockets.h>

struct addr {		/* a socket's address as the system calls take it */
	socklen_t len;
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
		struct sockaddr_vm vm;
	};
};

struct ip {
	uint8_t b[16];
};

enum peer_kind {
	PEER_IP, PEER_UNIX, PEER_VSOCK,
	PEER_NONE,		/* nobody in particular: of a FIFO, or of a listener that is handed over */
};

struct peer {		/* who is at the other end */
	struct ip ip;
	union {
		uint32_t scope;		/* of a link-local IPv6 address */
		uint32_t cid;		/* vsock */
		uint32_t uid;		/* UNIX */
	};
	union {
		uint32_t port;
		uint32_t gid;
	};
	int32_t pid;			/* UNIX: who connected */
	enum peer_kind kind : 8;
	bool by_unix;			/* its connection is a UNIX socket, whoever a header says it is */
};

enum { ADDR_TEXT = 64 };		/* room for any peer's address as text */

bool ip_is_v4(const struct ip *ip);

/* Is it a multicast group's? */
bool ip_is_group(const struct ip *ip);

/* IPv4 dotted (all four parts) or IPv6, as inet_pton(3) reads them. */
bool ip_parse(const char *s, struct ip *out);

/* Writes it as inet_ntop(3) does (RFC 5952), IPv4 as IPv4. Returns buf. */
char *ip_print(const struct ip *ip, char buf[ADDR_TEXT]);

/* Do the first `bits` of the 128 agree? A prefix of IPv4 is 96 longer here. */
bool ip_match(const struct ip *a, const struct ip *b, unsigned bits);

/* Clears all bits behind the first `bits`. Returns whether one was set. */
bool ip_mask(struct ip *ip, unsigned bits);

/* The IP address and port of an AF_INET or AF_INET6 address; false for others. */
bool addr_ip(const struct addr *a, struct ip *ip, uint32_t *scope, uint32_t *port);

/*
 * Who is at the other end of fd: from what accept(2) said, for UNIX from SO_PEERCRED.
 * -1: errno (the peer is gone, or the family is none of ours).
 */
int peer_of(int fd, const struct addr *accepted, struct peer *out);

/* As logs and REMOTE_ADDR name it: the IP address, "uid:N", "cid:N"; empty for nobody. Returns buf. */
char *peer_print(const struct peer *p, char buf[ADDR_TEXT]);

#endif

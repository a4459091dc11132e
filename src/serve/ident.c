#include "serve/ident.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

enum { PORT = 113, LINE = 1000 };

static bool
wait_for(int fd, short what, int64_t until)
{
	struct pollfd p = { .fd = fd, .events = what };
	int64_t left = until - clock_ms();

	return left > 0 && poll(&p, 1, (int)left) == 1;
}

/* From the address that the connection came to, as the protocol wants it. */
static int
call(const struct peer *peer, const struct addr *local, int64_t until)
{
	struct addr from = *local, to = { .len = sizeof to.in6 };
	bool v4 = ip_is_v4(&peer->ip);
	int fd = socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), why = 0;
	socklen_t len = sizeof why;
	uint32_t scope, port;
	struct ip ip;

	if (fd == -1 || !addr_ip(local, &ip, &scope, &port))
		goto out;
	if (v4) {
		from = (struct addr){ .len = sizeof from.in, .in = { .sin_family = AF_INET } };
		memcpy(&from.in.sin_addr, ip.b + 12, 4);
		to = (struct addr){ .len = sizeof to.in, .in = { .sin_family = AF_INET, .sin_port = htons(PORT) } };
		memcpy(&to.in.sin_addr, peer->ip.b + 12, 4);
	} else {
		from.in6.sin6_port = 0;
		to.in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(PORT),
			.sin6_scope_id = peer->scope };
		memcpy(&to.in6.sin6_addr, peer->ip.b, 16);
	}
	if (bind(fd, &from.sa, from.len) == -1)
		goto out;
	if (connect(fd, &to.sa, to.len) == 0)
		return fd;
	if (errno == EINPROGRESS && wait_for(fd, POLLOUT, until) &&
	    getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &len) == 0 && why == 0)
		return fd;
out:
	if (fd != -1)
		(void)close(fd);
	return -1;
}

/* A number and its separator. */
static bool
take_number(const char **p, unsigned is, char end)
{
	char *rest;
	unsigned long n;

	while (**p == ' ' || **p == '\t')
		++*p;
	if (**p < '0' || **p > '9')
		return false;
	n = strtoul(*p, &rest, 10);
	while (*rest == ' ' || *rest == '\t')
		rest++;
	*p = rest + 1;
	return n == is && *rest == end;
}

/* PEER , LOCAL : USERID : SYSTEM [, CHARSET] : USER */
bool
ident_parse(const char *line, unsigned peer_port, unsigned local_port, char *out)
{
	const char *p = line, *user;
	size_t system, n;

	if (!take_number(&p, peer_port, ',') || !take_number(&p, local_port, ':'))
		return false;
	p += strspn(p, " \t");
	if (strncasecmp(p, "USERID", 6) != 0)
		return false;
	p += 6;
	p += strspn(p, " \t");
	if (*p++ != ':')
		return false;
	p += strspn(p, " \t");
	user = strchr(p, ':');
	if (user == NULL)
		return false;
	system = strcspn(p, " \t,:");
	user += 1 + strspn(user + 1, " \t");
	n = strcspn(user, "\r\n");
	while (n > 0 && user[n - 1] == ' ')
		n--;
	if (n == 0)
		return false;
	(void)snprintf(out, IDENT_MOST + 1, "%.*s:%.*s", (int)(system > 40 ? 40 : system), p, (int)n, user);
	return true;
}

bool
ident_ask(const struct peer *peer, const struct addr *local, char *out)
{
	int64_t until = clock_ms() + IDENT_WAIT;
	char line[LINE + 1];
	struct ip ip;
	uint32_t scope, port;
	size_t len = 0;
	bool found = false;
	int fd, n;

	if (peer->kind != PEER_IP || !addr_ip(local, &ip, &scope, &port))
		return false;
	fd = call(peer, local, until);
	if (fd == -1)
		return false;
	n = snprintf(line, sizeof line, "%u , %u\r\n", peer->port, port);
	if (send(fd, line, (size_t)n, MSG_NOSIGNAL) == n) {
		while (len < LINE && wait_for(fd, POLLIN, until)) {
			ssize_t got = recv(fd, line + len, LINE - len, 0);

			if (got <= 0)
				break;
			len += (size_t)got;
			if (memchr(line, '\n', len) != NULL)
				break;
		}
		line[len] = '\0';
		found = strlen(line) == len && ident_parse(line, peer->port, port, out);
	}
	(void)close(fd);
	return found;
}

/*
 * peer: a client for the tests, that does what it is told and says exactly how it ended.
 *
 * peer [-b ADDR] [-s TEXT | -S] [-H] [-c FILE] [-R] [-d BYTES:MS] [-r BYTES] [-n COUNT] [-t MS] ADDRESS
 *   ADDRESS tcp:HOST:PORT, unix:PATH, unix-seqpacket:PATH (@ for abstract), vsock:CID:PORT
 *   -b from that address    -s send TEXT   -S send standard input   -H then shut our side
 *   -c hold the connection, reading nothing, until FILE exists, then shut our side
 *   -R end with a reset
 *   -d read so slowly       -r receive buffer   -t silence that ends it (5000)
 *   -n that many, one after the other: prints only how many ended well and with how many bytes
 * Exit status: 0 end of file, 3 reset, 4 silence, 5 refused, 1 anything else.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

enum { END = 0, OTHER = 1, RESET = 3, SILENCE = 4, REFUSED = 5 };

static const char *from, *text;
static const char *hold;
static int input, half, reset, limit = 5000, slow_bytes, slow_ms, rcvbuf, count;
static size_t got;

static int
open_inet(char *host)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list, *src;
	char *port = strrchr(host, ':');
	int fd, rc;

	if (port == NULL)
		return -1;
	*port++ = '\0';
	if (*host == '[') {
		host++;
		host[strlen(host) - 1] = '\0';
	}
	if (getaddrinfo(host, port, &hints, &list) != 0)
		return -1;
	fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (rcvbuf > 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf);
	if (from != NULL && getaddrinfo(from, "0", &hints, &src) == 0) {
		if (bind(fd, src->ai_addr, src->ai_addrlen) == -1)
			return -1;
		freeaddrinfo(src);
	}
	rc = connect(fd, list->ai_addr, list->ai_addrlen);
	freeaddrinfo(list);
	return rc == -1 ? -1 : fd;
}

static int
open_unix(const char *path, int type)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	size_t n = strlen(path);
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	if (n >= sizeof a.sun_path)
		return -1;
	memcpy(a.sun_path, path, n);
	if (*path == '@')
		a.sun_path[0] = '\0';
	return connect(fd, (struct sockaddr *)&a,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (*path != '@'))) == -1 ? -1 : fd;
}

static int
open_vsock(const char *where)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK };
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (sscanf(where, "%u:%u", &a.svm_cid, &a.svm_port) != 2)
		return -1;
	return connect(fd, (struct sockaddr *)&a, sizeof a) == -1 ? -1 : fd;
}

static int
open_any(const char *address)
{
	char copy[512];

	(void)snprintf(copy, sizeof copy, "%s", address);
	if (strncmp(copy, "tcp:", 4) == 0)
		return open_inet(copy + 4);
	if (strncmp(copy, "tcp4:", 5) == 0 || strncmp(copy, "tcp6:", 5) == 0)
		return open_inet(copy + 5);
	if (strncmp(copy, "unix:", 5) == 0)
		return open_unix(copy + 5, SOCK_STREAM);
	if (strncmp(copy, "unix-seqpacket:", 15) == 0)
		return open_unix(copy + 15, SOCK_SEQPACKET);
	if (strncmp(copy, "vsock:", 6) == 0)
		return open_vsock(copy + 6);
	return -1;
}

static int
verdict(int why)
{
	switch (why) {
	case ECONNREFUSED:
	case ENOENT:
		return REFUSED;
	case ECONNRESET:
	case EPIPE:
		return RESET;
	default:
		return OTHER;
	}
}

static void
send_input(int fd)
{
	char buf[65536];
	ssize_t n;

	while ((n = read(0, buf, sizeof buf)) > 0)
		for (ssize_t at = 0, m; at < n; at += m)
			if ((m = send(fd, buf + at, (size_t)(n - at), MSG_NOSIGNAL)) == -1)
				return;
}

static int
talk(int fd)
{
	char buf[65536];
	size_t most = slow_bytes > 0 ? (size_t)slow_bytes : sizeof buf;
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (text != NULL)
		(void)send(fd, text, strlen(text), MSG_NOSIGNAL);
	if (input)
		send_input(fd);
	if (half)
		(void)shutdown(fd, SHUT_WR);
	if (hold != NULL) {
		while (access(hold, F_OK) == -1)
			(void)poll(NULL, 0, 5);
		(void)shutdown(fd, SHUT_WR);
	}
	if (reset) {
		struct linger l = { 1, 0 };

		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
		return END;
	}
	for (;;) {
		ssize_t n;

		if (poll(&p, 1, limit) == 0)
			return SILENCE;
		n = recv(fd, buf, most, 0);
		if (n == 0)
			return END;
		if (n == -1)
			return verdict(errno);
		got += (size_t)n;
		if (count == 0)
			(void)(fwrite(buf, 1, (size_t)n, stdout) + (size_t)fflush(stdout));
		if (slow_ms > 0)
			(void)poll(NULL, 0, slow_ms);
	}
}

static int
once(const char *address)
{
	int fd = open_any(address), rc;

	if (fd == -1)
		return verdict(errno);
	rc = talk(fd);
	(void)close(fd);
	return rc;
}

int
main(int argc, char **argv)
{
	int o, rc = END, well = 0;

	while ((o = getopt(argc, argv, "b:s:SHc:Rd:r:n:t:")) != -1) {
		switch (o) {
		case 'b': from = optarg; break;
		case 's': text = optarg; break;
		case 'S': input = 1; break;
		case 'H': half = 1; break;
		case 'c': hold = optarg; break;
		case 'R': reset = 1; break;
		case 'd':
			if (sscanf(optarg, "%d:%d", &slow_bytes, &slow_ms) != 2)
				return OTHER;
			break;
		case 'r': rcvbuf = atoi(optarg); break;
		case 'n': count = atoi(optarg); break;
		case 't': limit = atoi(optarg); break;
		default: return OTHER;
		}
	}
	if (optind != argc - 1)
		return OTHER;
	if (count == 0) {
		rc = once(argv[optind]);
		return fflush(stdout) == 0 ? rc : OTHER;
	}
	for (int i = 0; i < count; i++) {
		int one = once(argv[optind]);

		well += one == END;
		rc = one != END ? one : rc;
	}
	(void)printf("%d %zu\n", well, got);
	return rc;
}

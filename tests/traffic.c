/*
 * traffic: what the benchmark of datagrams and relays needs, on loopback.
 *
 * traffic udp PORT SOCKETS SECONDS   a closed loop: each socket sends 32 bytes, waits for one datagram
 *                                    and sends again. Prints answers a second, and how many were lost.
 * traffic source PORT MIB            a server that sends so much to each connection and closes it
 * traffic fast PORT                  a server that sends three bytes to each and closes it
 * traffic sink PORT                  connects, reads to the end, prints MiB and GB a second
 * Servers run until they are ended.
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 1 << 20, LOST_MS = 500 };

static char bytes[CHUNK];

static double
now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int
fail(const char *what)
{
	perror(what);
	return 1;
}

static struct sockaddr_in
local(const char *port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int
udp(const char *port, int sockets, double seconds)
{
	struct sockaddr_in to = local(port);
	struct epoll_event ev[256];
	int ep = epoll_create1(0), *fd = calloc((size_t)sockets, sizeof *fd);
	double *sent = calloc((size_t)sockets, sizeof *sent), begin, end, look;
	long answers = 0, lost = 0;

	for (int i = 0; i < sockets; i++) {
		struct epoll_event e = { .events = EPOLLIN, .data.u32 = (uint32_t)i };

		fd[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
		if (fd[i] == -1 || connect(fd[i], (struct sockaddr *)&to, sizeof to) == -1 ||
		    epoll_ctl(ep, EPOLL_CTL_ADD, fd[i], &e) == -1)
			return fail("traffic");
		(void)!send(fd[i], bytes, 32, 0);
		sent[i] = now();
	}
	begin = look = now();
	end = begin + seconds;
	while (now() < end) {
		int n = epoll_wait(ep, ev, 256, 100);
		double t = now();

		for (int k = 0; k < n; k++) {
			int i = (int)ev[k].data.u32;

			if (recv(fd[i], bytes, sizeof bytes, 0) == -1)
				continue;
			answers++;
			(void)!send(fd[i], bytes, 32, 0);
			sent[i] = t;
		}
		/* Whoever waits too long has lost one, and sends again. */
		for (int i = 0; t - look > 0.1 && i < sockets; i++) {
			if (t - sent[i] < LOST_MS / 1e3)
				continue;
			lost++;
			(void)!send(fd[i], bytes, 32, 0);
			sent[i] = t;
		}
		if (t - look > 0.1)
			look = t;
	}
	printf("%.0f %ld\n", (double)answers / (now() - begin), lost);
	return 0;
}

static int
serve(const char *port, long long most)
{
	struct sockaddr_in at = local(port);
	int one = 1, s = socket(AF_INET, SOCK_STREAM, 0);

	(void)setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(s, (struct sockaddr *)&at, sizeof at) == -1 || listen(s, 4096) == -1)
		return fail("traffic");
	for (;;) {
		int fd = accept(s, NULL, NULL);
		ssize_t n = 1;

		if (fd == -1)
			continue;
		if (most == 0)
			(void)!send(fd, "hi\n", 3, MSG_NOSIGNAL);
		for (long long left = most; left > 0 && n > 0; left -= n)
			n = send(fd, bytes, sizeof bytes, MSG_NOSIGNAL);
		(void)shutdown(fd, SHUT_WR);
		(void)close(fd);
	}
}

static int
sink(const char *port)
{
	struct sockaddr_in to = local(port);
	int s = socket(AF_INET, SOCK_STREAM, 0);
	double begin = now();
	long long got = 0;
	ssize_t n;

	if (connect(s, (struct sockaddr *)&to, sizeof to) == -1)
		return fail("traffic");
	while ((n = recv(s, bytes, sizeof bytes, 0)) > 0)
		got += n;
	if (n == -1)
		return fail("traffic");
	printf("%lld %.2f\n", got >> 20, (double)got / (now() - begin) / 1e9);
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[1], "udp") == 0)
		return udp(argv[2], atoi(argv[3]), atof(argv[4]));
	if (argc == 4 && strcmp(argv[1], "source") == 0)
		return serve(argv[2], atoll(argv[3]) << 20);
	if (argc == 3 && strcmp(argv[1], "fast") == 0)
		return serve(argv[2], 0);
	if (argc == 3 && strcmp(argv[1], "sink") == 0)
		return sink(argv[2]);
	fputs("usage: traffic udp PORT SOCKETS SECONDS | source PORT MIB | fast PORT | sink PORT\n", stderr);
	return 2;
}

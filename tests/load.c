/*
 * load: a closed loop of clients on loopback: each connects, reads to the end, and comes again.
 * load [-s TEXT] [-b] [-z] [-n PORTS] [-u FILE] [-e BYTES] PORT CLIENTS SECONDS
 *     -s  send TEXT first       -b  a burst: CLIENTS connections at once, once, and the time until
 *     all are served            -z  nothing is to come: an empty reply is the right one
 *     -n  one after the other of so many ports, from PORT on     -u  until FILE exists, or SECONDS have passed
 *     -e  a reply of another length has failed, and so has one that has not come whole 10 s after the end
 * Prints: served per second, p50 and p99 in microseconds, how many failed; with -e how many were served.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "now.h"

struct client {
	int fd;
	int64_t began;
	size_t got;
	int sent;
};

enum { MOST = 4 << 20 };

static struct sockaddr_in to = { .sin_family = AF_INET };
static const char *text, *until;
static size_t expected;
static unsigned first, ports = 1, turn;
static int nothing;
static int ep;
static uint32_t *took;
static size_t served, failed;

static void
begin(struct client *c)
{
	struct epoll_event ev = { .events = text != NULL ? EPOLLOUT : EPOLLIN, .data.ptr = c };

	to.sin_port = htons((uint16_t)(first + turn++ % ports));
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	c->began = now_us();
	c->got = 0;
	c->sent = 0;
	if (c->fd == -1 ||
	    (connect(c->fd, (struct sockaddr *)&to, sizeof to) == -1 && errno != EINPROGRESS) ||
	    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev) == -1) {
		perror("load");
		exit(1);
	}
}

/* True: this connection is over. */
static int
step(struct client *c)
{
	char buf[4096];
	ssize_t n;

	if (text != NULL && !c->sent) {
		struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };

		c->sent = 1;
		(void)!send(c->fd, text, strlen(text), MSG_NOSIGNAL);
		(void)epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &ev);
		return 0;
	}
	while ((n = read(c->fd, buf, sizeof buf)) > 0)
		c->got += (size_t)n;
	if (n == -1 && errno == EAGAIN)
		return 0;
	if (n == -1 || (expected != 0 ? c->got != expected : (c->got == 0) != nothing))
		failed++;
	else if (served < MOST)
		took[served++] = (uint32_t)(now_us() - c->began);
	(void)close(c->fd);
	return 1;
}

static int
by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

int
main(int argc, char **argv)
{
	int burst = 0, o, n, left, ending = 0;
	struct client *c;
	struct epoll_event ev[256];
	int64_t start, end, over;
	struct rlimit r;

	while ((o = getopt(argc, argv, "s:bzn:u:e:")) != -1) {
		if (o == 's')
			text = optarg;
		else if (o == 'b')
			burst = 1;
		else if (o == 'z')
			nothing = 1;
		else if (o == 'n')
			ports = (unsigned)atoi(optarg);
		else if (o == 'u')
			until = optarg;
		else if (o == 'e')
			expected = (size_t)atoi(optarg);
	}
	if (argc - optind != 3 || ports == 0) {
		(void)fprintf(stderr, "usage: load [-s TEXT] [-b] [-z] [-n PORTS] [-u FILE] [-e BYTES] PORT CLIENTS SECONDS\n");
		return 2;
	}
	first = (unsigned)atoi(argv[optind]);
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	n = atoi(argv[optind + 1]);
	c = calloc((size_t)n, sizeof *c);
	took = malloc(MOST * sizeof *took);
	ep = epoll_create1(EPOLL_CLOEXEC);
	if (c == NULL || took == NULL || ep == -1)
		return 1;
	if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
		r.rlim_cur = r.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &r);
	}
	start = now_us();
	end = start + (int64_t)(atof(argv[optind + 2]) * 1e6);
	for (int i = 0; i < n; i++)
		begin(&c[i]);
	left = n;
	while (((over = now_us()) < end || (expected != 0 && !ending)) && left > 0 && (!burst || served + failed < (size_t)n)) {
		int k = epoll_wait(ep, ev, 256, 100);

		for (int i = 0; i < k; i++) {
			struct client *x = ev[i].data.ptr;

			if (step(x) && !burst) {
				if (ending)
					left--;
				else
					begin(x);
			}
		}
		if (!ending && expected != 0 && (now_us() >= end || (until != NULL && access(until, F_OK) == 0))) {
			ending = 1;
			end = now_us() + 10000000;
		}
	}
	if (ending)
		failed += (size_t)left;
	if (burst && served + failed < (size_t)n)
		failed += (size_t)n - served - failed;
	qsort(took, served, sizeof *took, by_size);
	(void)printf("%.0f %u %u %zu", (double)served * 1e6 / (double)(over - start),
	    served ? took[served / 2] : 0, served ? took[served * 99 / 100] : 0, failed);
	if (expected != 0)
		(void)printf(" %zu", served);
	(void)putchar('\n');
	return 0;
}

/*
 * soak: N connections on loopback, CLIENTS at once, of several kinds; what each is to bring is known.
 *
 * soak N CLIENTS GOOD DENIED FAILING TIMED
 *   Of 1000 connections 10 go to the port DENIED, 10 to FAILING and one to TIMED: they are to end without a byte.
 *   All others go to GOOD, which says "ok\n"; 10 of them are reset as soon as they stand.
 * Prints how many there were of each: good denied failing timed reset, and how many went wrong.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum kind { GOOD, DENIED, FAILING, TIMED, RESET, KINDS };
enum { STUCK = 60000 };	/* ms without anything */

struct client {
	int fd;
	enum kind kind;
	char got[8];
	size_t len;
};

static unsigned port[KINDS];
static unsigned long n, begun, did[KINDS], wrong;
static int ep;

static enum kind
kind_of(unsigned long i)
{
	return i % 100 == 7 ? DENIED : i % 100 == 57 ? FAILING : i % 100 == 83 ? RESET : i % 1000 == 33 ? TIMED : GOOD;
}

static void
begin(struct client *c)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };

	c->kind = kind_of(begun++);
	c->len = 0;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	to.sin_port = htons((uint16_t)port[c->kind]);
	if (c->kind == RESET)
		ev.events = EPOLLOUT;
	if (c->fd == -1 || (connect(c->fd, (struct sockaddr *)&to, sizeof to) == -1 && errno != EINPROGRESS) ||
	    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev) == -1) {
		perror("soak");
		exit(1);
	}
}

/* True: it is over. */
static int
step(struct client *c)
{
	const struct linger at_once = { .l_onoff = 1 };
	char more[64];
	ssize_t got;

	if (c->kind == RESET) {
		if (send(c->fd, "x", 1, MSG_NOSIGNAL) != 1)
			wrong++;
		else
			did[RESET]++;
		(void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
		(void)close(c->fd);
		return 1;
	}
	while ((got = read(c->fd, more, sizeof more)) > 0) {
		size_t fits = (size_t)got < sizeof c->got - c->len ? (size_t)got : sizeof c->got - c->len;

		memcpy(c->got + c->len, more, fits);
		c->len += fits;
	}
	if (got == -1 && errno == EAGAIN)
		return 0;
	if (got == 0 && (c->kind == GOOD ? c->len == 3 && memcmp(c->got, "ok\n", 3) == 0 : c->len == 0))
		did[c->kind]++;
	else
		wrong++;
	(void)close(c->fd);
	return 1;
}

int
main(int argc, char **argv)
{
	struct epoll_event ev[64];
	struct client *c;
	unsigned long over = 0, most;

	if (argc != 3 + RESET) {
		(void)fprintf(stderr, "usage: soak N CLIENTS GOOD DENIED FAILING TIMED\n");
		return 2;
	}
	n = strtoul(argv[1], NULL, 10);
	most = strtoul(argv[2], NULL, 10);
	for (int k = 0; k < RESET; k++)
		port[k] = (unsigned)atoi(argv[3 + k]);
	port[RESET] = port[GOOD];
	c = calloc(most, sizeof *c);
	ep = epoll_create1(EPOLL_CLOEXEC);
	if (c == NULL || ep == -1)
		return 1;
	for (unsigned long i = 0; i < most && begun < n; i++)
		begin(&c[i]);
	while (over < n) {
		int k = epoll_wait(ep, ev, 64, STUCK);

		if (k <= 0) {
			wrong += n - over;
			break;
		}
		for (int i = 0; i < k; i++) {
			if (!step(ev[i].data.ptr))
				continue;
			over++;
			if (begun < n)
				begin(ev[i].data.ptr);
		}
	}
	for (int k = 0; k < KINDS; k++)
		(void)printf("%lu ", did[k]);
	(void)printf("%lu\n", wrong);
	return wrong != 0;
}

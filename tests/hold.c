/*
 * hold: so many connections to a service that echoes, held open until standard input ends; to
 * measure what a live child costs. hold PORT CLIENTS
 * A connection counts once a byte came back, so that its child is known to run. Prints how many
 * there are: CLIENTS, or as many as the limits allow.
 */
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* True: connected, and the child has answered. */
static int
hold(uint16_t port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	    .sin_port = htons(port) };
	struct timeval most = { .tv_sec = 10 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char c = '.';

	if (fd == -1)
		return 0;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most) == 0 &&
	    connect(fd, (struct sockaddr *)&to, sizeof to) == 0 &&
	    send(fd, &c, 1, MSG_NOSIGNAL) == 1 && recv(fd, &c, 1, 0) == 1)
		return 1;
	(void)close(fd);
	return 0;
}

int
main(int argc, char **argv)
{
	struct rlimit r;
	int most, n = 0;
	char c;

	if (argc != 3) {
		(void)fprintf(stderr, "usage: hold PORT CLIENTS\n");
		return 2;
	}
	if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
		r.rlim_cur = r.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &r);
	}
	most = atoi(argv[2]);
	while (n < most && hold((uint16_t)atoi(argv[1])))
		n++;
	(void)printf("%d\n", n);
	(void)fflush(stdout);
	while (read(0, &c, 1) == 1)
		continue;
	return 0;
}

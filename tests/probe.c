/*
 * probe: is a service there, and how soon? One client that comes every so many ms, one after the other.
 * probe [-b ADDR] [-p MS] [-s TEXT] [-u FILE] PORT SECONDS
 *   -b from that address    -p so often (20)    -s send TEXT, and our end of stream
 *   -u until FILE exists, or SECONDS have passed
 * Prints: tried, served, and of the served the median, the 99th hundredth and the longest in
 * microseconds. Who got nothing within 10 s, or no end of stream, was not served.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "now.h"

enum { MOST = 1 << 20 };

static uint32_t took[MOST];
static struct sockaddr_in to = { .sin_family = AF_INET }, from = { .sin_family = AF_INET };
static const char *text;

/* True: it answered, and came to its end. */
static int
served(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct timeval most = { .tv_sec = 10 };
	char buf[4096];
	size_t got = 0;
	ssize_t n = -1;

	if (fd == -1)
		return 0;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
	if (bind(fd, (const struct sockaddr *)&from, sizeof from) == 0 &&
	    connect(fd, (const struct sockaddr *)&to, sizeof to) == 0) {
		if (text != NULL) {
			(void)send(fd, text, strlen(text), MSG_NOSIGNAL);
			(void)shutdown(fd, SHUT_WR);
		}
		while ((n = recv(fd, buf, sizeof buf, 0)) > 0)
			got += (size_t)n;
	}
	(void)close(fd);
	return n == 0 && got > 0;
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
	int64_t apart = 20000, next = now_us(), end;
	const char *until = NULL;
	size_t tried = 0, n = 0;
	int o;

	while ((o = getopt(argc, argv, "b:p:s:u:")) != -1) {
		if (o == 'b' && inet_pton(AF_INET, optarg, &from.sin_addr) != 1)
			return 2;
		if (o == 'p')
			apart = atoi(optarg) * INT64_C(1000);
		else if (o == 's')
			text = optarg;
		else if (o == 'u')
			until = optarg;
		else if (o == '?')
			return 2;
	}
	if (argc - optind != 2)
		return 2;
	to.sin_port = htons((uint16_t)atoi(argv[optind]));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	end = next + (int64_t)(atof(argv[optind + 1]) * 1e6);
	while (now_us() < end && n < MOST && (until == NULL || access(until, F_OK) == -1)) {
		int64_t began = now_us();

		tried++;
		if (served())
			took[n++] = (uint32_t)(now_us() - began);
		next = next + apart > now_us() ? next + apart : now_us();
		for (int64_t left; (left = next - now_us()) > 0;)
			(void)usleep((useconds_t)left);
	}
	qsort(took, n, sizeof *took, by_size);
	(void)printf("%zu %zu %u %u %u\n", tried, n, n > 0 ? took[n / 2] : 0, n > 0 ? took[n * 99 / 100] : 0,
	    n > 0 ? took[n - 1] : 0);
	return 0;
}

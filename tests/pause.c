/*
 * pause: how long a reload keeps a client waiting. pause PID PORT TIMES
 * One client connects to PORT, reads to the end and comes again, all the time; TIMES times PID gets a
 * HUP, 300 ms apart. Prints the median and the longest time of a connection before the first HUP and
 * after it, in microseconds, and how many failed.
 */
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "now.h"

enum { APART = 300000, BEFORE = 1000000, MOST = 1 << 20 };

static uint32_t took[2][MOST];
static size_t n[2], failed;

static void
once(const struct sockaddr_in *to, int when)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int64_t began = now_us();
	char buf[512];
	ssize_t got = -1;
	size_t all = 0;

	if (fd != -1 && connect(fd, (const struct sockaddr *)to, sizeof *to) == 0)
		while ((got = read(fd, buf, sizeof buf)) > 0)
			all += (size_t)got;
	if (got != 0 || all == 0)
		failed++;
	else if (n[when] < MOST)
		took[when][n[when]++] = (uint32_t)(now_us() - began);
	(void)close(fd);
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
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int64_t start = now_us();
	int times, sent = 0;
	pid_t pid;

	if (argc != 4)
		return 2;
	pid = (pid_t)atoi(argv[1]);
	to.sin_port = htons((uint16_t)atoi(argv[2]));
	times = atoi(argv[3]);
	while (now_us() < start + BEFORE)
		once(&to, 0);
	start = now_us();
	for (int64_t end = start + (int64_t)times * APART; now_us() < end && failed < 10;) {
		if (now_us() >= start + (int64_t)sent * APART) {
			sent++;
			if (kill(pid, SIGHUP) == -1)
				return 1;
		}
		once(&to, 1);
	}
	for (int i = 0; i < 2; i++) {
		qsort(took[i], n[i], sizeof took[i][0], by_size);
		(void)printf("%u %u ", n[i] > 0 ? took[i][n[i] / 2] : 0, n[i] > 0 ? took[i][n[i] - 1] : 0);
	}
	(void)printf("%zu\n", failed);
	return 0;
}

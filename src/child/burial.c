#include "child/burial.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "child/helper.h"

/*
 * The end of a UNIX connection: sends the end of stream, drops what the client still sends, until
 * its end or `linger` ms; below 0 it is only closed. In a process of its own: what lies in the queue
 * may be descriptors whose closing takes long, and that must not be the master's time.
 */
static void
bury(int fd, void *arg)
{
	static char sink[16384];
	int64_t linger = *(const int64_t *)arg, until = clock_ms() + linger;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n = 1;

	if (linger >= 0)	/* else whoever goes on with it keeps it: linger = no */
		(void)shutdown(fd, SHUT_WR);
	while (n != 0) {
		int64_t left = until - clock_ms();

		if (left <= 0 || poll(&p, 1, (int)left) <= 0)
			break;
		n = recv(fd, sink, sizeof sink, MSG_DONTWAIT);
		if (n == -1 && errno != EAGAIN && errno != EINTR)
			break;
	}
	_exit(0);
}

pid_t
spawn_burial(int fd, int64_t linger)
{
	return helper_start(fd, false, bury, &linger);
}

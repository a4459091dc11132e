#include "child/burial.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"

/*
 * The end of a UNIX connection: sends the end of stream, drops what the client still sends, until
 * its end or `linger` ms; below 0 it is only closed. In a process of its own: what lies in the queue
 * may be descriptors whose closing takes long, and that must not be the master's time.
 */
static _Noreturn void
bury(int fd, int64_t linger)
{
	static char sink[16384];
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int64_t until = clock_ms() + linger;
	ssize_t n = 1;
#ifdef SYS_close_range
	unsigned keep = (unsigned)fd;

	(void)syscall(SYS_close_range, 0, keep - 1, 0);
	(void)syscall(SYS_close_range, keep + 1, ~0U, 0);
#endif
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
	sigset_t none;
	pid_t pid = fork();

	if (pid == 0) {
		(void)sigemptyset(&none);
		(void)sigprocmask(SIG_SETMASK, &none, NULL);
		bury(fd, linger);
	}
	return pid;
}

#include "base/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

bool
fd_is_open(int fd)
{
	return fcntl(fd, F_GETFD) != -1;
}

int
fd_fill_std(void)
{
	for (int fd = 0; fd <= 2; fd++) {
		if (!fd_is_open(fd) && open("/dev/null", O_RDWR) != fd)
			return -1;
	}
	return 0;
}

static void
close_between(unsigned from, unsigned to)
{
	if (from > to)
		return;
#ifdef SYS_close_range
	if (syscall(SYS_close_range, from, to, 0) == 0)
		return;
#endif
	if (to > (unsigned)sysconf(_SC_OPEN_MAX))	/* the caller has not raised it yet */
		to = (unsigned)sysconf(_SC_OPEN_MAX);
	for (unsigned fd = from; fd <= to; fd++)
		(void)close((int)fd);
}

void
fd_close_from(int from, const int *keep, size_t n)
{
	unsigned next = (unsigned)from;

	for (;;) {
		unsigned stop = UINT_MAX;

		for (size_t i = 0; i < n; i++) {
			if (keep[i] >= 0 && (unsigned)keep[i] >= next && (unsigned)keep[i] < stop)
				stop = (unsigned)keep[i];
		}
		if (stop == UINT_MAX)
			break;
		if (stop > 0)
			close_between(next, stop - 1);
		next = stop + 1;
	}
	close_between(next, INT_MAX);
}

void
fd_cloexec_from(int from)
{
	DIR *d;
	struct dirent *e;

#ifdef SYS_close_range
	if (syscall(SYS_close_range, (unsigned)from, ~0U, 1U << 2 /* CLOSE_RANGE_CLOEXEC */) == 0)
		return;
#endif
	d = opendir("/proc/self/fd");
	while (d != NULL && (e = readdir(d)) != NULL) {
		long fd = strtol(e->d_name, NULL, 10);

		if (fd >= from)
			(void)fcntl((int)fd, F_SETFD, FD_CLOEXEC);
	}
	if (d != NULL)
		(void)closedir(d);
}

void
fd_reserve(int count)
{
	int fd = -1;

	while (count > 64 && (fd = fcntl(0, F_DUPFD_CLOEXEC, count - 1)) == -1)
		count /= 2;
	if (fd != -1)
		(void)close(fd);
}

int
fd_write_all(int fd, const void *bytes, size_t len)
{
	const char *p = bytes;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n == -1) {
			if (errno == EINTR)
				continue;
			return -1;
		}
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

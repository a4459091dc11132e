#include "base/pour.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

void
pour_open_stderr(struct pour *p)
{
	struct stat st;

	p->fd = STDERR_FILENO;
	p->polled = true;
	if (fstat(STDERR_FILENO, &st) == -1)
		return;
	p->pipe = S_ISFIFO(st.st_mode);
	/*
	 * The descriptor is shared with whoever started us, so it must not be made nonblocking.
	 * A pipe or a terminal can be opened a second time, and that one is ours alone. A file
	 * cannot: it would be written from its start.
	 */
	if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
		int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

		if (fd != -1) {
			p->fd = fd;
			p->own = true;
			p->polled = false;
		}
	} else if (S_ISREG(st.st_mode)) {
		p->polled = false;
	}
}

void
pour_close(struct pour *p)
{
	if (p->own && p->fd != -1)
		(void)close(p->fd);
	p->own = false;
	p->fd = -1;
}

int
pour_open_file(struct pour *p)
{
	int fd = open(p->to.path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
	struct stat was, is;

	if (fd == -1)
		return -1;
	if (fstat(fd, &is) == -1)
		is = (struct stat){ 0 };
	/* The same file is as full as it was; another is judged by itself. */
	if (p->fd == -1 || fstat(p->fd, &was) == -1 || was.st_dev != is.st_dev || was.st_ino != is.st_ino)
		p->over_hard = p->to.soft != 0 && (uint64_t)is.st_size >= p->to.hard;
	pour_close(p);
	p->fd = fd;
	p->own = true;
	p->pipe = S_ISFIFO(is.st_mode);
	return 0;
}

/* The whole lines in the first `room` bytes. */
static size_t
whole_lines(const char *data, size_t len, size_t room)
{
	const char *end = memrchr(data, '\n', room < len ? room : len);

	return end != NULL ? (size_t)(end - data) + 1 : 0;
}

uint64_t
pour_lines(const char *data, size_t len)
{
	uint64_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += data[i] == '\n';
	return n;
}

static int
connect_syslog(struct pour *p)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };

	p->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->fd == -1)
		return -1;
	p->own = true;
	if (connect(p->fd, (struct sockaddr *)&to, sizeof to) == -1) {
		int why = errno;

		pour_close(p);
		errno = why;
		return -1;
	}
	return 0;
}

/*
 * One line, as a datagram. Whatever fails, the next try is with a new socket: somebody else may have
 * taken the name meanwhile, if the old one is still there and read by nobody. What was sent before
 * stays with its receiver.
 */
static ssize_t
pour_syslog(struct pour *p, const char *data, size_t len, uint64_t *lost)
{
	const char *end = memchr(data, '\n', len);
	size_t line = end != NULL ? (size_t)(end - data) : len;

	for (bool old = p->fd != -1;; old = false) {
		int why;

		if (p->fd == -1 && connect_syslog(p) == -1)
			return -1;
		if (send(p->fd, data, line, MSG_DONTWAIT | MSG_NOSIGNAL) != -1)
			return (ssize_t)line + 1;
		why = errno;
		if (why == EMSGSIZE) {	/* it never goes in */
			++*lost;
			return (ssize_t)line + 1;
		}
		pour_close(p);
		errno = why;
		if (!old || why == EAGAIN || why == ENOBUFS)
			return -1;
	}
}

/* A pipe that another process reads shows whole lines, whoever else writes into it. */
static size_t
piece(const struct pour *p, const char *data, size_t len)
{
	size_t whole;

	if (!p->pipe || len <= PIPE_BUF)
		return len;
	whole = whole_lines(data, len, PIPE_BUF);
	return whole > 0 ? whole : PIPE_BUF;
}

/* A file, up to its hard limit; the lines behind that are lost. */
static ssize_t
pour_file(struct pour *p, const char *data, size_t len, uint64_t *lost)
{
	struct stat st;

	if (p->fd == -1 && pour_open_file(p) == -1)
		return -1;
	if (p->to.soft != 0) {
		if (fstat(p->fd, &st) == -1)
			return -1;
		p->over_hard = false;
		if ((uint64_t)st.st_size + len > p->to.hard) {
			uint64_t room = (uint64_t)st.st_size < p->to.hard ? p->to.hard - (uint64_t)st.st_size : 0;
			size_t fits = whole_lines(data, len, room < len ? (size_t)room : len);

			if (fits == 0) {
				p->over_hard = true;
				*lost += pour_lines(data, len);
				return (ssize_t)len;
			}
			len = fits;
		}
	}
	return write(p->fd, data, piece(p, data, len));
}

static ssize_t
pour_stderr(struct pour *p, const char *data, size_t len)
{
	if (p->polled) {
		struct pollfd f = { .fd = p->fd, .events = POLLOUT };
		struct stat st;

		if (fstat(p->fd, &st) == 0 && S_ISSOCK(st.st_mode))
			return send(p->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (poll(&f, 1, 0) != 1 || (f.revents & POLLOUT) == 0) {
			errno = EAGAIN;
			return -1;
		}
		if (len > PIPE_BUF)
			len = PIPE_BUF;	/* what can be written takes so much at once */
	}
	return write(p->fd, data, piece(p, data, len));
}

ssize_t
pour(struct pour *p, const char *data, size_t len, uint64_t *lost)
{
	ssize_t n = (ssize_t)len;

	switch (p->to.kind) {
	case LOG_SYSLOG:
		return pour_syslog(p, data, len, lost);
	case LOG_FILE:
		n = pour_file(p, data, len, lost);
		break;
	case LOG_STDERR:
		n = pour_stderr(p, data, len);
		break;
	case LOG_MASTER:	/* nobody pours into that one */
		break;
	}
	if (n == 0)
		errno = EAGAIN;
	return n;
}

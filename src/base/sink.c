#include "base/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	BOUND = 256 * 1024,	/* bytes that wait for a slow sink */
	FULL = 50,		/* ms until a sink that was full is tried again */
	BROKEN = 1000,		/* ms until one that failed is */
};

struct sink {
	struct sink *next;
	unsigned refs;
	struct log_to to;	/* its path is owned */
	int fd;			/* -1: not open */
	bool own;		/* fd is ours to close */
	bool polled;		/* fd may block: ask before each write, and write little */
	bool reopen;		/* the file is to be opened by its name before the next line */
	bool failed;		/* it could not be opened or written, and that was told */
	bool over_soft, over_hard;	/* the file is as long, and that was told */
	char *data;		/* lines that wait; BOUND bytes at most, made when first needed */
	size_t len, size;
	uint64_t lost;
	int64_t written;	/* when last */
	int64_t retry;		/* it did not take all: not before then; 0: it did */
};

static struct sink *sinks;

static void
open_stderr(struct sink *s)
{
	struct stat st;

	s->fd = STDERR_FILENO;
	s->polled = true;
	if (fstat(STDERR_FILENO, &st) == -1)
		return;
	/*
	 * The descriptor is shared with whoever started us, so it must not be made nonblocking.
	 * A pipe or a terminal can be opened a second time, and that one is ours alone. A file
	 * cannot: it would be written from its start.
	 */
	if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
		int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

		if (fd != -1) {
			s->fd = fd;
			s->own = true;
			s->polled = false;
		}
	} else if (S_ISREG(st.st_mode)) {
		s->polled = false;
	}
}

static bool
same(const struct log_to *a, const struct log_to *b)
{
	return a->kind == b->kind && a->facility == b->facility && a->level == b->level &&
	    a->soft == b->soft && a->hard == b->hard &&
	    (a->path == NULL || strcmp(a->path, b->path) == 0);
}

struct sink *
sink_get(const struct log_to *to)
{
	struct sink *s;

	if (to->kind == LOG_MASTER)
		return NULL;
	for (s = sinks; s != NULL; s = s->next) {
		if (same(&s->to, to)) {
			s->refs++;
			return s;
		}
	}
	s = calloc(1, sizeof *s);
	if (s == NULL)
		return NULL;
	s->refs = 1;
	s->fd = -1;
	s->to = *to;
	if (to->path != NULL) {
		s->to.path = strdup(to->path);
		if (s->to.path == NULL) {
			free(s);
			return NULL;
		}
	}
	if (to->kind == LOG_STDERR)
		open_stderr(s);
	s->next = sinks;
	sinks = s;
	return s;
}

void
sink_put(struct sink *s)
{
	struct sink **at = &sinks;

	if (s == NULL || --s->refs > 0)
		return;
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	if (s->own && s->fd != -1)
		(void)close(s->fd);
	free(s->to.path);
	free(s->data);
	free(s);
}

void
sinks_reopen(void)
{
	for (struct sink *s = sinks; s != NULL; s = s->next) {
		s->reopen = s->to.kind == LOG_FILE;
		s->over_hard = s->over_soft = false;
	}
}

bool
sink_is_syslog(const struct sink *s, int *facility, int *level)
{
	if (s == NULL || s->to.kind != LOG_SYSLOG)
		return false;
	*facility = s->to.facility;
	*level = s->to.level;
	return true;
}

int
sink_fd(const struct sink *s)
{
	return s == NULL || s->to.kind == LOG_SYSLOG ? -1 : s->fd;
}

/* --- writing: bytes taken from the front; -1: none went */

static int
connect_syslog(struct sink *s)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };

	s->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd == -1)
		return -1;
	s->own = true;
	if (connect(s->fd, (struct sockaddr *)&to, sizeof to) == -1) {
		(void)close(s->fd);
		s->fd = -1;
		return -1;
	}
	return 0;
}

/* One line, as a datagram. */
static ssize_t
write_syslog(struct sink *s)
{
	const char *end = memchr(s->data, '\n', s->len);
	size_t len = end != NULL ? (size_t)(end - s->data) : s->len;

	if (s->fd == -1 && connect_syslog(s) == -1)
		return -1;
	if (send(s->fd, s->data, len, MSG_DONTWAIT | MSG_NOSIGNAL) == -1) {
		if (errno == EMSGSIZE)
			return (ssize_t)len + 1;	/* too long for it: gone */
		if (errno != EAGAIN && errno != ENOBUFS) {
			(void)close(s->fd);
			s->fd = -1;
		}
		return -1;
	}
	return (ssize_t)len + 1;
}

static uint64_t
count_lines(const char *data, size_t len)
{
	uint64_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += data[i] == '\n';
	return n;
}

/* A file, up to its hard limit; the lines behind that are lost, and counted. */
static ssize_t
write_file(struct sink *s)
{
	size_t len = s->len;
	struct stat st;

	if (s->fd == -1 || s->reopen) {
		int fd = open(s->to.path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);

		if (fd == -1)
			return -1;
		if (s->fd != -1)
			(void)close(s->fd);
		s->fd = fd;
		s->own = true;
		s->reopen = false;
	}
	if (s->to.soft == 0)
		return write(s->fd, s->data, len);
	if (fstat(s->fd, &st) == -1)
		return -1;
	s->over_hard = false;
	if ((uint64_t)st.st_size + len > s->to.hard) {
		size_t room = (uint64_t)st.st_size < s->to.hard ? (size_t)(s->to.hard - (uint64_t)st.st_size) : 0;

		/* The whole lines that still fit. */
		for (len = room < s->len ? room : s->len; len > 0 && s->data[len - 1] != '\n'; len--)
			;
		if (len == 0) {
			s->over_hard = true;
			s->lost += count_lines(s->data, s->len);
			return (ssize_t)s->len;
		}
	}
	return write(s->fd, s->data, len);
}

static ssize_t
write_stderr(struct sink *s)
{
	size_t len = s->len;

	if (s->polled) {
		struct pollfd p = { .fd = s->fd, .events = POLLOUT };
		struct stat st;

		if (fstat(s->fd, &st) == 0 && S_ISSOCK(st.st_mode))
			return send(s->fd, s->data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (poll(&p, 1, 0) != 1 || (p.revents & POLLOUT) == 0)
			return -1;
		if (len > 4096)
			len = 4096;	/* a pipe that can be written takes PIPE_BUF at once */
	}
	return write(s->fd, s->data, len);
}

static bool
write_some(struct sink *s)
{
	ssize_t n = s->to.kind == LOG_SYSLOG ? write_syslog(s) : s->to.kind == LOG_FILE ? write_file(s) :
	    write_stderr(s);

	if (n <= 0)
		return false;
	s->len -= (size_t)n;
	memmove(s->data, s->data + n, s->len);
	return true;
}

void
sink_add(struct sink *s, const char *line, size_t len)
{
	if (s == NULL)
		return;
	/* Many lines at once, as at a start with thousands of services: what can go goes first. */
	if (s->len + len > BOUND && s->retry == 0)
		while (s->len > 0 && write_some(s))
			;
	if (s->len + len > s->size) {
		size_t size = s->size == 0 ? 8192 : s->size * 2;
		char *p = size <= BOUND ? realloc(s->data, size) : NULL;

		if (p == NULL) {
			s->lost++;
			return;
		}
		s->data = p;
		s->size = size;
	}
	memcpy(s->data + s->len, line, len);
	s->len += len;
}

/* What became of a file's limits, told once each. */
static void
look_at_limits(struct sink *s, bool was_over, void (*told)(bool grave, const char *name, const char *text))
{
	char text[400];
	struct stat st;

	if (s->over_hard && !was_over) {
		(void)snprintf(text, sizeof text, "the log %.200s has reached its hard limit of %" PRIu64
		    " bytes: nothing more is written to it", s->to.path, s->to.hard);
		told(true, "error", text);
	}
	if (fstat(s->fd, &st) == 0 && (uint64_t)st.st_size >= s->to.soft) {
		if (!s->over_soft) {
			(void)snprintf(text, sizeof text, "the log %.200s has reached its soft limit of %" PRIu64
			    " bytes; at %" PRIu64 " nothing more is written to it", s->to.path, s->to.soft, s->to.hard);
			told(false, "error", text);
		}
		s->over_soft = true;
	} else {
		s->over_soft = false;
	}
}

static int64_t
flush(struct sink *s, int64_t now, void (*told)(bool grave, const char *name, const char *text))
{
	bool was_over = s->over_hard;

	if (s->len == 0 && (s->lost == 0 || s->over_hard))
		return -1;
	if (now != 0 && now < s->written + SINK_GATHER && s->len < BOUND / 4)
		return s->written + SINK_GATHER;
	if (now < s->retry && now != 0)
		return s->retry;
	errno = 0;
	while (s->len > 0 && write_some(s))
		;
	s->written = now;
	if (s->len > 0) {
		bool broken = errno != 0 && errno != EAGAIN;

		if (broken && s->to.kind == LOG_FILE && !s->failed) {
			char text[400];

			s->failed = true;
			(void)snprintf(text, sizeof text, "cannot write the log %.200s: %s; it is tried again",
			    s->to.path, strerror(errno));
			told(true, "error", text);
		}
		s->retry = now + (broken ? BROKEN : FULL);
		return s->retry;
	}
	s->retry = 0;
	s->failed = false;
	if (s->to.kind == LOG_FILE && s->to.soft != 0 && s->fd != -1)
		look_at_limits(s, was_over, told);
	if (s->lost > 0 && !s->over_hard) {
		char text[100];

		(void)snprintf(text, sizeof text, "%" PRIu64 " log lines that the log did not take", s->lost);
		s->lost = 0;
		told(false, "lost", text);
		return now + SINK_GATHER;
	}
	return -1;
}

int64_t
sinks_flush(int64_t now, void (*told)(bool grave, const char *name, const char *text))
{
	int64_t next = -1;

	/* Twice: what one told another may have to write. */
	for (int pass = 0; pass < 2; pass++) {
		next = -1;
		for (struct sink *s = sinks; s != NULL; s = s->next) {
			int64_t at = flush(s, now, told);

			if (at != -1 && (next == -1 || at < next))
				next = at;
		}
		if (next == -1)
			break;
	}
	return next;
}

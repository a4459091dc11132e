#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"

enum {
	LINE = 2048,		/* one line, cut there */
	BOUND = 256 * 1024,	/* bytes that wait for a slow sink */
	FULL = 50,		/* ms until a sink that was full is tried again */
	BROKEN = 1000,		/* ms until one that failed is */
	DAEMON_FACILITY = 3 << 3,
};

static struct {
	bool syslog;
	int fd;			/* -1: not open */
	bool own;		/* fd is ours to close */
	bool polled;		/* fd may block: ask before each write, and write little */
	enum level threshold;
	const char *program;
	struct log_style style;	/* of the server's own lines */
	char *data;		/* lines that wait; BOUND bytes, made when first needed */
	size_t len, size;
	uint64_t lost;
	int64_t written;	/* when last */
	int64_t retry;		/* the sink did not take all: not before then; 0: it did */
	time_t second;		/* of the stamp below */
	char stamp[32], rfc[32];
} log_ = { .fd = -1 };

void
log_open_stderr(const char *program, enum level threshold)
{
	struct stat st;

	log_close();
	log_.program = program;
	log_.threshold = threshold;
	log_.syslog = false;
	log_.fd = STDERR_FILENO;
	log_.polled = true;
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
			log_.fd = fd;
			log_.own = true;
			log_.polled = false;
		}
	} else if (S_ISREG(st.st_mode)) {
		log_.polled = false;
	}
}

void
log_open_syslog(const char *program, enum level threshold)
{
	log_close();
	log_.program = program;
	log_.threshold = threshold;
	log_.syslog = true;
}

void
log_set_style(const struct log_style *style)
{
	log_.style = *style;
}

void
log_close(void)
{
	if (log_.program != NULL)
		(void)log_flush(0);
	if (log_.own && log_.fd != -1)
		(void)close(log_.fd);
	free(log_.data);
	memset(&log_, 0, sizeof log_);
	log_.fd = -1;
}

int
log_fd(void)
{
	return log_.syslog ? -1 : log_.fd;
}

static const char *const level_names[] = { "err", "warning", "notice", "info", "debug" };
static const int level_syslog[] = { 3, 4, 5, 6, 7 };

struct line {
	char text[LINE];
	size_t len;
};

static void __attribute__((format(printf, 2, 3)))
add(struct line *l, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(l->text + l->len, sizeof l->text - l->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		l->len += (size_t)n;
	if (l->len > sizeof l->text - 1)
		l->len = sizeof l->text - 1;
}

static void
add_text(struct line *l, const char *s, size_t len)
{
	if (l->len + 2 < sizeof l->text)
		l->len += str_escape(l->text + l->len, sizeof l->text - l->len - 2, s, len);
}

/* A JSON string; what is not printable ASCII becomes \u00HH. Leaves room for the line's end. */
static void
add_json(struct line *l, const char *key, const char *s, size_t len)
{
	add(l, "%s\"%s\":\"", l->len > 1 ? "," : "", key);
	for (size_t i = 0; i < len && l->len < sizeof l->text - 64; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c == '"' || c == '\\')
			add(l, "\\%c", c);
		else if (c >= 0x20 && c < 0x7f)
			l->text[l->len++] = (char)c;
		else
			add(l, "\\u%04x", c);
	}
	add(l, "\"");
}

static void
add_pair(struct line *l, const char *key, const char *s)
{
	if (s != NULL)
		add_json(l, key, s, strlen(s));
}

static void
format_json(struct line *l, const struct event *ev)
{
	struct timespec ts;
	struct tm tm;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	(void)gmtime_r(&ts.tv_sec, &tm);
	add(l, "{\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ\",\"level\":\"%s\",\"event\":\"%s\"",
	    tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
	    ts.tv_nsec / 1000000, level_names[ev->level], ev->name);
	add_pair(l, "service", ev->service);
	if (ev->fields & LOG_CONN)
		add(l, ",\"conn\":%" PRIu64, ev->conn);
	if (ev->fields & LOG_PID)
		add(l, ",\"pid\":%d", ev->pid);
	if (ev->fields & LOG_FROM)
		add_pair(l, "from", ev->from);
	add_pair(l, "host", ev->host);
	if (ev->fields & LOG_PORT)
		add(l, ",\"port\":%u", ev->port);
	add_pair(l, "user", ev->user);
	if (ev->fields & LOG_STATUS) {
		if (ev->signal != 0)
			add(l, ",\"signal\":%d", ev->signal);
		else
			add(l, ",\"status\":%d", ev->status);
	}
	add_pair(l, "reason", ev->reason);
	if (ev->fields & LOG_DURATION)
		add(l, ",\"duration\":%" PRId64 ".%03d", ev->duration / 1000, (int)(ev->duration % 1000));
	if (ev->fields & LOG_CPU)
		add(l, ",\"cpu\":%" PRId64 ".%03d", ev->cpu / 1000, (int)(ev->cpu % 1000));
	if (ev->fields & LOG_MAXRSS)
		add(l, ",\"maxrss\":%ld", ev->maxrss);
	if (ev->fields & LOG_BYTES)
		add(l, ",\"bytes_in\":%" PRIu64 ",\"bytes_out\":%" PRIu64, ev->bytes_in, ev->bytes_out);
	if (ev->message != NULL)
		add_json(l, "message", ev->message,
		    ev->message_len != 0 ? ev->message_len : strlen(ev->message));
	add(l, "}");
}

static void
format_text(struct line *l, const struct event *ev)
{
	for (const char *p = ev->name; *p != '\0'; p++)
		add(l, "%c", *p >= 'a' && *p <= 'z' ? *p - 'a' + 'A' : *p);
	add(l, ":");
	if (ev->service != NULL) {
		add(l, " ");
		add_text(l, ev->service, strlen(ev->service));
	}
	if (ev->reason != NULL)
		add(l, " %s", ev->reason);
	if (ev->fields & LOG_STATUS) {
		if (ev->signal != 0)
			add(l, " signal=%d", ev->signal);
		else
			add(l, " status=%d", ev->status);
	}
	if (ev->fields & LOG_PID)
		add(l, " pid=%d", ev->pid);
	if (ev->fields & LOG_FROM && ev->from != NULL) {
		add(l, " from=");
		add_text(l, ev->from, strlen(ev->from));
	}
	if (ev->host != NULL) {
		add(l, " host=");
		add_text(l, ev->host, strlen(ev->host));
	}
	if (ev->fields & LOG_DURATION)
		add(l, " duration=%" PRId64 "(sec)", ev->duration / 1000);
	if (ev->fields & LOG_PORT)
		add(l, " port=%u", ev->port);
	if (ev->fields & LOG_CONN)
		add(l, " conn=%" PRIu64, ev->conn);
	if (ev->fields & LOG_CPU)
		add(l, " cpu=%" PRId64 ".%03d(sec)", ev->cpu / 1000, (int)(ev->cpu % 1000));
	if (ev->fields & LOG_MAXRSS)
		add(l, " maxrss=%ld(KiB)", ev->maxrss);
	if (ev->fields & LOG_BYTES)
		add(l, " bytes_in=%" PRIu64 " bytes_out=%" PRIu64, ev->bytes_in, ev->bytes_out);
	if (ev->message != NULL) {
		add(l, " ");
		add_text(l, ev->message, ev->message_len != 0 ? ev->message_len : strlen(ev->message));
	}
}

/* xinetd's time stamp and RFC 3164's, made once a second. */
static void
stamp(void)
{
	static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug",
	    "Sep", "Oct", "Nov", "Dec" };
	time_t now = time(NULL);
	struct tm tm;

	if (now == log_.second)
		return;
	log_.second = now;
	(void)localtime_r(&now, &tm);
	(void)snprintf(log_.stamp, sizeof log_.stamp, "%02d/%d/%d@%02d:%02d:%02d: ", tm.tm_year % 100,
	    tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
	(void)snprintf(log_.rfc, sizeof log_.rfc, "%s %2d %02d:%02d:%02d", months[tm.tm_mon],
	    tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static void
keep_line(const struct line *l)
{
	if (log_.len + l->len > log_.size) {
		size_t size = log_.size == 0 ? 8192 : log_.size * 2;
		char *p = size <= BOUND ? realloc(log_.data, size) : NULL;

		if (p == NULL) {
			log_.lost++;
			return;
		}
		log_.data = p;
		log_.size = size;
	}
	memcpy(log_.data + log_.len, l->text, l->len);
	log_.len += l->len;
}

void
log_event(const struct event *ev, const struct log_style *style)
{
	struct line l;

	if (ev->level > log_.threshold || log_.program == NULL)
		return;
	if (style == NULL)
		style = &log_.style;
	l.len = 0;
	stamp();
	if (log_.syslog)
		add(&l, "<%d>%s %s[%d]: ", DAEMON_FACILITY | level_syslog[ev->level], log_.rfc,
		    style->tag != NULL ? style->tag : log_.program, (int)getpid());
	if (style->json) {
		struct line j = { .len = 0 };

		format_json(&j, ev);
		add(&l, "%.*s", (int)j.len, j.text);
	} else {
		if (!log_.syslog)
			add(&l, "%s", log_.stamp);
		format_text(&l, ev);
	}
	if (l.len > sizeof l.text - 2)
		l.len = sizeof l.text - 2;
	l.text[l.len++] = '\n';
	keep_line(&l);
}

void
log_say(enum level level, const char *name, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	log_event(&(struct event){ .level = level, .name = name, .message = text }, NULL);
}

static int
connect_syslog(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };

	log_.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (log_.fd == -1)
		return -1;
	log_.own = true;
	if (connect(log_.fd, (struct sockaddr *)&to, sizeof to) == -1) {
		(void)close(log_.fd);
		log_.fd = -1;
		return -1;
	}
	return 0;
}

/* Sends one line as a datagram. Bytes taken from the front; -1: it did not go. */
static ssize_t
write_syslog(void)
{
	const char *end = memchr(log_.data, '\n', log_.len);
	size_t len = end != NULL ? (size_t)(end - log_.data) : log_.len;

	if (log_.fd == -1 && connect_syslog() == -1)
		return -1;
	if (send(log_.fd, log_.data, len, MSG_DONTWAIT | MSG_NOSIGNAL) == -1) {
		if (errno == EMSGSIZE)
			return (ssize_t)len + 1;	/* too long for it: gone, and told below */
		if (errno != EAGAIN && errno != ENOBUFS) {
			(void)close(log_.fd);
			log_.fd = -1;
		}
		return -1;
	}
	return (ssize_t)len + 1;
}

static ssize_t
write_plain(void)
{
	size_t len = log_.len;

	if (log_.polled) {
		struct pollfd p = { .fd = log_.fd, .events = POLLOUT };
		struct stat st;
		ssize_t n;

		if (fstat(log_.fd, &st) == 0 && S_ISSOCK(st.st_mode)) {
			n = send(log_.fd, log_.data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
			return n;
		}
		if (poll(&p, 1, 0) != 1 || (p.revents & POLLOUT) == 0)
			return -1;
		if (len > 4096)
			len = 4096;	/* a pipe that can be written takes PIPE_BUF at once */
	}
	return write(log_.fd, log_.data, len);
}

static bool
write_some(void)
{
	ssize_t n = log_.syslog ? write_syslog() : write_plain();

	if (n <= 0)
		return false;
	log_.len -= (size_t)n;
	memmove(log_.data, log_.data + n, log_.len);
	return true;
}

int64_t
log_flush(int64_t now)
{
	if (log_.len == 0 && log_.lost == 0)
		return -1;
	if (now != 0 && now < log_.written + LOG_GATHER && log_.len < BOUND / 4)
		return log_.written + LOG_GATHER;
	if (now < log_.retry && now != 0)
		return log_.retry;
	errno = 0;
	while (log_.len > 0 && write_some())
		;
	log_.written = now;
	if (log_.len > 0) {
		log_.retry = now + (errno == 0 || errno == EAGAIN ? FULL : BROKEN);
		return log_.retry;
	}
	log_.retry = 0;
	if (log_.lost > 0) {
		uint64_t lost = log_.lost;

		log_.lost = 0;
		log_say(LEVEL_WARNING, "lost", "%" PRIu64 " log lines that the log did not take", lost);
		return now + LOG_GATHER;
	}
	return -1;
}

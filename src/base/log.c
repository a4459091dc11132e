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

#include "base/put.h"

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

/* The line's end and its NUL always have room. */
enum { SPARE = 2 };

/* A JSON string; what is not printable ASCII becomes \u00HH. Leaves room for the line's end. */
static void
add_json(struct put *l, const char *key, const char *s, size_t len)
{
	static const char hex[] = "0123456789abcdef";

	if (l->used > 1)
		put_char(l, ',');
	put_char(l, '"');
	put_text(l, key);
	put_text(l, "\":\"");
	for (size_t i = 0; i < len && l->used < l->size - 64; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c >= 0x20 && c < 0x7f) {
			if (c == '"' || c == '\\')
				put_char(l, '\\');
			put_char(l, (char)c);
		} else {
			put_text(l, "\\u00");
			put_char(l, hex[c >> 4]);
			put_char(l, hex[c & 15]);
		}
	}
	put_char(l, '"');
}

static void
add_pair(struct put *l, const char *key, const char *s)
{
	if (s != NULL)
		add_json(l, key, s, strlen(s));
}

/* `before` is all that stands before the number: ,"pid": or pid= */
static void
add_number(struct put *l, const char *before, uint64_t n)
{
	put_text(l, before);
	put_number(l, n);
}

/* ms as seconds */
static void
add_seconds(struct put *l, const char *before, int64_t ms)
{
	add_number(l, before, (uint64_t)ms / 1000);
	put_char(l, '.');
	put_padded(l, (uint64_t)ms % 1000, 3);
}

static void
add_date(struct put *l, const char *before, int n)
{
	put_text(l, before);
	put_padded(l, (uint64_t)n, 2);
}

static void
format_json(struct put *l, const struct event *ev)
{
	struct timespec ts;
	struct tm tm;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	(void)gmtime_r(&ts.tv_sec, &tm);
	add_date(l, "{\"time\":\"", tm.tm_year + 1900);
	add_date(l, "-", tm.tm_mon + 1);
	add_date(l, "-", tm.tm_mday);
	add_date(l, "T", tm.tm_hour);
	add_date(l, ":", tm.tm_min);
	add_date(l, ":", tm.tm_sec);
	put_char(l, '.');
	put_padded(l, (uint64_t)ts.tv_nsec / 1000000, 3);
	put_text(l, "Z\"");
	add_pair(l, "level", level_names[ev->level]);
	add_pair(l, "event", ev->name);
	add_pair(l, "service", ev->service);
	if (ev->fields & LOG_CONN)
		add_number(l, ",\"conn\":", ev->conn);
	if (ev->fields & LOG_PID)
		add_number(l, ",\"pid\":", (uint64_t)ev->pid);
	if (ev->fields & LOG_FROM)
		add_pair(l, "from", ev->from);
	add_pair(l, "host", ev->host);
	if (ev->fields & LOG_PORT)
		add_number(l, ",\"port\":", ev->port);
	add_pair(l, "user", ev->user);
	if (ev->fields & LOG_STATUS) {
		put_text(l, ev->signal != 0 ? ",\"signal\":" : ",\"status\":");
		put_signed(l, ev->signal != 0 ? ev->signal : ev->status);
	}
	add_pair(l, "reason", ev->reason);
	if (ev->fields & LOG_DURATION)
		add_seconds(l, ",\"duration\":", ev->duration);
	if (ev->fields & LOG_CPU)
		add_seconds(l, ",\"cpu\":", ev->cpu);
	if (ev->fields & LOG_MAXRSS)
		add_number(l, ",\"maxrss\":", (uint64_t)ev->maxrss);
	if (ev->fields & LOG_BYTES) {
		add_number(l, ",\"bytes_in\":", ev->bytes_in);
		add_number(l, ",\"bytes_out\":", ev->bytes_out);
	}
	if (ev->message != NULL)
		add_json(l, "message", ev->message,
		    ev->message_len != 0 ? ev->message_len : strlen(ev->message));
	put_char(l, '}');
}

static void
add_word(struct put *l, const char *before, const char *s)
{
	if (s == NULL)
		return;
	put_text(l, before);
	put_escaped(l, s, strlen(s), SPARE);
}

static void
format_text(struct put *l, const struct event *ev)
{
	for (const char *p = ev->name; *p != '\0'; p++)
		put_char(l, *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p);
	put_char(l, ':');
	add_word(l, " ", ev->service);
	add_word(l, " ", ev->reason);
	if (ev->fields & LOG_STATUS) {
		put_text(l, ev->signal != 0 ? " signal=" : " status=");
		put_signed(l, ev->signal != 0 ? ev->signal : ev->status);
	}
	if (ev->fields & LOG_PID)
		add_number(l, " pid=", (uint64_t)ev->pid);
	if (ev->fields & LOG_FROM)
		add_word(l, " from=", ev->from);
	add_word(l, " host=", ev->host);
	if (ev->fields & LOG_DURATION) {
		add_number(l, " duration=", (uint64_t)ev->duration / 1000);
		put_text(l, "(sec)");
	}
	if (ev->fields & LOG_PORT)
		add_number(l, " port=", ev->port);
	if (ev->fields & LOG_CONN)
		add_number(l, " conn=", ev->conn);
	if (ev->fields & LOG_CPU) {
		add_seconds(l, " cpu=", ev->cpu);
		put_text(l, "(sec)");
	}
	if (ev->fields & LOG_MAXRSS) {
		add_number(l, " maxrss=", (uint64_t)ev->maxrss);
		put_text(l, "(KiB)");
	}
	if (ev->fields & LOG_BYTES) {
		add_number(l, " bytes_in=", ev->bytes_in);
		add_number(l, " bytes_out=", ev->bytes_out);
	}
	if (ev->message != NULL) {
		put_char(l, ' ');
		put_escaped(l, ev->message,
		    ev->message_len != 0 ? ev->message_len : strlen(ev->message), SPARE);
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
keep_line(const struct put *l)
{
	if (log_.len + l->used > log_.size) {
		size_t size = log_.size == 0 ? 8192 : log_.size * 2;
		char *p = size <= BOUND ? realloc(log_.data, size) : NULL;

		if (p == NULL) {
			log_.lost++;
			return;
		}
		log_.data = p;
		log_.size = size;
	}
	memcpy(log_.data + log_.len, l->at, l->used);
	log_.len += l->used;
}

void
log_event(const struct event *ev, const struct log_style *style)
{
	char text[LINE];
	struct put l = { .at = text, .size = sizeof text };

	if (ev->level > log_.threshold || log_.program == NULL)
		return;
	if (style == NULL)
		style = &log_.style;
	stamp();
	if (log_.syslog) {
		add_number(&l, "<", (unsigned)(DAEMON_FACILITY | level_syslog[ev->level]));
		put_char(&l, '>');
		put_text(&l, log_.rfc);
		put_char(&l, ' ');
		put_text(&l, style->tag != NULL ? style->tag : log_.program);
		add_number(&l, "[", (uint64_t)getpid());
		put_text(&l, "]: ");
	}
	if (style->json) {
		struct put j = { .at = text + l.used, .size = sizeof text - l.used };

		format_json(&j, ev);
		l.used += j.used;
	} else {
		if (!log_.syslog)
			put_text(&l, log_.stamp);
		format_text(&l, ev);
	}
	if (l.used > sizeof text - 1)
		l.used = sizeof text - 1;
	text[l.used++] = '\n';
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

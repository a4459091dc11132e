#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/put.h"
#include "base/str.h"
#include "base/sink.h"

enum { LINE = 2048, TAG = 200 };	/* one line, and syslog's part in front of it: cut there */

static struct {
	enum level threshold;
	const char *program;	/* NULL: not open */
	struct log_style style;	/* of the server's own lines */
	struct sink *sink;	/* the master's own; owned */
	time_t second;		/* of the stamp below */
	char stamp[32], rfc[32];
} log_;

int
log_open(const char *program, enum level threshold, const struct log_to *to)
{
	log_close();
	log_.program = program;
	log_.threshold = threshold;
	log_.sink = sink_get(to, 1);
	return sink_open(log_.sink);
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
	sink_put(log_.sink);
	log_.sink = NULL;
	log_.program = NULL;
}

void
log_reopen(void)
{
	(void)log_flush(0);	/* what was said before goes into the old ones */
	sinks_reopen();
	(void)log_flush(0);
}

static const char *const level_names[] = { "err", "warning", "notice", "info", "debug" };
static const int level_syslog[] = { 3, 4, 5, 6, 7 };

/* The line's end and its NUL always have room. */
enum { SPARE = 2 };

/*
 * Bytes that are kept free behind a text of JSON: behind the message for what ends the object, behind
 * the others for all the numbers, the reason and the name `message` too, so that what is cut is still JSON.
 */
enum { JSON_END = 18, JSON_REST = 326 };

static void
add_unit(struct put *l, unsigned u)
{
	static const char hex[] = "0123456789abcdef";

	put_text(l, "\\u");
	for (int shift = 12; shift >= 0; shift -= 4)
		put_char(l, hex[u >> shift & 15]);
}

/* A character of n bytes, in UTF-16's units as JSON writes them; a byte that is part of none as itself. */
static void
add_character(struct put *l, const char *s, size_t n)
{
	unsigned point = (unsigned char)s[0];

	if (n > 1)
		point &= 0x7fU >> n;
	for (size_t i = 1; i < n; i++)
		point = point << 6 | ((unsigned char)s[i] & 0x3fU);
	if (point > 0xffff)
		add_unit(l, 0xd7c0 + (point >> 10));
	add_unit(l, point > 0xffff ? 0xdc00 | (point & 0x3ff) : point);
}

/* A JSON string of printable ASCII; all else becomes \uHHHH. */
static void
add_json(struct put *l, const char *key, const char *s, size_t len, size_t spare)
{
	if (l->used > 1)
		put_char(l, ',');
	put_char(l, '"');
	put_text(l, key);
	put_text(l, "\":\"");
	for (size_t i = 0, n; i < len && l->used + spare < l->size; i += n) {
		n = str_utf8(s + i, len - i);
		n += n == 0;
		if (n > 1 || (unsigned char)s[i] < 0x20 || (unsigned char)s[i] > 0x7e) {
			add_character(l, s + i, n);
		} else {
			if (s[i] == '"' || s[i] == '\\')
				put_char(l, '\\');
			put_char(l, s[i]);
		}
	}
	put_char(l, '"');
}

static void
add_pair(struct put *l, const char *key, const char *s)
{
	if (s != NULL)
		add_json(l, key, s, strlen(s), JSON_REST);
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
	if (ev->reason != NULL)
		add_json(l, "reason", ev->reason, strlen(ev->reason), JSON_END);
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
		    ev->message_len != 0 ? ev->message_len : strlen(ev->message), JSON_END);
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

static bool
is_kind(const struct sink *s, enum log_kind kind)
{
	return s != NULL && sink_place(s)->kind == kind;
}

/* A line as it is to look there. */
static void
write_to(struct sink *sink, const struct event *ev, const struct log_style *style)
{
	char text[LINE];
	struct put l = { .at = text, .size = sizeof text };

	if (is_kind(sink, LOG_SYSLOG)) {
		const struct log_to *to = sink_place(sink);
		const char *tag = style->tag != NULL ? style->tag : log_.program;

		add_number(&l, "<", (unsigned)(to->facility << 3 |
		    (to->level >= 0 ? to->level : level_syslog[ev->level])));
		put_char(&l, '>');
		put_text(&l, log_.rfc);
		put_char(&l, ' ');
		put_escaped(&l, tag, strlen(tag), LINE - TAG);
		add_number(&l, "[", (uint64_t)getpid());
		put_text(&l, "]: ");
	} else if (!style->json) {
		put_text(&l, log_.stamp);
	}
	if (style->json) {
		struct put j = { .at = text + l.used, .size = sizeof text - l.used };

		format_json(&j, ev);
		l.used += j.used;
	} else {
		format_text(&l, ev);
	}
	if (l.used > sizeof text - 1)
		l.used = sizeof text - 1;
	text[l.used++] = '\n';
	sink_add(sink, text, l.used);
}

/* Behind -D standard error leads nowhere: what is to go there goes where the master's own lines do. */
static bool
is_own(const struct sink *s)
{
	return s == NULL || s == log_.sink || (is_kind(s, LOG_STDERR) && is_kind(log_.sink, LOG_SYSLOG));
}

void
log_event(const struct event *ev, const struct log_style *style)
{
	bool own = false;

	if (ev->level > log_.threshold || log_.program == NULL)
		return;
	if (style == NULL)
		style = &log_.style;
	stamp();
	for (size_t i = 0; i < sink_parts(style->sink); i++) {
		struct sink *to = sink_part(style->sink, i);

		if (is_own(to))
			own = true;
		else
			write_to(to, ev, style);
	}
	if (own)	/* once, though it may be named twice */
		write_to(log_.sink, ev, style);
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

/* What a sink tells of itself. That it cannot be written need not be said where it cannot be read. */
static void
told(const struct sink *of, bool grave, const char *name, const char *text)
{
	if (of != log_.sink || strncmp(text, "cannot write ", 13) != 0)
		log_event(&(struct event){ .level = grave ? LEVEL_ERR : LEVEL_WARNING, .name = name,
		    .message = text }, NULL);
}

int64_t
log_flush(int64_t now)
{
	return sinks_flush(now, told);
}

/*
 * fuzz: any event with hostile texts: one event is one line of bytes from 0x20 to 0x7e, no longer than a line
 * may be; as JSON it is an object that another reader takes, with the texts in it; as text the message stands
 * there escaped. Where the lines go is only noted here.
 */
#include <ctype.h>

#include "base/log.h"
#include "base/str.h"

#include "fuzz.h"

enum { LINE = 2048 };

/* --- in place of base/sink */

struct sink {
	struct log_to to;
};

static struct sink syslog_sink = { { .kind = LOG_SYSLOG, .level = -1 } }, file_sink = { { .kind = LOG_FILE } };
static char line[LINE + 1];
static size_t length, lines;

struct sink *
sink_get(const struct log_to *to, size_t n)
{
	CHECK(n == 1);
	return to->kind == LOG_SYSLOG ? &syslog_sink : &file_sink;
}

void
sink_put(struct sink *s)
{
	(void)s;
}

int
sink_open(struct sink *s)
{
	(void)s;
	return 0;
}

size_t
sink_parts(const struct sink *s)
{
	(void)s;
	return 1;
}

struct sink *
sink_part(struct sink *s, size_t i)
{
	(void)i;
	return s;
}

const struct log_to *
sink_place(const struct sink *s)
{
	return s != NULL ? &s->to : NULL;
}

void
sink_add(struct sink *s, const char *text, size_t len)
{
	CHECK(s != NULL && len > 0 && len <= LINE);
	memcpy(line, text, len);
	line[len] = '\0';
	length = len;
	lines++;
}

void
sinks_reopen(void)
{
}

int64_t
sinks_flush(int64_t now, sink_told *told)
{
	(void)now;
	(void)told;
	return -1;
}

/* --- a reader of JSON, of objects with numbers and strings */

enum { KEYS = 24 };

struct value {
	const char *key;
	size_t key_len;
	bool string;
	char text[LINE];	/* as it was meant, and how long */
	size_t len;
};

static struct value values[KEYS];
static size_t nvalues;

static unsigned
hex4(const char **p)
{
	unsigned n = 0;

	for (int i = 0; i < 4; i++, ++*p) {
		CHECK(isxdigit((unsigned char)**p));
		n = n * 16 + (unsigned)(**p <= '9' ? **p - '0' : (**p | 0x20) - 'a' + 10);
	}
	return n;
}

/* As UTF-8. Returns its length. */
static size_t
put_point(char *out, unsigned point)
{
	size_t n = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;

	for (size_t i = n - 1; i > 0; i--, point >>= 6)
		out[i] = (char)(0x80 | (point & 0x3f));
	out[0] = (char)((n == 1 ? 0 : 0xf00U >> n & 0xff) | point);
	return n;
}

/* What a string that was made of these bytes reads as: a byte that is no part of UTF-8 is that code point. */
static size_t
meant(const char *text, size_t len, char *out)
{
	size_t n = 0;

	for (size_t i = 0, c; i < len; i += c) {
		c = str_utf8(text + i, len - i);
		if (c == 0)
			n += put_point(out + n, (unsigned char)text[i]);
		else
			memcpy(out + n, text + i, c), n += c;
		c += c == 0;
	}
	return n;
}

static const char *
read_string(const char *p, char *out, size_t *len)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";

	*len = 0;
	CHECK(*p++ == '"');
	while (*p != '"') {
		char c = *p++;

		CHECK((unsigned char)c >= 0x20 && c != 0x7f);
		if (c == '\\') {
			const char *at = strchr(from, *p);

			if (*p == 'u') {
				unsigned n;

				p++;
				n = hex4(&p);
				CHECK(n < 0xdc00 || n > 0xdfff);
				if (n >= 0xd800 && n < 0xdc00) {
					CHECK(*p++ == '\\' && *p++ == 'u');
					n = (n & 0x3ff) << 10 | (hex4(&p) - 0xdc00);
					CHECK(n < 0x100000);
					n += 0x10000;
				}
				CHECK(n < 0x20 || n > 0x7e);
				*len += put_point(out + *len, n);
				continue;
			} else {
				CHECK(*p != '\0' && at != NULL);
				c = to[at - from];
				p++;
			}
		}
		out[(*len)++] = c;
	}
	return p + 1;
}

static const char *
read_number(const char *p, char *out, size_t *len)
{
	const char *from = p;

	if (*p == '-')
		p++;
	CHECK(isdigit((unsigned char)*p));
	if (*p == '0')
		p++;
	else
		p += strspn(p, "0123456789");
	if (*p == '.') {
		p++;
		CHECK(isdigit((unsigned char)*p));
		p += strspn(p, "0123456789");
	}
	*len = (size_t)(p - from);
	memcpy(out, from, *len);
	return p;
}

/* The whole of the text. */
static void
read_object(const char *p)
{
	nvalues = 0;
	CHECK(*p++ == '{');
	for (;;) {
		struct value *v = &values[nvalues++];

		CHECK(nvalues <= KEYS);
		v->key = p + 1;
		p = read_string(p, v->text, &v->key_len);
		CHECK(v->key_len > 0 && memchr(v->key, '\\', v->key_len) == NULL);
		for (size_t i = 0; i + 1 < nvalues; i++)
			CHECK(values[i].key_len != v->key_len || memcmp(values[i].key, v->key, v->key_len) != 0);
		CHECK(*p++ == ':');
		v->string = *p == '"';
		p = (v->string ? read_string : read_number)(p, v->text, &v->len);
		if (*p == '}')
			break;
		CHECK(*p++ == ',');
	}
	CHECK(p[1] == '\0');
}

static const struct value *
find(const char *key)
{
	for (size_t i = 0; i < nvalues; i++)
		if (values[i].key_len == strlen(key) && memcmp(values[i].key, key, strlen(key)) == 0)
			return &values[i];
	return NULL;
}

/* It is there if it was said, and begins as that does: what is too long is cut. Returns whether it is whole. */
static bool
check_string(const char *key, const char *text, size_t len)
{
	const struct value *v = find(key);
	static char want[2 * (1 << 16)];

	CHECK((v != NULL) == (text != NULL));
	if (v == NULL)
		return true;
	CHECK(2 * len <= sizeof want);
	len = meant(text, len, want);
	CHECK(v->string && v->len <= len && memcmp(v->text, want, v->len) == 0);
	return v->len == len;
}

static void
check_digits(const char *key, bool there, uint64_t n)
{
	const struct value *v = find(key);
	char text[32];

	CHECK((v != NULL) == there);
	if (!there)
		return;
	(void)snprintf(text, sizeof text, "%llu", (unsigned long long)n);
	CHECK(!v->string && v->len == strlen(text) && memcmp(v->text, text, v->len) == 0);
}

static void
check_json(const struct event *ev, const char *text, size_t message_len)
{
	static const char shape[] = "0000-00-00T00:00:00.000Z";
	const struct value *v;
	bool whole;

	read_object(text);
	v = find("time");
	CHECK(v != NULL && v->string && v->len == sizeof shape - 1);
	for (size_t i = 0; i < v->len; i++)
		CHECK(shape[i] == '0' ? isdigit((unsigned char)v->text[i]) : v->text[i] == shape[i]);
	CHECK(check_string("event", ev->name, strlen(ev->name)));
	whole = check_string("service", ev->service, ev->service != NULL ? strlen(ev->service) : 0);
	whole = check_string("from", (ev->fields & LOG_FROM) != 0 ? ev->from : NULL, ev->from != NULL ? strlen(ev->from) : 0) && whole;
	whole = check_string("host", ev->host, ev->host != NULL ? strlen(ev->host) : 0) && whole;
	whole = check_string("user", ev->user, ev->user != NULL ? strlen(ev->user) : 0) && whole;
	CHECK(check_string("reason", ev->reason, ev->reason != NULL ? strlen(ev->reason) : 0));
	whole = check_string("message", ev->message, message_len) && whole;
	CHECK(whole || length > LINE - 400);
	check_digits("conn", (ev->fields & LOG_CONN) != 0, ev->conn);
	check_digits("pid", (ev->fields & LOG_PID) != 0, (unsigned)ev->pid);
	check_digits("port", (ev->fields & LOG_PORT) != 0, ev->port);
	check_digits("maxrss", (ev->fields & LOG_MAXRSS) != 0, (uint64_t)ev->maxrss);
	check_digits("bytes_in", (ev->fields & LOG_BYTES) != 0, ev->bytes_in);
	check_digits("bytes_out", (ev->fields & LOG_BYTES) != 0, ev->bytes_out);
	CHECK((find("status") != NULL) == ((ev->fields & LOG_STATUS) != 0 && ev->signal == 0));
	CHECK((find("signal") != NULL) == ((ev->fields & LOG_STATUS) != 0 && ev->signal != 0));
	CHECK((find("duration") != NULL) == ((ev->fields & LOG_DURATION) != 0));
	CHECK((find("cpu") != NULL) == ((ev->fields & LOG_CPU) != 0));
}

/* As it stands in a line of text. */
static size_t
escape(const char *s, size_t len, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c == '\n' || c == '\r' || c == '\t' || c == '\\')
			n += (size_t)sprintf(out + n, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : c == '\t' ? 't' : '\\');
		else if (c < 0x20 || c > 0x7e)
			n += (size_t)sprintf(out + n, "\\x%02x", c);
		else
			out[n++] = (char)c;
	}
	out[n] = '\0';
	return n;
}

/* The words in their order; the rest of the line is the message. */
static void
check_text(const struct event *ev, const char *text, size_t message_len)
{
	static char want[4 * 1 << 16];
	size_t n;

	for (const char *p = ev->name; *p != '\0'; p++)
		CHECK(*text++ == toupper((unsigned char)*p));
	CHECK(*text++ == ':');
	if (ev->message == NULL || ev->service != NULL || ev->reason != NULL || ev->fields != 0 || ev->host != NULL)
		return;
	CHECK(*text++ == ' ');
	n = escape(ev->message, message_len, want);
	if (n <= strlen(text))
		CHECK(strcmp(text, want) == 0);
	else	/* cut at a whole escape */
		CHECK(memcmp(text, want, strlen(text)) == 0 && length >= LINE - 6);
}

/* --- one event */

static const char *
choose(struct feed *f, char **own, size_t *n)
{
	unsigned how = feed_byte(f);

	*own = NULL;
	*n = 0;
	if (how % 4 == 0)
		return NULL;
	return *own = feed_text(f, n);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "start", "exit", "fail", "error", "mux", "stderr", "reload", "kill" };
	static const char *const reasons[] = { NULL, "address", "per_source_limit", "sensor" };
	static const struct log_to places[] = { { .kind = LOG_FILE }, { .kind = LOG_SYSLOG, .level = -1 } };
	struct feed f = { data, data + size };
	unsigned how = feed_byte(&f);
	struct log_style style = { .json = how % 2 == 1 };
	bool syslog = how / 2 % 2 == 1;
	char *own[5], *tag;
	size_t n, message_len, numbers = how / 4 % 4 * 8 / 3;
	struct event ev = { .level = (enum level)(feed_byte(&f) % (LEVEL_DEBUG + 1)) };
	const char *text = line;

	if (how >= 128) {	/* only a message, of just these bytes */
		ev.name = "error";
		own[0] = exactly(f.at, feed_left(&f));
		ev.message = own[0];
		ev.message_len = message_len = feed_left(&f);
		if (message_len == 0)
			ev.message = NULL;
		memset(own + 1, 0, sizeof own - sizeof own[0]);
		tag = NULL;
	} else {
		ev.name = names[feed_byte(&f) % 8];
		ev.reason = reasons[feed_byte(&f) % 4];
		ev.fields = (unsigned)feed_number(&f, 2) & ((LOG_BYTES << 1) - 1);
		ev.pid = (int)(feed_number(&f, (unsigned)numbers) & INT32_MAX);
		ev.status = (int8_t)feed_byte(&f);
		ev.signal = feed_byte(&f) % 3 == 0 ? 9 : 0;
		ev.port = (unsigned)feed_number(&f, 2);
		ev.conn = feed_number(&f, (unsigned)numbers);
		ev.duration = (int64_t)(feed_number(&f, (unsigned)numbers) & INT64_MAX);
		ev.cpu = (int64_t)(feed_number(&f, (unsigned)numbers) & INT64_MAX);
		ev.maxrss = (long)(feed_number(&f, (unsigned)numbers) & INT64_MAX);
		ev.bytes_in = feed_number(&f, (unsigned)numbers);
		ev.bytes_out = feed_number(&f, (unsigned)numbers);
		tag = feed_byte(&f) % 2 == 0 ? NULL : feed_text(&f, &n);
		for (char *p = tag; p != NULL && *p != '\0'; p++)	/* so that its end is found again */
			if (*p == ']')
				*p = '_';
		ev.service = choose(&f, &own[1], &n);
		ev.host = choose(&f, &own[3], &n);
		ev.user = choose(&f, &own[4], &n);
		ev.from = choose(&f, &own[2], &n);
		ev.message = choose(&f, &own[0], &message_len);
		if (how / 16 % 2 == 1)	/* it ends at its NUL */
			message_len = ev.message != NULL ? strlen(ev.message) : 0;
		else
			ev.message_len = message_len;
		if (ev.message != NULL && message_len == 0)
			message_len = strlen(ev.message);
		if (ev.from == NULL)
			ev.fields &= ~(unsigned)LOG_FROM;
	}
	style.tag = tag;
	CHECK(log_open("unit", LEVEL_DEBUG, &places[syslog]) == 0);
	lines = 0;
	log_event(&ev, &style);
	CHECK(lines == 1 && line[length - 1] == '\n');
	line[--length] = '\0';
	for (size_t i = 0; i < length; i++)
		CHECK(line[i] >= 0x20 && line[i] < 0x7f);
	if (syslog) {
		static const char *const severities[] = { "<3>", "<4>", "<5>", "<6>", "<7>" };

		CHECK(strncmp(line, severities[ev.level], 3) == 0);
		text = strstr(line, "]: ");
		CHECK(text != NULL);
		text += 3;
	} else if (!style.json) {
		text += strspn(text, "0123456789/@:");
		CHECK(*text++ == ' ');
	}
	if (style.json) {
		check_json(&ev, text, message_len);
	} else if (tag == NULL) {
		check_text(&ev, text, message_len);
	}
	for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
		free(own[i]);
	free(tag);
	return 0;
}

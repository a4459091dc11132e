#include "manage/http.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"

/* --- a request */

/* RFC 9110's tchar: what methods and the names of headers are made of. */
static bool
is_token(const char *s, size_t len)
{
	static const char other[] = "!#$%&'*+-.^_`|~";

	for (size_t i = 0; i < len; i++)
		if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') || (s[i] >= '0' && s[i] <= '9') ||
		    (s[i] != '\0' && strchr(other, s[i]) != NULL)))
			return false;
	return len > 0;
}

/* Visible characters only; with `blanks` also those between them. */
static bool
is_visible(const char *s, size_t len, bool blanks)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if ((c <= ' ' && !(blanks && (c == ' ' || c == '\t'))) || c == 0x7f)
			return false;
	}
	return true;
}

/* HOST[:PORT], of which HOST may be [IPv6]. False: it is not that. */
static bool
read_host(const char *s, size_t len, struct request *r)
{
	const char *end = s + len, *colon;

	if (len > 0 && s[0] == '[') {
		const char *close = memchr(s, ']', len);

		if (close == NULL)
			return false;
		colon = close + 1;
		if (colon != end && *colon != ':')
			return false;
	} else {
		colon = memchr(s, ':', len);
		if (colon == NULL)
			colon = end;
	}
	for (const char *p = colon; p < end; p++)
		if (p != colon && (*p < '0' || *p > '9'))
			return false;
	r->host = s;
	r->host_len = (size_t)(colon - s);
	return true;
}

/* /PATH?QUERY, or all of it with http://HOST in front, as proxies are asked. */
static bool
read_target(const char *s, size_t len, struct request *r)
{
	const char *end = s + len, *query;

	if (len > 7 && strncasecmp(s, "http://", 7) == 0) {
		const char *slash = memchr(s + 7, '/', len - 7), *mark = memchr(s + 7, '?', len - 7);
		const char *stop = slash != NULL && (mark == NULL || slash < mark) ? slash : mark != NULL ? mark : end;

		if (stop == s + 7 || !read_host(s + 7, (size_t)(stop - s - 7), r))
			return false;
		s = stop;
		if (s == end || *s == '?') {	/* no path is / */
			r->path = "/";
			r->path_len = 1;
		}
	} else if (len == 0 || *s != '/') {
		return false;
	}
	query = memchr(s, '?', (size_t)(end - s));
	if (r->path == NULL) {
		r->path = s;
		r->path_len = (size_t)((query != NULL ? query : end) - s);
	}
	if (query != NULL) {
		r->query = query + 1;
		r->query_len = (size_t)(end - query - 1);
	}
	return true;
}

/* METHOD SP TARGET SP HTTP/1.N; `old`: N is 0. Returns 200 or what is to be answered. */
static int
read_line(const char *s, size_t len, struct request *r, bool *old)
{
	const char *target = memchr(s, ' ', len), *version;

	if (target == NULL || !is_token(s, (size_t)(target - s)))
		return 400;
	r->head = target - s == 4 && memcmp(s, "HEAD", 4) == 0;
	r->get = r->head || (target - s == 3 && memcmp(s, "GET", 3) == 0);
	target++;
	version = memchr(target, ' ', len - (size_t)(target - s));
	if (version == NULL || s + len - version != 9 || memcmp(version, " HTTP/", 6) != 0 ||
	    version[6] < '0' || version[6] > '9' || version[7] != '.' || version[8] < '0' || version[8] > '9')
		return 400;
	if (version[6] != '1')
		return 505;
	*old = version[8] == '0';
	if (!is_visible(target, (size_t)(version - target), false))
		return 400;
	/* Of other methods (OPTIONS *, CONNECT host:port) only the method is looked at. */
	if (!read_target(target, (size_t)(version - target), r) && r->get)
		return 400;
	return 200;
}

/* One header line. */
static int
read_header(const char *s, size_t len, struct request *r, bool absolute, unsigned *hosts)
{
	const char *colon = memchr(s, ':', len), *value, *end = s + len;
	struct request unheard = { 0 };		/* what the target itself says holds */

	if (colon == NULL || !is_token(s, (size_t)(colon - s)))
		return 400;		/* a line that goes on from the one before, too */
	for (value = colon + 1; value < end && (*value == ' ' || *value == '\t'); value++)
		;
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	if (!is_visible(value, (size_t)(end - value), true))
		return 400;
	if (colon - s != 4 || strncasecmp(s, "Host", 4) != 0)
		return 200;
	(*hosts)++;
	if (!is_visible(value, (size_t)(end - value), false) ||
	    !read_host(value, (size_t)(end - value), absolute ? &unheard : r))
		return 400;
	return 200;
}

/* The line's end; NULL: it is not there yet. *next is behind it. */
static const char *
line_end(const char *s, const char *end, const char **next)
{
	const char *lf = memchr(s, '\n', (size_t)(end - s));

	if (lf == NULL)
		return NULL;
	*next = lf + 1;
	return lf > s && lf[-1] == '\r' ? lf - 1 : lf;
}

int
http_parse(const char *bytes, size_t len, struct request *r)
{
	const char *s = bytes, *end = bytes + len, *stop, *next;
	unsigned hosts = 0;
	bool old = false, absolute;
	int status;

	*r = (struct request){ 0 };
	while (s < end && (*s == '\r' || *s == '\n'))	/* some clients send one too many */
		s++;
	/* Whoever does not begin as HTTP does waits for no answer in it. */
	if (s < end && !is_token(s, 1))
		return 400;
	stop = line_end(s, end, &next);
	if (stop == NULL)
		return len < HTTP_MOST ? 0 : memchr(s, ' ', (size_t)(end - s)) != NULL ? 414 : 400;
	status = read_line(s, (size_t)(stop - s), r, &old);
	absolute = r->host != NULL;
	while (status == 200) {
		s = next;
		stop = line_end(s, end, &next);
		if (stop == NULL)
			return len < HTTP_MOST ? 0 : 431;
		if (stop == s)
			return hosts > 1 || (hosts == 0 && !old) ? 400 : 200;
		status = read_header(s, (size_t)(stop - s), r, absolute, &hosts);
	}
	return status;
}

/* --- reading and sending */

/* False: nothing more until then. */
static bool
wait_for(int fd, short events, int64_t until)
{
	struct pollfd p = { .fd = fd, .events = events };
	int64_t left = until - clock_ms();

	return left > 0 && poll(&p, 1, (int)left) > 0;
}

int
http_read(int fd, int64_t until, char bytes[HTTP_MOST], struct request *r)
{
	size_t len = 0;
	int status;

	*r = (struct request){ 0 };
	do {
		ssize_t n;

		if (!wait_for(fd, POLLIN, until))
			return len > 0 ? 408 : -1;
		n = recv(fd, bytes + len, HTTP_MOST - len, MSG_DONTWAIT);
		if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
			status = 0;
			continue;
		}
		if (n <= 0)
			return -1;
		len += (size_t)n;
		status = http_parse(bytes, len, r);
	} while (status == 0);
	return status;
}

static int
send_all(int fd, int64_t until, const char *bytes, size_t len, int flags)
{
	while (len > 0) {
		ssize_t n = send(fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL | flags);

		if (n == -1 && errno != EAGAIN && errno != EINTR)
			return -1;
		if (n == -1 && !wait_for(fd, POLLOUT, until))
			return -1;
		if (n > 0) {
			bytes += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

static const char *
reason_phrase(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 408:
		return "Request Timeout";
	case 414:
		return "URI Too Long";
	case 431:
		return "Request Header Fields Too Large";
	case 503:
		return "Service Unavailable";
	case 505:
		return "HTTP Version Not Supported";
	default:
		return "Internal Server Error";
	}
}

int
http_send(int fd, int64_t until, const struct response *p, bool head)
{
	struct buf b = { 0 };
	time_t now = time(NULL);
	char date[40];
	struct tm tm;
	int rc;

	(void)gmtime_r(&now, &tm);
	(void)strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
	buf_addf(&b, "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
	    "Connection: close\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
	    "Referrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\n%s\r\n",
	    p->status, reason_phrase(p->status), date, p->type, p->body.len, p->more != NULL ? p->more : "");
	rc = b.failed ? -1 : send_all(fd, until, b.data, b.len, head ? 0 : MSG_MORE);
	buf_free(&b);
	return rc == -1 || head ? rc : send_all(fd, until, p->body.data, p->body.len, 0);
}

#include "manage/site.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "base/clock.h"
#include "manage/http.h"
#include "serve/listing.h"

enum {
	REQUEST_TIME = 10 * SECOND,	/* until a request is there */
	ANSWER_TIME = 60 * SECOND,	/* until its answer is taken */
};

#define PLAIN "text/plain; charset=utf-8"
#define NOTHING_ELSE "frame-ancestors 'none'; base-uri 'none'; form-action 'none'\r\n"

/* --- which host is asked for */

static bool
is_loopback(const struct rule *r)
{
	struct ip v6;

	if (r->kind != RULE_NET)
		return false;
	if (ip_is_v4(&r->ip))
		return r->bits >= 96 + 8 && r->ip.b[12] == 127;
	return r->bits == 128 && ip_parse("::1", &v6) && memcmp(&v6, &r->ip, sizeof v6) == 0;
}

/* For this machine alone, by TCP: a browser here may be led to it by a page from elsewhere. */
static bool
is_for_here(const struct service *conf, const struct peer *peer)
{
	if (peer->kind != PEER_IP || peer->by_unix || !conf->only_from.given)
		return false;
	for (size_t i = 0; i < conf->only_from.n; i++)
		if (!is_loopback(&conf->only_from.rule[i]))
			return false;
	return true;
}

/*
 * A foreign name that was made to stand for this machine (DNS rebinding) would let its owner's pages
 * read what is answered. No such name is localhost, or a number.
 */
static bool
names_here(const char *host, size_t len)
{
	static const char local[] = "localhost";
	char text[ADDR_TEXT];
	struct ip ip;

	if (len > 0 && host[len - 1] == '.')
		len--;
	if (len >= sizeof local - 1 && strncasecmp(host + len - (sizeof local - 1), local, sizeof local - 1) == 0 &&
	    (len == sizeof local - 1 || host[len - sizeof local] == '.'))
		return true;
	if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
		host++;
		len -= 2;
	}
	if (len >= sizeof text)
		return false;
	memcpy(text, host, len);
	text[len] = '\0';
	return ip_parse(text, &ip);
}

/* --- what is where */

static void
say_plain(struct response *p, int status, const char *text)
{
	p->status = status;
	p->type = PLAIN;
	p->more = "Content-Security-Policy: default-src 'none'; " NOTHING_ELSE;
	buf_text(&p->body, text);
}

/* A style that is not ours has no way in: this one has a number that nobody can guess. */
static void
give_page(struct status *s, const struct request *r, struct response *p)
{
	static char policy[256], nonce[33];
	unsigned char random[16];

	if (getrandom(random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random) {
		say_plain(p, 500, "no random number to be had\n");
		return;
	}
	for (size_t i = 0; i < sizeof random; i++)
		(void)snprintf(nonce + 2 * i, 3, "%02x", random[i]);
	(void)snprintf(policy, sizeof policy, "Content-Security-Policy: default-src 'none'; style-src 'nonce-%s'; "
	    "img-src data:; " NOTHING_ELSE, nonce);
	p->type = "text/html; charset=utf-8";
	p->more = policy;
	s->nonce = nonce;
	s->still = r->query != NULL && r->query_len == 5 && memcmp(r->query, "still", 5) == 0;
	status_page(s, &p->body);
}

static bool
is_path(const struct request *r, const char *path)
{
	return r->path_len == strlen(path) && memcmp(r->path, path, r->path_len) == 0;
}

static void
choose(struct status *s, const struct request *r, struct response *p)
{
	p->status = 200;
	p->more = "Content-Security-Policy: default-src 'none'; " NOTHING_ELSE;
	if (is_path(r, "/")) {
		give_page(s, r, p);
	} else if (is_path(r, "/status.json")) {
		p->type = "application/json";
		(void)status_json(s, NULL, &p->body);
	} else if (is_path(r, "/metrics")) {
		p->type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
		status_metrics(s, &p->body);
	} else if (is_path(r, "/healthz")) {
		if (strcmp(s->phase, "serving") == 0)
			say_plain(p, 200, "ok\n");
		else
			say_plain(p, 503, s->phase), buf_text(&p->body, "\n");
	} else {
		say_plain(p, 404, "There is /, /status.json, /metrics and /healthz.\n");
	}
}

static void
refuse(int status, struct response *p)
{
	static const struct { int status; const char *text; } why[] = {
		{ 400, "This is no request in HTTP/1.1.\n" },
		{ 408, "The request did not come in time.\n" },
		{ 414, "The request's line is too long.\n" },
		{ 431, "The request's headers are too long.\n" },
		{ 505, "HTTP/1.1 and 1.0 are spoken here.\n" },
	};

	for (size_t i = 0; i < sizeof why / sizeof why[0]; i++)
		if (why[i].status == status)
			say_plain(p, status, why[i].text);
}

void
site_answer(struct status *s, const struct service *conf, const struct peer *peer, int fd)
{
	char bytes[HTTP_MOST];
	struct response p = { 0 };
	struct request r;
	int status;

	/* First what needs the master's descriptors: they are not held while a client takes its time. */
	s->measured = status_measure(s->engine);
	if (!listing_lower(s->engine, fd))
		return;
	status = http_read(fd, clock_ms() + REQUEST_TIME, bytes, &r);
	if (status == -1)
		return;
	if (*s->engine->ending != 0 && strcmp(s->phase, "serving") == 0)
		s->phase = "draining";	/* since this client came */
	if (status != 200) {
		refuse(status, &p);
	} else if (!r.get) {
		say_plain(&p, 405, "GET and HEAD are served.\n");
		p.more = "Allow: GET, HEAD\r\nContent-Security-Policy: default-src 'none'; " NOTHING_ELSE;
	} else if (is_for_here(conf, peer) && r.host != NULL && !names_here(r.host, r.host_len)) {
		say_plain(&p, 403, "This service is for this machine alone: ask for localhost or an address. "
		    "With a wider only_from any name will do.\n");
	} else {
		choose(s, &r, &p);
	}
	if (p.body.failed) {
		buf_free(&p.body);
		say_plain(&p, 500, "no memory\n");
	}
	(void)http_send(fd, clock_ms() + ANSWER_TIME, &p, r.head);
	buf_free(&p.body);
}

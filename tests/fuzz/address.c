/*
 * fuzz: any text as an ADDRESS: what is taken can be printed and read again to the same, copies are equal and
 * stand for themselves, a relative path finds its directory; and any socket's name is an ADDRESS that means it.
 */
#include <arpa/inet.h>
#include <stddef.h>

#include "net/sock.h"
#include "net/where.h"

#include "fuzz.h"
#include "quiet.h"

static const struct {
	const char *name;
	enum scheme scheme;
	int type, family;
} forms[] = {
	{ "tcp", SCHEME_TCP, SOCK_STREAM, AF_UNSPEC }, { "tcp4", SCHEME_TCP, SOCK_STREAM, AF_INET },
	{ "tcp6", SCHEME_TCP, SOCK_STREAM, AF_INET6 }, { "udp", SCHEME_UDP, SOCK_DGRAM, AF_UNSPEC },
	{ "udp4", SCHEME_UDP, SOCK_DGRAM, AF_INET }, { "udp6", SCHEME_UDP, SOCK_DGRAM, AF_INET6 },
	{ "unix", SCHEME_UNIX, SOCK_STREAM, AF_UNIX }, { "unix-dgram", SCHEME_UNIX, SOCK_DGRAM, AF_UNIX },
	{ "unix-seqpacket", SCHEME_UNIX, SOCK_SEQPACKET, AF_UNIX }, { "fifo", SCHEME_FIFO, 0, AF_UNSPEC },
	{ "vsock", SCHEME_VSOCK, SOCK_STREAM, AF_VSOCK }, { "fd", SCHEME_FD, 0, AF_UNSPEC },
};

enum { PATH_ROOM = 107 };	/* bytes of a UNIX socket's path */

static void
print(const struct where *w, char *out, size_t size)
{
	const char *name = NULL, *left = "", *right = "";

	for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
		if (forms[i].scheme == w->scheme && forms[i].type == w->type && forms[i].family == w->family)
			name = forms[i].name;
	CHECK(name != NULL);
	switch (w->scheme) {
	case SCHEME_TCP:
	case SCHEME_UDP:
		CHECK(w->port <= 65535 && strlen(w->host) < WHERE_HOST);
		if (strchr(w->host, ':') != NULL) {
			left = "[";
			right = "]";
		}
		(void)snprintf(out, size, "%s:%s%s%s%s%s:%u", name, left, w->host[0] != '\0' ? w->host : "*",
		    w->iface[0] != '\0' ? "%" : "", w->iface, right, w->port);
		break;
	case SCHEME_VSOCK:
		if (w->cid == VMADDR_CID_ANY)
			(void)snprintf(out, size, "%s:%u", name, w->port);
		else
			(void)snprintf(out, size, "%s:%u:%u", name, w->cid, w->port);
		break;
	case SCHEME_UNIX:
	case SCHEME_FIFO:
	case SCHEME_FD:
		CHECK(w->host[0] != '\0');
		(void)snprintf(out, size, "%s:%s", name, w->host);
		break;
	}
}

static void
same(const struct where *a, const struct where *b)
{
	CHECK(where_equal(a, b) && where_equal(b, a) && where_hash(a) == where_hash(b) && a->named == b->named);
}

static void
reads_back(const struct where *w)
{
	char text[WHERE_HOST + 64];
	struct where again;
	struct err err;

	print(w, text, sizeof text);
	CHECK(where_parse(&again, text, &err) == 0);
	same(w, &again);
	where_free(&again);
}

/* A number that is none must not come to mean everybody. */
static void
check_cid(const struct where *w, const char *text)
{
	const char *cid = strchr(text, ':') + 1, *colon = strchr(cid, ':');

	if (colon == NULL || colon == cid || (colon - cid == 1 && *cid == '*')) {
		CHECK(w->cid == VMADDR_CID_ANY);
		return;
	}
	CHECK(strspn(cid, "0123456789") == (size_t)(colon - cid) && strtoull(cid, NULL, 10) == w->cid);
}

/* Digits and dots are an IPv4 address of four parts, or nothing. */
static void
check_host(const struct where *w)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (w->host[0] != '\0' && w->host[strspn(w->host, "0123456789.")] == '\0')
		CHECK(inet_pton(AF_INET, w->host, &v4) == 1 && w->family != AF_INET6);
	if (strchr(w->host, ':') != NULL)
		CHECK(inet_pton(AF_INET6, w->host, &v6) == 1 && w->family != AF_INET);
}

static void
check_root(const struct where *w, const char *directory)
{
	bool path = w->scheme == SCHEME_UNIX || w->scheme == SCHEME_FIFO;
	size_t n = strlen(directory), whole = n + 1 + strlen(w->host);
	struct where c = *w;
	struct err err = { .text = "" };
	int rc;

	c.host = strdup(w->host);
	CHECK(c.host != NULL);
	same(w, &c);
	rc = where_root(&c, directory, &err);
	if (!path || w->host[0] == '/' || w->host[0] == '@') {
		CHECK(rc == 0 && where_equal(w, &c));
	} else if (rc == 0) {
		CHECK(whole <= (w->scheme == SCHEME_FIFO ? WHERE_HOST - 1 : PATH_ROOM));
		CHECK(strncmp(c.host, directory, n) == 0 && c.host[n] == '/' && strcmp(c.host + n + 1, w->host) == 0);
		CHECK(!where_equal(w, &c));
		reads_back(&c);
	} else {
		CHECK(whole > (w->scheme == SCHEME_FIFO ? WHERE_HOST - 1 : PATH_ROOM));
		CHECK(err.text[0] != '\0' && where_equal(w, &c));
	}
	where_free(&c);
}

static void
check_text(const char *text)
{
	static char hundred[101], many[241];
	struct where w;
	struct err err = { .text = "" };
	uint64_t hash;

	if (many[0] == '\0') {
		memset(hundred, 'd', sizeof hundred - 1);
		memset(many, 'd', sizeof many - 1);
		hundred[0] = many[0] = '/';
	}
	if (where_parse(&w, text, &err) == -1) {
		CHECK(err.text[0] != '\0');
		return;
	}
	hash = where_hash(&w);
	reads_back(&w);
	if (w.scheme == SCHEME_VSOCK)
		check_cid(&w, text);
	if (w.scheme == SCHEME_TCP || w.scheme == SCHEME_UDP)
		check_host(&w);
	check_root(&w, "/srv");
	check_root(&w, hundred);
	check_root(&w, many);
	CHECK(where_hash(&w) == hash);
	where_free(&w);
}

/* The bytes as a bound socket's own address. */
static void
check_socket(struct feed f)
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };
	unsigned kind = feed_byte(&f), type = feed_byte(&f) % 3, port = (unsigned)feed_number(&f, 2);
	struct addr a = { .len = sizeof a.in };
	struct ip ip, back;
	char name[WHERE_HOST + 64];
	uint32_t zone, at;
	struct where w;
	struct err err;

	switch (kind % 4) {
	case 0:
		a.in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
			.sin_addr.s_addr = htonl((uint32_t)feed_number(&f, 4)) };
		break;
	case 1:
		a.len = sizeof a.in6;
		a.in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
		for (int i = 0; i < 16; i++)
			a.in6.sin6_addr.s6_addr[i] = (uint8_t)feed_byte(&f);
		a.in6.sin6_scope_id = IN6_IS_ADDR_V4MAPPED(&a.in6.sin6_addr) ? 0 : kind / 4;
		break;
	case 2:
		a.len = sizeof a.vm;
		a.vm = (struct sockaddr_vm){ .svm_family = AF_VSOCK, .svm_port = (uint32_t)feed_number(&f, 4),
			.svm_cid = (uint32_t)feed_number(&f, 4) };
		type = 0;
		break;
	default:
		a.un = (struct sockaddr_un){ .sun_family = AF_UNIX };
		a.un.sun_path[0] = kind / 4 % 2 == 0 ? '/' : '\0';
		for (at = 1; at < PATH_ROOM && feed_left(&f) > 0; at++)
			a.un.sun_path[at] = (char)('!' + feed_byte(&f) % ('~' - '!'));
		if (at == 1)
			a.un.sun_path[at++] = 'x';
		a.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + at);
		break;
	}
	sock_name(&a, types[type], port % 2 == 0, name, sizeof name);
	CHECK(where_parse(&w, name, &err) == 0);
	if (a.sa.sa_family == AF_UNIX) {
		CHECK(w.scheme == SCHEME_UNIX && w.type == types[type] && strncmp(w.host, a.un.sun_path[0] == '/' ? "/" : "@", 1) == 0);
		CHECK(strlen(w.host) == at && memcmp(w.host + 1, a.un.sun_path + 1, at - 1) == 0);
	} else if (a.sa.sa_family == AF_VSOCK) {
		CHECK(w.scheme == SCHEME_VSOCK && w.cid == a.vm.svm_cid && w.port == a.vm.svm_port);
	} else {
		CHECK(addr_ip(&a, &ip, &zone, &at) && w.port == at && w.type == (type == 1 ? SOCK_DGRAM : SOCK_STREAM));
		if (w.host[0] != '\0')
			CHECK(ip_parse(w.host, &back) && memcmp(&ip, &back, sizeof ip) == 0 && (zone != 0) == (w.iface[0] != '\0'));
		else
			CHECK(ip_mask(&ip, a.sa.sa_family == AF_INET ? 96 : 0) == false);
	}
	where_free(&w);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = exact_text(data, size);

	check_text(text);
	free(text);
	check_socket((struct feed){ data, data + size });
	return 0;
}

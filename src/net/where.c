#include "net/where.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/num.h"
#include "net/addr.h"

static const struct {
	const char *name;
	unsigned port;
} known_ports[] = {
	{ "tcpmux", 1 }, { "echo", 7 }, { "discard", 9 }, { "daytime", 13 }, { "chargen", 19 },
	{ "ssh", 22 }, { "time", 37 }, { "http", 80 }, { "https", 443 },
};

bool
port_parse(const char *text, const char *proto, unsigned *port)
{
	struct servent *se;
	uint64_t n;

	if (num_parse(text, 0, 65535, &n)) {
		*port = (unsigned)n;
		return true;
	}
	if (*text >= '0' && *text <= '9' && strspn(text, "0123456789") == strlen(text))
		return false;
	se = getservbyname(text, proto);
	if (se != NULL) {
		*port = ntohs((uint16_t)se->s_port);
		return true;
	}
	for (size_t i = 0; i < sizeof known_ports / sizeof known_ports[0]; i++) {
		if (strcmp(text, known_ports[i].name) == 0) {
			*port = known_ports[i].port;
			return true;
		}
	}
	return false;
}

static const struct {
	const char *name;
	enum scheme scheme;
	int type, family;
} schemes[] = {
	{ "tcp", SCHEME_TCP, SOCK_STREAM, AF_UNSPEC },
	{ "tcp4", SCHEME_TCP, SOCK_STREAM, AF_INET },
	{ "tcp6", SCHEME_TCP, SOCK_STREAM, AF_INET6 },
	{ "udp", SCHEME_UDP, SOCK_DGRAM, AF_UNSPEC },
	{ "udp4", SCHEME_UDP, SOCK_DGRAM, AF_INET },
	{ "udp6", SCHEME_UDP, SOCK_DGRAM, AF_INET6 },
	{ "unix", SCHEME_UNIX, SOCK_STREAM, AF_UNIX },
	{ "unix-dgram", SCHEME_UNIX, SOCK_DGRAM, AF_UNIX },
	{ "unix-seqpacket", SCHEME_UNIX, SOCK_SEQPACKET, AF_UNIX },
	{ "fifo", SCHEME_FIFO, 0, AF_UNSPEC },
	{ "vsock", SCHEME_VSOCK, SOCK_STREAM, AF_VSOCK },
	{ "fd", SCHEME_FD, 0, AF_UNSPEC },
};

/* The scheme that text begins with; *rest is moved behind it. False: it begins with none. */
static bool
take_scheme(const char **rest, struct where *w)
{
	const char *colon = strchr(*rest, ':');

	if (colon == NULL)
		return false;
	for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
		size_t n = strlen(schemes[i].name);

		if ((size_t)(colon - *rest) == n && strncasecmp(*rest, schemes[i].name, n) == 0) {
			w->scheme = schemes[i].scheme;
			w->type = schemes[i].type;
			w->family = schemes[i].family;
			*rest = colon + 1;
			return true;
		}
	}
	return false;
}

static int
parse_path(struct where *w, char host_of[WHERE_HOST], const char *text, const char *path, struct err *err)
{
	size_t max = sizeof((struct sockaddr_un *)NULL)->sun_path - 1;

	if (*path == '\0' || strcmp(path, "@") == 0)
		return err_set(err, w->scheme == SCHEME_FIFO ? "%s: no path; write fifo:/run/name" :
		    "%s: no path; write unix:/run/name.sock or unix:@name", text);
	if (w->scheme == SCHEME_FIFO)
		max = WHERE_HOST - 1;
	for (const char *p = path; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)	/* it is named in lines */
			return err_set(err, "%s: a control character in the path", text);
	if (strlen(path) > max)
		return err_set(err, "%s: the path has %zu bytes; at most %zu are possible", text,
		    strlen(path), max);
	(void)snprintf(host_of, WHERE_HOST, "%s", path);
	return 0;
}

static int
parse_vsock(struct where *w, const char *text, const char *rest, struct err *err)
{
	const char *colon = strchr(rest, ':');
	char cid[16] = "";
	uint64_t n[2] = { (uint32_t)VMADDR_CID_ANY, 0 };
	const char *part[2] = { cid, colon != NULL ? colon + 1 : rest };

	if (colon != NULL && (size_t)(colon - rest) >= sizeof cid)
		part[1] = "";		/* no number is that long */
	else if (colon != NULL)
		memcpy(cid, rest, (size_t)(colon - rest));
	if (strcmp(cid, "*") == 0)
		cid[0] = '\0';
	for (int i = colon != NULL && cid[0] != '\0' ? 0 : 1; i < 2; i++) {
		if (!num_parse(part[i], 0, UINT32_MAX, &n[i]))
			return err_set(err, "%s: not a vsock address; write vsock:PORT or vsock:CID:PORT", text);
	}
	w->cid = (unsigned)n[0];
	w->port = (unsigned)n[1];
	return 0;
}

static int
parse_fd(struct where *w, char host_of[WHERE_HOST], const char *text, const char *rest, struct err *err)
{
	size_t len = strlen(rest);
	uint64_t n = 0;

	if (len == 0 || len >= (size_t)WHERE_HOST)
		return err_set(err, "%s: no descriptor; write fd:NUMBER or fd:NAME", text);
	w->named = strspn(rest, "0123456789") != len;
	if (!w->named && !num_parse(rest, 0, 1 << 24, &n))
		return err_set(err, "%s: no descriptor has such a number", text);
	w->port = (unsigned)n;
	(void)snprintf(host_of, WHERE_HOST, "%s", rest);
	return 0;
}

/* host:port, [v6]:port, *:port, port; the host may hold %IFACE. */
static int
parse_inet(struct where *w, char host_of[WHERE_HOST], const char *text, const char *rest, struct err *err)
{
	const char *port = rest, *host = rest, *end = rest, *percent;
	struct ip ip;
	const char *proto = w->scheme == SCHEME_UDP ? "udp" : "tcp";

	if (*rest == '[') {
		host = rest + 1;
		end = strchr(rest, ']');
		if (end == NULL)
			return err_set(err, "%s: the [ is not closed; write [::1]:1024", text);
		if (end[1] != ':')
			return err_set(err, "%s: no port after the ]; write [::1]:1024", text);
		port = end + 2;
	} else if (strrchr(rest, ':') != NULL) {
		end = strrchr(rest, ':');
		port = end + 1;
		if (isalpha((unsigned char)*rest) && rest[strspn(rest, "0123456789abcdefABCDEF")] != ':' && memchr(rest, ':', (size_t)(end - rest)) != NULL)
			return err_set(err, "%s: there is no scheme %.*s; tcp udp unix fifo vsock fd are", text,
			    (int)strcspn(rest, ":"), rest);
		if (memchr(rest, ':', (size_t)(end - rest)) != NULL)
			return err_set(err, "%s: an IPv6 address goes into [ ]: [::1]:1024", text);
		if (end == rest)
			return err_set(err, "%s: no address before the colon; write *%s for every one",
			    text, rest);
	}
	if ((size_t)(end - host) >= (size_t)WHERE_HOST)
		return err_set(err, "%.60s...: the host's name is too long", text);
	memcpy(host_of, host, (size_t)(end - host));
	percent = strchr(host_of, '%');
	if (percent != NULL) {
		size_t n = (size_t)(percent - host_of);

		if (percent[1] == '\0' || strlen(percent + 1) >= sizeof w->iface)
			return err_set(err, "%s: no interface has the name after the %%", text);
		memcpy(w->iface, percent + 1, strlen(percent + 1) + 1);
		host_of[n] = '\0';
	}
	if (*rest == '[' && strchr(host_of, ':') == NULL)
		return err_set(err, "%s: only an IPv6 address stands in [ ]", text);
	if (strcmp(host_of, "*") == 0)
		host_of[0] = '\0';
	if (host_of[0] != '\0' && !ip_parse(host_of, &ip)) {
		if (host_of[strspn(host_of, "0123456789.")] == '\0')
			return err_set(err, "%s: %s is not an IPv4 address", text, host_of);
		if (strchr(host_of, ':') != NULL)
			return err_set(err, "%s: %s is not an IPv6 address", text, host_of);
	} else if (host_of[0] != '\0' && !ip_is_v4(&ip)) {
		char one[ADDR_TEXT];	/* there are several ways to write an IPv6 address */

		(void)snprintf(host_of, WHERE_HOST, "%s", ip_print(&ip, one));
	}
	if (w->iface[0] != '\0' && (!ip_parse(host_of, &ip) || (ip_is_v4(&ip) && !ip_is_group(&ip))))
		return err_set(err, "%s: an interface is chosen for a group or an IPv6 address only", text);
	if (w->family != AF_UNSPEC && ip_parse(host_of, &ip) && (strchr(host_of, ':') != NULL) !=
	    (w->family == AF_INET6))
		return err_set(err, "%s: %s is not an IPv%c address", text, host_of,
		    w->family == AF_INET6 ? '6' : '4');
	if (*port == '\0')
		return err_set(err, "%s: no port; a number from 0 to 65535 or a name from /etc/services",
		    text);
	if (!port_parse(port, proto, &w->port)) {
		if (*port >= '0' && *port <= '9')
			return err_set(err, "%s: %s is no port; ports go from 0 to 65535", text, port);
		return err_set(err, "%s: %s is no %s port in /etc/services; give its number", text, port,
		    proto);
	}
	return 0;
}

int
where_parse(struct where *w, const char *text, struct err *err)
{
	struct where out = { .scheme = SCHEME_TCP, .type = SOCK_STREAM, .family = AF_UNSPEC };
	const char *rest = text;
	char host[WHERE_HOST] = "";
	int rc = -1;

	if (*text == '\0')
		return err_set(err, "an empty ADDRESS; a port such as 1024 is the least");
	(void)take_scheme(&rest, &out);
	switch (out.scheme) {
	case SCHEME_TCP:
	case SCHEME_UDP:
		if (*rest == '/')
			return err_set(err, "%s: a path needs a scheme: unix:%s", text, rest);
		rc = parse_inet(&out, host, text, rest, err);
		break;
	case SCHEME_UNIX:
	case SCHEME_FIFO:
		rc = parse_path(&out, host, text, rest, err);
		break;
	case SCHEME_VSOCK:
		rc = parse_vsock(&out, text, rest, err);
		break;
	case SCHEME_FD:
		rc = parse_fd(&out, host, text, rest, err);
		break;
	}
	if (rc == -1)
		return -1;
	out.host = strdup(host);
	if (out.host == NULL)
		return err_sys(err, ENOMEM, "%s", text);
	*w = out;
	return 0;
}

void
where_free(struct where *w)
{
	free(w->host);
	w->host = NULL;
}

bool
where_equal(const struct where *a, const struct where *b)
{
	return a->scheme == b->scheme && a->type == b->type && a->family == b->family &&
	    a->port == b->port && a->cid == b->cid && strcmp(a->host, b->host) == 0 &&
	    strcmp(a->iface, b->iface) == 0;
}

uint64_t
where_hash(const struct where *w)
{
	char text[WHERE_HOST + 128];
	uint64_t h = 0xcbf29ce484222325;	/* FNV-1a: no stranger chooses what is in the table */

	/* A name's number is only known where it is inherited. */
	(void)snprintf(text, sizeof text, "%d %d %d %u %u %s %s", (int)w->scheme, w->type, w->family,
	    w->named ? 0 : w->port, w->cid, w->iface, w->host);
	for (const char *p = text; *p != '\0'; p++)
		h = (h ^ (unsigned char)*p) * 0x100000001b3;
	return h;
}

int
where_root(struct where *w, const char *directory, struct err *err)
{
	size_t most = w->scheme == SCHEME_FIFO ? WHERE_HOST - 1 : sizeof((struct sockaddr_un *)NULL)->sun_path - 1;
	size_t n = strlen(directory) + 1 + strlen(w->host) + 1;
	char *full;

	if ((w->scheme != SCHEME_UNIX && w->scheme != SCHEME_FIFO) || w->host[0] == '/' || w->host[0] == '@')
		return 0;
	if (n - 1 > most)
		return err_set(err, "%s: with its directory %s it is longer than %zu bytes", w->host, directory, most);
	full = malloc(n);
	if (full == NULL)
		return err_sys(err, ENOMEM, "%s", w->host);
	memcpy(full, directory, strlen(directory));
	full[strlen(directory)] = '/';
	memcpy(full + strlen(directory) + 1, w->host, strlen(w->host) + 1);
	free(w->host);
	w->host = full;
	return 0;
}

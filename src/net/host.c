#include "net/host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

bool
host_is_name(const struct where *w)
{
	struct in6_addr any;

	return (w->scheme == SCHEME_TCP || w->scheme == SCHEME_UDP) && w->host[0] != '\0' &&
	    inet_pton(AF_INET, w->host, &any) != 1 && inet_pton(AF_INET6, w->host, &any) != 1;
}

void
host_ask(const struct where *w, struct host *h)
{
	struct addrinfo hints = { .ai_family = w->family, .ai_socktype = w->type,
		.ai_flags = AI_PASSIVE | (host_is_name(w) ? 0 : AI_NUMERICHOST) }, *list = NULL, *i;
	char host[WHERE_HOST + 24], name[WHERE_HOST + 64];
	struct in6_addr six;
	bool scoped;
	int rc;

	memset(h, 0, sizeof *h);
	/* What has no scope, as an IPv4 address, takes an interface only to join a group. */
	scoped = w->iface[0] != '\0' && strchr(w->host, ':') != NULL && (inet_pton(AF_INET6, w->host, &six) != 1 ||
	    !IN6_IS_ADDR_MULTICAST(&six) || IN6_IS_ADDR_MC_LINKLOCAL(&six));
	(void)snprintf(host, sizeof host, "%s%s%s", w->host, scoped ? "%" : "", scoped ? w->iface : "");
	(void)snprintf(name, sizeof name, "%s%s:%s:%u", w->scheme == SCHEME_UDP ? "udp" : "tcp",
	    w->family == AF_INET6 ? "6" : w->family == AF_INET ? "4" : "", w->host, w->port);
	rc = getaddrinfo(host, NULL, &hints, &list);
	if (rc != 0) {
		int why = rc == EAI_SYSTEM ? errno : EHOSTUNREACH;

		(void)err_set(&h->why, "%s: cannot resolve %s: %s", name, host,
		    rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
		h->why.system = why;
		return;
	}
	for (i = list; i != NULL && h->n < HOST_MOST; i = i->ai_next) {
		struct addr *a = &h->to[h->n];
		bool seen = false;

		if (i->ai_addrlen > sizeof a->in6)
			continue;
		a->len = i->ai_addrlen;
		memcpy(&a->sa, i->ai_addr, i->ai_addrlen);
		for (size_t k = 0; k < h->n; k++)	/* /etc/hosts may name one address twice */
			seen = seen || (h->to[k].len == a->len && memcmp(&h->to[k].sa, &a->sa, a->len) == 0);
		h->n += !seen;
	}
	freeaddrinfo(list);
	if (h->n == 0)
		(void)err_set(&h->why, "%s: %s has no address of that family", name, host);
}

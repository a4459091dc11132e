#include "table/infer.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/num.h"
#include "base/str.h"
#include "net/host.h"
#include "table/rpc.h"

struct look {			/* at one service */
	struct service *s;
	const struct master *m;
	attr_note *note;
	void *arg;
};

static int
give_text(struct service *s, char **field, const char *attr, const char *text, struct err *err)
{
	char *copy = strdup(text);

	if (copy == NULL)
		return err_sys(err, ENOMEM, "%s", attr);
	free(*field);
	*field = copy;
	attr_give(s, attr);
	return 0;
}

/* tcp, udp and their families. False: there is no such protocol. */
static bool
read_protocol(const char *word, bool *udp, int *family)
{
	const char *rest;

	if (strncasecmp(word, "tcp", 3) != 0 && strncasecmp(word, "udp", 3) != 0)
		return false;
	*udp = word[0] == 'u' || word[0] == 'U';
	rest = word + 3;
	*family = strcmp(rest, "4") == 0 ? AF_INET : strcmp(rest, "6") == 0 ? AF_INET6 : AF_UNSPEC;
	return *rest == '\0' || *family != AF_UNSPEC || strcmp(rest, "46") == 0 || strcmp(rest, "64") == 0;
}

/* socket_type and protocol follow from each other; stream and tcp where nothing is said. */
static int
infer_kind(const struct look *k, bool *udp, int *family, struct err *err)
{
	struct service *s = k->s;

	*udp = attr_given(s, "socket_type") && s->socket_type == SOCKET_DGRAM;
	*family = AF_UNSPEC;
	if (s->protocol != NULL) {
		if (!read_protocol(s->protocol, udp, family))
			return err_set(err, "\"%s\" is no protocol that is served; tcp and udp are, with 4, 6 or 46 "
			    "behind for the family", s->protocol), err_at(err, "protocol", 0);
	} else if (give_text(s, &s->protocol, "protocol", *udp ? "udp" : "tcp", err) == -1) {
		return -1;
	}
	if (!attr_given(s, "socket_type")) {
		s->socket_type = *udp ? SOCKET_DGRAM : SOCKET_STREAM;
		attr_give(s, "socket_type");
	}
	if (s->socket_type != (*udp ? SOCKET_DGRAM : SOCKET_STREAM))
		return err_set(err, "socket_type and protocol do not go together: stream and tcp do, dgram and "
		    "udp do"), err_at(err, "socket_type", 0);
	return 0;
}

/* The families that flags and v6only leave. */
static int
infer_family(const struct look *k, int family)
{
	const struct service *s = k->s;
	bool four = (s->flags & FLAG_IPV4) != 0, six = (s->flags & FLAG_IPV6) != 0;
	bool every = s->bind == NULL || strcmp(s->bind, "*") == 0 || strcmp(s->bind, "::") == 0;
	struct ip ip;

	if (family == AF_UNSPEC && four && !six)
		family = AF_INET;
	/* Of every address IPv6 alone is a socket that takes IPv4 too, unless v6only forbids it; of a name it chooses. */
	if (family == AF_UNSPEC && six && !four && !every && !ip_parse(s->bind, &ip))
		family = AF_INET6;
	/* That of defaults is for those who listen everywhere. */
	if (family == AF_UNSPEC && s->v6only && (every || attr_own(s, "v6only")))
		family = AF_INET6;
	return family;
}

static int
add_address(struct service *s, const char *text, struct err *err)
{
	const struct attr *listen = attr_find("listen");
	const char *word[2] = { text, NULL };

	return listen->kind->set(s, listen, &(struct setting){ .op = ATTR_ADD, .word = word, .n = 1 }, err);
}

static int
add_host(struct service *s, bool udp, int family, const char *host, struct err *err)
{
	char text[WHERE_HOST + 64];
	bool colon = strchr(host, ':') != NULL;

	(void)snprintf(text, sizeof text, "%s%s:%s%s%s:%s", udp ? "udp" : "tcp",
	    family == AF_INET ? "4" : family == AF_INET6 ? "6" : "", colon ? "[" : "", host,
	    colon ? "]" : "", s->port);
	if (add_address(s, text, err) == -1)
		return err_at(err, strcmp(host, "*") == 0 ? "port" : "bind", 0);
	return 0;
}

/* An interface's name stands for the addresses that it has now. */
static int
add_interface(struct service *s, bool udp, int family, struct err *err)
{
	struct ifaddrs *list, *i;
	int rc = 0;

	if (getifaddrs(&list) == -1)
		return err_sys(err, errno, "bind %s", s->bind), err_at(err, "bind", 0);
	for (i = list; i != NULL && rc == 0; i = i->ifa_next) {
		char text[ADDR_TEXT], scoped[ADDR_TEXT + IF_NAMESIZE + 1];
		struct addr a = { .len = sizeof a.in6 };
		uint32_t scope, port;
		struct ip ip;
		int is;

		if (i->ifa_addr == NULL || strcmp(i->ifa_name, s->bind) != 0)
			continue;
		is = i->ifa_addr->sa_family;
		if ((is != AF_INET && is != AF_INET6) || (family != AF_UNSPEC && family != is))
			continue;
		memcpy(&a.sa, i->ifa_addr, is == AF_INET ? sizeof a.in : sizeof a.in6);
		(void)addr_ip(&a, &ip, &scope, &port);
		(void)snprintf(scoped, sizeof scoped, "%s%s%s", ip_print(&ip, text), scope != 0 ? "%" : "",
		    scope != 0 ? i->ifa_name : "");
		rc = add_host(s, udp, is == AF_INET6 ? AF_INET6 : AF_UNSPEC, scoped, err);
	}
	freeifaddrs(list);
	if (rc == 0 && s->nlisten == 0)
		return err_set(err, "interface %s has no address of that family", s->bind), err_at(err, "bind", 0);
	return rc;
}

static int
infer_listen(const struct look *k, bool udp, int family, struct err *err)
{
	struct service *s = k->s;
	struct ip ip;

	if (s->bind == NULL || strcmp(s->bind, "*") == 0)
		return add_host(s, udp, family, "*", err);
	if (strcmp(s->bind, "0.0.0.0") == 0 && family != AF_INET6)
		return add_host(s, udp, AF_INET, "*", err);
	if (strcmp(s->bind, "::") == 0 && family != AF_INET)
		return add_host(s, udp, family, "*", err);
	if (ip_parse(s->bind, &ip) && ip_is_v4(&ip) && (s->flags & (FLAG_IPV4 | FLAG_IPV6)) == FLAG_IPV6)
		attr_remark(k->note, k->arg, "flags", -1, "IPv6 has no effect beside the IPv4 address %s", s->bind);
	if (!ip_parse(s->bind, &ip) && if_nametoindex(s->bind) != 0)
		return add_interface(s, udp, family, err);
	return add_host(s, udp, ip_parse(s->bind, &ip) && family == AF_UNSPEC ? AF_UNSPEC : family, s->bind,
	    err);
}

/* The port: as given, or that of the service's name. */
static int
infer_port(const struct look *k, bool udp, struct err *err)
{
	struct service *s = k->s;
	const char *proto = udp ? "udp" : "tcp", *name = s->port != NULL ? s->port : s->name;
	char number[16];
	unsigned port;

	if (!port_parse(name, proto, &port))
		return err_set(err, s->port != NULL ? "%s is no %s port in /etc/services; give its number" :
		    "%s is no %s port in /etc/services; say port = NUMBER", name, proto),
		    err_at(err, "port", 0);
	(void)snprintf(number, sizeof number, "%u", port);
	return give_text(s, &s->port, "port", number, err);
}

static int
infer(const struct look *k, struct err *err)
{
	static const char *const replaced[] = { "port", "bind", "socket_type", "protocol" };
	struct service *s = k->s;
	struct err other = { .word = -1 };
	int family;
	bool udp, said = false;

	if (attr_given(s, "listen")) {
		if (s->nlisten == 0)
			return err_set(err, "listen names no address"), err_at(err, "listen", 0);
		for (size_t i = 0; i < sizeof replaced / sizeof replaced[0]; i++) {
			struct err *e = said ? &other : err;

			if (!attr_given(s, replaced[i]))
				continue;
			(void)err_set(e, "%s: listen says it already; give one of them", replaced[i]);
			(void)err_at(e, replaced[i], 0);
			e->fault = said;
			if (said)
				k->note(k->arg, e);
			said = true;
		}
		if (said)
			return -1;
		if (attr_own(s, "v6only"))
			attr_remark(k->note, k->arg,
			    "v6only", -1, "v6only has no effect beside listen: tcp6: says it there");
		if ((s->flags & (FLAG_IPV4 | FLAG_IPV6)) != 0)
			attr_remark(k->note, k->arg,
			    "flags", -1, "IPv4 and IPv6 have no effect beside listen: tcp4: and tcp6: say it there");
		return 0;
	}
	if (s->socket_type > SOCKET_DGRAM)
		return err_set(err, "socket_type %s: not served here; unix-seqpacket:PATH in listen is",
		    s->socket_type == SOCKET_RAW ? "raw" : s->socket_type == SOCKET_RDM ? "rdm" : "seqpacket"),
		    err_at(err, "socket_type", 0);
	if (infer_kind(k, &udp, &family, err) == -1)
		return -1;
	if ((s->type & (TYPE_TCPMUX | TYPE_TCPMUXPLUS)) != 0) {
		if (udp)
			return err_set(err, "tcpmux leads to connections, not to datagrams"),
			    err_at(err, attr_own(s, "protocol") ? "protocol" : "socket_type", 0);
		if (attr_own(s, "port"))
			attr_remark(k->note, k->arg, "port", -1, "port has no effect: tcpmux alone leads to this service");
		return 0;
	}
	/* rpcbind tells clients the port: any will do. */
	if ((s->type & TYPE_RPC) != 0 && s->port == NULL && give_text(s, &s->port, "port", "0", err) == -1)
		return -1;
	if (infer_port(k, udp, err) == -1)
		return -1;
	family = infer_family(k, family);
	if (s->v6only && family != AF_INET6 && !attr_own(s, "v6only")) {
		s->v6only = false;
		attr_forget(s, "v6only");
	}
	return infer_listen(k, udp, family, err);
}

/* A name that nobody knows now: it is asked for again, but -t may tell, unless the answers take long. */
static void
look_at_name(const struct look *k, const char *attr, int word, const struct where *w)
{
	enum { ENOUGH = 3 * SECOND };
	static int64_t spent;
	struct host h;
	int64_t began = clock_ms();

	if (!k->m->checking || spent > ENOUGH || !host_is_name(w))
		return;
	host_ask(w, &h);
	spent += clock_ms() - began;
	if (h.n == 0)
		attr_remark(k->note, k->arg, attr, word, "%s; it will be asked for again", h.why.text);
}

static void
look_at_addresses(const struct look *k)
{
	const struct service *s = k->s;
	bool here = attr_given(s, "listen");

	if (s->target != NULL)
		look_at_name(k, "redirect", 0, s->target);

	for (size_t i = 0; i < s->nlisten && s->table; i++) {
		const struct where *w = &s->listen[i].where;

		look_at_name(k, here ? "listen" : "bind", here ? (int)i : 0, w);
		if (w->iface[0] != '\0' && if_nametoindex(w->iface) == 0 && !isdigit((unsigned char)w->iface[0]))
			attr_remark(k->note, k->arg, "listen", (int)i, "%s: there is no interface %s now",
			    s->listen[i].text, w->iface);
		if (!k->m->low_ports && (w->scheme == SCHEME_TCP || w->scheme == SCHEME_UDP) && w->port != 0 &&
		    w->port < k->m->first_port)
			attr_remark(k->note, k->arg, here ? "listen" : "port", here ? (int)i : -1, "port %u: only root may listen on ports "
			    "below %u", w->port, k->m->first_port);
	}
}

static const struct own {
	const char *name;
	enum builtin is;
	bool dgram;		/* it answers datagrams too */
	bool amplifies;		/* and then with more than it received */
	bool local;		/* without only_from it is for this machine alone */
} builtins[] = {
	{ "echo", BUILTIN_ECHO, true, false, false }, { "discard", BUILTIN_DISCARD, true, false, false },
	{ "chargen", BUILTIN_CHARGEN, true, true, false }, { "daytime", BUILTIN_DAYTIME, true, true, false },
	{ "time", BUILTIN_TIME, true, true, false }, { "tcpmux", BUILTIN_TCPMUX, false, false, false },
	{ "servers", BUILTIN_SERVERS, false, false, true },
	{ "services", BUILTIN_SERVICES, false, false, true },
	{ "status", BUILTIN_STATUS, false, false, true },
	{ "xadmin", BUILTIN_NONE, false, false, false },	/* files that name it are still shipped */
};

/* The built-in of the service's name: of a path the last part, of a port its name in /etc/services. NULL: err. */
static const struct own *
find_builtin(const struct look *k, struct err *err)
{
	const char *name = str_basename(k->s->name);
	uint64_t port;

	if (num_parse(name, 0, 65535, &port)) {
		struct servent *se = getservbyport(htons((uint16_t)port), NULL);

		name = se != NULL ? se->s_name : name;
	}
	for (size_t i = 0; i < sizeof builtins / sizeof builtins[0]; i++)
		if (strcasecmp(name, builtins[i].name) == 0)
			return &builtins[i];
	(void)err_set(err, "there is no built-in service \"%s\"; echo discard chargen daytime time tcpmux "
	    "servers services status are", name);
	(void)err_at(err, "type", -1);
	return NULL;
}

static int
infer_builtin(const struct look *k, const struct own *own, struct err *err)
{
	struct service *s = k->s;
	bool dgram = false;

	if (own->is == BUILTIN_NONE) {
		attr_remark(k->note, k->arg, "type", -1, "%s is not here: serverctl and the built-in status do what it "
		    "did; the service is off", own->name);
		s->off = true;
		return 0;
	}
	for (size_t i = 0; i < s->nlisten; i++)
		dgram |= address_type(&s->listen[i]) == SOCK_DGRAM;
	if (dgram && !own->dgram)
		return err_set(err, "%s answers connections only", own->name), err_at(err, "type", -1);
	if (dgram && own->amplifies && !s->only_from.given)
		return err_set(err, "%s by datagrams sends more than it receives, to whatever address a sender "
		    "puts there: only_from must say whom it answers", own->name), err_at(err, "type", -1);
	s->internal = own->is;
	/* No rule judges who comes by vsock. */
	for (size_t i = 0; own->local && i < s->nlisten; i++)
		if (s->listen[i].where.scheme == SCHEME_VSOCK || s->listen[i].found.family == AF_VSOCK)
			return err_set(err, "%s on %s: whoever comes there is another machine, and none of them may ask it",
			    own->name, s->listen[i].text), err_at(err, "type", -1);
	if (own->local && !s->only_from.given) {
		if (rules_add(&s->only_from, "127.0.0.0/8", false, NULL, NULL, err) == -1 ||
		    rules_add(&s->only_from, "::1", false, NULL, NULL, err) == -1)
			return -1;
		s->only_from.given = true;
		attr_give(s, "only_from");
	}
	if (s->server != NULL || s->exec.n > 0)
		attr_remark(k->note, k->arg, s->server != NULL ? "server" : "exec", -1,
		    "type = INTERNAL: the server itself answers; the program is not run");
	return 0;
}

/* What rpcbind is to be told: a number, by the name in /etc/rpc or as it is given, and versions. */
static int
infer_rpc(struct service *s, struct err *err)
{
	uint32_t number;

	if (!attr_given(s, "rpc_number")) {
		if (!rpc_number(s->name, &number))
			return err_set(err, "%s is no RPC program in /etc/rpc; say rpc_number = NUMBER", s->name),
			    err_at(err, "rpc_number", 0);
		s->rpc_number = number;
		attr_give(s, "rpc_number");
	}
	if (!attr_given(s, "rpc_version"))
		return err_set(err, "an RPC service has versions; say rpc_version = 1"), err_at(err, "type", -1);
	if (s->rpc_version.to - s->rpc_version.from > 255)
		return err_set(err, "rpc_version: so many versions are none"), err_at(err, "rpc_version", 0);
	for (size_t i = 0; i < s->nlisten; i++)
		if (s->listen[i].where.scheme != SCHEME_TCP && s->listen[i].where.scheme != SCHEME_UDP)
			return err_set(err, "%s: rpcbind knows TCP and UDP only", s->listen[i].text), err_at(err, "type", -1);
	return 0;
}

int
check_where(struct service *s, const struct master *m, attr_note *note, void *arg, struct err *err)
{
	const struct look k = { s, m, note, arg };
	const struct own *own = NULL;

	if ((s->type & TYPE_INTERNAL) != 0 && (s->flags & FLAG_SENSOR) == 0) {
		own = find_builtin(&k, err);
		if (own == NULL)
			return -1;
	}
	if (s->table && infer(&k, err) == -1)
		return -1;
	if (!s->table && s->nlisten == 0)
		return err_set(err, "no ADDRESS to listen on");
	for (size_t i = 0; m->inherited != NULL && i < s->nlisten; i++)
		if (s->listen[i].where.scheme == SCHEME_FD && m->inherited(m->inherited_arg, &s->listen[i], err) == -1)
			return err_at(err, "listen", (int)i);
	if (s->table && !attr_given(s, "wait"))
		attr_give(s, "wait");
	if ((s->type & TYPE_RPC) != 0 && infer_rpc(s, err) == -1)
		return -1;
	if (own != NULL && infer_builtin(&k, own, err) == -1)
		return -1;
	/* In the background the directory is /: what was meant from here is written in full. */
	for (size_t i = 0; m->leaves && i < s->nlisten; i++)
		if (where_root(&s->listen[i].where, m->cwd, err) == -1)
			return err_at(err, "listen", (int)i);
	if (attr_own(s, "deny_time") && (s->flags & FLAG_SENSOR) == 0)
		attr_remark(k.note, k.arg, "deny_time", -1, "deny_time has no effect without flags = SENSOR");
	look_at_addresses(&k);
	return 0;
}

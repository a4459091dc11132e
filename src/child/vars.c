#include "child/vars.h"

#include <stdint.h>
#include <string.h>

#include "base/put.h"

enum { MOST = 16 };		/* variables of one connection */

struct block {
	struct put text;
	char **next;		/* place of the next pointer */
};

/* A variable: the name with its =, then a text or a number. */
static void
name(struct block *b, const char *s)
{
	*b->next++ = b->text.used < b->text.size ? b->text.at + b->text.used : NULL;
	put_text(&b->text, s);
}

static void
var_bytes(struct block *b, const char *key, const char *value, size_t len)
{
	name(b, key);
	put_bytes(&b->text, value, len);
	put_char(&b->text, '\0');
}

static void
var(struct block *b, const char *key, const char *value)
{
	var_bytes(b, key, value, strlen(value));
}

static void
var_number(struct block *b, const char *key, uint64_t value)
{
	name(b, key);
	put_number(&b->text, value);
	put_char(&b->text, '\0');
}

/* The names that a protocol's own variables have. */
struct names {
	const char *proto, *local_ip, *local_port, *remote_ip, *remote_port, *remote_host, *remote_info;
};

static const struct names tcp = { "TCP", "TCPLOCALIP=", "TCPLOCALPORT=", "TCPREMOTEIP=",
	"TCPREMOTEPORT=", "TCPREMOTEHOST=", "TCPREMOTEINFO=" };
static const struct names udp = { "UDP", "UDPLOCALIP=", "UDPLOCALPORT=", "UDPREMOTEIP=",
	"UDPREMOTEPORT=", "UDPREMOTEHOST=", "UDPREMOTEINFO=" };

/* Our own address: false, if it is none of IP. */
static bool
put_local(struct block *b, const struct facts *f)
{
	const struct names *n = f->dgram ? &udp : &tcp;
	struct peer local = { .kind = PEER_IP };
	char text[ADDR_TEXT];

	if (!addr_ip(f->local, &local.ip, &local.scope, &local.port))
		return false;
	var(b, n->local_ip, peer_print(&local, text));
	var_number(b, n->local_port, local.port);
	return true;
}

static void
put_ip(struct block *b, const struct facts *f)
{
	const struct names *n = f->dgram ? &udp : &tcp;
	char remote[ADDR_TEXT];

	(void)peer_print(f->peer, remote);
	var(b, "PROTO=", n->proto);
	(void)put_local(b, f);
	var(b, n->remote_ip, remote);
	var_number(b, n->remote_port, f->peer->port);
	if (f->host != NULL)
		var(b, n->remote_host, f->host);
	if (f->info != NULL)
		var(b, n->remote_info, f->info);
	var(b, "REMOTE_HOST=", f->host != NULL ? f->host : remote);
	var(b, "REMOTE_ADDR=", remote);
	var_number(b, "REMOTE_PORT=", f->peer->port);
}

static void
put_path(struct block *b, const struct addr *a)
{
	size_t head = offsetof(struct sockaddr_un, sun_path);
	size_t len = a->len > head ? a->len - head : 0;
	bool abstract = len > 0 && a->un.sun_path[0] == '\0';

	if (abstract)
		var_bytes(b, "UNIXLOCALPATH=@", a->un.sun_path + 1, strnlen(a->un.sun_path + 1, len - 1));
	else
		var_bytes(b, "UNIXLOCALPATH=", a->un.sun_path, strnlen(a->un.sun_path, len));
}

static void
put_unix(struct block *b, const struct facts *f)
{
	var(b, "PROTO=", "UNIX");
	var_number(b, "UNIXREMOTEEUID=", f->peer->uid);
	var_number(b, "UNIXREMOTEEGID=", f->peer->gid);
	var_number(b, "UNIXREMOTEPID=", (uint64_t)f->peer->pid);
	put_path(b, f->local);
}

/* Nobody has come yet: the command gets what they come to. */
static void
put_own(struct block *b, const struct facts *f)
{
	int family = f->local->sa.sa_family;

	var(b, "PROTO=", family == AF_UNIX ? "UNIX" : family == AF_VSOCK ? "VSOCK" : family == AF_UNSPEC ?
	    "FIFO" : f->dgram ? udp.proto : tcp.proto);
	if (!put_local(b, f) && family == AF_UNIX)
		put_path(b, f->local);
}

size_t
vars_fill(char *block, size_t size, const struct facts *f)
{
	const struct run *r = &f->service->run;
	char *some[MOST], text[ADDR_TEXT];
	size_t pointers = (r->env->n + MOST + 1) * sizeof(char *);
	bool room = pointers <= size;
	struct block b = { .text = { .at = room ? block : NULL, .used = pointers, .size = room ? size : 0 },
		.next = room ? (char **)(void *)block : some };

	switch (f->peer->kind) {
	case PEER_IP:
		put_ip(&b, f);
		break;
	case PEER_UNIX:
		put_unix(&b, f);
		break;
	case PEER_VSOCK:
		var(&b, "PROTO=", "VSOCK");
		var(&b, "REMOTE_HOST=", peer_print(f->peer, text));
		var_number(&b, "REMOTE_ADDR=", f->peer->cid);
		var_number(&b, "REMOTE_PORT=", f->peer->port);
		break;
	case PEER_NONE:
		put_own(&b, f);
		break;
	}
	if (f->listening) {
		var(&b, "LISTEN_FDS=", "1");
		var(&b, "LISTEN_PID=", "0000000000");	/* the child's to fill in: setup.c */
		var(&b, "LISTEN_FDNAMES=", f->service->id);
	}
	var(&b, "SERVICE=", f->service->id);
	var_number(&b, "CONNECTION=", f->conn);
	if (b.text.used <= size) {
		if (r->env->n > 0)
			memcpy(b.next, r->env->var, r->env->n * sizeof(char *));
		b.next[r->env->n] = NULL;
	}
	return b.text.used;
}

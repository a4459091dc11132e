#include "child/vars.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 16 };		/* variables of one connection */

struct block {
	char *at;
	size_t used, size;
	char **next;		/* place of the next pointer */
};

static void __attribute__((format(printf, 2, 3)))
put(struct block *b, const char *fmt, ...)
{
	size_t left = b->used < b->size ? b->size - b->used : 0;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(left > 0 ? b->at + b->used : NULL, left, fmt, ap);
	va_end(ap);
	if ((size_t)n < left)
		*b->next++ = b->at + b->used;
	b->used += (size_t)n + 1;
}

static void
put_ip(struct block *b, const struct facts *f)
{
	char remote[ADDR_TEXT], text[ADDR_TEXT];
	struct peer local = { .kind = PEER_IP };

	(void)peer_print(f->peer, remote);
	put(b, "PROTO=TCP");
	if (addr_ip(f->local, &local.ip, &local.scope, &local.port)) {
		put(b, "TCPLOCALIP=%s", peer_print(&local, text));
		put(b, "TCPLOCALPORT=%" PRIu32, local.port);
	}
	put(b, "TCPREMOTEIP=%s", remote);
	put(b, "TCPREMOTEPORT=%" PRIu32, f->peer->port);
	if (f->host != NULL)
		put(b, "TCPREMOTEHOST=%s", f->host);
	put(b, "REMOTE_HOST=%s", f->host != NULL ? f->host : remote);
	put(b, "REMOTE_ADDR=%s", remote);
	put(b, "REMOTE_PORT=%" PRIu32, f->peer->port);
}

static void
put_unix(struct block *b, const struct facts *f)
{
	const struct addr *a = f->local;
	size_t head = offsetof(struct sockaddr_un, sun_path);
	size_t len = a->len > head ? a->len - head : 0;
	bool abstract = len > 0 && a->un.sun_path[0] == '\0';

	put(b, "PROTO=UNIX");
	put(b, "UNIXREMOTEEUID=%" PRIu32, f->peer->uid);
	put(b, "UNIXREMOTEEGID=%" PRIu32, f->peer->gid);
	put(b, "UNIXREMOTEPID=%" PRId32, f->peer->pid);
	if (abstract)
		put(b, "UNIXLOCALPATH=@%.*s", (int)strnlen(a->un.sun_path + 1, len - 1), a->un.sun_path + 1);
	else
		put(b, "UNIXLOCALPATH=%.*s", (int)strnlen(a->un.sun_path, len), a->un.sun_path);
}

size_t
vars_fill(char *block, size_t size, const struct facts *f)
{
	const struct run *r = &f->service->run;
	size_t pointers = (r->nenv + MOST + 1) * sizeof(char *);
	struct block b = { .at = block, .used = pointers, .size = size };
	char text[ADDR_TEXT];

	if (pointers > size)
		b.size = b.used = pointers;	/* only counts */
	b.next = (char **)(void *)block;
	switch (f->peer->kind) {
	case PEER_IP:
		put_ip(&b, f);
		break;
	case PEER_UNIX:
		put_unix(&b, f);
		break;
	case PEER_VSOCK:
		put(&b, "PROTO=VSOCK");
		put(&b, "REMOTE_HOST=%s", peer_print(f->peer, text));
		put(&b, "REMOTE_ADDR=%" PRIu32, f->peer->cid);
		put(&b, "REMOTE_PORT=%" PRIu32, f->peer->port);
		break;
	}
	put(&b, "SERVICE=%s", f->service->id);
	put(&b, "CONNECTION=%" PRIu64, f->conn);
	if (b.used <= size) {
		if (r->nenv > 0)
			memcpy(b.next, r->env, r->nenv * sizeof(char *));
		b.next[r->nenv] = NULL;
	}
	return b.used;
}

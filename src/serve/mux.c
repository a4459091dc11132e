#include "serve/mux.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "serve/accept.h"
#include "serve/conn.h"
#include "serve/job.h"

/* Names are compared without regard to case (RFC 1078). */
static uint64_t
key_of(const char *name)
{
	char low[NAME_LINE] = "";

	for (size_t i = 0; i + 1 < sizeof low && name[i] != '\0'; i++)
		low[i] = (char)tolower((unsigned char)name[i]);
	return hash_bytes(low, sizeof low);
}

struct muxed {
	struct hash_node node;	/* by name */
	struct unit *unit;
};

int
mux_add(struct unit *u)
{
	u->muxed = malloc(sizeof *u->muxed);
	if (u->muxed == NULL)
		return -1;
	u->muxed->unit = u;
	hash_put(&u->engine->muxed, &u->muxed->node, key_of(u->conf->name));
	return 0;
}

void
mux_remove(struct unit *u)
{
	if (u->muxed != NULL)
		hash_remove(&u->engine->muxed, &u->muxed->node);
	free(u->muxed);
	u->muxed = NULL;
}

void
mux_move(struct unit *from, struct unit *to)
{
	to->muxed = from->muxed;
	from->muxed = NULL;
	if (to->muxed != NULL)
		to->muxed->unit = to;
}

static struct unit *
find(const struct engine *e, const char *name)
{
	for (struct hash_node *n = hash_find(&e->muxed, key_of(name)); n != NULL; n = hash_next(n))
		if (strcasecmp(((struct muxed *)n)->unit->conf->name, name) == 0)
			return ((struct muxed *)n)->unit;
	return NULL;
}

/* A last word to the client, and the end. Takes fd. */
static void
answer(const struct conn *c, int fd, const char *text, size_t len)
{
	struct conn *last;

	(void)send(fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	last = conn_new(c->unit, fd, &c->peer, NULL);
	conn_finish(last);
}

/* The names that there are, one a line. */
static void
help(const struct conn *c, int fd)
{
	const struct hash *h = &c->unit->engine->muxed;
	struct buf b = { 0 };

	for (size_t i = 0; h->bucket != NULL && i <= h->mask; i++)
		for (struct hash_node *n = h->bucket[i]; n != NULL; n = n->next)
			buf_addf(&b, "%s\r\n", ((struct muxed *)n)->unit->conf->name);
	answer(c, fd, b.data != NULL ? b.data : "", b.failed ? 0 : b.len);
	buf_free(&b);
}

void
mux_named(const struct conn *c, int fd, const char *name)
{
	static const char none[] = "-Service not available\r\n", go[] = "+Go\r\n";
	struct engine *e = c->unit->engine;
	struct unit *u;

	if (!conn_room(e)) {
		loop_close(e->loop, 0, fd);
		return;
	}
	if (strcasecmp(name, "help") == 0) {
		help(c, fd);
		return;
	}
	u = name[0] != '\0' ? find(e, name) : NULL;
	if (u == NULL) {
		char from[ADDR_TEXT];

		if (flood_allows(c->unit, FLOOD_REFUSALS))
			unit_say(c->unit, LEVEL_NOTICE, "mux", "%s asked for \"%s\": no such service",
			    peer_print(&c->peer, from), name);
		answer(c, fd, none, sizeof none - 1);
		return;
	}
	accept_muxed(u, fd, &c->peer, (u->conf->type & TYPE_TCPMUXPLUS) != 0 ? go : "", none);
}

#include "serve/builtin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "serve/conn.h"
#include "serve/datagram.h"

enum { PORT_LEAST = 512, CHARGEN_MOST = 512 };

#define SINCE_1900 2208988800U	/* seconds from 1900 to 1970 (RFC 868) */

/* --- what they say */

void
chargen_line(char out[CHARGEN_LINE], unsigned first)
{
	for (unsigned i = 0; i < CHARGEN_LINE - 2; i++)
		out[i] = (char)(' ' + (first + i) % 95);
	out[CHARGEN_LINE - 2] = '\r';
	out[CHARGEN_LINE - 1] = '\n';
}

size_t
daytime_text(char out[DAYTIME_MOST])
{
	time_t now = time(NULL);
	struct tm tm;

	/* As every inetd says it: ctime(3)'s form, with CR LF. */
	(void)localtime_r(&now, &tm);
	return strftime(out, DAYTIME_MOST, "%a %b %e %H:%M:%S %Y\r\n", &tm);
}

size_t
time_bytes(char out[4])
{
	uint32_t since = (uint32_t)time(NULL) + SINCE_1900;

	for (int i = 3; i >= 0; i--, since >>= 8)
		out[i] = (char)(since & 0xff);
	return 4;
}

/* --- whom they answer */

int
builtin_open(struct engine *e, const struct bound *b)
{
	uint32_t scope, port;
	struct ip ip;

	if (!addr_ip(b->addr, &ip, &scope, &port))
		return 0;
	if (e->builtin_ports == NULL)
		e->builtin_ports = calloc(65536, sizeof *e->builtin_ports);
	if (e->builtin_ports == NULL)
		return -1;
	e->builtin_ports[port]++;
	return 0;
}

void
builtin_close(struct engine *e, const struct bound *b)
{
	uint32_t scope, port;
	struct ip ip;

	if (addr_ip(b->addr, &ip, &scope, &port))
		e->builtin_ports[port]--;
}

/* Could an answer be answered again, or go to many, or to somebody who never asked? */
static bool
is_trap(const struct engine *e, const struct peer *p)
{
	const uint8_t *b = p->ip.b;

	if (p->kind != PEER_IP)
		return false;
	if (p->port < PORT_LEAST || p->port > 65535 || e->builtin_ports[p->port] > 0)
		return true;
	/* Of IPv4 also what is reserved above the groups, the broadcast to everybody, "this network". */
	return ip_is_group(&p->ip) || (ip_is_v4(&p->ip) && (b[12] >= 224 || b[12] == 0));
}

/* --- */

static void
answer(const struct listener *l, const struct inbound *in)
{
	struct past *past = unit_past(l->unit);
	char text[CHARGEN_MOST];
	const char *say = text;
	size_t len = 0;

	if (past != NULL) {
		past->bytes_in += in->len;
		past->counted = true;
	}
	switch (l->unit->conf->internal) {
	case BUILTIN_ECHO:
		say = in->bytes;
		len = in->len;
		break;
	case BUILTIN_CHARGEN:
		for (unsigned i = 0; len + CHARGEN_LINE <= sizeof text; i++, len += CHARGEN_LINE)
			chargen_line(text + len, i);
		break;
	case BUILTIN_DAYTIME:
		len = daytime_text(text);
		break;
	case BUILTIN_TIME:
		len = time_bytes(text);
		break;
	default:		/* discard, and those that have no datagrams */
		return;
	}
	if (datagram_reply(l->outlet, in, say, len) && past != NULL)
		past->bytes_out += len;
}

enum took
builtin_take(struct listener *l, unsigned most)
{
	struct unit *u = l->unit;
	struct engine *e = u->engine;
	struct inbound in[INBOUND_MOST];
	unsigned n, got = 1;

	for (n = 0; n < most && got > 0; n += got) {
		if (!listener_has_room(l, true))
			return TOOK_PAUSE;
		/* With a pace each one is asked for by itself. */
		got = datagram_read(l->outlet, u->conf->cps.n != 0 ? 1 : INBOUND_MOST, in);
		for (unsigned i = 0; i < got; i++) {
			struct source *source;
			enum reason why;
			int64_t until;

			if (in[i].cut || is_trap(e, &in[i].peer))
				continue;
			if (!unit_lets_in(u, &in[i].peer, &why, &source)) {
				record_fail(u, &in[i].peer, why, NULL);
				continue;
			}
			source_leave(&e->sources, source);
			/* With `queue` it was asked before, but a service that takes nobody has no queue. */
			if ((u->conf->overload == OVERLOAD_REJECT || u->conf->instances == 0) && unit_is_full(u, &why, &until)) {
				record_fail(u, &in[i].peer, why, NULL);
				continue;
			}
			pace_count(&u->pace, loop_now(e->loop));
			unit_started(u);
			answer(l, &in[i]);
		}
	}
	return got == 0 ? TOOK_ALL : TOOK_SOME;
}

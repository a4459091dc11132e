#include "serve/conn.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "child/setup.h"
#include "serve/datagram.h"

static unsigned
peer_port(const struct peer *p)
{
	return p->kind == PEER_UNIX || p->kind == PEER_NONE ? 0 : p->port;
}

/* The fields that such a peer can have. */
static unsigned
told_of(const struct peer *p)
{
	return p->kind == PEER_NONE ? ~(unsigned)(LOG_PORT | LOG_FROM) : p->kind == PEER_UNIX ?
	    ~(unsigned)LOG_PORT : ~0U;
}

void
record_start(const struct conn *c, const char *host)
{
	struct log_style style = unit_style(c->unit);
	unsigned fields = c->conf->on_success & (RECORD_PID | RECORD_HOST | RECORD_PORT | RECORD_CONN);
	char from[ADDR_TEXT];

	if (fields == 0)
		return;
	fields &= told_of(&c->peer);
	log_event(&(struct event){ .level = LEVEL_INFO, .name = "start", .service = c->conf->id,
	    .fields = fields, .pid = (int)c->pid, .from = peer_print(&c->peer, from), .host = host,
	    .port = peer_port(&c->peer), .conn = c->number }, &style);
}

void
record_fail(struct unit *u, const struct peer *peer, enum reason why, const char *host)
{
	struct log_style style = unit_style(u);
	char from[ADDR_TEXT];
	unsigned fields;

	unit_refused(u, why);
	if (u->conf->on_failure == 0 || !flood_allows(u, FLOOD_REFUSALS))
		return;
	fields = u->conf->on_failure & (RECORD_HOST | RECORD_PORT);
	fields &= told_of(peer);
	log_event(&(struct event){ .level = LEVEL_NOTICE, .name = "fail", .service = u->conf->id,
	    .reason = reason_text(why), .fields = fields, .from = peer_print(peer, from), .host = host,
	    .port = peer_port(peer) }, &style);
}

void
record_user(const struct unit *u, const struct peer *peer, const char *user)
{
	struct log_style style = unit_style(u);
	char from[ADDR_TEXT];

	log_event(&(struct event){ .level = LEVEL_INFO, .name = "userid", .service = u->conf->id,
	    .from = peer_print(peer, from), .fields = u->conf->json != 0 ? LOG_FROM : 0,
	    .user = user, .message = u->conf->json != 0 ? NULL : user }, &style);
}

void
record_traffic(const struct conn *c)
{
	struct log_style style = unit_style(c->unit);
	bool json = c->conf->json != 0;
	char text[80];

	if ((c->conf->on_success & RECORD_TRAFFIC) == 0)
		return;
	(void)snprintf(text, sizeof text, "in=%llu(bytes) out=%llu(bytes)", (unsigned long long)c->bytes_in,
	    (unsigned long long)c->bytes_out);
	log_event(&(struct event){ .level = LEVEL_INFO, .name = "traffic", .service = c->conf->id,
	    .fields = json ? LOG_BYTES | LOG_CONN : 0, .conn = c->number, .bytes_in = c->bytes_in,
	    .bytes_out = c->bytes_out, .message = json ? NULL : text }, &style);
}

enum tcp_side { PEER_FIN = 1, OUR_FIN = 2 };

/* The kernel counts a FIN as a byte: which have been sent or received in that state? */
static unsigned
fins(unsigned state)
{
	switch (state) {
	case 4:			/* FIN_WAIT1 */
	case 5:			/* FIN_WAIT2 */
		return OUR_FIN;
	case 8:			/* CLOSE_WAIT */
		return PEER_FIN;
	case 6:			/* TIME_WAIT */
	case 9:			/* LAST_ACK */
	case 11:		/* CLOSING */
		return OUR_FIN | PEER_FIN;
	default:
		return 0;
	}
}

bool
conn_tcp_info(int fd, struct tcp_info *i)
{
	socklen_t len = sizeof *i;

	memset(i, 0, sizeof *i);
	return fd != -1 && getsockopt(fd, IPPROTO_TCP, TCP_INFO, i, &len) == 0;
}

/*
 * In CLOSE both have been, or it was reset: then there is an error, or ours was not acknowledged. What
 * was sent (Linux 4.19) counts no FIN.
 */
static void
count_closed(int fd, const struct tcp_info *i, struct traffic *t)
{
	struct pollfd p = { .fd = fd };
	uint64_t sent = i->tcpi_bytes_sent - i->tcpi_bytes_retrans;

	if (i->tcpi_bytes_sent == 0 && i->tcpi_bytes_acked > 1)
		return;		/* the kernel is older */
	t->out = sent;
	if (t->in > 0 && i->tcpi_bytes_acked > sent && poll(&p, 1, 0) != -1 && (p.revents & POLLERR) == 0)
		t->in--;
}

bool
conn_traffic(const struct conn *c, struct traffic *t)
{
	struct tcp_info i;
	unsigned fin;
	int waiting = 0;

	if (c->dialog != NULL) {
		*t = (struct traffic){ c->dialog->bytes_in, c->dialog->bytes_out,
			loop_now(c->unit->engine->loop) - c->dialog->moved };
		return true;
	}
	if (c->state == CONN_AWAY || c->peer.by_unix || !conn_tcp_info(c->fd, &i))
		return false;
	fin = fins(i.tcpi_state);
	(void)ioctl(c->fd, SIOCOUTQ, &waiting);
	t->in = i.tcpi_bytes_received;
	t->in -= (fin & PEER_FIN) != 0 && t->in > 0;
	t->out = i.tcpi_bytes_acked;
	t->out += (uint64_t)waiting;
	t->out -= (fin & OUR_FIN) != 0 && t->out > 0;
	if (i.tcpi_state == 7)
		count_closed(c->fd, &i, t);
	t->idle = i.tcpi_last_data_recv < i.tcpi_last_data_sent ? i.tcpi_last_data_recv :
	    i.tcpi_last_data_sent;
	return true;
}

void
record_bytes(struct conn *c)
{
	struct past *past;
	struct traffic t = { c->bytes_in, c->bytes_out, 0 };

	if (c->state == CONN_AWAY)	/* told once, at its end */
		c->bytes_in = c->bytes_out = 0;
	else if (c->refused || !conn_traffic(c, &t))
		return;
	past = unit_past(c->unit);
	if (past != NULL) {
		/* What was reset may have less to show than before. */
		past->bytes_in += t.in > c->bytes_in ? t.in - c->bytes_in : 0;
		past->bytes_out += t.out > c->bytes_out ? t.out - c->bytes_out : 0;
		past->counted = true;
	}
	c->bytes_in = t.in;
	c->bytes_out = t.out;
	c->counted = true;
}

static int64_t
timeval_ms(const struct timeval *t)
{
	return (int64_t)t->tv_sec * 1000 + t->tv_usec / 1000;
}

void
record_exit(const struct conn *c, const struct ended *end)
{
	struct log_style style = unit_style(c->unit);
	struct event ev = { .level = LEVEL_INFO, .name = "exit", .service = c->conf->id,
		.pid = (int)c->pid, .port = peer_port(&c->peer), .conn = c->number,
		.duration = loop_now(c->unit->engine->loop) - c->started,
		.maxrss = end->usage.ru_maxrss,
		.cpu = timeval_ms(&end->usage.ru_utime) + timeval_ms(&end->usage.ru_stime) };

	/* An EXIT line is written when something of the end is to be told; then with its pid. */
	ev.fields = c->conf->on_success & (RECORD_EXIT | RECORD_DURATION | RECORD_CPU | RECORD_MAXRSS |
	    RECORD_BYTES);
	if (ev.fields == 0)
		return;
	ev.fields |= c->conf->on_success & (RECORD_PID | RECORD_PORT | RECORD_CONN);
	ev.fields &= told_of(&c->peer);
	if (end->signalled)
		ev.signal = end->status;
	else
		ev.status = end->status;
	ev.bytes_in = c->bytes_in;
	ev.bytes_out = c->bytes_out;
	if (!c->counted && c->state != CONN_AWAY)
		ev.fields &= ~(unsigned)LOG_BYTES;
	log_event(&ev, &style);
}

void
record_not_started(const struct conn *c, uint32_t failed)
{
	enum step step = (enum step)(failed >> 16);
	const struct service *s = c->conf;
	const char *what = NULL;

	switch (step) {
	case STEP_EXEC:
		what = s->run.program;
		break;
	case STEP_CHROOT:
		what = s->chroot;
		break;
	case STEP_DIRECTORY:
		what = s->run.directory;
		break;
	case STEP_GROUPS:
	case STEP_USER:
		what = s->user;
		break;
	case STEP_GROUP:
		what = s->group;
		break;
	default:
		break;
	}
	c->unit->failed++;
	if (!flood_allows(c->unit, FLOOD_FAILURES))
		return;
	if (what != NULL)
		unit_say(c->unit, LEVEL_ERR, "error", "%s \"%s\": %s", step_text(step), what,
		    strerror((int)(failed & 0xffff)));
	else
		unit_say(c->unit, LEVEL_ERR, "error", "%s: %s", step_text(step),
		    strerror((int)(failed & 0xffff)));
}

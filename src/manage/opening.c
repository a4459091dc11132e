#include "manage/opening.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "child/helper.h"
#include "net/host.h"
#include "serve/away.h"
#include "serve/listener.h"

enum {
	AGAIN_LEAST = 1000, AGAIN_MOST = 60000,	/* ms until an address is tried again */
	ASKS = 60,		/* seconds that a resolver may take */
};

struct opening {		/* an address that could not be bound yet */
	struct opening *next;
	struct openings *all;
	struct unit *unit;
	struct address address;	/* owned */
	struct timer timer;
	int64_t delay;
	int fd;			/* of the process that asks for its host; -1: none does */
	uint32_t watch;
	char text[400];		/* why: "tcp:*:80: cannot bind: Address already in use" */
};

struct openings {
	struct engine *engine;
	struct rpc *rpc;
	struct opening *first;	/* owned */
	bool begun;
};

struct openings *
openings_new(struct engine *e, struct rpc *rpc)
{
	struct openings *o = calloc(1, sizeof *o);

	if (o != NULL)
		*o = (struct openings){ .engine = e, .rpc = rpc };
	return o;
}

void
openings_begun(struct openings *o)
{
	o->begun = true;
}

/* One ADDRESS: its sockets become listeners of u. */
static int
open_address(struct openings *o, struct unit *u, const struct address *a, bool beside, struct err *err)
{
	struct sock_options how = u->conf->sock;
	struct bound bound[SOCK_MAX];
	struct listener *l, *opened[SOCK_MAX] = { NULL };
	size_t n;

	how.beside = beside;
	if (a->where.scheme == SCHEME_FD && o->begun)
		return err_set(err, "%s: what is inherited can only be taken at the start", a->text);
	if (sock_listen(&a->where, a->host, &how, bound, &n, err) == -1) {
		if (a->where.scheme == SCHEME_FD) {
			struct err was = *err;

			return err_set(err, "%s: %s", a->text, was.text);
		}
		return -1;
	}
	for (size_t i = 0; i < n; i++) {
		if ((l = listener_open(u, &bound[i])) != NULL) {
			l->from = where_hash(&a->where);
			opened[i] = l;
			if (beside)
				sock_share(&l->bound, false);
			continue;
		}
		(void)err_sys(err, errno, "%s: cannot listen", bound[i].name);
		/* All of it or nothing: what were left would be in its own way the next time. */
		for (size_t k = 0; k < n; k++) {
			if (k < i)
				listener_close(opened[k]);
			else
				sock_close(&bound[k]);
		}
		return -1;
	}
	return 0;
}

void
opening_say(const struct listener *l)
{
	unit_say(l->unit, LEVEL_INFO, "listen", "%s", l->bound.name);
}

int
opening_try(struct openings *o, struct unit *u, const struct address *a, bool beside, struct err *err)
{
	const struct listener *had = NULL;

	for (const struct listener *l = u->listeners; l != NULL; l = l->next)
		had = l;
	if (open_address(o, u, a, beside, err) == -1)
		return -1;
	for (const struct listener *l = had != NULL ? had->next : u->listeners; l != NULL; l = l->next)
		opening_say(l);
	return 0;
}

static void
say_waits(struct unit *u, const struct address *a, const char *why)
{
	unit_say(u, LEVEL_WARNING, "error", "%s%s", why, a->where.scheme != SCHEME_FD ? "; it is tried again" : "");
}

/* --- again */

static void
drop(struct opening *p)
{
	struct loop *loop = p->all->engine->loop;
	struct opening **at = &p->all->first;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	loop_close(loop, p->watch, p->fd);
	loop_timer_stop(loop, &p->timer);
	loop_timer_leave(loop);
	address_free(&p->address);
	free(p);
}

static void
open_now(struct opening *p)
{
	struct err err;

	if (opening_try(p->all, p->unit, &p->address, false, &err) == 0) {
		rpc_register(p->all->rpc);
		drop(p);
		return;
	}
	if (strcmp(err.text, p->text) != 0)
		say_waits(p->unit, &p->address, err.text);
	memcpy(p->text, err.text, sizeof p->text);
	p->delay = p->delay * 2 > AGAIN_MOST ? AGAIN_MOST : p->delay * 2;
	loop_timer(p->all->engine->loop, &p->timer, clock_ms() + p->delay);
}

static void
answered(void *arg, uint32_t events)
{
	struct opening *p = arg;
	struct host h;
	ssize_t n = recv(p->fd, &h, sizeof h, 0);

	(void)events;
	if (n == -1 && errno == EAGAIN)
		return;
	loop_close(p->all->engine->loop, p->watch, p->fd);
	p->watch = 0;
	p->fd = -1;
	if (n != (ssize_t)sizeof h)	/* it was ended; what is known stays */
		;
	else if (p->address.host != NULL || (p->address.host = malloc(sizeof h)) != NULL)
		*p->address.host = h;
	open_now(p);
}

static void
ask(int fd, void *arg)
{
	const struct opening *p = arg;
	struct host h;

	(void)alarm(ASKS);
	host_ask(&p->address.where, &h);
	(void)send(fd, &h, sizeof h, MSG_NOSIGNAL);
}

/* The master never waits for a resolver: a process of its own asks. -1: errno. */
static int
start_asking(struct opening *p)
{
	int fds[2], why;

	/* In packets, with an end: the process may die without a word. */
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == -1)
		return -1;
	p->fd = fds[0];
	if (fcntl(p->fd, F_SETFL, O_NONBLOCK) == 0 && helper_start(fds[1], false, ask, p) != -1)
		p->watch = loop_watch(p->all->engine->loop, p->fd, EPOLLIN, answered, p);
	why = errno;
	(void)close(fds[1]);
	if (p->watch != 0)
		return 0;
	(void)close(p->fd);
	p->fd = -1;
	errno = why;
	return -1;
}

static void
again(void *arg, int64_t now)
{
	struct opening *p = arg;

	(void)now;
	if (p->fd != -1)
		return;		/* it is being asked */
	if (!host_is_name(&p->address.where) || start_asking(p) == -1)
		open_now(p);
}

int
opening_wait(struct openings *o, struct unit *u, struct address *a, const struct err *why)
{
	struct opening *p = calloc(1, sizeof *p);

	say_waits(u, a, why->text);
	if (p == NULL || loop_timer_room(o->engine->loop) == -1) {
		unit_say(u, LEVEL_ERR, "error", "%s: it is not tried again: no memory", why->text);
		free(p);
		return -1;
	}
	*p = (struct opening){ .next = o->first, .all = o, .unit = u, .address = *a, .fd = -1,
		.delay = AGAIN_LEAST, .timer = { .fire = again, .arg = p } };
	memcpy(p->text, why->text, sizeof p->text);
	*a = (struct address){ 0 };
	o->first = p;
	if (p->address.where.scheme != SCHEME_FD)
		loop_timer(o->engine->loop, &p->timer, clock_ms() + p->delay);
	return 0;
}

void
openings_hurry(struct openings *o)
{
	for (struct opening *p = o->first; p != NULL; p = p->next) {
		p->delay = AGAIN_LEAST;
		if (p->timer.place != 0)
			loop_timer(o->engine->loop, &p->timer, clock_ms());
	}
}

void
openings_drop(struct openings *o, const struct unit *u)
{
	for (struct opening *p = o->first, *next; p != NULL; p = next) {
		next = p->next;
		if (u == NULL || p->unit == u)
			drop(p);
	}
}

void
openings_free(struct openings *o)
{
	if (o == NULL)
		return;
	openings_drop(o, NULL);
	free(o);
}

/* --- what waits */

void
openings_say(const struct openings *o)
{
	for (const struct opening *p = o->first; p != NULL; p = p->next)
		say_waits(p->unit, &p->address, p->text);
}

void
openings_each(const struct openings *o, void (*tell)(void *arg, const struct unit *u, const char *why), void *arg)
{
	for (const struct opening *p = o->first; p != NULL; p = p->next)
		tell(arg, p->unit, p->text);
}

const char *
openings_why(const struct openings *o, const struct unit *u)
{
	for (const struct opening *p = o->first; p != NULL; p = p->next)
		if (u == NULL || p->unit == u)
			return p->text;
	return NULL;
}

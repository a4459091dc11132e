#include "serve/place.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

static struct loop *loop;
static void (*when_known)(struct place *);
static struct place **places;	/* by their number, from 1 */
static uint32_t nplaces;

void
place_begin(struct loop *l, void (*known)(struct place *))
{
	loop = l;
	when_known = known;
}

struct place *
place_hold(struct place *p)
{
	p->refs++;
	return p;
}

void
place_leave(struct place *p)
{
	if (p == NULL || --p->refs > 0)
		return;
	loop_close(loop, p->watch, p->fd);
	if (p->pid > 0) {
		(void)kill(p->pid, SIGKILL);
		(void)waitpid(p->pid, NULL, 0);
	}
	free(p->to);
	free(p);
}

static void
become_known(struct place *p)
{
	p->known = true;
	p->tried = loop_now(loop);
	when_known(place_hold(p));	/* who waits last may be the last that has it */
	place_leave(p);
}

/* The addresses, as they were found. */
static void
keep(struct place *p, const struct addr *to, size_t n)
{
	struct addr *copy = n > 0 ? malloc(n * sizeof *copy) : NULL;

	free(p->to);
	p->to = copy;
	p->n = copy != NULL ? n : 0;
	if (copy != NULL)
		memcpy(copy, to, n * sizeof *copy);
}

static void
resolved(void *arg, uint32_t events)
{
	struct place *p = arg;
	struct addr to[ADDRESSES];
	ssize_t n = read(p->fd, to, sizeof to);

	(void)events;
	if (n == -1 && errno == EAGAIN)
		return;
	/* Of one that was known before nothing is forgotten because nobody answers now. */
	if (n > 0 || p->n == 0)
		keep(p, to, n > 0 ? (size_t)n / sizeof to[0] : 0);
	loop_close(loop, p->watch, p->fd);
	p->watch = 0;
	p->fd = -1;
	(void)waitpid(p->pid, NULL, 0);
	p->pid = 0;
	become_known(p);
}

void
place_resolve(struct place *p)
{
	struct addrinfo hints = { .ai_family = p->is.family, .ai_socktype = SOCK_STREAM }, *list, *i;
	struct addr to[ADDRESSES];
	char port[16];
	int fds[2];
	size_t n = 0;

	/* In packets, with an end: the process may die without a word. */
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == -1) {
		become_known(p);
		return;
	}
	p->pid = fork();
	if (p->pid == 0) {
		fd_close_from(3, &fds[1], 1);	/* a connection must not live on in here */
		memset(to, 0, sizeof to);
		(void)snprintf(port, sizeof port, "%u", p->is.port);
		if (getaddrinfo(p->is.host[0] != '\0' ? p->is.host : "localhost", port, &hints, &list) == 0)
			for (i = list; i != NULL && n < ADDRESSES; i = i->ai_next)
				if (i->ai_addrlen <= sizeof to[0].in6) {
					to[n].len = i->ai_addrlen;
					memcpy(&to[n++].sa, i->ai_addr, i->ai_addrlen);
				}
		(void)send(fds[1], to, n * sizeof to[0], MSG_NOSIGNAL);
		_exit(0);
	}
	(void)close(fds[1]);
	p->fd = fds[0];
	(void)fcntl(p->fd, F_SETFL, O_NONBLOCK);
	if (p->pid > 0)
		p->watch = loop_watch(loop, p->fd, EPOLLIN, resolved, p);
	if (p->watch == 0) {
		(void)close(p->fd);
		p->fd = -1;
		become_known(p);
	}
}

struct place *
place_find(uint32_t id)
{
	return id > 0 && id <= nplaces ? places[id - 1] : NULL;
}

/* The one address that needs no asking. False: it is a name. */
static bool
plain_address(const struct target *t, struct addr *a)
{
	size_t len = strnlen(t->host, sizeof a->un.sun_path - 1);
	char host[WHERE_HOST], *scope;
	struct ip ip;

	memset(a, 0, sizeof *a);
	if (t->scheme == SCHEME_UNIX) {
		a->un.sun_family = AF_UNIX;
		memcpy(a->un.sun_path, t->host, len);
		a->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
		if (t->host[0] == '@') {
			a->un.sun_path[0] = '\0';
			a->len--;
		}
		return true;
	}
	if (t->scheme == SCHEME_VSOCK) {
		a->len = sizeof a->vm;
		a->vm.svm_family = AF_VSOCK;
		a->vm.svm_cid = t->cid;
		a->vm.svm_port = t->port;
		return true;
	}
	memcpy(host, t->host, sizeof host);
	if ((scope = strchr(host, '%')) != NULL)
		*scope++ = '\0';
	if (!ip_parse(host, &ip))
		return false;
	if (ip_is_v4(&ip)) {
		a->len = sizeof a->in;
		a->in.sin_family = AF_INET;
		a->in.sin_port = htons((uint16_t)t->port);
		memcpy(&a->in.sin_addr, ip.b + 12, 4);
	} else {
		a->len = sizeof a->in6;
		a->in6.sin6_family = AF_INET6;
		a->in6.sin6_port = htons((uint16_t)t->port);
		memcpy(&a->in6.sin6_addr, ip.b, 16);
		a->in6.sin6_scope_id = scope != NULL ? (uint32_t)strtoul(scope, NULL, 10) : 0;
	}
	return true;
}

static bool
same(const struct target *a, const struct target *b)
{
	return a->scheme == b->scheme && a->type == b->type && a->family == b->family && a->port == b->port &&
	    a->cid == b->cid && strncmp(a->host, b->host, sizeof a->host) == 0;
}

void
place_take(const struct target *t)
{
	struct place *p = place_find(t->id), **more;
	struct addr a;

	/* Told again: its name is asked for again, beside those who come meanwhile. */
	if (p != NULL && same(&p->is, t) && p->known) {
		if (p->pid == 0 && !plain_address(t, &a))
			place_resolve(p);
		return;
	}
	p = t->id > 0 ? calloc(1, sizeof *p) : NULL;
	if (p == NULL)
		return;
	while (t->id > nplaces) {
		more = realloc(places, (t->id + nplaces) * sizeof(struct place *));
		if (more == NULL) {
			free(p);
			return;
		}
		memset(more + nplaces, 0, t->id * sizeof(struct place *));
		places = more;
		nplaces += t->id;
	}
	place_leave(places[t->id - 1]);
	places[t->id - 1] = p;
	p->is = *t;
	p->fd = -1;
	p->refs = 1;
	p->known = plain_address(t, &a);
	if (p->known)
		keep(p, &a, 1);
	else
		place_resolve(p);
}

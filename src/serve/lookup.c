#include "serve/lookup.h"

#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WAIT = 2000 };		/* ms for all of it */

/* What others say of themselves goes into an environment: letters, digits and those few signs. */
static bool
made_of(const char *text, const char *signs)
{
	for (; *text != '\0'; text++)
		if (!(*text >= 'a' && *text <= 'z') && !(*text >= 'A' && *text <= 'Z') &&
		    !(*text >= '0' && *text <= '9') && strchr(signs, *text) == NULL)
			return false;
	return true;
}

/* A host's name as DNS has it, and nothing else. */
static bool
sane(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n <= NAME_MOST && made_of(name, "-._");
}

/* That there is no such name has been said, by somebody who knows. */
static bool
is_settled(int why)
{
#ifdef EAI_NODATA
	if (why == EAI_NODATA)
		return true;
#endif
	return why == EAI_NONAME;
}

/*
 * The address's name, if that name leads back to the address; *settled: that there is none is an answer,
 * not the lack of one.
 */
static bool
find_name(const struct peer *p, char *name, bool *settled)
{
	struct addr a = { .len = sizeof a.in6, .in6 = { .sin6_family = AF_INET6 } };
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list, *i;
	bool found = false;
	int why;

	if (ip_is_v4(&p->ip)) {
		a.len = sizeof a.in;
		a.in = (struct sockaddr_in){ .sin_family = AF_INET };
		memcpy(&a.in.sin_addr, p->ip.b + 12, 4);
	} else {
		memcpy(&a.in6.sin6_addr, p->ip.b, 16);
		a.in6.sin6_scope_id = p->scope;
	}
	why = getnameinfo(&a.sa, a.len, name, NAME_MOST + 1, NULL, 0, NI_NAMEREQD);
	*settled = why == 0 || is_settled(why);
	if (why != 0 || !sane(name))
		return false;
	why = getaddrinfo(name, NULL, &hints, &list);
	*settled = why == 0 || is_settled(why);
	if (why != 0)
		return false;
	for (i = list; i != NULL && !found; i = i->ai_next) {
		struct addr b = { .len = i->ai_addrlen };
		struct ip ip;
		uint32_t scope, port;

		if (i->ai_addrlen > sizeof b.in6)
			continue;
		memcpy(&b.sa, i->ai_addr, i->ai_addrlen);
		found = addr_ip(&b, &ip, &scope, &port) && ip_match(&ip, &p->ip, 128);
	}
	freeaddrinfo(list);
	return found;
}

/*
 * A process of its own asks: however long the resolver takes, it is ended after WAIT. False: nobody could
 * tell. "": there is none that is confirmed.
 */
static bool
ask(const struct peer *p, char *name)
{
	struct pollfd ready;
	ssize_t n = 0;
	int pipes[2];
	pid_t pid;

	name[0] = '\0';
	if (p->kind != PEER_IP || pipe(pipes) == -1)
		return false;
	pid = fork();
	if (pid == 0) {
		char found[NAME_MOST + 1];
		bool settled = false;

		if (find_name(p, found, &settled))
			(void)!write(pipes[1], found, strlen(found));
		else if (settled)
			(void)!write(pipes[1], "", 1);
		_exit(0);
	}
	(void)close(pipes[1]);
	ready = (struct pollfd){ .fd = pipes[0], .events = POLLIN };
	if (pid > 0 && poll(&ready, 1, WAIT) == 1)
		n = read(pipes[0], name, NAME_MOST);
	name[n > 0 ? n : 0] = '\0';
	(void)close(pipes[0]);
	if (pid > 0) {
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
	}
	return n > 0;
}

bool
lookup_before(void *arg, struct facts *f)
{
	struct lookup *l = arg;
	const struct service *s = f->service;
	struct told t = { .allowed = true };
	const struct rule *why;

	if (l->name_too)
		l->unknown = !ask(f->peer, l->name);
	if (l->name[0] != '\0' && s->lookup)
		f->host = l->name;
	if (l->ident && ident_ask(f->peer, f->local, l->user))
		f->info = made_of(strchr(l->user, ':') + 1, "-._@+ ") ? strchr(l->user, ':') + 1 : NULL;
	if (l->decide)
		t.allowed = access_allows(&s->only_from, &s->no_access, f->peer,
		    l->name[0] != '\0' ? l->name : NULL, &why) &&
		    !(l->unknown && rules_might_deny(&s->no_access, why)) &&
		    ((s->flags & FLAG_IDONLY) == 0 || l->user[0] != '\0');
	if (l->refused)
		t.allowed = false;
	if (t.allowed && l->decide && s->banner_success.len > 0)
		(void)send(l->fd, s->banner_success.text, s->banner_success.len,
		    MSG_DONTWAIT | MSG_NOSIGNAL);
	memcpy(t.name, l->name, sizeof t.name);
	memcpy(t.user, l->user, sizeof t.user);
	/* Less than PIPE_BUF: it goes in whole. A master that cannot be told lets nobody in. */
	if (write(l->tell, &t, sizeof t) != (ssize_t)sizeof t)
		return false;
	return t.allowed;
}

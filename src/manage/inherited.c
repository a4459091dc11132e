#include "manage/inherited.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/num.h"
#include "base/say.h"
#include "base/state.h"
#include "serve/engine.h"
#include "serve/listener.h"

enum { FIRST = 3 };

/* How many LISTEN_FDS promises to this very process. */
static int
inherited(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	uint64_t n;

	if (fds == NULL || !num_parse(fds, 0, INHERITED_MOST, &n) ||
	    (pid != NULL && (strtol(pid, NULL, 10) != (long)getpid())))
		return 0;
	return (int)n;
}

/* The descriptor that LISTEN_FDNAMES calls so; -1: none. */
static int
inherited_name(const char *name, int count)
{
	const char *p = getenv("LISTEN_FDNAMES");

	for (int i = 0; p != NULL && i < count; i++) {
		size_t n = strcspn(p, ":");

		if (strlen(name) == n && strncmp(p, name, n) == 0)
			return FIRST + i;
		p = p[n] == ':' ? p + n + 1 : NULL;
	}
	return -1;
}

/* The socket that fd:N or fd:NAME leads to. -1: err: to none. */
static int
lead(const struct address *a, struct err *err)
{
	int fd = a->where.named ? inherited_name(a->where.host, inherited()) : (int)a->where.port;
	struct stat st;

	if (fd == -1)
		return err_set(err, "%s: no descriptor of that name in LISTEN_FDNAMES", a->text);
	if (fstat(fd, &st) == -1)
		return err_set(err, "%s: descriptor %d is not open", a->text, fd);
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, "%s: descriptor %d is not a socket", a->text, fd);
	return fd;
}

int
inherited_look(void *unused, struct address *a, struct err *err)
{
	int fd = lead(a, err);
	socklen_t type = sizeof a->found.type, family = sizeof a->found.family;

	(void)unused;
	if (fd == -1)
		return -1;
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &a->found.type, &type) == -1 ||
	    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &a->found.family, &family) == -1)
		return err_sys(err, errno, "%s: descriptor %d", a->text, fd);
	return 0;
}

int
inherited_taken(void *engine, struct address *a, struct err *err)
{
	const uint64_t from = where_hash(&a->where);

	(void)err;
	for (const struct unit *u = ((const struct engine *)engine)->units; u != NULL; u = u->next)
		for (const struct listener *l = u->listeners; l != NULL; l = l->next)
			if (l->from == from) {
				a->found.type = l->type;
				a->found.family = l->bound.addr->sa.sa_family;
				return 0;
			}
	return 0;	/* it cannot be had any more: that is told when it is to be opened */
}

void
inherited_carry(const struct engine *e, struct buf *out)
{
	for (const struct unit *u = e->units; u != NULL; u = u->next)
		for (const struct listener *l = u->listeners; l != NULL; l = l->next) {
			if (!l->bound.inherited)
				continue;
			state_begin(out, "inherited");
			state_number(out, "from", (int64_t)l->from);
			state_number(out, "type", l->type);
			state_number(out, "family", l->bound.addr->sa.sa_family);
			state_end(out);
		}
}

int
inherited_claim(struct address *listen, size_t n, struct kept *keep, struct err *err)
{
	for (size_t i = 0; i < n; i++) {
		int fd;

		if (listen[i].where.scheme != SCHEME_FD)
			continue;
		if ((fd = lead(&listen[i], err)) == -1)
			return -1;
		if (keep->n == INHERITED_MOST)
			return err_set(err, "%s: too many descriptors", listen[i].text);
		listen[i].where.port = (unsigned)fd;
		keep->fd[keep->n++] = fd;
	}
	return 0;
}

void
inherited_say_unclaimed(const struct kept *keep)
{
	int count = inherited();

	for (int fd = FIRST; fd < FIRST + count; fd++) {
		size_t k = 0;

		while (k < keep->n && keep->fd[k] != fd)
			k++;
		if (k == keep->n)
			say("warning: nobody claims the inherited descriptor %d; listen+=fd:%d would", fd, fd);
	}
}

void
inherited_let_go(int fd)
{
	int null = fd <= 2 ? open("/dev/null", O_RDWR | O_CLOEXEC) : -1;

	if (null != -1) {
		(void)dup2(null, fd);
		(void)close(null);
	} else {
		(void)close(fd);
	}
}

#include "manage/inherited.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/num.h"
#include "base/say.h"

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


int
inherited_claim(struct address *listen, size_t n, struct kept *keep, struct err *err)
{
	int count = inherited();
	struct stat st;

	for (size_t i = 0; i < n; i++) {
		struct where *w = &listen[i].where;

		if (w->scheme != SCHEME_FD)
			continue;
		if (w->named) {
			int fd = inherited_name(w->host, count);

			if (fd == -1)
				return err_set(err, "%s: no descriptor of that name in LISTEN_FDNAMES",
				    listen[i].text);
			w->port = (unsigned)fd;
		}
		if (fstat((int)w->port, &st) == -1)
			return err_set(err, "%s: descriptor %u is not open", listen[i].text, w->port);
		if (!S_ISSOCK(st.st_mode))
			return err_set(err, "%s: descriptor %u is not a socket", listen[i].text, w->port);
		if (keep->n == INHERITED_MOST)
			return err_set(err, "%s: too many descriptors", listen[i].text);
		keep->fd[keep->n++] = (int)w->port;
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

#include "serve/errlog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	LINE = 1000,		/* bytes of one line; what is longer is cut */
	ROUND = 16,		/* reads in one turn */
};

struct errlog {
	struct errlog *prev, *next;	/* of the engine's */
	struct unit *unit;	/* one of its uses */
	int fd;
	uint32_t watch;
	pid_t pid;
	uint64_t conn;
	bool left;		/* its connection has gone on without it */
	bool cut;		/* the rest of this line is dropped */
	bool over;		/* end of file has been seen */
	size_t len;
	char line[LINE];
};

static void
put_line(struct errlog *e)
{
	struct log_style style = unit_style(e->unit);
	size_t n = e->len;

	if (n > 0 && e->line[n - 1] == '\r')
		n--;
	if (flood_allows(e->unit, FLOOD_STDERR))
		log_event(&(struct event){ .level = LEVEL_NOTICE, .name = "stderr",
		    .service = e->unit->conf->id, .fields = LOG_PID | LOG_CONN * style.json,
		    .pid = e->pid, .conn = e->conn, .message = n > 0 ? e->line : "", .message_len = n },
		    &style);
	e->len = 0;
}

static void
take(struct errlog *e, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\n') {
			if (!e->cut)
				put_line(e);
			e->cut = false;
		} else if (!e->cut) {
			e->line[e->len++] = p[i];
			if (e->len == LINE) {
				put_line(e);
				e->cut = true;
			}
		}
	}
}

static void
end(struct errlog *e)
{
	loop_close(e->unit->engine->loop, e->watch, e->fd);
	e->watch = 0;
	e->fd = -1;
	e->over = true;
	if (e->len > 0)
		put_line(e);
}

void
errlog_drain(struct errlog *e)
{
	char buf[4096];

	for (int i = 0; i < ROUND && e->fd != -1; i++) {
		ssize_t n = read(e->fd, buf, sizeof buf);

		if (n > 0)
			take(e, buf, (size_t)n);
		else if (n == 0 || (errno != EAGAIN && errno != EINTR))
			end(e);
		else
			break;
	}
}

static void
leave(struct errlog *e)
{
	*(e->prev != NULL ? &e->prev->next : &e->unit->engine->errlogs) = e->next;
	if (e->next != NULL)
		e->next->prev = e->prev;
	unit_leave(e->unit);
	free(e);
}

static void
ready(void *arg, uint32_t events)
{
	struct errlog *e = arg;

	(void)events;
	errlog_drain(e);
	if (e->over && e->left)
		leave(e);
}

/* Reads from fd, which is taken unless there is no memory: NULL, errno. */
static struct errlog *
errlog_new(struct unit *u, uint64_t conn, int fd)
{
	struct errlog *e = calloc(1, sizeof *e);

	if (e == NULL)
		return NULL;
	e->unit = u;
	e->conn = conn;
	e->fd = fd;
	e->watch = loop_watch(u->engine->loop, fd, EPOLLIN, ready, e);
	if (e->watch == 0) {
		int why = errno;

		free(e);
		errno = why;
		return NULL;
	}
	e->next = u->engine->errlogs;
	if (e->next != NULL)
		e->next->prev = e;
	u->engine->errlogs = e;
	u->uses++;
	return e;
}

struct errlog *
errlog_open(struct unit *u, uint64_t conn, int *child_end)
{
	struct errlog *e;
	int p[2];

	if (pipe2(p, O_CLOEXEC) == -1)
		return NULL;
	(void)fcntl(p[0], F_SETFL, O_NONBLOCK);
	e = errlog_new(u, conn, p[0]);
	if (e == NULL) {
		int why = errno;

		(void)close(p[0]);
		(void)close(p[1]);
		errno = why;
		return NULL;
	}
	*child_end = p[1];
	return e;
}

const struct errlog *
errlog_next(const struct engine *e, const struct errlog *l, struct carried_errlog *out)
{
	l = l == NULL ? e->errlogs : l->next;
	if (l != NULL)
		*out = (struct carried_errlog){ l->unit, l->fd, l->pid, l->conn, l->line, l->len, l->cut };
	return l;
}

struct errlog *
errlog_resume(struct unit *u, const struct carried_errlog *had)
{
	struct errlog *e = errlog_new(u, had->conn, had->fd);

	if (e == NULL)
		return NULL;
	e->pid = had->pid;
	e->cut = had->cut;
	e->len = had->len < LINE ? had->len : 0;
	memcpy(e->line, had->line, e->len);
	return e;
}

void
errlog_pid(struct errlog *e, pid_t pid)
{
	e->pid = pid;
}

void
errlogs_free(struct engine *e)
{
	for (struct errlog *l = e->errlogs, *next; l != NULL; l = next) {
		next = l->next;
		loop_close(e->loop, l->watch, l->fd);
		leave(l);
	}
}

void
errlog_leave(struct errlog *e)
{
	if (e->over)
		leave(e);
	else
		e->left = true;
}

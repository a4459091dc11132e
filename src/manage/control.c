#include "manage/control_parts.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

enum {
	ASKERS = 64,		/* at once; who comes then waits in the kernel's queue */
	PATIENCE = 5 * SECOND,	/* for a request to come whole */
	REST = SECOND,		/* where the system has no descriptor for one more: then it is tried again */
};

static void acceptable(void *arg, uint32_t events);

static void
let_in(struct control *c)
{
	if (c->watch != 0 || c->bound.fd == -1 || c->rest.place != 0)
		return;
	c->watch = loop_watch(c->loop, c->bound.fd, EPOLLIN, acceptable, c);
	if (c->watch == 0)
		loop_timer(c->loop, &c->rest, loop_now(c->loop) + REST);
}

static void
let_nobody_in(struct control *c)
{
	loop_unwatch(c->loop, c->watch);
	c->watch = 0;
}

static void
rested(void *arg, int64_t now)
{
	(void)now;
	let_in(arg);
}

/* --- one that asks */

void
asker_free(struct asker *a)
{
	struct control *c = a->control;
	struct asker **at = &c->first;

	while (*at != a)
		at = &(*at)->next;
	*at = a->next;
	if (c->newest == a)
		c->newest = NULL;
	if (a->state == ASKER_ANSWERED)
		c->answering--;
	c->n--;
	loop_timer_stop(c->loop, &a->timer);
	loop_timer_leave(c->loop);
	loop_close(c->loop, a->watch, a->fd);
	buf_free(&a->text);
	free(a);
	let_in(c);
}

/* Is the line whole, and text? 1; 0: not whole yet; -1: it is no request. */
static int
look_at_line(struct asker *a)
{
	char *end = memchr(a->line, '\n', a->len);

	for (size_t i = 0; i < a->len && a->line + i != end; i++)
		if (!isprint((unsigned char)a->line[i]))
			return -1;
	if (end == NULL)
		return a->len == CONTROL_LINE ? -1 : 0;
	*end = '\0';
	return 1;
}

static void
asked(void *arg, uint32_t events)
{
	struct asker *a = arg;
	ssize_t n;

	if (a->state != ASKER_READS) {
		if ((events & (EPOLLHUP | EPOLLERR)) != 0)
			asker_free(a);
		return;
	}
	n = recv(a->fd, a->line + a->len, CONTROL_LINE - a->len, MSG_DONTWAIT);
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {		/* it is gone */
		asker_free(a);
		return;
	}
	a->len += (size_t)n;
	switch (look_at_line(a)) {
	case 1:
		asker_act(a);
		break;
	case -1:
		asker_reply(a, 2, 'e', "a request is one line of at most %d printing characters", (int)CONTROL_LINE - 1);
		break;
	}
}

static void
impatient(void *arg, int64_t now)
{
	struct asker *a = arg;

	(void)now;
	asker_reply(a, 2, 'e', "no request came");
}

static bool
may_ask(int fd)
{
	struct ucred who;
	socklen_t len = sizeof who;

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 && (who.uid == 0 || who.uid == geteuid());
}

static void
take(struct control *c, int fd)
{
	struct asker *a = calloc(1, sizeof *a), **last = &c->first;

	if (a == NULL || loop_timer_room(c->loop) == -1) {
		free(a);
		(void)close(fd);
		return;
	}
	while (*last != NULL)
		last = &(*last)->next;
	*last = c->newest = a;
	c->n++;
	a->control = c;
	a->fd = fd;
	a->timer.fire = impatient;
	a->timer.arg = a;
	if (!may_ask(fd)) {
		asker_reply(a, 1, 'e', "only root and the server's own user may talk to it");
		return;
	}
	a->watch = loop_watch(c->loop, fd, EPOLLIN, asked, a);
	if (a->watch == 0)
		asker_free(a);
	else
		loop_timer(c->loop, &a->timer, loop_now(c->loop) + PATIENCE);
}

static void
acceptable(void *arg, uint32_t events)
{
	struct control *c = arg;
	int fd = 0;

	(void)events;
	while (c->n < ASKERS && (fd = accept4(c->bound.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) != -1)
		take(c, fd);
	if (c->n >= ASKERS)
		let_nobody_in(c);
	if (fd == -1 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
		let_nobody_in(c);
		loop_timer(c->loop, &c->rest, loop_now(c->loop) + REST);
	}
}

/* --- the whole */

void
control_reloaded(struct control *c, uint64_t number, const struct plan *p, const char *why, const char *summary,
    bool whole)
{
	for (struct asker *a = c != NULL ? c->first : NULL, *next; a != NULL; a = next) {
		next = a->next;
		if (a->state != ASKER_RELOADS || a->number > number)
			continue;
		if (p != NULL)
			answer_lines(&a->text, 'd', p->shown, strlen(p->shown));
		if (why != NULL)
			answer_failure(&a->text, a->switches && reload_refused(server_reload(c->server)) == NULL ?
			    "it is noted for the next reload that is taken; this one is not: " :
			    "nothing is changed: ", why);
		else
			answer_lines(&a->text, 'o', summary, strlen(summary));
		answer_end(&a->text, why != NULL || !whole || (p != NULL && p->errors > 0));
		asker_say(a);
	}
}

void
control_upgraded(struct control *c, const char *why, const char *said)
{
	for (struct asker *a = c != NULL ? c->first : NULL, *next; a != NULL; a = next) {
		next = a->next;
		if (a->state != ASKER_UPGRADES)
			continue;
		answer_lines(&a->text, 'd', said, strlen(said));
		if (why != NULL)
			asker_reply(a, 1, 'e', "%s; the program that runs goes on", why);
		else
			asker_reply(a, 0, 'o', "version %s goes on", VERSION);
	}
}

bool
control_queues(const struct control *c)
{
	for (const struct asker *a = c != NULL ? c->first : NULL; a != NULL; a = a->next)
		if (a->state == ASKER_QUEUED)
			return true;
	return false;
}

static void
carry_fd(struct buf *out, struct buf *fds, int fd)
{
	state_number(out, "fd", fd);
	buf_add(fds, &fd, sizeof fd);
}

void
control_carry(const struct control *c, struct buf *out, struct buf *fds)
{
	if (c == NULL)
		return;
	state_begin(out, "control");
	carry_fd(out, fds, c->bound.fd);
	state_text(out, "name", c->bound.name);
	state_number(out, "dev", (int64_t)c->bound.dev);
	state_number(out, "ino", (int64_t)c->bound.ino);
	state_end(out);
	for (const struct asker *a = c->first; a != NULL; a = a->next) {
		if (a->state != ASKER_UPGRADES && a->state != ASKER_READS && a->state != ASKER_RELOADS)
			continue;
		state_begin(out, "asker");
		carry_fd(out, fds, a->fd);
		state_number(out, "upgrades", a->state == ASKER_UPGRADES);
		state_number(out, "reloads", a->state == ASKER_RELOADS);
		state_bytes(out, "line", a->line, a->state == ASKER_READS ? a->len : 0);
		state_end(out);
	}
}

/* One that listens nowhere yet. NULL: no memory. */
static struct control *
control_new(struct server *s)
{
	struct control *c = calloc(1, sizeof *c);
	struct loop *l = server_engine(s)->loop;

	if (c == NULL || loop_timer_room(l) == -1) {
		free(c);
		return NULL;
	}
	*c = (struct control){ .server = s, .loop = l, .bound = { .fd = -1 }, .rest = { .fire = rested, .arg = c } };
	return c;
}

/* Where it cannot go on with the socket, a new one takes its place. NULL: neither. */
static struct control *
resume_socket(struct server *s, const struct fact *f, int fd)
{
	const char *name = state_get_text(f, "name"), *path = name != NULL ? strchr(name, ':') : NULL;
	struct control *c = control_new(s);
	struct err err;

	if (c != NULL && name != NULL && sock_resume(fd, name, false, (dev_t)state_get(f, "dev", 0), (ino_t)state_get(f, "ino", 0),
	    &c->bound, &err) == 0) {
		c->watch = loop_watch(c->loop, fd, EPOLLIN, acceptable, c);
		if (c->watch != 0)
			return c;
		c->bound.ino = 0;	/* the path is the next one's */
	} else {
		if (c != NULL)
			c->bound.fd = -1;
		(void)close(fd);
	}
	control_free(c);
	return path != NULL ? control_open(s, path + 1, &err) : NULL;
}

static void
resume_asker(struct control *c, const struct fact *f, int fd)
{
	const char *line = state_get_text(f, "line");

	take(c, fd);
	if (c->newest == NULL || c->newest->fd != fd)
		return;
	if (state_get(f, "upgrades", 0) != 0 || state_get(f, "reloads", 0) != 0) {
		loop_timer_stop(c->loop, &c->newest->timer);
		c->newest->state = state_get(f, "upgrades", 0) != 0 ? ASKER_UPGRADES : ASKER_RELOADS;
		c->newest->number = reload_number(server_reload(c->server)) + 1;
		(void)loop_change(c->loop, c->newest->watch, 0);
	} else if (line != NULL && strlen(line) / 2 < CONTROL_LINE &&
	    state_get_bytes(f, "line", c->newest->line, strlen(line) / 2)) {
		c->newest->len = strlen(line) / 2;
	}
}

bool
control_resume(struct control **at, struct server *s, const struct fact *f)
{
	int fd = (int)state_get(f, "fd", -1);

	if (fd < 3)
		return false;
	if (strcmp(f->kind, "control") == 0)
		*at = resume_socket(s, f, fd);
	else if (*at != NULL)
		resume_asker(*at, f, fd);
	else
		(void)close(fd);
	return *at != NULL;
}

bool
control_default(char path[CONTROL_PATH])
{
	const char *dir = geteuid() == 0 ? "/run" : getenv("XDG_RUNTIME_DIR");

	return dir != NULL && dir[0] == '/' && snprintf(path, CONTROL_PATH, "%s/server.sock", dir) < CONTROL_PATH;
}

struct control *
control_open(struct server *s, const char *path, struct err *err)
{
	const struct sock_options how = { .set_mode = true, .mode = 0600 };
	struct control *c = control_new(s);
	struct where w = { .scheme = SCHEME_UNIX, .type = SOCK_STREAM, .family = AF_UNIX, .host = (char *)(uintptr_t)path };
	size_t n;

	if (c == NULL) {
		(void)err_sys(err, ENOMEM, "%s", path);
		return NULL;
	}
	if (path[0] == '\0' || path[0] == '@')
		(void)err_set(err, "-C \"%s\": the path of a socket is wanted, such as /run/server.sock", path);
	else if (strlen(path) >= CONTROL_PATH)
		(void)err_set(err, "%s: the path has %zu bytes; at most %d are possible", path, strlen(path),
		    (int)CONTROL_PATH - 1);
	else if (sock_listen(&w, NULL, &how, &c->bound, &n, err) == 0) {
		c->watch = loop_watch(c->loop, c->bound.fd, EPOLLIN, acceptable, c);
		if (c->watch != 0)
			return c;
		(void)err_sys(err, errno, "%s", path);
	}
	control_free(c);
	return NULL;
}

void
control_abandon(struct control *c)
{
	if (c != NULL)
		sock_remove_path(&c->bound);
}

void
control_free(struct control *c)
{
	if (c == NULL)
		return;
	let_nobody_in(c);
	loop_timer_stop(c->loop, &c->rest);
	loop_timer_leave(c->loop);
	if (c->bound.fd != -1)
		sock_close(&c->bound);
	for (struct asker *a = c->first, *next; a != NULL; a = next) {
		next = a->next;
		asker_free(a);
	}
	free(c);
}

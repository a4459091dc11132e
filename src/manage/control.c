#include "manage/control.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/num.h"
#include "base/str.h"
#include "child/helper.h"
#include "manage/status.h"
#include "net/sock.h"
#include "serve/conn.h"
#include "table/explain.h"

enum {
	ASKERS = 64,		/* at once; who comes then waits in the kernel's queue */
	ANSWERS = 8,		/* processes that answer, at once */
	PATIENCE = 5 * SECOND,	/* for a request to come whole */
	SLOW = 5,		/* s: a reader that takes nothing for so long has heard enough */
	LONGEST = 60,		/* s: of an answer */
	REST = SECOND,		/* where the system has no descriptor for one more: then it is tried again */
	WORDS = 4,
};

enum asker_state {
	ASKER_READS,		/* its request is not whole yet */
	ASKER_RELOADS,		/* it waits for a reload */
	ASKER_UPGRADES,
	ASKER_QUEUED,		/* for a process that answers */
	ASKER_ANSWERED,		/* by a process; its connection is closed here */
};

struct asker {
	struct asker *next;
	struct control *control;
	enum asker_state state;
	int fd;			/* the connection; then what tells the end of the process */
	uint32_t watch;
	struct timer timer;
	uint64_t number;	/* of the reload */
	bool switches;		/* enable or disable: it is remembered, also if that reload is refused */
	struct buf text;	/* what is to be said, if it is there already */
	char *word[WORDS + 2];	/* in line; NULL behind the last */
	size_t len;
	char line[CONTROL_LINE + 1];
};

struct control {
	struct server *server;
	struct loop *loop;
	struct bound bound;	/* owned */
	uint32_t watch;		/* 0: nobody else is let in for now */
	struct timer rest;
	struct asker *first;	/* oldest first */
	struct asker *newest;	/* the last that came, if it is there still */
	unsigned n, answering;
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

static void
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

/* Lines of text, each with the letter that says where it belongs. */
static void
add_lines(struct buf *out, char to, const char *text, size_t len)
{
	const char *end = text + len;

	while (text < end) {
		const char *eol = memchr(text, '\n', (size_t)(end - text));
		size_t n = eol != NULL ? (size_t)(eol - text) : (size_t)(end - text);

		buf_addf(out, "%c ", to);
		buf_add(out, text, n);
		buf_add(out, "\n", 1);
		text += n + (eol != NULL);
	}
}

/* What stands there may have been written by somebody: it stays one line. */
static void
add_failure(struct buf *out, const char *what, const char *why)
{
	char text[1024];

	(void)str_escape(text, sizeof text, why, strlen(why));
	buf_addf(out, "e %s%s\n", what, text);
}

static void
add_end(struct buf *out, int status)
{
	buf_addf(out, "x %d\n", status);
}

/* --- the process that answers: a picture of the master at one moment */

static void
tell_status(const struct asker *a, struct buf *out)
{
	struct status s;
	struct buf text = { 0 };
	bool json = strcmp(a->word[0], "status-json") == 0, found;

	server_status(a->control->server, &s);
	if (strcmp(a->word[0], "snapshot") == 0) {
		status_snapshot(&s, &text);
		found = true;
	} else {
		found = json ? status_json(&s, a->word[1], &text) : status_text(&s, a->word[1], &text);
	}
	if (found)
		add_lines(out, 'o', text.data, text.len);
	else
		buf_addf(out, "e there is no service %s\n", a->word[1]);
	out->failed = out->failed || text.failed;
	add_end(out, found ? 0 : 1);
	buf_free(&text);
}

static void
tell_explanation(const struct asker *a, struct buf *out)
{
	const struct config *c = server_config(a->control->server);
	const char *never = reload_refused(server_reload(a->control->server));
	struct buf text = { 0 };
	struct master m;
	struct table t;
	struct err err;
	int rc;

	if (c == NULL || never != NULL) {
		buf_addf(out, "e %s\n", c == NULL ? "one command is served: there is no table to explain" : never);
		add_end(out, 1);
		return;
	}
	m = *c->master;
	reload_overrides(server_reload(a->control->server), &m);
	table_read(&t, &m, c->file, c->nfiles, c->option, c->noptions);
	rc = table_explain(&t, a->word[1], a->word[2], a->word[3], &text, &err);
	if (rc == -1)
		add_failure(out, "", err.text);
	add_lines(out, 'o', text.data, text.len);
	add_end(out, rc == -1 ? 2 : rc);
}

static void
answer(int fd, void *arg)
{
	const struct timeval slow = { .tv_sec = SLOW };
	const struct asker *a = arg;
	bool looks = a->text.len == 0 && strcmp(a->word[0], "explain") != 0;
	struct buf out = { 0 };

	(void)setsid();		/* the master takes who ends in its own group for a burial */
	(void)alarm(LONGEST);
	if (looks)		/* at the connections themselves */
		tell_status(a, &out);
	/* Connections of clients must not live on in here while a name server or a reader is slow. */
	fd_close_from(3, (int[]){ a->fd, fd }, 2);
	if (a->text.len > 0)
		out = a->text;
	else if (!looks)
		tell_explanation(a, &out);
	(void)fcntl(a->fd, F_SETFL, 0);
	(void)setsockopt(a->fd, SOL_SOCKET, SO_SNDTIMEO, &slow, sizeof slow);
	if (!out.failed)
		(void)fd_write_all(a->fd, out.data, out.len);
}

static void answer_next(struct control *c);
static void reply(struct asker *a, int status, char to, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static void
answered(void *arg, uint32_t events)
{
	struct asker *a = arg;
	struct control *c = a->control;

	(void)events;
	asker_free(a);
	answer_next(c);
}

/* Who has no answer yet is told that there will be none. */
static void
give_up(struct asker *a, int why)
{
	if (a->text.len > 0)
		asker_free(a);
	else
		reply(a, 1, 'e', "no process to answer with: %s", strerror(why));
}

/* Has it answered by a process; later, if there are many. */
static void
answer_by_process(struct asker *a)
{
	struct control *c = a->control;
	int fds[2], why;

	loop_timer_stop(c->loop, &a->timer);
	loop_unwatch(c->loop, a->watch);
	a->watch = 0;
	a->state = ASKER_QUEUED;
	if (c->answering >= ANSWERS)
		return;
	/* Nothing is written there: its end is the process's. */
	if (pipe2(fds, O_CLOEXEC) == -1) {
		give_up(a, errno);
		return;
	}
	if (helper_start(fds[1], true, NULL, answer, a) == -1) {
		why = errno;
		(void)close(fds[0]);
		(void)close(fds[1]);
		give_up(a, why);
		return;
	}
	(void)close(fds[1]);
	(void)close(a->fd);
	a->fd = fds[0];
	a->state = ASKER_ANSWERED;
	c->answering++;
	buf_free(&a->text);
	a->watch = loop_watch(c->loop, a->fd, EPOLLIN, answered, a);
	if (a->watch == 0)
		asker_free(a);
}

static void
answer_next(struct control *c)
{
	for (struct asker *a = c->first, *next; a != NULL && c->answering < ANSWERS; a = next) {
		next = a->next;
		if (a->state == ASKER_QUEUED)
			answer_by_process(a);
	}
}

/* Says a->text, at once if it can be taken at once. */
static void
say_text(struct asker *a)
{
	ssize_t n;

	if (a->text.failed) {
		asker_free(a);
		return;
	}
	n = send(a->fd, a->text.data, a->text.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n == -1 && errno != EAGAIN)
		n = (ssize_t)a->text.len;	/* nobody is there any more */
	if (n > 0)
		buf_cut(&a->text, (size_t)n);
	if (a->text.len == 0)
		asker_free(a);
	else
		answer_by_process(a);
}

static void
reply(struct asker *a, int status, char to, const char *fmt, ...)
{
	char text[600];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	add_lines(&a->text, to, text, strlen(text));
	add_end(&a->text, status);
	say_text(a);
}

/* --- requests */

static bool
has_id(const struct unit *u, const char *id)
{
	while (u != NULL && strcmp(u->conf->id, id) != 0)
		u = u->next;
	return u != NULL;
}

static bool
is_service(const struct control *c, const char *id)
{
	size_t n;
	const struct absent *absent = services_absent(server_services(c->server), &n);

	if (has_id(server_engine(c->server)->units, id))
		return true;
	for (size_t i = 0; i < n; i++)
		if (strcmp(absent[i].id, id) == 0)
			return true;
	return false;
}

static void
ask_reload(struct asker *a)
{
	struct reload *r = server_reload(a->control->server);

	loop_timer_stop(a->control->loop, &a->timer);
	if (reload_refused(r) != NULL) {
		reply(a, 1, 'e', "%s", reload_refused(r));
		return;
	}
	if (!server_serves(a->control->server)) {
		reply(a, 1, 'e', "the server is about to end");
		return;
	}
	/* One that has shut its side still wants the answer: only its end counts now. */
	if (loop_change(a->control->loop, a->watch, 0) == -1) {
		asker_free(a);
		return;
	}
	/* The end of it may come before this returns, and of nothing else. */
	a->state = ASKER_RELOADS;
	a->number = reload_number(r) + 1;
	(void)reload_begin(r);
}

static void
ask_switch(struct asker *a, bool on)
{
	if (!is_service(a->control, a->word[1]))
		reply(a, 1, 'e', "there is no service %s", a->word[1]);
	else if (reload_refused(server_reload(a->control->server)) == NULL &&
	    reload_override(server_reload(a->control->server), a->word[1], on) == -1)
		reply(a, 1, 'e', "no memory");
	else {
		a->switches = true;
		ask_reload(a);
	}
}

static void
ask_kill(struct asker *a)
{
	struct engine *e = server_engine(a->control->server);
	uint64_t number = 0;
	unsigned n = 0;

	if (a->word[1][strspn(a->word[1], "0123456789")] == '\0') {
		if (!num_parse(a->word[1], 1, UINT64_MAX, &number) || conn_kill(e, number, NULL) == 0)
			reply(a, 1, 'e', "there is no connection %s", a->word[1]);
		else
			reply(a, 0, 'o', "connection %s is told to end", a->word[1]);
		return;
	}
	/* Connections outlive their service's entry. */
	if (!is_service(a->control, a->word[1]) && !has_id(e->gone, a->word[1])) {
		reply(a, 1, 'e', "there is no service %s", a->word[1]);
		return;
	}
	n = conn_kill(e, 0, a->word[1]);
	reply(a, 0, 'o', "%u connection%s of %s %s told to end", n, n == 1 ? "" : "s", a->word[1],
	    n == 1 ? "is" : "are");
}

static void
ask_tables(struct asker *a)
{
	const struct config *c = server_config(a->control->server);

	if (c == NULL) {
		reply(a, 1, 'e', "one command is served: there is no table");
		return;
	}
	/* Who asks may stand elsewhere. */
	for (size_t i = 0; i < c->nfiles; i++) {
		const char *name = c->file[i];
		bool here = name[0] != '/' && !file_once(name) && c->master->cwd != NULL;

		buf_addf(&a->text, "o %s%s%s\n", here ? c->master->cwd : "", here ? "/" : "", name);
	}
	add_end(&a->text, 0);
	say_text(a);
}

static void
ask_end(struct asker *a)
{
	struct server *s = a->control->server;
	bool drain = a->word[0][0] == 'd';

	reply(a, 0, 'o', drain ? "no more connections are taken; those that are there may end" :
	    "all connections are told to end");
	if (drain)
		server_drain(s);
	else
		server_stop(s);
}

static void
ask_enable(struct asker *a)
{
	ask_switch(a, true);
}

static void
ask_disable(struct asker *a)
{
	ask_switch(a, false);
}

static void
ask_upgrade(struct asker *a)
{
	loop_timer_stop(a->control->loop, &a->timer);
	if (loop_change(a->control->loop, a->watch, 0) == -1) {	/* as at a reload */
		asker_free(a);
		return;
	}
	a->state = ASKER_UPGRADES;
	server_upgrade(a->control->server);
}

static const struct request {
	const char *name;
	size_t least, most;	/* words behind it */
	void (*act)(struct asker *a);
} requests[] = {
	{ "status", 0, 1, answer_by_process },
	{ "status-json", 0, 1, answer_by_process },
	{ "snapshot", 0, 0, answer_by_process },
	{ "explain", 2, 3, answer_by_process },
	{ "reload", 0, 0, ask_reload },
	{ "enable", 1, 1, ask_enable },
	{ "disable", 1, 1, ask_disable },
	{ "kill", 1, 1, ask_kill },
	{ "drain", 0, 0, ask_end },
	{ "stop", 0, 0, ask_end },
	{ "tables", 0, 0, ask_tables },
	{ "upgrade", 0, 0, ask_upgrade },
};

static void
act_on(struct asker *a)
{
	size_t n = 0;

	for (char *p = a->line; *p != '\0'; p += strcspn(p, " ")) {
		if (*p == ' ')
			*p++ = '\0';
		p += strspn(p, " ");
		if (*p != '\0' && n <= WORDS)
			a->word[n++] = p;
	}
	a->word[n] = NULL;
	for (size_t i = 0; n > 0 && i < sizeof requests / sizeof requests[0]; i++) {
		const struct request *r = &requests[i];

		if (strcmp(a->word[0], r->name) != 0)
			continue;
		if (n - 1 < r->least || n - 1 > r->most)
			break;
		r->act(a);
		return;
	}
	reply(a, 2, 'e', "this server does not know that request");
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
		act_on(a);
		break;
	case -1:
		reply(a, 2, 'e', "a request is one line of at most %d printing characters", (int)CONTROL_LINE - 1);
		break;
	}
}

static void
impatient(void *arg, int64_t now)
{
	struct asker *a = arg;

	(void)now;
	reply(a, 2, 'e', "no request came");
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
		reply(a, 1, 'e', "only root and the server's own user may talk to it");
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
control_reloaded(struct control *c, uint64_t number, const struct plan *p, const char *why, const char *summary)
{
	for (struct asker *a = c != NULL ? c->first : NULL, *next; a != NULL; a = next) {
		next = a->next;
		if (a->state != ASKER_RELOADS || a->number > number)
			continue;
		if (p != NULL)
			add_lines(&a->text, 'd', p->shown, strlen(p->shown));
		if (why != NULL)
			add_failure(&a->text, a->switches && reload_refused(server_reload(c->server)) == NULL ?
			    "it is noted for the next reload that is taken; this one is not: " :
			    "nothing is changed: ", why);
		else
			add_lines(&a->text, 'o', summary, strlen(summary));
		add_end(&a->text, why != NULL || (p != NULL && p->errors > 0));
		say_text(a);
	}
}

void
control_upgraded(struct control *c, const char *why, const char *said)
{
	for (struct asker *a = c != NULL ? c->first : NULL, *next; a != NULL; a = next) {
		next = a->next;
		if (a->state != ASKER_UPGRADES)
			continue;
		add_lines(&a->text, 'd', said, strlen(said));
		if (why != NULL)
			reply(a, 1, 'e', "%s; the program that runs goes on", why);
		else
			reply(a, 0, 'o', "version %s goes on", VERSION);
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

void
control_resume(struct control **at, struct server *s, const struct fact *f)
{
	const char *name = state_get_text(f, "name"), *line = state_get_text(f, "line");
	int fd = (int)state_get(f, "fd", -1);
	struct control *c = *at;
	struct err err;

	if (c != NULL) {
		take(c, fd);
		if (c->newest != NULL && c->newest->fd == fd &&
		    (state_get(f, "upgrades", 0) != 0 || state_get(f, "reloads", 0) != 0)) {
			loop_timer_stop(c->loop, &c->newest->timer);
			c->newest->state = state_get(f, "upgrades", 0) != 0 ? ASKER_UPGRADES : ASKER_RELOADS;
			c->newest->number = reload_number(server_reload(s)) + 1;
			(void)loop_change(c->loop, c->newest->watch, 0);
		} else if (c->newest != NULL && c->newest->fd == fd && line != NULL && strlen(line) / 2 < CONTROL_LINE &&
		    state_get_bytes(f, "line", c->newest->line, strlen(line) / 2)) {
			c->newest->len = strlen(line) / 2;
		}
		return;
	}
	c = *at = control_new(s);
	if (c == NULL)
		return;
	if (name != NULL && sock_resume(fd, name, false, (dev_t)state_get(f, "dev", 0), (ino_t)state_get(f, "ino", 0),
	    &c->bound, &err) == 0)
		c->watch = loop_watch(c->loop, fd, EPOLLIN, acceptable, c);
	if (c->watch == 0) {
		c->bound.fd = -1;
		control_free(c);
		*at = NULL;
	}
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

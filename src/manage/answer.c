#include "manage/control_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "child/helper.h"
#include "manage/status.h"
#include "serve/listener.h"
#include "table/explain.h"

enum {
	ANSWERS = 8,		/* processes that answer, at once */
	SLOW = 5,		/* s: a reader that takes nothing for so long has heard enough */
	LONGEST = 60,		/* s: of an answer */
};

void
answer_lines(struct buf *out, char to, const char *text, size_t len)
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

void
answer_failure(struct buf *out, const char *what, const char *why)
{
	char text[1024];

	(void)str_escape(text, sizeof text, why, strlen(why));
	buf_addf(out, "e %s%s\n", what, text);
}

void
answer_end(struct buf *out, int status)
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
		answer_lines(out, 'o', text.data, text.len);
	else
		buf_addf(out, "e there is no service %s\n", a->word[1]);
	out->failed = out->failed || text.failed;
	answer_end(out, found ? 0 : 1);
	buf_free(&text);
}

/* Do bans keep somebody from the services of that name? A command that accepts by itself knows of none. */
static bool
bans_hold(const struct engine *e, const char *service)
{
	bool runs = false, hold = false;

	for (const struct unit *u = e->units; u != NULL; u = u->next) {
		if (!service_is_named(u->conf, service))
			continue;
		runs = true;
		hold |= !u->conf->wait;
		for (const struct listener *l = u->listeners; l != NULL; l = l->next)
			hold |= l->type == SOCK_DGRAM;
	}
	return hold || !runs;
}

/* What the tables alone do not know. */
static bool
is_banned(struct engine *e, const char *service, const char *address)
{
	struct ip ip;

	return bans_hold(e, service) && ip_parse(address, &ip) && ban_holds(&e->bans, &ip, loop_now(e->loop));
}

/* Do more services of that name run than the tables, as they are now, have? Then one is an older version. */
static bool
is_outdated(const struct engine *e, const struct table *t, const char *service)
{
	size_t runs = 0, sound = 0;

	for (const struct unit *u = e->units; u != NULL; u = u->next)
		runs += service_is_named(u->conf, service);
	for (size_t i = 0; i < t->n; i++)
		sound += service_is_named(t->item[i].service, service) && !t->item[i].service->off;
	return runs > sound;
}

static void
tell_explanation(const struct asker *a, struct buf *out)
{
	const struct config *c = server_config(a->control->server);
	const char *never = reload_refused(server_reload(a->control->server));
	struct engine *e = server_engine(a->control->server);
	struct buf text = { 0 };
	struct master m;
	struct table t;
	struct err err;
	int rc;

	if (c == NULL || never != NULL) {
		buf_addf(out, "e %s\n", c == NULL ? "one command is served: there is no table to explain" : never);
		answer_end(out, 1);
		return;
	}
	m = *c->master;
	reload_overrides(server_reload(a->control->server), &m);
	table_read(&t, &m, c->file, c->nfiles, c->option, c->noptions);
	rc = table_explain(&t, a->word[1], a->word[2], a->word[3], &text, &err);
	if (rc == -1)
		answer_failure(out, "", err.text);
	if (rc != -1 && rc != 2 && is_banned(e, a->word[1], a->word[2])) {
		buf_addf(out, "o refused: sensor\no   the address touched a service with flags = SENSOR; every service refuses it "
		    "until deny_time is over\n");
		rc = 1;
	} else {
		answer_lines(out, 'o', text.data, text.len);
		if (text.len > 0 && is_outdated(e, &t, a->word[1]) && memmem(text.data, text.len, "refused: faulty ", 16) != NULL)
			buf_addf(out, "o   its last version without an error is in force, and may serve\n");
	}
	answer_end(out, rc == -1 ? 2 : rc);
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
		asker_reply(a, 1, 'e', "no process to answer with: %s", strerror(why));
}

void
asker_answer(struct asker *a)
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
	if (helper_start(fds[1], true, answer, a) == -1) {
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
			asker_answer(a);
	}
}

void
asker_say(struct asker *a)
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
		asker_answer(a);
}

void
asker_reply(struct asker *a, int status, char to, const char *fmt, ...)
{
	char text[600];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	answer_lines(&a->text, to, text, strlen(text));
	answer_end(&a->text, status);
	asker_say(a);
}

#include "serve/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "serve/away.h"
#include "serve/conn.h"
#include "serve/datagram.h"
#include "serve/handover.h"
#include "serve/listing.h"
#include "serve/lookup.h"

enum {
	RETRY_LEAST = 10, RETRY_MOST = 1000,	/* ms */
	ASKING_MOST = 32,	/* processes that ask who was refused */
	GROUP_LEAST = 5,	/* ms until the first look at a group */
};

/* --- the child's end */

static void
told(void *arg, uint32_t events)
{
	struct conn *c = arg;
	struct told t;
	ssize_t n;

	(void)events;
	n = read(c->tell, &t, sizeof t);
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	loop_close(c->unit->engine->loop, c->tell_watch, c->tell);
	c->tell_watch = 0;
	c->tell = -1;
	if (n != (ssize_t)sizeof t)
		return;		/* the child ended before it knew */
	t.name[NAME_MOST] = t.user[IDENT_MOST] = '\0';
	if (t.user[0] != '\0' && (c->asked || !t.allowed ? c->conf->on_failure : c->conf->on_success) &
	    RECORD_USERID)
		record_user(c->unit, &c->peer, t.user);
	if (c->asked)
		return;		/* its refusal has been told */
	c->refused = !t.allowed;
	if (c->refused)
		record_fail(c->unit, &c->peer, REASON_ADDRESS, t.name[0] != '\0' ? t.name : NULL);
	else
		record_start(c, c->conf->lookup && t.name[0] != '\0' ? t.name : NULL);
}

static void
send_banner(const struct conn *c, const struct banner *b)
{
	if (b->len > 0 && send(c->fd, b->text, b->len, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)b->len)
		unit_say(c->unit, LEVEL_WARNING, "error", "the banner %s was not sent whole", b->path);
}

static void
leader_ended(struct conn *c, const struct ended *end)
{
	struct engine *e = c->unit->engine;
	struct unit *u = c->unit;
	uint32_t failed = __atomic_load_n(&e->failed[c->index], __ATOMIC_ACQUIRE);
	bool over = conn_group_gone(c);

	(void)spawner_settle(e->spawner);
	if (c->tell != -1)
		told(c, 0);
	if (c->dialog == NULL && c->fd != -1)
		record_bytes(c);
	/* First of all the client's: it waits for this. */
	if (over && c->fd != -1 && c->dialog == NULL && c->conf->linger != -1 &&
	    !c->refused && !c->peer.by_unix)
		c->shut = shutdown(c->fd, SHUT_WR) == 0;
	if (c->errlog != NULL) {
		errlog_drain(c->errlog);
		errlog_leave(c->errlog);
		c->errlog = NULL;
	}
	if (c->dialog != NULL) {
		dialog_drain(c);	/* its bytes are counted in the line */
		record_bytes(c);
	}
	if (failed != 0)
		record_not_started(c, failed);
	if (!c->refused)
		record_exit(c, end);
	if (c->asked) {
		e->asking--;
	} else {
		u->live--;
		e->live--;
	}
	source_leave(&e->sources, c->source);
	c->source = NULL;
	if (c->handed != NULL) {
		struct listener *l = c->handed;

		c->handed = NULL;
		if (c->refused)
			handover_drop(l);
		handover_over(l, loop_now(e->loop) - c->started);
	}
	if (c->dialog != NULL)
		dialog_unlist(c);
	else if (c->refused && c->fd != -1)
		send_banner(c, &c->conf->banner_fail);
	/* Nothing is held and nothing limits the group's life: it is on its own now. */
	if ((c->fd == -1 || c->conf->linger == -1) && c->dialog == NULL && c->deadline == 0 && c->idle_at == 0 &&
	    c->conf->hangup == HANGUP_IGNORE) {
		if (c->fd != -1 && c->peer.by_unix)
			conn_finish(c);		/* held for its byte counts; not closed in the master */
		else
			conn_free(c);
	} else if (over) {
		conn_finish(c);
	} else {
		conn_enter(c, CONN_GROUP);
		loop_unwatch(e->loop, c->pid_watch);	/* it would tell of the end for ever */
		c->pid_watch = 0;
		c->interval = GROUP_LEAST;
		c->look_at = loop_now(e->loop) + c->interval;
		conn_set_timer(c);
	}
	e->room(e, u);
}

void
conn_reaped(struct engine *e, const struct ended *end)
{
	struct conn *c = conn_find(e, end->pid);

	if (c != NULL && c->state == CONN_RUNNING) {
		leader_ended(c, end);
		return;
	}
	/* Strangers are few; whoever else ends here was burying a connection. */
	if (e->burials > 0 && end->group == getpgrp())
		e->burials--;
	if (away_reaped(e, end->pid))
		return;
	c = conn_find(e, end->group);
	if (c != NULL && c->state == CONN_GROUP && conn_group_gone(c))
		conn_finish(c);
}

static void
pid_ready(void *arg, uint32_t events)
{
	struct conn *c = arg;
	struct ended end = { .pid = c->pid, .group = c->pid };
	siginfo_t si = { .si_pid = 0 };

	(void)events;
	/* libc's waitid(3) has no place for the usage. */
	if (syscall(SYS_waitid, 3 /* P_PIDFD */, c->pidfd, &si, WEXITED | WNOHANG, &end.usage) == -1) {
		if (errno != ECHILD)
			return;
		end.status = -1;	/* somebody else reaped it: its status is lost, the rest holds */
	} else if (si.si_pid == 0) {
		return;
	} else {
		end.status = si.si_status;
		end.signalled = si.si_code != CLD_EXITED;
	}
	leader_ended(c, &end);
}

/* --- the child's start */

static bool
holds_fd(const struct service *s)
{
	return s->linger != -1 || s->idle_timeout != 0 || s->hangup == HANGUP_KILL ||
	    (s->on_success & RECORD_BYTES) != 0;
}

bool
conn_decides_by_name(const struct service *s, const struct peer *p)
{
	return p->kind == PEER_IP && (rules_need_name(&s->only_from) || rules_need_name(&s->no_access));
}

/* Is it the child that decides, by what it finds out? */
static bool
decides_later(const struct service *s, const struct peer *p)
{
	return p->kind == PEER_IP && ((s->flags & FLAG_IDONLY) != 0 || conn_decides_by_name(s, p));
}

/* Where descriptor 2 of the child is to go. -1: errno. */
static int
choose_stderr(struct conn *c, struct order *o)
{
	enum child_stderr to = c->conf->stderr_to;

	/* A listener takes no words, and a FIFO is for reading. */
	if (to == STDERR_SOCKET && c->handed != NULL && !o->facts.dgram)
		to = STDERR_LOG;
	switch (to) {
	case STDERR_SOCKET:
		o->err = -1;
		return 0;
	case STDERR_NULL:
		o->err = spawner_null(c->unit->engine->spawner);
		return 0;
	case STDERR_INHERIT:
		o->err = 2;
		return 0;
	case STDERR_LOG:
		c->errlog = errlog_open(c->unit, c->number, &o->err);
		o->give_err = true;
		return c->errlog != NULL ? 0 : -1;
	}
	return 0;
}

/* wait = yes: the listener itself at 0, 1 and 3; a FIFO's end for reading at 0 and nothing at 1. */
static void
give_listener(const struct conn *c, struct order *o)
{
	const struct listener *l = c->handed;

	o->fd = l->bound.fd;
	o->facts.dgram = l->type == SOCK_DGRAM;
	o->facts.listening = l->type != 0;
	if (l->type == 0) {
		o->in = l->bound.fd;
		o->fd = spawner_null(c->unit->engine->spawner);
	}
}

/* After the clone: nothing of it may fail any more, as the child runs. */
static void
watch_child(struct conn *c, const struct spawned *child)
{
	struct engine *e = c->unit->engine;
	const struct service *s = c->conf;

	c->pid = child->pid;
	c->pidfd = child->pidfd;
	hash_put(&e->by_pid, &c->node, hash_number((uint64_t)c->pid));
	conn_enter(c, CONN_RUNNING);
	if (c->asked) {
		e->asking++;
	} else {
		c->unit->live++;
		unit_started(c->unit);
		e->live++;
	}
	if (c->pidfd != -1)
		c->pid_watch = loop_watch(e->loop, c->pidfd, EPOLLIN, pid_ready, c);
	if (c->pid_watch == 0)
		e->no_pidfd = true;	/* then SIGCHLD alone must find it */
	if (!holds_fd(s) && c->dialog == NULL)
		c->fd = -1;
	if (s->hangup == HANGUP_KILL && c->fd != -1 && c->dialog == NULL)
		c->fd_watch = loop_watch(e->loop, c->fd, EPOLLONESHOT, conn_hung_up, c);
	if (s->timeout != 0)
		c->deadline = loop_now(e->loop) + s->timeout;
	if (s->idle_timeout != 0)
		c->idle_at = loop_now(e->loop) + s->idle_timeout;
	if (c->deadline != 0 || c->idle_at != 0)
		conn_set_timer(c);
	if (child->in_flight && e->tick.place == 0)
		loop_timer(e->loop, &e->tick, loop_now(e->loop) + SECOND);
	if (child->settles && e->settle.place == 0)
		loop_timer(e->loop, &e->settle, loop_now(e->loop) + 1);
}

void
conn_resume(struct conn *c, enum state state)
{
	struct engine *e = c->unit->engine;

	if (state == CONN_LINGERING) {
		conn_enter(c, CONN_LINGERING);
		if (c->peer.by_unix)
			conn_finish_unix(c);
		else
			conn_linger(c, loop_now(e->loop));
		return;
	}
	hash_put(&e->by_pid, &c->node, hash_number((uint64_t)c->pid));
	conn_enter(c, CONN_RUNNING);
	if (state == CONN_GROUP) {
		conn_enter(c, CONN_GROUP);
		c->interval = GROUP_LEAST;
		c->look_at = loop_now(e->loop) + c->interval;
	} else {
		if (c->asked) {
			e->asking++;
		} else {
			c->unit->live++;
			e->live++;
		}
		if (c->pidfd != -1)
			c->pid_watch = loop_watch(e->loop, c->pidfd, EPOLLIN, pid_ready, c);
		if (c->pid_watch == 0)
			e->no_pidfd = true;
	}
	if (c->dialog != NULL)
		c->fd_watch = loop_watch(e->loop, c->fd, EPOLLIN, dialog_ready, c);
	else if (c->conf->hangup == HANGUP_KILL && c->fd != -1)
		c->fd_watch = loop_watch(e->loop, c->fd, EPOLLONESHOT, conn_hung_up, c);
	if (c->tell != -1)
		c->tell_watch = loop_watch(e->loop, c->tell, EPOLLIN, told, c);
	conn_set_timer(c);
}

int
conn_start(struct conn *c, const struct addr *local)
{
	struct engine *e = c->unit->engine;
	bool ip = c->peer.kind == PEER_IP, connected = c->dialog == NULL && c->handed == NULL;
	struct lookup look = { .tell = -1, .fd = c->dialog != NULL ? c->dialog->out : c->fd, .refused = c->asked,
		.name_too = ip && !c->asked && (c->conf->lookup || conn_decides_by_name(c->conf, &c->peer)),
		.decide = !c->asked && decides_later(c->conf, &c->peer),
		.ident = ip && connected && (c->asked || ((c->conf->on_success & RECORD_USERID) != 0 ||
		    (c->conf->flags & FLAG_IDONLY) != 0)) };
	struct listing listing = { .engine = e, .service = c->conf, .fd = c->fd };
	struct spawned child;
	int p[2] = { -1, -1 }, why;
	struct order o = {
		.facts = { .service = c->conf, .peer = &c->peer, .local = local, .conn = c->number },
		.fd = c->fd, .in = -1, .give_fd = connected && !holds_fd(c->conf), .highest = loop_highest(e->loop),
		.err = -1, .failed = &e->failed[c->index], .starting = &c->unit->starting,
	};

	if (c->dialog != NULL) {
		o.facts.dgram = true;
		o.fd = c->dialog->out;
		o.in = c->dialog->in;
	} else if (c->handed != NULL) {
		give_listener(c, &o);
	}
	if (choose_stderr(c, &o) == -1)
		return -1;
	if (c->conf->internal != BUILTIN_NONE && !c->asked) {
		o.before = listing_before;
		o.arg = &listing;
	} else if (look.name_too || look.decide || look.ident) {
		if (pipe2(p, O_CLOEXEC | O_NONBLOCK) == -1)
			goto out;
		look.tell = p[1];
		o.before = lookup_before;
		o.arg = &look;
	}
	*o.failed = 0;
	if (spawn(e->spawner, &o, loop_now(e->loop), &child) == -1)
		goto out;
	watch_child(c, &child);
	if (c->dialog != NULL)
		dialog_started(c);
	if (c->errlog != NULL)
		errlog_pid(c->errlog, c->pid);
	if (p[0] == -1) {
		record_start(c, NULL);
	} else {
		(void)close(p[1]);
		c->tell = p[0];
		c->tell_watch = loop_watch(e->loop, p[0], EPOLLIN, told, c);
	}
	return 0;
out:
	why = errno;
	if (o.give_err)
		(void)close(o.err);
	if (c->errlog != NULL) {
		errlog_drain(c->errlog);
		errlog_leave(c->errlog);
		c->errlog = NULL;
	}
	if (p[0] != -1) {
		(void)close(p[0]);
		(void)close(p[1]);
	}
	errno = why;
	return -1;
}

/* The same; where descriptors are short, who only lingers gives way. */
static int
start_somehow(struct conn *c, const struct addr *local)
{
	int rc;

	do
		rc = conn_start(c, local);
	while (rc == -1 && (errno == EMFILE || errno == ENFILE) && conn_give_way(c->unit->engine));
	return rc;
}

static void
wait_for_process(struct conn *c)
{
	struct engine *e = c->unit->engine;

	conn_enter(c, CONN_WAITING);
	if (e->retry.place == 0) {
		e->backoff = e->backoff == 0 ? RETRY_LEAST : e->backoff;
		loop_timer(e->loop, &e->retry, loop_now(e->loop) + e->backoff);
	}
}

bool
conn_serve(struct unit *u, int fd, const struct peer *peer, const struct addr *local,
    struct source *source)
{
	struct conn *c = conn_new(u, fd, peer, source);

	conn_banners(c);
	return conn_begin(c, local);
}

void
conn_banners(struct conn *c)
{
	send_banner(c, &c->conf->banner);
	if (!decides_later(c->conf, &c->peer))
		send_banner(c, &c->conf->banner_success);
}

bool
conn_begin(struct conn *c, const struct addr *local)
{
	int why;

	if (start_somehow(c, local) == 0)
		return true;
	why = errno;
	wait_for_process(c);
	errno = why;
	return false;
}

void
conn_retry(void *arg, int64_t now)
{
	struct engine *e = arg;

	while (e->waiting != NULL && !e->stopping) {
		struct conn *c = e->waiting;
		struct addr local = { .len = sizeof local - offsetof(struct addr, sa) };

		if (c->dialog != NULL)
			local = c->dialog->local;
		else if (getsockname(c->fd, &local.sa, &local.len) == -1)
			local.sa.sa_family = AF_UNSPEC;
		if (start_somehow(c, &local) == -1) {
			if (e->retry.place == 0) {
				e->backoff = e->backoff * 2 > RETRY_MOST ? RETRY_MOST : e->backoff * 2;
				loop_timer(e->loop, &e->retry, now + e->backoff);
			}
			return;
		}
	}
	e->backoff = 0;
	loop_timer_stop(e->loop, &e->retry);
}

void
conn_refuse(struct unit *u, int fd, const struct peer *peer, enum reason why)
{
	struct conn *c;

	record_fail(u, peer, why, NULL);
	c = conn_new(u, fd, peer, NULL);
	send_banner(c, &u->conf->banner);
	/* Who was refused is asked by a process of its own; of those there are few at a time. */
	if ((u->conf->on_failure & RECORD_USERID) != 0 && peer->kind == PEER_IP &&
	    u->engine->asking < ASKING_MOST && !u->engine->stopping) {
		struct addr local = { .len = sizeof local - offsetof(struct addr, sa) };

		c->refused = c->asked = true;
		if (getsockname(fd, &local.sa, &local.len) == 0 && conn_start(c, &local) == 0)
			return;
		c->refused = c->asked = false;
	}
	send_banner(c, &u->conf->banner_fail);
	conn_finish(c);
}

#include "manage/server.h"

#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "manage/rpc.h"
#include "serve/away.h"
#include "serve/connection.h"
#include "serve/listener.h"
#include "serve/mux.h"

enum {
	SWEEP = 200,		/* ms between searches for strangers */
	SWEEP_LEAST = 5,	/* where somebody waits for one */
	SWEEP_MOST = 1024,	/* processes reaped in one */
	DESCRIPTORS = 4096,	/* room made in the descriptor table at the start */
};

enum { NOBODY = 65534 };

enum { AGAIN_LEAST = 1000, AGAIN_MOST = 60000 };	/* ms until an address is tried again */

enum phase { PHASE_RUN, PHASE_DRAIN, PHASE_STOP, PHASE_QUIT };

struct pending {		/* an address that could not be bound yet */
	struct pending *next;
	struct server *server;
	struct unit *unit;
	const struct address *address;	/* of the unit's service */
	struct timer timer;
	int64_t delay;
	char text[400];		/* why: "tcp:*:80: cannot bind: Address already in use" */
};

struct server {
	struct loop *loop;
	struct engine *engine;
	struct pending *pending;	/* owned */
	struct rpc *rpc;	/* owned */
	enum phase phase;
	int64_t grace;
	struct timer phase_over;	/* of the drain, then of the stop */
	int signals, child;	/* signalfds */
	uint32_t signals_watch, child_watch;
	struct timer sweep;
	int64_t swept;
};

/* --- reaping */

/* Reaps whoever has ended, children and strangers. */
static void
sweep(struct server *s)
{
	int i;

	for (i = 0; i < SWEEP_MOST; i++) {
		siginfo_t si = { .si_pid = 0 };
		struct ended end = { .pid = 0 };

		/* First only who: its group can be asked while it is a zombie. */
		if (waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT) == -1 || si.si_pid == 0)
			break;
		end.pid = si.si_pid;
		end.group = getpgid(end.pid);
		end.status = si.si_status;
		end.signalled = si.si_code != CLD_EXITED;
		if (syscall(SYS_waitid, P_PID, end.pid, &si, WEXITED | WNOHANG, &end.usage) == -1)
			break;
		conn_reaped(s->engine, &end);
	}
	s->swept = loop_now(s->loop);
	if (i == SWEEP_MOST)	/* there may be more, and no further signal */
		loop_timer(s->loop, &s->sweep, s->swept);
}

/* For a connection that waits for the last of its group. */
static void
sweep_soon(void *arg)
{
	struct server *s = arg;

	if (loop_now(s->loop) - s->swept >= SWEEP_LEAST)
		sweep(s);
}

static void
sweep_due(void *arg, int64_t now)
{
	struct server *s = arg;

	(void)now;
	sweep(s);
	(void)loop_change(s->loop, s->child_watch, EPOLLIN | EPOLLONESHOT);
}

/*
 * SIGCHLD. Children are found by their pidfd; a search walks all of them in the kernel, so for
 * strangers' sake it is made a few times a second at most.
 */
static void
child_ready(void *arg, uint32_t events)
{
	struct server *s = arg;
	struct signalfd_siginfo si;

	(void)events;
	while (read(s->child, &si, sizeof si) == (ssize_t)sizeof si)
		;
	if (s->engine->no_pidfd || loop_now(s->loop) - s->swept >= SWEEP)
		sweep_due(s, 0);
	else
		loop_timer(s->loop, &s->sweep, s->swept + SWEEP);
}

/* --- the end */

static void
drop_pending(struct server *s, struct pending *p)
{
	struct pending **at = &s->pending;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	loop_timer_stop(s->loop, &p->timer);
	loop_timer_leave(s->loop);
	free(p);
}

static void
close_listeners(struct server *s)
{
	while (s->pending != NULL)
		drop_pending(s, s->pending);
	rpc_forget(s->rpc);
	for (struct unit *u = s->engine->units; u != NULL; u = u->next)
		while (u->listeners != NULL)
			listener_close(u->listeners);
}

static void
stop(struct server *s)
{
	s->phase = PHASE_STOP;
	log_say(LEVEL_INFO, "stop", "%u children are told to end", s->engine->live);
	s->engine->stopping = true;
	close_listeners(s);
	conn_drop_waiting(s->engine);
	conn_signal_all(s->engine, SIGTERM);
	loop_timer(s->loop, &s->phase_over, loop_now(s->loop) + 3 * SECOND);
}

static void
drain(struct server *s)
{
	s->phase = PHASE_DRAIN;
	log_say(LEVEL_INFO, "drain", "no more connections; %u children may end", s->engine->live);
	close_listeners(s);
	loop_timer(s->loop, &s->phase_over, loop_now(s->loop) + s->grace);
}

static void
phase_over(void *arg, int64_t now)
{
	struct server *s = arg;

	(void)now;
	if (s->phase == PHASE_DRAIN) {
		stop(s);
	} else {
		/* What a second of KILLs did not end cannot be ended from here. */
		conn_signal_all(s->engine, SIGKILL);
		s->phase = PHASE_QUIT;
	}
}

static void
log_state(const struct server *s)
{
	for (const struct unit *u = s->engine->units; u != NULL; u = u->next) {
		uint64_t refused = 0;

		for (int r = 0; r < REASONS; r++)
			refused += u->refused[r];
		unit_say(u, LEVEL_NOTICE, "state", "live=%u started=%llu refused=%llu failed=%llu", u->live,
		    (unsigned long long)u->started, (unsigned long long)refused,
		    (unsigned long long)u->failed);
	}
}

static void
act_on(struct server *s, int sig)
{
	switch (sig) {
	case SIGTERM:
		if (s->phase == PHASE_RUN)
			drain(s);
		else if (s->phase == PHASE_DRAIN)
			stop(s);
		break;
	case SIGINT:
		if (s->phase < PHASE_STOP)
			stop(s);
		break;
	case SIGQUIT:
		s->phase = PHASE_QUIT;
		break;
	case SIGUSR1:
		log_state(s);
		break;
	default:		/* HUP, USR2: there is no table and no log file yet */
		break;
	}
}

static void
signals_ready(void *arg, uint32_t events)
{
	struct server *s = arg;
	struct signalfd_siginfo si;

	(void)events;
	while (read(s->signals, &si, sizeof si) == (ssize_t)sizeof si)
		act_on(s, (int)si.ssi_signo);
}

/* --- the whole */

static void
reset_signals(void)
{
	sigset_t set;

	/*
	 * Blocked, not ignored: what is ignored would be ignored in the children too. An inherited
	 * ignore would be as well, and an ignored SIGCHLD would lose their statuses.
	 */
	(void)sigfillset(&set);
	(void)sigdelset(&set, SIGTSTP);		/* ^Z is the terminal's affair */
	(void)sigprocmask(SIG_SETMASK, &set, NULL);
	for (int sig = 1; sig < NSIG; sig++)
		(void)signal(sig, SIG_DFL);	/* KILL, STOP and libc's own refuse: they are so already */
}

static int
open_signals(struct server *s, struct err *err)
{
	static const int ours[] = { SIGHUP, SIGTERM, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2 };
	sigset_t set;

	(void)sigemptyset(&set);
	for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
		(void)sigaddset(&set, ours[i]);
	s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	s->child = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->signals == -1 || s->child == -1)
		return err_sys(err, errno, "signalfd");
	s->signals_watch = loop_watch(s->loop, s->signals, EPOLLIN, signals_ready, s);
	s->child_watch = loop_watch(s->loop, s->child, EPOLLIN | EPOLLONESHOT, child_ready, s);
	if (s->signals_watch == 0 || s->child_watch == 0)
		return err_sys(err, errno, "epoll");
	return 0;
}

struct server *
server_new(struct err *err)
{
	struct server *s = calloc(1, sizeof *s);
	const struct passwd *nobody;

	if (s == NULL) {
		(void)err_sys(err, errno, "cannot start");
		return NULL;
	}
	s->signals = s->child = -1;
	s->swept = INT64_MIN / 2;
	s->phase_over.fire = phase_over;
	s->phase_over.arg = s;
	s->sweep.fire = sweep_due;
	s->sweep.arg = s;
	reset_signals();
	s->loop = loop_new();
	/* The engine first: its low descriptors must be free. */
	if (s->loop == NULL || (s->engine = engine_new(s->loop)) == NULL ||
	    loop_timer_room(s->loop) == -1 || loop_timer_room(s->loop) == -1) {
		(void)err_sys(err, errno, "cannot start");
		server_free(s);
		return NULL;
	}
	s->rpc = rpc_new(s->engine);
	if (s->rpc == NULL || open_signals(s, err) == -1) {
		if (s->rpc == NULL)
			(void)err_sys(err, ENOMEM, "cannot start");
		server_free(s);
		return NULL;
	}
	nobody = getpwnam("nobody");
	s->engine->lower = (struct lower){ nobody != NULL ? nobody->pw_uid : NOBODY,
		nobody != NULL ? nobody->pw_gid : NOBODY };
	s->engine->room = listener_room;
	s->engine->sweep = sweep_soon;
	s->engine->sweep_arg = s;
	fd_reserve(DESCRIPTORS);
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	return s;
}

bool
server_abandon(struct server *s)
{
	if (s->phase != PHASE_QUIT)
		return false;
	rpc_forget(s->rpc);
	for (const struct unit *u = s->engine->units; u != NULL; u = u->next)
		for (struct listener *l = u->listeners; l != NULL; l = l->next)
			sock_remove_path(&l->bound);
	return true;
}

void
server_free(struct server *s)
{
	if (s == NULL)
		return;
	if (s->engine != NULL) {
		for (const struct unit *u = s->engine->units; u != NULL; u = u->next)
			for (struct listener *l = u->listeners; l != NULL; l = l->next)
				l->pausing = true;	/* nobody else is accepted */
		if (s->rpc != NULL)
			close_listeners(s);
		away_free(s->engine);
		conn_free_all(s->engine);
		rpc_free(s->rpc);
	}
	while (s->engine != NULL && s->engine->units != NULL)
		unit_free(s->engine->units);
	engine_free(s->engine);
	if (s->signals != -1)
		(void)close(s->signals);
	if (s->child != -1)
		(void)close(s->child);
	loop_free(s->loop);
	free(s);
}

/* One ADDRESS: its sockets become listeners of u. */
static int
add_address(struct unit *u, const struct address *a, struct err *err)
{
	struct bound bound[SOCK_MAX];
	size_t n;

	if (sock_listen(&a->where, &u->conf->sock, bound, &n, err) == -1) {
		if (a->where.scheme == SCHEME_FD) {
			struct err was = *err;

			return err_set(err, "%s: %s", a->text, was.text);
		}
		return -1;
	}
	for (size_t i = 0; i < n; i++) {
		int family = bound[i].addr->sa.sa_family;

		if (u->conf->idle_timeout != 0 && !u->conf->session && !away_serves(u->conf) &&
		    family != AF_INET && family != AF_INET6)
			(void)err_set(err, "%s: idle_timeout: only TCP connections tell when something moved",
			    a->text);
		else if (listener_open(u, &bound[i]) != NULL)
			continue;
		else
			(void)err_sys(err, errno, "%s: cannot listen", bound[i].name);
		for (; i < n; i++)
			sock_close(&bound[i]);
		return -1;
	}
	return 0;
}

static struct unit *
add_unit(struct server *s, struct service *conf, struct err *err)
{
	struct unit *u = unit_new(s->engine, conf);

	if (u == NULL || ((conf->type & (TYPE_TCPMUX | TYPE_TCPMUXPLUS)) != 0 && mux_add(u) == -1)) {
		unit_free(u);
		(void)err_sys(err, ENOMEM, "%s", conf->id);
		return NULL;
	}
	return u;
}

int
server_add(struct server *s, struct service *conf, struct err *err)
{
	struct unit *u = add_unit(s, conf, err);

	if (u == NULL)
		return -1;
	for (size_t i = 0; i < conf->nlisten; i++) {
		if (add_address(u, &conf->listen[i], err) == -1) {
			while (u->listeners != NULL) {
				u->listeners->pausing = true;
				listener_close(u->listeners);
			}
			unit_free(u);
			return -1;
		}
	}
	return 0;
}

static void
bind_again(void *arg, int64_t now)
{
	struct pending *p = arg;
	struct server *s = p->server;
	struct unit *u = p->unit;
	const struct listener *had = NULL;
	struct err err;

	for (const struct listener *l = u->listeners; l != NULL; l = l->next)
		had = l;
	if (add_address(u, p->address, &err) == -1) {
		if (strcmp(err.text, p->text) != 0)
			unit_say(u, LEVEL_WARNING, "error", "%s; it is tried again", err.text);
		memcpy(p->text, err.text, sizeof p->text);
		p->delay = p->delay * 2 > AGAIN_MOST ? AGAIN_MOST : p->delay * 2;
		loop_timer(s->loop, &p->timer, now + p->delay);
		return;
	}
	rpc_register(s->rpc);
	for (const struct listener *l = had != NULL ? had->next : u->listeners; l != NULL; l = l->next)
		unit_say(u, LEVEL_INFO, "listen", "%s", l->bound.name);
	drop_pending(s, p);
}

int
server_add_or_wait(struct server *s, struct service *conf, struct err *err)
{
	struct unit *u = add_unit(s, conf, err);
	bool bound = true;

	if (u == NULL)
		return -1;
	for (size_t i = 0; i < conf->nlisten; i++) {
		struct pending *p;
		struct err why;

		if (add_address(u, &conf->listen[i], &why) == 0)
			continue;
		p = calloc(1, sizeof *p);
		if (p == NULL || loop_timer_room(s->loop) == -1) {
			free(p);
			return err_sys(err, ENOMEM, "%s", conf->id);
		}
		p->server = s;
		p->unit = u;
		p->address = &conf->listen[i];
		p->delay = AGAIN_LEAST;
		p->timer.fire = bind_again;
		p->timer.arg = p;
		memcpy(p->text, why.text, sizeof p->text);
		p->next = s->pending;
		s->pending = p;
		loop_timer(s->loop, &p->timer, clock_ms() + p->delay);
		bound = false;
	}
	if (bound)
		service_bound(conf);
	return 0;
}

void
server_limits(struct server *s, unsigned limit, int64_t grace)
{
	s->engine->limit = limit;
	s->grace = grace;
}

size_t
server_listening(const struct server *s, const char **why)
{
	size_t n = 0;

	for (const struct unit *u = s->engine->units; u != NULL; u = u->next)
		for (const struct listener *l = u->listeners; l != NULL; l = l->next)
			n++;
	*why = s->pending != NULL ? s->pending->text : NULL;
	return n;
}

void
server_ready_lines(const struct server *s, struct buf *out)
{
	for (const struct unit *u = s->engine->units; u != NULL; u = u->next)
		for (const struct listener *l = u->listeners; l != NULL; l = l->next)
			buf_addf(out, "listen %s %s\n", u->conf->id, l->bound.name);
	for (const struct pending *p = s->pending; p != NULL; p = p->next) {
		const char *reason = strstr(p->text, ": ");
		size_t n = reason != NULL ? (size_t)(reason - p->text) : strlen(p->text);
		buf_addf(out, "failed %s %.*s %s\n", p->unit->conf->id, (int)n, p->text,
		    reason != NULL ? reason + 2 : "cannot bind");
	}
	buf_addf(out, "ready\n");
}

void
server_log_listeners(const struct server *s)
{
	for (const struct unit *u = s->engine->units; u != NULL; u = u->next)
		for (const struct listener *l = u->listeners; l != NULL; l = l->next)
			unit_say(u, LEVEL_INFO, "listen", "%s", l->bound.name);
	for (const struct pending *p = s->pending; p != NULL; p = p->next)
		unit_say(p->unit, LEVEL_WARNING, "error", "%s; it is tried again", p->text);
}

int
server_run(struct server *s, struct err *err)
{
	static const char *const ways[] = { "clone", "vfork", "fork" };

	log_say(LEVEL_DEBUG, "debug", "children are started by %s", ways[spawner_way(s->engine->spawner)]);
	rpc_register(s->rpc);
	while (s->phase != PHASE_QUIT) {
		if (loop_run_once(s->loop, log_flush(clock_ms())) == -1)
			return err_sys(err, errno, "epoll");
		away_flush(s->engine);
		if (s->phase == PHASE_STOP && s->engine->running == NULL)
			conn_drop_quiet(s->engine);	/* their last bytes are with the kernel */
		if (s->phase == PHASE_STOP && conn_none(s->engine))
			break;
		if (s->phase == PHASE_DRAIN && conn_none(s->engine) && s->engine->awaited == 0 && away_gone(s->engine))
			break;
	}
	log_say(LEVEL_INFO, "stopped", "%s", s->phase == PHASE_QUIT ? "at once" : "nothing is left");
	return 0;
}

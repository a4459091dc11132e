#include "manage/server.h"

#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "manage/control.h"
#include "manage/daemon.h"
#include "manage/inherited.h"
#include "manage/notify.h"
#include "manage/reaper.h"
#include "manage/reload.h"
#include "manage/services.h"
#include "manage/site.h"
#include "manage/status.h"
#include "manage/upgrade.h"
#include "serve/away.h"
#include "serve/carry.h"
#include "serve/connection.h"
#include "serve/listener.h"

enum {
	SAID_LINES = 100,	/* of a successor that is refused, in the log */
	DESCRIPTORS = 4096,	/* room made in the descriptor table at the start */
	TRIES = 25, TRY_AGAIN = 20,	/* ms apart: for the control socket, at the start */
};

enum { NOBODY = 65534 };

enum phase { PHASE_RUN, PHASE_DRAIN, PHASE_STOP, PHASE_QUIT };

static const char about_to_end[] = "the server is about to end";

struct server {
	struct loop *loop;
	struct engine *engine;
	struct services *services;	/* owned */
	struct reload *reload;	/* owned */
	struct service *defaults;	/* held: the server's own attributes */
	enum phase phase;
	const struct master *master;	/* borrowed */
	const struct config *config;	/* borrowed; NULL: one command is served */
	struct control *control;	/* owned; NULL: there is none */
	struct upgrade *upgrade;	/* owned */
	struct carry *carry;	/* owned, while a predecessor's state is being taken */
	int64_t started;	/* wall clock, s */
	uint64_t reloads;	/* that were taken */
	enum on_term on_term;
	struct notify *notify;	/* owned; NULL: nobody wants to know */
	unsigned told_live;	/* how it was when notify was last told */
	bool told_waiting;
	bool refused;		/* the last reload was */
	char *lines;		/* owned: what the first plan says of its table */
	int64_t grace;
	struct timer phase_over;	/* of the drain, then of the stop */
	struct reaper *reaper;	/* owned */
	int signals;		/* a signalfd */
	uint32_t signals_watch;
	pid_t pid;
};

/* --- the end */

void
server_stop(struct server *s)
{
	if (s->phase >= PHASE_STOP)
		return;
	s->phase = PHASE_STOP;
	*s->engine->ending = 1;
	log_say(LEVEL_INFO, "stop", "%u children are told to end", s->engine->live);
	s->engine->stopping = true;
	upgrade_cancel(s->upgrade, about_to_end);
	services_close(s->services);
	conn_drop_waiting(s->engine);
	conn_signal_all(s->engine, SIGTERM);
	notify_stopping(s->notify);
	loop_timer(s->loop, &s->phase_over, loop_now(s->loop) + 3 * SECOND);
}

void
server_drain(struct server *s)
{
	if (s->phase != PHASE_RUN)
		return;
	s->phase = PHASE_DRAIN;
	*s->engine->ending = 1;
	log_say(LEVEL_INFO, "drain", "no more connections; %u children may end", s->engine->live);
	upgrade_cancel(s->upgrade, about_to_end);
	services_close(s->services);
	notify_stopping(s->notify);
	loop_timer(s->loop, &s->phase_over, loop_now(s->loop) + s->grace);
}

static void
quit(struct server *s)
{
	s->phase = PHASE_QUIT;
	notify_stopping(s->notify);
}

static void
phase_over(void *arg, int64_t now)
{
	struct server *s = arg;

	(void)now;
	if (s->phase == PHASE_DRAIN) {
		server_stop(s);
	} else {
		/* What a second of KILLs did not end cannot be ended from here. */
		conn_signal_all(s->engine, SIGKILL);
		s->phase = PHASE_QUIT;
	}
}

void
server_status(const struct server *s, struct status *out)
{
	static const char *const phase[] = { "serving", "draining", "stopping", "stopping" };

	*out = (struct status){ .engine = s->engine, .services = s->services, .started = s->started,
		.phase = phase[s->phase], .reloads = s->reloads, .version = VERSION, .pid = s->pid };
}

/* In a process of its own: a client of the built-in `status`. */
static void
answer(void *arg, const struct service *conf, const struct peer *peer, int fd)
{
	struct status now;

	server_status(arg, &now);
	site_answer(&now, conf, peer, fd);
}

static void
log_state(const struct server *s)
{
	for (struct unit *u = s->engine->units; u != NULL; u = u->next) {
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
		if (s->on_term == TERM_QUITS)
			quit(s);
		else if (s->phase == PHASE_RUN && s->on_term == TERM_DRAINS)
			server_drain(s);
		else
			server_stop(s);
		break;
	case SIGINT:
		server_stop(s);
		break;
	case SIGQUIT:
		quit(s);
		break;
	case SIGHUP:
		log_reopen();
		if (s->phase == PHASE_RUN && s->config != NULL) {
			(void)reload_begin(s->reload);
		} else if (s->phase == PHASE_RUN) {	/* that was all of it */
			notify_reloading(s->notify);
			notify_ready(s->notify, NULL);
		}
		break;
	case SIGUSR1:
		log_state(s);
		break;
	case SIGUSR2:
		server_upgrade(s);
		break;
	default:
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

/* --- the table */

/* What is of the whole server. Holds it. */
static void
take_defaults(struct server *s, struct service *defaults)
{
	struct service *was = s->defaults;
	bool more = defaults->limit > s->engine->limit;

	s->defaults = service_hold(defaults);
	s->engine->limit = defaults->limit;
	if (more)
		listeners_retry(s->engine);
	s->grace = defaults->grace;
	log_set_style(&(struct log_style){ .json = defaults->json != 0, .tag = defaults->log_tag });
	service_free(was);
}

/* In the log a diagnostic is its first line. */
static void
log_diagnostics(const char *line)
{
	while (*line != '\0') {
		size_t n = strcspn(line, "\n");

		log_event(&(struct event){ .level = memmem(line, n, ": error: ", 9) != NULL ? LEVEL_ERR :
		    LEVEL_WARNING, .name = "table", .message = line, .message_len = n }, NULL);
		line += n + (line[n] == '\n');
	}
}

static void
reloading(void *arg)
{
	const struct server *s = arg;

	if (s->phase == PHASE_RUN)
		notify_reloading(s->notify);
}

static void
reloaded(void *arg, struct plan *p, const char *why)
{
	struct server *s = arg;
	char summary[240] = "";
	struct applied did = { 0 };
	struct err err;

	if (p != NULL)
		log_diagnostics(p->lines);
	if (p != NULL && p->refused != NULL)
		why = p->refused;
	if (why == NULL && s->phase != PHASE_RUN)
		why = about_to_end;
	if (why == NULL && p != NULL) {
		away_refresh(s->engine);
		if (services_apply(s->services, p, 0, &did, &err) == 0)
			take_defaults(s, p->defaults);
		else
			why = err.text;
	}
	if (why != NULL) {
		log_say(LEVEL_ERR, "reload", "refused: %s; everything goes on as before", why);
	} else {
		s->reloads++;
		(void)snprintf(summary, sizeof summary, "%u added, %u changed, %u removed, %u as before, %u off, "
		    "%u faulty", did.added, did.changed, did.removed, did.same, did.off, did.faulty);
		if (did.lost > 0)
			(void)snprintf(summary + strlen(summary), sizeof summary - strlen(summary), ", %u not open for want of memory: "
			    "reload again", did.lost);
		log_say(LEVEL_NOTICE, "reload", "%s", summary);
	}
	control_reloaded(s->control, reload_number(s->reload), p, why, summary, did.lost == 0);
	s->refused = why != NULL;
	if (s->phase == PHASE_RUN)
		notify_ready(s->notify, NULL);
}

/* --- what the service manager is told */

static void
sentence(void *arg, struct buf *out)
{
	struct server *s = arg;
	const char *why = services_waits_for(s->services);
	unsigned n = 0, live = s->engine->live + away_live(s->engine);

	s->told_live = live;
	s->told_waiting = why != NULL;
	for (const struct unit *u = s->engine->units; u != NULL; u = u->next)
		n += u->listeners != NULL;
	if (s->phase != PHASE_RUN)
		buf_addf(out, "%s; ", s->phase == PHASE_DRAIN ? "no more connections are taken" :
		    s->phase == PHASE_STOP ? "the commands are told to end" : "ended; the commands live on");
	else
		buf_addf(out, "%u service%s, ", n, n == 1 ? "" : "s");
	buf_addf(out, "%u connection%s", live, live == 1 ? "" : "s");
	if (s->phase == PHASE_RUN && why != NULL)
		buf_addf(out, "; %s", why);
	if (s->phase == PHASE_RUN && s->refused)
		buf_addf(out, "; the last reload was refused");
}

int
server_up(struct server *s, int foreground, struct err *err)
{
	struct buf first = { 0 };
	int rc = 0;

	s->notify = notify_new(s->loop, foreground != -1 ? getppid() : 0, sentence, s);
	notify_ready(s->notify, foreground != -1 ? &first : NULL);
	if (foreground != -1)
		rc = daemon_started(foreground, &first, err);
	buf_free(&first);
	return rc;
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
	if (s->signals == -1)
		return err_sys(err, errno, "signalfd");
	s->signals_watch = loop_watch(s->loop, s->signals, EPOLLIN, signals_ready, s);
	if (s->signals_watch == 0)
		return err_sys(err, errno, "epoll");
	return 0;
}

struct server *
server_new(const struct config *c, const struct master *m, struct err *err)
{
	struct server *s = calloc(1, sizeof *s);
	const struct passwd *nobody;

	if (s == NULL) {
		(void)err_sys(err, errno, "cannot start");
		return NULL;
	}
	s->signals = -1;
	s->config = c;
	s->master = m;
	s->started = time(NULL);
	s->phase_over.fire = phase_over;
	s->phase_over.arg = s;
	reset_signals();
	s->loop = loop_new();
	/* The engine first: its low descriptors must be free. */
	if (s->loop == NULL || (s->engine = engine_new(s->loop)) == NULL ||
	    loop_timer_room(s->loop) == -1) {
		(void)err_sys(err, errno, "cannot start");
		server_free(s);
		return NULL;
	}
	s->services = services_new(s->engine);
	s->reload = reload_new(s->engine, c, reloading, reloaded, s);
	s->upgrade = upgrade_new(s);
	if (s->services == NULL || s->reload == NULL || s->upgrade == NULL) {
		(void)err_sys(err, ENOMEM, "cannot start");
		server_free(s);
		return NULL;
	}
	s->reaper = reaper_new(s->engine, s->upgrade, err);
	if (s->reaper == NULL || open_signals(s, err) == -1) {
		server_free(s);
		return NULL;
	}
	nobody = getpwnam("nobody");
	s->engine->lower = (struct lower){ nobody != NULL ? nobody->pw_uid : NOBODY,
		nobody != NULL ? nobody->pw_gid : NOBODY };
	s->engine->room = listener_room;
	s->engine->answer = answer;
	s->engine->answer_arg = s;
	s->pid = getpid();
	fd_reserve(DESCRIPTORS);
	return s;
}

bool
server_abandon(struct server *s)
{
	if (s->phase != PHASE_QUIT)
		return false;
	upgrade_abandon(s->upgrade);
	spawner_let_go(s->engine->spawner);
	services_abandon(s->services);
	control_abandon(s->control);
	return true;
}

void
server_free(struct server *s)
{
	if (s == NULL)
		return;
	notify_free(s->notify);
	if (s->engine != NULL) {
		for (const struct unit *u = s->engine->units; u != NULL; u = u->next)
			for (struct listener *l = u->listeners; l != NULL; l = l->next)
				l->pausing = true;	/* nobody else is accepted */
		upgrade_free(s->upgrade);
		control_free(s->control);
		reload_free(s->reload);
		services_free(s->services);
		away_free(s->engine);
		conn_free_all(s->engine);
	}
	while (s->engine != NULL && s->engine->units != NULL)
		unit_free(s->engine->units);
	while (s->engine != NULL && s->engine->gone != NULL)
		unit_free(s->engine->gone);
	reaper_free(s->reaper);
	service_free(s->defaults);
	free(s->lines);
	engine_free(s->engine);
	if (s->signals != -1)
		(void)close(s->signals);
	loop_free(s->loop);
	free(s);
}

int
server_begin(struct server *s, struct plan *p, bool first, struct err *err)
{
	struct applied did;
	int rc;

	/* A predecessor's entry is not served by what is known of it from there. */
	for (size_t i = 0; i < p->n && s->carry != NULL; i++)
		if (p->item[i].state == PLANNED_FAULTY)
			p->item[i].state = PLANNED_OFF;
	take_defaults(s, p->defaults);
	s->lines = p->lines;
	p->lines = NULL;
	/* A start is whole; who goes on for a predecessor goes on with what there is. */
	rc = services_apply(s->services, p, (first ? APPLY_FIRST : 0U) | (s->carry != NULL ? APPLY_ANYWAY : 0U), &did, err);
	return rc == 0 && did.lost > 0 && s->carry == NULL ? err_sys(err, ENOMEM, "cannot start") : rc;
}

void
server_on_term(struct server *s, enum on_term how)
{
	s->on_term = how;
}

void
server_log_diagnostics(struct server *s, bool said)
{
	if (s->lines != NULL && !said)
		log_diagnostics(s->lines);
	free(s->lines);
	s->lines = NULL;
}

void
server_upgrade(struct server *s)
{
	const char *why = s->config != NULL ? reload_refused(s->reload) : NULL;

	if (s->phase != PHASE_RUN)
		why = about_to_end;
	if (why != NULL)
		server_upgraded(s, why, "");
	else
		upgrade_begin(s->upgrade);
}

void
server_upgraded(struct server *s, const char *why, const char *said)
{
	unsigned lines = 0;

	for (const char *p = said; *p != '\0' && lines < SAID_LINES;) {
		size_t n = strcspn(p, "\n");

		/* In the log a diagnostic is its first line. */
		if (n > 0 && *p != ' ' && *p != '\t') {
			log_event(&(struct event){ .level = LEVEL_ERR, .name = "upgrade", .message = p, .message_len = n }, NULL);
			lines++;
		}
		p += n + (p[n] == '\n');
	}
	log_say(LEVEL_ERR, "upgrade", "refused: %s; this program goes on", why);
	control_upgraded(s->control, why, said);
}

void
server_carry(const struct server *s, const char *program, struct buf *out, struct buf *fds)
{
	const struct master *m = s->master;

	state_begin(out, "server");
	state_number(out, "started", s->started);
	state_number(out, "reloads", (int64_t)s->reloads);
	state_number(out, "log_lost", (int64_t)sinks_unwritten());
	state_number(out, "nofile", m->raised ? (int64_t)m->nofile.rlim_cur : 0);
	state_text(out, "cwd", m->cwd);
	state_text(out, "program", program);
	state_number(out, "reload", reload_again(s->reload));
	state_end(out);
	reload_carry(s->reload, out);
	inherited_carry(s->engine, out);
	state_begin(out, "begin");
	state_end(out);
	services_carry(s->services, out);
	control_carry(s->control, out, fds);
}

int
server_resume(struct server *s, struct inherited_state *had, struct err *err)
{
	struct fact f;

	s->started = had->started;
	s->reloads = had->reloads;
	services_resumed(s->services);
	s->carry = carry_new(s->engine);
	if (s->carry == NULL)
		return err_sys(err, ENOMEM, "cannot go on");
	for (size_t i = 0; i < had->on.n; i++)
		(void)reload_override(s->reload, had->on.word[i], true);
	for (size_t i = 0; i < had->off.n; i++)
		(void)reload_override(s->reload, had->off.word[i], false);
	while (state_next(&had->at, &f)) {
		if (strcmp(f.kind, "control") == 0 || strcmp(f.kind, "asker") == 0) {
			if (!control_resume(&s->control, s, &f))
				log_say(LEVEL_ERR, "upgrade", "lost: %s", f.kind[0] == 'c' ? "the control socket" :
				    "who asked something at the control socket");
		} else if (strcmp(f.kind, "rpc") == 0)
			services_resume(s->services, &f);
		else if (carry_read(s->carry, &f, err) == -1)
			log_say(LEVEL_ERR, "upgrade", "lost: %s", err->text);	/* the others are not to share its fate */
	}
	return 0;
}

void
server_resumed(struct server *s, const char *shown, bool reload)
{
	carry_finish(s->carry);
	s->carry = NULL;
	server_log_diagnostics(s, false);
	/* Of who ended meanwhile the signal may be lost. */
	reaper_look(s->reaper);
	log_say(LEVEL_NOTICE, "upgrade", "done: version %s goes on with %u children", VERSION, s->engine->live);
	control_upgraded(s->control, NULL, shown != NULL ? shown : "");
	if (reload)
		(void)reload_begin(s->reload);
}

bool
server_is_asked(const struct server *s)
{
	return control_queues(s->control) || services_register(s->services);
}

bool
server_serves(const struct server *s)
{
	return s->phase == PHASE_RUN;
}

struct engine *
server_engine(const struct server *s)
{
	return s->engine;
}

struct services *
server_services(const struct server *s)
{
	return s->services;
}

struct reload *
server_reload(const struct server *s)
{
	return s->reload;
}

const struct config *
server_config(const struct server *s)
{
	return s->config;
}

int
server_control(struct server *s, const char *path, struct err *err)
{
	char usual[CONTROL_PATH];

	if (path == NULL && (s->config == NULL || !control_default(usual)))
		return 0;
	/* A process of a predecessor that was killed may have it for another moment. */
	for (int i = 0; i < TRIES; i++) {
		s->control = control_open(s, path != NULL ? path : usual, err);
		if (s->control != NULL || err->system != EADDRINUSE)
			break;
		(void)poll(NULL, 0, TRY_AGAIN);
	}
	return s->control != NULL ? 0 : -1;
}

size_t
server_listening(const struct server *s, const char **why)
{
	return services_listening(s->services, why);
}

void
server_ready_lines(const struct server *s, struct buf *out)
{
	services_ready_lines(s->services, out);
}

void
server_log_listeners(const struct server *s)
{
	services_log(s->services);
}

int
server_run(struct server *s, struct err *err)
{
	static const char *const ways[] = { "clone", "vfork", "fork" };

	log_say(LEVEL_DEBUG, "debug", "children are started by %s", ways[spawner_way(s->engine->spawner)]);
	while (s->phase != PHASE_QUIT) {
		if (loop_run_once(s->loop, log_flush(clock_ms())) == -1)
			return err_sys(err, errno, "epoll");
		away_flush(s->engine);
		units_bury(s->engine);
		if (s->engine->live + away_live(s->engine) != s->told_live || s->told_waiting != (services_waits_for(s->services) != NULL))
			notify_changed(s->notify);
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

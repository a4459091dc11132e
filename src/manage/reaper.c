#include "manage/reaper.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "serve/connection.h"

enum {
	SWEEP = 200,		/* ms between searches for strangers */
	SWEEP_LEAST = 5,	/* where somebody waits for one */
	SWEEP_MOST = 64,	/* processes reaped in one: for each another may be started, which may have ended by then */
};

struct reaper {
	struct engine *engine;
	struct loop *loop;	/* the engine's */
	struct upgrade *upgrade;
	int fd;			/* a signalfd */
	uint32_t watch;
	struct timer due;
	int64_t swept;
	bool more;		/* may be left of the last search: the next one is due at once */
};

/* Reaps whoever has ended, children and strangers. */
static void
sweep(struct reaper *r)
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
		if (!upgrade_reaped(r->upgrade, &end))
			conn_reaped(r->engine, &end);
	}
	r->swept = loop_now(r->loop);
	r->more = i == SWEEP_MOST;
	if (r->more)	/* and no further signal */
		loop_timer(r->loop, &r->due, r->swept);
}

/* For a connection that waits for the last of its group. */
static void
sweep_soon(void *arg)
{
	struct reaper *r = arg;

	if (loop_now(r->loop) - r->swept >= SWEEP_LEAST)
		sweep(r);
}

static void
sweep_due(void *arg, int64_t now)
{
	struct reaper *r = arg;

	(void)now;
	sweep(r);
	(void)loop_change(r->loop, r->watch, EPOLLIN | EPOLLONESHOT);
}

/*
 * SIGCHLD. Children are found by their pidfd; a search walks all of them in the kernel, so for
 * strangers' sake it is made a few times a second at most.
 */
static void
signalled(void *arg, uint32_t events)
{
	struct reaper *r = arg;
	struct signalfd_siginfo si;

	(void)events;
	while (read(r->fd, &si, sizeof si) == (ssize_t)sizeof si)
		;
	if (r->engine->no_pidfd || loop_now(r->loop) - r->swept >= SWEEP)
		sweep_due(r, 0);
	else if (!r->more)	/* else the timer runs, and sooner */
		loop_timer(r->loop, &r->due, r->swept + SWEEP);
}

struct reaper *
reaper_new(struct engine *e, struct upgrade *upgrade, struct err *err)
{
	struct reaper *r = calloc(1, sizeof *r);
	sigset_t set;

	if (r == NULL || loop_timer_room(e->loop) == -1) {
		free(r);
		(void)err_sys(err, ENOMEM, "cannot start");
		return NULL;
	}
	*r = (struct reaper){ .engine = e, .loop = e->loop, .upgrade = upgrade, .due = { .fire = sweep_due, .arg = r },
		.swept = INT64_MIN / 2 };
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	r->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	r->watch = r->fd != -1 ? loop_watch(r->loop, r->fd, EPOLLIN | EPOLLONESHOT, signalled, r) : 0;
	if (r->watch == 0) {
		(void)err_sys(err, errno, r->fd != -1 ? "epoll" : "signalfd");
		reaper_free(r);
		return NULL;
	}
	e->sweep = sweep_soon;
	e->sweep_arg = r;
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	return r;
}

void
reaper_free(struct reaper *r)
{
	if (r == NULL)
		return;
	r->engine->sweep = NULL;
	loop_timer_stop(r->loop, &r->due);
	loop_timer_leave(r->loop);
	loop_close(r->loop, r->watch, r->fd);
	free(r);
}

void
reaper_look(struct reaper *r)
{
	loop_timer(r->loop, &r->due, loop_now(r->loop));
}

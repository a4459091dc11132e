#include "manage/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/num.h"
#include "base/str.h"
#include "child/helper.h"
#include "serve/away.h"
#include "serve/carry.h"

#ifndef UPGRADE_LONGEST
#define UPGRADE_LONGEST 60	/* s: for the check */
#endif

enum {
	CALM = SECOND,		/* ms: so long starts in flight are waited for */
	LAST = SECOND,		/* ms: so long the end of a check that has said all it says */
	STEP = 5,		/* ms between looks */
	STILL = 20,		/* ms: so long nothing else is done, that starts in flight get through */
	STILL_AGAIN = 200,	/* ms between those */
	SAID_MOST = 16 << 20,	/* bytes of what a program says that is not to take over */
	PLAN_MOST = 1 << 29,
	SHOWN_MOST = 1 << 16,	/* bytes of it that are told on */
};

#define STATE "SERVER_STATE"	/* the descriptor of the records */
#define CHECK "SERVER_CHECK"
#define SOUND "\001sound "	/* what the program says when it could: behind it the plan's length, a newline, the plan */
#define END "end\n"		/* of the records */

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

enum step {
	IDLE,
	WAITS,			/* for a reload to end */
	CHECKS,
	ENDS,			/* the check has said all, and was not sound: why? */
	CALMS,			/* starts in flight are to end */
};

static char **arguments;
static char program[PATH_MAX];	/* where it is looked for */

struct upgrade {
	struct server *server;
	struct loop *loop;
	enum step step;
	int exe;		/* the program that is checked, and then run; -1 */
	struct stat was;	/* what it was when it was opened */
	int answer;		/* of the process that checks; -1 */
	uint32_t watch;
	pid_t pid;		/* its own, and its group's; 0: there is none, or it was reaped */
	struct ended end;	/* how it ended, once pid is 0 */
	struct buf said;	/* by it */
	size_t plan, whole;	/* in that: where the plan begins, where it ends; 0: nowhere yet */
	struct timer timer;
	int64_t until, still_at;
};

/*
 * The name by which it was started, if that leads to what runs: a link may lead to another program by
 * then. Else where the kernel found it.
 */
static void
find_program(void)
{
	const char *name = (const char *)getauxval(AT_EXECFN);
	ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
	struct stat named, runs;
	char cwd[PATH_MAX];

	program[n > 0 ? n : 0] = '\0';
	if (name == NULL || strncmp(name, "/dev/fd/", 8) == 0 || strncmp(name, "/proc/", 6) == 0 ||
	    stat(name, &named) == -1)
		return;
	if (n > 0 && stat("/proc/self/exe", &runs) == 0 && (runs.st_dev != named.st_dev || runs.st_ino != named.st_ino))
		return;
	if (name[0] == '/')
		(void)snprintf(program, sizeof program, "%s", name);
	else if (getcwd(cwd, sizeof cwd) != NULL && strlen(cwd) + strlen(name) + 2 <= sizeof program)
		(void)snprintf(program, sizeof program, "%.*s/%.*s", (int)strlen(cwd), cwd, (int)strlen(name), name);
}

void
upgrade_note(char **argv)
{
	arguments = argv;
	find_program();
}

/* --- what is handed over */

static int
make_memory(void)
{
	int fd = memfd_create("server-state", MFD_CLOEXEC | MFD_NOEXEC_SEAL);

	return fd == -1 && errno == EINVAL ? memfd_create("server-state", MFD_CLOEXEC) : fd;
}

/*
 * All of it in memory that goes with the exec: the records, then the plan that the successor has made
 * of the tables itself when it was checked. The descriptors are appended to fds; NULL: for the check, which
 * only needs to know what form the records have. -1: err.
 */
static int
write_state(const struct upgrade *u, struct buf *fds, struct err *err)
{
	struct buf out = { 0 }, none = { 0 };
	int fd = make_memory(), rc = -1;

	server_carry(u->server, program, &out, fds != NULL ? fds : &none);
	if (fds != NULL)
		carry_write(server_engine(u->server), &out, fds);
	else
		carry_form(server_engine(u->server), &out);
	buf_add(&out, END, strlen(END));
	if (fds != NULL)
		buf_add(&out, u->said.data + u->plan, u->whole - u->plan);
	if (out.failed || none.failed || (fds != NULL && fds->failed))
		(void)err_sys(err, ENOMEM, "its state cannot be written");
	else if (fd == -1 || fd_write_all(fd, out.data, out.len) == -1)
		(void)err_sys(err, errno, "its state cannot be written");
	else
		rc = fd;
	if (rc == -1 && fd != -1)
		(void)close(fd);
	buf_free(&out);
	buf_free(&none);
	return rc;
}

/* The environment, with two words more. NULL: no memory. */
static char **
make_environment(int state, bool check)
{
	extern char **environ;
	static char of_state[32], of_check[] = CHECK "=1";
	char **env;
	size_t n = 0;

	while (environ[n] != NULL)
		n++;
	env = calloc(n + 3, sizeof *env);
	if (env == NULL)
		return NULL;
	memcpy(env, environ, n * sizeof *env);
	(void)snprintf(of_state, sizeof of_state, STATE "=%d", state);
	env[n++] = of_state;
	if (check)
		env[n++] = of_check;
	return env;
}

static void
keep_open(const struct buf *fds, bool open)
{
	for (size_t i = 0; i + sizeof(int) <= fds->len; i += sizeof(int)) {
		int fd;

		memcpy(&fd, fds->data + i, sizeof fd);
		(void)fcntl(fd, F_SETFD, open ? 0 : FD_CLOEXEC);
	}
}

/* Runs the program that was opened. Comes back only if that cannot be done: errno. */
static void
become(int exe, int state, bool check)
{
	char **env = make_environment(state, check);

	if (env == NULL)
		return;
	(void)fcntl(state, F_SETFD, 0);
	(void)lseek(state, 0, SEEK_SET);
	(void)syscall(SYS_execveat, exe, "", arguments, env, AT_EMPTY_PATH);	/* musl has no word for it */
	(void)fcntl(state, F_SETFD, FD_CLOEXEC);
	free(env);
}

/* --- the check */

struct checking { int exe, state; };

static void
check(int answer, void *arg)
{
	const struct checking *k = arg;

	(void)setsid();		/* the master takes who ends in its own group for a burial */
	(void)alarm(UPGRADE_LONGEST);
	(void)dup2(answer, STDOUT_FILENO);
	(void)dup2(answer, STDERR_FILENO);
	become(k->exe, k->state, true);
	(void)dprintf(STDERR_FILENO, "%s: cannot execute it: %s\n", program,
	    errno == ENOENT ? "a script, or its loader is not there" : strerror(errno));
}

/* Nothing of the check is left, whatever it was. */
static void
end_check(struct upgrade *u)
{
	if (u->pid != 0)
		(void)kill(-u->pid, SIGKILL);
	u->pid = 0;
	loop_close(u->loop, u->watch, u->answer);
	u->watch = 0;
	u->answer = -1;
	loop_timer_stop(u->loop, &u->timer);
	if (u->exe != -1)
		(void)close(u->exe);
	u->exe = -1;
}

/* What it said, as text that does no harm to who reads it, and not too much of it. */
static void
tame(struct buf *b)
{
	if (b->failed || b->data == NULL)
		return;
	if (b->len > SHOWN_MOST)
		b->len = SHOWN_MOST;
	for (size_t i = 0; i < b->len; i++)
		if (((unsigned char)b->data[i] < ' ' && b->data[i] != '\n' && b->data[i] != '\t') || b->data[i] == 0x7f)
			b->data[i] = '?';
	buf_add(b, "", 1);
}

static void
refuse(struct upgrade *u, const char *why)
{
	end_check(u);
	u->step = IDLE;
	if (u->plan != 0)
		u->said.len = 0;	/* it is nothing to read */
	tame(&u->said);
	server_upgraded(u->server, why, u->said.failed || u->said.data == NULL ? "" : u->said.data);
	buf_free(&u->said);
	reload_hold(server_reload(u->server), false);
}

static bool
is_same(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	    a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	    a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static void
go(struct upgrade *u)
{
	struct buf fds = { 0 };
	struct stat is;
	struct err err;
	int state;

	/* That it was written to in place is not seen by the descriptor: what would run was not checked. */
	if (fstat(u->exe, &is) == -1 || !is_same(&is, &u->was)) {
		refuse(u, "the program on disk was changed while it was checked");
		return;
	}
	/* What the log does not take now is lost; that is counted, and told by the successor. */
	engine_tell_dropped(server_engine(u->server));
	log_say(LEVEL_NOTICE, "upgrade", "this process becomes %s", program);
	(void)log_flush(0);
	state = write_state(u, &fds, &err);
	if (state == -1) {
		buf_free(&fds);
		refuse(u, err.text);
		return;
	}
	keep_open(&fds, true);
	spawner_let_go(server_engine(u->server)->spawner);
	become(u->exe, state, false);
	(void)err_sys(&err, errno, "%s: cannot execute it", program);
	keep_open(&fds, false);
	(void)close(state);
	buf_free(&fds);
	refuse(u, err.text);
}

/*
 * Are no starts in flight? Under load there always are some: then none is begun for some ms, now and
 * again, by waiting here.
 */
static bool
is_still(struct upgrade *u, int64_t now)
{
	struct spawner *s = server_engine(u->server)->spawner;

	for (int ms = 0; ms < STILL && now >= u->still_at && spawner_busy(s); ms++) {
		(void)spawner_settle(s);
		(void)poll(NULL, 0, 1);
	}
	if (now >= u->still_at)
		u->still_at = now + STILL_AGAIN;
	return !spawner_busy(s);
}

/*
 * Children in flight tell of a step that failed in memory that the successor does not have, and a
 * worker that takes no connections now would lose those: a while is waited.
 */
static void
look_for_calm(struct upgrade *u, int64_t now)
{
	const struct engine *e = server_engine(u->server);
	/* Who had begun a handshake with an address that is closed has a moment to end it. */
	bool calm = !away_unsent(e) && !server_is_asked(u->server) && e->parting == NULL;

	if ((calm && is_still(u, now)) || now >= u->until) {
		if (away_unsent(e))
			refuse(u, "the worker takes no connections now");
		else
			go(u);
		return;
	}
	loop_timer(u->loop, &u->timer, now + STEP);
}

/* Why the check was not passed, as far as its end tells. */
static void
blame(struct upgrade *u)
{
	char why[200];

	if (u->pid != 0)
		(void)snprintf(why, sizeof why, "the program on disk says no word that this one knows");
	else if (u->end.signalled)
		(void)snprintf(why, sizeof why, "the program on disk ended by signal %d when it was checked", u->end.status);
	else if (u->end.status == 0)
		(void)snprintf(why, sizeof why, "the program on disk ended without a word that this one knows");
	else
		(void)snprintf(why, sizeof why, "the program on disk cannot take over: it ended with status %d", u->end.status);
	refuse(u, why);
}

static void
look_for_end(struct upgrade *u, int64_t now)
{
	siginfo_t si = { .si_pid = 0 };

	if (u->pid != 0 && waitid(P_PID, (id_t)u->pid, &si, WEXITED | WNOHANG) == 0 && si.si_pid != 0) {
		u->end = (struct ended){ .status = si.si_status, .signalled = si.si_code != CLD_EXITED };
		u->pid = 0;
	}
	if (u->pid == 0 || now >= u->until)
		blame(u);
	else
		loop_timer(u->loop, &u->timer, now + STEP);
}

static void
checked(struct upgrade *u)
{
	loop_close(u->loop, u->watch, u->answer);
	u->watch = 0;
	u->answer = -1;
	if (u->whole != 0 && u->said.len == u->whole && !u->said.failed) {
		u->step = CALMS;
		u->until = loop_now(u->loop) + CALM;
		u->still_at = 0;
		look_for_calm(u, loop_now(u->loop));
		return;
	}
	u->step = ENDS;
	u->until = loop_now(u->loop) + LAST;
	look_for_end(u, loop_now(u->loop));
}

/* Looks in what has come since for the word that the plan follows. */
static void
look_for_plan(struct upgrade *u, size_t from)
{
	size_t word = strlen(SOUND);
	const char *at, *eol, *end = u->said.data + u->said.len;
	uint64_t len;
	char digits[24];

	if (u->plan != 0)
		return;
	from = from > word + sizeof digits ? from - word - sizeof digits : 0;
	at = memmem(u->said.data + from, u->said.len - from, SOUND, word);
	eol = at != NULL ? memchr(at + word, '\n', (size_t)(end - at) - word) : NULL;
	if (eol == NULL || (size_t)(eol - at) - word >= sizeof digits)
		return;
	memcpy(digits, at + word, (size_t)(eol - at) - word);
	digits[(size_t)(eol - at) - word] = '\0';
	if (!num_parse(digits, 1, PLAN_MOST, &len))
		return;
	u->plan = (size_t)(eol + 1 - u->said.data);
	u->whole = u->plan + (size_t)len;
}

static void
answered(void *arg, uint32_t events)
{
	struct upgrade *u = arg;
	static char piece[65536];
	ssize_t n = read(u->answer, piece, sizeof piece);
	size_t had = u->said.len;

	(void)events;
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		checked(u);
		return;
	}
	buf_add(&u->said, piece, (size_t)n);
	if (!u->said.failed)
		look_for_plan(u, had);
	if (u->said.failed || u->said.len > (u->whole != 0 ? u->whole : SAID_MOST))
		refuse(u, "the program on disk says more than it should");
}

/* -1: err. */
static int
start_check(struct upgrade *u, struct err *err)
{
	struct checking k = { .state = -1 };
	int fds[2] = { -1, -1 };
	pid_t pid = -1;

	u->exe = open(program, O_PATH | O_CLOEXEC);	/* it need not be readable */
	if (u->exe == -1 || fstat(u->exe, &u->was) == -1)
		return err_sys(err, errno, "%s: cannot open it", program);
	k.exe = u->exe;
	k.state = write_state(u, NULL, err);
	if (k.state == -1)
		return -1;
	if (pipe2(fds, O_CLOEXEC) == 0) {
		(void)fcntl(fds[0], F_SETFL, O_NONBLOCK);
		pid = helper_start(fds[1], true, check, &k);
	}
	if (pid == -1)
		(void)err_sys(err, errno, "no process for the check");
	(void)close(k.state);
	if (fds[1] != -1)
		(void)close(fds[1]);
	u->answer = fds[0];
	u->pid = pid != -1 ? pid : 0;
	if (pid == -1)
		return -1;
	u->watch = loop_watch(u->loop, u->answer, EPOLLIN, answered, u);
	if (u->watch == 0)
		return err_sys(err, errno, "epoll");
	u->until = loop_now(u->loop) + (int64_t)UPGRADE_LONGEST * SECOND;
	loop_timer(u->loop, &u->timer, u->until);
	return 0;
}

/* A reload that is on its way would be undone by a plan that is older than it. */
static void
look_for_reload(struct upgrade *u, int64_t now)
{
	struct err err;

	if (reload_runs(server_reload(u->server))) {
		loop_timer(u->loop, &u->timer, now + STEP);
		return;
	}
	u->step = CHECKS;
	if (start_check(u, &err) == -1)
		refuse(u, err.text);
}

static void
due(void *arg, int64_t now)
{
	struct upgrade *u = arg;

	switch (u->step) {
	case IDLE:
		break;
	case WAITS:
		look_for_reload(u, now);
		break;
	case CHECKS:
		refuse(u, "the program on disk came to no end in time");
		break;
	case ENDS:
		look_for_end(u, now);
		break;
	case CALMS:
		look_for_calm(u, now);
		break;
	}
}

void
upgrade_begin(struct upgrade *u)
{
	if (u->step != IDLE)
		return;
	u->step = WAITS;
	u->plan = u->whole = 0;
	reload_hold(server_reload(u->server), true);
	look_for_reload(u, clock_ms());
}

void
upgrade_cancel(struct upgrade *u, const char *why)
{
	if (u->step == IDLE)
		return;
	refuse(u, why);
}

void
upgrade_abandon(struct upgrade *u)
{
	end_check(u);
}

bool
upgrade_reaped(struct upgrade *u, const struct ended *end)
{
	if (u->pid == 0 || end->pid != u->pid)
		return false;
	u->pid = 0;
	u->end = *end;
	return true;
}

struct upgrade *
upgrade_new(struct server *s)
{
	struct upgrade *u = calloc(1, sizeof *u);

	if (u == NULL || loop_timer_room(server_engine(s)->loop) == -1) {
		free(u);
		return NULL;
	}
	*u = (struct upgrade){ .server = s, .loop = server_engine(s)->loop, .exe = -1, .answer = -1,
		.timer = { .fire = due, .arg = u } };
	return u;
}

void
upgrade_free(struct upgrade *u)
{
	if (u == NULL)
		return;
	end_check(u);
	loop_timer_leave(u->loop);
	buf_free(&u->said);
	free(u);
}

/* --- the successor */

static int
read_socket(struct inherited_state *s, const struct fact *f)
{
	struct told_socket *p = realloc(s->sockets, (s->nsockets + 1) * sizeof *p);

	if (p == NULL)
		return -1;
	s->sockets = p;
	p[s->nsockets++] = (struct told_socket){ (uint64_t)state_get(f, "from", 0), (int)state_get(f, "type", 0),
		(int)state_get(f, "family", 0) };
	return 0;
}

int
upgrade_inherited(void *had, struct address *a, struct err *err)
{
	const struct inherited_state *s = had;
	uint64_t from = where_hash(&a->where);

	(void)err;
	for (size_t i = 0; i < s->nsockets; i++) {
		if (s->sockets[i].from == from) {
			a->found.type = s->sockets[i].type;
			a->found.family = s->sockets[i].family;
		}
	}
	return 0;
}

/* What is of the whole process: before anything else is made of the records. */
static int
read_server(struct inherited_state *s, struct err *err)
{
	struct fact f;

	if (!state_next(&s->at, &f) || strcmp(f.kind, "server") != 0)
		return err_set(err, STATE ": the predecessor's state begins with something unknown");
	s->started = state_get(&f, "started", 0);
	s->reload = state_get(&f, "reload", 0) != 0;
	if (state_get_text(&f, "program") != NULL)
		(void)snprintf(program, sizeof program, "%s", state_get_text(&f, "program"));
	s->reloads = (uint64_t)state_get(&f, "reloads", 0);
	s->log_lost = (uint64_t)state_get(&f, "log_lost", 0);
	s->nofile = (uint64_t)state_get(&f, "nofile", 0);
	(void)snprintf(s->cwd, sizeof s->cwd, "%s", state_get_text(&f, "cwd") != NULL ? state_get_text(&f, "cwd") : "");
	while (state_next(&s->at, &f) && strcmp(f.kind, "begin") != 0) {
		const char *id = state_get_text(&f, "id");

		if (strcmp(f.kind, "override") == 0 && id != NULL &&
		    words_add(state_get(&f, "on", 0) != 0 ? &s->on : &s->off, id) == -1)
			return err_sys(err, ENOMEM, STATE);
		if (strcmp(f.kind, "inherited") == 0 && read_socket(s, &f) == -1)
			return err_sys(err, ENOMEM, STATE);
	}
	return 0;
}

int
upgrade_take(struct inherited_state *s, struct err *err)
{
	const char *text = getenv(STATE);
	struct stat st;
	uint64_t fd;
	char *end;

	*s = (struct inherited_state){ .check = text != NULL && getenv(CHECK) != NULL };
	(void)unsetenv(CHECK);
	if (text == NULL)
		return 0;
	if (!num_parse(text, 3, INT_MAX, &fd) || fstat((int)fd, &st) == -1 || !S_ISREG(st.st_mode))
		return err_set(err, STATE "=%s: no descriptor of a predecessor's state; unset " STATE, text);
	s->text = s->at = malloc((size_t)st.st_size + 1);
	if (s->text == NULL)
		return err_sys(err, ENOMEM, STATE "=%s", text);
	if (pread((int)fd, s->text, (size_t)st.st_size, 0) != (ssize_t)st.st_size)
		return err_set(err, STATE "=%s: the predecessor's state cannot be read", text);
	end = memmem(s->text, (size_t)st.st_size, "\n" END, strlen("\n" END));
	if (end == NULL)
		return err_set(err, STATE "=%s: no whole state of a predecessor; unset " STATE, text);
	(void)close((int)fd);
	(void)unsetenv(STATE);
	fd_cloexec_from(3);
	end[1] = '\0';
	s->plan = end + strlen("\n" END);
	s->plan_len = (size_t)st.st_size - (size_t)(s->plan - s->text);
	if (read_server(s, err) == -1)
		return -1;
	/* An exec by descriptor leaves the descriptor's number as the process's name. */
	(void)prctl(PR_SET_NAME, str_basename(program));
	return 0;
}

void
upgrade_read(struct inherited_state *s)
{
	free(s->text);
	s->text = s->at = NULL;
	s->plan = NULL;
}

void
upgrade_drop(struct inherited_state *s)
{
	free(s->sockets);
	words_free(&s->on);
	words_free(&s->off);
	upgrade_read(s);
}

int
upgrade_look(struct inherited_state *s, struct err *err)
{
	struct fact f;

	while (state_next(&s->at, &f))
		if (strcmp(f.kind, "engine") == 0)
			return carry_look(&f, err);
	return err_set(err, STATE ": the predecessor's state tells of no services");
}

void
upgrade_say_sound(const struct buf *plan)
{
	char head[40];
	int n = snprintf(head, sizeof head, SOUND "%zu\n", plan->len);

	(void)fflush(stdout);
	(void)fflush(stderr);
	if (!plan->failed && fd_write_all(STDOUT_FILENO, head, (size_t)n) == 0)
		(void)fd_write_all(STDOUT_FILENO, plan->data, plan->len);
}

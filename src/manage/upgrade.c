#include "manage/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/num.h"
#include "child/helper.h"
#include "serve/away.h"
#include "serve/carry.h"

enum {
	LONGEST = 60,		/* s: for the check */
	CALM = SECOND,		/* ms: so long starts in flight are waited for */
	STEP = 5,		/* ms between looks whether they are over */
};

#define STATE "SERVER_STATE"	/* the descriptor of the records */
#define CHECK "SERVER_CHECK"
#define SOUND "\001sound\n"	/* what the program says when it could; the plan follows */
#define END "end\n"		/* of the records */

static char **arguments;
static char program[PATH_MAX];	/* where it was when this one began */

struct upgrade {
	struct server *server;
	struct loop *loop;
	int exe;		/* the program that is checked, and then run; -1 */
	int answer;		/* of the process that checks; -1 */
	uint32_t watch;
	struct buf said;	/* by the process that checks */
	struct buf plan;	/* the end of it */
	struct timer calm;	/* when to look again whether all is quiet */
	int64_t until;
};

void
upgrade_note(char **argv)
{
	ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);

	arguments = argv;
	program[n > 0 ? n : 0] = '\0';
}

/* --- what is handed over */

/*
 * All of it in memory that goes with the exec: the records, then the plan that the successor has made
 * of the tables itself when it was checked. The descriptors are appended to fds. -1: err.
 */
static int
write_state(struct upgrade *u, struct buf *fds, struct err *err)
{
	struct buf out = { 0 };
	int fd = memfd_create("server-state", MFD_CLOEXEC), rc = -1;

	server_carry(u->server, &out, fds);
	carry_write(server_engine(u->server), &out, fds);
	buf_add(&out, END, strlen(END));
	buf_add(&out, u->plan.data, u->plan.len);
	if (out.failed || fds->failed)
		(void)err_sys(err, ENOMEM, "its state cannot be written");
	else if (fd == -1 || fd_write_all(fd, out.data, out.len) == -1)
		(void)err_sys(err, errno, "its state cannot be written");
	else
		rc = fd;
	if (rc == -1 && fd != -1)
		(void)close(fd);
	buf_free(&out);
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
	(void)alarm(LONGEST);
	(void)dup2(answer, STDOUT_FILENO);
	(void)dup2(answer, STDERR_FILENO);
	become(k->exe, k->state, true);
	(void)dprintf(STDERR_FILENO, "%s: cannot execute it: %s\n", program, strerror(errno));
}

static void
refuse(struct upgrade *u, const char *why)
{
	if (u->exe != -1)
		(void)close(u->exe);
	u->exe = -1;
	loop_timer_stop(u->loop, &u->calm);
	buf_add(&u->said, "", 1);
	server_upgraded(u->server, why, u->said.failed || u->said.data == NULL ? "" : u->said.data);
	buf_free(&u->said);
	buf_free(&u->plan);
}

static void
go(struct upgrade *u)
{
	struct buf fds = { 0 };
	struct err err;
	int state = write_state(u, &fds, &err);

	if (state == -1) {
		buf_free(&fds);
		refuse(u, err.text);
		return;
	}
	log_say(LEVEL_NOTICE, "upgrade", "this process becomes %s", program);
	(void)log_flush(0);
	keep_open(&fds, true);
	become(u->exe, state, false);
	(void)err_sys(&err, errno, "%s: cannot execute it", program);
	keep_open(&fds, false);
	(void)close(state);
	buf_free(&fds);
	refuse(u, err.text);
}

/*
 * Children in flight tell of a step that failed in memory that the successor does not have, and a
 * worker that takes no connections now would lose those: a while is waited.
 */
static void
look_for_calm(void *arg, int64_t now)
{
	struct upgrade *u = arg;
	const struct engine *e = server_engine(u->server);
	bool calm = !away_unsent(e);

	for (const struct unit *x = e->units; x != NULL && calm; x = x->next)
		calm = x->starting == 0;
	if (calm || now >= u->until) {
		if (away_unsent(e))
			refuse(u, "the worker takes no connections now");
		else
			go(u);
		return;
	}
	loop_timer(u->loop, &u->calm, now + STEP);
}

static void
checked(struct upgrade *u)
{
	const char *sound = u->said.failed ? NULL : memmem(u->said.data, u->said.len, SOUND, strlen(SOUND));

	loop_close(u->loop, u->watch, u->answer);
	u->watch = 0;
	u->answer = -1;
	if (sound == NULL) {
		refuse(u, "the program on disk cannot take over");
		return;
	}
	buf_add(&u->plan, sound + strlen(SOUND), u->said.len - (size_t)(sound - u->said.data) - strlen(SOUND));
	u->said.len = (size_t)(sound - u->said.data);
	if (!server_serves(u->server)) {
		refuse(u, "the server is about to end");
		return;
	}
	u->until = clock_ms() + CALM;
	look_for_calm(u, loop_now(u->loop));
}

static void
answered(void *arg, uint32_t events)
{
	struct upgrade *u = arg;
	static char piece[65536];
	ssize_t n = read(u->answer, piece, sizeof piece);

	(void)events;
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		buf_add(&u->said, piece, (size_t)n);
	else
		checked(u);
}

/* -1: err. */
static int
start_check(struct upgrade *u, struct err *err)
{
	struct checking k = { .state = -1 };
	struct buf fds = { 0 };
	int fds2[2] = { -1, -1 };
	pid_t pid = -1;

	u->exe = open(program, O_RDONLY | O_CLOEXEC);
	if (u->exe == -1)
		return err_sys(err, errno, "%s: cannot open it", program);
	k.exe = u->exe;
	k.state = write_state(u, &fds, err);
	buf_free(&fds);
	if (k.state == -1)
		return -1;
	if (pipe2(fds2, O_CLOEXEC) == 0) {
		(void)fcntl(fds2[0], F_SETFL, O_NONBLOCK);
		pid = helper_start(fds2[1], true, NULL, check, &k);
	}
	if (pid == -1)
		(void)err_sys(err, errno, "no process for the check");
	(void)close(k.state);
	if (fds2[1] != -1)
		(void)close(fds2[1]);
	u->answer = fds2[0];
	if (pid != -1 && (u->watch = loop_watch(u->loop, u->answer, EPOLLIN, answered, u)) != 0)
		return 0;
	if (pid != -1)
		(void)err_sys(err, errno, "epoll");
	if (u->answer != -1)
		(void)close(u->answer);
	u->answer = -1;
	return -1;
}

void
upgrade_begin(struct upgrade *u)
{
	struct err err;

	if (upgrade_runs(u))
		return;
	if (start_check(u, &err) == -1)
		refuse(u, err.text);
}

bool
upgrade_runs(const struct upgrade *u)
{
	return u->exe != -1;
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
		.calm = { .fire = look_for_calm, .arg = u } };
	return u;
}

void
upgrade_free(struct upgrade *u)
{
	if (u == NULL)
		return;
	loop_timer_stop(u->loop, &u->calm);
	loop_timer_leave(u->loop);
	loop_close(u->loop, u->watch, u->answer);
	if (u->exe != -1)
		(void)close(u->exe);
	buf_free(&u->said);
	buf_free(&u->plan);
	free(u);
}

/* --- the successor */

/* What is of the whole process: before anything else is made of the records. */
static int
read_server(struct inherited_state *s, struct err *err)
{
	struct fact f;

	if (!state_next(&s->at, &f) || strcmp(f.kind, "server") != 0)
		return err_set(err, STATE ": the predecessor's state begins with something unknown");
	s->started = state_get(&f, "started", 0);
	s->reloads = (uint64_t)state_get(&f, "reloads", 0);
	s->nofile = (uint64_t)state_get(&f, "nofile", 0);
	(void)snprintf(s->cwd, sizeof s->cwd, "%s", state_get_text(&f, "cwd") != NULL ? state_get_text(&f, "cwd") : "");
	while (state_next(&s->at, &f) && strcmp(f.kind, "begin") != 0) {
		const char *id = state_get_text(&f, "id");

		if (strcmp(f.kind, "override") == 0 && id != NULL &&
		    words_add(state_get(&f, "on", 0) != 0 ? &s->on : &s->off, id) == -1)
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

	*s = (struct inherited_state){ .check = getenv(CHECK) != NULL };
	if (text == NULL)
		return 0;
	if (!num_parse(text, 3, INT_MAX, &fd) || fstat((int)fd, &st) == -1 || !S_ISREG(st.st_mode))
		return err_set(err, STATE ": descriptor %s holds no state of a predecessor", text);
	s->text = s->at = malloc((size_t)st.st_size + 1);
	if (s->text == NULL)
		return err_sys(err, ENOMEM, STATE);
	if (pread((int)fd, s->text, (size_t)st.st_size, 0) != (ssize_t)st.st_size)
		return err_sys(err, errno, STATE);
	(void)close((int)fd);
	(void)unsetenv(STATE);
	(void)unsetenv(CHECK);
	fd_cloexec_from(3);
	end = memmem(s->text, (size_t)st.st_size, "\n" END, strlen("\n" END));
	if (end == NULL)
		return err_set(err, STATE ": the predecessor's state is not whole");
	end[1] = '\0';
	s->plan = end + strlen("\n" END);
	s->plan_len = (size_t)st.st_size - (size_t)(s->plan - s->text);
	/* An exec by descriptor leaves the descriptor's number as the process's name. */
	(void)prctl(PR_SET_NAME, strrchr(arguments[0], '/') != NULL ? strrchr(arguments[0], '/') + 1 : arguments[0]);
	return read_server(s, err);
}

void
upgrade_drop(struct inherited_state *s)
{
	words_free(&s->on);
	words_free(&s->off);
	free(s->text);
	s->text = NULL;
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
	(void)fflush(stdout);
	(void)fflush(stderr);
	if (plan->failed || fd_write_all(STDOUT_FILENO, SOUND, strlen(SOUND)) == -1)
		return;
	(void)fd_write_all(STDOUT_FILENO, plan->data, plan->len);
}

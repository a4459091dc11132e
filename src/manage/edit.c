#include "manage/edit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "table/table.h"

struct copy {
	char real[PATH_MAX];	/* of the table, behind symbolic links */
	char name[PATH_MAX + 8];	/* of the copy, beside it: so it can take its place */
	int lock;		/* the table; -1: not open */
	struct stat was;	/* the table, as it was when it was copied */
	char *text;		/* owned */
	size_t len;
};

/* What a signal that ends us takes along. */
static char *volatile copied;	/* NULL: none */
static volatile pid_t editor_pid;	/* 0: none */

static void
end(int sig)
{
	/* It would write the copy again. */
	if (editor_pid != 0)
		(void)kill(editor_pid, SIGTERM);
	if (copied != NULL)
		(void)unlink(copied);
	(void)signal(sig, SIG_DFL);
	(void)raise(sig);
}

/* What a file holds; NULL: errno. */
static char *
contents(const char *name, size_t *len)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *text;
	size_t got = 0;
	ssize_t n = 1;

	if (fd == -1)
		return NULL;
	if (fstat(fd, &st) == -1 || (text = malloc((size_t)st.st_size + 1)) == NULL) {
		(void)close(fd);
		return NULL;
	}
	while (got < (size_t)st.st_size && (n = read(fd, text + got, (size_t)st.st_size - got)) > 0)
		got += (size_t)n;
	(void)close(fd);
	if (n == -1) {		/* half a table is none */
		free(text);
		return NULL;
	}
	*len = got;
	return text;
}

static bool
is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Nobody else edits it meanwhile. */
static int
lock_table(struct copy *c, const char *path, struct err *err)
{
	struct stat now;

	if (realpath(path, c->real) == NULL)
		return err_sys(err, errno, "%s: cannot edit it", path);
	c->lock = open(c->real, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (c->lock == -1 || fstat(c->lock, &c->was) == -1)
		return err_sys(err, errno, "%s: cannot edit it", path);
	if (!S_ISREG(c->was.st_mode))
		return err_set(err, "%s: not a regular file; a table, or a file that it includes, can be edited", path);
	if (flock(c->lock, LOCK_EX | LOCK_NB) == -1 && errno != EWOULDBLOCK)
		return err_sys(err, errno, "%s: cannot lock it", path);
	/* Whoever was here before may have put another file in its place just now. */
	if (flock(c->lock, LOCK_EX | LOCK_NB) == -1 || stat(c->real, &now) == -1 || !is_same_file(&now, &c->was))
		return err_set(err, "%s: somebody else is editing it", path);
	return 0;
}

/* The copy is as the table is, with its owner and mode. */
static int
make_copy(struct copy *c, const char *path, struct err *err)
{
	int fd, rc = 0;

	c->text = contents(c->real, &c->len);
	if (c->text == NULL)
		return err_sys(err, errno, "%s: cannot read it", path);
	(void)snprintf(c->name, sizeof c->name, "%s.XXXXXX", c->real);
	fd = mkostemp(c->name, O_CLOEXEC);
	if (fd == -1)
		return err_sys(err, errno, "%s: cannot make a copy beside it", path);
	copied = c->name;
	if (fchown(fd, c->was.st_uid, c->was.st_gid) == -1 || fchmod(fd, c->was.st_mode & 07777) == -1 ||
	    fd_write_all(fd, c->text, c->len) == -1)
		rc = err_sys(err, errno, "%s: cannot copy it", path);
	(void)close(fd);
	return rc;
}

/* The words of the command that edits, then `last`. NULL: err; else free it and *words. */
static char **
editor_words(const char *editor, char *last, char ***words, struct err *err)
{
	const char *why;
	char **argv;
	size_t n;

	*words = str_split(editor, true, &n, &why);
	if (*words == NULL) {
		(void)err_set(err, "the editor %s: %s", editor, why != NULL ? why : strerror(ENOMEM));
		return NULL;
	}
	argv = calloc(n + 2, sizeof *argv);
	if (argv == NULL || n == 0) {
		(void)err_set(err, "the editor: %s", n == 0 ? "there is no command in it" : strerror(ENOMEM));
		free(argv);
		free(*words);
		return NULL;
	}
	memcpy(argv, *words, n * sizeof *argv);
	argv[n] = last;
	return argv;
}

/* Runs it as visudo(8) does, without a shell: who is told of signals is the editor itself. -1: err. */
static int
spawn_editor(const char *editor, char *const *argv, struct err *err)
{
	extern char **environ;
	posix_spawnattr_t how;
	sigset_t keys, ends, before;
	pid_t pid;
	int rc = posix_spawnattr_init(&how);

	/* Who ends us before we know the editor would leave it alone. */
	(void)sigemptyset(&ends);
	(void)sigaddset(&ends, SIGTERM);
	(void)sigaddset(&ends, SIGHUP);
	(void)sigprocmask(SIG_BLOCK, &ends, &before);
	if (rc == 0) {
		/* ^C and ^\ are ignored here: they are the editor's. */
		(void)sigemptyset(&keys);
		(void)sigaddset(&keys, SIGINT);
		(void)sigaddset(&keys, SIGQUIT);
		(void)posix_spawnattr_setsigdefault(&how, &keys);
		(void)posix_spawnattr_setsigmask(&how, &before);
		(void)posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
		rc = posix_spawnp(&pid, argv[0], NULL, &how, argv, environ);
		(void)posix_spawnattr_destroy(&how);
		if (rc == 0)
			editor_pid = pid;
	}
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return rc == 0 ? 0 : err_sys(err, rc, "cannot run the editor %s", editor);
}

/* Has the copy edited. -1: err. */
static int
run_editor(struct copy *c, struct err *err)
{
	const char *editor = getenv("VISUAL");
	char **words, **argv;
	int status, rc;
	pid_t pid;

	if (editor == NULL || editor[0] == '\0')
		editor = getenv("EDITOR");
	if (editor == NULL || editor[0] == '\0')
		editor = "vi";
	argv = editor_words(editor, c->name, &words, err);
	if (argv == NULL)
		return -1;
	rc = spawn_editor(editor, argv, err);
	free(argv);
	free(words);
	if (rc == -1)
		return -1;
	while ((pid = waitpid(editor_pid, &status, 0)) == -1 && errno == EINTR)
		;
	editor_pid = 0;
	if (pid == -1)
		return err_sys(err, errno, "cannot wait for the editor");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return err_set(err, "the editor %s failed; the table is as it was", editor);
	return 0;
}

/* Diagnostics name the table, not its copy. */
static void
print_for(const struct copy *c, const char *path, const struct buf *shown)
{
	const char *at = shown->data, *stop = at + shown->len, *p;
	size_t n = strlen(c->name);

	while (at < stop && (p = memmem(at, (size_t)(stop - at), c->name, n)) != NULL) {
		(void)fwrite(at, 1, (size_t)(p - at), stderr);
		(void)fputs(path, stderr);
		at = p + n;
	}
	if (at < stop)
		(void)fwrite(at, 1, (size_t)(stop - at), stderr);
}

/* Tells what is wrong with the copy. Returns how many errors there are. */
static size_t
check(const struct copy *c, const char *path, const struct master *m, char *const *option, size_t noptions)
{
	char *const file[] = { (char *)(uintptr_t)c->name };
	struct master with = *m;
	struct buf shown = { 0 };
	struct table t;
	size_t errors;

	with.checking = true;
	table_read(&t, &with, file, 1, option, noptions);
	diags_print(&t.diags, isatty(STDERR_FILENO) == 1 && getenv("NO_COLOR") == NULL, &shown);
	errors = t.diags.errors;
	print_for(c, path, &shown);
	buf_free(&shown);
	table_free(&t);
	return errors;
}

/* False: the table stays as it is. */
static bool
again(void)
{
	char answer[256];

	if (isatty(STDIN_FILENO) != 1)
		return false;
	for (;;) {
		(void)fputs("edit again (e), or leave the table as it was (x)? ", stderr);
		if (fgets(answer, sizeof answer, stdin) == NULL || strcmp(answer, "x\n") == 0)
			return false;
		if (strcmp(answer, "e\n") == 0)
			return true;
	}
}

static bool
same(const struct copy *c)
{
	size_t n = 0;
	char *is = contents(c->name, &n);
	bool rc = is != NULL && n == c->len && memcmp(is, c->text, n) == 0;

	free(is);
	return rc;
}

/* Is what the editor left something that can be read, and any table at all? As visudo(8), an empty one is none. */
static int
look_at_copy(const struct copy *c, const char *path, struct err *err)
{
	struct stat st;

	if (lstat(c->name, &st) == 0 && !S_ISREG(st.st_mode))
		return err_set(err, "%s: the editor left no regular file; the table is as it was", path);
	if (c->len > 0 && stat(c->name, &st) == 0 && st.st_size == 0)
		return err_set(err, "%s: the editor left an empty file; the table is as it was", path);
	return 0;
}

/* Has something else than this changed the table? */
static bool
is_changed(const struct copy *c)
{
	struct stat now;

	return stat(c->real, &now) == -1 || !is_same_file(&now, &c->was) || now.st_size != c->was.st_size ||
	    now.st_mtim.tv_sec != c->was.st_mtim.tv_sec || now.st_mtim.tv_nsec != c->was.st_mtim.tv_nsec;
}

/* In one step, and on the disk. */
static int
install(const struct copy *c, const char *path, struct err *err)
{
	char dir[PATH_MAX];
	int fd;
	struct stat st;

	if (is_changed(c)) {	/* neither's work is lost */
		copied = NULL;
		return err_set(err, "%s was changed by somebody else meanwhile; what was written here is in %s", path,
		    c->name);
	}
	fd = open(c->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd == -1 || fstat(c->lock, &st) == -1 || fchown(fd, st.st_uid, st.st_gid) == -1 ||
	    fchmod(fd, st.st_mode & 07777) == -1 || fsync(fd) == -1 || rename(c->name, c->real) == -1) {
		(void)err_sys(err, errno, "%s: cannot put the new table in its place", path);
		if (fd != -1)
			(void)close(fd);
		return -1;
	}
	(void)close(fd);
	copied = NULL;
	(void)snprintf(dir, sizeof dir, "%s", c->real);
	*(strrchr(dir, '/') + 1) = '\0';
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd != -1) {
		(void)fsync(fd);
		(void)close(fd);
	}
	return 0;
}

/* What the signals do meanwhile; with `back`, what they did before. */
static void
take_signals(bool back)
{
	static const int sig[] = { SIGINT, SIGQUIT, SIGTERM, SIGHUP };
	static struct sigaction was[sizeof sig / sizeof sig[0]];
	struct sigaction ignored = { .sa_handler = SIG_IGN }, ends = { .sa_handler = end, .sa_flags = SA_RESTART };

	for (size_t i = 0; i < sizeof sig / sizeof sig[0]; i++)
		if (back)
			(void)sigaction(sig[i], &was[i], NULL);
		else
			(void)sigaction(sig[i], sig[i] == SIGINT || sig[i] == SIGQUIT ? &ignored : &ends, &was[i]);
}

int
edit(const char *path, const struct master *m, char *const *option, size_t noptions, struct err *err)
{
	struct copy c = { .lock = -1 };
	int rc;

	take_signals(false);
	rc = lock_table(&c, path, err);
	if (rc == 0)
		rc = make_copy(&c, path, err);
	while (rc == 0) {
		rc = run_editor(&c, err);
		if (rc != 0)
			break;
		rc = look_at_copy(&c, path, err);
		if (rc != 0)
			break;
		if (same(&c)) {
			(void)fprintf(stderr, "serverctl: %s is as it was\n", path);
			rc = 1;
		} else if (check(&c, path, m, option, noptions) == 0) {
			rc = install(&c, path, err);
			break;
		} else if (!again()) {
			rc = err_set(err, "%s has errors; the table is as it was", path);
		}
	}
	if (copied != NULL)
		(void)remove(copied);
	copied = NULL;
	take_signals(true);
	if (c.lock != -1)
		(void)close(c.lock);
	free(c.text);
	return rc;
}

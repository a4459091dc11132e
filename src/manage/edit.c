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
#include "table/table.h"

struct copy {
	char real[PATH_MAX];	/* of the table, behind symbolic links */
	char name[PATH_MAX + 8];	/* of the copy, beside it: so it can take its place */
	int lock;		/* the table */
};

static char *copied;		/* to be removed when a signal ends us; NULL: none */

static void
end(int sig)
{
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
	ssize_t n;

	if (fd == -1)
		return NULL;
	if (fstat(fd, &st) == -1 || (text = malloc((size_t)st.st_size + 1)) == NULL) {
		(void)close(fd);
		return NULL;
	}
	while (got < (size_t)st.st_size && (n = read(fd, text + got, (size_t)st.st_size - got)) > 0)
		got += (size_t)n;
	(void)close(fd);
	*len = got;
	return text;
}

/* Nobody else edits it meanwhile; the copy is as the table is, with its owner and mode. */
static int
make_copy(struct copy *c, const char *path, struct err *err)
{
	struct stat st, now;
	size_t len = 0;
	char *text = NULL;
	int fd = -1;

	if (realpath(path, c->real) == NULL)
		return err_sys(err, errno, "%s: cannot edit it", path);
	c->lock = open(c->real, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (c->lock == -1 || fstat(c->lock, &st) == -1)
		return err_sys(err, errno, "%s: cannot edit it", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, "%s: not a regular file", path);
	/* Whoever was here before may have put another file in its place just now. */
	if (flock(c->lock, LOCK_EX | LOCK_NB) == -1 || stat(c->real, &now) == -1 || now.st_ino != st.st_ino)
		return err_set(err, "%s: somebody else is editing it", path);
	(void)snprintf(c->name, sizeof c->name, "%s.XXXXXX", c->real);
	fd = mkostemp(c->name, O_CLOEXEC);
	if (fd == -1)
		return err_sys(err, errno, "%s: cannot make a copy beside it", path);
	copied = c->name;
	text = contents(c->real, &len);
	if (text == NULL || fchown(fd, st.st_uid, st.st_gid) == -1 || fchmod(fd, st.st_mode & 07777) == -1 ||
	    fd_write_all(fd, text, len) == -1) {
		(void)err_sys(err, errno, "%s: cannot copy it", path);
		(void)close(fd);
		free(text);
		return -1;
	}
	(void)close(fd);
	free(text);
	return 0;
}

/* Runs the editor on the copy. -1: err. */
static int
run_editor(const struct copy *c, struct err *err)
{
	extern char **environ;
	const char *editor = getenv("VISUAL");
	char line[4096];
	char *argv[] = { (char *)(uintptr_t)"sh", (char *)(uintptr_t)"-c", line, (char *)(uintptr_t)"sh",
		(char *)(uintptr_t)c->name, NULL };
	posix_spawnattr_t how;
	int status, rc;
	sigset_t keys;
	pid_t pid;

	if (editor == NULL || editor[0] == '\0')
		editor = getenv("EDITOR");
	if (editor == NULL || editor[0] == '\0')
		editor = "vi";
	/* It may be a command with arguments, as everywhere. */
	if ((size_t)snprintf(line, sizeof line, "%s \"$1\"", editor) >= sizeof line)
		return err_set(err, "EDITOR is too long a command");
	/* ^C and ^\ are ignored here: they are the editor's. */
	(void)sigemptyset(&keys);
	(void)sigaddset(&keys, SIGINT);
	(void)sigaddset(&keys, SIGQUIT);
	rc = posix_spawnattr_init(&how);
	if (rc == 0 && ((rc = posix_spawnattr_setsigdefault(&how, &keys)) != 0 ||
	    (rc = posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGDEF)) != 0 ||
	    (rc = posix_spawn(&pid, "/bin/sh", NULL, &how, argv, environ)) != 0))
		(void)posix_spawnattr_destroy(&how);
	if (rc != 0)
		return err_sys(err, rc, "cannot run the editor %s", editor);
	(void)posix_spawnattr_destroy(&how);
	while (waitpid(pid, &status, 0) == -1)
		if (errno != EINTR)
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
check(const struct copy *c, const char *path, const struct master *m)
{
	char *const file[] = { (char *)(uintptr_t)c->name };
	struct master with = *m;
	struct buf shown = { 0 };
	struct table t;
	size_t errors;

	with.checking = true;
	table_read(&t, &with, file, 1, NULL, 0);
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
	char answer[16];

	if (isatty(STDIN_FILENO) != 1)
		return false;
	for (;;) {
		(void)fputs("edit again (e), or leave the table as it was (x)? ", stderr);
		if (fgets(answer, sizeof answer, stdin) == NULL || answer[0] == 'x')
			return false;
		if (answer[0] == 'e' || answer[0] == '\n')
			return true;
	}
}

static bool
same(const struct copy *c)
{
	size_t n = 0, m = 0;
	char *was = contents(c->real, &n), *is = contents(c->name, &m);
	bool rc = was != NULL && is != NULL && n == m && memcmp(was, is, n) == 0;

	free(was);
	free(is);
	return rc;
}

/* In one step, and on the disk. */
static int
install(const struct copy *c, const char *path, struct err *err)
{
	char dir[PATH_MAX];
	int fd = open(c->name, O_RDONLY | O_CLOEXEC);
	struct stat st;

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

int
edit(const char *path, const struct master *m, struct err *err)
{
	struct copy c = { .lock = -1 };
	int rc = make_copy(&c, path, err);

	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGQUIT, SIG_IGN);
	(void)signal(SIGTERM, end);
	(void)signal(SIGHUP, end);
	while (rc == 0) {
		rc = run_editor(&c, err);
		if (rc != 0)
			break;
		if (same(&c)) {
			(void)fprintf(stderr, "serverctl: %s is as it was\n", path);
			rc = 1;
		} else if (check(&c, path, m) == 0) {
			rc = install(&c, path, err);
			break;
		} else if (!again()) {
			rc = err_set(err, "%s has errors; the table is as it was", path);
		}
	}
	if (copied != NULL)
		(void)unlink(copied);
	copied = NULL;
	if (c.lock != -1)
		(void)close(c.lock);
	return rc;
}

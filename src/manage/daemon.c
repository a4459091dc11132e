#include "manage/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sink.h"
#include "manage/notify.h"

enum { FOREGROUND_MOST = 3000 };	/* ms that the foreground may take to send a text and end */

int
daemon_begin(struct err *err)
{
	char text[4096];
	int p[2];
	ssize_t n;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) == -1)
		return err_sys(err, errno, "cannot go to the background");
	pid = fork();
	if (pid == -1)
		return err_sys(err, errno, "cannot go to the background");
	if (pid == 0) {
		(void)close(p[0]);
		(void)setsid();		/* cannot fail: a new process leads no group */
		return p[1];
	}
	(void)close(p[1]);
	/* One write, so one read: a pipe takes as much at once. The byte in front is no text. */
	n = read(p[0], text, sizeof text);
	if (n > 1)
		notify_send(text + 1, (size_t)n - 1);
	_exit(n > 0 ? 0 : 1);
}

int
daemon_started(int report, const struct buf *text, struct err *err)
{
	struct pollfd gone = { .fd = report };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct buf out = { 0 };

	if (null == -1 || chdir("/") == -1)
		return err_sys(err, errno, "cannot go to the background");
	for (int fd = 0; fd <= 2; fd++)
		(void)dup2(null, fd);
	if (null > 2)
		(void)close(null);
	sinks_stderr_anew();	/* who reads there waits for our end */
	buf_add(&out, "", 1);
	buf_add(&out, text->data, text->len);
	(void)fd_write_all(report, out.failed ? "" : out.data, out.failed ? 1 : out.len);
	buf_free(&out);
	/* What we tell ourselves is to come behind that; nobody here can be waiting yet. */
	if (text->len > 0)
		(void)poll(&gone, 1, FOREGROUND_MOST);
	(void)close(report);
	return 0;
}

int
pidfile_write(const char *path, struct err *err)
{
	char text[32], tmp[PATH_MAX];
	int n = snprintf(text, sizeof text, "%d\n", (int)getpid());
	struct stat st;
	int fd;

	/* /dev/null is no file to be replaced. */
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		fd = open(path, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
		if (fd == -1 || fd_write_all(fd, text, (size_t)n) == -1) {
			(void)err_sys(err, errno, "%s: cannot write the pid file", path);
			n = -1;
		}
		if (fd != -1)
			(void)close(fd);
		return n == -1 ? -1 : 0;
	}
	if ((size_t)snprintf(tmp, sizeof tmp, "%s.%d", path, (int)getpid()) >= sizeof tmp)
		return err_sys(err, ENAMETOOLONG, "%s", path);
	/* A new file that nobody else can have put there, then in place in one step. */
	(void)unlink(tmp);
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd == -1)
		return err_sys(err, errno, "%s: cannot write the pid file", path);
	if (fd_write_all(fd, text, (size_t)n) == -1 || rename(tmp, path) == -1) {
		(void)err_sys(err, errno, "%s: cannot write the pid file", path);
		(void)close(fd);
		(void)unlink(tmp);
		return -1;
	}
	(void)close(fd);
	return 0;
}

void
pidfile_remove(const char *path)
{
	char text[32] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	struct stat st;

	if (fd == -1)
		return;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		(void)!read(fd, text, sizeof text - 1);
	(void)close(fd);
	if (strtol(text, NULL, 10) == (long)getpid())
		(void)unlink(path);
}

#include "manage/ask.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/num.h"
#include "manage/control.h"

enum { LINE_LONGEST = 1 << 20 };	/* bytes: what has longer ones is no server of ours */

static int
connect_to(const char *path, struct err *err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	size_t n = strlen(path);
	int fd;

	if (n >= sizeof a.sun_path)
		return err_set(err, "%s: the path has %zu bytes; at most %zu are possible", path, n, sizeof a.sun_path - 1);
	memcpy(a.sun_path, path, n + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd == -1 || connect(fd, (struct sockaddr *)&a, sizeof a) == -1) {
		int why = errno;

		if (fd != -1)
			(void)close(fd);
		(void)err_set(err, why == ENOENT || why == ECONNREFUSED ?
		    "%s: no server answers there: %s; -C PATH names another socket" : "%s: cannot ask the server: %s",
		    path, strerror(why));
		err->system = why;
		return -1;
	}
	return fd;
}

static int
send_words(int fd, char *const *word, size_t nwords, struct err *err)
{
	char line[CONTROL_LINE];
	size_t len = 0;

	for (size_t i = 0; i < nwords; i++) {
		size_t n = strlen(word[i]);

		for (const char *p = word[i]; *p != '\0'; p++)
			if (*p <= ' ' || *p > '~')
				return err_set(err, "\"%s\": a word of printing characters is wanted", word[i]);
		if (n == 0 || len + n + 1 > sizeof line)
			return err_set(err, "\"%.40s\": such a word is no name or address", word[i]);
		memcpy(line + len, word[i], n);
		len += n;
		line[len++] = i + 1 < nwords ? ' ' : '\n';
	}
	/* A server that ends at this very moment is told by its missing answer. */
	(void)send(fd, line, len, MSG_NOSIGNAL);
	return 0;
}

/*
 * Looks at the whole lines from *seen on, whose ends become NULs. 0: others are to come; 1: the last
 * is there, and *status is set; -1: a server of ours says no such thing.
 */
static int
look_at_lines(struct buf *got, size_t *seen, int *status)
{
	char *line, *end;
	uint64_t code;

	while (got->len > *seen && (end = memchr(got->data + *seen, '\n', got->len - *seen)) != NULL) {
		line = got->data + *seen;
		*end = '\0';
		*seen = (size_t)(end - got->data) + 1;
		if (strlen(line) != (size_t)(end - line) || line[0] == '\0' || strchr("odex", line[0]) == NULL ||
		    line[1] != ' ')
			return -1;
		if (line[0] != 'x')
			continue;
		if (!num_parse(line + 2, 0, 2, &code))
			return -1;
		*status = (int)code;
		return 1;
	}
	return got->len - *seen > LINE_LONGEST ? -1 : 0;
}

/* Each line where it belongs. */
static void
show(const struct buf *got, size_t seen, struct buf *out)
{
	size_t n;

	for (size_t at = 0; at < seen; at += n + 1) {
		const char *line = got->data + at;

		n = strlen(line);
		if (line[0] == 'o' && out != NULL) {
			buf_add(out, line + 2, n - 2);
			buf_add(out, "\n", 1);
		} else if (line[0] == 'o') {
			(void)puts(line + 2);
		} else if (line[0] != 'x') {
			(void)fprintf(stderr, "%s%s\n", line[0] == 'e' ? "serverctl: " : "", line + 2);
		}
	}
}

int
ask(const char *path, char *const *word, size_t nwords, struct buf *out, struct err *err)
{
	int fd = connect_to(path, err), status = -1, rc = 0, why;
	struct buf got = { 0 };
	static char piece[65536];
	size_t seen = 0;
	ssize_t n = 1;

	if (fd == -1)
		return -1;
	if (send_words(fd, word, nwords, err) == -1) {
		(void)close(fd);
		return -1;
	}
	/* All of it before any is shown: who reads what we write, a pager, may take longer than the server waits. */
	while (rc == 0 && (n = read(fd, piece, sizeof piece)) > 0) {
		buf_add(&got, piece, (size_t)n);
		rc = got.failed ? -1 : look_at_lines(&got, &seen, &status);
	}
	why = errno;
	(void)close(fd);
	if (rc != -1)
		show(&got, seen, out);
	if (n == -1 && why == EINTR)
		(void)err_sys(err, why, "%s", path);
	else if (got.failed)
		(void)err_sys(err, ENOMEM, "%s", path);
	else if (rc == -1)
		(void)err_set(err, "%s: what answers there is no server(8); -C PATH names another socket", path);
	else if (rc == 0)
		(void)err_set(err, "%s: the server did not answer to the end", path);
	buf_free(&got);
	return rc == 1 ? status : -1;
}

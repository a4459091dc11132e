#include "manage/ask.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "manage/control.h"

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
		(void)err_set(err, "%s: no server answers there: %s; -C PATH names another socket", path, strerror(why));
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

/* One line, without its end. True: it was the last, and *status is set. */
static bool
take_line(const char *line, size_t n, struct buf *out, int *status)
{
	const char *text = n >= 2 ? line + 2 : "";
	size_t len = n >= 2 ? n - 2 : 0;

	switch (n > 0 ? line[0] : '\0') {
	case 'o':
		if (out == NULL) {
			(void)fwrite(text, 1, len, stdout);
			(void)putchar('\n');
		} else {
			buf_add(out, text, len);
			buf_add(out, "\n", 1);
		}
		return false;
	case 'd':
		(void)fprintf(stderr, "%.*s\n", (int)len, text);
		return false;
	case 'e':
		(void)fprintf(stderr, "serverctl: %.*s\n", (int)len, text);
		return false;
	case 'x':
		*status = atoi(text);
		return true;
	default:
		return false;
	}
}

int
ask(const char *path, char *const *word, size_t nwords, struct buf *out, struct err *err)
{
	int fd = connect_to(path, err), status = -1;
	struct buf got = { 0 };
	char piece[65536];
	ssize_t n;

	if (fd == -1)
		return -1;
	if (send_words(fd, word, nwords, err) == -1) {
		(void)close(fd);
		return -1;
	}
	while (status == -1 && ((n = read(fd, piece, sizeof piece)) > 0 || (n == -1 && errno == EINTR))) {
		size_t used = 0;
		char *end;

		if (n > 0)
			buf_add(&got, piece, (size_t)n);
		while (status == -1 && (end = memchr(got.data + used, '\n', got.len - used)) != NULL) {
			(void)take_line(got.data + used, (size_t)(end - got.data) - used, out, &status);
			used = (size_t)(end - got.data) + 1;
		}
		buf_cut(&got, used);
	}
	(void)close(fd);
	buf_free(&got);
	if (status != -1 && got.failed)
		status = -1;
	if (status == -1)
		return err_set(err, "%s: the server did not answer to the end", path);
	return status;
}

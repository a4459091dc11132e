#include "table/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct checked {
	struct checked *next;
	int verdict;
	char text[400];
	char path[];
};

void
checked_free(struct checked **seen)
{
	while (*seen != NULL) {
		struct checked *next = (*seen)->next;

		free(*seen);
		*seen = next;
	}
}

void
file_free(struct file *f)
{
	if (f == NULL)
		return;
	free(f->source.name);
	free(f->source.text);
	free(f);
}

struct file *
file_of_text(const char *name, const char *text, size_t len, struct err *err)
{
	struct file *f = calloc(1, sizeof *f);

	if (f != NULL) {
		f->source.name = strdup(name);
		f->source.text = malloc(len + 1);
	}
	if (f == NULL || f->source.name == NULL || f->source.text == NULL) {
		file_free(f);
		(void)err_sys(err, ENOMEM, "%s", name);
		return NULL;
	}
	if (len > 0)
		memcpy(f->source.text, text, len);
	f->source.len = len;
	return f;
}

static int
read_all(int fd, struct source *s, size_t expected, struct err *err)
{
	size_t size = expected + 1;
	ssize_t n;

	s->text = malloc(size);
	if (s->text == NULL)
		return err_sys(err, ENOMEM, "cannot read");
	for (;;) {
		if (s->len == size) {
			char *p;

			if (size >= FILE_MOST)
				return err_set(err, "larger than a table can be (%d MiB)", FILE_MOST >> 20);
			p = realloc(s->text, size *= 2);
			if (p == NULL)
				return err_sys(err, ENOMEM, "cannot read");
			s->text = p;
		}
		n = read(fd, s->text + s->len, size - s->len);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return err_sys(err, errno, "cannot read");
		if (n == 0)
			return 0;
		s->len += (size_t)n;
	}
}

bool
file_once(const char *path)
{
	return strcmp(path, "-") == 0 || strncmp(path, "/dev/fd/", 8) == 0;
}

/* Is it a file that can be a table? */
static int
look_at(int fd, const char *path, const struct source *from, struct file *f, size_t *size,
    struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		return err_sys(err, errno, "cannot read");
	if (S_ISDIR(st.st_mode)) {
		(void)err_set(err, "is a directory; includedir reads one");
		err->system = EISDIR;
		return -1;
	}
	if (S_ISFIFO(st.st_mode) && file_once(path)) {
		/* A shell's <(…): its writer is there, and may take a while. */
		(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
		return 0;
	}
	if (!S_ISREG(st.st_mode))
		return err_set(err, "is not a regular file");
	if (st.st_size > FILE_MOST)
		return err_set(err, "larger than a table can be (%d MiB)", FILE_MOST >> 20);
	*size = (size_t)st.st_size;
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	f->mode = st.st_mode;
	f->uid = st.st_uid;
	f->gid = st.st_gid;
	for (; from != NULL; from = from->from) {
		const struct file *in = (const struct file *)(const void *)from;

		if (in->dev == f->dev && in->ino == f->ino)
			return err_set(err, "is being read already: it includes itself");
	}
	return 0;
}

struct file *
file_read(const char *path, const struct source *from, unsigned line, bool *missing, struct err *err)
{
	struct file *f = calloc(1, sizeof *f);
	bool standard = from == NULL && strcmp(path, "-") == 0;
	size_t size = 4096;
	int fd = -1;

	*missing = false;
	if (f == NULL || (f->source.name = strdup(path)) == NULL) {
		(void)err_sys(err, ENOMEM, "cannot read");
		goto out;
	}
	f->source.from = from;
	f->source.from_line = line;
	f->depth = from != NULL ? ((const struct file *)(const void *)from)->depth + 1 : 0;
	if (f->depth > INCLUDES_DEEP) {
		(void)err_set(err, "included too deep; at most %d files one in the other", INCLUDES_DEEP);
		goto out;
	}
	/* Nonblocking: a FIFO must not hold up the start. */
	fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd == -1) {
		*missing = errno == ENOENT || errno == ENOTDIR;
		(void)err_sys(err, errno, "cannot read");
		goto out;
	}
	if ((!standard && look_at(fd, path, from, f, &size, err) == -1) ||
	    read_all(fd, &f->source, size, err) == -1)
		goto out;
	if (!standard)
		(void)close(fd);
	return f;
out:
	if (fd != -1 && !standard)
		(void)close(fd);
	file_free(f);
	return NULL;
}

static int
expose(mode_t mode, uid_t uid, gid_t gid, const char *what, const char *path, struct err *err)
{
	bool sticky = S_ISDIR(mode) && (mode & S_ISVTX) != 0;

	if ((mode & S_IWOTH) != 0 && !sticky) {
		(void)err_set(err, "everyone may write the %s %s; a table that runs as root must be root's alone",
		    what, path);
		return 1;
	}
	if (uid != 0) {
		(void)err_set(err, "the %s %s belongs to user %u, who may change it and so become root", what, path,
		    (unsigned)uid);
		return 0;
	}
	if ((mode & S_IWGRP) != 0 && gid != 0 && !sticky) {
		(void)err_set(err, "group %u may write the %s %s, and so become root", (unsigned)gid, what, path);
		return 0;
	}
	return -1;
}

/* It cannot be looked at: it may not be there, but nobody is trusted because the disk or the memory fails. */
static int
unknown(const char *what, const char *path, struct err *err)
{
	if (errno == ENOENT || errno == ENOTDIR || errno == EACCES || errno == ELOOP)
		return -1;
	(void)err_sys(err, errno, "cannot see who may write the %s %s", what, path);
	return 1;
}

/* One directory; what was found is kept. A warning is given once. */
static int
expose_directory(const char *path, struct checked **seen, struct err *err)
{
	const char *name = path[0] == '\0' ? "/" : path;
	struct checked *c;
	struct stat st;
	int v = -1;

	for (c = *seen; c != NULL && strcmp(c->path, path) != 0; c = c->next)
		;
	if (c != NULL) {
		if (c->verdict == 1)
			(void)err_set(err, "%s", c->text);
		return c->verdict == 1 ? 1 : -1;
	}
	if (stat(name, &st) == -1)
		v = unknown("directory", name, err);
	else if (S_ISDIR(st.st_mode))
		v = expose(st.st_mode, st.st_uid, st.st_gid, "directory", name, err);
	c = malloc(sizeof *c + strlen(path) + 1);
	if (c != NULL) {
		(void)snprintf(c->text, sizeof c->text, "%s", v >= 0 ? err->text : "");
		memcpy(c->path, path, strlen(path) + 1);
		c->verdict = v;
		c->next = *seen;
		*seen = c;
	}
	return v;
}

/* All directories above, and the path itself if it is one. The path is cut down. */
static int
expose_directories(char *path, struct checked **seen, struct err *err)
{
	int verdict = -1;

	for (char *end = path + strlen(path);; *end = '\0') {
		struct err one;
		int v = expose_directory(path, seen, &one);

		if (v > verdict) {
			*err = one;
			verdict = v;
		}
		if (v == 1 || end == path)
			return verdict;
		while (end > path && *--end != '/')
			;
	}
}

/* A file's own name is no directory: of those that were seen there would be as many as files. */
static void
cut_file(char *path, const struct file *f)
{
	char *slash = strrchr(path, '/');

	if (f != NULL && slash != NULL)
		*slash = '\0';
}

int
file_exposed(const char *path, const struct file *f, struct checked **seen, struct err *err)
{
	char real[PATH_MAX], written[PATH_MAX * 2];
	struct err of_path;
	int verdict = -1, above;

	if (geteuid() != 0 || (f != NULL && file_once(path)))
		return -1;
	if (f != NULL)
		verdict = expose(f->mode, f->uid, f->gid, "file", path, err);
	/* A symbolic link stands in the one, what it leads to in the other. */
	if (path[0] == '/')
		(void)snprintf(written, sizeof written, "%s", path);
	else if (getcwd(real, sizeof real) != NULL)
		(void)snprintf(written, sizeof written, "%s/%s", real, path);
	else {
		written[0] = '\0';
		verdict = unknown("path of", path, err) == 1 ? 1 : verdict;
	}
	if (verdict == 1)
		return 1;
	cut_file(written, f);
	above = expose_directories(written, seen, &of_path);
	if (above > verdict) {
		*err = of_path;
		verdict = above;
	}
	if (verdict == 1)
		return 1;
	if (realpath(path, real) == NULL)
		return unknown("file", path, err) == 1 ? 1 : verdict;
	cut_file(real, f);
	above = expose_directories(real, seen, &of_path);
	if (above > verdict) {
		*err = of_path;
		verdict = above;
	}
	return verdict;
}

/* xinetd's rule for the names in an includedir. */
static bool
is_read(const char *name)
{
	return strchr(name, '.') == NULL && name[strlen(name) - 1] != '~';
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

char **
files_of(const char *directory, void (*skipped)(void *arg, const char *name), void *arg,
    bool *missing, struct err *err)
{
	DIR *d = opendir(directory);
	char **list = calloc(1, sizeof *list), **p;
	struct dirent *e;
	size_t n = 0, len = strlen(directory);

	*missing = d == NULL && errno == ENOENT;
	if (d == NULL) {
		(void)err_sys(err, errno, "cannot read the directory");
		free(list);
		return NULL;
	}
	if (list == NULL)
		goto out;
	while ((e = readdir(d)) != NULL) {
		size_t end = strlen(e->d_name);
		struct stat st;
		char *path;

		if (!is_read(e->d_name)) {
			if (end > 5 && strcmp(e->d_name + end - 5, ".conf") == 0 && e->d_name[0] != '.')
				skipped(arg, e->d_name);
			continue;
		}
		path = malloc(len + end + 2);
		p = realloc(list, (n + 2) * sizeof *p);
		if (p != NULL)
			list = p;
		if (path == NULL || p == NULL) {
			free(path);
			goto out;
		}
		(void)snprintf(path, len + end + 2, "%s%s%s", directory, len > 0 && directory[len - 1] == '/' ? "" : "/",
		    e->d_name);
		if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
			free(path);
			continue;
		}
		list[n++] = path;
		list[n] = NULL;
	}
	(void)closedir(d);
	qsort(list, n, sizeof *list, by_name);
	return list;
out:
	(void)closedir(d);
	for (size_t i = 0; i < n; i++)
		free(list[i]);
	free(list);
	(void)err_sys(err, ENOMEM, "cannot read the directory");
	return NULL;
}

char *
path_from(const struct source *from, const char *path)
{
	const char *slash = from != NULL ? strrchr(from->name, '/') : NULL;
	size_t n = slash != NULL && path[0] != '/' ? (size_t)(slash - from->name) + 1 : 0;
	char *p = malloc(n + strlen(path) + 1);

	if (p == NULL)
		return NULL;
	if (n > 0)
		memcpy(p, from->name, n);
	memcpy(p + n, path, strlen(path) + 1);
	return p;
}

#include "table/check.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/num.h"
#include "base/str.h"
#include "table/environ.h"

enum { BANNER_MOST = 8192 };	/* what a new connection's buffer takes at once */

static void __attribute__((format(printf, 3, 4)))
remark(attr_note *note, void *arg, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	note(arg, text);
}

static const int resources[LIMITS] = { RLIMIT_AS, RLIMIT_CORE, RLIMIT_CPU, RLIMIT_DATA,
	RLIMIT_NOFILE, RLIMIT_FSIZE, RLIMIT_MEMLOCK, RLIMIT_NPROC, RLIMIT_RSS, RLIMIT_STACK };
static const char *const resource_names[LIMITS] = { "rlimit_as", "rlimit_core", "rlimit_cpu",
	"rlimit_data", "rlimit_files", "rlimit_fsize", "rlimit_memlock", "rlimit_nproc", "rlimit_rss",
	"rlimit_stack" };

static void
check_limits(struct service *s, const struct master *m)
{
	struct run *r = &s->run;

	for (size_t i = 0; i < LIMITS; i++) {
		struct rlimit v = { s->rlimit[i], s->rlimit[i] };

		if (!attr_given(s, resource_names[i])) {
			if (resources[i] != RLIMIT_NOFILE || !m->raised)
				continue;
			v = m->nofile;
		}
		r->limit[r->nlimits].resource = resources[i];
		r->limit[r->nlimits++].value = v;
	}
}

/* The user's other groups, with gid first. */
static int
find_groups(struct run *r, const char *login, gid_t gid, struct err *err)
{
	int n = 32, had;

	for (;;) {
		gid_t *p = realloc(r->groups, (size_t)n * sizeof *p);

		if (p == NULL)
			return err_sys(err, ENOMEM, "groups");
		r->groups = p;
		had = n;
		if (getgrouplist(login, gid, p, &n) != -1)
			break;
		if (n <= had)
			n = had * 2;
		if (n > 65536)
			return err_set(err, "user \"%s\" is in more groups than can be set", login);
	}
	r->ngroups = (size_t)n;
	return 0;
}

static int
find_user(struct service *s, gid_t *gid, struct err *err)
{
	struct run *r = &s->run;
	struct passwd *pw = getpwnam(s->user);
	uint64_t n;

	if (pw == NULL && num_parse(s->user, 0, UINT32_MAX - 1, &n)) {
		pw = getpwuid((uid_t)n);
		if (pw == NULL) {	/* a number that no one has: its group is the same number */
			r->uid = (uid_t)n;
			*gid = (gid_t)n;
			r->home = strdup("/");
			r->login = strdup(s->user);
			r->sh = strdup("/bin/sh");
			r->nameless = true;
			return r->home != NULL && r->login != NULL && r->sh != NULL ? 0 :
			    err_sys(err, ENOMEM, "user");
		}
	}
	if (pw == NULL)
		return err_set(err, "user \"%s\": there is no such user", s->user);
	r->uid = pw->pw_uid;
	*gid = pw->pw_gid;
	r->home = strdup(pw->pw_dir);
	r->login = strdup(pw->pw_name);
	r->sh = strdup(pw->pw_shell[0] != '\0' ? pw->pw_shell : "/bin/sh");
	return r->home != NULL && r->login != NULL && r->sh != NULL ? 0 : err_sys(err, ENOMEM, "user");
}

static int
find_group(const char *name, gid_t *gid, struct err *err)
{
	struct group *gr = getgrnam(name);
	uint64_t n;

	if (gr != NULL)
		*gid = gr->gr_gid;
	else if (num_parse(name, 0, UINT32_MAX - 1, &n))
		*gid = (gid_t)n;
	else
		return err_set(err, "group \"%s\": there is no such group", name);
	return 0;
}

static int
check_ids(struct service *s, attr_note *note, void *arg, struct err *err)
{
	struct run *r = &s->run;
	bool root = geteuid() == 0;

	r->uid = geteuid();
	r->gid = getegid();
	if (s->user == NULL && root)
		remark(note, arg, "the command runs as root; -o user=NAME gives it another user "
		    "(user=root says that it is meant)");
	if (s->user == NULL && s->group == NULL)
		return 0;
	if (s->user != NULL && find_user(s, &r->gid, err) == -1)
		return -1;
	if (s->group != NULL && find_group(s->group, &r->gid, err) == -1)
		return -1;
	if (!root) {
		if (r->uid == geteuid() && r->gid == getegid())
			return 0;
		return err_set(err, "%s \"%s\": only root can run a command as another %s",
		    r->uid != geteuid() ? "user" : "group", r->uid != geteuid() ? s->user : s->group,
		    r->uid != geteuid() ? "user" : "group");
	}
	r->set_ids = true;
	if (s->groups && s->user != NULL && !r->nameless)
		return find_groups(r, r->login, r->gid, err);
	r->groups = malloc(sizeof *r->groups);
	if (r->groups == NULL)
		return err_sys(err, ENOMEM, "groups");
	r->groups[0] = r->gid;
	r->ngroups = 1;
	return 0;
}

static int
check_owner(struct service *s, struct err *err)
{
	char *colon;
	struct passwd *pw;
	char name[256];
	uint64_t n;

	s->sock.uid = (uid_t)-1;
	s->sock.gid = (gid_t)-1;
	if (s->owner == NULL)
		return 0;
	(void)snprintf(name, sizeof name, "%s", s->owner);
	colon = strchr(name, ':');
	if (colon != NULL) {
		*colon = '\0';
		if (find_group(colon + 1, &s->sock.gid, err) == -1)
			return -1;
	}
	if (name[0] != '\0') {
		pw = getpwnam(name);
		if (pw != NULL)
			s->sock.uid = pw->pw_uid;
		else if (num_parse(name, 0, UINT32_MAX - 1, &n))
			s->sock.uid = (uid_t)n;
		else
			return err_set(err, "owner \"%s\": there is no such user", name);
	}
	s->sock.set_owner = true;
	return 0;
}

/* The places where the program may be: itself if it has a slash, else along PATH. */
static int
find_paths(struct service *s, const char *program, const char *search, struct err *err)
{
	size_t n = 0, max = 2;

	for (const char *p = search; *p != '\0'; p++)
		max += *p == ':';
	s->run.path = calloc(max + 1, sizeof(char *));
	if (s->run.path == NULL)
		return err_sys(err, ENOMEM, "%s", program);
	if (strchr(program, '/') != NULL) {
		s->run.path[0] = strdup(program);
		return s->run.path[0] != NULL ? 0 : err_sys(err, ENOMEM, "%s", program);
	}
	for (const char *p = search;; p++) {
		size_t len = strcspn(p, ":"), size = len + strlen(program) + 3;
		char *path = malloc(size);

		if (path == NULL)
			return err_sys(err, ENOMEM, "%s", program);
		(void)snprintf(path, size, "%.*s/%s", len > 0 ? (int)len : 1, len > 0 ? p : ".", program);
		s->run.path[n++] = path;
		p += len;
		if (*p == '\0')
			return 0;
	}
}

/* Can it be run, as far as the master can see? Else a remark with the reason. */
static void
look_at_program(const struct service *s, const char *program, attr_note *note, void *arg)
{
	int why = ENOENT;
	struct stat st;

	if (s->chroot != NULL && (stat(s->chroot, &st) == -1 || !S_ISDIR(st.st_mode))) {
		remark(note, arg, "chroot %s is not a directory; the port is open all the same", s->chroot);
		return;
	}
	for (char **p = s->run.path; *p != NULL; p++) {
		char at[PATH_MAX];

		if (**p != '/' && s->directory != NULL)
			(void)snprintf(at, sizeof at, "%s%s/%s", s->chroot != NULL ? s->chroot : "",
			    s->directory, *p);
		else
			(void)snprintf(at, sizeof at, "%s%s%s", s->chroot != NULL ? s->chroot : "",
			    s->chroot != NULL && **p != '/' ? "/" : "", *p);
		if (stat(at, &st) == -1) {
			if (errno != ENOENT && errno != ENOTDIR)
				why = errno;
		} else if (S_ISDIR(st.st_mode)) {
			why = EISDIR;
		} else if (access(at, X_OK) == -1) {
			why = errno;
		} else {
			return;
		}
	}
	remark(note, arg, "cannot execute \"%s\": %s; the port is open all the same", program,
	    strerror(why));
}

static int
read_banner(struct banner *b, attr_note *note, void *arg, struct err *err)
{
	ssize_t n = 0;
	int fd;

	if (b->path == NULL)
		return 0;
	/* Nonblocking: a FIFO without a writer must not hold up the start. */
	fd = open(b->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	b->text = malloc(BANNER_MOST + 1);
	if (b->text == NULL) {
		(void)close(fd);
		return err_sys(err, ENOMEM, "%s", b->path);
	}
	while (fd != -1 && b->len <= BANNER_MOST &&
	    (n = read(fd, b->text + b->len, BANNER_MOST + 1 - b->len)) > 0)
		b->len += (size_t)n;
	if (fd == -1 || n == -1)
		remark(note, arg, "cannot read the banner %s: %s; none is sent", b->path, strerror(errno));
	if (fd != -1)
		(void)close(fd);
	if (b->len > BANNER_MOST)
		return err_set(err, "the banner %s is too long; at most %d bytes are sent", b->path,
		    (int)BANNER_MOST);
	return 0;
}

static int
check_listen(struct service *s, struct err *err)
{
	bool tcp = true, path = false;

	if (s->nlisten == 0)
		return err_set(err, "no ADDRESS to listen on");
	for (size_t i = 0; i < s->nlisten; i++) {
		const struct where *w = &s->listen[i].where;

		tcp = tcp && (w->scheme == SCHEME_TCP || w->scheme == SCHEME_FD);
		path = path || (w->scheme == SCHEME_UNIX && w->host[0] != '@');
		if (w->type == SOCK_DGRAM || w->scheme == SCHEME_FIFO)
			return err_set(err, "%s: not yet served; tcp, unix, unix-seqpacket, vsock and fd are",
			    s->listen[i].text);
		for (size_t k = 0; k < i; k++) {
			bool port0 = w->scheme == SCHEME_TCP && w->port == 0;

			if (where_equal(w, &s->listen[k].where) && !port0)
				return err_set(err, "%s: listened on twice", s->listen[i].text);
		}
	}
	if (s->idle_timeout != 0 && !tcp)
		return err_set(err, "idle_timeout: only TCP connections tell when something moved");
	if (attr_given(s, "mode") && !path)
		return err_set(err, "mode: only the path of a UNIX socket has one");
	if (attr_given(s, "owner") && !path)
		return err_set(err, "owner: only the path of a UNIX socket has one");
	s->sock.set_mode = attr_given(s, "mode");
	s->sock.nodelay = (s->flags & FLAG_NODELAY) != 0;
	s->sock.keepalive = (s->flags & FLAG_KEEPALIVE) != 0;
	return check_owner(s, err);
}

static int
check_program(struct service *s, const struct master *m, attr_note *note, void *arg, struct err *err)
{
	const char *program;
	bool named = (s->flags & FLAG_NAMEINARGS) != 0 && !s->shell;

	if (s->exec.n == 0)
		return err_set(err, "no COMMAND to serve");
	program = s->exec.word[0];
	if (program[0] == '\0')
		return err_set(err, "the command's name is empty");
	if (named && s->exec.n < 2)
		return err_set(err, "flags NAMEINARGS: no argument after the command to be its argv[0]");
	s->run.argv = malloc((s->exec.n + 1) * sizeof(char *));
	if (s->run.argv == NULL)
		return err_sys(err, ENOMEM, "%s", program);
	memcpy(s->run.argv, s->exec.word + named, (s->exec.n + 1 - named) * sizeof(char *));
	if (s->id == NULL) {
		char id[256];

		/* A name goes into log lines: what does not print is written out. */
		(void)str_escape(id, 128, s->shell ? "sh" : str_basename(program),
		    strlen(s->shell ? "sh" : str_basename(program)));
		for (char *p = id; *p != '\0'; p++)
			*p = *p == ' ' ? '_' : *p;
		s->id = strdup(id);
		if (s->id == NULL)
			return err_sys(err, ENOMEM, "id");
	}
	if (find_paths(s, program, environ_search_path(s, m->env), err) == -1)
		return -1;
	look_at_program(s, program, note, arg);
	return 0;
}

static void
check_directory(struct service *s, const struct master *m)
{
	s->run.root = s->chroot;
	s->run.directory = s->directory;
	if (s->directory == NULL && s->chroot == NULL && m->leaves)
		s->run.directory = m->cwd;
	if (s->chroot != NULL && s->directory == NULL)
		s->run.directory = "/";
}

int
check_service(struct service *s, const struct master *m, attr_note *note, void *arg, struct err *err)
{
	if (check_listen(s, err) == -1 || check_program(s, m, note, arg, err) == -1 ||
	    check_ids(s, note, arg, err) == -1)
		return -1;
	if (read_banner(&s->banner, note, arg, err) == -1 ||
	    read_banner(&s->banner_success, note, arg, err) == -1 ||
	    read_banner(&s->banner_fail, note, arg, err) == -1)
		return -1;
	check_limits(s, m);
	check_directory(s, m);
	s->run.set_umask = attr_given(s, "umask") && s->umask != m->umask;
	s->run.umask = s->umask;
	s->run.set_nice = s->nice != 0;
	s->run.nice = m->nice + s->nice;
	return environ_make(s, m->env, err);
}

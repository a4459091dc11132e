#include "table/check.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/num.h"
#include "base/str.h"
#include "table/account.h"
#include "table/environ.h"
#include "table/fits.h"
#include "table/infer.h"

enum { BANNER_MOST = 8192 };	/* what a new connection's buffer takes at once */

static const int resources[LIMITS] = { RLIMIT_AS, RLIMIT_CORE, RLIMIT_CPU, RLIMIT_DATA,
	RLIMIT_NOFILE, RLIMIT_FSIZE, RLIMIT_MEMLOCK, RLIMIT_NPROC, RLIMIT_RSS, RLIMIT_STACK };
static const char *const resource_names[LIMITS] = { "rlimit_as", "rlimit_core", "rlimit_cpu",
	"rlimit_data", "rlimit_files", "rlimit_fsize", "rlimit_memlock", "rlimit_nproc", "rlimit_rss",
	"rlimit_stack" };

static int
check_limits(struct service *s, const struct master *m, struct err *err)
{
	struct run_limit all[LIMITS];
	size_t n = 0;

	for (size_t i = 0; i < LIMITS; i++) {
		struct rlimit v = m->nofile;

		if (s->rlimit != NULL && attr_given(s, resource_names[i]))
			v.rlim_cur = v.rlim_max = s->rlimit[i];
		else if (resources[i] != RLIMIT_NOFILE || !m->raised)
			continue;
		all[n++] = (struct run_limit){ resources[i], v };
	}
	if (n == 0)
		return 0;
	s->run.limit = malloc(n * sizeof all[0]);
	if (s->run.limit == NULL)
		return err_sys(err, ENOMEM, "rlimit");
	memcpy(s->run.limit, all, n * sizeof all[0]);
	s->run.nlimits = n;
	return 0;
}

/* A table's service that names no user, where nobody else can be had: the master's own. */
static int
own_user(struct service *s, const struct master *m, struct account **user, struct err *err)
{
	char number[16];

	(void)snprintf(number, sizeof number, "%u", (unsigned)geteuid());
	*user = account_find(m->accounts, number, err);
	if (*user == NULL)
		return -1;
	s->user = strdup((*user)->login);
	if (s->user == NULL)
		return err_sys(err, ENOMEM, "user");
	attr_give(s, "user");
	return 0;
}

static int
check_ids(struct service *s, const struct master *m, struct account **user, attr_note *note,
    void *arg, struct err *err)
{
	struct run *r = &s->run;
	struct account *a = NULL;
	bool root = geteuid() == 0;

	r->uid = geteuid();
	r->gid = getegid();
	if (s->user == NULL && root && !s->table && note != NULL)
		attr_remark(note, arg,
		    "user", -1, "the command runs as root; -o user=NAME gives it another user "
		    "(user=root says that it is meant)");
	if (s->user == NULL && root && s->table) {
		s->user = strdup("nobody");
		if (s->user == NULL)
			return err_sys(err, ENOMEM, "user");
		attr_give(s, "user");
	}
	if (s->user == NULL && s->group == NULL && s->table)
		return own_user(s, m, user, err);
	if (s->user == NULL && s->group == NULL)
		return 0;
	if (s->user != NULL) {
		a = account_find(m->accounts, s->user, err);
		if (a == NULL) {
			struct err of_group;
			gid_t gid;

			(void)err_at(err, "user", 0);
			if (s->table && s->group != NULL && note != NULL && group_find(s->group, &gid, &of_group) == -1) {
				of_group.fault = true;
				(void)err_at(&of_group, "group", 0);
				note(arg, &of_group);
			}
			return -1;
		}
		r->uid = a->uid;
		r->gid = a->gid;
		*user = a;
	}
	if (s->group != NULL && group_find(s->group, &r->gid, err) == -1)
		return err_at(err, "group", 0);
	if (!root) {
		bool other = r->uid != geteuid();

		if (!other && r->gid == getegid())
			return 0;
		(void)err_set(err, "%s \"%s\": only root can run a command as another %s",
		    other ? "user" : "group", other ? s->user : s->group != NULL ? s->group : s->user,
		    other ? "user" : "group");
		return err_at(err, other || s->group == NULL ? "user" : "group", 0);
	}
	r->set_ids = true;
	if (s->groups && a != NULL && !a->nameless)
		return account_groups(a, r->gid, &r->groups, &r->ngroups, err);
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
		if (group_find(colon + 1, &s->sock.gid, err) == -1)
			return err_at(err, "owner", 0);
	}
	if (name[0] != '\0') {
		pw = getpwnam(name);
		if (pw != NULL)
			s->sock.uid = pw->pw_uid;
		else if (num_parse(name, 0, UINT32_MAX - 1, &n))
			s->sock.uid = (uid_t)n;
		else
			return err_set(err, "owner \"%s\": there is no such user", name),
			    err_at(err, "owner", 0);
	}
	s->sock.set_owner = true;
	return 0;
}

/* The places where the program may be: itself if it has a slash, else along PATH. */
static int
find_paths(struct service *s, const char *program, const char *search, struct err *err)
{
	size_t n = 0, max = 1;

	for (const char *p = search; *p != '\0' && strchr(program, '/') == NULL; p++)
		max += *p == ':';
	s->run.path = calloc(max + 1, sizeof(char *));
	if (s->run.path == NULL)
		return err_sys(err, ENOMEM, "%s", program);
	if (strchr(program, '/') != NULL) {
		s->run.path[0] = (char *)(uintptr_t)program;	/* borrowed */
		return 0;
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
look_at_program(const struct service *s, attr_note *note, void *arg)
{
	int why = ENOENT;
	struct stat st;

	if (s->chroot != NULL && (stat(s->chroot, &st) == -1 || !S_ISDIR(st.st_mode))) {
		attr_remark(note, arg,
		    "chroot", -1, "chroot %s is not a directory; the port is open all the same", s->chroot);
		return;
	}
	if (s->directory != NULL) {
		char at[PATH_MAX];

		(void)snprintf(at, sizeof at, "%s%s", s->chroot != NULL ? s->chroot : "", s->directory);
		if (stat(at, &st) == -1 || !S_ISDIR(st.st_mode))
			attr_remark(note, arg,
			    "directory", -1, "%s is not a directory; the port is open all the same", at);
	}
	for (char **p = s->run.path; *p != NULL; p++) {
		char at[PATH_MAX];

		if (**p != '/' && (s->directory != NULL || s->table))
			(void)snprintf(at, sizeof at, "%s%s/%s", s->chroot != NULL ? s->chroot : "",
			    s->directory != NULL ? s->directory : "", *p);
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
	attr_remark(note, arg, s->server != NULL ? "server" : s->shell ? "shell" : "exec", -1,
	    "cannot execute \"%s\": %s; the port is open all the same", s->run.program, strerror(why));
}

static int
read_banner(struct banner *b, const char *of, attr_note *note, void *arg, struct err *err)
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
		attr_remark(note, arg, of, -1,
		    "cannot read the banner %s: %s; none is sent", b->path, strerror(errno));
	if (fd != -1)
		(void)close(fd);
	if (b->len > BANNER_MOST)
		return err_set(err, "the banner %s is too long; at most %d bytes are sent", b->path,
		    (int)BANNER_MOST), err_at(err, of, 0);
	return 0;
}

/* What of the attributes goes with what the addresses are. */
static int
check_listen(struct service *s, attr_note *note, void *arg, struct err *err)
{
	for (size_t i = 0; i < s->nlisten; i++) {
		const struct where *w = &s->listen[i].where;
		bool port0 = (w->scheme == SCHEME_TCP || w->scheme == SCHEME_UDP) && w->port == 0;

		for (size_t k = 0; k < i && !port0; k++)
			if (where_equal(w, &s->listen[k].where))
				return err_set(err, "%s: listened on twice", s->listen[i].text),
				    err_at(err, "listen", (int)i);
	}
	if (fits_check(s, note, arg, err) == -1)
		return -1;
	s->sock.set_mode = attr_given(s, "mode");
	s->sock.nodelay = (s->flags & FLAG_NODELAY) != 0;
	s->sock.keepalive = (s->flags & FLAG_KEEPALIVE) != 0;
	return 0;
}

/* A name for the service that says what it does: the command's. */
static int
make_id(struct service *s, struct err *err)
{
	const char *from;
	char id[256];

	if (s->id == NULL)
		s->id = s->name;
	if (s->id != NULL)
		return 0;
	from = s->shell ? "sh" : str_basename(s->run.program);
	/* A name goes into log lines: what does not print is written out. */
	(void)str_escape(id, 128, from, strlen(from));
	for (char *p = id; *p != '\0'; p++)
		*p = *p == ' ' ? '_' : *p;
	s->id = strdup(id);
	return s->id != NULL ? 0 : err_sys(err, ENOMEM, "id");
}

/* The words of the command as its argv. */
static int
make_argv(struct service *s, struct err *err)
{
	struct run *r = &s->run;
	bool by_server = s->server != NULL;
	bool named = (s->flags & FLAG_NAMEINARGS) != 0 && !s->shell;
	const struct words *w = by_server ? &s->server_args : &s->exec;
	size_t n = 0;

	if (!by_server && s->server_args.n > 0)
		return err_set(err, "server_args: these are the arguments of server, and there is none"),
		    err_at(err, "server_args", 0);
	if (!by_server && w->n == 0)
		return err_set(err, s->table ? "no program to run; give server, exec or shell" :
		    "no COMMAND to serve"), err_at(err, "exec", -1);
	r->program = by_server ? s->server : w->word[0];
	if (r->program[0] == '\0')
		return err_set(err, "the command's name is empty"), err_at(err, by_server ? "server" : "exec", 0);
	if (named && w->n < (by_server ? 1 : 2))
		return err_set(err, "flags NAMEINARGS: no argument to be the command's argv[0]"),
		    err_at(err, "flags", -1);
	r->argv = calloc(w->n + 2, sizeof(char *));
	if (r->argv == NULL)
		return err_sys(err, ENOMEM, "%s", r->program);
	if (by_server && !named)
		r->argv[n++] = (char *)(uintptr_t)str_basename(r->program);
	for (size_t i = !by_server && named; i < w->n; i++)
		r->argv[n++] = w->word[i];
	return 0;
}

static int
check_program(struct service *s, const struct master *m, attr_note *note, void *arg, struct err *err)
{
	if (make_argv(s, err) == -1 || make_id(s, err) == -1 ||
	    find_paths(s, s->run.program, environ_search_path(s, m->env), err) == -1)
		return -1;
	if (!m->blind)
		look_at_program(s, note, arg);
	return 0;
}

static void
check_directory(struct service *s, const struct master *m)
{
	s->run.root = s->chroot;
	s->run.directory = s->directory;
	if (s->directory == NULL && s->table)
		s->run.directory = "/";
	else if (s->directory == NULL && s->chroot == NULL && m->leaves)
		s->run.directory = m->cwd;
	if (s->chroot != NULL && s->directory == NULL)
		s->run.directory = "/";
}

/* A service whose limit alone can make everybody wait for ever. */
static void
look_at_overload(const struct service *s, attr_note *note, void *arg)
{
	if (s->overload == OVERLOAD_QUEUE && s->instances != UINT32_MAX && s->instances > 0 && s->source.most == UINT32_MAX &&
	    s->timeout == 0 && s->idle_timeout == 0)
		attr_remark(note, arg,
		    "instances", -1, "whoever holds all %u connections keeps everyone else waiting; "
		    "per_source, timeout or idle_timeout would end that", s->instances);
}

/* Most services of a table have nothing of their own in it: those of one user share it. */
static int
check_environment(struct service *s, struct account *user, const struct master *m, struct err *err)
{
	bool common = s->table && s->env.n == 0 && !attr_given(s, "passenv") && user != NULL;

	if (common && user->env != NULL) {
		s->run.env = user->env;
		s->run.env->refs++;
		return 0;
	}
	if (environ_make(s, user, m->env, err) == -1)
		return -1;
	if (common) {
		user->env = s->run.env;
		s->run.env->refs++;
	}
	return 0;
}

/* no_access of every IPv4 address: what of IPv6, and of what only_from lets in? */
static void
look_at_everybody(const struct service *s, attr_note *note, void *arg)
{
	bool four = false, six = false, wide = false;

	for (size_t i = 0; i < s->no_access.n; i++) {
		const struct rule *r = &s->no_access.rule[i];

		four = four || (r->kind == RULE_NET && r->bits == 96 && ip_is_v4(&r->ip));
		six = six || (r->kind == RULE_NET && r->bits == 0);
	}
	for (size_t i = 0; i < s->nlisten; i++)
		wide = wide || (s->listen[i].where.scheme == SCHEME_TCP && s->listen[i].where.host[0] == '\0' &&
		    s->listen[i].where.family != AF_INET);
	if (four && !six && wide && !s->only_from.given)
		attr_remark(note, arg,
		    "no_access", -1, "this is every IPv4 address; IPv6 clients may come (::/0 is all of them)");
	if (four && s->only_from.n > 0)
		attr_remark(note, arg,
		    "no_access", -1, "what only_from names by a longer prefix is let in all the same; xinetd "
		    "would refuse everybody");
}

/* What is taken, and does less than it looks like. */
static void
look_at_rest(const struct service *s, attr_note *note, void *arg)
{
	look_at_everybody(s, note, arg);
	if ((s->on_success & RECORD_TRAFFIC) != 0 && s->redirect.n == 0)
		attr_remark(note, arg,
		    "log_on_success", -1, "TRAFFIC tells of redirect only; BYTES counts what a command "
		    "moves");
	for (size_t i = 0; i < s->env.n; i++)
		if (environ_of_connection(s->env.word[i]))
			attr_remark(note, arg,
			    "env", -1, "%s: this variable speaks of the connection and is set by the server "
			    "alone", s->env.word[i]);
}

int
check_account(struct service *s, const struct master *m, struct err *err)
{
	struct account *user = NULL;

	return s->user == NULL && s->group == NULL ? 0 : check_ids(s, m, &user, NULL, NULL, err);
}

/* A fault beside another one: of a table all are told. */
static int
also(int rc, attr_note *note, void *arg, struct err *err, struct err *first)
{
	if (rc == 0) {
		*first = *err;
	} else {
		err->fault = true;
		note(arg, err);
	}
	return -1;
}

int
check_service(struct service *s, const struct master *m, attr_note *note, void *arg, struct err *err)
{
	mode_t mask = attr_given(s, "umask") ? s->umask : s->table ? m->umask | 022 : m->umask;
	bool sensor = (s->flags & FLAG_SENSOR) != 0;
	const struct { struct banner *is; const char *of; } banners[] = { { &s->banner, "banner" },
		{ &s->banner_success, "banner_success" }, { &s->banner_fail, "banner_fail" } };
	struct account *user = NULL;
	struct err e = { .word = -1 };
	int rc = 0;

	if (check_where(s, m, note, arg, &e) == -1 || check_listen(s, note, arg, &e) == -1)
		rc = also(rc, note, arg, &e, err);
	for (size_t i = 0; i < s->nlisten; i++)	/* so it is the same entry where that is not known */
		s->listen[i].found.type = s->listen[i].found.family = 0;
	if (rc == -1 && !s->table)
		return -1;
	if (sensor && (s->exec.n > 0 || s->server != NULL || s->redirect.n > 0)) {
		(void)err_set(&e, "flags SENSOR: nobody is served there, so the service has no program");
		(void)err_at(&e, "flags", -1);
		rc = also(rc, note, arg, &e, err);
	} else if (!sensor && s->redirect.n == 0 && (s->type & TYPE_INTERNAL) == 0 &&
	    check_program(s, m, note, arg, &e) == -1) {
		rc = also(rc, note, arg, &e, err);
	}
	if (rc == -1 && !s->table)
		return -1;
	if (make_id(s, &e) == -1 || check_ids(s, m, &user, note, arg, &e) == -1)
		rc = also(rc, note, arg, &e, err);
	if (check_owner(s, &e) == -1)
		rc = also(rc, note, arg, &e, err);
	for (size_t i = 0; !m->blind && i < sizeof banners / sizeof banners[0]; i++)
		if (read_banner(banners[i].is, banners[i].of, note, arg, &e) == -1)
			rc = also(rc, note, arg, &e, err);
	if (rc == 0 && (check_limits(s, m, &e) == -1 || check_environment(s, user, m, &e) == -1))
		rc = also(rc, note, arg, &e, err);
	if (rc == -1)
		return -1;
	if (m->checking)
		look_at_overload(s, note, arg);
	look_at_rest(s, note, arg);
	check_directory(s, m);
	s->run.set_umask = mask != m->umask;
	s->run.umask = mask;
	s->run.set_nice = s->nice != 0;
	s->run.nice = m->nice + s->nice;
	return 0;
}

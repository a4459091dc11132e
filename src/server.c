/* server: the superserver. The order of start-up, wiring. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/heap.h"
#include "base/log.h"
#include "base/say.h"
#include "manage/around.h"
#include "manage/daemon.h"
#include "manage/inherited.h"
#include "manage/names.h"
#include "manage/options.h"
#include "manage/server.h"
#include "manage/upgrade.h"
#include "table/attr.h"
#include "table/check.h"
#include "table/explain.h"
#include "table/table.h"

static void
remark(void *arg, const struct err *e)
{
	(void)arg;
	say("warning: %s", e->text);
}

/* ADDRESS and COMMAND become listen and exec of the service. -1: err. */
static int
take_words(struct service *s, const struct options *o, struct err *err)
{
	const struct attr *listen = attr_find("listen");
	size_t first = 1;

	/* As one word: a path may hold blanks. */
	if (attr_set(s, listen, &(struct setting){ .op = ATTR_SET,
	    .word = (const char *const[]){ o->word[0], NULL }, .n = 1, .note = remark }, err) == -1)
		return -1;
	if (o->shell) {
		if (o->nwords < 2)
			return err_set(err, "-s: no command line behind ADDRESS %s", o->word[0]);
		if (attr_set(s, attr_find("shell"), &(struct setting){ .op = ATTR_SET,
		    .word = (const char *const[]){ o->word[1], NULL }, .n = 1, .note = remark }, err) == -1)
			return -1;
		first = 2;
	}
	for (size_t i = first; i < o->nwords; i++)
		if (words_add(&s->exec, o->word[i]) == -1)
			return err_sys(err, ENOMEM, "COMMAND");
	return 0;
}

static int
take_attributes(struct service *s, const struct options *o, struct err *err)
{
	static const char *const by_address[] = { "listen", "port", "bind", "interface", "protocol",
	    "socket_type" };

	for (size_t i = 0; i < o->nattr; i++) {
		size_t n = strcspn(o->attr[i], "=+-");
		const struct attr *a;
		char name[64];
		struct err e;

		(void)snprintf(name, sizeof name, "%.*s", (int)n, o->attr[i]);
		a = attr_find(name);
		for (size_t k = 0; k < sizeof by_address / sizeof by_address[0]; k++)
			if (strlen(by_address[k]) == n && strncasecmp(o->attr[i], by_address[k], n) == 0 &&
			    (k > 0 || o->attr[i][n] == '='))
				return err_set(err, "-o %s: ADDRESS says it here; listen+=ADDRESS adds another",
				    o->attr[i]);
		if (a != NULL && (a->flags & ATTR_TABLE) != 0)
			return err_set(err, "-o %s: %s needs a table; here it means nothing", o->attr[i], a->name);
		if (attr_set_option(s, o->attr[i], remark, NULL, &e) == -1)
			return err_set(err, "-o %s: %s", o->attr[i], e.text);
	}
	if ((s->flags & (FLAG_IPV4 | FLAG_IPV6)) != 0)
		return err_set(err, "-o flags: IPv4 and IPv6 need a table; here ADDRESS says it, as in tcp4:1024");
	if ((s->flags & FLAG_DISABLE) != 0)
		return err_set(err, "-o flags: DISABLE needs a table; here it means nothing");
	return 0;
}

/* --- start-up */

static struct service *
make_service(const struct options *o, const struct master *m, struct err *err)
{
	struct service *s = service_new();

	if (s == NULL) {
		(void)err_sys(err, ENOMEM, "cannot start");
		return NULL;
	}
	if (take_words(s, o, err) == -1 || take_attributes(s, o, err) == -1 ||
	    check_service(s, m, remark, NULL, err) == -1) {
		service_free(s);
		return NULL;
	}
	return s;
}

static void
raise_descriptors(const struct master *m)
{
	struct rlimit r;

	if (!m->raised)
		return;
	r = m->nofile;
	r.rlim_cur = r.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &r);
}

static struct log_to
log_goes(const struct options *o)
{
	if (o->log.kind != LOG_MASTER)
		return o->log;
	return (struct log_to){ .kind = o->daemon ? LOG_SYSLOG : LOG_STDERR, .facility = LOG_FACILITY_DAEMON,
		.level = -1 };
}

static int
open_log(const struct options *o, struct err *err)
{
	const struct log_to to = log_goes(o);

	return log_open(o->program, (enum level)o->level, &to) == 0 ? 0 :
	    err_sys(err, errno, "%s: cannot write the log", to.path);
}

/* What was promised once everything listens: the pid file, the lines on -r, the end of -D's wait. */
static int
report(struct server *server, const struct options *o, int foreground, struct err *err)
{
	struct buf lines = { 0 };
	const char *why;
	int rc = 0;

	if (foreground != -1 && !o->stays && server_listening(server, &why) == 0 && why != NULL)
		return err_set(err, "%s", why);
	if (server_control(server, o->control, err) == -1) {
		if (o->control != NULL)
			return -1;
		say("warning: there is no control socket: %s", err->text);
	}
	if (o->pidfile != NULL && pidfile_write(o->pidfile, err) == -1)
		return -1;
	if (open_log(o, err) == -1)
		return -1;
	server_log_diagnostics(server, log_goes(o).kind == LOG_STDERR);
	server_log_listeners(server);
	if (o->ready != -1) {
		server_ready_lines(server, &lines);
		if (lines.failed || fd_write_all(o->ready, lines.data, lines.len) == -1)
			rc = err_sys(err, lines.failed ? ENOMEM : errno, "-r %d: cannot write", o->ready);
		buf_free(&lines);
		inherited_let_go(o->ready);
	}
	return rc == 0 ? server_up(server, foreground, err) : -1;
}

/* Serves until the end. */
static int
run(struct server *server, const struct options *o, int rc, struct err *err)
{
	if (rc == 0 && server != NULL) {
		server_on_term(server, (enum on_term)o->on_term);
		rc = server_run(server, err);
	}
	log_close();
	if (rc == -1)
		say("%s", err->text);
	if (server == NULL)
		return EXIT_SYSTEM;
	if (o->pidfile != NULL)
		pidfile_remove(o->pidfile);
	if (server_abandon(server))
		_exit(0);
	server_free(server);
	return rc == 0 ? 0 : EXIT_SYSTEM;
}

/* Takes the plan. */
static int
serve(struct plan *plan, const struct config *config, const struct options *o, const struct master *m,
    struct kept *keep, int foreground)
{
	struct err err;
	struct server *server = server_new(config, m, &err);
	int rc = -1;

	if (server != NULL && (rc = server_begin(server, plan, config == NULL, &err)) == 0) {
		plan_free(plan);
		heap_trim();	/* of the table nothing is left */
		for (size_t i = 0; i < keep->n; i++)
			if (keep->fd[i] != o->ready && keep->fd[i] != foreground)
				inherited_let_go(keep->fd[i]);
		rc = report(server, o, foreground, &err);
	}
	plan_free(plan);
	return run(server, o, rc, &err);
}

/* Goes on where a predecessor was, with the tables as this program has read them for it. */
static int
go_on(struct inherited_state *had, const struct config *config, const struct options *o, const struct master *m)
{
	struct server *server = NULL;
	struct plan plan = { 0 };
	struct err err;
	int rc;

	raise_descriptors(m);
	(void)open_log(o, &err);	/* with each line a file is tried again */
	sinks_missed(had->log_lost);
	rc = plan_read(&plan, had->plan, had->plan_len, &err);
	if (rc == 0 && (server = server_new(config, m, &err)) == NULL)
		rc = -1;
	if (rc == 0 && (rc = server_resume(server, had, &err)) == 0 &&
	    (rc = server_begin(server, &plan, false, &err)) == 0) {
		server_resumed(server, plan.shown, had->reload);
		rc = server_up(server, -1, &err);
	}
	plan_free(&plan);
	upgrade_read(had);
	heap_trim();
	return run(server, o, rc, &err);
}

/* Could this program go on with that plan? A plan that could not be read then would be the end. Frees it. */
static int
answer_check(struct buf *written, struct inherited_state *had)
{
	struct plan plan;
	struct err err;
	int rc = upgrade_look(had, &err);

	if (rc == 0)
		rc = plan_read(&plan, written->data, written->failed ? 0 : written->len, &err);
	if (rc == 0) {
		plan_free(&plan);
		upgrade_say_sound(written);
	} else {
		say("%s", err.text);
	}
	buf_free(written);
	return rc == 0 ? 0 : EXIT_SYSTEM;
}

/* From a plan, as it was written, to the end of serving it. Frees it. */
static int
start(struct buf *written, const struct config *config, const struct options *o, const struct master *m,
    struct inherited_state *had)
{
	struct kept keep = { .n = 0 };
	struct err err = { .word = -1 };
	int foreground = -1, rc;
	struct plan plan;

	if (had->check)
		return answer_check(written, had);
	rc = plan_read(&plan, written->data, written->failed ? 0 : written->len, &err);
	buf_free(written);
	for (size_t i = 0; rc == 0 && i < plan.n; i++)
		rc = inherited_claim(plan.item[i].listen, plan.item[i].nlisten, &keep, &err);
	if (rc == -1) {
		say("%s", err.text);
		plan_free(&plan);
		return config != NULL ? EXIT_SYSTEM : EXIT_USAGE;
	}
	inherited_say_unclaimed(&keep);
	if (o->daemon && (foreground = daemon_begin(&err)) == -1) {
		say("%s", err.text);
		plan_free(&plan);
		return EXIT_SYSTEM;
	}
	keep.fd[keep.n++] = o->ready;
	keep.fd[keep.n++] = foreground;
	fd_close_from(3, keep.fd, keep.n);
	raise_descriptors(m);
	return serve(&plan, config, o, m, &keep, foreground);
}

static int
serve_command(const struct options *o, const struct master *m, struct inherited_state *had)
{
	struct err err = { .word = -1 };
	struct service *s = make_service(o, m, &err);
	struct buf written = { 0 };

	if (s == NULL) {
		say("%s", err.text);
		return err.system == ENOMEM ? EXIT_SYSTEM : EXIT_USAGE;
	}
	plan_of_service(s, &written);
	service_free(s);
	return start(&written, NULL, o, m, had);
}

static int
print(const struct buf *b, FILE *to)
{
	if (b->failed || (b->len > 0 && fwrite(b->data, 1, b->len, to) != b->len) || fflush(to) != 0)
		return EXIT_SYSTEM;
	return 0;
}

static void
print_diagnostics(const struct table *t)
{
	struct buf out = { 0 };

	diags_print(&t->diags, isatty(STDERR_FILENO) == 1 && getenv("NO_COLOR") == NULL, &out);
	(void)print(&out, stderr);
	buf_free(&out);
}

/* Serves what is sound and enabled. Of the table itself nothing is left meanwhile. */
static int
serve_table(struct table *t, const struct config *config, const struct options *o, const struct master *m,
    struct inherited_state *had)
{
	struct buf written = { 0 };

	if (t->unread || t->conf.broken) {
		say(t->unread ? o->ntables == 0 ? "nothing is served: there is no table, and no ADDRESS COMMAND was "
		    "given; for example: server 1024 date" : "nothing is served: the table cannot be read" :
		    "nothing is served: an error outside an entry may hide limits; server -t tells all");
		return EXIT_SYSTEM;
	}
	if (t->on == 0 && t->faulty_on > 0 && !o->stays) {
		say("nothing is served: every enabled entry has an error");
		return EXIT_SYSTEM;
	}
	if (had->check && t->diags.errors > 0) {
		say("an upgrade needs a table without errors");
		return EXIT_SYSTEM;
	}
	if (t->on == 0)
		say("warning: the table enables no service");
	plan_of_table(t, NULL, NULL, &written);
	table_free(t);
	return start(&written, config, o, m, had);
}

/* Behind -D the directory is /: what is read again is named in full. -1: no memory. */
static int
name_in_full(char **file, size_t n, const char *cwd)
{
	for (size_t i = 0; i < n; i++) {
		static struct words kept;	/* to the end: there are few */
		char full[PATH_MAX * 2];

		if (file[i][0] == '/' || file_once(file[i]))
			continue;
		if ((size_t)snprintf(full, sizeof full, "%s/%s", cwd, file[i]) >= sizeof full || words_add(&kept, full) == -1)
			return -1;
		file[i] = kept.word[kept.n - 1];
	}
	return 0;
}

static int
work_with_table(struct options *o, struct master *m, struct inherited_state *had)
{
	static char *standard[] = { (char *)(uintptr_t)SYSCONFDIR "/server.conf" };
	const struct config config = { .file = o->ntables > 0 ? o->table : standard,
		.nfiles = o->ntables > 0 ? o->ntables : 1, .option = o->attr, .noptions = o->nattr, .master = m };
	struct buf out = { 0 };
	struct table t;
	struct err err;
	int rc = 0;

	if (o->shell || (o->explain ? o->nwords < 2 || o->nwords > 3 : o->nwords > 0)) {
		say(o->explain && !o->shell ? "--explain takes SERVICE ADDRESS [HH:MM]" :
		    "%s: a table and ADDRESS COMMAND do not go together; server -h shows both forms",
		    o->shell ? "-s" : o->word[0]);
		return EXIT_USAGE;
	}
	if (table_try_options(m, o->attr, o->nattr, &err) == -1) {
		say("%s", err.text);
		return EXIT_USAGE;
	}
	m->checking = o->check;
	if (m->leaves && name_in_full(o->table, o->ntables, m->cwd) == -1) {
		say("cannot start: %s", strerror(ENOMEM));
		return EXIT_SYSTEM;
	}
	if (had->text != NULL && !had->check)
		return go_on(had, &config, o, m);
	table_read(&t, m, config.file, config.nfiles, config.option, config.noptions);
	if (!o->explain)
		print_diagnostics(&t);
	if (o->check) {
		rc = t.diags.errors > 0 ? EXIT_SYSTEM : 0;
	} else if (o->dump) {
		rc = t.diags.errors > 0 ? EXIT_SYSTEM : 0;
		if (rc == 0) {
			table_dump(&t, &out);
			rc = print(&out, stdout);
		}
	} else if (o->explain) {
		rc = table_explain(&t, o->word[0], o->word[1], o->nwords > 2 ? o->word[2] : NULL, &out, &err);
		if (rc == -1) {
			say("%s", err.text);
			rc = EXIT_USAGE;
		} else if (print(&out, stdout) != 0) {
			rc = EXIT_SYSTEM;
		}
	} else {
		rc = serve_table(&t, &config, o, m, had);
	}
	buf_free(&out);
	table_free(&t);
	return rc;
}

/* Behind -D the directory is /: what was meant from here is named in full. */
static const char *
from_here(const struct master *m, const char *path, char *full, size_t size)
{
	if (!m->leaves || path == NULL || path[0] == '/')
		return path;
	(void)snprintf(full, size, "%s/%s", m->cwd, path);
	return full;
}

/* What the first of the predecessors was started with. */
static void
take_over(struct master *m, struct inherited_state *had)
{
	if (had->text == NULL)
		return;
	if (had->cwd[0] != '\0')
		m->cwd = had->cwd;
	/* Somebody may have lowered ours meanwhile: a child is to get what the first was started with all the same. */
	m->nofile.rlim_cur = had->nofile != 0 ? (rlim_t)had->nofile : m->nofile.rlim_max;
	m->raised = m->raised || had->nofile != 0;
	m->on = &had->on;
	m->off = &had->off;
}

int
main(int argc, char **argv)
{
	extern char **environ;
	struct master m = { .env = environ };
	struct account *accounts = NULL;
	char cwd[PATH_MAX], pidfile[PATH_MAX * 2], control[PATH_MAX * 2], log[PATH_MAX * 2];
	struct inherited_state had;
	struct options o;
	struct err err;
	int rc;

	if (fd_fill_std() == -1)
		return EXIT_SYSTEM;
	upgrade_note(argv);
	if (upgrade_take(&had, &err) == -1) {
		say("%s", err.text);
		upgrade_drop(&had);
		return EXIT_SYSTEM;
	}
	rc = (names_other(argv) ? names_read : options_read)(&o, argc, argv, had.text != NULL);
	if (rc == -1) {
		m.preset = o.preset;
		m.npresets = o.npresets;
		m.address = o.address;
		m.must = o.must;
		around_look(&m, cwd, sizeof cwd, o.daemon);
		take_over(&m, &had);
		m.accounts = &accounts;
		o.pidfile = from_here(&m, o.pidfile, pidfile, sizeof pidfile);
		o.control = from_here(&m, o.control, control, sizeof control);
		o.log.path = (char *)(uintptr_t)from_here(&m, o.log.path, log, sizeof log);
		/* Who only looks has not what a server is started with. */
		if (had.text != NULL) {
			m.inherited = upgrade_inherited;
			m.inherited_arg = &had;
		} else if (!o.check && !o.dump && !o.explain) {
			m.inherited = inherited_look;
		}
		rc = options_of_table(&o) || o.nwords == 0 ? work_with_table(&o, &m, &had) :
		    had.text != NULL && !had.check ? go_on(&had, NULL, &o, &m) : serve_command(&o, &m, &had);
		accounts_free(&accounts);
	}
	options_free(&o);
	upgrade_drop(&had);
	return rc;
}

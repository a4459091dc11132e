/* server: the superserver. Options, the order of start-up, wiring. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <linux/capability.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "manage/daemon.h"
#include "manage/server.h"
#include "table/attr.h"
#include "table/check.h"
#include "table/explain.h"
#include "table/table.h"

enum { EXIT_SYSTEM = 1, EXIT_USAGE = 2 };

enum { OPT_DUMP = 256, OPT_ATTRIBUTES, OPT_EXPLAIN };

static const char usage_text[] =
    "usage: server [options] ADDRESS COMMAND [ARG...]\n"
    "       server [options] [-f TABLE]...\n"
    "\n"
    "Serves COMMAND on ADDRESS: a port (1024, http), ADDR:PORT, unix:PATH, vsock:PORT, fd:N;\n"
    "or the services of a table, " SYSCONFDIR "/server.conf where none is named.\n"
    "\n"
    "  -f, --table FILE         read this table: our own, xinetd.conf, inetd.conf; - is standard input\n"
    "  -t, --check              say what is wrong with the table, and serve nothing\n"
    "      --dump               print the table as it was understood\n"
    "      --explain SERVICE ADDRESS [HH:MM]  who decides whether that client is served\n"
    "  -o, --option ATTR=VALUE  set an attribute; += adds to a list, -= takes from it\n"
    "  -s, --shell              COMMAND is one line for /bin/sh -c; ARGs are $1, $2 ...\n"
    "  -p, --pidfile FILE       write the server's pid there\n"
    "  -r, --ready FD           say on descriptor FD what is listened on, then \"ready\"\n"
    "  -D, --daemon             go to the background once everything listens\n"
    "  -q, --quiet              log less; twice: warnings and errors only\n"
    "  -v, --verbose            log more\n"
    "      --attributes         list every attribute, its values, default and meaning\n"
    "  -h, --help               this\n"
    "  -V, --version            name and version\n"
    "\n"
    "server 1024 date           serves date on TCP port 1024; try: client localhost:1024\n";

static const struct option long_options[] = {
	{ "option", required_argument, NULL, 'o' }, { "shell", no_argument, NULL, 's' },
	{ "pidfile", required_argument, NULL, 'p' }, { "ready", required_argument, NULL, 'r' },
	{ "daemon", no_argument, NULL, 'D' }, { "quiet", no_argument, NULL, 'q' },
	{ "verbose", no_argument, NULL, 'v' }, { "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' }, { "attributes", no_argument, NULL, OPT_ATTRIBUTES },
	/* Of the table form. */
	{ "table", required_argument, NULL, 'f' }, { "check", no_argument, NULL, 't' },
	{ "control", required_argument, NULL, 'C' }, { "dump", no_argument, NULL, OPT_DUMP },
	{ "explain", no_argument, NULL, OPT_EXPLAIN }, { NULL, 0, NULL, 0 },
};

struct options {
	char **attr;		/* -o, in their order */
	size_t nattr;
	bool shell, daemon;
	const char *pidfile;
	int ready;		/* -1: none */
	int level;		/* enum level */
	const char *program;	/* the name it was started under */
	char **word;		/* ADDRESS COMMAND…, or what --explain asks */
	size_t nwords;
	char **table;		/* -f, in their order */
	size_t ntables;
	bool check, dump, explain;
};

static void __attribute__((format(printf, 1, 2)))
say(const char *fmt, ...)
{
	char text[1024], out[2048];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	(void)str_escape(out, sizeof out, text, strlen(text));
	(void)fprintf(stderr, "server: %s\n", out);
}

static void
remark(void *arg, const struct err *e)
{
	(void)arg;
	say("warning: %s", e->text);
}

static int
list_attributes(void)
{
	for (size_t i = 0; i < nattrs; i++)
		(void)printf("%s\t%s\t%s\t%s\n", attrs[i].name, attrs[i].form, attrs[i].initial, attrs[i].help);
	return fflush(stdout) == 0 ? 0 : EXIT_SYSTEM;
}

/* The option that getopt_long(3) stumbled over, as it was written. */
static const char *
bad_option(char **argv)
{
	static char letter[3] = "-";
	const char *word = argv[optind - 1];

	if (strncmp(word, "--", 2) == 0 || optopt <= 0 || optopt >= 128)
		return word;
	letter[1] = (char)optopt;
	return letter;
}

/* Is a table asked for by an option? */
static bool
of_table(const struct options *o)
{
	return o->ntables > 0 || o->check || o->dump || o->explain;
}

/* -1: go on; else the exit status. */
static int
read_options(int argc, char **argv, struct options *o)
{
	uint64_t n;
	int c;

	opterr = 0;
	for (;;) {
		c = getopt_long(argc, argv, "+:o:sp:r:DqvhVf:tC:", long_options, NULL);
		if (c == -1) {
			/* What follows ADDRESS is COMMAND's; with a table options stand anywhere. */
			bool ended = optind > 1 && strcmp(argv[optind - 1], "--") == 0;

			if (optind >= argc || !of_table(o) || ended)
				break;
			o->word[o->nwords++] = argv[optind++];
			continue;
		}
		switch (c) {
		case 'o':
			o->attr[o->nattr++] = optarg;
			break;
		case 's':
			o->shell = true;
			break;
		case 'p':
			o->pidfile = optarg;
			break;
		case 'r':
			if (!num_parse(optarg, 0, INT_MAX, &n) || !fd_is_open((int)n)) {
				say("-r %s: not an open descriptor; write for instance -r 9 9>file", optarg);
				return EXIT_USAGE;
			}
			o->ready = (int)n;
			break;
		case 'D':
			o->daemon = true;
			break;
		case 'q':
			o->level -= o->level > LEVEL_WARNING;
			break;
		case 'v':
			o->level = LEVEL_DEBUG;
			break;
		case 'h':
			return fputs(usage_text, stdout) != EOF && fflush(stdout) == 0 ? 0 : EXIT_SYSTEM;
		case 'V':
			return puts("server " VERSION) != EOF && fflush(stdout) == 0 ? 0 : EXIT_SYSTEM;
		case OPT_ATTRIBUTES:
			return list_attributes();
		case 'f':
			o->table[o->ntables++] = optarg;
			break;
		case 't':
			o->check = true;
			break;
		case OPT_DUMP:
			o->dump = true;
			break;
		case OPT_EXPLAIN:
			o->explain = true;
			break;
		case 'C':
			say("-C: there is no control socket yet");
			return EXIT_USAGE;
		case ':':
			say("%s: a value is missing behind it; server -h shows the options", bad_option(argv));
			return EXIT_USAGE;
		default:
			say("%s: no such option; server -h shows them all", bad_option(argv));
			return EXIT_USAGE;
		}
	}
	for (; optind < argc; optind++)
		o->word[o->nwords++] = argv[optind];
	return o->explain + o->dump + o->check > 1 ? (say("only one of -t, --dump and --explain at a time"),
	    EXIT_USAGE) : -1;
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
	return 0;
}

/* --- inherited descriptors */

enum { FIRST_INHERITED = 3, INHERITED_MOST = 1024 };

/* How many LISTEN_FDS promises to this very process. */
static int
inherited(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	uint64_t n;

	if (fds == NULL || !num_parse(fds, 0, INHERITED_MOST, &n) ||
	    (pid != NULL && (strtol(pid, NULL, 10) != (long)getpid())))
		return 0;
	return (int)n;
}

/* The descriptor that LISTEN_FDNAMES calls so; -1: none. */
static int
inherited_name(const char *name, int count)
{
	const char *p = getenv("LISTEN_FDNAMES");

	for (int i = 0; p != NULL && i < count; i++) {
		size_t n = strcspn(p, ":");

		if (strlen(name) == n && strncmp(p, name, n) == 0)
			return FIRST_INHERITED + i;
		p = p[n] == ':' ? p + n + 1 : NULL;
	}
	return -1;
}

struct kept {			/* descriptors that the start needs, by number */
	int fd[INHERITED_MOST + 2];
	size_t n;
};

/* Finds the numbers of fd:NAME. -1: err. */
static int
claim_inherited(struct service *s, struct kept *keep, struct err *err)
{
	int count = inherited();
	struct stat st;

	for (size_t i = 0; i < s->nlisten; i++) {
		struct where *w = &s->listen[i].where;

		if (w->scheme != SCHEME_FD)
			continue;
		if (w->named) {
			int fd = inherited_name(w->host, count);

			if (fd == -1)
				return err_set(err, "%s: no descriptor of that name in LISTEN_FDNAMES",
				    s->listen[i].text);
			w->port = (unsigned)fd;
		}
		if (fstat((int)w->port, &st) == -1)
			return err_set(err, "%s: descriptor %u is not open", s->listen[i].text, w->port);
		if (!S_ISSOCK(st.st_mode))
			return err_set(err, "%s: descriptor %u is not a socket", s->listen[i].text, w->port);
		if (keep->n == INHERITED_MOST)
			return err_set(err, "%s: too many descriptors", s->listen[i].text);
		keep->fd[keep->n++] = (int)w->port;
	}
	return 0;
}

static void
say_unclaimed(const struct kept *keep)
{
	int count = inherited();

	for (int fd = FIRST_INHERITED; fd < FIRST_INHERITED + count; fd++) {
		size_t k = 0;

		while (k < keep->n && keep->fd[k] != fd)
			k++;
		if (k == keep->n)
			say("warning: nobody claims the inherited descriptor %d; listen+=fd:%d would", fd, fd);
	}
}

static void
let_go(int fd)
{
	int null = fd <= 2 ? open("/dev/null", O_RDWR | O_CLOEXEC) : -1;

	if (null != -1) {
		(void)dup2(null, fd);
		(void)close(null);
	} else {
		(void)close(fd);
	}
}

/* --- start-up */

/* In the background the directory is /: what was meant from here is written in full. */
static int
from_root(struct service *s, const char *cwd, struct err *err)
{
	for (size_t i = 0; i < s->nlisten; i++) {
		struct where *w = &s->listen[i].where, full;
		char text[PATH_MAX + WHERE_HOST];

		if (w->scheme != SCHEME_UNIX || w->host[0] == '/' || w->host[0] == '@')
			continue;
		(void)snprintf(text, sizeof text, "%s:%s/%s",
		    w->type == SOCK_SEQPACKET ? "unix-seqpacket" : "unix", cwd, w->host);
		if (where_parse(&full, text, err) == -1)
			return -1;
		where_free(w);
		*w = full;
	}
	return 0;
}

static struct service *
make_service(const struct options *o, const struct master *m, struct err *err)
{
	struct service *s = service_new();

	if (s == NULL) {
		(void)err_sys(err, ENOMEM, "cannot start");
		return NULL;
	}
	if (take_words(s, o, err) == -1 || take_attributes(s, o, err) == -1 ||
	    (m->leaves && from_root(s, m->cwd, err) == -1) || check_service(s, m, remark, NULL, err) == -1) {
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

/* What is served: one command, or the sound and enabled services of a table. */
struct plan {
	struct service **service;	/* borrowed */
	size_t n;
	const struct service *defaults;	/* of the server: limit, grace, form of the log */
	bool wait;			/* an address that cannot be bound is tried again */
};

/* What was promised once everything listens: the pid file, the lines on -r, the end of -D's wait. */
static int
report(const struct server *server, const struct plan *plan, const struct options *o,
    int foreground, struct err *err)
{
	struct buf lines = { 0 };
	const char *why;
	int rc = 0;

	if (foreground != -1 && server_listening(server, &why) == 0 && why != NULL)
		return err_set(err, "%s", why);
	if (o->pidfile != NULL && pidfile_write(o->pidfile, err) == -1)
		return -1;
	if (foreground == -1)
		log_open_stderr(o->program, (enum level)o->level);
	else
		log_open_syslog(o->program, (enum level)o->level);
	log_set_style(&(struct log_style){ .json = plan->defaults->json != 0, .tag = plan->defaults->log_tag });
	server_log_listeners(server);
	if (o->ready != -1) {
		server_ready_lines(server, &lines);
		if (lines.failed || fd_write_all(o->ready, lines.data, lines.len) == -1)
			rc = err_sys(err, lines.failed ? ENOMEM : errno, "-r %d: cannot write", o->ready);
		buf_free(&lines);
		let_go(o->ready);
	}
	if (rc == 0 && foreground != -1)
		rc = daemon_started(foreground, err);
	return rc;
}

static int
add_all(struct server *server, const struct plan *plan, struct err *err)
{
	server_limits(server, plan->defaults->limit, plan->defaults->grace);
	for (size_t i = 0; i < plan->n; i++)
		if ((plan->wait ? server_add_or_wait : server_add)(server, plan->service[i], err) == -1)
			return -1;
	return 0;
}

static int
serve(const struct plan *plan, const struct options *o, struct kept *keep, int foreground)
{
	struct err err;
	struct server *server = server_new(&err);
	int rc = -1;

	if (server == NULL) {
		say("%s", err.text);
		return EXIT_SYSTEM;
	}
	if (add_all(server, plan, &err) == 0) {
		for (size_t i = 0; i < keep->n; i++)
			if (keep->fd[i] != o->ready && keep->fd[i] != foreground)
				let_go(keep->fd[i]);
		rc = report(server, plan, o, foreground, &err);
	}
	if (rc == 0)
		rc = server_run(server, &err);
	log_close();
	if (rc == -1)
		say("%s", err.text);
	if (o->pidfile != NULL)
		pidfile_remove(o->pidfile);
	if (server_abandon(server))
		_exit(0);
	server_free(server);
	return rc == 0 ? 0 : EXIT_SYSTEM;
}

/* From a sound plan to the end of serving it. */
static int
start(const struct plan *plan, const struct options *o, const struct master *m)
{
	struct kept keep = { .n = 0 };
	struct err err = { .word = -1 };
	int foreground = -1;

	for (size_t i = 0; i < plan->n; i++) {
		if ((m->leaves && from_root(plan->service[i], m->cwd, &err) == -1) ||
		    claim_inherited(plan->service[i], &keep, &err) == -1) {
			say("%s", err.text);
			return plan->wait ? EXIT_SYSTEM : EXIT_USAGE;
		}
	}
	say_unclaimed(&keep);
	if (o->daemon && (foreground = daemon_begin(&err)) == -1) {
		say("%s", err.text);
		return EXIT_SYSTEM;
	}
	keep.fd[keep.n++] = o->ready;
	keep.fd[keep.n++] = foreground;
	fd_close_from(3, keep.fd, keep.n);
	raise_descriptors(m);
	return serve(plan, o, &keep, foreground);
}

static int
serve_command(const struct options *o, const struct master *m)
{
	struct err err = { .word = -1 };
	struct service *s = make_service(o, m, &err);
	int rc;

	if (s == NULL) {
		say("%s", err.text);
		return err.system == ENOMEM ? EXIT_SYSTEM : EXIT_USAGE;
	}
	rc = start(&(struct plan){ .service = &s, .n = 1, .defaults = s }, o, m);
	service_free(s);
	return rc;
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
serve_table(struct table *t, const struct options *o, const struct master *m)
{
	struct service *defaults = t->defaults != NULL ? service_hold(t->defaults) : NULL;
	struct plan plan = { .defaults = defaults, .wait = true };
	int rc = EXIT_SYSTEM;

	if (t->unread || t->conf.broken) {
		say(t->unread ? o->ntables == 0 ? "nothing is served: there is no table, and no ADDRESS COMMAND was "
		    "given; for example: server 1024 date" : "nothing is served: the table cannot be read" :
		    "nothing is served: an error outside an entry may hide limits; server -t tells all");
		goto out;
	}
	if (t->on == 0 && t->faulty > 0) {
		say("nothing is served: every enabled entry has an error");
		goto out;
	}
	if (t->on == 0)
		say("warning: the table enables no service");
	plan.service = calloc(t->on + 1, sizeof(struct service *));
	if (plan.service == NULL) {
		say("cannot start: %s", strerror(ENOMEM));
		goto out;
	}
	for (size_t i = 0; i < t->n; i++) {
		struct service *s = t->item[i].service;

		if (s->off || s->later)
			continue;
		service_slim(s);
		plan.service[plan.n++] = service_hold(s);
	}
	table_free(t);
#ifdef __GLIBC__
	(void)malloc_trim(0);
#endif
	rc = start(&plan, o, m);
	for (size_t i = 0; i < plan.n; i++)
		service_free(plan.service[i]);
	free(plan.service);
out:
	service_free(defaults);
	return rc;
}

static int
work_with_table(struct options *o, struct master *m)
{
	static char *standard[] = { (char *)(uintptr_t)SYSCONFDIR "/server.conf" };
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
	if (table_try_options(o->attr, o->nattr, &err) == -1) {
		say("%s", err.text);
		return EXIT_USAGE;
	}
	m->checking = o->check;
	table_read(&t, m, o->ntables > 0 ? o->table : standard, o->ntables > 0 ? o->ntables : 1, o->attr,
	    o->nattr);
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
		rc = serve_table(&t, o, m);
	}
	buf_free(&out);
	table_free(&t);
	return rc;
}

static void
look_around(struct master *m, char *cwd, size_t size, bool daemon)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct cap[2] = { { 0, 0, 0 } };
	int fd = open("/proc/sys/net/ipv4/ip_unprivileged_port_start", O_RDONLY | O_CLOEXEC);
	char text[16] = "";
	ssize_t n = fd != -1 ? read(fd, text, sizeof text - 1) : -1;
	uint64_t first = 1024;

	m->cwd = getcwd(cwd, size);
	m->umask = umask(022);
	(void)umask(m->umask);
	m->nice = getpriority(PRIO_PROCESS, 0);
	m->leaves = daemon && m->cwd != NULL;
	m->raised = getrlimit(RLIMIT_NOFILE, &m->nofile) == 0 && m->nofile.rlim_cur != m->nofile.rlim_max;
	m->low_ports = syscall(SYS_capget, &head, cap) == 0 &&
	    (cap[0].effective & 1U << CAP_NET_BIND_SERVICE) != 0;
	if (n > 0) {
		text[strcspn(text, "\n")] = '\0';
		(void)num_parse(text, 0, 65536, &first);
	}
	m->first_port = (unsigned)first;
	if (fd != -1)
		(void)close(fd);
}

int
main(int argc, char **argv)
{
	extern char **environ;
	struct options o = { .ready = -1, .level = LEVEL_INFO,
		.program = argc > 0 ? str_basename(argv[0]) : "server" };
	struct master m = { .env = environ };
	struct account *accounts = NULL;
	char cwd[PATH_MAX], pidfile[PATH_MAX * 2];
	int rc;

	if (fd_fill_std() == -1)
		return EXIT_SYSTEM;
	o.attr = calloc((size_t)argc + 1, sizeof(char *));
	o.table = calloc((size_t)argc + 1, sizeof(char *));
	o.word = calloc((size_t)argc + 1, sizeof(char *));
	if (o.attr == NULL || o.table == NULL || o.word == NULL) {
		say("cannot start: %s", strerror(ENOMEM));
		rc = EXIT_SYSTEM;
		goto out;
	}
	rc = read_options(argc, argv, &o);
	if (rc != -1)
		goto out;
	look_around(&m, cwd, sizeof cwd, o.daemon);
	m.accounts = &accounts;
	if (m.leaves && o.pidfile != NULL && o.pidfile[0] != '/') {
		(void)snprintf(pidfile, sizeof pidfile, "%s/%s", cwd, o.pidfile);
		o.pidfile = pidfile;
	}
	rc = of_table(&o) || o.nwords == 0 ? work_with_table(&o, &m) : serve_command(&o, &m);
	accounts_free(&accounts);
out:
	free(o.attr);
	free(o.table);
	free(o.word);
	return rc;
}

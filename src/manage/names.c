#include "manage/names.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/num.h"
#include "base/say.h"
#include "base/str.h"
#include "manage/server.h"
#include "net/where.h"
#include "table/attr.h"

/*
 * What the originals do and a table of theirs relies on. It stands under the table's own `defaults`:
 * `overload = queue` or `passenv = PATH` there is meant.
 */
static char *const as_xinetd[] = { (char *)(uintptr_t)"dialect=xinetd",
	(char *)(uintptr_t)"overload=reject", (char *)(uintptr_t)"passenv=*" };
static char *const as_inetd[] = { (char *)(uintptr_t)"dialect=bsd" };

static const char *const inetds[] = { "inetd", "openbsd-inetd", "inetutils-inetd" };

enum xinetd_option {
	XINETD_DEBUG, XINETD_SYSLOG, XINETD_FILELOG, XINETD_FILE, XINETD_PIDFILE, XINETD_DONTFORK,
	XINETD_LIMIT, XINETD_LOGPROCS, XINETD_VERSION, XINETD_COMPAT, XINETD_CC, XINETD_NONE,
};

static const struct xinetd_word {
	const char *name;
	const char *value;	/* what it takes; NULL: nothing */
	enum xinetd_option option;
} xinetd_words[] = {
	{ "-d", NULL, XINETD_DEBUG }, { "-syslog", "a facility", XINETD_SYSLOG },
	{ "-filelog", "a file", XINETD_FILELOG }, { "-f", "a table", XINETD_FILE },
	{ "-pidfile", "a file", XINETD_PIDFILE }, { "-dontfork", NULL, XINETD_DONTFORK },
	{ "-limit", "a number", XINETD_LIMIT }, { "-logprocs", "a number", XINETD_LOGPROCS },
	{ "-version", NULL, XINETD_VERSION }, { "-inetd_compat", NULL, XINETD_COMPAT },
	{ "-cc", "seconds", XINETD_CC },
	/* So it is here anyway: it stays up, addresses are taken at once, `tcp` is both families. */
	{ "-stayalive", NULL, XINETD_NONE }, { "-reuse", NULL, XINETD_NONE }, { "-inetd_ipv6", NULL, XINETD_NONE },
};

static bool
is_inetd(const char *name)
{
	for (size_t i = 0; i < sizeof inetds / sizeof inetds[0]; i++)
		if (strcmp(name, inetds[i]) == 0)
			return true;
	return false;
}

bool
names_other(char **argv)
{
	const char *name = argv[0] != NULL ? str_basename(argv[0]) : "";

	return strcmp(name, "xinetd") == 0 || is_inetd(name);
}

/* --- for both */

/* A text that lives as long as o. NULL: no memory. */
static char * __attribute__((format(printf, 2, 3)))
make(struct options *o, const char *fmt, ...)
{
	char text[PATH_MAX * 2];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return words_add(&o->made, text) == 0 ? o->made.word[o->made.n - 1] : NULL;
}

/* An attribute of the command line's; it stands over the table's `defaults`. */
static int
give(struct options *o, const char *attr, uint64_t n, const char *unit)
{
	o->attr[o->nattr] = make(o, "%s=%llu%s", attr, (unsigned long long)n, unit);
	return o->attr[o->nattr++] != NULL ? -1 : EXIT_SYSTEM;
}

static void
add_table(struct options *o, const char *path)
{
	o->table[o->ntables++] = (char *)(uintptr_t)path;
}

/* -1: *n; else the exit status. */
static int
number(const char *option, const char *text, uint64_t min, uint64_t max, uint64_t *n)
{
	if (num_parse(text, min, max, n))
		return -1;
	say("%s %s: not a number from %llu to %llu", option, text, (unsigned long long)min,
	    (unsigned long long)max);
	return EXIT_USAGE;
}

static int
begin(struct options *o, int argc, char **argv)
{
	int rc = options_begin(o, argc + 2, argv);	/* two tables of their own */

	o->log = (struct log_to){ .kind = LOG_SYSLOG, .facility = LOG_FACILITY_DAEMON, .level = -1 };
	o->stays = true;
	o->daemon = true;
	return rc;
}

/* The debugging mode of both: in the foreground, and it tells all there is to tell. */
static void
debug(struct options *o)
{
	o->daemon = false;
	o->level = LEVEL_DEBUG;
	o->log.kind = LOG_STDERR;
}

/* --- xinetd */

static const struct xinetd_word *
find_word(const char *text)
{
	for (size_t i = 0; i < sizeof xinetd_words / sizeof xinetd_words[0]; i++)
		if (strcmp(xinetd_words[i].name, text) == 0)
			return &xinetd_words[i];
	return NULL;
}

static int
facility(const char *text, int16_t *out)
{
	struct service *s = service_new();
	char option[64];
	struct err err;
	int rc = -1;

	(void)snprintf(option, sizeof option, "log_type=SYSLOG '%s'", text);
	if (s == NULL) {
		say("cannot start: %s", strerror(ENOMEM));
		return EXIT_SYSTEM;
	}
	if (attr_set_option(s, option, NULL, NULL, &err) == -1) {
		say("-syslog %s", err.text);
		rc = EXIT_USAGE;
	} else {
		*out = s->log.to[0].facility;
	}
	service_free(s);
	return rc;
}

struct xinetd {			/* what its options said, and cannot be decided one by one */
	const char *file, *syslog, *filelog;
	bool debug, compat;
};

static int
take_word(struct options *o, struct xinetd *x, const struct xinetd_word *w, const char *value)
{
	uint64_t n;
	int rc = -1;

	switch (w->option) {
	case XINETD_DEBUG:
		x->debug = true;
		break;
	case XINETD_SYSLOG:
		x->syslog = value;
		rc = facility(value, &o->log.facility);
		break;
	case XINETD_FILELOG:
		x->filelog = value;
		break;
	case XINETD_FILE:
		x->file = value;
		break;
	case XINETD_PIDFILE:
		o->pidfile = value;
		break;
	case XINETD_DONTFORK:
		o->daemon = false;
		break;
	case XINETD_LIMIT:
		rc = number(w->name, value, 1, UINT32_MAX - 1, &n);
		if (rc == -1)
			rc = give(o, "limit", n, "");
		break;
	case XINETD_LOGPROCS:
		rc = number(w->name, value, 1, UINT32_MAX, &n);
		if (rc == -1)
			say("warning: -logprocs does nothing here: the processes that ask for USERID have a bound of "
			    "their own");
		break;
	case XINETD_CC:
		rc = number(w->name, value, 0, UINT32_MAX, &n);
		if (rc == -1)
			say("warning: -cc does nothing here: there is no consistency check");
		break;
	case XINETD_VERSION:
		rc = puts("server " VERSION) != EOF && fflush(stdout) == 0 ? 0 : EXIT_SYSTEM;
		break;
	case XINETD_COMPAT:
		x->compat = true;
		break;
	case XINETD_NONE:
		break;
	}
	return rc;
}

static int
xinetd_log(struct options *o, const struct xinetd *x)
{
	if (x->syslog != NULL && x->filelog != NULL) {
		say("-syslog and -filelog: only one of them");
		return EXIT_USAGE;
	}
	if (x->debug) {
		if (x->syslog != NULL || x->filelog != NULL)
			say("warning: %s does nothing beside -d: the log goes to standard error",
			    x->syslog != NULL ? "-syslog" : "-filelog");
		debug(o);
	} else if (x->filelog != NULL) {
		o->log.kind = LOG_FILE;
		o->log.path = (char *)(uintptr_t)x->filelog;
	}
	return -1;
}

static int
xinetd(struct options *o, int argc, char **argv)
{
	struct xinetd x = { .file = SYSCONFDIR "/xinetd.conf" };
	uint32_t seen = 0;
	int rc = -1;

	o->preset = as_xinetd;
	o->npresets = sizeof as_xinetd / sizeof as_xinetd[0];
	o->on_term = TERM_STOPS;
	for (int i = 1; i < argc && rc == -1; i++) {
		const struct xinetd_word *w = find_word(argv[i]);

		if (w == NULL) {
			say("%s: no such %s of xinetd; see server(8), STARTED UNDER OTHER NAMES", argv[i],
			    argv[i][0] == '-' ? "option" : "argument");
			return EXIT_USAGE;
		}
		if (w->value != NULL && i + 1 == argc) {
			say("%s: %s is missing behind it", w->name, w->value);
			return EXIT_USAGE;
		}
		if (w->value != NULL && (seen & 1U << w->option) != 0)
			say("warning: %s is given twice; the last one holds", w->name);
		seen |= 1U << w->option;
		rc = take_word(o, &x, w, w->value != NULL ? argv[++i] : NULL);
	}
	if (rc == -1)
		rc = xinetd_log(o, &x);
	add_table(o, x.file);
	if (x.compat) {
		o->must = 1;	/* Debian gives the option whether there is one or not */
		add_table(o, SYSCONFDIR "/inetd.conf");
	}
	return rc;
}

/* --- inetd */

static int
take_letter(struct options *o, int c, const char *value, bool *to_stderr)
{
	static const struct {
		char letter;
		const char *option, *attr, *unit;
		uint64_t min, max;
	} limits[] = {
		{ 'q', "-q", "backlog", "", 1, INT32_MAX }, { 'R', "-R", "cps", "/1m", 0, UINT32_MAX - 1 },
		{ 'c', "-c", "instances", "", 0, UINT32_MAX - 1 }, { 'C', "-C", "source_cps", "/1m", 0, UINT32_MAX - 1 },
		{ 's', "-s", "per_source", "", 0, UINT32_MAX - 1 },
	};
	static const char pass_all[] = "passenv=*";
	struct where w;
	struct err err;
	uint64_t n;
	int rc;

	for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
		if (limits[i].letter != c)
			continue;
		rc = number(limits[i].option, value, limits[i].min, limits[i].max, &n);
		/* 0 is no limit there. */
		return rc != -1 || n == 0 ? rc : give(o, limits[i].attr, n, limits[i].unit);
	}
	switch (c) {
	case 'd':
		debug(o);
		break;
	case 'f':
	case 'i':
		o->daemon = false;
		break;
	case 'e':
		*to_stderr = true;
		break;
	case 'p':
		o->pidfile = value;
		break;
	case 'a':
		o->address = make(o, strchr(value, ':') != NULL && value[0] != '[' ? "[%s]" : "%s", value);
		if (o->address == NULL)
			return EXIT_SYSTEM;
		if (strpbrk(value, ", \t") != NULL ||
		    where_parse(&w, make(o, "tcp:%s:0", o->address), &err) == -1) {
			say("-a %s: not an address; it takes one, such as 127.0.0.1, ::1 or a host's name", value);
			return EXIT_USAGE;
		}
		where_free(&w);
		break;
	case 'E':
		/* Once is enough: of letters there may be more than there is room for words. */
		if (o->nattr == 0 || strcmp(o->attr[o->nattr - 1], pass_all) != 0)
			o->attr[o->nattr++] = (char *)(uintptr_t)pass_all;
		break;
	case 'l':
		say("warning: -l does nothing here: no hosts.allow is read, only_from and no_access in a block of the "
		    "table say who may come; connections are logged without it");
		break;
	case 'w':
	case 'W':
		say("warning: -%c does nothing here: no hosts.allow is read; only_from and no_access in a block of the "
		    "table say who may come", c);
		break;
	default:
		break;
	}
	return -1;
}

/*
 * Debian's scripts look for the process there. Who is not root, or finds no /run, starts it in
 * another way.
 */
static const char *
usual_pidfile(const struct options *o)
{
	return o->log.kind != LOG_STDERR && geteuid() == 0 && access("/run", W_OK) == 0 ? "/run/inetd.pid" : NULL;
}

static int
inetd(struct options *o, int argc, char **argv)
{
	bool to_stderr = false;
	int c, rc = -1;

	o->preset = as_inetd;
	o->npresets = sizeof as_inetd / sizeof as_inetd[0];
	o->on_term = TERM_QUITS;
	opterr = 0;
	while (rc == -1 && (c = getopt(argc, argv, ":a:C:c:dEefilp:q:R:s:Ww")) != -1) {
		if (c == ':' || c == '?') {
			char letter[3] = { '-', (char)optopt, '\0' };
			const char *at = optind < argc ? argv[optind] : "";

			/* At --WORD it stumbles over the second -, and is not through with the word. */
			say(c == ':' ? "%s: a value is missing behind it" :
			    "%s: no such option of inetd; see server(8), STARTED UNDER OTHER NAMES",
			    optopt == '-' && strncmp(at, "--", 2) == 0 ? at : letter);
			return EXIT_USAGE;
		}
		rc = take_letter(o, c, optarg, &to_stderr);
	}
	if (to_stderr && o->daemon)
		say("warning: -e does nothing in the background, where there is no standard error; the log goes to syslog");
	else if (to_stderr)
		o->log.kind = LOG_STDERR;
	if (o->pidfile == NULL)
		o->pidfile = usual_pidfile(o);
	for (int i = optind; i < argc; i++)
		add_table(o, argv[i]);
	if (o->ntables == 0) {
		o->must = 1;
		add_table(o, SYSCONFDIR "/inetd.conf");
		add_table(o, SYSCONFDIR "/inetd.d");
	}
	return rc;
}

int
names_read(struct options *o, int argc, char **argv, bool resumes)
{
	int rc = begin(o, argc, argv);

	(void)resumes;
	if (rc != -1)
		return rc;
	rc = is_inetd(o->program) ? inetd(o, argc, argv) : xinetd(o, argc, argv);
	if (rc == EXIT_SYSTEM)
		say("cannot start: %s", strerror(ENOMEM));
	return rc;
}

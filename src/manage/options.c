#include "manage/options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/num.h"
#include "base/say.h"
#include "base/str.h"
#include "table/attr.h"

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
    "  -C, --control PATH       the socket that serverctl talks to\n"
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

bool
options_of_table(const struct options *o)
{
	return o->ntables > 0 || o->check || o->dump || o->explain;
}

int
options_begin(struct options *o, int argc, char **argv)
{
	*o = (struct options){ .ready = -1, .level = LEVEL_INFO,
		.program = argc > 0 ? str_basename(argv[0]) : "server" };
	o->attr = calloc((size_t)argc + 1, sizeof(char *));
	o->table = calloc((size_t)argc + 1, sizeof(char *));
	o->word = calloc((size_t)argc + 1, sizeof(char *));
	if (o->attr == NULL || o->table == NULL || o->word == NULL) {
		say("cannot start: %s", strerror(ENOMEM));
		return EXIT_SYSTEM;
	}
	return -1;
}

int
options_read(struct options *o, int argc, char **argv, bool resumes)
{
	int c = options_begin(o, argc, argv);
	uint64_t n;

	if (c != -1)
		return c;
	opterr = 0;
	for (;;) {
		c = getopt_long(argc, argv, "+:o:sp:r:DqvhVf:tC:", long_options, NULL);
		if (c == -1) {
			/* What follows ADDRESS is COMMAND's; with a table options stand anywhere. */
			bool ended = optind > 1 && strcmp(argv[optind - 1], "--") == 0;

			if (optind >= argc || !options_of_table(o) || ended)
				break;
			o->word[o->nwords++] = argv[optind++];
			continue;
		}
		if ((c == 'f' || c == 'p') && optarg[0] == '\0') {
			say("-%c \"\": the path of a file is wanted; server -h shows the options", c);
			return EXIT_USAGE;
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
			if (!num_parse(optarg, 0, INT_MAX, &n) || (!resumes && !fd_is_open((int)n))) {
				say("-r %s: not an open descriptor; write for instance -r 9 9>file", optarg);
				return EXIT_USAGE;
			}
			o->ready = resumes ? -1 : (int)n;
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
			o->control = optarg;
			break;
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

void
options_free(struct options *o)
{
	free(o->attr);
	free(o->table);
	free(o->word);
	words_free(&o->made);
}

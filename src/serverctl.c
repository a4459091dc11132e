/* serverctl: talks to a running server. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/say.h"
#include "manage/around.h"
#include "manage/ask.h"
#include "manage/control.h"
#include "manage/edit.h"
#include "manage/top.h"

enum { EXIT_UNDONE = 1, EXIT_WRONG = 2 };
enum { OPT_JSON = 256, OPT_COMMANDS };

struct command {
	const char *name, *words, *help;
	size_t least, most;	/* words behind it */
};

static const struct command commands[] = {
	{ "status", "[SERVICE] [--json]", "services and connections", 0, 1 },
	{ "top", "", "the same, live, on a terminal", 0, 0 },
	{ "reload", "", "reads the tables again, and says what is wrong with them", 0, 0 },
	{ "drain", "", "no more connections; ends with those that are there, at the latest after grace", 0, 0 },
	{ "stop", "", "ends now", 0, 0 },
	{ "upgrade", "", "becomes the program now on disk, and loses nobody", 0, 0 },
	{ "enable", "SERVICE", "a service is on, whatever the table says, until a restart", 1, 1 },
	{ "disable", "SERVICE", "it is off, until a restart; its connections live on", 1, 1 },
	{ "kill", "CONNECTION|SERVICE", "ends a connection, or all of a service", 1, 1 },
	{ "explain", "SERVICE ADDRESS [TIME]", "would that client be served, and who decides it", 2, 3 },
	{ "edit", "[TABLE]", "changes a table as visudo does: checked, installed, reloaded", 0, 1 },
};

enum { NCOMMANDS = sizeof commands / sizeof commands[0] };

static const struct option long_options[] = {
	{ "control", required_argument, NULL, 'C' }, { "json", no_argument, NULL, OPT_JSON },
	{ "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'V' },
	{ "commands", no_argument, NULL, OPT_COMMANDS }, { NULL, 0, NULL, 0 },
};

static int
help(void)
{
	(void)puts("usage: serverctl [-C PATH] COMMAND [WORD...]\n\nTalks to a running server.\n");
	for (int i = 0; i < NCOMMANDS; i++)
		(void)printf("  %-8s%-24s %s\n", commands[i].name, commands[i].words, commands[i].help);
	(void)puts("\n"
	    "  -C, --control PATH  the server's socket; else where it is by itself: /run/server.sock,\n"
	    "                      for others than root $XDG_RUNTIME_DIR/server.sock\n"
	    "      --json          status: one object for programs\n"
	    "      --commands      list the commands, their words and meaning\n"
	    "  -h, --help          this\n"
	    "  -V, --version       name and version\n"
	    "\n"
	    "Exit status: 0 done, 1 not done or the table has errors, 2 the command line is wrong.");
	return fflush(stdout) == 0 ? 0 : EXIT_UNDONE;
}

static int
list_commands(void)
{
	for (int i = 0; i < NCOMMANDS; i++)
		(void)printf("%s\t%s\t%s\n", commands[i].name, commands[i].words, commands[i].help);
	return fflush(stdout) == 0 ? 0 : EXIT_UNDONE;
}

static const struct command *
find(const char *name)
{
	for (int i = 0; i < NCOMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

/* Does that err of ask() say that no server runs? */
static bool
nobody(const char *path, const struct err *err)
{
	return path == NULL || err->system == ENOENT || err->system == ECONNREFUSED;
}

/* The first table of the server; where none runs, the usual one. -1: err; 1: there is none, and that was told. */
static int
first_table(const char *path, char *name, size_t size, struct err *err)
{
	char *const word[] = { (char *)(uintptr_t)"tables" };
	struct buf out = { 0 };
	int rc = path != NULL ? ask(path, word, 1, &out, err) : -1;

	(void)snprintf(name, size, "%s", SYSCONFDIR "/server.conf");
	if (rc == -1 && nobody(path, err))
		rc = 0;
	else if (rc == 0 && out.len > 0)
		(void)snprintf(name, size, "%.*s", (int)strcspn(out.data, "\n"), out.data);
	if (rc == 0 && name[0] != '/')
		rc = err_set(err, "%s: the server's table is no file; name one: serverctl edit TABLE", name);
	buf_free(&out);
	return rc;
}

struct said {			/* how a server reads its tables */
	struct buf text;
	char **word;		/* owned: presets, then options; in text */
	size_t npresets, n;
	struct words on, off;	/* services that were switched */
};

/* A server that is none says nothing. -1: err. */
static int
ask_options(const char *path, struct said *s, struct err *err)
{
	static const char *const kinds[] = { "preset ", "option ", "on ", "off " };
	char *const word[] = { (char *)(uintptr_t)"options" };
	size_t lines = 0;
	int rc = 0;

	*s = (struct said){ 0 };
	if (path == NULL || ask(path, word, 1, &s->text, err) != 0)
		s->text.len = 0;
	buf_add(&s->text, "", 1);
	if (s->text.failed || s->text.data == NULL)
		return err_sys(err, ENOMEM, "the server's options");
	for (const char *p = s->text.data; *p != '\0'; p++)
		lines += *p == '\n';
	s->word = calloc(lines + 1, sizeof *s->word);
	if (s->word == NULL)
		return err_sys(err, ENOMEM, "the server's options");
	for (char *p = s->text.data, *end; rc == 0 && (end = strchr(p, '\n')) != NULL; p = end + 1) {
		int kind = 0;

		*end = '\0';
		while (kind < 4 && strncmp(p, kinds[kind], strlen(kinds[kind])) != 0)
			kind++;
		if (kind == 4)
			continue;
		p += strlen(kinds[kind]);
		if (kind >= 2) {
			rc = words_add(kind == 2 ? &s->on : &s->off, p);
			continue;
		}
		s->npresets += kind == 0;
		s->word[s->n++] = p;
	}
	return rc == 0 ? 0 : err_sys(err, ENOMEM, "the server's options");
}

/* Edits, then has it read. */
static int
edit_and_reload(const char *path, const char *table, struct err *err)
{
	extern char **environ;
	char *const word[] = { (char *)(uintptr_t)"reload" };
	struct master m = { .env = environ, .alone = true };
	struct account *accounts = NULL;
	struct said said;
	char cwd[PATH_MAX], name[PATH_MAX];
	int rc;

	if (table == NULL) {
		rc = first_table(path, name, sizeof name, err);
		if (rc != 0)
			return rc;
		table = name;
	}
	around_look(&m, cwd, sizeof cwd, false);
	m.accounts = &accounts;
	rc = ask_options(path, &said, err);
	if (rc == 0) {
		m.preset = said.word;
		m.npresets = said.npresets;
		m.on = &said.on;
		m.off = &said.off;
		rc = edit(table, &m, said.word + said.npresets, said.n - said.npresets, err);
	}
	accounts_free(&accounts);
	free(said.word);
	words_free(&said.on);
	words_free(&said.off);
	buf_free(&said.text);
	if (rc != 0)
		return rc;
	rc = path != NULL ? ask(path, word, 1, NULL, err) : -1;
	if (rc == -1 && nobody(path, err)) {
		(void)fprintf(stderr, "serverctl: no server runs here: it is read when one starts\n");
		return 0;
	}
	if (rc == -1)
		(void)fprintf(stderr, "serverctl: %s is changed, but was not read again:\n", table);
	return rc;
}

static int
run(const struct command *c, const char *path, bool json, char **word, size_t nwords, struct err *err)
{
	if (strcmp(c->name, "edit") == 0)
		return edit_and_reload(path, nwords > 1 ? word[1] : NULL, err);
	if (path == NULL)
		return err_set(err, "no server's socket is known: XDG_RUNTIME_DIR is not set; -C PATH names one");
	if (strcmp(c->name, "top") == 0)
		return top(path, err);
	if (json)
		word[0] = (char *)(uintptr_t)"status-json";
	return ask(path, word, nwords, NULL, err);
}

/* The option that getopt_long(3) stumbled over, as it was written. */
static const char *
bad_option(char **argv)
{
	static char letter[3] = "-";

	if (strncmp(argv[optind - 1], "--", 2) == 0 || optopt <= 0 || optopt >= 128)
		return argv[optind - 1];
	letter[1] = (char)optopt;
	return letter;
}

int
main(int argc, char **argv)
{
	const struct command *command;
	char usual[CONTROL_PATH];
	const char *path = NULL;
	bool json = false;
	struct err err;
	int c, rc;

	say_name = "serverctl";
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":C:hV", long_options, NULL)) != -1) {
		switch (c) {
		case 'C':
			path = optarg;
			if (path[0] != '\0')
				break;
			say("-C \"\": the path of a socket is wanted, such as /run/server.sock");
			return EXIT_WRONG;
		case OPT_JSON:
			json = true;
			break;
		case OPT_COMMANDS:
			return list_commands();
		case 'h':
			return help();
		case 'V':
			return puts("serverctl " VERSION) != EOF && fflush(stdout) == 0 ? 0 : EXIT_UNDONE;
		case ':':
			say("%s: a value is missing behind it; serverctl -h shows the options", bad_option(argv));
			return EXIT_WRONG;
		default:
			say("%s: no such option; serverctl -h shows them all", bad_option(argv));
			return EXIT_WRONG;
		}
	}
	if (optind == argc) {
		say("no command; serverctl -h shows them all");
		return EXIT_WRONG;
	}
	command = find(argv[optind]);
	if (command == NULL) {
		say("%s: no such command; serverctl -h shows them all", argv[optind][0] != '\0' ? argv[optind] : "\"\"");
		return EXIT_WRONG;
	}
	if ((size_t)(argc - optind - 1) < command->least || (size_t)(argc - optind - 1) > command->most) {
		say("%s takes %s", command->name, command->words[0] != '\0' ? command->words : "no words");
		return EXIT_WRONG;
	}
	if (json && strcmp(command->name, "status") != 0) {
		say("--json goes with status only");
		return EXIT_WRONG;
	}
	if (path == NULL && control_default(usual))
		path = usual;
	rc = run(command, path, json, argv + optind, (size_t)(argc - optind), &err);
	if (rc == -1)
		say("%s", err.text);
	if ((fflush(stdout) != 0 || ferror(stdout)) && rc != -1) {
		say("standard output: %s", strerror(errno));
		rc = EXIT_UNDONE;
	}
	return rc == -1 ? EXIT_UNDONE : rc;
}

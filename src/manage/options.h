/* options: the command line of server, under its own name. */
#ifndef MANAGE_OPTIONS_H
#define MANAGE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/sink.h"
#include "table/service.h"

enum { EXIT_SYSTEM = 1, EXIT_USAGE = 2 };

struct options {
	char **attr;		/* -o, in their order */
	size_t nattr;
	bool shell, daemon;
	const char *pidfile;
	const char *control;	/* NULL: the usual place */
	int ready;		/* -1: none */
	int level;		/* enum level */
	const char *program;	/* the name it was started under */
	char **word;		/* ADDRESS COMMAND…, or what --explain asks */
	size_t nwords;
	char **table;		/* -f, in their order */
	size_t ntables;
	bool check, dump, explain;

	/* What another name brings; see names.h. */
	struct words made;	/* texts that the above point into */
	char *const *preset;	/* attributes under the tables' `defaults` */
	size_t npresets;
	struct log_to log;	/* LOG_MASTER: standard error, or syslog behind -D */
	int on_term;		/* enum on_term of server.h */
	bool stays;		/* though no service runs */
	size_t must;		/* so many of the tables must be there; 0: all */
	const char *address;	/* of lines that name none; NULL: every one */
};

/* An empty command line. -1: go on; else the exit status. */
int options_begin(struct options *o, int argc, char **argv);

/* Words are argv's. `resumes`: a predecessor has served -r. -1: go on; else the exit status: it was answered, or is wrong and that was said. */
int options_read(struct options *o, int argc, char **argv, bool resumes);
void options_free(struct options *o);

/* Is a table asked for by an option? */
bool options_of_table(const struct options *o);

#endif

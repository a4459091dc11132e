/*
 * upgrade: the server becomes the program that is on disk now, with the same process id. First that
 * program is asked, in a process of its own, whether it can read the tables and what it would be
 * handed; only then this one execs it. If it cannot, this one goes on.
 */
#ifndef MANAGE_UPGRADE_H
#define MANAGE_UPGRADE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/state.h"
#include "manage/server.h"
#include "serve/connection.h"

struct upgrade;

/* How this program was started, and where: for its successor. Call it first of all; argv is borrowed. */
void upgrade_note(char **argv);

/* NULL: no memory. */
struct upgrade *upgrade_new(struct server *s);
void upgrade_free(struct upgrade *u);

/*
 * Begins one: behind a reload that is on its way; those that are asked for meanwhile come behind it, in
 * whatever program goes on. It ends with server_upgraded if the successor is refused; else this program
 * is gone. A second one that is asked for meanwhile is the same.
 */
void upgrade_begin(struct upgrade *u);

/* Ends one, if one is on its way; `why` is told. */
void upgrade_cancel(struct upgrade *u, const char *why);

/* At once: nothing of it is left, and nobody is told. */
void upgrade_abandon(struct upgrade *u);

/* That process has ended. False: it was none of an upgrade's. */
bool upgrade_reaped(struct upgrade *u, const struct ended *end);

/* --- in the successor */

struct inherited_state {
	char *text;		/* owned; NULL: there is none, this is a start like any other */
	char *at;		/* in text: the records that are not read yet */
	const char *plan;	/* in text: of the tables, as this very program read them */
	size_t plan_len;
	bool check;		/* it is only asked whether it could */
	bool reload;		/* the tables are to be read again: that was asked for meanwhile */
	int64_t started;	/* wall clock, s: when the first of the predecessors began */
	uint64_t log_lost;	/* lines that its log had not taken when it ended */
	uint64_t reloads, nofile;	/* nofile: the limit before it was raised; 0: it was not */
	struct words on, off;	/* entries that are so, whatever the table says */
	struct told_socket { uint64_t from; int type, family; } *sockets;	/* owned: what each fd: leads to */
	size_t nsockets;
	char cwd[4096];		/* where that one was started; "": not known */
};

/* What the predecessor hands over, if there is one. -1: err: nothing may be done but to say it. */
int upgrade_take(struct inherited_state *s, struct err *err);

/* All of its text has been read: frees it. */
void upgrade_read(struct inherited_state *s);

void upgrade_drop(struct inherited_state *s);

/* Of a check: could what is handed over be taken? -1: err. */
int upgrade_look(struct inherited_state *s, struct err *err);

/* For struct master: what an fd: leads to. `had`: a struct inherited_state. */
int upgrade_inherited(void *had, struct address *a, struct err *err);

/* The check was passed: tells the predecessor, with the plan made of the tables. */
void upgrade_say_sound(const struct buf *plan);

#endif

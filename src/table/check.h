/*
 * check: what follows from a service's attributes, and what cannot be. Looks up users, groups and
 * the program, reads banners, makes the environment. Opens no socket.
 */
#ifndef TABLE_CHECK_H
#define TABLE_CHECK_H

#include "base/err.h"
#include "table/attr.h"
#include "table/service.h"

struct account;

struct master {			/* what the process was started with, and its services inherit */
	const char *cwd;	/* NULL: unknown */
	bool leaves;		/* the master will go to / */
	char *const *env;
	struct rlimit nofile;	/* before the master raised its own */
	bool raised;		/* it did */
	int nice;
	mode_t umask;
	struct account **accounts;	/* what was looked up so far; the caller frees them */
	bool checking;		/* -t: more remarks */
	bool alone;		/* of several tables one: what options name, or take away, may stand in another */
	bool blind;		/* looks at no program and reads no banner */
	bool low_ports;		/* it may bind ports below the first unprivileged one */
	unsigned first_port;	/* that one */
	char *const *preset;	/* NAME=VALUE of its name, under what the tables' defaults say */
	size_t npresets;
	const char *address;	/* where lines listen that name no address; NULL: on every one */
	size_t must;		/* so many tables must be there, others may be; 0: all must */
	const struct words *on, *off;	/* entries that are so, whatever the table says; NULL: none */
	/* What an fd: leads to: finds its type and family, 0 where nobody knows here. -1: err: it is none. NULL: unknown. */
	int (*inherited)(void *arg, struct address *a, struct err *err);
	void *inherited_arg;
};

/*
 * Completes s->run and gives what was not written its default. -1: err: the entry is not to be
 * used. Remarks go to note.
 */
int check_service(struct service *s, const struct master *m, attr_note *note, void *arg,
    struct err *err);

/* Is there such a user and group? -1: err. */
int check_account(struct service *s, const struct master *m, struct err *err);

#endif

/*
 * setup: the steps between fork and exec, in their order, the same whichever way the child was
 * started. Only raw system calls: the memory may be the master's own. Nothing is allocated, and
 * when a step fails the command does not run.
 */
#ifndef CHILD_SETUP_H
#define CHILD_SETUP_H

#include <stdbool.h>
#include <stdint.h>

#include "table/service.h"

enum step {
	STEP_NONE, STEP_DESCRIPTORS, STEP_SESSION, STEP_NICE, STEP_RLIMIT, STEP_CHROOT, STEP_GROUPS,
	STEP_GROUP, STEP_USER, STEP_CAPABILITIES, STEP_DIRECTORY, STEP_SIGNALS, STEP_EXEC,
};

struct start {			/* all that one child needs, valid until it has exec'd or ended */
	const struct run *run;
	char **envp;
	int fd;			/* its connection */
	int in;			/* its descriptor 0; -1: the connection */
	bool listening;		/* the connection is a listener: it stands at 3 too, and LISTEN_PID is written */
	int err;		/* its descriptor 2; -1: the connection; 2: the master's stays */
	unsigned bound;		/* it shares the master's table, and needs what is below; 0: it has its own */
	uint32_t moved;		/* set when it has its own */
	int bell;		/* an eventfd of the master, told of that; -1: then nothing is waited for */
	uint32_t gone;		/* it waits until this is set and woken: the master has let go of the connection */
	uint32_t *failed;	/* in memory that both see: step << 16 | errno, when one fails */
};

/* Runs the steps and the command. Never returns. */
_Noreturn void setup_child(struct start *s);

/* For a process of ours: that user and group and no others, and no capabilities, for good. False: errno of the kernel is lost. */
bool setup_lower(uid_t uid, gid_t gid);

/* "cannot set user" for STEP_USER. */
const char *step_text(enum step step);

#endif

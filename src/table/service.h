/*
 * service: one entry as plain data. Filled by attr (what was written) and check (what follows from
 * it); nothing changes it afterwards. Counted: whoever still works with it holds it.
 */
#ifndef TABLE_SERVICE_H
#define TABLE_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/log.h"
#include "net/sock.h"
#include "policy/access.h"
#include "policy/limit.h"
#include "policy/rate.h"

struct words {			/* a list of words, owned */
	char **word;		/* NULL-terminated; NULL: empty */
	size_t n;
};

struct address {		/* one of `listen` */
	char *text;		/* owned: as it was written */
	struct where where;
};

struct banner {
	char *path;		/* owned; NULL: none */
	char *text;		/* owned: what the file held when it was read */
	size_t len;
};

enum child_stderr { STDERR_SOCKET, STDERR_LOG, STDERR_NULL, STDERR_INHERIT };
enum overload { OVERLOAD_QUEUE, OVERLOAD_REJECT };
enum hangup { HANGUP_IGNORE, HANGUP_KILL };

enum record {			/* words of log_on_success and log_on_failure: the log's own fields */
	RECORD_PID = LOG_PID,
	RECORD_HOST = LOG_FROM,
	RECORD_EXIT = LOG_STATUS,
	RECORD_DURATION = LOG_DURATION,
	RECORD_PORT = LOG_PORT,
	RECORD_CONN = LOG_CONN,
	RECORD_CPU = LOG_CPU,
	RECORD_MAXRSS = LOG_MAXRSS,
	RECORD_BYTES = LOG_BYTES,
	RECORD_ATTEMPT = LOG_BYTES << 1,	/* a line, if with nothing in it */
};

enum flag {
	FLAG_NODELAY = 1 << 0,
	FLAG_KEEPALIVE = 1 << 1,
	FLAG_NAMEINARGS = 1 << 2,
};

enum { LIMITS = 10 };

struct run {			/* what a child is to be: resolved by check */
	char **argv;		/* borrowed from the words below, or owned array of borrowed words */
	char **path;		/* owned: where the program may be, in the order of PATH */
	const char *root;	/* NULL: the master's */
	const char *directory;	/* NULL: the master's */
	bool set_ids;		/* uid, gid and groups are to be set */
	bool nameless;		/* uid is a number that no account has */
	uid_t uid;
	gid_t gid;
	gid_t *groups;		/* owned */
	size_t ngroups;
	bool set_nice, set_umask;
	int nice;
	mode_t umask;
	struct { int resource; struct rlimit value; } limit[LIMITS + 1];
	size_t nlimits;
	char **env;		/* owned: what every child of the service gets, without the peer's */
	size_t nenv;
	char *home, *login, *sh;	/* owned: of `user`, for HOME USER LOGNAME SHELL */
};

struct service {
	unsigned refs;
	uint64_t given;		/* bit n: row n of the attributes was written */

	char *id;
	struct address *listen;	/* owned */
	size_t nlisten;
	struct words exec;	/* the command's words; with shell: sh -c LINE sh ARG… */
	bool shell;

	enum child_stderr stderr_to;
	char *directory, *chroot;
	char *user, *group;
	bool groups;
	unsigned umask;
	int nice;
	struct words env, passenv;
	rlim_t rlimit[LIMITS];

	unsigned instances;	/* UINT32_MAX: unlimited */
	struct source_limits source;
	struct rate cps;
	double max_load;	/* 0: none */
	enum overload overload;
	struct rules only_from, no_access;
	struct interval *times;	/* owned */
	size_t ntimes;

	int64_t timeout, kill_after, idle_timeout;	/* ms; 0: none */
	int64_t linger;		/* ms; -1: no */
	enum hangup hangup;
	struct sock_options sock;
	char *owner;
	bool lookup;
	unsigned flags;		/* enum flag */

	unsigned json;		/* 0: text */
	char *log_tag;
	unsigned on_success, on_failure;	/* enum record */
	struct banner banner, banner_success, banner_fail;

	/* Of the whole server; in `defaults` and -o only. */
	unsigned limit;		/* children of the master; UINT32_MAX: unlimited */
	int64_t grace;		/* ms */

	struct run run;
};

/* With every default in place; one reference. NULL: no memory. */
struct service *service_new(void);
struct service *service_hold(struct service *s);
void service_free(struct service *s);	/* gives one reference back; NULL is fine */

/* Adds one word. -1: no memory. */
int words_add(struct words *w, const char *word);
bool words_remove(struct words *w, const char *word);
void words_free(struct words *w);

#endif

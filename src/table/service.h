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
	struct host *host;	/* owned: what its host's name was found to be; NULL: not asked */
	struct { int type, family; } found;	/* while it is checked: what fd: is, if that is known; else 0 */
};

/* SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET; 0: a FIFO, or not known here. */
static inline int
address_type(const struct address *a)
{
	return a->where.scheme == SCHEME_FD ? a->found.type : a->where.scheme == SCHEME_FIFO ? 0 : a->where.type;
}

struct number_range { unsigned from, to; };

struct logs {			/* where its lines go, each place once */
	struct log_to *to;	/* owned, and their paths */
	size_t n;
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
	RECORD_USERID = LOG_BYTES << 2,		/* ask the peer's machine who it is (RFC 1413) */
	RECORD_TRAFFIC = LOG_BYTES << 3,
};

enum flag {			/* in the order of their words */
	FLAG_NODELAY = 1 << 0,
	FLAG_KEEPALIVE = 1 << 1,
	FLAG_NAMEINARGS = 1 << 2,
	FLAG_SENSOR = 1 << 3,
	FLAG_IDONLY = 1 << 4,
	FLAG_IPV4 = 1 << 5,
	FLAG_IPV6 = 1 << 6,
	FLAG_DISABLE = 1 << 7,	/* behind it: words that are taken, and have no effect */
};

enum type {
	TYPE_UNLISTED = 1 << 0,
	TYPE_INTERNAL = 1 << 1,
	TYPE_RPC = 1 << 2,
	TYPE_TCPMUX = 1 << 3,
	TYPE_TCPMUXPLUS = 1 << 4,
};

enum socket_type { SOCKET_STREAM, SOCKET_DGRAM, SOCKET_SEQPACKET, SOCKET_RAW, SOCKET_RDM };
enum dialect { DIALECT_OWN, DIALECT_XINETD, DIALECT_BSD };

enum send_proxy { SEND_PROXY_NO, SEND_PROXY_V1, SEND_PROXY_V2 };

enum builtin {			/* a service without a program */
	BUILTIN_NONE, BUILTIN_ECHO, BUILTIN_DISCARD, BUILTIN_CHARGEN, BUILTIN_DAYTIME, BUILTIN_TIME,
	BUILTIN_TCPMUX, BUILTIN_SERVERS, BUILTIN_SERVICES, BUILTIN_STATUS,
};

enum { FOREVER = UINT32_MAX };	/* deny_time */

enum { LIMITS = 10 };

struct run_limit {
	int resource;
	struct rlimit value;
};

struct environment {		/* of services whose children have the same */
	unsigned refs;
	bool packed;		/* one block */
	size_t n;
	char **var;		/* owned */
};

struct run {			/* what a child is to be: resolved by check */
	const char *program;	/* as it was written */
	char **argv;		/* owned array of borrowed words */
	char **path;		/* owned: where the program may be, in the order of PATH, or program */
	const char *root;	/* NULL: the master's */
	const char *directory;	/* NULL: the master's */
	bool set_ids;		/* uid, gid and groups are to be set */
	uid_t uid;
	gid_t gid;
	gid_t *groups;		/* owned */
	size_t ngroups;
	bool set_nice, set_umask;
	int nice;
	mode_t umask;
	struct run_limit *limit;	/* owned */
	size_t nlimits;
	struct environment *env;	/* held: what every child gets, without what is the peer's */
};

struct service {
	unsigned refs;
	bool table;		/* of a table, not of the command line: other defaults */
	bool packed;		/* one block, as pack made it: nothing in it is freed by itself */
	bool off;		/* by `disable`, by `enabled` and `disabled`, or as no such built-in is here */

	char *name;		/* the word behind `service` */
	char *id;		/* may be the name itself */
	bool shell;

	/* xinetd's way to say where and what; check makes `listen` of it. */
	bool disable, wait, v6only, session;
	unsigned type;		/* enum type */
	unsigned socket_type;	/* enum socket_type */
	enum builtin internal;	/* found by check */
	struct number_range rpc_version;
	unsigned rpc_number;
	struct words redirect;
	unsigned deny_time;	/* minutes; 0: never, FOREVER */
	unsigned send_proxy;	/* enum send_proxy */

	enum child_stderr stderr_to;
	char *chroot;
	char *user, *group;
	bool groups;

	unsigned instances;	/* UINT32_MAX: unlimited */
	struct source_limits source;
	struct rate cps;
	double max_load;	/* 0: none */
	enum overload overload;
	struct rules only_from, no_access, proxy_from;
	struct interval *times;	/* owned */
	size_t ntimes;

	int64_t timeout, kill_after, idle_timeout;	/* ms; 0: none */
	int64_t linger;		/* ms; -1: no */
	enum hangup hangup;
	struct sock_options sock;
	bool lookup, proxy_protocol;
	unsigned flags;		/* enum flag */

	unsigned json;		/* 0: text */
	struct logs log;	/* empty: the master's own log */
	char *log_tag;
	unsigned on_success, on_failure;	/* enum record */
	struct banner banner, banner_success, banner_fail;

	/* Of the whole server; in `defaults` and -o only. */
	unsigned limit;		/* children of the master; UINT32_MAX: unlimited */
	int64_t grace;		/* ms */
	unsigned dialect;	/* enum dialect */

	struct where *target;	/* of redirect: owned; NULL: none */
	struct run run;

	/* What was written, from which all of the above follows: not in a packed one. */
	uint64_t given[2];	/* bit n: row n of the attributes was written */
	uint64_t own[2];	/* and not inherited from defaults */
	struct address *listen;	/* owned */
	size_t nlisten;
	struct words exec;	/* the command's words; with shell: sh -c LINE sh ARG… */
	char *server;
	struct words server_args;
	char *protocol, *port, *bind;
	char *directory, *owner;
	unsigned umask;
	int nice;
	struct words env, passenv;
	rlim_t *rlimit;		/* owned: LIMITS of them; NULL: none was written */
	struct words enabled, disabled;
};

/* With every default in place; one reference. NULL: no memory. */
struct service *service_new(void);

/* What was written of another that has no addresses, to be completed on its own; nothing of its run. NULL: no memory. */
struct service *service_copy(const struct service *from);
struct service *service_hold(struct service *s);

void service_free(struct service *s);	/* gives one reference back; NULL is fine */

bool service_is_named(const struct service *s, const char *name);	/* by its id, or as others may be, too */

void logs_free(struct logs *l);
void address_free(struct address *a);
void environment_free(struct environment *e);	/* gives a reference back */

/* Adds one word. -1: no memory. */
int words_add(struct words *w, const char *word);
int words_copy(struct words *to, const struct words *from);
bool words_have(const struct words *w, const char *word);
bool words_remove(struct words *w, const char *word);
void words_free(struct words *w);

#endif

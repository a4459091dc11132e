/*
 * job: what the master and its worker say to each other, in datagrams over a pair of sockets. Both
 * are one program, so structs go as they are.
 */
#ifndef SERVE_JOB_H
#define SERVE_JOB_H

#include "net/addr.h"
#include "net/where.h"

enum job_kind {
	JOB_TARGET,		/* where relays with that `target` lead from now on: a struct target */
	JOB_ECHO, JOB_DISCARD, JOB_CHARGEN, JOB_DAYTIME, JOB_TIME,
	JOB_MUX,		/* read one line and tell it; the connection is not the worker's */
	JOB_RELAY,
	JOB_END,		/* end that connection; of number 0, all */
};

enum { JOBS = 32 };		/* connections in one message, at most */

struct job {			/* several in one message; their connections come along as SCM_RIGHTS */
	enum job_kind kind;
	uint64_t number;	/* how the master knows it */
	uint32_t target;
	unsigned send_proxy;	/* 0, or the version */
	bool asks;		/* of the first in a message: the worker says at once that it has read it */
	int64_t idle, linger;	/* ms; idle 0: no bound; linger -1: no */
	struct peer peer;
	struct addr local;
};

struct target {
	enum job_kind kind;	/* JOB_TARGET */
	uint32_t id;
	enum scheme scheme;	/* SCHEME_TCP, SCHEME_UNIX, SCHEME_VSOCK */
	int type, family;
	unsigned port, cid;
	char host[WHERE_HOST];
};

enum report_kind {
	/* 0 was said by workers of an older program, and is ignored. */
	REPORT_LOST = 1,	/* it came without its descriptor, or there was no memory */
	REPORT_DONE,		/* it is over: bytes from the client, to it */
	REPORT_IDLE,		/* it is ended for idleness; done follows */
	REPORT_NO_TARGET,	/* nobody answered for the relay: errno in `fault`, 0: no such host; done follows */
	REPORT_NAME,		/* of JOB_MUX: the line; empty: none came. Done as well */
	REPORT_READ,		/* of no connection: all messages up to one that asks */
	REPORT_UNFIT,		/* of none, its only one: it could not give up its rights: errno in `fault` */
};

enum { NAME_LINE = 64, REPORTS = 64 };

struct report {
	enum report_kind kind;
	uint64_t number;
	int fault;
	union {
		struct { uint64_t in, out; } bytes;
		char name[NAME_LINE];	/* ends with a NUL */
	};
};

#endif

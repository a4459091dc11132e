/* sock: the bound descriptors that an ADDRESS stands for. */
#ifndef NET_SOCK_H
#define NET_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"
#include "net/addr.h"
#include "net/host.h"
#include "net/where.h"

struct sock_options {		/* what a listener's socket is to be like; zeroes: as the system has it */
	int backlog;		/* 0: the kernel's maximum */
	int sndbuf, rcvbuf;	/* bytes */
	bool nodelay, keepalive;
	unsigned mode;		/* of a UNIX socket's path */
	bool set_mode;
	bool set_owner;
	bool beside;		/* another socket of ours may have a part of the address still (sock_share) */
	uid_t uid;		/* (uid_t)-1, (gid_t)-1: stays */
	gid_t gid;
};

enum { SOCK_MAX = HOST_MOST };

struct bound {			/* one listening socket */
	int fd;			/* owned by who asked; close-on-exec, nonblocking */
	struct addr *addr;	/* owned: its own; no longer than its len says */
	char *name;		/* owned: "tcp:127.0.0.1:1024", "unix:/run/x.sock" */
	bool inherited;
	dev_t dev;		/* of a path that we made: to remove it at the end if it is still ours */
	ino_t ino;
};

/*
 * Makes every socket that `w` stands for: bound and listening, in out[0..*n), at most SOCK_MAX.
 * All sockets of one ADDRESS get one port. -1: err, and none is left open.
 * Inherited descriptors are taken by number; names of them are the caller's to look up, and so is a
 * host's name: h says what was found; NULL: it was not asked.
 */
int sock_listen(const struct where *w, const struct host *h, const struct sock_options *o, struct bound *out,
    size_t *n, struct err *err);

/*
 * One that a predecessor of this program had: its descriptor, as close-on-exec as any other, its name
 * and whether its path is ours to remove. -1: err.
 */
int sock_resume(int fd, const char *name, bool inherited, dev_t dev, ino_t ino, struct bound *b, struct err *err);

/*
 * What can be changed of an open one. -1: err; the rest has been done.
 */
int sock_adjust(const struct bound *b, const struct sock_options *o, struct err *err);

/* May another one of ours be bound beside it, on every address where this has one, or the other way? */
void sock_share(const struct bound *b, bool on);

/*
 * Nobody comes to a listening stream socket any more, and who is through is there still: when they have been
 * accepted its close loses nobody. An inherited one is left as it is: others have it too.
 */
void sock_hide(struct bound *b);

/* Closes what sock_listen made and removes its path if it is still the one that was made. */
void sock_close(struct bound *b);

/* Where its UNIX socket or FIFO stands; NULL: it has no path. */
const char *sock_path(const struct bound *b);

/* Opens a FIFO, nonblocking; `how` is O_RDONLY or O_RDWR. -1: errno. */
int sock_open_fifo(const char *path, int how);

/* Removes the path of a UNIX socket or FIFO if it is still the one that was made; the descriptor stays. */
void sock_remove_path(const struct bound *b);

/* The name of a socket address in the form that where_parse reads. `both`: it serves IPv4 too. */
void sock_name(const struct addr *a, int type, bool both, char *buf, size_t size);

#endif

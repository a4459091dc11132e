/* daemon: what a process does around its work: the background, the pid file, readiness. */
#ifndef MANAGE_DAEMON_H
#define MANAGE_DAEMON_H

#include "base/buf.h"
#include "base/err.h"

/*
 * Goes on in the background, in a session of its own. Returns in the background only: a descriptor
 * on which daemon_started reports. The foreground waits for that and exits with it (1, if the
 * background ends without a word). -1: err.
 */
int daemon_begin(struct err *err);

/*
 * The background has started: 0, 1 and 2 become /dev/null, the directory /, and the foreground exits
 * 0. If there is a text for the service manager the foreground sends it first: that is the process
 * whose word the manager takes, until it is told of another one.
 */
int daemon_started(int report, const struct buf *text, struct err *err);

/* Writes the master's pid to a file of its own, put in place by rename(2). -1: err. */
int pidfile_write(const char *path, struct err *err);

/* Removes it if it still holds this process's pid. */
void pidfile_remove(const char *path);

#endif

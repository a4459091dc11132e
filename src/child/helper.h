/* helper: a process of ours that runs our own code beside the master. */
#ifndef CHILD_HELPER_H
#define CHILD_HELPER_H

#include <stdbool.h>
#include <sys/types.h>

struct lower {			/* what it is to become; not changed where the master is not root */
	uid_t uid;
	gid_t gid;
};

/*
 * Forks a process that keeps one descriptor of ours, or with `all` every one, beside 0, 1 and 2 (which are /dev/null there)
 * and calls run; when that comes back the process ends. It has the default signals. -1: errno.
 */
pid_t helper_start(int keep, bool all, void (*run)(int keep, void *arg), void *arg);

/*
 * In there, for good: a session of its own, that user without other groups, no way to more rights, no core and no
 * files to write. -1: errno; then it has to end.
 */
int helper_lower(const struct lower *lower);

#endif

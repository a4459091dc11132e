#include "child/helper.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fd.h"
#include "child/setup.h"

int
helper_lower(const struct lower *l)
{
	const struct rlimit none = { 0, 0 };

	if (setsid() == -1 || chdir("/") == -1 || setrlimit(RLIMIT_CORE, &none) == -1 || setrlimit(RLIMIT_FSIZE, &none) == -1)
		return -1;
	if (geteuid() == 0 && !setup_lower(l->uid, l->gid))
		return -1;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_DUMPABLE, 0) == 0 ? 0 : -1;
}

pid_t
helper_start(int keep, bool all, void (*run)(int keep, void *arg), void *arg)
{
	sigset_t none;
	pid_t pid = fork();
	int null;

	if (pid != 0)
		return pid;
	(void)close(0);		/* the table of descriptors may be full */
	null = open("/dev/null", O_RDWR);
	for (int fd = 1; fd <= 2 && null != -1; fd++)
		(void)dup2(null, fd);
	if (!all)
		fd_close_from(3, &keep, 1);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (null != -1)
		run(keep, arg);
	_exit(1);
}

/*
 * bomb: every process of it makes others as fast as it can, and takes no notice of SIGTERM. bomb SECONDS
 * Says `up` first. All of it is over after so many seconds, at most 60. It refuses to run as root, and
 * without a limit of processes (rlimit_nproc) of at most 200.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static time_t
now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

int
main(int argc, char **argv)
{
	const struct timespec a_while = { .tv_nsec = 20000000 };
	int seconds = argc > 1 ? atoi(argv[1]) : 0;
	time_t end = now() + seconds;
	struct rlimit r;

	if (seconds < 1 || seconds > 60 || geteuid() == 0 || getrlimit(RLIMIT_NPROC, &r) == -1 || r.rlim_max > 200)
		return 2;
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGCHLD, SIG_IGN);
	(void)!write(1, "up\n", 3);
	while (now() < end)
		if (fork() == -1)
			(void)nanosleep(&a_while, NULL);
	return 0;
}

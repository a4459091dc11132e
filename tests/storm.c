/*
 * storm: signals without a pause. storm PID COUNT SIGNAL...
 * So many of them, one kind after the other; ends early where the process does. Prints how many were sent.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int
number(const char *name)
{
	static const struct { const char *name; int sig; } all[] = { { "HUP", SIGHUP }, { "CHLD", SIGCHLD },
		{ "USR1", SIGUSR1 }, { "TERM", SIGTERM }, { "PIPE", SIGPIPE }, { "WINCH", SIGWINCH } };

	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		if (strcmp(name, all[i].name) == 0)
			return all[i].sig;
	return -1;
}

int
main(int argc, char **argv)
{
	long count, sent = 0;
	pid_t pid;

	if (argc < 4)
		return 2;
	pid = (pid_t)atoi(argv[1]);
	count = atol(argv[2]);
	for (int i = 3; i < argc; i++)
		if (number(argv[i]) == -1)
			return 2;
	while (pid > 1 && sent < count && kill(pid, number(argv[3 + sent % (argc - 3)])) == 0)
		sent++;
	(void)printf("%ld\n", sent);
	return 0;
}

/*
 * orphans: makes N orphans one after the other, each of which ends at once; for who is given them. Then says
 * how many children, ended ones too, that one had at most. orphans N, at most 100,000
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int
children_of(pid_t p)
{
	char path[64];
	int n = 0, pid;
	FILE *f;

	(void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)p, (int)p);
	if ((f = fopen(path, "re")) == NULL)
		return -1;
	while (fscanf(f, "%d", &pid) == 1)
		n++;
	(void)fclose(f);
	return n;
}

int
main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 0, most = 0, now = 0;
	pid_t p;

	if (n < 1 || n > 100000)
		return 2;
	for (int i = 0; i < n && now != -1; i++) {
		if ((p = fork()) == 0) {
			(void)fork();
			_exit(0);
		}
		if (p == -1 || waitpid(p, NULL, 0) != p)
			return 1;
		if (i % 100 == 99 && (now = children_of(getppid())) > most)
			most = now;
	}
	if (now == -1)
		return 1;
	printf("%d\n", most);
	return 0;
}

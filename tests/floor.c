/*
 * floor: the smallest possible accept loops, to measure a superserver against: no table, no log, no
 * limits, no lingering; the kernel reaps. floor fork|vfork|async PORT COMMAND [ARG...]
 */
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STACK = 16384, STACKS = 4096 };

static char **command;
extern char **environ;

struct job {
	int fd;
	int busy;		/* the kernel's word: 0 when exec'd */
};

static int
child(void *arg)
{
	const struct job *j = arg;

	(void)dup2(j->fd, 0);
	(void)dup2(j->fd, 1);
	(void)dup2(j->fd, 2);
	(void)execve(command[0], command, environ);
	_exit(127);
}

int
main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof a;
	int one = 1, l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct job *jobs = calloc(STACKS, sizeof *jobs);
	char *stacks = mmap(NULL, (size_t)STACK * STACKS, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (argc < 4 || jobs == NULL || stacks == MAP_FAILED) {
		(void)fprintf(stderr, "usage: floor fork|vfork|async PORT COMMAND [ARG...]\n");
		return 2;
	}
	command = argv + 3;
	a.sin_port = htons((uint16_t)atoi(argv[2]));
	(void)setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(l, (struct sockaddr *)&a, sizeof a) == -1 || listen(l, 65535) == -1 ||
	    getsockname(l, (struct sockaddr *)&a, &len) == -1) {
		perror("floor");
		return 1;
	}
	(void)printf("listen floor tcp:127.0.0.1:%d\nready\n", ntohs(a.sin_port));
	(void)fflush(stdout);
	(void)signal(SIGCHLD, SIG_IGN);
	for (unsigned i = 0;;) {
		int fd = accept4(l, NULL, NULL, SOCK_CLOEXEC);
		struct job *j;
		pid_t pid;

		if (fd == -1)
			continue;
		switch (argv[1][0]) {
		case 'f':
			pid = fork();
			if (pid == 0)
				(void)child(&(struct job){ .fd = fd });
			break;
		case 'v':
			pid = vfork();
			if (pid == 0)
				(void)child(&(struct job){ .fd = fd });
			break;
		default:
			do
				j = &jobs[i++ % STACKS];
			while (__atomic_load_n(&j->busy, __ATOMIC_ACQUIRE) != 0);
			j->fd = fd;
			j->busy = 1;
			(void)clone(child, stacks + (size_t)(j - jobs + 1) * STACK,
			    CLONE_VM | CLONE_CHILD_CLEARTID | SIGCHLD, j, NULL, NULL, &j->busy);
			break;
		}
		(void)close(fd);
	}
}

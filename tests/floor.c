/*
 * floor: the smallest possible accept loops, to measure a superserver against: no table, no log, no
 * limits. floor fork|vfork|async|hold|close PORT COMMAND [ARG...]
 * With fork, vfork and async the kernel reaps and the connection ends with its command. `hold` is
 * async for a server that gives each child a session of its own (setsid costs a kernel with
 * scheduling by session some 45 us) and keeps the connection, so as to end it in order: it waits for
 * the child by a pidfd, sends the end of stream, looks once for what the client has sent, and closes.
 * `close` starts nothing: it is the floor of a refusal.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif

enum { STACK = 16384, STACKS = 4096 };

static char **command;
extern char **environ;

struct job {
	int fd;
	int session;
	int busy;		/* the kernel's word: 0 when exec'd */
};

static int
child(void *arg)
{
	const struct job *j = arg;

	if (j->session)
		(void)setsid();
	(void)dup2(j->fd, 0);
	(void)dup2(j->fd, 1);
	(void)dup2(j->fd, 2);
	(void)execve(command[0], command, environ);
	_exit(127);
}

static void
watch(int ep, int fd, int held)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = (uint64_t)(uint32_t)held << 32 | (uint32_t)fd };

	(void)epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
}

/* Ends what is over until somebody comes. -1: nobody yet. */
static int
next_of(int ep, int l)
{
	struct epoll_event ev[64];
	int n = epoll_wait(ep, ev, 64, -1), fd = -1;

	for (int i = 0; i < n; i++) {
		int of = (int)(uint32_t)ev[i].data.u64, held = (int)(ev[i].data.u64 >> 32);
		struct rusage usage;
		siginfo_t si;
		char c;

		if (of == l) {
			fd = accept4(l, NULL, NULL, SOCK_CLOEXEC);
			continue;
		}
		(void)syscall(SYS_waitid, 3 /* P_PIDFD */, of, &si, WEXITED, &usage);
		(void)shutdown(held, SHUT_WR);
		(void)epoll_ctl(ep, EPOLL_CTL_DEL, of, NULL);
		(void)close(of);
		(void)recv(held, &c, 1, MSG_DONTWAIT);
		(void)close(held);
	}
	return fd;
}

int
main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof a;
	int one = 1, ep = -1, l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct job *jobs = calloc(STACKS, sizeof *jobs);
	char *stacks = mmap(NULL, (size_t)STACK * STACKS, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (argc < 4 || jobs == NULL || stacks == MAP_FAILED) {
		(void)fprintf(stderr, "usage: floor fork|vfork|async|hold|close PORT COMMAND [ARG...]\n");
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
	if (argv[1][0] == 'h')
		ep = epoll_create1(EPOLL_CLOEXEC);
	else
		(void)signal(SIGCHLD, SIG_IGN);
	if (ep != -1) {
		(void)fcntl(l, F_SETFL, O_NONBLOCK);
		watch(ep, l, -1);
	}
	for (unsigned i = 0;;) {
		volatile int fd = ep != -1 ? next_of(ep, l) : accept4(l, NULL, NULL, SOCK_CLOEXEC);
		struct job *j;
		int pidfd = -1;
		pid_t pid;

		if (fd == -1)
			continue;
		switch (argv[1][0]) {
		case 'c':
			break;
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
			j->session = ep != -1;
			j->busy = 1;
			(void)clone(child, stacks + (size_t)(j - jobs + 1) * STACK, CLONE_VM |
			    CLONE_CHILD_CLEARTID | SIGCHLD | (ep != -1 ? CLONE_PIDFD : 0), j, &pidfd,
			    NULL, &j->busy);
			if (ep == -1)
				break;
			watch(ep, pidfd, fd);
			continue;
		}
		(void)close(fd);
	}
}

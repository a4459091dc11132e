/*
 * torture: becomes PROGRAM, and lets the Nth of its calls fail that can fail: a system call gets an
 * error as its result (ptrace), an allocation by the shim (SHIM_TORTURE). What it forks is counted too,
 * until that becomes another program. The loader's calls are not counted.
 *
 *   torture ASK ANSWER PROGRAM ARG...      FIFOs; each line of ASK is answered by one:
 *     arm N    the Nth from now fails          from N   and all that follow, too
 *     over N   the Nth of the program that PROGRAM becomes next, as an upgrade does
 *     off      nothing fails: "COUNT NAME", so many came, and what the first failing one was, or "-"
 * PROGRAM begins with the first line. That it ends while something is armed is answered as `off` is.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef __x86_64__

int
main(void)
{
	(void)fputs("torture: not on this processor\n", stderr);
	return 77;
}

#else

enum { ALLOCATION = 1023 };	/* the shim's mark: a call that no kernel has */

static const struct fallible {
	long call;
	const char *name;
	int why;
} fallible[] = {
	{ ALLOCATION, "malloc", ENOMEM }, { SYS_mmap, "mmap", ENOMEM }, { SYS_mremap, "mremap", ENOMEM },
	{ SYS_brk, "brk", ENOMEM },
	{ SYS_openat, "openat", EMFILE }, { SYS_open, "open", EMFILE }, { SYS_read, "read", EIO },
	{ SYS_pread64, "pread", EIO }, { SYS_write, "write", ENOSPC }, { SYS_writev, "writev", ENOSPC },
	{ SYS_newfstatat, "stat", EIO }, { SYS_fstat, "fstat", EIO }, { SYS_stat, "stat", EIO },
	{ SYS_lstat, "lstat", EIO }, { SYS_getdents64, "getdents", EIO }, { SYS_readlink, "readlink", EIO },
	{ SYS_unlink, "unlink", EIO }, { SYS_unlinkat, "unlinkat", EIO }, { SYS_rename, "rename", EIO },
	{ SYS_chmod, "chmod", EPERM }, { SYS_fchmod, "fchmod", EPERM }, { SYS_fchmodat, "fchmodat", EPERM },
	{ SYS_chown, "chown", EPERM }, { SYS_lchown, "lchown", EPERM }, { SYS_fchownat, "fchownat", EPERM },
	{ SYS_mknod, "mknod", ENOSPC }, { SYS_mknodat, "mknodat", ENOSPC }, { SYS_ftruncate, "ftruncate", ENOSPC },
	{ SYS_getcwd, "getcwd", ENOENT }, { SYS_chdir, "chdir", EACCES }, { SYS_fchdir, "fchdir", EACCES },
	{ SYS_chroot, "chroot", EPERM },
	{ SYS_fcntl, "fcntl", EMFILE }, { SYS_dup, "dup", EMFILE }, { SYS_dup2, "dup2", EMFILE },
	{ SYS_dup3, "dup3", EMFILE }, { SYS_pipe2, "pipe2", EMFILE }, { SYS_ioctl, "ioctl", EIO },
	{ SYS_memfd_create, "memfd_create", EMFILE }, { SYS_eventfd2, "eventfd", EMFILE },
	{ SYS_signalfd4, "signalfd", EMFILE }, { SYS_timerfd_create, "timerfd_create", EMFILE },
	{ SYS_epoll_create1, "epoll_create", EMFILE }, { SYS_epoll_ctl, "epoll_ctl", ENOSPC },
	{ SYS_socket, "socket", ENFILE }, { SYS_socketpair, "socketpair", ENFILE },
	{ SYS_bind, "bind", EADDRNOTAVAIL }, { SYS_listen, "listen", EADDRINUSE },
	{ SYS_accept4, "accept4", EMFILE }, { SYS_accept, "accept", EMFILE }, { SYS_connect, "connect", EAGAIN },
	{ SYS_getsockname, "getsockname", ENOBUFS }, { SYS_getpeername, "getpeername", ENOBUFS },
	{ SYS_getsockopt, "getsockopt", ENOBUFS }, { SYS_setsockopt, "setsockopt", ENOBUFS },
	{ SYS_sendto, "sendto", ENOBUFS }, { SYS_sendmsg, "sendmsg", ENOBUFS },
	{ SYS_recvfrom, "recvfrom", ENOMEM }, { SYS_recvmsg, "recvmsg", ENOMEM }, { SYS_recvmmsg, "recvmmsg", ENOMEM },
	{ SYS_sendmmsg, "sendmmsg", ENOBUFS }, { SYS_shutdown, "shutdown", ENOTCONN }, { SYS_kill, "kill", EPERM },
	{ SYS_waitid, "waitid", EINTR }, { SYS_epoll_wait, "epoll_wait", EINTR }, { SYS_epoll_pwait, "epoll_wait", EINTR },
	{ SYS_poll, "poll", ENOMEM },
	{ SYS_splice, "splice", ENOMEM },
	{ SYS_clone, "clone", EAGAIN }, { SYS_clone3, "clone3", EAGAIN }, { SYS_fork, "fork", EAGAIN },
	{ SYS_vfork, "vfork", EAGAIN }, { SYS_execve, "execve", ENOMEM }, { SYS_execveat, "execveat", ENOMEM },
	{ SYS_pidfd_open, "pidfd_open", EMFILE }, { SYS_pidfd_send_signal, "pidfd_send_signal", EPERM },
	{ SYS_close_range, "close_range", ENOMEM }, { SYS_setsid, "setsid", EPERM },
	{ SYS_setgroups, "setgroups", EPERM }, { SYS_setresgid, "setresgid", EPERM },
	{ SYS_setresuid, "setresuid", EAGAIN }, { SYS_prlimit64, "prlimit", EPERM },
	{ SYS_setrlimit, "setrlimit", EPERM }, { SYS_setpriority, "setpriority", EACCES },
	{ SYS_prctl, "prctl", EPERM },
};

enum { PROCESSES = 256 };

static struct process { pid_t pid; int failing; long result; } process[PROCESSES];
static size_t live;
static pid_t master;
static long at, count;		/* 0: nothing is armed */
static long beyond;		/* what is to be armed at the next exec; 0: nothing */
static int on, begun;
static const char *first_failed;

static _Noreturn void
fatal(const char *what)
{
	perror(what);
	exit(1);
}

static struct process *
process_of(pid_t pid)
{
	for (size_t i = 0; i < live; i++)
		if (process[i].pid == pid)
			return &process[i];
	if (live == PROCESSES) {
		(void)fputs("torture: too many processes\n", stderr);
		exit(1);
	}
	process[live] = (struct process){ .pid = pid };
	return &process[live++];
}

static void
forget(pid_t pid)
{
	for (size_t i = 0; i < live; i++)
		if (process[i].pid == pid)
			process[i--] = process[--live];
}

static void
poke(pid_t pid, size_t at_word, long value)
{
	/* It may have been killed meanwhile. */
	if (ptrace(PTRACE_POKEUSER, pid, at_word, value) == -1 && errno != ESRCH)
		fatal("torture: POKEUSER");
}

/* Of a file; what the kernel makes up gives no EIO. */
static int
is_file(pid_t pid, uint64_t fd)
{
	char name[64], at_disk = '\0';

	(void)snprintf(name, sizeof name, "/proc/%d/fd/%d", (int)pid, (int)fd);
	return readlink(name, &at_disk, 1) == 1 && at_disk == '/';
}

/* Some calls fail for want of something only when they ask for something. */
static int
can_fail(pid_t pid, long call, const uint64_t *arg)
{
	switch (call) {
	case SYS_read:
		return is_file(pid, arg[0]);
	case SYS_brk:
		return arg[0] != 0;
	case SYS_epoll_ctl:
		return arg[1] == 1;	/* EPOLL_CTL_ADD */
	case SYS_fcntl:
		return arg[1] == F_DUPFD || arg[1] == F_DUPFD_CLOEXEC || arg[1] == F_SETPIPE_SZ;
	default:
		return 1;
	}
}

static void
system_call(pid_t pid)
{
	struct process *p = process_of(pid);
	struct __ptrace_syscall_info info;
	size_t i;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) <= 0)
		return;
	if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
		if (p->failing)
			poke(pid, offsetof(struct user_regs_struct, rax), p->result);
		p->failing = 0;
		return;
	}
	if (info.op != PTRACE_SYSCALL_INFO_ENTRY)
		return;
	if (info.entry.nr == ALLOCATION)
		begun = 1;
	if (at == 0 || !begun)
		return;
	for (i = 0; i < sizeof fallible / sizeof *fallible; i++)
		if (fallible[i].call == (long)info.entry.nr)
			break;
	if (i == sizeof fallible / sizeof *fallible || !can_fail(pid, fallible[i].call, (const uint64_t *)info.entry.args))
		return;
	count++;
	if (count != at && !(on && count > at))
		return;
	if (first_failed == NULL)
		first_failed = fallible[i].name;
	p->failing = 1;
	/* libc takes any break below the one it asked for as a failure. */
	p->result = fallible[i].call == SYS_brk ? 0 : -fallible[i].why;
	poke(pid, offsetof(struct user_regs_struct, orig_rax), -1);
}

static void
stopped(pid_t pid, int status)
{
	int sig = WSTOPSIG(status), event = status >> 16, send = 0;
	enum __ptrace_request how = PTRACE_SYSCALL;

	if (sig == (SIGTRAP | 0x80))
		system_call(pid);
	else if (event == PTRACE_EVENT_STOP)
		how = sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU ? PTRACE_LISTEN : how;
	else if (event == PTRACE_EVENT_EXEC && pid == master && begun) {
		at = beyond;	/* what came before has no way back */
		begun = beyond == 0;
		beyond = 0;
	} else if (event == PTRACE_EVENT_EXEC && pid == master)
		;
	else if (event == PTRACE_EVENT_EXEC)
		how = PTRACE_DETACH;
	else if (event == 0)
		send = sig;
	if (ptrace(how, pid, 0, send) == -1 && errno != ESRCH)
		fatal("torture: going on");
	if (how == PTRACE_DETACH)
		forget(pid);
}

/* False: nobody is left. */
static int
look_at_processes(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, __WALL | WNOHANG)) > 0) {
		if (WIFSTOPPED(status))
			stopped(pid, status);
		else
			forget(pid);
	}
	return pid == 0;
}

static void
obey(const char *line, int answer)
{
	char said[80];

	if (strncmp(line, "off", 3) == 0) {
		(void)snprintf(said, sizeof said, "%ld %s\n", count, first_failed != NULL ? first_failed : "-");
		at = beyond = 0;
	} else {
		long n = strtol(strchr(line, ' '), NULL, 10);

		on = strncmp(line, "from ", 5) == 0;
		at = line[0] == 'o' ? 0 : n;
		beyond = line[0] == 'o' ? n : 0;
		count = 0;
		first_failed = NULL;
		(void)snprintf(said, sizeof said, "armed\n");
	}
	if (write(answer, said, strlen(said)) == -1)
		fatal("torture: the answer");
}

static _Noreturn void
trace(char *const argv[], int ready)
{
	const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
	    PTRACE_O_TRACEEXEC;
	int ask = open(argv[1], O_RDWR | O_CLOEXEC), answer = open(argv[2], O_RDWR | O_CLOEXEC);
	struct pollfd fds[2];
	sigset_t child;
	char line[80];

	if (ask == -1 || answer == -1)
		fatal("torture: its FIFOs");
	(void)setsid();
	(void)sigemptyset(&child);
	(void)sigaddset(&child, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &child, NULL);
	fds[0] = (struct pollfd){ .fd = ask, .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK), .events = POLLIN };
	if (ptrace(PTRACE_SEIZE, master, 0, options) == -1 || ptrace(PTRACE_INTERRUPT, master, 0, 0) == -1)
		fatal("torture: PTRACE_SEIZE");
	do {
		struct signalfd_siginfo info;
		ssize_t n;

		if (poll(fds, 2, -1) == -1 && errno != EINTR)
			fatal("torture: poll");
		while (fds[1].revents != 0 && read(fds[1].fd, &info, sizeof info) > 0)
			;
		if (fds[0].revents != 0 && (n = read(ask, line, sizeof line - 1)) > 0) {
			line[n] = '\0';
			obey(line, answer);
			if (ready != -1)
				(void)close(ready);	/* PROGRAM begins */
			ready = -1;
		}
	} while (look_at_processes());
	if (at != 0)
		obey("off", answer);
	exit(0);
}

int
main(int argc, char **argv)
{
	int go[2], status;
	char end;
	pid_t pid;

	if (argc < 4) {
		(void)fputs("usage: torture ASK ANSWER PROGRAM ARG...\n", stderr);
		return 2;
	}
	master = getpid();
	if (pipe2(go, O_CLOEXEC) == -1 || (pid = fork()) == -1)
		fatal("torture");
	if (pid == 0) {
		/* No child of PROGRAM's. */
		if ((pid = fork()) != 0)
			_exit(pid == -1);
		(void)close(go[0]);
		trace(argv, go[1]);
	}
	(void)close(go[1]);
	if (waitpid(pid, &status, 0) == -1 || status != 0)
		return 1;
	while (read(go[0], &end, 1) == -1 && errno == EINTR)
		;
	(void)close(go[0]);
	(void)execv(argv[3], argv + 3);
	fatal(argv[3]);
}

#endif

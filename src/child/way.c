#include "child/way.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child/clone.h"

#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE (1U << 1)
#endif

#ifdef WAY_ASYNC
enum { STACK = 8192 };
#endif

#ifdef WAY_ASYNC

/* Before 5.16 a core dump of a child ends every process that shares its memory. */
static bool
kernel_is_new(void)
{
	struct utsname u;
	unsigned long major, minor;
	char *end;

	if (uname(&u) == -1)
		return false;
	major = strtoul(u.release, &end, 10);
	minor = *end == '.' ? strtoul(end + 1, NULL, 10) : 0;
	return major > 5 || (major == 5 && minor >= 16);
}

struct probe {
	unsigned bound;
	uint32_t result;	/* 1: all calls are there */
};

static void
probe_child(void *arg)
{
	struct probe *p = arg;

	if (raw(SYS_close_range, p->bound, ~0U, CLOSE_RANGE_UNSHARE) == 0)
		__atomic_store_n(&p->result, 1, __ATOMIC_RELEASE);
	for (;;)
		(void)raw(SYS_exit_group, 0);
}

/*
 * A child that shares memory and descriptors tries what the fast path needs. A filter that kills
 * for an unknown call kills the probe only.
 */
static bool
probe(void)
{
	struct probe p = { .bound = 3 };
	int pidfd = -1, ctid = 1;
	char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	siginfo_t si = { .si_pid = 0 };
	long pid;
	bool ok;

	if (stack == MAP_FAILED)
		return false;
	pid = clone_onto(CLONE_VM | CLONE_FILES | CLONE_PIDFD | CLONE_CHILD_CLEARTID | SIGCHLD,
	    stack + STACK, &pidfd, &ctid, probe_child, &p);
	ok = pid > 0 && pidfd != -1 &&
	    syscall(SYS_waitid, 3 /* P_PIDFD */, pidfd, &si, WEXITED, NULL) == 0 && si.si_pid == pid;
	if (pid > 0 && !ok)
		(void)waitpid((pid_t)pid, NULL, 0);
	if (pidfd != -1)
		(void)close(pidfd);
	ok = ok && __atomic_load_n(&p.result, __ATOMIC_ACQUIRE) == 1 &&
	    __atomic_load_n(&ctid, __ATOMIC_ACQUIRE) == 0;
	(void)munmap(stack, STACK);
	return ok;
}

#endif

enum spawn_way
way_find(void)
{
	const char *preload = getenv("LD_PRELOAD");

	if (preload != NULL && strstr(preload, "vgpreload") != NULL)
		return SPAWN_FORK;	/* valgrind */
#if defined(SPAWN_FORCE_FORK) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return SPAWN_FORK;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
	return SPAWN_FORK;
#endif
#endif
#ifdef WAY_ASYNC
	if (kernel_is_new() && probe())
		return SPAWN_ASYNC;
#endif
	return SPAWN_VFORK;
}

bool
way_ids_unsafe(void)
{
	char c = '0';
	int fd = open("/proc/sys/fs/suid_dumpable", O_RDONLY | O_CLOEXEC);

	if (fd == -1)
		return true;	/* not known: then as if it were so */
	(void)!read(fd, &c, 1);
	(void)close(fd);
	return c == '1';
}

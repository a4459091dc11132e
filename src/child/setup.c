#include "child/setup.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "child/raw.h"

#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE (1U << 1)
#endif

static _Noreturn void
leave(struct start *s, enum step step, long result)
{
	uint32_t errnum = (uint32_t)-result;

	__atomic_store_n(s->failed, (uint32_t)step << 16 | errnum, __ATOMIC_RELEASE);
	for (;;)
		(void)raw(SYS_exit_group, step == STEP_EXEC && errnum == ENOENT ? 127 : 126);
}

#define MUST(step, call) \
	do { \
		long r_ = (call); \
		if (r_ < 0) \
			leave(s, (step), r_); \
	} while (0)

#ifdef RAW_NATIVE

/*
 * Nothing of the command has run, and this process still has the connection: so the master's close is
 * not the last, whatever the command does to the socket. A master that is stopped or gone holds nobody up.
 */
static void
wait_to_be_alone(struct start *s)
{
	static const struct timespec longest = { .tv_sec = 1 };
	long r = 0;

	while (__atomic_load_n(&s->gone, __ATOMIC_ACQUIRE) == 0 && (r == 0 || r == -EAGAIN || r == -EINTR))
		r = raw(SYS_futex, &s->gone, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, &longest);
}

#endif

/*
 * The connection at 0, 1 and 2, and nothing else. A child that shares the master's descriptor
 * table, where all it needs stands at low numbers, first takes a copy of it that ends just above
 * them. Until the copy is made it must not touch 0, 1 and 2: they are the master's.
 */
static void
descriptors(struct start *s)
{
	static const uint64_t once = 1;
	int fd = s->fd;

	if (s->bound != 0) {
		MUST(STEP_DESCRIPTORS, raw(SYS_close_range, s->bound, ~0U, CLOSE_RANGE_UNSHARE));
		__atomic_store_n(&s->moved, 1, __ATOMIC_RELEASE);
		if (s->bell != -1)
			(void)raw(SYS_write, s->bell, &once, sizeof once);
	}
	MUST(STEP_DESCRIPTORS, raw(SYS_dup3, s->in != -1 ? s->in : fd, 0, 0));
	MUST(STEP_DESCRIPTORS, raw(SYS_dup3, fd, 1, 0));
	if (s->err != 2)
		MUST(STEP_DESCRIPTORS, raw(SYS_dup3, s->err == -1 ? fd : s->err, 2, 0));
	if (s->listening)
		MUST(STEP_DESCRIPTORS, fd == 3 ? raw(SYS_fcntl, fd, F_SETFD, 0) : raw(SYS_dup3, fd, 3, 0));
	/*
	 * Before anything that can block: what else the copy holds are other connections, whose end
	 * of stream must not wait for this child. A kernel without the call has close-on-exec.
	 */
#ifdef SYS_close_range
	(void)raw(SYS_close_range, s->listening ? 4 : 3, ~0U, 0);
#endif
#ifdef RAW_NATIVE
	if (s->bell != -1)
		wait_to_be_alone(s);
#endif
}

/*
 * What a change of the user does not take away: an inheritable set that the master was started with, what
 * is ambient where the user does not change, and all of it under a securebit. Root is not restricted.
 */
static long
drop_capabilities(void)
{
	static const struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	static const struct __user_cap_data_struct none[2];

	return raw(SYS_geteuid, 0) == 0 ? 0 : raw(SYS_capset, &head, none);
}

static void
identity(struct start *s)
{
	const struct run *r = s->run;

	if (r->set_nice)
		MUST(STEP_NICE, raw(SYS_setpriority, PRIO_PROCESS, 0, r->nice));
	for (size_t i = 0; i < r->nlimits; i++)
		MUST(STEP_RLIMIT, raw(SYS_prlimit64, 0, r->limit[i].resource, &r->limit[i].value, 0));
	if (r->root != NULL) {
		MUST(STEP_CHROOT, raw(SYS_chroot, r->root));
		MUST(STEP_CHROOT, raw(SYS_chdir, "/"));
	}
	if (r->set_ids) {
		MUST(STEP_GROUPS, raw(SYS_setgroups, r->ngroups, r->groups));
		MUST(STEP_GROUP, raw(SYS_setresgid, r->gid, r->gid, r->gid));
		MUST(STEP_USER, raw(SYS_setresuid, r->uid, r->uid, r->uid));
	}
	MUST(STEP_CAPABILITIES, drop_capabilities());
	if (r->directory != NULL)
		MUST(STEP_DIRECTORY, raw(SYS_chdir, r->directory));
	if (r->set_umask)
		(void)raw(SYS_umask, r->umask);
}

/* Only the child knows its number: it is written over the zeroes of its environment. */
static void
name_pid(char **envp)
{
	static const char name[] = "LISTEN_PID=";
	long pid = raw(SYS_getpid, 0);
	char digits[24], *at;
	int n = 0;

	for (; *envp != NULL; envp++) {
		int i = 0;

		while (name[i] != '\0' && (*envp)[i] == name[i])
			i++;
		if (name[i] != '\0')
			continue;
		for (; pid > 0; pid /= 10)
			digits[n++] = (char)('0' + pid % 10);
		for (at = *envp + i; n > 0; at++)
			*at = digits[--n];
		*at = '\0';
		return;
	}
}

void
setup_child(struct start *s)
{
	static const uint64_t no_signals;	/* the kernel's set has 8 bytes */
	long why = -ENOENT;

	descriptors(s);
	if (s->listening)
		name_pid(s->envp);
	MUST(STEP_SESSION, raw(SYS_setsid, 0));
	identity(s);
	/* Every disposition is the default already: the master never changes one. */
	MUST(STEP_SIGNALS, raw(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &no_signals, 0, sizeof no_signals));
	for (char **p = s->run->path; *p != NULL; p++) {
		long r = raw(SYS_execve, *p, s->run->argv, s->envp);

		/* As execvp(3): a directory of PATH without the program is passed over. */
		if (r != -ENOENT && r != -ENOTDIR && (why == -ENOENT || r != -EACCES))
			why = r;
		if (r != -ENOENT && r != -ENOTDIR && r != -EACCES)
			break;
	}
	leave(s, STEP_EXEC, why);
}

bool
setup_lower(uid_t uid, gid_t gid)
{
	return raw(SYS_setgroups, 0, 0) == 0 && raw(SYS_setresgid, gid, gid, gid) == 0 &&
	    raw(SYS_setresuid, uid, uid, uid) == 0 && drop_capabilities() == 0;
}

const char *
step_text(enum step step)
{
	switch (step) {
	case STEP_NONE:
		break;
	case STEP_DESCRIPTORS:
		return "cannot set up its descriptors";
	case STEP_SESSION:
		return "cannot make its session";
	case STEP_NICE:
		return "cannot set nice";
	case STEP_RLIMIT:
		return "cannot set its resource limits (rlimit_*)";
	case STEP_CHROOT:
		return "cannot change to chroot";
	case STEP_GROUPS:
		return "cannot set the groups of user";
	case STEP_GROUP:
		return "cannot set group";
	case STEP_USER:
		return "cannot set user";
	case STEP_CAPABILITIES:
		return "cannot drop the capabilities";
	case STEP_DIRECTORY:
		return "cannot change to directory";
	case STEP_SIGNALS:
		return "cannot set its signal mask";
	case STEP_EXEC:
		return "cannot execute";
	}
	return "cannot start";
}

/*
 * shim: an LD_PRELOAD that makes chosen calls of a dynamically linked server fail.
 *   SHIM="accept4=24"          every accept4 fails with errno 24
 *   SHIM="accept4=24/3"        … the first three times
 *   SHIM="socket@10=97"        socket for address family 10 fails
 *   SHIM="write@1=5"           write to a regular file fails
 *   SHIM_WHILE=FILE            only while that file exists
 * Several are separated by blanks.
 *   SHIM_TORTURE=1         allocations tell tests/torture of themselves, which may let one fail
 *   SHIM_HANG=FILE         alarm does not come back while that file exists: as who reads a dead disk
 *   SHIM_SLOW=FILE         look-ups of users, groups, services and addresses take two seconds while that file exists
 *   SHIM_CLOCK=LINK        the time of day is off by the seconds that this symbolic link leads to, while it
 *                          is there (reading a link takes no descriptor)
 */
#include <dlfcn.h>
#include <errno.h>
#include <grp.h>
#include <netdb.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int
fails(const char *call, int family)
{
	static struct { const char *at; int times; } seen[16];
	const char *p = getenv("SHIM"), *gate = getenv("SHIM_WHILE");
	size_t n = strlen(call);

	if (p == NULL || (gate != NULL && access(gate, F_OK) == -1))
		return 0;
	for (; *p != '\0'; p += strcspn(p, " "), p += strspn(p, " ")) {
		const char *q = p + n;
		int why, most = -1, k;

		if (strncmp(p, call, n) != 0 || (*q != '=' && *q != '@'))
			continue;
		if (*q == '@' && strtol(q + 1, (char **)(void *)&q, 10) != family)
			continue;
		if (sscanf(q, "=%d/%d", &why, &most) < 1)
			continue;
		for (k = 0; k < 15 && seen[k].at != NULL && seen[k].at != p; k++)
			;
		seen[k].at = p;
		if (most != -1 && seen[k].times++ >= most)
			continue;
		errno = why;
		return 1;
	}
	return 0;
}

#define REAL(type, name, ...) \
	static type (*real)(__VA_ARGS__); \
	if (real == NULL) \
		*(void **)(&real) = dlsym(RTLD_NEXT, name)

int
accept4(int fd, struct sockaddr *restrict a, socklen_t *restrict len, int flags)
{
	REAL(int, "accept4", int, struct sockaddr *, socklen_t *, int);
	return fails("accept4", 0) ? -1 : real(fd, a, len, flags);
}

int
socket(int family, int type, int protocol)
{
	REAL(int, "socket", int, int, int);
	return fails("socket", family) ? -1 : real(family, type, protocol);
}

int
setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	REAL(int, "setsockopt", int, int, int, const void *, socklen_t);
	return fails("setsockopt", level * 1000 + name) ? -1 : real(fd, level, name, value, len);
}

int
clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
	REAL(int, "clone", int (*)(void *), void *, int, void *, ...);
	return fails("clone", 0) ? -1 : real(fn, stack, flags, arg);
}

ssize_t
write(int fd, const void *bytes, size_t n)
{
	REAL(ssize_t, "write", int, const void *, size_t);
	struct stat st;

	return fails("write", fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) ? -1 : real(fd, bytes, n);
}

pid_t
fork(void)
{
	REAL(pid_t, "fork", void);
	return fails("fork", 0) ? -1 : real();
}

unsigned
alarm(unsigned seconds)
{
	const struct timespec a_while = { .tv_nsec = 2000000 };
	const char *gate = getenv("SHIM_HANG");
	REAL(unsigned, "alarm", unsigned);

	while (gate != NULL && access(gate, F_OK) == 0)
		(void)nanosleep(&a_while, NULL);
	return real(seconds);
}

#ifdef __GLIBC__
/* Its own functions, under the names that it keeps for whoever takes their place. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

static int asked, in_libc;

/* Before it runs it is the loader that allocates. */
__attribute__((constructor)) static void
begin(void)
{
	asked = getenv("SHIM_TORTURE") != NULL;
}

static int
no_memory(void)
{
	int before = errno;

	/* A call that no kernel has: the tracer sees it, and may say ENOMEM. */
	if (!asked || in_libc || syscall(1023) != -1 || errno != ENOMEM) {
		errno = before;
		return 0;
	}
	return 1;
}

static void
slow(void)
{
	const struct timespec a_while = { .tv_sec = 2 };
	const char *gate = getenv("SHIM_SLOW");

	if (gate != NULL && access(gate, F_OK) == 0)
		(void)nanosleep(&a_while, NULL);
}

/* glibc's look-ups do not survive it themselves: they crash, or stop at an assertion. */
#define SPARED(type, name, params, args) \
	type name params \
	{ \
		static type (*real)params; \
		type result; \
		if (real == NULL) \
			*(void **)(&real) = dlsym(RTLD_NEXT, #name); \
		slow(); \
		in_libc++; \
		result = real args; \
		in_libc--; \
		return result; \
	}
SPARED(struct passwd *, getpwnam, (const char *n), (n))
SPARED(struct passwd *, getpwuid, (uid_t n), (n))
SPARED(struct group *, getgrnam, (const char *n), (n))
SPARED(int, getgrouplist, (const char *u, gid_t g, gid_t *list, int *n), (u, g, list, n))
SPARED(struct servent *, getservbyname, (const char *n, const char *p), (n, p))
SPARED(struct netent *, getnetbyname, (const char *n), (n))
SPARED(int, getaddrinfo, (const char *n, const char *s, const struct addrinfo *h, struct addrinfo **a), (n, s, h, a))

void *
malloc(size_t size)
{
	return no_memory() ? NULL : __libc_malloc(size);
}

void *
calloc(size_t n, size_t size)
{
	return no_memory() ? NULL : __libc_calloc(n, size);
}

void *
realloc(void *p, size_t size)
{
	return no_memory() ? NULL : __libc_realloc(p, size);
}
#endif

static time_t
off(void)
{
	const char *where = getenv("SHIM_CLOCK");
	char text[32];
	int why = errno;
	ssize_t n = where != NULL ? readlink(where, text, sizeof text - 1) : -1;

	errno = why;
	if (n <= 0)
		return 0;
	text[n] = '\0';
	return (time_t)strtoll(text, NULL, 10);
}

int
clock_gettime(clockid_t id, struct timespec *t)
{
	REAL(int, "clock_gettime", clockid_t, struct timespec *);
	int rc = real(id, t);

	if (rc == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
		t->tv_sec += off();
	return rc;
}

time_t
time(time_t *at)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	if (at != NULL)
		*at = t.tv_sec;
	return t.tv_sec;
}

int
gettimeofday(struct timeval *restrict at, void *restrict zone)
{
	REAL(int, "gettimeofday", struct timeval *restrict, void *restrict);
	int rc = real(at, zone);

	if (rc == 0)
		at->tv_sec += off();
	return rc;
}

/*
 * raw: system calls without libc, for the ground between clone and exec. A child there shares the
 * master's memory: libc's errno would be the master's. Each returns what the kernel returns: a
 * result, or -errno.
 */
#ifndef CHILD_RAW_H
#define CHILD_RAW_H

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__) && defined(__LP64__)

#define RAW_NATIVE 1

static inline long
raw6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall" : "=a"(ret)
	    : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
	    : "rcx", "r11", "memory");
	return ret;
}

#elif defined(__aarch64__) && defined(__LP64__)

#define RAW_NATIVE 1

static inline long
raw6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0" : "+r"(x0)
	    : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory", "cc");
	return x0;
}

#else

/* Elsewhere the master stands still until the child has exec'd (vfork), and keeps its errno. */
static inline long
raw6(long nr, long a, long b, long c, long d, long e, long f)
{
	long ret = syscall(nr, a, b, c, d, e, f);

	return ret == -1 ? -errno : ret;
}

#endif

#define RAW_(nr, a, b, c, d, e, ...) \
	raw6((nr), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define raw(nr, ...) RAW_(nr, __VA_ARGS__, 0, 0, 0, 0, 0)

#endif

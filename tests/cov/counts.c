/*
 * counts: what the programs of `make cov` are linked with. gcov's counters lie in a file that all
 * processes of a program share from their start: so what ends by _exit, exec or SIGKILL, what shares
 * memory with the master, changed its user or has no right to open a file has counted too, nothing is
 * written at a process's end, and no counter is lost at an exec.
 * With COUNTS_WRITE in its environment the program writes gcov's files from it, and ends.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char counts_begin[], counts_end[];	/* counts.ld */
void __gcov_dump(void);
void __wrap___gcov_exit(void);

void
__wrap___gcov_exit(void)
{
}

/* By system calls: libc's may be a test's own, which fail. */
static void __attribute__((constructor))
share(void)
{
	long size = counts_end - counts_begin;
	int fd = (int)syscall(SYS_openat, AT_FDCWD, COUNTS, O_RDWR | O_CLOEXEC);

	if (fd != -1) {
		if (syscall(SYS_lseek, fd, 0, SEEK_END) == size || syscall(SYS_ftruncate, fd, size) == 0)
			(void)syscall(SYS_mmap, counts_begin, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
		(void)syscall(SYS_close, fd);
	}
	if (getenv("COUNTS_WRITE") != NULL) {
		__gcov_dump();
		_exit(0);
	}
}

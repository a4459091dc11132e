/*
 * tiny: the smallest command worth serving; for measurements. With KEEP it answers a byte with that
 * byte and ends when its client does: to be held. Without libc where that can be, whose start takes
 * longer than all else: on a virtual machine glibc's asks the processor what it is for 100 us.
 */
#include "child/raw.h"

static int
run(void)
{
#ifdef KEEP
	char c;

	while (raw(SYS_read, 0, &c, 1) == 1)
		(void)raw(SYS_write, 1, &c, 1);
	return 0;
#else
	return raw(SYS_write, 1, "ok\n", 3) == 3 ? 0 : 1;
#endif
}

#ifdef RAW_NATIVE
_Noreturn void _start(void);

void
_start(void)
{
	for (;;)
		(void)raw(SYS_exit_group, run());
}
#else
int
main(void)
{
	return run();
}
#endif

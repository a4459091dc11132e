#include "child/clone.h"

#if defined(RAW_NATIVE) && defined(__x86_64__)

__asm__(
	".text\n"
	".globl clone_onto\n"
	".hidden clone_onto\n"
	".type clone_onto, @function\n"
	"clone_onto:\n"
	"	endbr64\n"
	"	sub $16, %rsi\n"
	"	mov %r8, (%rsi)\n"		/* fn and arg wait on the child's stack */
	"	mov %r9, 8(%rsi)\n"
	"	mov %rcx, %r10\n"		/* ctid */
	"	xor %r8d, %r8d\n"		/* tls: the master's stays */
	"	mov $56, %eax\n"
	"	syscall\n"
	"	test %rax, %rax\n"
	"	jnz 1f\n"
	"	xor %ebp, %ebp\n"
	"	pop %rax\n"
	"	pop %rdi\n"
	"	call *%rax\n"
	"	hlt\n"
	"1:	ret\n"
	".size clone_onto, . - clone_onto\n"
	".section .note.GNU-stack, \"\", @progbits\n"
	".text\n"
);

#elif defined(RAW_NATIVE) && defined(__aarch64__)

__asm__(
	".text\n"
	".globl clone_onto\n"
	".hidden clone_onto\n"
	".type clone_onto, %function\n"
	"clone_onto:\n"
	"	stp x4, x5, [x1, #-16]!\n"	/* fn and arg wait on the child's stack */
	"	mov x4, x3\n"			/* the kernel wants tls before ctid here */
	"	mov x3, xzr\n"
	"	mov x8, #220\n"
	"	svc #0\n"
	"	cbnz x0, 1f\n"
	"	mov x29, xzr\n"
	"	ldp x1, x0, [sp], #16\n"
	"	blr x1\n"
	"	brk #1\n"
	"1:	ret\n"
	".size clone_onto, . - clone_onto\n"
	".section .note.GNU-stack, \"\", %progbits\n"
	".text\n"
);

#endif

/*
 * onward.c - a program that only execs another one
 *
 * For limit.c: what stands between the caller's program and the image's must
 * do something, and this is the least.  argv[0] and the environment are the
 * program's.
 */
#include "../../csrc/sys.h"

void onward(long *sp);

__attribute__((used)) void onward(long *sp)
{
	char **argv = (char **)(sp + 1);

	nb_sys(__NR_execve, argv[0], argv, argv + *sp + 1);
	nb_sys(__NR_exit_group, 126, 0, 0);
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\tmov %rsp, %rdi\n\tcall onward\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n\tmov x0, sp\n\tbl onward\n");
#endif

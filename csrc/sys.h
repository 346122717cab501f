/*
 * sys.h - system calls without libc
 *
 * The launch child may share its parent's memory and its thread-local
 * storage, errno included, so it must not call libc: these return -errno.
 * nsbox-init has no libc at all.  See syscall(2).
 */
#ifndef NB_SYS_H
#define NB_SYS_H

#include <asm/unistd.h>

#if defined(__x86_64__)

static inline long nb_sys6(long n, long a, long b, long c, long d, long e,
			   long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8),
			   "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

#elif defined(__aarch64__)

static inline long nb_sys6(long n, long a, long b, long c, long d, long e,
			   long f)
{
	register long x8 __asm__("x8") = n;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory", "cc");
	return x0;
}

#else
#error "nsbox knows the system call convention of x86_64 and aarch64 only"
#endif

#define nb_sys(n, a, b, c)                                                     \
	nb_sys6((n), (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define nb_sys5(n, a, b, c, d, e)                                              \
	nb_sys6((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)

#endif

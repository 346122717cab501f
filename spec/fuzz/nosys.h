/*
 * nosys.h - instead of csrc/sys.h: the file that includes it says what each
 * system call does, in nb_sys6()
 */
#ifndef NB_SYS_H
#define NB_SYS_H

#include <asm/unistd.h>

static long nb_sys6(long n, long a, long b, long c, long d, long e, long f);

#define nb_sys(n, a, b, c)                                                     \
	nb_sys6((n), (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define nb_sys5(n, a, b, c, d, e)                                              \
	nb_sys6((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)

#endif

/*
 * bare.h - what the files that run without libc share: plan*.c,
 * setattr.c and serve.c
 */
#ifndef NB_BARE_H
#define NB_BARE_H

#include <stddef.h>
#include <stdint.h>

/* <sys/mount.h> and <linux/mount.h> exclude each other in older headers */
#ifndef MS_REC
#define MS_REC 16384
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

/* struct mount_attr, which older headers lack */
struct nb_mountattr {
	uint64_t set, clr, propagation, userns_fd;
};

static inline size_t nb_length(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

/* one open, one write (plan.c); 0 or -errno, as the next */
long nb_writefile(const char *path, const char *data);
/* the loopback device up */
long nb_loup(void);

/* "/proc/self/fd/N", 32 bytes */
void nb_fdpath(char *to, int fd);

#endif

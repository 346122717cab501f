/*
 * setattr.c - attributes of mounts, also where mount_setattr(2) is missing
 *
 * Compiled twice, like plan.c, and without libc for the same reason.
 *
 * mount_setattr(2), mount(2), proc(5) on mountinfo
 */
#include <errno.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <stdbool.h>

#include "bare.h"
#include "plan.h"
#include "sys.h"

#define BUFFER 4096

void nb_fdpath(char *to, int fd)
{
	const char *head = "/proc/self/fd/";
	char digits[12];
	int n = 0;

	while (*head)
		*to++ = *head++;
	do
		digits[n++] = (char)('0' + fd % 10);
	while ((fd /= 10) > 0);
	while (n > 0)
		*to++ = digits[--n];
	*to = '\0';
}

#define ATIME_ATTR 0x70	   /* MOUNT_ATTR__ATIME: a field, not flags */
#define ATIME_MS 0x1200400 /* MS_NOATIME, MS_RELATIME, MS_STRICTATIME */
#define STRICTATIME_MS (1 << 24)
#define STATFS_FLAGS 10 /* f_flags, in words; all fields of it are */

/* MOUNT_ATTR_*, MS_* of mount(2), ST_* of statfs(2) */
static const struct {
	uint32_t attr, ms, st;
} attrs[] = {
    {0x1, 1, 1},	     /* ro */
    {0x2, 2, 2},	     /* nosuid */
    {0x4, 4, 4},	     /* nodev */
    {0x8, 8, 8},	     /* noexec */
    {0x200000, 256, 0x2000}, /* nosymfollow */
    {0x80, 2048, 0x800},     /* nodiratime */
    {0x10, 1024, 0x400},     /* noatime */
    {0, 1 << 21, 0x1000},    /* relatime */
    {0x20, STRICTATIME_MS, 0},
};

#define NATTRS (sizeof(attrs) / sizeof(*attrs))

/*
 * The flags that a remount must repeat, or the kernel takes their absence for
 * a wish to drop locked ones (EPERM).  Of several mounts at one path only the
 * top one can be seen or remounted, so mountinfo's lines would mislead.
 */
static long keptflags(const char *path, unsigned long *flags)
{
	unsigned long fs[32];
	long r = nb_sys(__NR_statfs, path, fs, 0);

	*flags = 0;
	if (r < 0)
		return r;
	for (size_t k = 0; k < NATTRS; k++)
		if (fs[STATFS_FLAGS] & attrs[k].st)
			*flags |= attrs[k].ms;
	if (!(*flags & ATIME_MS))
		*flags |= STRICTATIME_MS;
	return 0;
}

/* the flags for one mount: what it has, with set added and clr taken away */
static unsigned long newflags(unsigned long flags, uint64_t set, uint64_t clr)
{
	for (size_t k = 0; k < NATTRS; k++) {
		if (attrs[k].ms & ATIME_MS)
			continue;
		if (clr & attrs[k].attr)
			flags &= ~(unsigned long)attrs[k].ms;
		if (set & attrs[k].attr)
			flags |= attrs[k].ms;
	}
	for (size_t k = 0; k < NATTRS && clr & ATIME_ATTR; k++)
		if (attrs[k].ms & ATIME_MS &&
		    (set & ATIME_ATTR) == attrs[k].attr)
			flags =
			    (flags & ~(unsigned long)ATIME_MS) | attrs[k].ms;
	return flags;
}

#define MAX_MOUNTS 512 /* below one, on a kernel this old */

/*
 * Mounts are told apart by their ids: a path leads to one mount at most, and
 * to none of ours while another root lies over them.  Paths begin at base.
 */
struct walk {
	int base;
	uint64_t set, clr;
	uint32_t ids[MAX_MOUNTS]; /* done; their children follow */
	size_t nids;
	int field; /* of the line */
	size_t n;
	size_t plain;	    /* before that the path is decoded */
	uint32_t number[2]; /* its id, and its parent's */
	char path[BUFFER];
};

static bool done(const struct walk *w, uint32_t id)
{
	for (size_t i = 0; i < w->nids; i++)
		if (w->ids[i] == id)
			return true;
	return false;
}

static long remount_fd(struct walk *w, int fd)
{
	unsigned long flags;
	char link[32];
	long r;

	nb_fdpath(link, fd);
	r = keptflags(link, &flags);
	if (r == 0)
		r = nb_sys5(__NR_mount, "none", link, "none",
			    newflags(flags, w->set, w->clr) |
				32 /* MS_REMOUNT */ | 4096 /* MS_BIND */,
			    NULL);
	return r;
}

static long remount(struct walk *w)
{
	struct nb_status st;
	long r, fd;

	if (done(w, w->number[0]) || !done(w, w->number[1]))
		return 0;
	if (w->nids == MAX_MOUNTS)
		return -ENOSPC;
	w->ids[w->nids++] = w->number[0];
	fd = w->base >= 0 ? nb_find(w->base, w->path, NB_NOFOLLOW)
			  : nb_sys5(__NR_openat, AT_FDCWD, w->path,
				    O_PATH | O_NOFOLLOW | O_CLOEXEC, 0, 0);
	r = fd < 0 ? fd : nb_status((int)fd, &st);
	/* else it is hidden under another one */
	if (r == 0 && st.mnt == w->number[0])
		r = remount_fd(w, (int)fd);
	if (fd >= 0)
		nb_sys(__NR_close, fd, 0, 0);
	/* as one we may not reach */
	return r == -ENOENT || r == -EACCES ? 0 : r;
}

static void next_field(struct walk *w)
{
	w->n = w->plain = 0;
	w->path[0] = '\0';
}

static bool is_octal(const char *e)
{
	return e[0] == '\\' && e[1] >= '0' && e[1] <= '3' && e[2] >= '0' &&
	       e[2] <= '7' && e[3] >= '0' && e[3] <= '7';
}

/* one character of mountinfo: the id, the parent's and, fifth, the mount
 * point, with octal escapes */
static long feed(struct walk *w, char c)
{
	long r = 0;

	if (c == '\n') {
		r = remount(w);
		w->field = 0;
		w->number[0] = w->number[1] = 0;
		next_field(w);
	} else if (c == ' ') {
		if (++w->field == 4)
			next_field(w);
	} else if (w->field < 2) {
		w->number[w->field] =
		    w->number[w->field] * 10 + (uint32_t)(c - '0');
	} else if (w->field == 4 && w->n + 1 < sizeof(w->path)) {
		w->path[w->n++] = c;
		w->path[w->n] = '\0';
		if (w->n >= w->plain + 4 && is_octal(w->path + w->n - 4)) {
			char *e = w->path + w->n - 4;

			*e = (char)((e[1] - '0') << 6 | (e[2] - '0') << 3 |
				    (e[3] - '0'));
			w->n -= 3;
			/* what was a backslash begins nothing */
			w->plain = w->n;
			w->path[w->n] = '\0';
		}
	}
	return r;
}

static long read_mounts(struct walk *w)
{
	char buffer[1024];
	long n, r = 0, fd;

	fd = nb_sys5(__NR_openat, AT_FDCWD, "/proc/self/mountinfo",
		     O_RDONLY | O_CLOEXEC, 0, 0);
	if (fd < 0)
		return fd;
	w->field = 0;
	w->number[0] = w->number[1] = 0;
	next_field(w);
	while (r == 0 &&
	       (n = nb_sys(__NR_read, fd, buffer, sizeof(buffer))) > 0)
		for (long i = 0; i < n && r == 0; i++)
			r = feed(w, buffer[i]);
	nb_sys(__NR_close, fd, 0, 0);
	return r;
}

/* fd, and again and again what turned up below it: one that was moved may be
 * listed before its parent */
static long walk_mounts(int base, int fd, uint64_t set, uint64_t clr,
			int recursive)
{
	struct nb_status st;
	struct walk w;
	size_t before;
	long r = nb_status(fd, &st);

	if (r < 0)
		return r;
	w.base = base;
	w.set = set;
	w.clr = clr;
	w.ids[0] = (uint32_t)st.mnt;
	w.nids = 1;
	r = remount_fd(&w, fd);
	if (!recursive)
		return r;
	do {
		before = w.nids;
		if (r == 0)
			r = read_mounts(&w);
	} while (r == 0 && w.nids > before);
	return r;
}

long nb_rawsetattr(int dirfd, const char *path, uint64_t set, uint64_t clr,
		   uint64_t propagation, int userns, int recursive)
{
	struct nb_mountattr attr;

	attr.set = set;
	attr.clr = clr;
	attr.propagation = propagation;
	attr.userns_fd = (uint64_t)userns;
	return nb_sys5(__NR_mount_setattr, dirfd, path,
		       (recursive ? AT_RECURSIVE : 0) |
			   (*path ? 0 : AT_EMPTY_PATH),
		       &attr, sizeof(attr));
}

long nb_setattrin(int base, int fd, uint64_t set, uint64_t clr, int recursive)
{
	long r = nb_rawsetattr(fd, "", set, clr, 0, 0, recursive);

	return r == -ENOSYS ? walk_mounts(base, fd, set, clr, recursive) : r;
}

long nb_setattr(int dirfd, const char *path, uint64_t set, uint64_t clr,
		uint64_t propagation, int recursive)
{
	char link[32];
	long r =
	    nb_rawsetattr(dirfd, path, set, clr, propagation, 0, recursive);
	long fd;

	if (r != -ENOSYS)
		return r;
	fd = nb_sys5(__NR_openat, dirfd, *path ? path : ".", O_PATH | O_CLOEXEC,
		     0, 0);
	if (fd < 0)
		return fd;
	r = 0;
	if (propagation) {
		nb_fdpath(link, (int)fd);
		r = nb_sys5(__NR_mount, "none", link, "none",
			    propagation | (recursive ? MS_REC : 0), NULL);
	}
	if (r == 0 && (set || clr || !propagation))
		r = walk_mounts(-1, (int)fd, set, clr, recursive);
	nb_sys(__NR_close, fd, 0, 0);
	return r;
}

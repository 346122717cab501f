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

static bool same(const char *a, const char *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (a[i] != b[i])
			return false;
	return true;
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

struct walk {
	const char *root; /* canonical path; "/" takes all */
	size_t rootlen;
	uint64_t set, clr;
	bool recursive;
	int field;
	size_t n;
	char path[BUFFER];
};

static long remount(struct walk *w)
{
	bool exact = nb_length(w->path) == w->rootlen &&
		     same(w->path, w->root, w->rootlen);
	bool below = w->rootlen == 1 || (same(w->path, w->root, w->rootlen) &&
					 w->path[w->rootlen] == '/');
	unsigned long flags;
	long r;

	if (!exact && !(w->recursive && below))
		return 0;
	r = keptflags(w->path, &flags);
	if (r == 0)
		r = nb_sys5(__NR_mount, "none", w->path, "none",
			    newflags(flags, w->set, w->clr) |
				32 /* MS_REMOUNT */ | 4096 /* MS_BIND */,
			    NULL);
	/* a mount hidden under another, or one we may not reach */
	return r == -ENOENT || r == -EACCES ? 0 : r;
}

/* one character of mountinfo: the fifth field is the mount point, with octal
 * escapes */
static long feed(struct walk *w, char c)
{
	long r = 0;

	if (c == '\n') {
		r = remount(w);
		w->field = 0;
		w->n = 0;
		w->path[0] = '\0';
	} else if (c == ' ') {
		w->field++;
		w->n = 0;
	} else if (w->field == 4 && w->n + 1 < sizeof(w->path)) {
		w->path[w->n++] = c;
		w->path[w->n] = '\0';
		if (w->n >= 4 && w->path[w->n - 4] == '\\') {
			char *e = w->path + w->n - 4;

			*e = (char)((e[1] - '0') << 6 | (e[2] - '0') << 3 |
				    (e[3] - '0'));
			w->n -= 3;
			w->path[w->n] = '\0';
		}
	}
	return r;
}

static long walk_mounts(const char *root, uint64_t set, uint64_t clr,
			int recursive)
{
	struct walk w;
	char buffer[1024];
	long n, r = 0, fd;

	fd = nb_sys5(__NR_openat, AT_FDCWD, "/proc/self/mountinfo",
		     O_RDONLY | O_CLOEXEC, 0, 0);
	if (fd < 0)
		return fd;
	w.root = root;
	w.rootlen = nb_length(root);
	w.set = set;
	w.clr = clr;
	w.recursive = recursive;
	w.field = 0;
	w.n = 0;
	w.path[0] = '\0';
	while (r == 0 &&
	       (n = nb_sys(__NR_read, fd, buffer, sizeof(buffer))) > 0)
		for (long i = 0; i < n && r == 0; i++)
			r = feed(&w, buffer[i]);
	nb_sys(__NR_close, fd, 0, 0);
	return r;
}

long nb_setattr(int dirfd, const char *path, uint64_t set, uint64_t clr,
		uint64_t propagation, int recursive)
{
	struct nb_mountattr attr;
	char link[32], root[BUFFER];
	long r, fd;

	attr.set = set;
	attr.clr = clr;
	attr.propagation = propagation;
	attr.userns_fd = 0;
	r = nb_sys5(__NR_mount_setattr, dirfd, path,
		    (recursive ? AT_RECURSIVE : 0) |
			(*path ? 0 : AT_EMPTY_PATH),
		    &attr, sizeof(attr));
	if (r != -ENOSYS)
		return r;

	/* mountinfo has canonical paths; ask for ours the same way */
	fd = nb_sys5(__NR_openat, dirfd, *path ? path : ".", O_PATH | O_CLOEXEC,
		     0, 0);
	if (fd < 0)
		return fd;
	nb_fdpath(link, (int)fd);
	r = nb_sys5(__NR_readlinkat, AT_FDCWD, link, root, sizeof(root) - 1, 0);
	nb_sys(__NR_close, fd, 0, 0);
	if (r < 0)
		return r;
	root[r] = '\0';
	if (propagation) {
		r = nb_sys5(__NR_mount, "none", root, "none",
			    propagation | (recursive ? MS_REC : 0), NULL);
		if (r < 0 || (set | clr) == 0)
			return r;
	}
	return walk_mounts(root, set, clr, recursive);
}

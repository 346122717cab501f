/*
 * plan_inside.c - the steps of a plan inside a root that is not the caller's
 *
 * A target is found there (plan_path.c), mounted on by descriptor, and found
 * again afterwards: the mount has to be what the path leads to.
 *
 * Compiled twice, like plan.c, and without libc for the same reason.
 *
 * fsopen(2), move_mount(2), mount(2)
 */
#include <linux/fcntl.h>
#include <linux/mount.h>

#include "plan_mount.h"

#define ATTRS 0xf /* ro nosuid nodev noexec: the same bits everywhere */
#define MOVE_TO_FD 0x40
#define OPTION 256 /* fsconfig(2) takes no longer one */
#define PROC_MAGIC 0x9fa0
#define NULL_DEVICE ((uint64_t)1 << 32 | 3)

/* what covers a directory: nothing fits in */
#define MASK_OPTIONS "size=0,nr_inodes=2,mode=755"

static long bind_by_fd(int from, int to, bool recursive)
{
	char source[32], target[32];

	nb_fdpath(source, from);
	nb_fdpath(target, to);
	return nb_sys5(__NR_mount, source, target, "none",
		       MS_BIND_ | (recursive ? MS_REC : 0), NULL);
}

/* what a mount has to be known by when its path is looked up again */
struct expected {
	struct nb_status st;
	bool mount; /* st is its root's; else that of the place below it */
	uint64_t ino, dev; /* of its root, 0: not known */
};

/* fills *fd when the path leads to it; something else there is -ESTALE */
static long found_again(int dir, const char *path, unsigned how,
			const struct expected *want, int *fd)
{
	struct nb_status now;
	bool same;
	long r = nb_find(dir, path, how & NB_NOFOLLOW);

	if (r < 0)
		return r;
	*fd = (int)r;
	r = nb_status(*fd, &now);
	if (r == 0) {
		same = want->mount ? now.mnt == want->st.mnt
				   : now.mounted && now.mnt != want->st.mnt;
		if (want->ino)
			same &= now.ino == want->ino && now.dev == want->dev;
		r = same ? 0 : -ESTALE;
	}
	if (r < 0)
		nb_drop(fd);
	return r;
}

/* a tree, or what there is instead of one, on the place `to` */
static long attach(int tree, bool bind, int to, bool recursive)
{
	return bind ? bind_by_fd(tree, to, recursive)
		    : nb_sys5(__NR_move_mount, tree, "", to, "",
			      MOVE_FROM_FD | MOVE_TO_FD);
}

/* the same as a file on a file: what is missing is made like the source */
static unsigned kind_of(const struct nb_status *st, unsigned flags)
{
	if (!(flags & NB_MAKE))
		return flags & NB_NOFOLLOW;
	return (flags & NB_NOFOLLOW) |
	       (st->type == NB_IS_DIR ? NB_MAKEDIR : NB_MAKEFILE);
}

/* a directory and a file: the kernel says EINVAL */
static bool differ(int a, int b)
{
	struct nb_status sa, sb;

	return nb_status(a, &sa) == 0 && nb_status(b, &sb) == 0 &&
	       (sa.type == NB_IS_DIR) != (sb.type == NB_IS_DIR);
}

/* the place of a mount; in a mount that the plan made, where nobody else makes
 * names, what is missing most often is */
static long place_of(const struct nb_step *s, int dir, const char *target,
		     unsigned how)
{
	return s->below && how & (NB_MAKEDIR | NB_MAKEFILE)
		   ? nb_make(dir, target, how)
		   : nb_find(dir, target, how);
}

/* whether its root is needed: because the image may have led us elsewhere, or
 * for the steps that are below it */
static bool is_sought(const struct nb_step *s)
{
	return !s->below || s->flags & NB_BASE;
}

/* attributes of a tree that is nowhere yet; *late where there has to be a path
 */
static long prepare(const struct nb_step *s, const struct nb_step *from,
		    bool *late)
{
	long r;

	*late = false;
	if (!s->x && !s->z)
		return 0;
	r = from->c ? -ENOSYS
		    : nb_rawsetattr(from->fd, "", s->x, s->z, 0, 0,
				    from->flags & NB_RECURSIVE);
	*late = r == -ENOSYS;
	return *late ? 0 : r;
}

long nb_placeinside(struct nb_plan *plan, struct nb_step *s,
		    struct nb_step *from)
{
	const char *target = nb_inplan(plan, s->b);
	bool recursive = from->flags & NB_RECURSIVE, bind = from->c,
	     late = false;
	struct expected want;
	long dir = nb_base(plan, s), to = -1;
	long r = dir < 0 ? dir : nb_status(from->fd, &want.st);

	if (r == 0)
		r = prepare(s, from, &late);
	if (r == 0) {
		want.mount = !bind;
		want.ino = want.st.ino;
		want.dev = want.st.dev;
		to = place_of(s, (int)dir, target, kind_of(&want.st, s->flags));
		r = to < 0 ? to : 0;
	}
	if (r == 0 && bind)
		r = nb_status((int)to, &want.st);
	if (r == 0)
		r = attach(from->fd, bind, (int)to, recursive);
	if (r == -EINVAL && differ(from->fd, (int)to))
		r = -ENOTDIR;
	if (r == 0 && (late || is_sought(s)))
		r = found_again((int)dir, target, s->flags, &want, &s->fd);
	if (to >= 0)
		nb_sys(__NR_close, to, 0, 0);
	nb_drop(&from->fd);
	if (r == 0 && late)
		r = nb_setattrin(plan->root, s->fd, s->x, s->z, recursive);
	return r;
}

/* --- new file systems --- */

/* "size=1m,mode=755", one by one */
static long configure(int fs, const char *options)
{
	char key[OPTION];
	long r = 0;

	while (*options && r == 0) {
		char *value = NULL;
		size_t n = 0;

		while (*options && *options != ',' && n + 1 < sizeof(key)) {
			key[n] = *options++;
			if (key[n] == '=' && !value) {
				key[n] = '\0';
				value = key + n + 1;
			}
			n++;
		}
		if (*options && *options != ',')
			return -ENAMETOOLONG;
		key[n] = '\0';
		if (*options)
			options++;
		r = nb_sys5(__NR_fsconfig, fs,
			    value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG,
			    key, value, 0);
	}
	return r;
}

/* a mount that is nowhere yet, or -errno; -ENOSYS: mount(2) has to do */
static long new_tree(const char *type, const char *source, const char *options,
		     uint64_t flags)
{
	long r, fs;

	if (flags & ~(uint64_t)ATTRS)
		return -ENOSYS;
	fs = nb_sys(__NR_fsopen, type, 1 /* FSOPEN_CLOEXEC */, 0);
	if (fs < 0)
		return fs;
	r = nb_sys5(__NR_fsconfig, fs, FSCONFIG_SET_STRING, "source", source,
		    0);
	if (r == 0 && options)
		r = configure((int)fs, options);
	if (r == 0)
		r = nb_sys5(__NR_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL,
			    0);
	if (r == 0)
		r = nb_sys(__NR_fsmount, fs, 1 /* FSMOUNT_CLOEXEC */, flags);
	nb_sys(__NR_close, fs, 0, 0);
	return r;
}

/* the new file system on the place `to`, or what the caller has of that kind
 * where the kernel gives no new one */
static long put_tree(struct nb_step *s, long tree, const char *other, int to,
		     struct expected *want)
{
	long r;

	want->mount = true;
	if (tree == -EPERM && other) {
		s->flags |= NB_INSTEAD;
		tree = nb_sys(__NR_open_tree, AT_FDCWD, other,
			      TREE_CLONE | O_CLOEXEC | AT_RECURSIVE);
	}
	if (tree < 0)
		return tree;
	r = is_sought(s) || s->flags & NB_INSTEAD
		? nb_status((int)tree, &want->st)
		: 0;
	if (r == 0)
		r = attach((int)tree, false, to, false);
	nb_sys(__NR_close, tree, 0, 0);
	return r;
}

/* the same by mount(2) */
static long put_mount(struct nb_plan *plan, struct nb_step *s,
		      const char *other, int to, struct expected *want)
{
	char target[32];
	long r = nb_status(to, &want->st);

	want->mount = false;
	nb_fdpath(target, to);
	if (r == 0)
		r = nb_sys5(__NR_mount, nb_textinplan(plan, s->a), target,
			    nb_textinplan(plan, s->c), s->x,
			    nb_textinplan(plan, s->d));
	if (r == -EPERM && other) {
		s->flags |= NB_INSTEAD;
		r = nb_sys5(__NR_mount, other, target, "none",
			    MS_BIND_ | MS_REC, NULL);
	}
	return r;
}

/* mount(2) does not say what it mounted: that there is no other proc at
 * /proc it can be told by */
static long really_proc(struct nb_plan *plan, const struct nb_step *s)
{
	const char *type = nb_inplan(plan, s->c);
	unsigned long fs[32];
	char link[32];
	long r;

	if (type[0] != 'p' || type[1] != 'r' || type[2] != 'o' ||
	    type[3] != 'c' || type[4])
		return 0;
	nb_fdpath(link, s->fd);
	r = nb_sys(__NR_statfs, link, fs, 0);
	return r < 0 ? r : fs[0] == PROC_MAGIC ? 0 : -ESTALE;
}

long nb_mountinside(struct nb_plan *plan, struct nb_step *s)
{
	const char *target = nb_inplan(plan, s->b);
	const char *other = nb_textinplan(plan, (uint32_t)s->y);
	unsigned how =
	    (s->flags & NB_NOFOLLOW) | (s->flags & NB_MAKE ? NB_MAKEDIR : 0);
	struct expected want;
	long dir = nb_base(plan, s), to, r;

	to = dir < 0 ? dir : place_of(s, (int)dir, target, how);
	if (to < 0)
		return to;
	want.ino = 0;
	r = new_tree(nb_inplan(plan, s->c), nb_inplan(plan, s->a),
		     nb_textinplan(plan, s->d), s->x);
	r = r == -ENOSYS ? put_mount(plan, s, other, (int)to, &want)
			 : put_tree(s, r, other, (int)to, &want);
	nb_sys(__NR_close, to, 0, 0);
	if (r == 0 && (is_sought(s) || s->flags & NB_INSTEAD))
		r = found_again((int)dir, target, s->flags, &want, &s->fd);
	if (r == 0 && is_sought(s))
		r = really_proc(plan, s);
	if (r == 0 && s->flags & NB_INSTEAD)
		r = nb_setattrin(plan->root, s->fd, s->x & ATTRS, 0, true);
	return r;
}

/* --- in a mount that was made --- */

/* what covers files: nothing else may be in its place */
static long null_device(struct nb_plan *plan)
{
	struct nb_status st;
	long fd = plan->null, r;

	if (fd >= 0)
		return fd;
	fd = nb_sys5(__NR_openat, AT_FDCWD, "/dev/null", O_PATH | O_CLOEXEC, 0,
		     0);
	r = fd < 0 ? fd : nb_status((int)fd, &st);
	if (r == 0 && (st.type != NB_IS_CHAR || st.rdev != NULL_DEVICE))
		r = -ENXIO;
	if (r < 0) {
		if (fd >= 0)
			nb_sys(__NR_close, fd, 0, 0);
		return r;
	}
	plan->null = (int32_t)fd;
	return fd;
}

/* one file system for all directories: the first is copied, where it may be */
static long mask_directory(struct nb_plan *plan, int to)
{
	char target[32];
	long tree = -ENOSYS, r;

	if (plan->empty >= 0)
		tree = nb_sys(__NR_open_tree, plan->empty, "",
			      TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH);
	if (tree < 0) {
		tree = new_tree("tmpfs", "tmpfs", MASK_OPTIONS, ATTRS);
		if (tree >= 0 && plan->empty < 0)
			plan->empty = (int32_t)tree;
	}
	if (tree == -ENOSYS) {
		nb_fdpath(target, to);
		return nb_sys5(__NR_mount, "tmpfs", target, "tmpfs", ATTRS,
			       MASK_OPTIONS);
	}
	if (tree < 0)
		return tree;
	r = attach((int)tree, false, to, false);
	if (tree != plan->empty)
		nb_sys(__NR_close, tree, 0, 0);
	return r;
}

long nb_maskinside(struct nb_plan *plan, struct nb_step *s)
{
	struct nb_status st;
	long dir = nb_base(plan, s), to, r;

	to = dir < 0 ? dir
		     : nb_find((int)dir, nb_inplan(plan, s->a), NB_NOFOLLOW);
	if (to < 0)
		return to;
	r = nb_status((int)to, &st);
	if (r == 0 && st.type == NB_IS_DIR) {
		r = mask_directory(plan, (int)to);
	} else if (r == 0) {
		r = null_device(plan);
		if (r >= 0)
			r = bind_by_fd((int)r, (int)to, false);
	}
	nb_sys(__NR_close, to, 0, 0);
	return r;
}

static long write_new(int dir, const char *name, const char *text,
		      uint64_t mode)
{
	long n = (long)nb_length(text), r;
	long fd = nb_sys5(__NR_openat, dir, name,
			  O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			  mode, 0);

	if (fd < 0)
		return fd;
	r = nb_sys(__NR_write, fd, text, n);
	nb_sys(__NR_close, fd, 0, 0);
	return r < 0 ? r : r == n ? 0 : -EIO;
}

/* a new name in a directory: of a link, a directory or a file */
long nb_newinside(struct nb_plan *plan, struct nb_step *s)
{
	const char *name = nb_inplan(plan, s->b);
	const char *text = nb_inplan(plan, s->a);
	long dir = nb_base(plan, s);

	if (dir < 0)
		return dir;
	if (s->op == NB_STEP_LINK)
		return nb_sys(__NR_symlinkat, text, dir, name);
	return s->op == NB_STEP_DIRECTORY
		   ? nb_sys(__NR_mkdirat, dir, name, s->x)
		   : write_new((int)dir, name, text, s->x);
}

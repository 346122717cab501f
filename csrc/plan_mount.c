/*
 * plan_mount.c - the steps of a plan that mount
 *
 * Without a root file system of the box's own these are the plain system
 * calls, on paths.  With one, it is put over "/" first, and what comes later
 * is mounted inside it: see plan_inside.c.  The process itself stays in the
 * old root, where /proc and the sources are, until PIVOT.
 *
 * Compiled twice, like plan.c, and without libc for the same reason.
 *
 * mount(2), open_tree(2), move_mount(2), mount_setattr(2), pivot_root(2)
 */
#include <errno.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <stdbool.h>

#include "plan_mount.h"

#define MS_PRIVATE_ (1 << 18)
#define MOVE_TO_LINK                                                           \
	0x10 /* through a link, as mount(2): a mount on the                    \
	      * link itself is one that no path leads to */

static bool inside(const struct nb_plan *plan, const struct nb_step *s)
{
	return s->below || plan->root >= 0;
}

/* the top of what lies over "/": that itself is where we still are */
static long top(void)
{
	return nb_sys5(__NR_openat, AT_FDCWD, "/..",
		       O_PATH | O_DIRECTORY | O_CLOEXEC, 0, 0);
}

/* --- bind mounts in two parts, so that a source is taken before the mounts
 * around it become read-only or hidden --- */

/* Its path, if that still leads to what the program has as a stream: somebody
 * may have put another thing there, or it may be one of other mounts
 * (CVE-2025-52565). */
static long terminal(struct nb_plan *plan, const struct nb_step *s)
{
	const struct nb_file *want = nb_inplan(plan, s->b);
	struct nb_status st;
	long fd, r;

	if (!s->a)
		return -ENOENT;
	fd = nb_sys5(__NR_openat, AT_FDCWD, nb_inplan(plan, s->a),
		     O_PATH | O_CLOEXEC, 0, 0);
	if (fd < 0)
		return fd;
	r = nb_status((int)fd, &st);
	if (r == 0 && (st.dev != want->dev || st.ino != want->ino))
		r = -ESTALE;
	if (r < 0)
		nb_sys(__NR_close, fd, 0, 0);
	return r < 0 ? r : fd;
}

static long do_grab(struct nb_plan *plan, struct nb_step *s)
{
	const char *path = nb_inplan(plan, s->a);
	unsigned recursive = s->flags & NB_RECURSIVE ? AT_RECURSIVE : 0;
	bool open = s->below || s->flags & NB_TERMINAL;
	long fd, dir = AT_FDCWD;

	if (s->fd >= 0) /* a tree that came from the parent */
		return 0;
	s->c = 0;
	if (s->flags & NB_TERMINAL) {
		dir = terminal(plan, s);
	} else if (s->below) {
		dir = nb_base(plan, s);
		if (dir >= 0)
			dir = nb_find((int)dir, path, NB_NOFOLLOW);
	}
	if (open && dir < 0)
		return dir;
	if (open)
		path = "";
	fd = nb_sys(__NR_open_tree, dir, path,
		    TREE_CLONE | O_CLOEXEC | recursive |
			(*path ? 0 : AT_EMPTY_PATH));
	/* by its name it could be bound only when it is private */
	if ((fd == -ENOSYS || fd == -EPERM) && !s->x) {
		s->c = 1;
		fd = open ? dir
			  : nb_sys5(__NR_openat, AT_FDCWD, path,
				    O_PATH | O_CLOEXEC, 0, 0);
	} else if (open) {
		nb_sys(__NR_close, dir, 0, 0);
	}
	if (fd < 0)
		return fd;
	s->fd = (int32_t)fd;
	return 0;
}

static long place_by_path(struct nb_plan *plan, struct nb_step *s,
			  struct nb_step *from)
{
	const char *target = nb_inplan(plan, s->b);
	bool recursive = from->flags & NB_RECURSIVE;
	char link[32];
	long r = 0;
	bool late = true;

	if (from->c == 0) {
		if (s->x) {
			r = nb_rawsetattr(from->fd, "", s->x, 0, 0, 0,
					  recursive);
			if (r < 0 && r != -ENOSYS)
				return r;
		}
		late = r == -ENOSYS;
		r = nb_sys5(__NR_move_mount, from->fd, "", AT_FDCWD, target,
			    MOVE_FROM_FD | MOVE_TO_LINK);
	} else {
		nb_fdpath(link, from->fd);
		r = nb_sys5(__NR_mount, link, target, "none",
			    MS_BIND_ | (recursive ? MS_REC : 0), NULL);
	}
	nb_drop(&from->fd);
	if (r == 0 && late && (s->x || (from->c && s->z)))
		r = nb_setattr(AT_FDCWD, target, s->x, from->c ? s->z : 0, 0,
			       recursive);
	return r;
}

/* who may not would fail at the first thing in it, and that be blamed */
static long may_enter(const struct nb_plan *plan)
{
	return nb_sys(__NR_fchdir, plan->root, 0, 0);
}

/* from here on things are made, and the caller's is for what the caller makes
 */
static void no_umask(struct nb_plan *plan)
{
	if (plan->umask < 0)
		plan->umask = (int32_t)nb_sys(__NR_umask, 0, 0, 0);
}

/* over "/", from where it becomes the root */
static long place_root(struct nb_plan *plan, struct nb_step *s,
		       struct nb_step *from)
{
	struct nb_status st;
	char link[32];
	long r = nb_status(from->fd, &st);

	if (r == 0 && st.type != NB_IS_DIR)
		r = -ENOTDIR;
	if (r < 0)
		return r;
	if (from->c == 0) {
		r = nb_sys5(__NR_move_mount, from->fd, "", AT_FDCWD, "/",
			    MOVE_FROM_FD);
	} else {
		nb_fdpath(link, from->fd);
		r = nb_sys5(__NR_mount, link, "/", "none", MS_BIND_ | MS_REC,
			    NULL);
	}
	nb_drop(&from->fd);
	r = r < 0 ? r : top();
	if (r < 0)
		return r;
	plan->root = s->fd = (int32_t)r;
	no_umask(plan);
	r = may_enter(plan);
	if (r < 0)
		return r;
	/* a tree that came from the parent may be a peer of a mount there */
	nb_fdpath(link, s->fd);
	r = nb_sys5(__NR_mount, "none", link, "none", MS_PRIVATE_ | MS_REC,
		    NULL);
	if (r < 0)
		return r;
	return s->x ? nb_setattrin(plan->root, s->fd, s->x, 0, true) : 0;
}

static long do_place(struct nb_plan *plan, struct nb_step *s)
{
	struct nb_step *from = nb_stepof(plan, s->y);

	if (from->fd < 0) /* an optional one that was missing */
		return 0;
	if (s->flags & NB_ROOT)
		return place_root(plan, s, from);
	return inside(plan, s) ? nb_placeinside(plan, s, from)
			       : place_by_path(plan, s, from);
}

static long do_mount(struct nb_plan *plan, struct nb_step *s)
{
	long r;

	if (inside(plan, s))
		return nb_mountinside(plan, s);
	r = nb_sys5(__NR_mount, nb_textinplan(plan, s->a),
		    nb_textinplan(plan, s->b), nb_textinplan(plan, s->c), s->x,
		    nb_textinplan(plan, s->d));
	if (r < 0 || !(s->flags & (NB_ROOT | NB_SCRATCH)))
		return r;
	r = top();
	if (r < 0)
		return r;
	s->fd = (int32_t)r;
	no_umask(plan);
	if (!(s->flags & NB_ROOT))
		return 0;
	plan->root = s->fd;
	return may_enter(plan);
}

static long do_attr(struct nb_plan *plan, struct nb_step *s)
{
	const char *path = nb_inplan(plan, s->a);
	long dir, fd;

	if (!inside(plan, s))
		return nb_setattr(AT_FDCWD, path, s->x, s->y, 0,
				  s->flags & NB_RECURSIVE);
	dir = nb_base(plan, s);
	fd = dir < 0 ? dir : nb_find((int)dir, path, s->flags & NB_NOFOLLOW);
	if (fd < 0)
		return fd;
	s->fd = (int32_t)fd;
	return nb_setattrin(plan->root, s->fd, s->x, s->y,
			    s->flags & NB_RECURSIVE);
}

/* --- the end of the old root --- */

static bool holds(const struct nb_step *s)
{
	return s->op == NB_STEP_GRAB || s->op == NB_STEP_PLACE ||
	       s->op == NB_STEP_MOUNT || s->op == NB_STEP_ATTR;
}

#define MOST_LAYERS 8 /* over the new root; there are one or two */

/* whether nothing lies over the root that we are in */
static long is_bare(const struct nb_status *root)
{
	struct nb_status above;
	long fd = top(), r;

	if (fd < 0)
		return fd;
	r = nb_status((int)fd, &above);
	nb_sys(__NR_close, fd, 0, 0);
	return r < 0 ? r : above.mnt == root->mnt ? 0 : -EBUSY;
}

/*
 * The scratch, and the new root on it, from "/" to where they are below the old
 * root: what goes with that needs no unmount of its own, and each of them waits
 * for a grace period of RCU.  Where this fails they stay, and have one.
 */
static void move_scratch(struct nb_plan *plan, uint32_t end)
{
	for (uint32_t i = 0; i < end; i++) {
		const struct nb_step *s = nb_stepof(plan, i);

		if (s->op == NB_STEP_MOUNT && s->flags & NB_SCRATCH)
			nb_sys5(__NR_move_mount, s->fd, "", AT_FDCWD, "/proc",
				MOVE_FROM_FD);
	}
}

/*
 * The new root has all that is in it; the old one is stacked on it for a
 * moment, and goes with all that is mounted below.  No descriptor stays open
 * through which one could come back (CVE-2016-9962, CVE-2024-21626).
 */
static long do_pivot(struct nb_plan *plan, uint32_t end)
{
	struct nb_status root;
	long r = nb_status(plan->root, &root);

	move_scratch(plan, end);
	if (r == 0)
		r = nb_sys(__NR_fchdir, plan->root, 0, 0);
	if (r == 0)
		r = nb_sys(__NR_pivot_root, ".", ".", 0);
	if (r == 0)
		r = is_bare(&root);
	/* not until it fails: the new root, too, could be unmounted where no
	 * user namespace locks it */
	for (int layers = 0; r == -EBUSY && layers < MOST_LAYERS; layers++) {
		r = nb_sys(__NR_umount2, ".", 2 /* MNT_DETACH */, 0);
		if (r == 0)
			r = is_bare(&root);
	}
	if (r == 0)
		r = nb_sys(__NR_chdir, "/", 0, 0);
	for (uint32_t i = 0; i < end; i++) {
		struct nb_step *s = nb_stepof(plan, i);

		if (holds(s))
			nb_drop(&s->fd);
	}
	nb_drop(&plan->null);
	nb_drop(&plan->empty);
	plan->root = -1;
	return r;
}

static long do_umask(struct nb_plan *plan)
{
	if (plan->umask >= 0)
		nb_sys(__NR_umask, plan->umask, 0, 0);
	plan->umask = -1;
	return 0;
}

long nb_mountstep(struct nb_plan *plan, struct nb_step *s, uint32_t number)
{
	switch ((enum nb_stepop)s->op) {
	case NB_STEP_MOUNT:
		return do_mount(plan, s);
	case NB_STEP_GRAB:
		return do_grab(plan, s);
	case NB_STEP_PLACE:
		return do_place(plan, s);
	case NB_STEP_ATTR:
		return do_attr(plan, s);
	case NB_STEP_MASK:
		return nb_maskinside(plan, s);
	case NB_STEP_UMASK:
		return do_umask(plan);
	case NB_STEP_LINK:
	case NB_STEP_FILE:
	case NB_STEP_DIRECTORY:
		return nb_newinside(plan, s);
	case NB_STEP_PIVOT:
		return do_pivot(plan, number);
	default:
		return -ENOSYS;
	}
}

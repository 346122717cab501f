/*
 * plan_mount.c - the steps of a plan that mount
 *
 * Compiled twice, like plan.c, and without libc for the same reason.
 *
 * mount(2), open_tree(2), move_mount(2), mount_setattr(2)
 */
#include <errno.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <stdbool.h>

#include "bare.h"
#include "plan.h"
#include "sys.h"

/* --- bind mounts in two parts, so that a source is taken before the mounts
 * around it become read-only or hidden --- */

static long do_grab(struct nb_plan *plan, struct nb_step *s)
{
	const char *path = nb_inplan(plan, s->a);
	unsigned int recursive = s->flags & NB_RECURSIVE ? AT_RECURSIVE : 0;
	long fd = nb_sys(__NR_open_tree, AT_FDCWD, path,
			 1 /* OPEN_TREE_CLONE */ | O_CLOEXEC | recursive);

	s->c = 0;
	if (fd == -ENOSYS || fd == -EPERM) {
		fd = nb_sys5(__NR_openat, AT_FDCWD, path, O_PATH | O_CLOEXEC, 0,
			     0);
		s->c = 1;
	}
	if (fd < 0)
		return fd;
	s->fd = (int32_t)fd;
	return 0;
}

static long do_place(struct nb_plan *plan, struct nb_step *s)
{
	struct nb_step *steps = nb_inplan(plan, plan->steps);
	struct nb_step *from = &steps[s->y];
	const char *target = nb_inplan(plan, s->b);
	int recursive = from->flags & NB_RECURSIVE;
	char link[32];
	long r = 0;
	bool late = true;

	if (from->fd < 0) /* an optional one that was missing */
		return 0;
	if (from->c == 0) {
		if (s->x) {
			struct nb_mountattr attr;

			attr.set = s->x;
			attr.clr = attr.propagation = attr.userns_fd = 0;
			r = nb_sys5(__NR_mount_setattr, from->fd, "",
				    AT_EMPTY_PATH |
					(recursive ? AT_RECURSIVE : 0),
				    &attr, sizeof(attr));
			if (r < 0 && r != -ENOSYS)
				return r;
		}
		late = r == -ENOSYS;
		/* through a symbolic link, as mount(2): a mount on the link
		 * itself is one that no path leads to */
		r = nb_sys5(__NR_move_mount, from->fd, "", AT_FDCWD, target,
			    4 /* MOVE_MOUNT_F_EMPTY_PATH */ |
				0x10 /* MOVE_MOUNT_T_SYMLINKS */);
	} else {
		nb_fdpath(link, from->fd);
		r = nb_sys5(__NR_mount, link, target, "none",
			    4096 /* MS_BIND */ | (recursive ? MS_REC : 0),
			    NULL);
	}
	nb_sys(__NR_close, from->fd, 0, 0);
	if (r == 0 && late && (s->x || (from->c && s->z)))
		r = nb_setattr(AT_FDCWD, target, s->x, from->c ? s->z : 0, 0,
			       recursive);
	return r;
}

long nb_mountstep(struct nb_plan *plan, struct nb_step *s)
{
	switch ((enum nb_stepop)s->op) {
	case NB_STEP_MOUNT:
		return nb_sys5(__NR_mount, nb_textinplan(plan, s->a),
			       nb_textinplan(plan, s->b),
			       nb_textinplan(plan, s->c), s->x,
			       nb_textinplan(plan, s->d));
	case NB_STEP_GRAB:
		return do_grab(plan, s);
	case NB_STEP_PLACE:
		return do_place(plan, s);
	case NB_STEP_ATTR:
		return nb_setattr(AT_FDCWD, nb_inplan(plan, s->a), s->x, s->y,
				  0, s->flags & NB_RECURSIVE);
	default:
		return -ENOSYS;
	}
}

/*
 * plan_mount.h - what the files that mount for a plan share
 */
#ifndef NB_PLAN_MOUNT_H
#define NB_PLAN_MOUNT_H

#include <errno.h>
#include <stdbool.h>

#include "bare.h"
#include "plan.h"
#include "sys.h"

#define MS_BIND_ 4096
#define TREE_CLONE 1
#define MOVE_FROM_FD 0x4

static inline void nb_drop(int *fd)
{
	if (*fd >= 0)
		nb_sys(__NR_close, *fd, 0, 0);
	*fd = -1;
}

static inline struct nb_step *nb_stepof(struct nb_plan *plan, uint64_t number)
{
	return (struct nb_step *)nb_inplan(plan, plan->steps) + number;
}

/* where the paths of a step begin: in the mount of another one, or the root */
static inline long nb_base(struct nb_plan *plan, const struct nb_step *s)
{
	long fd = s->below ? nb_stepof(plan, s->below - 1)->fd : plan->root;

	return fd < 0 && s->below ? -ENOENT : fd;
}

/* inside a root of the box's own (plan_inside.c); 0 or -errno */
long nb_placeinside(struct nb_plan *plan, struct nb_step *s,
		    struct nb_step *from);
long nb_mountinside(struct nb_plan *plan, struct nb_step *s);
long nb_maskinside(struct nb_plan *plan, struct nb_step *s);
long nb_newinside(struct nb_plan *plan, struct nb_step *s);

#endif

/*
 * plan_limits.c - the steps of a plan that say how much a program may have,
 * and the child's side of those that its parent does
 *
 * Compiled twice, like plan.c, and without libc for the same reason.
 *
 * getrlimit(2), sched_setaffinity(2), setpriority(2)
 */
#include <errno.h>
#include <stdbool.h>

#include "bare.h"
#include "plan.h"
#include "sys.h"

static bool has(const uint8_t *mask, uint64_t size, uint64_t cpu)
{
	return cpu / 8 < size && mask[cpu / 8] >> cpu % 8 & 1;
}

/* the kernel takes what it has of the list, and says nothing of the rest */
static long do_affinity(const uint8_t *mask, uint64_t size, int32_t *missing)
{
	uint8_t now[NB_CPUS / 8];
	long n, r = nb_sys(__NR_sched_setaffinity, 0, size, mask);

	if (r < 0 && r != -EINVAL)
		return r;
	n = r < 0 ? 0 : nb_sys(__NR_sched_getaffinity, 0, sizeof(now), now);
	if (n < 0)
		return n;
	for (uint64_t cpu = 0; cpu < size * 8; cpu++)
		if (has(mask, size, cpu) && !has(now, (uint64_t)n, cpu)) {
			*missing = (int32_t)cpu;
			return -EINVAL;
		}
	return r;
}

long nb_limitstep(struct nb_plan *plan, struct nb_step *s)
{
	uint64_t limit[2];

	switch ((enum nb_stepop)s->op) {
	case NB_STEP_NICE:
		return nb_sys(__NR_setpriority, 0 /* PRIO_PROCESS */, 0, s->x);
	case NB_STEP_AFFINITY:
		return do_affinity(nb_inplan(plan, s->a), s->x, &s->fd);
	case NB_STEP_RLIMIT:
		limit[0] = s->y;
		limit[1] = s->z;
		return nb_sys5(__NR_prlimit64, 0, s->x, limit, NULL, 0);
	default:
		return -ENOSYS;
	}
}

/*
 * spawn_limits.c - the fields `rlimits oom_score_adj nice affinity` of a plan,
 * and those of their steps that the parent does
 *
 * To have more than before takes a privilege in the first user namespace, and
 * the child may have left that one at birth: it asks its parent, which also
 * writes oom_score_adj at all times.  That value is one for all processes that
 * share a memory, so the child has to be nsbox-init by then.
 *
 * What a program may have less of it gets just before exec: a launch is not to
 * fail for want of descriptors.
 *
 * getrlimit(2), sched_setaffinity(2), setpriority(2), proc_pid_oom_score_adj(5)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "builder.h"

static const char *const resources[] = {[RLIMIT_AS] = "as",
					[RLIMIT_CORE] = "core",
					[RLIMIT_CPU] = "cpu",
					[RLIMIT_DATA] = "data",
					[RLIMIT_FSIZE] = "fsize",
					[RLIMIT_LOCKS] = "locks",
					[RLIMIT_MEMLOCK] = "memlock",
					[RLIMIT_MSGQUEUE] = "msgqueue",
					[RLIMIT_NICE] = "nice",
					[RLIMIT_NOFILE] = "nofile",
					[RLIMIT_NPROC] = "nproc",
					[RLIMIT_RSS] = "rss",
					[RLIMIT_RTPRIO] = "rtprio",
					[RLIMIT_RTTIME] = "rttime",
					[RLIMIT_SIGPENDING] = "sigpending",
					[RLIMIT_STACK] = "stack",
					[RLIM_NLIMITS] = NULL};

const char *nb_resource(uint64_t number)
{
	return number < RLIM_NLIMITS ? resources[number] : NULL;
}

/* the number of steps that there will be at most */
uint32_t nb_countlimits(struct nb_builder *b)
{
	return (nb_given(b, "rlimits") ? 2 * RLIM_NLIMITS : 0) + 3;
}

static rlim_t one_limit(lua_State *L, int t, int i, const char *name)
{
	const char *word;
	lua_Integer n = -1;
	int integer = 0;

	lua_geti(L, t, i);
	word = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
	if (!word && lua_type(L, -1) == LUA_TNUMBER)
		n = lua_tointegerx(L, -1, &integer);
	if ((!word || strcmp(word, "unlimited") != 0) && n < 0)
		luaL_error(L, "rlimits: %s: expected a number or 'unlimited'",
			   name);
	lua_pop(L, 1);
	return word ? RLIM_INFINITY : (rlim_t)n;
}

/* soft and hard limit of a resource of the table on top, if it has any */
static bool wanted(lua_State *L, int resource, struct rlimit *limit)
{
	const char *name = resources[resource];
	bool there = lua_getfield(L, -1, name) != LUA_TNIL;
	int t = lua_gettop(L);

	if (there) {
		if (!lua_istable(L, t))
			luaL_error(L,
				   "rlimits: %s: expected { soft, hard }, "
				   "got %s",
				   name, luaL_typename(L, t));
		limit->rlim_cur = one_limit(L, t, 1, name);
		limit->rlim_max = one_limit(L, t, 2, name);
		if (limit->rlim_cur > limit->rlim_max)
			luaL_error(L, "rlimits: %s: soft is above hard", name);
	}
	lua_pop(L, 1);
	return there;
}

/* calls add for each resource that the plan has limits of */
static void each_limit(struct nb_builder *b,
		       void (*add)(struct nb_builder *b, int resource,
				   const struct rlimit *limit))
{
	lua_State *L = b->L;
	struct rlimit limit;

	if (lua_getfield(L, b->table, "rlimits") != LUA_TNIL) {
		if (!lua_istable(L, -1))
			luaL_error(L, "rlimits: expected a table, got %s",
				   luaL_typename(L, -1));
		nb_checkfields(L, lua_gettop(L), resources, "rlimits");
		for (int i = 0; i < (int)RLIM_NLIMITS; i++)
			if (wanted(L, i, &limit))
				add(b, i, &limit);
	}
	lua_pop(L, 1);
}

/* a hard limit can be raised only from outside */
static void add_raised(struct nb_builder *b, int resource,
		       const struct rlimit *limit)
{
	struct rlimit now;
	struct nb_step *s;

	if (getrlimit((__rlimit_resource_t)resource, &now) < 0 ||
	    limit->rlim_max <= now.rlim_max)
		return;
	s = nb_step(b, NB_STEP_HARD);
	s->flags = NB_OUTSIDE;
	s->x = (uint64_t)resource;
	s->y = limit->rlim_max;
}

static bool integer_field(struct nb_builder *b, const char *name, int min,
			  int max, int *value)
{
	bool there = nb_given(b, name);

	if (there)
		*value = (int)nb_fieldint(b->L, b->table, name, min, max, 0);
	return there;
}

static void add_affinity(struct nb_builder *b)
{
	lua_State *L = b->L;
	lua_Integer n = nb_count(L, b->table, "affinity");
	uint8_t mask[NB_CPUS / 8] = {0};
	uint32_t size = 0, offset;
	struct nb_step *s;

	lua_getfield(L, b->table, "affinity");
	for (lua_Integer i = 1; i <= n; i++) {
		int integer;
		lua_Integer cpu;

		lua_geti(L, -1, i);
		cpu = lua_tointegerx(L, -1, &integer);
		if (!integer || cpu < 0 || cpu >= NB_CPUS)
			luaL_error(L, "affinity[%d]: expected a cpu, 0 to %d",
				   (int)i, NB_CPUS - 1);
		mask[cpu / 8] |= (uint8_t)(1 << cpu % 8);
		/* whole words, as the kernel has them */
		if ((uint32_t)cpu / 64 * 8 + 8 > size)
			size = (uint32_t)cpu / 64 * 8 + 8;
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	if (size == 0)
		luaL_error(L, "affinity: needs at least one cpu");
	offset = nb_put(b, mask, size);
	s = nb_step(b, NB_STEP_AFFINITY);
	s->a = offset;
	s->x = size;
}

/* what holds from here on, in nsbox-init, too; whether it takes the parent */
bool nb_addlimits(struct nb_builder *b)
{
	uint32_t first = nb_plan(b)->nsteps;
	struct nb_step *s;
	bool outside = false;
	int value;

	each_limit(b, add_raised);
	if (integer_field(b, "oom_score_adj", -1000, 1000, &value)) {
		s = nb_step(b, NB_STEP_OOM);
		s->flags = NB_OUTSIDE;
		s->x = (uint64_t)(int64_t)value;
	}
	if (integer_field(b, "nice", -20, 19, &value)) {
		s = nb_step(b, NB_STEP_NICE);
		s->x = (uint64_t)(int64_t)value;
		if (value < getpriority(PRIO_PROCESS, 0))
			s->flags = NB_OUTSIDE;
	}
	if (nb_given(b, "affinity"))
		add_affinity(b);
	s = (struct nb_step *)nb_at(b, nb_plan(b)->steps);
	for (uint32_t i = first; i < nb_plan(b)->nsteps; i++)
		outside |= s[i].flags & NB_OUTSIDE;
	return outside;
}

static void add_limit(struct nb_builder *b, int resource,
		      const struct rlimit *limit)
{
	struct nb_step *s = nb_step(b, NB_STEP_RLIMIT);

	s->x = (uint64_t)resource;
	s->y = limit->rlim_cur;
	s->z = limit->rlim_max;
}

/* what only the program has to live with */
void nb_addrlimits(struct nb_builder *b)
{
	each_limit(b, add_limit);
}

/* --- in the parent --- */

static int raise_hard(pid_t pid, uint64_t resource, uint64_t hard)
{
	__rlimit_resource_t r = (__rlimit_resource_t)resource;
	struct rlimit limit;

	if (prlimit(pid, r, NULL, &limit) < 0)
		return -errno;
	limit.rlim_max = hard;
	return prlimit(pid, r, &limit, NULL) < 0 ? -errno : 0;
}

int nb_outside(pid_t pid, const struct nb_step *s)
{
	int value = (int)(int64_t)s->x;
	char text[12];

	switch ((enum nb_stepop)s->op) {
	case NB_STEP_HARD:
		return raise_hard(pid, s->x, s->y);
	case NB_STEP_OOM:
		snprintf(text, sizeof(text), "%d", value);
		return nb_writeproc(pid, "oom_score_adj", text);
	case NB_STEP_NICE:
		return setpriority(PRIO_PROCESS, (id_t)pid, value) < 0 ? -errno
								       : 0;
	default:
		return -ENOSYS;
	}
}

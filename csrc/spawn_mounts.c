/*
 * spawn_mounts.c - the field `mounts` of a plan, mount(2), open_tree(2)
 */
#include <stddef.h>
#include <string.h>

#include "builder.h"
#include "process.h"

static const char *const mount_fields[] = {
    "type",  "source", "target", "flags", "data",      "optional", "grab",
    "place", "attr",   "set",	 "clear", "recursive", NULL};

/* which step an element of the list became */
static uint32_t *step_numbers(struct nb_builder *b)
{
	return nb_at(b, b->mount_steps);
}

/* a tree is taken by one mount and placed by one later */
static void place_tree(struct nb_builder *b, struct nb_step *s, int i,
		       lua_Integer place)
{
	uint32_t number = step_numbers(b)[place - 1];
	struct nb_step *from =
	    (struct nb_step *)nb_at(b, nb_plan(b)->steps) + number;

	if (from->op != NB_STEP_GRAB)
		luaL_error(b->L, "mounts[%d]: mounts[%d] is no grab", i,
			   (int)place);
	if (from->y)
		luaL_error(b->L, "mounts[%d]: mounts[%d] is placed already", i,
			   (int)place);
	from->y = 1;
	s->y = number;
}

static void add_mount(struct nb_builder *b, int m, int i)
{
	lua_State *L = b->L;
	uint64_t set, clr;
	const char *grab = nb_fieldstring(L, m, "grab", NULL);
	const char *attr = nb_fieldstring(L, m, "attr", NULL);
	const char *target = nb_fieldstring(L, m, "target", NULL);
	lua_Integer place = nb_fieldint(L, m, "place", 1, i - 1, 0);
	struct nb_step *s;
	uint32_t o[4] = {0};
	uint16_t flags = 0;

	nb_checkattrs(L, m, &set, &clr);
	if (nb_fieldbool(L, m, "optional", false))
		flags |= NB_MISSING_OK;
	if (nb_fieldbool(L, m, "recursive", false))
		flags |= NB_RECURSIVE;
	if (grab) {
		o[0] = nb_putstring(b, grab);
		s = nb_step(b, NB_STEP_GRAB);
		s->fd = -1;
	} else if (attr) {
		o[0] = nb_putstring(b, attr);
		s = nb_step(b, NB_STEP_ATTR);
		s->x = set;
		s->y = clr;
	} else if (!target) {
		luaL_error(L, "mounts[%d]: needs a target", i);
		return;
	} else if (place) {
		o[1] = nb_putstring(b, target);
		s = nb_step(b, NB_STEP_PLACE);
		place_tree(b, s, i, place);
		s->x = set;
		s->z = clr;
	} else {
		uint64_t f =
		    nb_fieldwords(b, m, "flags", nb_mountflags, "mount flag");

		o[0] = nb_putstring(b, nb_fieldstring(L, m, "source", "none"));
		o[1] = nb_putstring(b, target);
		o[2] = nb_putstring(b, nb_fieldstring(L, m, "type", "none"));
		o[3] = nb_putstring(b, nb_fieldstring(L, m, "data", NULL));
		s = nb_step(b, NB_STEP_MOUNT);
		s->x = f;
	}
	s->flags = flags;
	s->a = o[0];
	s->b = o[1];
	s->c = o[2];
	s->d = o[3];
}

/* --- a list made ahead --- */

/* its steps, then their strings; offsets count from here */
struct made {
	uint32_t size, nsteps;
	struct nb_step steps[];
};

static void shift(uint32_t *offset, uint32_t by)
{
	if (*offset)
		*offset += by;
}

/* the same steps in another place: what they refer to has moved along */
static void move_steps(struct nb_step *s, uint32_t n, uint32_t by,
		       uint32_t first)
{
	for (; n > 0; n--, s++) {
		shift(&s->a, by);
		shift(&s->b, by);
		shift(&s->c, by);
		shift(&s->d, by);
		if (s->op == NB_STEP_PLACE)
			s->y += first;
	}
}

static void add_made(struct nb_builder *b, const struct made *m)
{
	uint32_t head = (uint32_t)offsetof(struct made, steps[m->nsteps]);
	uint32_t strings = nb_put(b, (const char *)m + head, m->size - head);
	uint32_t first = nb_plan(b)->nsteps;
	struct nb_step *s;

	for (uint32_t i = 0; i < m->nsteps; i++)
		*nb_step(b, (enum nb_stepop)m->steps[i].op) = m->steps[i];
	s = (struct nb_step *)nb_at(b, nb_plan(b)->steps) + first;
	move_steps(s, m->nsteps, strings - head, first);
}

static void add_element(struct nb_builder *b, int element, int i)
{
	lua_State *L = b->L;
	const struct made *m = luaL_testudata(L, element, NB_MOUNTS);

	step_numbers(b)[i - 1] = nb_plan(b)->nsteps;
	if (m) {
		add_made(b, m);
		return;
	}
	nb_checktable(b, element, "mounts", i);
	nb_checkfields(L, element, mount_fields, "mounts");
	add_mount(b, element, i);
}

uint32_t nb_countmounts(struct nb_builder *b)
{
	lua_State *L = b->L;
	lua_Integer n = nb_count(L, b->table, "mounts");
	uint32_t steps = 0;

	lua_getfield(L, b->table, "mounts");
	for (lua_Integer i = 1; i <= n; i++) {
		const struct made *m;

		lua_geti(L, -1, i);
		m = luaL_testudata(L, -1, NB_MOUNTS);
		steps += m ? m->nsteps : 1;
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	return steps;
}

void nb_addmounts(struct nb_builder *b)
{
	lua_Integer n = nb_count(b->L, b->table, "mounts");

	b->mount_steps = nb_reserve(b, (size_t)n * sizeof(uint32_t));
	nb_each(b, "mounts", n, add_element);
}

/***
Processes: start one in namespaces of its own, watch it, signal it.

@submodule nsbox.sys.process
*/

/***
Check a list of mounts once, for the plans of many launches.

The result stands for all of them, as one element of the field `mounts` of
@{spawn}'s plan.  It can be indexed like the list it was made of.
@function mounts
@tparam table list as the field `mounts`
@treturn mounts
*/
static int process_mounts(lua_State *L)
{
	struct nb_builder builder = {.L = L}, *b = &builder;
	struct made *m;

	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	/* as a plan, of which only the mounts are kept */
	lua_createtable(L, 0, 1);
	lua_pushvalue(L, 1);
	lua_setfield(L, -2, "mounts");
	b->table = 2;
	nb_beginplan(b, nb_countmounts(b));
	nb_addmounts(b);

	uint32_t steps = nb_plan(b)->steps, n = nb_plan(b)->nsteps;
	size_t size = b->a.len - steps, head = offsetof(struct made, steps);

	m = lua_newuserdatauv(L, head + size, 1);
	m->size = (uint32_t)(head + size);
	m->nsteps = n;
	memcpy(m->steps, nb_at(b, steps), size);
	move_steps(m->steps, n, (uint32_t)head - steps, 0);
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, -2, 1);
	luaL_setmetatable(L, NB_MOUNTS);
	return 1;
}

static int mounts_index(lua_State *L)
{
	luaL_checkudata(L, 1, NB_MOUNTS);
	lua_getiuservalue(L, 1, 1);
	lua_pushvalue(L, 2);
	lua_rawget(L, -2);
	return 1;
}

static int mounts_tostring(lua_State *L)
{
	const struct made *m = luaL_checkudata(L, 1, NB_MOUNTS);

	lua_pushfstring(L, "nsbox.mounts (%d)", (int)m->nsteps);
	return 1;
}

static const luaL_Reg mounts_meta[] = {
    {"__index", mounts_index}, {"__tostring", mounts_tostring}, {NULL, NULL}};

const luaL_Reg nb_mountsfuncs[] = {{"mounts", process_mounts}, {NULL, NULL}};

void nb_openmounts(lua_State *L)
{
	luaL_newmetatable(L, NB_MOUNTS);
	luaL_setfuncs(L, mounts_meta, 0);
	lua_pop(L, 1);
}

/*
 * spawn_caps.c - the fields `uid gid groups caps no_new_privs` of a plan, and
 * where its filter stands among them
 *
 * credentials(7), capabilities(7)
 */
#include <linux/capability.h>

#include "builder.h"

static const char *const cap_fields[] = {
    "bounding", "permitted", "effective", "inheritable", "ambient", NULL};

static bool idfield(struct nb_builder *b, const char *name, uint64_t *id)
{
	bool there = lua_getfield(b->L, b->table, name) != LUA_TNIL;

	if (there)
		*id = nb_checkid(b->L, -1, name);
	lua_pop(b->L, 1);
	return there;
}

static uint64_t capfield(struct nb_builder *b, int t, const char *name,
			 uint64_t def)
{
	uint64_t mask = def;

	if (t && lua_getfield(b->L, t, name) != LUA_TNIL)
		mask = nb_checkcaps(b->L, -1);
	if (t)
		lua_pop(b->L, 1);
	return mask;
}

static void add_groups(struct nb_builder *b, const char *name, bool try)
{
	lua_State *L = b->L;
	lua_Integer n = nb_count(L, b->table, name);
	uint32_t offset = nb_reserve(b, (size_t)n * 4);
	struct nb_step *s;
	int list;

	if (lua_getfield(L, b->table, name) != LUA_TNIL) {
		list = lua_gettop(L);
		for (lua_Integer i = 1; i <= n; i++) {
			lua_geti(L, list, i);
			((uint32_t *)nb_at(b, offset))[i - 1] =
			    nb_checkid(L, -1, name);
			lua_pop(L, 1);
		}
	}
	if (!lua_isnil(L, -1) && !(try && b->denies)) {
		s = nb_step(b, NB_STEP_GROUPS);
		s->a = offset;
		s->x = (uint64_t)n;
		s->y = try;
	}
	lua_pop(L, 1);
}

static bool no_new_privs(struct nb_builder *b)
{
	return nb_fieldbool(b->L, b->table, "no_new_privs", false);
}

/* the sets of the table at t, and this effective one */
static struct nb_step *add_caps(struct nb_builder *b, int t, uint64_t effective)
{
	uint64_t p = capfield(b, t, "permitted", 0);
	uint64_t i = capfield(b, t, "inheritable", 0);
	uint64_t e = capfield(b, t, "effective", p);
	struct nb_step *s = nb_step(b, NB_STEP_CAPS);

	s->x = p;
	s->y = i;
	s->z = e | effective;
	return s;
}

static void add_sets(struct nb_builder *b, int t, uint16_t flags)
{
	struct nb_step *s;

	add_caps(b, t, 0)->flags = flags;
	s = nb_step(b, NB_STEP_AMBIENT);
	s->x = capfield(b, t, "ambient", 0);
	s->flags = flags & NB_SURPLUS;
}

/* a filter needs CAP_SYS_ADMIN where new privileges have not been given up */
static bool needs_admin(struct nb_builder *b)
{
	return !no_new_privs(b) && nb_hasfilter(b);
}

/*
 * Whether more stays permitted than the program gets, until all else is done.
 * Who waits at a gate, or to watch, is not behind the filter, and there may be
 * programs beside him: who has less may not trace him, and make him do what a
 * filter keeps a program from.  See seal() in init.c.
 */
static bool late(struct nb_builder *b)
{
	return b->l->supervise || b->l->gate || needs_admin(b);
}

/* exec takes what is not in the bounding set, and so needs no capset, which a
 * filter may refuse */
static bool ends_by_exec(struct nb_builder *b, int t)
{
	return !b->l->function && !(capfield(b, t, "bounding", ALL_CAPS) &
				    ~capfield(b, t, "permitted", 0));
}

/* Where there is no such capability to raise, the filter's step says so; and
 * where none was left over, a filter may refuse to take them. */
void nb_addlast(struct nb_builder *b)
{
	lua_State *L = b->L;
	int t = 0;

	if (lua_getfield(L, b->table, "caps") != LUA_TNIL)
		t = lua_gettop(L);
	if (t && needs_admin(b))
		add_caps(b, t, UINT64_C(1) << CAP_SYS_ADMIN)->flags =
		    NB_PERMITTED | NB_TRY;
	if (nb_hasfilter(b))
		nb_putfilter(b);
	if (t && late(b) && !ends_by_exec(b, t))
		add_sets(b, t, needs_admin(b) ? 0 : NB_SURPLUS);
	lua_pop(L, 1);
}

/* bounding set, ids, the other sets: the order of runc and crun.  Changing
 * from root clears the capabilities, unless keepcaps says otherwise */
void nb_addprivilege(struct nb_builder *b, int pdeathsig)
{
	lua_State *L = b->L;
	uint64_t uid = 0, gid = 0;
	bool has_uid = idfield(b, "uid", &uid);
	bool has_gid = idfield(b, "gid", &gid);
	int t = 0;

	if (lua_getfield(L, b->table, "caps") != LUA_TNIL) {
		t = lua_gettop(L);
		if (!lua_istable(L, t))
			luaL_error(L, "caps: expected a table, got %s",
				   luaL_typename(L, t));
		nb_checkfields(L, t, cap_fields, "caps");
		nb_stepx(b, NB_STEP_BOUNDING,
			 capfield(b, t, "bounding", ALL_CAPS));
	}
	add_groups(b, "groups", false);
	add_groups(b, "trygroups", true);
	if (t && has_uid)
		nb_stepx(b, NB_STEP_KEEPCAPS, 1);
	if (has_gid)
		nb_stepx(b, NB_STEP_GID, gid);
	if (has_uid)
		nb_stepx(b, NB_STEP_UID, uid);
	if (t && has_uid)
		nb_stepx(b, NB_STEP_KEEPCAPS, 0);
	if (t)
		add_sets(b, t, late(b) ? NB_PERMITTED : 0);
	lua_pop(L, 1);
	/* a change of ids cleared it */
	if ((has_uid || has_gid) && pdeathsig)
		nb_stepx(b, NB_STEP_PDEATHSIG, (uint64_t)pdeathsig);
	if (no_new_privs(b))
		nb_step(b, NB_STEP_NNP);
}

/*
 * spawn_mounts.c - the field `mounts` of a plan, mount(2), open_tree(2)
 */
#include <stddef.h>
#include <string.h>

#include "builder.h"
#include "process.h"

static const char *const mount_fields[] = {
    "type",    "source",   "target",  "flags",	   "data",  "optional",
    "grab",    "place",	   "attr",    "set",	   "clear", "recursive",
    "tree",    "below",	   "make",    "nofollow",  "root",  "scratch",
    "instead", "mask",	   "symlink", "content",   "mode",  "pivot",
    "uid",     "gid",	   "try",     "directory", "slave", "write",
    "idmap",   "terminal", NULL};

/* which step an element of the list became */
static uint32_t *step_numbers(struct nb_builder *b)
{
	return nb_at(b, b->mount_steps);
}

static struct nb_step *grabbed(struct nb_builder *b, int i, lua_Integer grab)
{
	struct nb_step *from = (struct nb_step *)nb_at(b, nb_plan(b)->steps) +
			       step_numbers(b)[grab - 1];

	if (from->op != NB_STEP_GRAB)
		luaL_error(b->L, "mounts[%d]: mounts[%d] is no grab", i,
			   (int)grab);
	return from;
}

/* a tree is taken by one mount and placed by one later */
static void place_tree(struct nb_builder *b, struct nb_step *s, int i,
		       lua_Integer place)
{
	struct nb_step *from = grabbed(b, i, place);

	if (from->y)
		luaL_error(b->L, "mounts[%d]: mounts[%d] is placed already", i,
			   (int)place);
	from->y = 1;
	s->y = step_numbers(b)[place - 1];
}

/* by the parent, once it has written the maps */
static struct nb_step *add_idmap(struct nb_builder *b, int i, lua_Integer grab)
{
	struct nb_step *s;

	if (!b->l || !(b->l->uid_map || b->l->gid_map))
		luaL_error(b->L,
			   "mounts[%d]: idmap: needs the maps of the plan "
			   "itself, of more than the caller's own ids",
			   i);
	if (grabbed(b, i, grab)->fd < 0)
		luaL_error(b->L, "mounts[%d]: idmap: mounts[%d] has no tree", i,
			   (int)grab);
	s = nb_step(b, NB_STEP_IDMAP);
	s->y = step_numbers(b)[grab - 1];
	return s;
}

/* 1 + the step in whose mount this one's paths begin, 0: none */
static uint32_t base_of(struct nb_builder *b, int m, int i)
{
	lua_Integer n = nb_fieldint(b->L, m, "below", 1, i - 1, 0);
	uint32_t number;

	if (!n)
		return 0;
	number = step_numbers(b)[n - 1];
	((struct nb_step *)nb_at(b, nb_plan(b)->steps))[number].flags |=
	    NB_BASE;
	return number + 1;
}

static uint16_t step_flags(lua_State *L, int m)
{
	static const struct {
		const char *name;
		uint16_t flag;
	} known[] = {
	    {"optional", NB_MISSING_OK}, {"try", NB_TRY},
	    {"recursive", NB_RECURSIVE}, {"make", NB_MAKE},
	    {"nofollow", NB_NOFOLLOW},	 {"root", NB_ROOT},
	    {"scratch", NB_SCRATCH},	 {"terminal", NB_TERMINAL},
	};
	uint16_t flags = 0;

	for (size_t k = 0; k < NB_COUNT(known); k++)
		if (nb_fieldbool(L, m, known[k].name, false))
			flags |= known[k].flag;
	return flags;
}

/* after it, a child that shares our memory would have changed its ids there */
static struct nb_step *become(struct nb_builder *b, int m, int i)
{
	lua_State *L = b->L;
	struct nb_step *s = NULL;

	for (int k = 0; k < 2 && !s; k++) {
		const char *name = k ? "gid" : "uid";

		if (lua_getfield(L, m, name) != LUA_TNIL) {
			if (!b->l || !(b->l->init || b->l->function))
				luaL_error(L,
					   "mounts[%d]: %s: needs the %s of "
					   "the plan itself",
					   i, name, name);
			s = nb_step(b, k ? NB_STEP_GID : NB_STEP_UID);
			s->x = nb_checkid(L, -1, name);
		}
		lua_pop(L, 1);
	}
	return s;
}

static const struct {
	const char *field;
	enum nb_stepop op;
	const char *mode; /* NULL: it has none */
} makers[] = {
    {"symlink", NB_STEP_LINK, NULL},
    {"content", NB_STEP_FILE, "0644"},
    {"directory", NB_STEP_DIRECTORY, "0755"},
};

/* a new name: its mode is that of the element */
static struct nb_step *add_maker(struct nb_builder *b, int m, int i,
				 const char *target)
{
	lua_State *L = b->L;

	for (size_t k = 0; k < NB_COUNT(makers); k++) {
		const char *text = nb_fieldstring(L, m, makers[k].field, NULL);
		struct nb_step *s;
		uint32_t o, name;

		if (!text)
			continue;
		if (makers[k].op == NB_STEP_DIRECTORY)
			target = text;
		if (!target)
			luaL_error(L, "mounts[%d]: needs a target", i);
		o = nb_putstring(b, text);
		name = nb_putstring(b, target);
		s = nb_step(b, makers[k].op);
		s->a = o;
		s->b = name;
		if (makers[k].mode) {
			lua_getfield(L, m, "mode");
			s->x = nb_checkmode(L, -1, makers[k].mode);
			lua_pop(L, 1);
		}
		return s;
	}
	return NULL;
}

/* what is not mounted, but made, covered or left behind */
static struct nb_step *add_other(struct nb_builder *b, int m, int i,
				 const char *target)
{
	const char *mask = nb_fieldstring(b->L, m, "mask", NULL);
	const char *file = nb_fieldstring(b->L, m, "write", NULL);
	struct nb_step *s;

	if (mask)
		return nb_stepstring(b, NB_STEP_MASK, mask);
	if (file) {
		uint32_t data =
		    nb_putstring(b, nb_fieldstring(b->L, m, "data", ""));

		s = nb_stepstring(b, NB_STEP_WRITE, file);
		s->b = data;
		return s;
	}
	if (nb_fieldbool(b->L, m, "pivot", false))
		return nb_step(b, NB_STEP_PIVOT);
	s = add_maker(b, m, i, target);
	return s ? s : become(b, m, i);
}

/* an open one, which comes along */
static int tree_field(lua_State *L, int m)
{
	int fd = -1;

	if (lua_getfield(L, m, "tree") != LUA_TNIL)
		fd = nb_checkfd(L, -1);
	lua_pop(L, 1);
	return fd;
}

static struct nb_step *add_filesystem(struct nb_builder *b, int m,
				      const char *target)
{
	lua_State *L = b->L;
	uint64_t f = nb_fieldwords(b, m, "flags", nb_mountflags, "mount flag");
	uint32_t o[5];
	struct nb_step *s;

	o[0] = nb_putstring(b, nb_fieldstring(L, m, "source", "none"));
	o[1] = nb_putstring(b, target);
	o[2] = nb_putstring(b, nb_fieldstring(L, m, "type", "none"));
	o[3] = nb_putstring(b, nb_fieldstring(L, m, "data", NULL));
	o[4] = nb_putstring(b, nb_fieldstring(L, m, "instead", NULL));
	s = nb_step(b, NB_STEP_MOUNT);
	s->a = o[0];
	s->b = o[1];
	s->c = o[2];
	s->d = o[3];
	s->x = f;
	s->y = o[4];
	return s;
}

static void add_mount(struct nb_builder *b, int m, int i)
{
	lua_State *L = b->L;
	uint64_t set, clr;
	const char *grab = nb_fieldstring(L, m, "grab", NULL);
	const char *attr = nb_fieldstring(L, m, "attr", NULL);
	const char *target = nb_fieldstring(L, m, "target", NULL);
	lua_Integer place = nb_fieldint(L, m, "place", 1, i - 1, 0);
	lua_Integer idmap = nb_fieldint(L, m, "idmap", 1, i - 1, 0);
	int tree = tree_field(L, m);
	struct nb_step *s;
	uint32_t o;

	nb_checkattrs(L, m, &set, &clr);
	if (tree >= 0 && !grab)
		luaL_error(L, "mounts[%d]: tree: needs a name, its grab", i);
	if (grab || nb_fieldbool(L, m, "terminal", false)) {
		o = nb_putstring(b, grab);
		s = nb_step(b, NB_STEP_GRAB);
		s->a = o;
		s->x = nb_fieldbool(L, m, "slave", false);
	} else if (attr) {
		s = nb_stepstring(b, NB_STEP_ATTR, attr);
		s->x = set;
		s->y = clr;
	} else if (place && (target || nb_fieldbool(L, m, "root", false))) {
		o = nb_putstring(b, target ? target : "/");
		s = nb_step(b, NB_STEP_PLACE);
		s->b = o;
		place_tree(b, s, i, place);
		s->x = set;
		s->z = clr;
	} else if (idmap) {
		s = add_idmap(b, i, idmap);
	} else {
		s = add_other(b, m, i, target);
		if (!s && target)
			s = add_filesystem(b, m, target);
	}
	if (!s) {
		luaL_error(L, "mounts[%d]: needs a target", i);
		return;
	}
	s->fd = tree;
	s->flags = step_flags(L, m);
	s->below = base_of(b, m, i);
}

/* the trees of the list, as int32_t at to[n...]; how many there are then */
uint64_t nb_listtrees(struct nb_builder *b, uint32_t to, uint64_t n,
		      uint64_t most)
{
	lua_State *L = b->L;

	lua_getfield(L, b->table, "mounts");
	for (lua_Integer i = 1; i <= b->nmounts; i++) {
		int fd;

		lua_geti(L, -1, i);
		fd = lua_istable(L, -1) ? tree_field(L, lua_gettop(L)) : -1;
		lua_pop(L, 1);
		if (fd < 0)
			continue;
		if (n == most)
			luaL_error(L, "mounts: too many trees");
		((int32_t *)nb_at(b, to))[n++] = fd;
	}
	lua_pop(L, 1);
	return n;
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
		if (s->op == NB_STEP_PLACE || s->op == NB_STEP_IDMAP)
			s->y += first;
		if (s->op == NB_STEP_MOUNT && s->y)
			s->y += by;
		if (s->below)
			s->below += first;
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

	b->nmounts = n;

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

static bool pivots(const struct made *m)
{
	for (uint32_t i = 0; i < m->nsteps; i++)
		if (m->steps[i].op == NB_STEP_PIVOT)
			return true;
	return false;
}

/* whether the old root is left, most often by the last element */
bool nb_pivots(struct nb_builder *b)
{
	lua_State *L = b->L;
	bool yes = false;

	lua_getfield(L, b->table, "mounts");
	for (lua_Integer i = b->nmounts; i > 0 && !yes; i--) {
		const struct made *m;

		lua_geti(L, -1, i);
		m = luaL_testudata(L, -1, NB_MOUNTS);
		if (m)
			yes = pivots(m);
		else if (lua_istable(L, -1))
			yes = nb_fieldbool(L, lua_gettop(L), "pivot", false);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	return yes;
}

void nb_addmounts(struct nb_builder *b)
{
	uint32_t i = nb_plan(b)->nsteps;
	uint16_t all = 0;

	b->mount_steps = nb_reserve(b, (size_t)b->nmounts * sizeof(uint32_t));
	nb_each(b, "mounts", b->nmounts, add_element);
	for (; i < nb_plan(b)->nsteps; i++) {
		uint16_t flags =
		    ((struct nb_step *)nb_at(b, nb_plan(b)->steps))[i].flags;

		all |= flags;
		if (flags & NB_TERMINAL && b->l)
			nb_findterminal(b, i);
	}
	if (all & (NB_ROOT | NB_SCRATCH))
		nb_step(b, NB_STEP_UMASK);
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
	nb_beginplan(b, nb_countmounts(b) + 1);
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

/*
 * spawn_mounts.c - the field `mounts` of a plan, mount(2), open_tree(2)
 */
#include "builder.h"

static const char *const mount_fields[] = {
    "type",  "source", "target", "flags", "data",      "optional", "grab",
    "place", "attr",   "set",	 "clear", "recursive", NULL};

/* a tree is taken by one mount and placed by one later */
static void place_tree(struct nb_builder *b, struct nb_step *s, int i,
		       lua_Integer place)
{
	struct nb_step *from = s - (i - place);

	if (from->op != NB_STEP_GRAB)
		luaL_error(b->L, "mounts[%d]: mounts[%d] is no grab", i,
			   (int)place);
	if (from->y)
		luaL_error(b->L, "mounts[%d]: mounts[%d] is placed already", i,
			   (int)place);
	from->y = 1;
	/* one step a mount: the list's numbers become step numbers */
	s->y = nb_plan(b)->nsteps - 1 - (uint64_t)(i - place);
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

static void add_checked_mount(struct nb_builder *b, int element, int i)
{
	nb_checkfields(b->L, element, mount_fields, "mounts");
	add_mount(b, element, i);
}

void nb_addmounts(struct nb_builder *b)
{
	nb_each(b, "mounts", add_checked_mount);
}

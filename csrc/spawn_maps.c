/*
 * spawn_maps.c - the field `maps` of a plan, user_namespaces(7)
 *
 * The texts of the map files, and who writes them: the parent, a helper, or
 * the child itself.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "builder.h"
#include "process.h"

static const char *const map_fields[] = {
    "uid", "gid", "setgroups", "newuidmap", "newgidmap", "via", NULL};

static const char *mapfield(lua_State *L, int t, const char *name)
{
	const char *text = NULL;

	if (lua_getfield(L, t, name) != LUA_TNIL) {
		text = nb_checkranges(L, -1);
		/* keep the text alive: it belongs to no table */
		lua_insert(L, -2);
	}
	lua_pop(L, 1);
	return text;
}

/* leaves the table and up to two strings on the stack: they anchor the texts */
void nb_takemaps(struct nb_builder *b)
{
	lua_State *L = b->L;
	struct nb_launch *l = b->l;
	int t;

	if (lua_getfield(L, b->table, "maps") == LUA_TNIL)
		return;
	t = lua_gettop(L);
	if (!lua_istable(L, t))
		luaL_error(L, "maps: expected a table, got %s",
			   luaL_typename(L, t));
	nb_checkfields(L, t, map_fields, "maps");
	l->setgroups = nb_fieldstring(L, t, "setgroups", NULL);
	if (l->setgroups && strcmp(l->setgroups, "deny") != 0 &&
	    strcmp(l->setgroups, "allow") != 0)
		luaL_error(L, "maps: setgroups is 'deny' or 'allow', not '%s'",
			   l->setgroups);
	b->denies = l->setgroups && *l->setgroups == 'd';
	l->newuidmap = nb_fieldstring(L, t, "newuidmap", NULL);
	l->newgidmap = nb_fieldstring(L, t, "newgidmap", NULL);
	if ((l->newuidmap && *l->newuidmap != '/') ||
	    (l->newgidmap && *l->newgidmap != '/'))
		luaL_error(L, "maps: a helper is named by its full path");
	if (lua_getfield(L, t, "via") != LUA_TNIL) {
		const struct nb_process *p = luaL_testudata(L, -1, NB_PROCESS);

		if (!p || p->l.ctl < 0 || !p->l.serves)
			luaL_error(L, "maps: via: a process that serves");
		else
			l->via = p->l.ctl;
	}
	lua_pop(L, 1);
	l->uid_map = mapfield(L, t, "uid");
	l->gid_map = mapfield(L, t, "gid");
}

/* one line that maps our own id: the only one a process may write itself */
static bool own_map(const char *text, const char *helper, uint32_t id)
{
	char *end;

	if (!text || helper)
		return false;
	strtoul(text, &end, 10);
	return strtoul(end, &end, 10) == id && strcmp(end, " 1\n") == 0;
}

bool nb_ownmaps(const struct nb_launch *l)
{
	return own_map(l->uid_map, l->newuidmap, geteuid()) &&
	       own_map(l->gid_map, l->newgidmap, getegid()) && l->setgroups;
}

/* the child need not wake us, nor we it */
void nb_addownmaps(struct nb_builder *b)
{
	struct nb_launch *l = b->l;

	if (l->uid_map)
		nb_add_file(b, NB_STEP_UIDMAP, "/proc/self/uid_map",
			    l->uid_map);
	if (l->setgroups)
		nb_add_file(b, NB_STEP_SETGROUPS, "/proc/self/setgroups",
			    l->setgroups);
	if (l->gid_map)
		nb_add_file(b, NB_STEP_GIDMAP, "/proc/self/gid_map",
			    l->gid_map);
	l->uid_map = l->gid_map = l->setgroups = NULL;
}

/*
 * spawn.h - a Lua table becomes a launch
 */
#ifndef NB_SPAWN_H
#define NB_SPAWN_H

#include <lua.h>

#include "launch.h"

/*
 * Checks the plan table at absolute index t, raises on misuse, and fills l.
 * Pushes the arena and then what anchors the strings in l; all of it must stay
 * on the stack until the launch is over, the arena as long as it waits.
 */
void nb_makeplan(lua_State *L, int t, struct nb_launch *l);

/* fail, message, errno, step word, subject of a failed launch */
int nb_launchfailed(lua_State *L, const struct nb_launch *l);

#endif

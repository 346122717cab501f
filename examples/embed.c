/*
 * A C host with a Lua state of its own: nsbox is linked in, only its Lua half
 * is searched for, and a script of the host launches a box.
 *
 *     host (C) ── nsbox_preload ── Lua state ── nsbox.run ── pid 1 "sh"
 *
 * Needs: userns procmount
 * Usage: see examples/README.md
 * Output:
 *     guest is pid 1
 *     it ended with status 7
 */
#include <stdio.h>
#include <lua.h>
#include <lauxlib.h>
#include <lualib.h>

#include "nsbox.h"

static const char script[] =
    "local nsbox = require 'nsbox'\n"
    "return (nsbox.run { 'sh', '-c', 'echo $(hostname) is pid $$; exit 7',\n"
    "  hostname = 'guest' })\n";

int main(void)
{
	lua_State *L = luaL_newstate();
	int failed;

	if (!L)
		return 1;
	luaL_openlibs(L);
	/* from now on require "nsbox.sys.*" finds what is linked in */
	nsbox_preload(L);
	failed = luaL_dostring(L, script);
	if (failed) /* an nsbox.Error has __tostring: the step, and a hint */
		fprintf(stderr, "%s\n", luaL_tolstring(L, -1, NULL));
	else
		printf("it ended with status %d\n", (int)lua_tointeger(L, -1));
	lua_close(L);
	return failed;
}

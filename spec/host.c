/*
 * host.c - what an unfriendly host does, for host_spec.lua
 *
 * fork() forks as a host may, with all of Lua's state in both; reap() waits for
 * whatever child there is.
 */
#include <lauxlib.h>
#include <sys/wait.h>
#include <unistd.h>

int luaopen_host(lua_State *L);

static int host_fork(lua_State *L)
{
	lua_pushinteger(L, fork());
	return 1;
}

static int host_reap(lua_State *L)
{
	lua_pushinteger(L, waitpid(-1, NULL, 0));
	return 1;
}

static const luaL_Reg functions[] = {
    {"fork", host_fork}, {"reap", host_reap}, {NULL, NULL}};

int luaopen_host(lua_State *L)
{
	luaL_newlib(L, functions);
	return 1;
}

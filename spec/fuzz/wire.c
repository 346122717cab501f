/*
 * wire.c - gives Lua the reader and the writer of wire.c
 */
#include <lauxlib.h>

#include "../../csrc/wire.h"
#include "fuzz.h"

static int decode(lua_State *L)
{
	int n = nb_decode(L, 1);

	lua_pushinteger(L, n);
	lua_insert(L, n < 0 ? -1 : -n - 1);
	return n < 0 ? 1 : n + 1;
}

static int encode(lua_State *L)
{
	nb_encode(L, lua_gettop(L));
	return 1;
}

void fuzz_open(lua_State *L)
{
	lua_pushcfunction(L, decode);
	lua_setfield(L, -2, "decode");
	lua_pushcfunction(L, encode);
	lua_setfield(L, -2, "encode");
}

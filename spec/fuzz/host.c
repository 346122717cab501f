/*
 * host.c - runs a target's Lua function for each input of libFuzzer
 *
 * Compiled once for each target (FUZZ_TARGET), run in the top directory.
 * libFuzzer sees what is covered of the C half by itself; of the Lua half it
 * is told by a hook that counts lines.  An error of the function is a finding,
 * as is a crash.
 *
 * See llvm.org/docs/LibFuzzer.html.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lualib.h>

#include "../../csrc/nsbox.h"
#include "fuzz.h"

#define LINES (1 << 14)
#define KB 65536 /* of garbage, before it is collected */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

__attribute__((
    section("__libfuzzer_extra_counters"))) static uint8_t counters[LINES];

static lua_State *L; /* [traceback, function] */
static unsigned int before;

/* an edge from line to line; the same number in each run, so no addresses */
static void count(lua_State *l, lua_Debug *ar)
{
	unsigned int here;

	lua_getinfo(l, "Sl", ar);
	here = (unsigned int)(ar->srclen * 7919 + (size_t)ar->currentline * 31);
	counters[(here ^ before) % LINES]++;
	before = here << 1;
}

static int traceback(lua_State *l)
{
	luaL_traceback(l, l, luaL_tolstring(l, 1, NULL), 1);
	return 1;
}

/* a target without C has nothing to add */
__attribute__((weak)) void fuzz_open(lua_State *l)
{
	(void)l;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	L = luaL_newstate();
	luaL_openlibs(L);
	nsbox_preload(L);
	nsbox_preload_netlink(L);
	nsbox_preload_seccomp(L);
	lua_newtable(L);
	fuzz_open(L);
	lua_setglobal(L, "fuzz");
	if (luaL_dostring(L, "package.path = 'lua/?.lua;' .. package.path")) {
		fprintf(stderr, "fuzz: %s\n", lua_tostring(L, -1));
		exit(2);
	}
	lua_settop(L, 0);
	lua_pushcfunction(L, traceback);
	if (luaL_dofile(L, "spec/fuzz/" FUZZ_TARGET ".lua")) {
		fprintf(stderr, "fuzz: %s\n", lua_tostring(L, -1));
		exit(2);
	}
	lua_sethook(L, count, LUA_MASKLINE, 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	before = 0;
	lua_pushvalue(L, 2);
	lua_pushlstring(L, (const char *)data, size);
	if (lua_pcall(L, 1, 0, 1)) {
		fprintf(stderr, "fuzz: %s\n", lua_tostring(L, -1));
		abort();
	}
	lua_settop(L, 2);
	if (lua_gc(L, LUA_GCCOUNT) > KB)
		lua_gc(L, LUA_GCCOLLECT);
	return 0;
}

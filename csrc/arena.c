/*
 * arena.c - a growing piece of memory, addressed by offsets
 */
#include <string.h>

#include <lauxlib.h>

#include "arena.h"

#define MAX_SIZE (256u << 20)
#define MAX_SPARE (64u << 10)

/* where the registry keeps one that nobody uses: to get a large piece, malloc
 * goes through all that is free, and after a fork each page of it is a fault */
static const char spare;

void nb_newarena(lua_State *L, struct nb_arena *a, size_t cap)
{
	lua_rawgetp(L, LUA_REGISTRYINDEX, &spare);
	if (lua_rawlen(L, -1) >= cap) {
		lua_pushnil(L);
		lua_rawsetp(L, LUA_REGISTRYINDEX, &spare);
	} else {
		lua_pop(L, 1);
		lua_newuserdatauv(L, cap, 0);
	}
	a->mem = lua_touserdata(L, -1);
	a->slot = lua_gettop(L);
	a->cap = (uint32_t)lua_rawlen(L, -1);
	a->len = 0;
}

void nb_sparearena(lua_State *L, int slot)
{
	if (lua_rawlen(L, slot) > MAX_SPARE)
		return;
	lua_pushvalue(L, slot);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &spare);
}

uint32_t nb_arenareserve(lua_State *L, struct nb_arena *a, size_t size)
{
	size_t start = (a->len + 7) & ~(size_t)7;

	if (size > MAX_SIZE || start + size > MAX_SIZE)
		luaL_error(L, "the plan is too large");
	if (start + size > a->cap) {
		size_t cap = 2 * (start + size);
		char *bigger = lua_newuserdatauv(L, cap, 0);

		memcpy(bigger, a->mem, a->len);
		lua_replace(L, a->slot);
		a->mem = bigger;
		a->cap = (uint32_t)cap;
	}
	/* the plan goes to another process: nothing of our heap goes along */
	memset(a->mem + a->len, 0, start + size - a->len);
	a->len = (uint32_t)(start + size);
	return (uint32_t)start;
}

uint32_t nb_arenaput(lua_State *L, struct nb_arena *a, const void *data,
		     size_t size)
{
	uint32_t offset = nb_arenareserve(L, a, size);

	memcpy(a->mem + offset, data, size);
	return offset;
}

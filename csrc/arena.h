/*
 * arena.h - a growing piece of memory, addressed by offsets
 */
#ifndef NB_ARENA_H
#define NB_ARENA_H

#include <stdint.h>

#include <lua.h>

/* a userdata at a fixed stack slot, so that Lua frees it when an argument
 * check raises; it moves as it grows: keep offsets, not pointers */
struct nb_arena {
	int slot;
	uint32_t len, cap;
	char *mem;
};

/* leaves it on the stack */
void nb_newarena(lua_State *L, struct nb_arena *a, size_t cap);
/* the one at slot is not used any more: the next may be made of it */
void nb_sparearena(lua_State *L, int slot);
/* the offset of size bytes, aligned to 8, cleared */
uint32_t nb_arenareserve(lua_State *L, struct nb_arena *a, size_t size);
/* the offset of a copy of data */
uint32_t nb_arenaput(lua_State *L, struct nb_arena *a, const void *data,
		     size_t size);

#endif

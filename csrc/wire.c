/*
 * wire.c - Lua values as bytes, between a forked child and its parent
 *
 * By value, of bounded size and depth.  The reader trusts nothing: the child
 * may have run in a foreign namespace.  Knows no process.
 *
 * A value is a tag and its bytes: n nil, t true, f false, i integer, d float,
 * s length bytes, { key value … }; a dot ends the whole.
 */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <lauxlib.h>

#include "wire.h"

#define MAX_DEPTH 100
#define MAX_BYTES (16 * 1024 * 1024)

static void encode(lua_State *L, luaL_Buffer *b, int idx, int depth);

static void raw(luaL_Buffer *b, char tag, const void *p, size_t n)
{
	luaL_addchar(b, tag);
	luaL_addlstring(b, p, n);
}

static void encode_string(lua_State *L, luaL_Buffer *b, int idx)
{
	size_t len;
	const char *s = lua_tolstring(L, idx, &len);
	uint32_t n = (uint32_t)len;

	if (len > MAX_BYTES)
		luaL_error(L, "cannot send a string of %d MB: the limit is 16",
			   (int)(len >> 20));
	raw(b, 's', &n, sizeof(n));
	luaL_addlstring(b, s, len);
}

/* a buffer keeps a value on the stack, so each table gets one of its own */
static void encode_table(lua_State *L, luaL_Buffer *b, int idx, int depth)
{
	luaL_Buffer own;
	int key;

	if (depth > MAX_DEPTH)
		luaL_error(L,
			   "cannot send a table nested deeper than %d, or "
			   "one that contains itself",
			   MAX_DEPTH);
	luaL_checkstack(L, 10, NULL);
	lua_pushvalue(L, idx); /* [table] */
	idx = lua_gettop(L);
	lua_pushnil(L); /* [table, key] */
	key = lua_gettop(L);
	lua_pushnil(L); /* [table, key, value] */
	luaL_buffinit(L, &own);
	luaL_addchar(&own, '{');
	for (;;) {
		lua_pushvalue(L, key);
		if (!lua_next(L, idx))
			break;
		lua_replace(L, key + 1);
		lua_replace(L, key);
		encode(L, &own, key, depth + 1);
		encode(L, &own, key + 1, depth + 1);
		if (luaL_bufflen(&own) > MAX_BYTES)
			luaL_error(L, "cannot send more than 16 MB");
	}
	luaL_addchar(&own, '}');
	luaL_pushresult(&own); /* [table, key, value, bytes] */
	lua_replace(L, idx);
	lua_settop(L, idx);
	luaL_addvalue(b);
}

static void encode(lua_State *L, luaL_Buffer *b, int idx, int depth)
{
	lua_Integer i;
	lua_Number d;

	switch (lua_type(L, idx)) {
	case LUA_TNIL:
		luaL_addchar(b, 'n');
		break;
	case LUA_TBOOLEAN:
		luaL_addchar(b, lua_toboolean(L, idx) ? 't' : 'f');
		break;
	case LUA_TNUMBER:
		if (lua_isinteger(L, idx)) {
			i = lua_tointeger(L, idx);
			raw(b, 'i', &i, sizeof(i));
		} else {
			d = lua_tonumber(L, idx);
			raw(b, 'd', &d, sizeof(d));
		}
		break;
	case LUA_TSTRING:
		encode_string(L, b, idx);
		break;
	case LUA_TTABLE:
		encode_table(L, b, idx, depth);
		break;
	default:
		luaL_error(L, "cannot send a %s to another process",
			   luaL_typename(L, idx));
	}
}

void nb_encode(lua_State *L, int n)
{
	luaL_Buffer b;
	int first = lua_gettop(L) - n + 1;

	luaL_buffinit(L, &b);
	for (int i = 0; i < n; i++) {
		encode(L, &b, first + i, 0);
		if (luaL_bufflen(&b) > MAX_BYTES)
			luaL_error(L, "cannot send more than 16 MB");
	}
	luaL_addchar(&b, '.');
	luaL_pushresult(&b);
}

struct reader {
	const char *p, *end;
};

static bool take(struct reader *r, void *to, size_t n)
{
	if ((size_t)(r->end - r->p) < n)
		return false;
	memcpy(to, r->p, n);
	r->p += n;
	return true;
}

static bool decode(lua_State *L, struct reader *r, int depth);

static bool decode_table(lua_State *L, struct reader *r, int depth)
{
	if (depth > MAX_DEPTH || !lua_checkstack(L, 10))
		return false;
	lua_newtable(L);
	while (r->p < r->end && *r->p != '}') {
		if (!decode(L, r, depth + 1) || !decode(L, r, depth + 1))
			return false;
		/* not a key of any table */
		if (lua_isnil(L, -2) ||
		    (lua_isnumber(L, -2) &&
		     lua_tonumber(L, -2) != lua_tonumber(L, -2)))
			return false;
		lua_rawset(L, -3);
	}
	if (r->p == r->end)
		return false;
	r->p++;
	return true;
}

static bool decode(lua_State *L, struct reader *r, int depth)
{
	lua_Integer i;
	lua_Number d;
	uint32_t n;
	char tag;

	if (!take(r, &tag, 1))
		return false;
	switch (tag) {
	case 'n':
		lua_pushnil(L);
		return true;
	case 't':
	case 'f':
		lua_pushboolean(L, tag == 't');
		return true;
	case 'i':
		if (!take(r, &i, sizeof(i)))
			return false;
		lua_pushinteger(L, i);
		return true;
	case 'd':
		if (!take(r, &d, sizeof(d)))
			return false;
		lua_pushnumber(L, d);
		return true;
	case 's':
		if (!take(r, &n, sizeof(n)) || (size_t)(r->end - r->p) < n)
			return false;
		lua_pushlstring(L, r->p, n);
		r->p += n;
		return true;
	case '{':
		return decode_table(L, r, depth);
	default:
		return false;
	}
}

int nb_decode(lua_State *L, int idx)
{
	int top = lua_gettop(L);
	struct reader r;
	size_t len;

	r.p = luaL_checklstring(L, idx, &len);
	/* without the mark, bytes cut between two values would look whole */
	if (len == 0 || r.p[len - 1] != '.')
		return -1;
	r.end = r.p + len - 1;
	while (r.p < r.end) {
		if (!lua_checkstack(L, 4) || !decode(L, &r, 0)) {
			lua_settop(L, top);
			return -1;
		}
	}
	return lua_gettop(L) - top;
}

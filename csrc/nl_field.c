/*
 * nl_field.c - fields that a builder looks at itself, and prefixes
 *
 * What goes into the header of a message, or decides about its attributes.
 * Must not know any object.  See netlink(7).
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "nl.h"

const struct nb_word nbl_families[] = {
    {"inet", AF_INET}, {"inet6", AF_INET6}, {NULL, 0}};

const struct nb_word nbl_scopes[] = {
    {"global", RT_SCOPE_UNIVERSE}, {"site", RT_SCOPE_SITE},
    {"link", RT_SCOPE_LINK},	   {"host", RT_SCOPE_HOST},
    {"nowhere", RT_SCOPE_NOWHERE}, {NULL, 0}};

const struct nb_word nbl_tables[] = {{"default", RT_TABLE_DEFAULT},
				     {"main", RT_TABLE_MAIN},
				     {"local", RT_TABLE_LOCAL},
				     {NULL, 0}};

bool nbl_field(lua_State *L, int t, const char *name, int type,
	       const char *what)
{
	lua_pushstring(L, name);
	lua_rawget(L, t);
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		return false;
	}
	if (lua_type(L, -1) != type)
		nbl_badfield(L, what, name, lua_typename(L, type));
	return true;
}

int nbl_device(lua_State *L, struct nbl *h, int t, const char *what,
	       const char *name, int *index)
{
	int failed = 0;

	lua_pushstring(L, name);
	lua_rawget(L, t);
	if (!lua_isnil(L, -1))
		failed = nbl_index(L, h, lua_gettop(L), what, name, index);
	if (!failed)
		lua_pop(L, 1);
	return failed;
}

int nbl_needdevice(lua_State *L, struct nbl *h, int t, const char *what,
		   const char *name, int *index)
{
	int failed;

	*index = 0;
	failed = nbl_device(L, h, t, what, name, index);
	if (!failed && !*index)
		nbl_badfield(L, what, name, "a device, by name or index,");
	return failed;
}

bool nbl_putnetns(lua_State *L, struct nbl *h, int t, const char *what, int pid,
		  int fd)
{
	bool there = true;
	lua_Integer n;

	lua_pushliteral(L, "netns");
	lua_rawget(L, t);
	if (lua_isinteger(L, -1)) {
		n = lua_tointeger(L, -1);
		if (n < 1 || n > INT32_MAX)
			nbl_badfield(L, what, "netns", "a process id");
		nbl_putu32(L, h, pid, (uint32_t)n);
	} else if (!lua_isnil(L, -1)) {
		if (lua_type(L, -1) != LUA_TUSERDATA ||
		    luaL_testudata(L, -1, NB_PROCESS))
			nbl_badfield(L, what, "netns",
				     "a pid, or a handle of the namespace");
		nbl_putu32(L, h, fd, (uint32_t)nb_checkfd(L, -1));
	} else {
		there = false;
	}
	lua_pop(L, 1);
	return there;
}

/* --- flags, each a field --- */

uint32_t nbl_bits(lua_State *L, int t, const struct nb_word *words,
		  const char *what)
{
	uint32_t bits = 0;

	for (; words->word; words++) {
		if (!nbl_field(L, t, words->word, LUA_TBOOLEAN, what))
			continue;
		if (lua_toboolean(L, -1))
			bits |= (uint32_t)words->value;
		lua_pop(L, 1);
	}
	return bits;
}

void nbl_setbits(lua_State *L, const struct nb_word *words, uint64_t bits)
{
	for (; words->word; words++) {
		if (!(bits & words->value))
			continue;
		lua_pushboolean(L, 1);
		lua_setfield(L, -2, words->word);
	}
}

/* --- prefixes --- */

bool nbl_prefixof(const char *text, struct nbl_prefix *p)
{
	char address[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	char *end;
	long bits;

	if (len >= sizeof(address))
		return false;
	memcpy(address, text, len);
	address[len] = '\0';
	memset(p, 0, sizeof(*p));
	p->family = nbl_address(address, p->bytes);
	if (!p->family)
		return false;
	p->size = p->family == AF_INET ? 4 : 16;
	p->len = (uint8_t)(p->size * 8);
	if (!slash)
		return true;
	/* digits only: strtol takes signs and blanks */
	if (strspn(slash + 1, "0123456789") != strlen(slash + 1) || !slash[1])
		return false;
	bits = strtol(slash + 1, &end, 10);
	if (bits > p->len)
		return false;
	p->len = (uint8_t)bits;
	p->given = true;
	return true;
}

bool nbl_prefix(lua_State *L, int t, const char *name, const char *what,
		struct nbl_prefix *p)
{
	memset(p, 0, sizeof(*p));
	if (!nbl_field(L, t, name, LUA_TSTRING, what))
		return false;
	if (strlen(lua_tostring(L, -1)) != lua_rawlen(L, -1) ||
	    !nbl_prefixof(lua_tostring(L, -1), p))
		nbl_badfield(
		    L, what, name,
		    "an address, its prefix at most /32 (IPv6: /128),");
	lua_pop(L, 1);
	return true;
}

void nbl_pushprefix(lua_State *L, const void *bytes, size_t size, int len)
{
	char text[INET6_ADDRSTRLEN];

	if (size != 4 && size != 16) {
		lua_pushliteral(L, "?");
		return;
	}
	inet_ntop(size == 4 ? AF_INET : AF_INET6, bytes, text, sizeof(text));
	if (len < 0)
		lua_pushstring(L, text);
	else
		lua_pushfstring(L, "%s/%d", text, len);
}

/* --- reading --- */

void nbl_setword(lua_State *L, const char *name, const struct nb_word *words,
		 uint64_t value)
{
	const char *word = nb_wordof(words, value);

	if (word)
		lua_pushstring(L, word);
	else
		lua_pushinteger(L, (lua_Integer)value);
	lua_setfield(L, -2, name);
}

void nbl_setint(lua_State *L, const char *name, lua_Integer value)
{
	lua_pushinteger(L, value);
	lua_setfield(L, -2, name);
}

void nbl_keep(lua_State *L, int list, const char *name)
{
	lua_Integer n = (lua_Integer)lua_rawlen(L, list), kept = 0;
	int value = lua_gettop(L);

	for (lua_Integer i = 1; i <= n; i++) {
		lua_rawgeti(L, list, i);
		lua_getfield(L, -1, name);
		if (lua_rawequal(L, -1, value)) {
			lua_pushvalue(L, -2);
			lua_rawseti(L, list, ++kept);
		}
		lua_settop(L, value);
	}
	for (lua_Integer i = kept + 1; i <= n; i++) {
		lua_pushnil(L);
		lua_rawseti(L, list, i);
	}
	lua_pop(L, 1);
}

struct nbl *nbl_list(lua_State *L, const char *verb)
{
	struct nbl *h = nbl_check(L, 1);

	lua_settop(L, 2);
	if (lua_isnil(L, 2)) {
		lua_newtable(L);
		lua_replace(L, 2);
	}
	luaL_checktype(L, 2, LUA_TTABLE);
	nbl_begin(h, verb, NULL);
	return h;
}

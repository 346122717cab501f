/*
 * aux.c - results, words and option fields: how values cross the Lua border
 *
 * Owns the shape of every failure (fail, message, errno) and of every
 * argument error.  Knows nothing about namespaces, descriptors or any
 * system call.  See errno(3), strerror(3).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nb.h"

/* --- results --- */

int nb_fail(lua_State *L, int err, const char *subject)
{
	luaL_pushfail(L);
	if (subject)
		lua_pushfstring(L, "%s: %s", subject, strerror(err));
	else
		lua_pushstring(L, strerror(err));
	lua_pushinteger(L, err);
	return 3;
}

int nb_result(lua_State *L, int rc, const char *subject)
{
	int err = errno;

	if (rc < 0)
		return nb_fail(L, err, subject);
	lua_pushboolean(L, 1);
	return 1;
}

int nb_argerror(lua_State *L, int idx, const char *message)
{
	if (idx > 0)
		return luaL_argerror(L, idx, message);
	return luaL_error(L, "%s", message);
}

int nb_typeerror(lua_State *L, int idx, const char *expected)
{
	return nb_argerror(L, idx,
			   lua_pushfstring(L, "%s expected, got %s", expected,
					   luaL_typename(L, idx)));
}

/* --- the nearest name --- */

#define LONGEST 32 /* names beyond this are never suggested */

static int least(int a, int b, int c)
{
	int m = a < b ? a : b;

	return m < c ? m : c;
}

/* edits between two names; swapped neighbours ("agrv") count as one */
static int distance(const char *a, const char *b)
{
	int rows[3][LONGEST + 1];
	int la = (int)strlen(a), lb = (int)strlen(b);

	if (la > LONGEST || lb > LONGEST)
		return LONGEST;
	for (int j = 0; j <= lb; j++)
		rows[0][j] = j;
	for (int i = 1; i <= la; i++) {
		int *now = rows[i % 3];
		const int *last = rows[(i + 2) % 3];
		const int *before = rows[(i + 1) % 3];

		now[0] = i;
		for (int j = 1; j <= lb; j++) {
			int differ = a[i - 1] != b[j - 1];

			now[j] = least(now[j - 1] + 1, last[j] + 1,
				       last[j - 1] + differ);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1] && before[j - 2] + 1 < now[j])
				now[j] = before[j - 2] + 1;
		}
	}
	return rows[la % 3][lb];
}

void nb_nearest(struct nb_nearest *best, const char *wanted, const char *known)
{
	int limit = (int)strlen(wanted) / 2;
	int d = distance(wanted, known);

	if (d > (limit < 1 ? 1 : limit))
		return;
	if (best->name && best->distance <= d)
		return;
	best->name = known;
	best->distance = d;
}

/* --- words --- */

static void unknownword(lua_State *L, int arg, const char *word,
			const struct nb_word *words, const char *what)
{
	luaL_Buffer b;

	luaL_buffinit(L, &b);
	for (const struct nb_word *w = words; w->word; w++) {
		if (w != words)
			luaL_addstring(&b, ", ");
		luaL_addstring(&b, w->word);
	}
	luaL_pushresult(&b);
	nb_argerror(L, arg,
		    lua_pushfstring(L, "unknown %s '%s' (known: %s)", what,
				    word, lua_tostring(L, -1)));
}

/* the word at idx; a wrong one is blamed on argument arg */
static uint64_t findword(lua_State *L, int arg, int idx,
			 const struct nb_word *words, const char *what)
{
	const char *word;

	if (lua_type(L, idx) != LUA_TSTRING)
		nb_argerror(L, arg,
			    lua_pushfstring(L, "%s expected, got %s", what,
					    luaL_typename(L, idx)));
	word = lua_tostring(L, idx);
	for (const struct nb_word *w = words; w->word; w++)
		if (*w->word == *word && strcmp(w->word, word) == 0)
			return w->value;
	unknownword(L, arg, word, words, what);
	return 0;
}

uint64_t nb_checkword(lua_State *L, int idx, const struct nb_word *words,
		      const char *what)
{
	return findword(L, idx, idx, words, what);
}

uint64_t nb_checkwords(lua_State *L, int idx, const struct nb_word *words,
		       const char *what)
{
	uint64_t value = 0;
	lua_Integer n;

	if (lua_isnoneornil(L, idx))
		return 0;
	if (!lua_istable(L, idx))
		return findword(L, idx, idx, words, what);
	n = (lua_Integer)lua_rawlen(L, idx);
	for (lua_Integer i = 1; i <= n; i++) {
		lua_rawgeti(L, idx, i);
		value |= findword(L, idx, -1, words, what);
		lua_pop(L, 1);
	}
	return value;
}

void nb_pushwords(lua_State *L, const struct nb_word *words, uint64_t value)
{
	lua_Integer n = 0;

	lua_newtable(L);
	for (; words->word; words++) {
		if (!words->value || (value & words->value) != words->value)
			continue;
		lua_pushstring(L, words->word);
		lua_rawseti(L, -2, ++n);
	}
}

const char *nb_wordof(const struct nb_word *words, uint64_t value)
{
	for (; words->word; words++)
		if (words->value == value)
			return words->word;
	return NULL;
}

/* --- fields of option tables --- */

/* an unknown field, and the known one that it most resembles */
static void unknownfield(lua_State *L, const char *name,
			 const char *const *known, const char *what)
{
	struct nb_nearest best = {NULL, 0};
	const char *hint = "";

	for (; *known; known++)
		nb_nearest(&best, name, *known);
	if (best.name)
		hint = lua_pushfstring(L, " (did you mean '%s'?)", best.name);
	luaL_error(L, "%s%sunknown field '%s'%s", what ? what : "",
		   what ? ": " : "", name, hint);
}

static bool isknown(const char *name, const char *const *known)
{
	for (; *known; known++)
		if (**known == *name && strcmp(*known, name) == 0)
			return true;
	return false;
}

void nb_checkfields(lua_State *L, int t, const char *const *known,
		    const char *what)
{
	int top = lua_gettop(L);

	luaL_checkstack(L, 4, NULL);
	lua_pushnil(L);
	while (lua_next(L, t)) {
		const char *name;

		lua_pop(L, 1);
		lua_pushvalue(L, -1); /* tostring must not change the key */
		name = lua_type(L, -1) == LUA_TSTRING
			   ? lua_tostring(L, -1)
			   : luaL_tolstring(L, -1, NULL);
		if (!isknown(name, known))
			unknownfield(L, name, known, what);
		lua_settop(L, top + 1);
	}
}

/* pushes the field, which must be of that type; false when it is nil */
static bool getfield(lua_State *L, int t, const char *name, int type)
{
	lua_pushstring(L, name);
	lua_rawget(L, t);
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		return false;
	}
	if (lua_type(L, -1) != type)
		luaL_error(L, "field '%s': %s expected, got %s", name,
			   lua_typename(L, type), luaL_typename(L, -1));
	return true;
}

const char *nb_fieldstring(lua_State *L, int t, const char *name,
			   const char *def)
{
	const char *s;
	size_t len;

	if (!getfield(L, t, name, LUA_TSTRING))
		return def;
	s = lua_tolstring(L, -1, &len);
	if (strlen(s) != len)
		luaL_error(L, "field '%s': string contains zeros", name);
	lua_pop(L, 1);
	return s;
}

lua_Integer nb_fieldint(lua_State *L, int t, const char *name, lua_Integer min,
			lua_Integer max, lua_Integer def)
{
	lua_Integer value;
	int isint;

	if (!getfield(L, t, name, LUA_TNUMBER))
		return def;
	value = lua_tointegerx(L, -1, &isint);
	if (!isint || value < min || value > max)
		luaL_error(L, "field '%s': integer from %I to %I expected",
			   name, (LUAI_UACINT)min, (LUAI_UACINT)max);
	lua_pop(L, 1);
	return value;
}

bool nb_fieldbool(lua_State *L, int t, const char *name, bool def)
{
	bool value;

	if (!getfield(L, t, name, LUA_TBOOLEAN))
		return def;
	value = lua_toboolean(L, -1);
	lua_pop(L, 1);
	return value;
}

/* --- arguments --- */

const char *nb_checkpath(lua_State *L, int idx)
{
	const char *s;
	size_t len;

	if (lua_type(L, idx) != LUA_TSTRING)
		nb_typeerror(L, idx, "string");
	s = lua_tolstring(L, idx, &len);
	if (strlen(s) != len)
		nb_argerror(L, idx, "string contains zeros");
	return s;
}

uint32_t nb_checkid(lua_State *L, int idx, const char *what)
{
	lua_Integer id;
	int isint = 0;

	id = lua_type(L, idx) == LUA_TNUMBER ? lua_tointegerx(L, idx, &isint)
					     : 0;
	/* the last one is (uid_t)-1: to the kernel "leave it as it is" */
	if (!isint || id < 0 || id >= UINT32_MAX)
		nb_argerror(L, idx,
			    lua_pushfstring(L,
					    "%s: id from 0 to 4294967294 "
					    "expected",
					    what));
	return (uint32_t)id;
}

/* --- faults --- */

#ifdef NSBOX_DEBUG
static int errnoof(const char *name, size_t len)
{
	for (int err = 1; err < 4096; err++) {
		const char *known = nb_errnoname(err);

		if (known && strlen(known) == len &&
		    memcmp(known, name, len) == 0)
			return err;
	}
	return atoi(name);
}

int nb_fault(const char *step)
{
	const char *at = getenv("NSBOX_FAULT");
	size_t len = strlen(step);

	while (at && *at) {
		size_t item = strcspn(at, ",");

		if (item > len && at[len] == ':' && memcmp(at, step, len) == 0)
			return errnoof(at + len + 1, item - len - 1);
		at += item;
		at += *at == ',';
	}
	return 0;
}
#endif

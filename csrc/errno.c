/*
 * errno.c - the names of error numbers
 *
 * Owns the table nsbox.sys.errno; libc knows the names.  See errno(3),
 * strerrorname_np(3).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "nb.h"

/***
 * Names and numbers of system errors.
 *
 * `errno.EPERM` is the number, `errno[1]` the name: the third value of every
 * failure can be compared and printed.
 * @module nsbox.sys.errno
 */

#define LAST_ERRNO 200 /* Linux ends at EHWPOISON, 133 */

const char *nb_errnoname(int err)
{
	return err > 0 ? strerrorname_np(err) : NULL;
}

/***
 * The text for an error number.
 * @function strerror
 * @tparam integer errno
 * @treturn string as strerror(3) has it
 * @see strerror(3)
 */
static int errno_strerror(lua_State *L)
{
	lua_Integer err = luaL_checkinteger(L, 1);

	luaL_argcheck(L, err >= 0 && err <= INT32_MAX, 1, "out of range");

	lua_pushstring(L, strerror((int)err));
	return 1;
}

static const luaL_Reg errno_funcs[] = {
    {"strerror", errno_strerror},
    {NULL, NULL},
};

/* names that share their number with another on this architecture */
static const struct nb_word aliases[] = {
    {"EWOULDBLOCK", EWOULDBLOCK},
    {"EDEADLOCK", EDEADLOCK},
    {"ENOTSUP", ENOTSUP},
    {NULL, 0},
};

int luaopen_nsbox_sys_errno(lua_State *L)
{
	lua_createtable(L, 0, 288);
	for (int err = 1; err <= LAST_ERRNO; err++) {
		const char *name = nb_errnoname(err);

		if (!name)
			continue;
		lua_pushinteger(L, err);
		lua_setfield(L, -2, name);
		lua_pushstring(L, name);
		lua_rawseti(L, -2, err);
	}
	for (const struct nb_word *a = aliases; a->word; a++) {
		lua_pushinteger(L, (lua_Integer)a->value);
		lua_setfield(L, -2, a->word);
	}
	luaL_setfuncs(L, errno_funcs, 0);
	return 1;
}

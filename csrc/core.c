/*
 * core.c - what require finds in nsbox.so
 *
 * Owns the table nsbox.sys and the list of its modules.  Loading has no
 * effect but reading NSBOX_TRACE, and is cheap: a module is opened when its
 * field is first used.  See dlopen(3), nsbox.h.
 */
#include <string.h>
#include <sys/auxv.h>

#include "nb.h"

/***
 * The kernel's primitives, one function an operation, no policy.
 *
 * Misuse raises; what the system refuses is `nil, message, errno`.  The
 * modules `cap` `errno` `fd` `idmap` `mount` `netlink` `nft` `ns` `process`
 * `seccomp` are fields, and can be required on their own.  The names that
 * people know are here, too: `clone` and `spawn` (process), `unshare` and
 * `setns` (ns), `map` (idmap), `pivot_root` (mount); `mount` can be called.
 * @module nsbox.sys
 */

#define SYS "nsbox.sys"

static const struct {
	const char *name;
	lua_CFunction open;
} modules[] = {
    {"cap", luaopen_nsbox_sys_cap},	    {"errno", luaopen_nsbox_sys_errno},
    {"fd", luaopen_nsbox_sys_fd},	    {"idmap", luaopen_nsbox_sys_idmap},
    {"mount", luaopen_nsbox_sys_mount},	    {"ns", luaopen_nsbox_sys_ns},
    {"process", luaopen_nsbox_sys_process},
};

/* modules in files of their own, next to nsbox.so: their libraries are loaded
 * by the scripts that need them */
static const char *const companions[] = {"netlink", "nft", "seccomp"};

/* functions of modules that are fields of nsbox.sys as well */
static const struct {
	const char *name;
	const char *module;
} reexports[] = {
    {"clone", "process"}, {"map", "idmap"},	{"pivot_root", "mount"},
    {"setns", "ns"},	  {"spawn", "process"}, {"unshare", "ns"},
};

/* pushes the module, as require would; false when there is none */
static bool pushmodule(lua_State *L, const char *name)
{
	for (size_t i = 0; i < NB_COUNT(modules); i++) {
		if (strcmp(modules[i].name, name) != 0)
			continue;
		lua_pushfstring(L, SYS ".%s", name);
		luaL_requiref(L, lua_tostring(L, -1), modules[i].open, 0);
		lua_remove(L, -2);
		return true;
	}
	return false;
}

static bool pushcompanion(lua_State *L, const char *name)
{
	for (size_t i = 0; i < NB_COUNT(companions); i++) {
		if (strcmp(companions[i], name) != 0)
			continue;
		lua_getglobal(L, "require");
		lua_pushfstring(L, SYS ".%s", name);
		lua_call(L, 1, 1);
		return true;
	}
	return false;
}

static bool pushreexport(lua_State *L, const char *name)
{
	for (size_t i = 0; i < NB_COUNT(reexports); i++) {
		if (strcmp(reexports[i].name, name) != 0)
			continue;
		pushmodule(L, reexports[i].module);
		lua_getfield(L, -1, name);
		return true;
	}
	return false;
}

/* the first use of a field: looked up once, then it is one */
static int sys_index(lua_State *L)
{
	const char *name = lua_tostring(L, 2);

	if (lua_type(L, 2) != LUA_TSTRING)
		return 0;
	if (!pushmodule(L, name) && !pushcompanion(L, name) &&
	    !pushreexport(L, name))
		return 0;
	lua_pushvalue(L, 2);
	lua_pushvalue(L, -2);
	lua_rawset(L, 1);
	return 1;
}

static const luaL_Reg sys_meta[] = {
    {"__index", sys_index},
    {NULL, NULL},
};

/* so that require asks us, not the file system: each look for a module that
 * is in nsbox.so tries a file in every directory of both paths first */
static void preload_modules(lua_State *L)
{
	luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
	for (size_t i = 0; i < NB_COUNT(modules); i++) {
		lua_pushfstring(L, SYS ".%s", modules[i].name);
		lua_pushcfunction(L, modules[i].open);
		lua_settable(L, -3);
	}
	lua_pop(L, 1);
}

/*
 * Whether exec gave this process what its caller does not have: somebody else
 * chose its environment, and with it the modules that it loads (CVE-2020-5291
 * is what comes of namespaces in such a program).  AT_SECURE alone does not
 * tell: a security module sets it for services, too.
 */
static bool is_setid(void)
{
	return getauxval(AT_SECURE) &&
	       (getauxval(AT_UID) != getauxval(AT_EUID) ||
		getauxval(AT_GID) != getauxval(AT_EGID));
}

int luaopen_nsbox_sys(lua_State *L)
{
	if (is_setid())
		return luaL_error(L, "nsbox is not for setuid or setgid "
				     "programs");
	preload_modules(L);
	lua_newtable(L);
	lua_pushliteral(L, NSBOX_VERSION);
	lua_setfield(L, -2, "_VERSION");
	lua_newtable(L);
	luaL_setfuncs(L, sys_meta, 0);
	lua_setmetatable(L, -2);
	return 1;
}

/* a lone nsbox.so, without the Lua half, is nsbox.sys */
int luaopen_nsbox(lua_State *L)
{
	luaL_requiref(L, SYS, luaopen_nsbox_sys, 0);
	return 1;
}

void nsbox_preload(lua_State *L)
{
	luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
	lua_pushcfunction(L, luaopen_nsbox_sys);
	lua_setfield(L, -2, SYS);
	lua_pop(L, 1);
	preload_modules(L);
}

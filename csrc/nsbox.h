/*
 * nsbox.h - the public C interface, for hosts that link nsbox statically
 *
 * A host with a Lua state of its own calls nsbox_preload() once; every
 * require "nsbox.sys.*" then finds the C functions without a file search.
 * The Lua half (lua/nsbox.lua and lua/nsbox/) is found on package.path as
 * usual.  See examples/embed.c.
 */
#ifndef NSBOX_H
#define NSBOX_H

#include <lua.h>

#define NSBOX_VERSION "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

#define NSBOX_API __attribute__((visibility("default")))

/* fills package.preload with nsbox.sys and every nsbox.sys.* module */
NSBOX_API void nsbox_preload(lua_State *L);

/* the same for nsbox.sys.netlink, which needs libnl-3 */
NSBOX_API void nsbox_preload_netlink(lua_State *L);
/* and for nsbox.sys.nft, which needs libnftables */
NSBOX_API void nsbox_preload_nft(lua_State *L);
/* and for nsbox.sys.seccomp, which needs libseccomp */
NSBOX_API void nsbox_preload_seccomp(lua_State *L);

NSBOX_API int luaopen_nsbox(lua_State *L);
NSBOX_API int luaopen_nsbox_sys(lua_State *L);
NSBOX_API int luaopen_nsbox_sys_cap(lua_State *L);
NSBOX_API int luaopen_nsbox_sys_errno(lua_State *L);
NSBOX_API int luaopen_nsbox_sys_fd(lua_State *L);
NSBOX_API int luaopen_nsbox_sys_idmap(lua_State *L);
NSBOX_API int luaopen_nsbox_sys_mount(lua_State *L);
NSBOX_API int luaopen_nsbox_sys_netlink(lua_State *L);
NSBOX_API int luaopen_nsbox_sys_nft(lua_State *L);
NSBOX_API int luaopen_nsbox_sys_ns(lua_State *L);
NSBOX_API int luaopen_nsbox_sys_process(lua_State *L);
NSBOX_API int luaopen_nsbox_sys_seccomp(lua_State *L);

#ifdef __cplusplus
}
#endif

#endif

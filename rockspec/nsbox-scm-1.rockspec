rockspec_format = "3.0"
package = "nsbox"
version = "scm-1"
source = { url = "." }
description = {
  summary = "Linux namespaces, containers and networks from Lua",
  detailed = [[
nsbox.so gives Lua the kernel's own primitives: namespaces, id maps, mounts,
capabilities, processes. Lua recipes on top of them make containers, as root
and as an ordinary user, without running other programs to do it.]],
  license = "MIT",
}
supported_platforms = { "linux" }
dependencies = { "lua ~> 5.4", "luafilesystem >= 1.8" }
external_dependencies = {
  LIBCAP = { header = "sys/capability.h" },
  LIBNL3 = { header = "libnl3/netlink/netlink.h" },
  LIBSECCOMP = { header = "seccomp.h" },
  LIBNFTABLES = { header = "nftables/libnftables.h" },
}
build = {
  type = "make",
  build_target = "all",
  build_variables = {
    CFLAGS = "$(CFLAGS)",
    LUA_INCDIR = "$(LUA_INCDIR)",
  },
  install_variables = {
    LUA_INCDIR = "$(LUA_INCDIR)",
    PREFIX = "$(PREFIX)",
    LUADIR = "$(LUADIR)",
    LIBDIR = "$(LIBDIR)",
  },
}

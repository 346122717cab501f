--- nsbox: Linux namespaces and containers.
--
-- The facade: a field of this table is loaded when it is first used, so that
-- a script pays for what it does. Loading has no effect beyond that.
--
--     local nsbox = require "nsbox"
--     os.exit(nsbox.run { "sh", "-c", "echo hello from $(hostname)", hostname = "box" })
--
-- @module nsbox

local VERSION <const> = "0.1.0"

-- name → module, and the field of that module that is meant
local parts = {
  run = { "nsbox.run" },
  scope = { "nsbox.scope" },
  box = { "nsbox.scope", "box" },
  ns = { "nsbox.ns" },
  seccomp = { "nsbox.seccomp" },
  wait = { "nsbox.waits", "any" },
  loop = { "nsbox.wait", "loop" },
  try = { "nsbox.error", "try" },
  Error = { "nsbox.error", "Error" },
  doctor = { "nsbox.doctor", "doctor" },
  netns = { "nsbox.scope", "netns" },
  bridge = { "nsbox.scope", "bridge" },
  veth = { "nsbox.scope", "veth" },
  macvlan = { "nsbox.scope", "macvlan" },
  ipvlan = { "nsbox.scope", "ipvlan" },
  vlan = { "nsbox.scope", "vlan" },
  vxlan = { "nsbox.scope", "vxlan" },
  add = { "nsbox.scope", "add" },
  link = { "nsbox.scope", "link" },
  nat = { "nsbox.scope", "nat" },
  sysctl = { "nsbox.scope", "sysctl" },
  dns = { "nsbox.scope", "dns" },
  net = { "nsbox.net" },
  rootfs = { "nsbox.rootfs" },
}

-- nsbox.so holds nsbox.sys: looked for by its own name it is found at once,
-- while require asks for a file nsbox/sys in every directory first
if not package.loaded["nsbox.sys"] and not package.preload["nsbox.sys"] then
  local path = package.searchpath("nsbox", package.cpath)
  package.preload["nsbox.sys"] = path and package.loadlib(path, "luaopen_nsbox_sys")
end
local sys = require "nsbox.sys"

if sys._VERSION ~= VERSION then
  error(("nsbox: the Lua files are version %s (%s), but the C half is version %s (%s): "
    .. "install both from the same release, or look at package.path and package.cpath"):format(
    VERSION, package.searchpath("nsbox", package.path) or "?", sys._VERSION,
    package.searchpath("nsbox", package.cpath) or "?"), 0)
end

local M = { sys = sys, _VERSION = VERSION }

return setmetatable(M, {
  __name = "nsbox",
  __index = function(_, name)
    local part = parts[name]
    if part then
      local value = require(part[1])
      if part[2] then
        value = value[part[2]]
      end
      M[name] = value
      return value
    end
  end,
})

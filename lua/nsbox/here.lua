--- Where a scope works that has no island: the machine as this process sees it.
--
-- It has the methods of an island that verbs call which name network namespaces,
-- or write files for them.
--
-- @internal nsbox.here

local mount = require "nsbox.sys.mount"
local ns = require "nsbox.sys.ns"

local ANY_GROUP <const> = "0 2147483647" -- ping needs no privilege

local Here = { __name = "nsbox.here" }
Here.__index = Here

--- What a form of `netns` means: itself.
-- @param _ itself
-- @param netns any form; nil: the caller's own
-- @return netns
function Here.place(_, netns)
  return netns
end

--- Its network namespace as an object.
-- @treturn nsbox.Namespaces
function Here.object()
  return require("nsbox.ns").of(nil, "net")
end

--- Opens a netlink handle in a namespace.
-- @param _ itself
-- @tparam userdata handle of the namespace
-- @treturn userdata
-- @return[2] nil, message, errno
function Here.netlink(_, handle)
  return require("nsbox.sys.netlink").open(handle)
end

--- The directory of the names of network namespaces, made ready.
-- @param _ itself
-- @tparam string op the verb, for an Error
-- @treturn string
function Here.names(_, op)
  local netnsdir = require "nsbox.netnsdir"
  netnsdir.prepare(op)
  return netnsdir.DIR
end

--- A directory that files can be written to.
-- @param _ itself
-- @tparam string _ the verb
-- @tparam string path
-- @treturn string where it is seen from here
function Here.directory(_, _, path)
  return path
end

--- Makes a network namespace, its loopback device up.
-- @treturn userdata an ns handle
-- @return[2] nil, message, errno
function Here.newnet()
  return ns.newnet(ANY_GROUP)
end

--- Mounts a namespace on a file.
-- @param _ itself
-- @tparam userdata handle of the namespace
-- @tparam string path
-- @treturn ?boolean true
-- @return[2] nil, message, errno
function Here.pin(_, handle, path)
  return mount.mount(("/proc/self/fd/%d"):format(handle:fileno()), path, "none", { "bind" })
end

--- Takes that away again, whatever uses it.
-- @param _ itself
-- @tparam string path
-- @treturn ?boolean true
-- @return[2] nil, message, errno
function Here.unpin(_, path)
  return mount.umount(path, { "detach", "nofollow" })
end

return setmetatable({}, Here)

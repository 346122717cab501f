--- A root file system of the box's own: the options, and the mounts that they make.
--
-- The tree is put over the caller's root and left for good by pivot_root. All
-- that is mounted in it is found inside it, by descriptors, whatever links are
-- there and whoever changes them meanwhile: see the elements of a plan's
-- `mounts` at `nsbox.sys.process`.
--
-- pivot_root(2), openat2(2), mount_setattr(2), overlayfs
--
-- @internal nsbox.root

local M = {}

-- the options ------------------------------------------------------------------------

local function mistake(name, ...)
  return nil, require("nsbox.mistake")[name](...)
end

local function unknown_key(t, known)
  for key in next, t do
    if key ~= 1 and not known[key] then
      return require("nsbox.mistake").unknown(tostring(key), known)
    end
  end
end

local function not_boolean(t, name)
  if t[name] ~= nil and type(t[name]) ~= "boolean" then
    return name .. ": " .. require("nsbox.mistake").expected("true or false", t[name])
  end
end

--- Checks the option `rootfs`: `"DIR"` or `{ DIR, ro =, idmap = }`; without a directory an
-- empty one in memory.
-- @param value what was given
-- @treturn ?table `{ dir =, ro =, idmap = }`
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.check(value)
  local t = type(value) == "string" and { value } or value
  if type(t) ~= "table" then
    return mistake("expected", "a directory, or { DIR, ro =, idmap = }", value)
  end
  local message = unknown_key(t, { ro = true, idmap = true }) or not_boolean(t, "ro")
    or not_boolean(t, "idmap")
  local dir
  if not message and t[1] ~= nil then
    dir, message = require("nsbox.binds").source(t[1], "a directory")
  end
  if message then
    return nil, message
  end
  return { dir = dir, ro = t.ro or false, idmap = t.idmap }
end

--- Checks the option `devices`: a device, or a list.
-- @param value what was given
-- @treturn ?table list of paths
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.check_devices(value)
  return require("nsbox.types").list(function(path)
    if type(path) == "string" and (not path:find "^/dev/+[^/]"
      or (path .. "/"):find("/../", 1, true)) then
      return nil, ("expected a device such as '/dev/fuse', got '%s'"):format(path)
    end
    return require("nsbox.binds").target(path, "a device")
  end, true)(value)
end

-- the tree -----------------------------------------------------------------------------

local function append(list, element)
  list[#list + 1] = element
  return #list
end

local function is_shifted(o, who)
  return o.rootfs.idmap ~= false and require("nsbox.idmapped").is_needed(who)
end

-- the trees that the root is made of; an empty one is made of none
local function sources(list, o, who, op, opened)
  local overlay, taken = o.overlay, {}
  local shifted = is_shifted(o, who) and require("nsbox.idmapped").take
  local dirs = overlay and require("nsbox.overlay").sources(o) or { o.rootfs.dir }
  for i, dir in ipairs(dirs) do
    taken[i] = shifted and shifted(list, dir, op, opened, overlay and "layer" or "root")
      or append(list, { grab = dir, recursive = true })
  end
  return taken
end

-- what is in it was not made by this machine
local function attributes(o, plan)
  if o.bare then
    return {}
  end
  return { "nodev", plan.no_new_privs and "nosuid" or nil }
end

local function with_ro(set, ro)
  return ro and { "ro", table.unpack(set) } or set
end

local function add_root(list, taken, o, plan, scratch, in_userns)
  local set = with_ro(attributes(o, plan), o.rootfs.ro)
  if o.overlay then
    require("nsbox.overlay").add(list, o, taken, scratch, attributes(o, plan), in_userns)
  elseif taken[1] then
    append(list, { place = taken[1], root = true, set = set })
  else
    append(list, { type = "tmpfs", source = "root", target = "/", root = true,
      flags = attributes(o, plan), data = "mode=755" })
  end
end

local function add_wishes(list, o, plan, binds)
  local set = attributes(o, plan)
  for _, t in ipairs(o.tmpfs or {}) do
    append(list, { type = t.type, source = t.source, target = t.target, flags = t.flags,
      data = t.data, make = true })
  end
  for i, b in ipairs(o.bind or {}) do
    append(list, { place = binds[i], target = b.to, make = true, set = with_ro(set, b.ro) })
  end
  for i, path in ipairs(o.devices or {}) do
    append(list, { place = binds.devices[i], target = path, make = true,
      set = { "nosuid", "noexec" } })
  end
end

-- what else lies there may be anything: a directory of shared memory, somebody's socket
local function check_device(path, op)
  local stat, message, errno = require("nsbox.sys.fd").stat(path)
  if stat and stat.type ~= "char" and stat.type ~= "block" then
    message, errno = ("it is a %s, no device"):format(stat.type), 19
  end
  if errno then
    require("nsbox.error").raise({ op = op, step = "devices", subject = path,
      detail = message:gsub("^.-: ", "", 1), errno = errno, hint = not stat and errno == 2
      and "devices are those of the machine, by their names below /dev" or false })
  end
end

local function sources_of_wishes(list, plan, o, who, op, opened)
  local binds = require("nsbox.binds").take(list, plan, o.bind, who, op, opened)
  binds.devices = {}
  for i, path in ipairs(o.devices or {}) do
    check_device(path, op)
    binds.devices[i] = append(list, { grab = path })
  end
  return binds
end

local TTY <const> = 5 -- the group of terminals, in most images

local function kind_of(o, chosen, maps)
  return { bare = o.bare, proc = chosen.pid ~= nil, net = chosen.net ~= nil,
    ipc = chosen.ipc == true, cgroup = chosen.cgroup == true,
    masks = require("nsbox.mounts").has_masks(o),
    tty = maps == nil and not chosen.user or maps ~= nil
      and require("nsbox.ranges").has_inside(maps.gid, TTY) }
end

local function add_scratch(list)
  return append(list, { type = "tmpfs", source = "nsbox", target = "/", scratch = true,
    flags = { "nosuid", "nodev" }, data = "mode=755" })
end

--- The mounts of a plan.
-- @tparam table plan what is there of it: `hostname`, `no_new_privs`, `uid`, `gid`
-- @tparam table o checked options
-- @tparam table chosen kinds of namespace: which are new, or joined
-- @tparam table who `{ euid, egid, maps = }`, as the machine counts ids
-- @tparam string op the verb, for an Error
-- @tparam table opened gets what has to be closed after the launch
-- @tparam ?boolean only its files are asked for: without what every root has
-- @treturn table its field `mounts`
function M.list(plan, o, chosen, who, op, opened, only)
  local basics = require "nsbox.basics"
  local list = {}
  local binds = sources_of_wishes(list, plan, o, who, op, opened)
  local taken = sources(list, o, who, op, opened)
  require("nsbox.early").add(list, plan, only and {} or o, chosen, who)
  local scratch = (not o.bare or o.overlay) and add_scratch(list)
  add_root(list, taken, o, plan, scratch, chosen.user ~= nil)
  if o.rootfs.ro and o.rootfs.dir and not o.overlay then
    -- not yet, at the top: there may be something to make
    append(list, { attr = "/", clear = { "ro" }, try = true })
  end
  if not only then
    append(list, basics.mounts(kind_of(o, chosen, who.maps)))
  end
  if not (only or o.bare) then
    basics.add_files(list, scratch, plan, chosen)
  end
  add_wishes(list, o, plan, binds)
  if o.rootfs.ro then
    append(list, { attr = "/", set = { "ro" } })
  end
  append(list, { pivot = true })
  return list
end

return M

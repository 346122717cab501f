--- What a box without a root file system of its own sees: the host's, with changes.
--
-- The order is this: the sources of binds are taken while they are what the
-- caller sees, then the host's files become read-only, then come /proc, what
-- hides parts of it, and last what the caller asked for, which may lie over any
-- of these.
--
-- @internal nsbox.mounts

local process = require "nsbox.sys.process"

local M = {}

-- what is mounted belongs to whoever mounts, and the kernel's root is nobody inside
local function inside_has_root(maps)
  local has = require("nsbox.ranges").has_inside
  return has(maps.uid, 0) and has(maps.gid, 0)
end

local function add_defences(mounts)
  local d = require "nsbox.defaults"
  for _, path in ipairs(d.masked_files) do
    mounts[#mounts + 1] = { source = "/dev/null", target = path, flags = { "bind" },
      optional = true }
  end
  for _, path in ipairs(d.masked_directories) do
    mounts[#mounts + 1] = { type = "tmpfs", source = "tmpfs", target = path,
      flags = { "ro", "nosuid", "nodev", "noexec" }, data = "size=0,nr_inodes=2",
      optional = true }
  end
  for _, path in ipairs(d.readonly_paths) do
    mounts[#mounts + 1] = { source = path, target = path, flags = { "bind", "rec" },
      optional = true }
    mounts[#mounts + 1] = { attr = path, set = { "ro", "nosuid", "nodev", "noexec" },
      recursive = true, optional = true }
  end
end

-- What a program cannot gain by exec it is not offered: with no_new_privs a
-- file's capabilities would only make the exec fail (Debian's ping has one).
local ATTRIBUTES <const> = { [true] = { "ro", "nosuid" }, [false] = { "ro" } }

-- What every box has that is made with the same choices: checked once, see
-- process.mounts, and a list of the one element that it is then.
local function by_masks()
  return { [true] = {}, [false] = {} }
end
local constant = { bare = by_masks(), [true] = by_masks(), [false] = by_masks() }
local function constant_mounts(bare, no_new_privs, own_proc, masks)
  local list = (bare and constant.bare or constant[no_new_privs])[masks]
  local made = list[own_proc]
  if made then
    return made
  end
  local mounts = {}
  if not bare then
    mounts[1] = { attr = "/", set = ATTRIBUTES[no_new_privs], recursive = true }
    if not own_proc then
      mounts[2] = { attr = "/proc", clear = { "ro" }, optional = true }
    end
  end
  if own_proc then
    mounts[#mounts + 1] = { type = "proc", source = "proc", target = "/proc",
      flags = { "nosuid", "nodev", "noexec" } }
  end
  if masks then
    add_defences(mounts)
  end
  made = { process.mounts(mounts) }
  list[own_proc] = made
  return made
end

--- Whether parts of /proc and /sys are hidden: a bare box has to ask for that.
-- @tparam table o checked options
-- @treturn boolean
function M.has_masks(o)
  if o.masks == nil then
    return not o.bare
  end
  return o.masks
end

--- The mounts of a plan.
-- @tparam table plan what is there of it: `maps`, `no_new_privs`
-- @tparam table o checked options
-- @tparam table chosen kinds of namespace: which are new, or joined
-- @tparam table who `{ euid, egid, maps = }`, as the machine counts ids
-- @tparam string op the verb, for an Error
-- @tparam table opened gets what has to be closed after the launch
-- @tparam ?boolean only its files are asked for: without what every box has
-- @treturn table its field `mounts`
function M.list(plan, o, chosen, who, op, opened, only)
  local made = only and {}
    or constant_mounts(o.bare, plan.no_new_privs, chosen.pid ~= nil, M.has_masks(o))
  local early = not only and o.sysctl and require("nsbox.early")
  early = early and early.has_settings(o) and early
  if not (o.bind or o.tmpfs or early) then
    return made
  end
  local mounts = {}
  local taken = require("nsbox.binds").take(mounts, plan, o.bind, who, op, opened)
  if early then
    early.add(mounts, plan, o, chosen, who)
  end
  mounts[#mounts + 1] = made[1]
  local root = o.tmpfs and plan.maps and inside_has_root(plan.maps) and ",uid=0,gid=0" or ""
  for _, t in ipairs(o.tmpfs or {}) do
    mounts[#mounts + 1] = { type = t.type, source = t.source, target = t.target, flags = t.flags,
      data = t.data .. root }
  end
  for i, b in ipairs(o.bind or {}) do
    local nosuid = not o.bare and plan.no_new_privs
    mounts[#mounts + 1] = { place = taken[i], target = b.to,
      set = b.ro and ATTRIBUTES[nosuid] or nosuid and { "nosuid" } or nil,
      clear = not b.ro and not o.bare and { "ro" } or nil }
  end
  return mounts
end

return M

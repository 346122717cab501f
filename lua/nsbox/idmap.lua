--- Which ids a box has: from the option `maps` to the maps of a launch.
--
--     nil       the default: a user's box "self", root's box a range of
--               65,536 unprivileged ids
--     "self"    our own uid and gid become 0, nothing else is there
--     "subuid"  our own ids become 0, those of /etc/subuid and /etc/subgid follow
--     list      of { inside, outside, length }, for uids and gids
--     { uid = list, gid = list }
--
-- "Root" here is the kernel's own: root inside a user namespace has no more
-- ids than that one, so it counts as a user. The ranges a user was given, and
-- the helpers that may write them, are in `nsbox.subid`, the check of ranges
-- that a script wrote down in `nsbox.ranges`, both loaded when needed.
--
-- user_namespaces(7), subuid(5)
--
-- @internal nsbox.idmap

local process = require "nsbox.sys.process"

local ALL <const> = 4294967295

local M = {}

--- Checks the option `maps`, as a type for `nsbox.opts`; also called `check`.
-- @tparam string|table maps
-- @treturn ?string|table "self", "subuid", or a copy `{ uid = ranges, gid = ranges }`
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.parse(maps)
  if maps == "self" or maps == "subuid" then
    return maps
  elseif type(maps) == "table" then
    return require("nsbox.ranges").parse(maps)
  end
  return nil, "expected 'self', 'subuid' or a list of { inside, outside, length }, got "
    .. (type(maps) == "string" and "'" .. maps .. "'" or "a " .. type(maps))
end

M.check = M.parse

-- whoever has all ids is root of the machine; not to know it is no answer: a
-- box of the wrong kind would have the kernel's uid 0
local function has_all_ids(op)
  local sys = require "nsbox.sys"
  local map, message, errno = sys.idmap.read(nil, "uid")
  if not map then
    local ok, e = pcall(require, "nsbox.error")
    if not ok then -- a module is a file, and there may be no descriptor left
      error(op .. ": " .. message, 0)
    end
    e.raise { op = op, step = "uid_map", subject = "/proc/self/uid_map",
      detail = message:gsub("^.-: ", "", 1), errno = errno }
  end
  return #map == 1 and map[1][1] == 0 and map[1][2] == 0 and map[1][3] == ALL
end

local function setgroups()
  local file <close> = io.open("/proc/self/setgroups")
  return file and file:read("a"):match "deny"
end

-- what takes a look, where it was not given
local function complete(who, op)
  if who.root == nil then
    who.root = who.euid == 0 and has_all_ids(op)
    if who.euid == 0 and not who.root then
      who.setgroups = setgroups()
    end
  end
  return who
end

--- Who asks for maps: this process.
-- @tparam[opt="maps"] string op the verb that asks, for the Error where /proc does not say
-- @treturn table `{ euid, egid, root, setgroups }`; root: privileged in the initial user
--   namespace; setgroups: "deny" where root of another one may not drop groups
function M.who(op)
  local euid, egid = process.geteuid()
  return complete({ euid = euid, egid = egid }, op or "maps")
end

local function self_maps(who)
  -- the kernel lets a process map its own gid only where groups cannot be dropped
  return { uid = { { 0, who.euid, 1 } }, gid = { { 0, who.egid, 1 } }, setgroups = "deny" }
end

local function only(ranges, id)
  return #ranges == 1 and ranges[1][2] == id and ranges[1][3] == 1
end

-- a user may write one line with the own id; the rest is the helpers' to write
local function listed(maps, who, op)
  local out = { uid = maps.uid, gid = maps.gid, setgroups = who.setgroups }
  if who.euid ~= 0 then
    local helper = require("nsbox.subid").helper
    if only(maps.gid, who.egid) then
      out.setgroups = "deny"
    else
      out.newgidmap = helper("newgidmap", op)
    end
    if not only(maps.uid, who.euid) then
      out.newuidmap = helper("newuidmap", op)
    end
  end
  return out
end

-- what root's own entries give does not change while a script runs
local root_range

--- Turns the option `maps` into the field `maps` of a plan for `sys.process.spawn`.
-- A helper or an entry that is missing raises an Error, a wrong range a string.
-- @tparam ?string|table maps the option
-- @tparam[opt="maps"] string op the verb that asks, for the Error
-- @tparam[opt] table who as from `who()`, `euid` and `egid` at least; also `uid` and
--   `name`, whose ranges are meant, and `read`, a function from a path to its text
--   or nil (for tests)
-- @treturn table `{ uid, gid, setgroups, newuidmap, newgidmap }`
function M.resolve(maps, op, who)
  op = op or "maps"
  if not who then
    local euid, egid = process.geteuid()
    who = { euid = euid, egid = egid }
  end
  if maps == "self" then
    return self_maps(who)
  end
  complete(who, op)
  if maps == nil then
    maps = who.root and "range" or "self"
  else
    local message
    maps, message = M.parse(maps)
    if not maps then
      error(op .. ": maps: " .. message, 2)
    end
  end
  if maps == "self" then
    return self_maps(who)
  elseif maps == "range" then
    if who.read then
      return require("nsbox.subid").root_range(who)
    end
    root_range = root_range or require("nsbox.subid").root_range(who)
    return root_range
  elseif maps == "subuid" then
    return listed(require("nsbox.subid").ranges(who, op), who, op)
  end
  return listed(maps, who, op)
end

return M

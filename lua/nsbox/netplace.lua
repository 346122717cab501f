--- Where in the network: a namespace, and a netlink handle that works in it.
--
-- A place is told again after a crash by its cookie (inodes of namespaces are
-- used again) and found by how it was meant: the caller's own, a name, a path,
-- a process; else by looking through all processes.
--
-- network_namespaces(7), rtnetlink(7)
--
-- @module nsbox.netplace

local ns = require "nsbox.sys.ns"
local netlink = require "nsbox.sys.netlink"
local process = require "nsbox.sys.process"

local OWN <const> = "/proc/thread-self/ns/net"

---@class nsbox.NetPlace
---@field nl userdata a netlink handle
---@field inode integer of the namespace
---@field cookie? integer nil: this process may not ask for it
---@field where string how to find it again: "own", "path:…", "pid:PID:IDENTITY"
---@field label? string for people: "netns blue"; nil: the caller's own
local Place = {}
Place.__index = Place

local M = {}

-- how to find it again, and what people call it
local function describe(place)
  if place == nil then
    return "own"
  elseif type(place) == "string" then
    local path = place:find("/", 1, true) and place or "/run/netns/" .. place
    return "path:" .. path, "netns " .. place
  end
  local pid = math.type(place) == "integer" and place or type(place) == "table" and place.pid
  if pid then
    local handle <close> = process.open(pid)
    local id = handle and handle:identity()
    local name = type(place) == "table" and place.name
    return id and ("pid:%d:%s"):format(pid, id) or "unknown",
      name and "box " .. name or "pid " .. pid
  end
  return type(place) == "table" and place._pin and "path:" .. place._pin or "unknown",
    tostring(place)
end

--- Opens a place.
-- @param place any form of `netns`; nil: the caller's own
-- @tparam string op the verb that asks, for an Error
-- @treturn nsbox.NetPlace to be closed
function M.open(place, op)
  local handle
  if place == nil then
    handle = require("nsbox.error").check(op, OWN, ns.open(OWN))
  else
    handle = require("nsbox.place").open(place, "net", op)
  end
  local _, inode = handle:id()
  local nl, message, errno = netlink.open(handle)
  local cookie = nl and handle:cookie() or nil
  if handle ~= place then
    handle:close()
  end
  local where, label = describe(place)
  if not nl then
    require("nsbox.error").raise { op = op, netns = label, detail = message:match "^[^:]*: (.*)$"
      or message, errno = errno }
  end
  return setmetatable({ nl = nl, inode = inode, cookie = cookie, where = where, label = label },
    Place)
end

-- a handle of the namespace that a step was done in
local function is_meant(handle, step)
  if not handle then
    return nil
  end
  local _, inode = handle:id()
  if inode == step.nsinode and (not step.netns or handle:cookie() == step.netns) then
    return handle
  end
  handle:close()
end

local function by_pid(where)
  local pid, id = where:match "^pid:(%d+):(.*)$"
  local handle <close> = pid and process.open(math.tointeger(pid)) or nil
  return handle and handle:identity() == id and ns.open(handle, "net") or nil
end

local function by_looking(step)
  for _, record in ipairs(ns.scan "net" or {}) do
    if record.inode == step.nsinode then
      return is_meant(require("nsbox.nslist").open(record), step)
    end
  end
end

--- The namespace in which a step was done.
-- @tparam nsbox.Step step with `netns` (a cookie), `nsinode`, `where`
-- @treturn ?nsbox.NetPlace nil: it is gone
function M.find(step)
  local path = step.where:match "^path:(.*)$"
  local handle = is_meant(ns.open(OWN), step)
    or path and is_meant(ns.open(path), step)
    or is_meant(by_pid(step.where), step)
    or by_looking(step)
  local nl = handle and netlink.open(handle)
  if handle then
    handle:close()
  end
  return nl and setmetatable({ nl = nl, inode = step.nsinode, cookie = step.netns,
    where = step.where }, Place)
end

--- The fields by which a step finds its namespace again.
-- @tparam table step gets them
-- @treturn table step
function Place:mark(step)
  step.netns, step.nsinode, step.where = self.cookie, self.inode, self.where
  return step
end

--- Raises what a primitive could not do here, or passes its values on.
-- @tparam string op the verb
-- @tparam string subject on what
-- @param ... what the primitive returned
-- @return the values
function Place:check(op, subject, ...)
  local value, message, errno = ...
  if value then
    return ...
  end
  -- "link_add br0: the kernel's sentence"
  local verb, detail = message:match "^(%l+_%l+)[^:]*: (.*)$"
  require("nsbox.error").raise({ op = op, step = verb, subject = subject, netns = self.label,
    detail = detail or message, errno = errno }, { place = self })
end

--- Lets go of the handle.
function Place:close()
  self.nl:close()
end

Place.__close = Place.close

return M

--- Where in the network: a namespace, and a netlink handle that works in it.
--
-- A place is told again after a crash by its cookie (inodes of namespaces are
-- used again) and found by how it was meant: the caller's own, a name, a path,
-- a process; else by looking through all processes.
--
-- network_namespaces(7), rtnetlink(7)
--
-- @internal nsbox.netplace

local fd = require "nsbox.sys.fd"
local ns = require "nsbox.sys.ns"
local netlink = require "nsbox.sys.netlink"
local process = require "nsbox.sys.process"
local here = require "nsbox.here"
local place_forms = require "nsbox.place"
-- here, not where it is used: an undo at the end of a script may be elsewhere
local nslist = require "nsbox.nslist"

local OWN <const> = "/proc/thread-self/ns/net"
local FIRST_PIDNS <const> = 0xEFFFFFFC
local EXDEV <const> = 18

---@class nsbox.NetPlace
---@field nl userdata a netlink handle
---@field inode integer of the namespace
---@field cookie? integer nil: this process may not ask for it
---@field label? string for people: "netns blue"; nil: where the scope works
---@field island? nsbox.Island that it is in
---@field nft? userdata of `nsbox.nftable.handle`
local Place = {}
Place.__index = Place

local M = {}

--- The protocol that tells what was added to a device that is not ours: `ip route` and
-- `ip addr` show it, and none of those that are known has this number.
M.PROTOCOL = 110

-- the number of a process; what is of all kinds of namespaces has a field of this name, too
local function pid_of(place)
  local pid = type(place) == "table" and place.pid or place
  return math.type(pid) == "integer" and pid or nil
end

-- how to find it again: "own", "path:…", "pid:PID:IDENTITY", "island", "unknown"
local function describe(place)
  if place == nil then
    return "own"
  elseif type(place) == "table" and place._open then
    return "island"
  elseif type(place) == "string" then
    return "path:" .. (place:find("/", 1, true) and place or "/run/netns/" .. place)
  end
  local pid = pid_of(place)
  if pid then
    local handle <close> = process.open(pid)
    local id = handle and handle:identity()
    return id and ("pid:%d:%s"):format(pid, id) or "unknown"
  end
  return type(place) == "table" and place._pin and "path:" .. place._pin or "unknown"
end

--- What people call a place.
-- @param place any form of `netns`
-- @treturn ?string nil: the caller's own
function M.label(place)
  place = place_forms.meant(place)
  if type(place) == "string" then
    return "netns " .. place
  elseif math.type(place) == "integer" then
    return "pid " .. place
  elseif type(place) ~= "table" then
    return place and tostring(place) or nil
  elseif place._open then
    return place.name and "netns " .. place.name or nil
  elseif pid_of(place) then
    return place.name and "box " .. place.name or "pid " .. place.pid
  end
  return place.name and "netns " .. place.name or tostring(place._island or place)
end

local function inode_of(handle)
  local _, inode = handle:id()
  return inode
end

-- the caller's own namespace as it was the last time: a script that moves comes to another one,
-- and a cookie is never used again
local own = {}

-- the inode of the namespace that the calling thread is in; nil: nobody can tell
local function own_inode(cookie)
  if cookie == nil or cookie ~= own.cookie then
    local st = fd.stat(OWN)
    own.cookie, own.inode = cookie, st and st.ino
  end
  return own.inode
end

--- Opens a place.
-- @param place any form of `netns`; nil: the caller's own
-- @tparam string op the verb that asks, for an Error
-- @tparam[opt] nsbox.Island island that it is in, where the form does not tell
-- @treturn nsbox.NetPlace to be closed
function M.open(place, op, island)
  place = place_forms.meant(place)
  local handle = place ~= nil and place_forms.open(place, "net", op) or nil
  island = type(place) == "table" and place._island or island
  local nl, message, errno = (island or here):netlink(handle)
  local cookie = nl and nl:cookie()
  local inode = handle and inode_of(handle) or own_inode(cookie)
  if not nl then
    if handle ~= place then
      handle:close()
    end
    local label = M.label(place) or island and tostring(island)
    require("nsbox.error").raise { op = op, netns = label, errno = errno,
      detail = message:match "^[^:]*: (.*)$" or message,
      hint = require("nsbox.hints").hint(op, "netlink", errno,
        { place = { inode = inode, label = label } }) }
  end
  return setmetatable({ nl = nl, inode = inode, cookie = cookie, label = M.label(place),
    island = island, _handle = handle, _given = place }, Place)
end

-- what cannot be looked at is not gone
local function refuse(step, message, errno)
  error(require("nsbox.undo").failure("netns of " .. tostring(step.dev or step.key or step.kind),
    message, errno), 0)
end

-- the place of this inode, if it is the one that a step was done in; the handle of its namespace,
-- nil: the caller's own
local function if_meant(step, inode, handle)
  local nl, message, errno
  if inode == step.nsinode then
    nl, message, errno = netlink.open(handle)
    if nl and nl:cookie() == step.netns then
      return setmetatable({ nl = nl, inode = step.nsinode, cookie = step.netns,
        _handle = handle, _where = step.where }, Place)
    end
  end
  if nl then
    nl:close()
  end
  if handle then
    handle:close()
  end
  if message then
    refuse(step, message, errno)
  end
end

-- the same of a handle, if there is one
local function behind(handle, step)
  if handle then
    return if_meant(step, inode_of(handle), handle)
  end
end

-- of what is in an island of this process: by what it is there
local function by_object(step)
  local ok, place = pcall(M.open, step._given, "undo")
  if ok and place:has(step) then
    return place
  elseif ok then
    place:close()
  end
end

local function by_pid(where)
  local pid, id = where:match "^pid:(%d+):(.*)$"
  local handle <close> = pid and process.open(math.tointeger(pid)) or nil
  return handle and handle:identity() == id and ns.open(handle, "net") or nil
end

-- in the first pid namespace all processes have a number
local function sees_all()
  return fd.stat("/proc/self/ns/pid").ino == FIRST_PIDNS
end

local function by_looking(step)
  for _, record in ipairs(ns.scan "net" or {}) do
    if record.inode == step.nsinode then
      return behind(nslist.open(record), step)
    end
  end
end

--- The namespace in which a step was done.
-- @tparam nsbox.Step step with `netns` (a cookie), `nsinode`, `where`
-- @treturn ?nsbox.NetPlace nil: it is gone
-- @raise an Error when this process may not enter it
function M.find(step)
  if step._given then
    return by_object(step)
  end
  local path = step.where:match "^path:(.*)$"
  local place = if_meant(step, own_inode(), nil)
    or path and behind(ns.open(path), step)
    or behind(by_pid(step.where), step)
    or by_looking(step)
  -- a name that is gone, or another's, is known to be so
  if not place and step._elsewhere and not path and not sees_all() then
    refuse(step, "processes of another pid namespace may be in it", EXDEV)
  end
  return place
end

--- A form of `netns` that means this place.
-- @treturn ?string|integer nil: the caller's own
function Place:again()
  local pid = self._where:match "^pid:(%d+):"
  return pid and math.tointeger(tonumber(pid)) or self._where:match "^path:(.*)$"
end

--- What tells a device from those of the same name in other namespaces.
-- @tparam string name
-- @treturn string for people: "br0 in netns blue"
function Place:named(name)
  return name .. (self.label and " in " .. self.label or "")
end

--- What kind of device a record is of.
-- @tparam table record as `link_get` gives it
-- @treturn string "bridge", "veth" …; "device": one that no program made
function M.kind(record)
  return record.kind or record.type == "loopback" and "loopback" or "device"
end

--- The device of a step, in its place.
-- @tparam nsbox.Step step with `index` and `device`, its kind
-- @treturn ?nsbox.NetPlace to be closed; nil: it is gone
-- @treturn ?table the record of the device; nil: that is gone
function M.device(step)
  local place = M.find(step)
  local record = place and place.nl:link_get(step.index)
  return place, record and M.kind(record) == step.device and record or nil
end

--- A handle of its namespace.
-- @treturn userdata it stays the place's
-- @raise an Error, EXDEV: the calling thread has gone to another one since
function Place:namespace()
  if not self._handle then -- the caller's own, which most have no need of
    local handle = require("nsbox.error").check("open", OWN, ns.open(OWN))
    if inode_of(handle) ~= self.inode then
      handle:close()
      require("nsbox.error").raise { op = "open", subject = OWN, code = "EXDEV", hint = false,
        detail = "the script has gone to another network namespace meanwhile" }
    end
    self._handle = handle
  end
  return self._handle
end

--- What tells its namespace from all others: the fields that `has` compares.
-- @treturn table
function Place:identity()
  return { netns = self.cookie, nsinode = self.inode }
end

--- The fields by which a step finds its namespace again.
-- @tparam table step gets them
-- @treturn table step
function Place:mark(step)
  self._where = self._where or describe(self._given)
  step.netns, step.nsinode, step.where = self.cookie, self.inode, self._where
  if self.island then
    step._given, step._inside = self._given, self.island
  end
  return step
end

--- Whether a step was done here, and not in another namespace that was named so.
-- @tparam nsbox.Step step
-- @tparam ?string field of its number, the cookie; default `netns`
-- @tparam ?string inode field of its inode; default `nsinode`
-- @treturn boolean
function Place:has(step, field, inode)
  return step[field or "netns"] == self.cookie and step[inode or "nsinode"] == self.inode
end

--- Whether the device of a step is here, under its name.
-- @tparam nsbox.Step step
-- @treturn boolean
function Place:holds(step)
  local record = self:has(step) and self.nl:link_get(step.index or step.dev)
  return record and record.name == step.dev or false
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
  error(self:failure(op, subject, message, errno), 0)
end

--- The Error of what a primitive could not do here.
-- @tparam string op the verb
-- @tparam string subject on what
-- @tparam string message the primitive's
-- @tparam integer errno
-- @tparam[opt] table context what else a hint may look at
-- @treturn nsbox.Error
function Place:failure(op, subject, message, errno, context)
  -- "link_add br0: the kernel's sentence", "addr_add fd00::1/64: …"
  local verb, what, detail = message:match "^(%l+_%l+) ?(.-): (.*)$"
  what = what and what:gsub(" dev %S+$", "")
  local other = what ~= "" and what ~= subject
  if verb and not verb:find "^link" and not verb:find "^port" and other then
    subject = what .. " on " .. subject
  end
  context = context or {}
  context.place, context.about = self, what
  return require("nsbox.error").new({ op = op, step = verb, subject = subject,
    netns = self.label or self.island and tostring(self.island) or nil,
    detail = detail or message, errno = errno }, context)
end

--- Lets go of the handles.
function Place:close()
  self.nl:close()
  if self.nft then
    self.nft:close()
  end
  if self._handle and self._handle ~= self._given then
    self._handle:close()
  end
end

Place.__close = Place.close

return M

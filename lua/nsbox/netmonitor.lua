--- Monitors: what changes in a network, as it changes.
--
-- The kernel drops changes that nobody reads in time. Then everything is
-- listed again, and what became different is told as if it had just happened:
-- who follows a monitor knows the state, though perhaps not every step to it.
--
-- rtnetlink(7), ip-monitor(8)
--
-- @module nsbox.netmonitor

local netlink = require "nsbox.sys.netlink"
local net = require "nsbox.net"
local netplace = require "nsbox.netplace"
local opts = require "nsbox.opts"
local wait = require "nsbox.wait"

local EAGAIN <const>, ENOBUFS <const> = 11, 105
local MOST <const> = 64 -- reads in a row: a network that never rests must not hold us

---@class nsbox.Monitor
local Monitor = { __name = "nsbox.monitor" }
Monitor.__index = Monitor

local M = {}

-- what tells one thing of a kind from another
local key = {}

function key.link(r)
  return r.index
end

function key.addr(r)
  return ("%s %s %s"):format(r.dev, r.addr, r.peer or "")
end

function key.route(r)
  -- IPv4 has one of these; of IPv6 each device may have one
  return table.concat({ r.family, r.table or "", r.dst, r.from or "", r.metric or 0, r.type,
    r.family == "inet6" and (r.dev or "") .. " " .. (r.via or "") or "" }, " ")
end

local schema = opts.schema("net.monitor", {
  { "string", one_of = { "link", "addr", "route" }, doc = "what to watch" },
  netns = { function(value)
    local ok, wrong = require("nsbox.place").check(value, "net")
    return ok and value or nil, wrong
  end, doc = "where; absent: the caller's own" },
})

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b
  end
  for name, value in next, a do
    if name ~= "what" and name ~= "action" and not same(value, b[name]) then
      return false
    end
  end
  for name in next, b do
    if name ~= "what" and name ~= "action" and a[name] == nil then
      return false
    end
  end
  return true
end

-- the kernel fills the table local by itself, from the addresses
local function is_noise(what, record)
  return what == "route" and record.table == "local"
end

-- everything there is, by kind and key
local function survey(self)
  local state = {}
  for _, what in ipairs(self._what) do
    state[what] = {}
    local nl = self._place.nl
    local records = self._place:check("net.monitor", nil, nl[what .. "_list"](nl))
    for _, record in ipairs(records) do
      if what == "link" then
        self._names[record.index] = record.name
      end
      record = net.name(record, self._name_of)
      state[what][key[what](record)] = not is_noise(what, record) and record or nil
    end
  end
  return state
end

-- who gets it may change it, and the state goes on having it
local function push(self, record, what, action)
  local event = { what = what, action = action }
  for name, value in next, record do
    if name ~= "what" and name ~= "action" then
      event[name] = value
    end
  end
  self._last = self._last + 1
  self._queue[self._last] = event
end

-- one that the kernel told of
local function take(self, record)
  if record.what == "link" then
    self._names[record.index] = record.name
  end
  local what, action = record.what, record.action
  if is_noise(what, record) then
    return
  end
  record = net.name(record, self._name_of)
  self._state[what][key[what](record)] = action == "new" and record or nil
  push(self, record, what, action)
end

-- changes were lost: tells what is different now
local function resync(self)
  local now = survey(self)
  for _, what in ipairs(self._what) do
    for name, record in next, self._state[what] do
      if now[what][name] == nil then
        push(self, record, what, "del")
      end
    end
    for name, record in next, now[what] do
      if not same(record, self._state[what][name]) then
        push(self, record, what, "new")
      end
    end
  end
  self._state = now
end

-- reads what there is, without waiting. What was lost came after what is still there to be
-- read: everything is looked at again when that has been told
local function fill(self)
  for _ = 1, MOST do
    local events, message, errno = self._socket:read()
    if events then
      for _, event in ipairs(events) do
        take(self, event)
      end
      if not self._lost and self._first <= self._last then
        return
      end
    elseif errno == ENOBUFS then
      self._lost = true
    elseif errno == EAGAIN then
      if self._lost then
        self._lost = false
        resync(self)
      end
      return
    else
      self._place:check("net.monitor", nil, nil, message, errno)
    end
  end
end

--- Opens one; see `nsbox.net.monitor`.
-- @tparam table o
-- @tparam integer level whose line to blame
-- @treturn nsbox.Monitor
function M.open(o, level)
  o = schema:check(o, level + 1)
  if #o == 0 then
    require("nsbox.mistake").raise("net.monitor: what? \"link\", \"addr\", \"route\"", level + 1)
  end
  local place = netplace.open(o.netns, "net.monitor")
  local self = { _place = place, _what = {}, _names = {}, _queue = {}, _first = 1, _last = 0 }
  for i, what in ipairs(o) do
    self._what[i] = what
  end
  self._name_of = function(index)
    self._names[index] = place.nl:name(index) or self._names[index]
    return self._names[index]
  end
  -- a monitor first: nothing may happen between the two
  local ok, err = pcall(function()
    self._socket = place:check("net.monitor", nil, netlink.monitor(place:namespace(), self._what))
    self._state = survey(self)
  end)
  if not ok then
    place:close()
    if self._socket then
      self._socket:close()
    end
    error(err, 0)
  end
  return setmetatable(self, Monitor)
end

--- The next change; a link that is changed is a new one.
-- @tparam[opt] table o `timeout`; absent: waits for ever
-- @treturn ?table a record with `what`, `"link"` …, and `action`, `"new"` or `"del"`
-- @treturn[2] nil
-- @treturn[2] string "timeout", or "closed"
function Monitor:next(o)
  local timeout = require("nsbox.waits").timeout("next", o or {}, 2)
  if self._closed then
    return nil, "closed"
  end
  local found, why = wait.until_(function()
    if self._first > self._last and not self._closed then
      fill(self)
    end
    if self._closed then
      return false
    elseif self._first <= self._last then
      local record = self._queue[self._first]
      self._queue[self._first] = nil
      self._first = self._first + 1
      return record
    end
  end, timeout and wait.now() + timeout, { [self._socket:fileno()] = "r" })
  if found == false then
    return nil, "closed"
  end
  return found, why
end

--- The descriptor that is readable when the kernel has something to tell.
-- @treturn integer
function Monitor:fileno()
  return self._socket:fileno()
end

--- Ends it; twice is harmless.
function Monitor:close()
  self._closed = true
  self._socket:close()
  self._place:close()
end

Monitor.__close = Monitor.close
Monitor.__gc = Monitor.close

function Monitor:__tostring()
  return ("monitor of %s%s%s"):format(table.concat(self._what, ", "),
    self._place.label and " in " .. self._place.label or "", self._closed and " (closed)" or "")
end

return M

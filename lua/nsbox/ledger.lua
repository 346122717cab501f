--- The ledger: which addresses and subnets the scopes of this user have.
--
-- Nothing is kept besides the journals: a step that has not been undone has
-- what its `addr` says. Who chooses looks at all journals under one lock, which
-- he holds until his choice is in his own; so what is undone, by whomever, is
-- free, and what a killed script had is free when it is recovered.
--
-- Reading goes on where it ended the last time: most journals only grow.
--
-- flock(2)
--
-- @internal nsbox.ledger

local fd = require "nsbox.sys.fd"
local inet = require "nsbox.inet"
local journals = require "nsbox.journal"
local record = require "nsbox.record"

local EAGAIN <const> = 11
local PATIENCE <const> = 10 -- seconds; others hold the lock for some milliseconds

local M = {}

---@class nsbox.LedgerPage  what one journal says
---@field name string of the journal
---@field state nsbox.JournalState
---@field subnets nsbox.Step[] steps of bridges that have addresses
---@field cards table address → step, by `M.key`

-- name → page, as far as it was read
local pages = {}

--- What tells a bridge from all others.
-- @tparam integer netns cookie of its namespace; nil: nobody may ask for it
-- @tparam integer inode of its namespace
-- @tparam integer index
-- @treturn string
function M.key(netns, inode, index)
  return ("%s/%s/%s"):format(netns, inode, index)
end

-- the steps that are new since the last look
local function enter(page)
  local steps = page.state.steps
  for i = page.entered + 1, #steps do
    local step = steps[i]
    if step.kind == "link" and step.addr and step.master then
      local key = M.key(step.netns, step.nsinode, step.master)
      page.cards[key] = page.cards[key] or {}
      for addr in step.addr:gmatch "%S+" do
        page.cards[key][inet.parse(addr).bytes] = step
      end
    elseif step.kind == "link" and step.addr then
      table.insert(page.subnets, step)
    end
  end
  page.entered = #steps
end

-- the text from a place on, if what was before it is still there
local function follow(file, page)
  file:seek("set", page.size - #page.tail)
  if file:read(#page.tail) == page.tail then
    return file:read "a"
  end
end

local function read(name, path)
  local st = fd.stat(path)
  local file <close> = st and io.open(path, "rb")
  if not file then
    return nil
  end
  local page = pages[name]
  local more = page and page.ino == st.ino and st.size >= page.size and follow(file, page)
  if not more then
    file:seek "set"
    page, more = { name = name, ino = st.ino, size = 0, tail = "", entered = 0, subnets = {},
      cards = {} }, file:read "a"
  end
  more = more:match "^.*\n" or ""
  if more ~= "" then
    page.state = record.read(more, page.state)
    page.size, page.tail = page.size + #more, more:match "([^\n]*\n)$"
    enter(page)
  end
  return page
end

---@class nsbox.Ledger  the lock, and what the others have
---@field pages nsbox.LedgerPage[] of the journals of others
local Ledger = {}
Ledger.__index = Ledger

local function others(op, own, path, dir)
  local now, list = {}, {}
  for _, name in ipairs(journals.names(op, dir)) do
    local page = name ~= own and read(name, journals.path(name, path)) or nil
    now[name] = page
    if page and page.state and page.state.run.boot == journals.boot_id() then
      list[#list + 1] = page
    end
  end
  pages = now
  return list
end

local function lock(op, path)
  local failure
  local handle = require("nsbox.lock").wait(function()
    local dir, message, errno = fd.open(path, { "directory" })
    local ok
    if dir then
      ok, message, errno = dir:flock()
    end
    if ok then
      return dir
    elseif dir then
      dir:close()
    end
    if errno ~= EAGAIN then
      failure = { message, errno }
      return false
    end
  end, PATIENCE)
  if failure then
    require("nsbox.error").check(op, path, nil, failure[1], failure[2])
  elseif not handle then
    require("nsbox.error").raise { op = op, subject = path, code = "ETIMEDOUT",
      detail = ("another script chooses addresses or ports, for more than %d s"):format(PATIENCE),
      hint = "is it stopped? fuser " .. path .. " tells its pid" }
  end
  return handle
end

-- its directory was checked when it was made, and is not removed by others
local function directory(scope, op)
  return scope:_writes(op).path:match "^(.*)/"
end

--- Takes the lock alone, for what is not in the journals but in the kernel.
-- @tparam nsbox.Scope scope
-- @tparam string op the verb, for an Error
-- @treturn userdata until it is closed nobody else chooses
function M.lock(scope, op)
  return lock(op, directory(scope, op))
end

--- Opens it for a scope that is going to choose: until it is closed nobody else chooses.
-- @tparam nsbox.Scope scope
-- @tparam string op the verb, for an Error
-- @treturn nsbox.Ledger
function M.open(scope, op)
  local path = directory(scope, op)
  local handle, own = lock(op, path), scope:_writes(op)
  local ok, list = pcall(others, op, own.name, path, handle)
  if not ok then
    handle:close()
    error(list, 0)
  end
  return setmetatable({ pages = list, _handle = handle }, Ledger)
end

--- The card of another scope that has an address.
-- @tparam string key of the bridge, see `M.key`
-- @tparam string bytes
-- @treturn ?nsbox.Step
function Ledger:card(key, bytes)
  for _, page in ipairs(self.pages) do
    local step = page.cards[key] and page.cards[key][bytes]
    if step and not step.over then
      return step
    end
  end
end

local function whose(page)
  return page.state.name and ('scope "%s"'):format(page.state.name)
    or ("a scope of pid %s"):format(page.state.pid)
end

--- The bridges of other scopes that have addresses.
-- @treturn table[] `{ step, whose }`
function Ledger:bridges()
  local list = {}
  for _, page in ipairs(self.pages) do
    local live = {}
    for _, step in ipairs(page.subnets) do
      if not step.over then
        live[#live + 1] = step
        list[#list + 1] = { step = step, whose = whose(page) }
      end
    end
    page.subnets = live
  end
  return list
end

--- Lets others choose; twice is harmless.
function Ledger:close()
  if self._handle then
    self._handle:close()
    self._handle = nil
  end
end

Ledger.__close = Ledger.close

return M

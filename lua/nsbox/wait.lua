--- Waiting: the one place where nsbox sleeps.
--
-- C never waits (but for the handshake of a launch); every wait is a loop in
-- Lua, so that a signal's handler gets its turn: `lua5.4` turns Ctrl-C into an
-- ordinary error at the next instruction after it. Whatever is waited for,
-- every running program's streams are moved meanwhile: a captured server does
-- not block because the script waits for its client.
--
-- @internal nsbox.wait

local process = require "nsbox.sys.process"
local fd = require "nsbox.sys.fd"

local EINTR <const> = 4

local M = {}

-- what wants its bytes moved: has want(fds) → deadline or nil, and move(ready)
local active = {}
local hook

--- The clock of all time-outs.
-- @treturn number seconds, see clock_gettime(2)
M.now = process.clock

--- Waits until a descriptor is ready, the time is over, or a signal came.
-- @tparam table fds `{ [descriptor] = "r", "w" or "rw" }`
-- @tparam ?number timeout seconds; nil: for ever
-- @treturn table the ready ones, in the same shape; empty: none, look again
-- @see poll(2)
function M.poll(fds, timeout)
  local ready, message, errno = fd.poll(fds, timeout)
  if ready then
    return ready
  elseif errno == EINTR then
    return {}
  end
  require("nsbox.error").raise { op = "wait", detail = message, errno = errno }
end

local Copies = {
  __close = function(self)
    for _, copy in ipairs(self) do
      copy:close()
    end
  end,
}

-- Sleeps in an event loop. It gets descriptors of its own: another coroutine may
-- close the original meanwhile, or sleep on it as well.
local function yield(fds, timeout)
  local copies <close> = setmetatable({}, Copies)
  local lent, original = {}, {}
  for number, how in next, fds do
    local copy, message, errno = fd.dup(number)
    if not copy then
      require("nsbox.error").raise { op = "wait", detail = message, errno = errno }
    end
    copies[#copies + 1] = copy
    lent[copy:fileno()], original[copy:fileno()] = how, number
  end
  local ready = hook(lent, timeout)
  if type(ready) ~= "table" then
    error("loop: the function returned a " .. type(ready) .. ", not a table of descriptors", 0)
  end
  local out = {}
  for number, how in next, ready do
    out[original[number] or number] = how
  end
  return out
end

--- Takes part in every wait from now on.
-- @param thing with `_want(fds)`, which adds its descriptors and may return a
--   deadline, and `_move(ready)`, which does what can be done without waiting
function M.join(thing)
  active[thing] = true
end

--- Takes no more part.
-- @param thing
function M.leave(thing)
  active[thing] = nil
end

--- Waits, moving bytes meanwhile, until there is an answer or the time is over.
-- @tparam function answer called before each sleep; a value other than nil ends
--   the wait
-- @tparam ?number deadline on the clock of `now`
-- @tparam ?table more descriptors that may bring the answer, `{ [fd] = "r" }`
-- @return the answer, or nil and "timeout"
function M.until_(answer, deadline, more)
  while true do
    local value = answer()
    if value ~= nil then
      return value
    end
    local now = M.now()
    if deadline and now >= deadline then
      return nil, "timeout"
    end
    local fds, nearest = {}, deadline
    for key, how in next, more or fds do
      fds[key] = how
    end
    for thing in next, active do
      local at = thing:_want(fds)
      if at and (not nearest or at < nearest) then
        nearest = at
      end
    end
    local sleep = hook and coroutine.isyieldable() and yield or M.poll
    local ready = sleep(fds, nearest and math.max(0, nearest - now) or nil)
    local things = {}
    for thing in next, active do
      things[#things + 1] = thing
    end
    for _, thing in ipairs(things) do
      thing:_move(ready)
    end
  end
end

-- the event loops that have an adapter, and what has the library
local LOOPS <const> = { cqueues = "lua-cqueues", luv = "lua-luv" }

--- Chooses how a wait sleeps where the running coroutine can yield.
-- @tparam ?string|function how nil: poll; "cqueues" or "luv"; a function from
--   `{ [fd] = "r", "w" or "rw" }` and seconds or nil to the ready ones in the same
--   shape, empty for a time-out
-- @raise an Error, code "ENOENT", when the library is not installed
function M.loop(how)
  if LOOPS[how] then
    local ok, adapter = pcall(require, "nsbox.loop." .. how)
    if not ok then
      require("nsbox.error").raise { op = "loop", subject = how, code = "ENOENT",
        detail = tostring(adapter):match "^[^\n]*",
        hint = ("install %s (package %s, or luarocks install %s)"):format(how, LOOPS[how], how) }
    end
    hook = adapter
  elseif type(how) == "string" then
    error("loop: " .. require("nsbox.mistake").not_one_of(how, LOOPS), 2)
  elseif how ~= nil and type(how) ~= "function" then
    error("loop: " .. require("nsbox.mistake").expected("a loop's name, a function or nil", how), 2)
  else
    hook = how
  end
end

return M

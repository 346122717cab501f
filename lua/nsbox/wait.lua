--- Waiting: the one place where nsbox sleeps.
--
-- C never waits (but for the handshake of a launch); every wait is a loop in
-- Lua, so that a signal's handler gets its turn: `lua5.4` turns Ctrl-C into an
-- ordinary error at the next instruction after it. Whatever is waited for,
-- every running program's streams are moved meanwhile: a captured server does
-- not block because the script waits for its client.
--
-- @module nsbox.wait

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
    local sleep = hook and coroutine.isyieldable() and hook or M.poll
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

--- Chooses how a wait sleeps where the running coroutine can yield.
-- @tparam ?function how nil: poll; a function from `{ [fd] = "r", "w" or "rw" }`
--   and seconds or nil to the ready ones in the same shape, empty for a time-out
function M.loop(how)
  if how ~= nil and type(how) ~= "function" then
    local got = type(how) == "string" and "'" .. how .. "'" or "a " .. type(how)
    error(("loop: expected function(fds, timeout) → ready, or nil, got %s; an event loop is "
      .. "used through such a function"):format(got), 2)
  end
  hook = how
end

return M

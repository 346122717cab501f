--- Waiting: the one place where nsbox sleeps.
--
-- C never waits (but for the handshake of a launch); every wait is a loop in
-- Lua over `poll`, so that a signal's handler gets its turn: `lua5.4` turns
-- Ctrl-C into an ordinary error at the next instruction after it.
--
-- @module nsbox.wait

local process = require "nsbox.sys.process"
local fd = require "nsbox.sys.fd"

local EINTR <const> = 4

local M = {}

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

return M

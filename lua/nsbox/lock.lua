--- Waiting for a lock that somebody else holds.
--
-- flock(2) makes no event, so this looks again and again; other waits of the
-- script go on meanwhile.
--
-- @internal nsbox.lock

local wait = require "nsbox.wait"

local LOOK <const> = 0.01 -- seconds between two looks

local M = {}

--- Tries until it works, or the time is over.
-- @tparam function try returns something, or nil
-- @tparam number timeout seconds
-- @return what try returned; nil: the time is over
function M.wait(try, timeout)
  local deadline = wait.now() + timeout
  while true do
    local got = try()
    if got ~= nil or wait.now() >= deadline then
      return got
    end
    wait.until_(function() end, math.min(deadline, wait.now() + LOOK))
  end
end

return M

--- Undoing a process: it is killed.
--
-- `{ pid, id }`, where id is what `process:identity()` says; a step without
-- them is a process that never began, and ended with the one that made it.
--
-- @internal nsbox.undo.process

local process = require "nsbox.sys.process"
local wait = require "nsbox.wait"
local undo = require "nsbox.undo"

local ESRCH <const>, ETIMEDOUT <const> = 3, 110
local PATIENCE <const> = 10 -- seconds, for a process that the kernel cannot end

local M = { phase = 1, pids = true }

-- a handle on that process; nil: it has ended
local function find(step)
  if not step.pid then
    return nil
  end
  local handle, message, errno = process.open(step.pid)
  if not handle then
    return nil, errno ~= ESRCH and undo.failure("pid " .. step.pid, message, errno) or nil
  end
  if handle:identity() ~= step.id then
    handle:close()
    return nil
  end
  return handle
end

--- See `nsbox.undo`.
function M.undo(steps, fail)
  local killed, fds = {}, {}
  for _, step in ipairs(steps) do
    local handle, err = find(step)
    if err then
      fail(step, err)
    elseif handle then
      local ok, message, errno = handle:kill "KILL"
      if ok then
        killed[handle:fileno()] = { step = step, handle = handle }
        fds[handle:fileno()] = "r"
      else
        handle:close()
        if errno ~= ESRCH then
          fail(step, undo.failure("pid " .. step.pid, message, errno))
        end
      end
    end
  end
  local deadline = wait.now() + PATIENCE
  while next(fds) and wait.now() < deadline do
    for number in pairs(wait.poll(fds, deadline - wait.now())) do
      fds[number] = nil
    end
  end
  for number, it in pairs(killed) do
    it.handle:close()
    if fds[number] then
      fail(it.step, undo.failure("pid " .. it.step.pid, "it was killed, but does not end",
        ETIMEDOUT))
    end
  end
end

--- See `nsbox.undo`.
function M.there(step)
  local handle <close> = find(step)
  return handle ~= nil
end

--- See `nsbox.undo`.
function M.describe(step)
  return step.pid and "pid " .. step.pid or "a process that never began"
end

return M

--- A started program: its handle, its streams, its end.
--
-- @module nsbox.process

local spawn = require("nsbox.sys.process").spawn
local wait = require "nsbox.wait"

---@class nsbox.Process
---@field pid integer in the caller's pid namespace

local Process = { __name = "nsbox.process" }
Process.__index = Process

local M = {}

--- Starts the program of a plan.
-- @tparam string op the verb, for errors: `"run"`
-- @tparam table plan for `sys.process.spawn`, without the streams
-- @tparam nsbox.Streams streams
-- @tparam[opt] table opened handles that only the launch needs
-- @treturn nsbox.Process
function M.start(op, plan, streams, opened)
  for name, descriptor in pairs(streams.plan) do
    plan[name] = descriptor
  end
  local started = wait.now()
  local handle, message, errno, step, subject = spawn(plan)
  for _, used in ipairs(opened or {}) do
    used:close()
  end
  if not handle then
    streams:close()
    require("nsbox.error").spawn_failed(op, plan, message, errno, step, subject)
  end
  streams:handed_over()
  return setmetatable({
    pid = handle:pid(),
    _handle = handle,
    _streams = streams,
    _started = started,
  }, Process)
end

--- The pidfd, see pidfd_open(2).
-- @treturn integer
function Process:fileno()
  return self._handle:fileno()
end

-- nil while it runs
local function look(self, timeout)
  local how, value, errno = self._handle:status()
  if not how and not errno then
    return nil
  end
  self._streams:finish()
  local seconds = wait.now() - self._started
  -- it may have ended by itself just before
  timeout = value == "KILL" and timeout or nil
  self._result = require("nsbox.result").new(how, value, seconds, timeout)
  self._streams:collect(self._result)
  self._streams:close()
  return self._result
end

--- Waits for the end, moving the bytes of the streams meanwhile.
-- @tparam[opt] number timeout seconds of life; then it is killed, and the
--   result says so
-- @treturn nsbox.Result the same each time
function Process:wait(timeout)
  local deadline = timeout and self._started + timeout
  local killed
  while not self._result do
    local fds = { [self:fileno()] = "r" }
    self._streams:want(fds)
    local left = deadline and not killed and math.max(0, deadline - wait.now()) or nil
    local ready = wait.poll(fds, left)
    self._streams:move(ready)
    if ready[self:fileno()] then
      look(self, killed)
    elseif deadline and not killed and wait.now() >= deadline then
      killed = timeout
      self._handle:kill "KILL"
    end
  end
  return self._result
end

--- Kills it, if it still runs, and lets go of everything; twice is harmless.
function Process:close()
  if not self._result then
    self._handle:kill "KILL"
    self._streams:close()
    while not self._result do
      wait.poll { [self:fileno()] = "r" }
      look(self)
    end
  end
  self._handle:close()
end

Process.__close = Process.close

function Process:__tostring()
  return ("process (pid %d, %s)"):format(self.pid, self._result and "ended" or "running")
end

return M

--- A started program: its handle, its streams, its end.
--
-- @module nsbox.process

local sys = require "nsbox.sys.process"
local wait = require "nsbox.wait"

---@class nsbox.Process
---@field pid integer in the caller's pid namespace
---@field stdin? nsbox.Pipe where the option was "pipe"
---@field stdout? nsbox.Pipe
---@field stderr? nsbox.Pipe

local Process = { __name = "nsbox.process" }
Process.__index = Process

local M = { methods = Process }

-- What C refuses to take (a plan that is too large, say) is a mistake of the
-- script, whose line C cannot know.
local function refused(op, message)
  message = tostring(message):gsub("^[^\n]-:%d+: ", "")
  message = message:match "^bad argument #%d+ to '[^']*' %((.*)%)$" or message
  require("nsbox.mistake").raise(op .. ": " .. message, 3)
end

local function failed(op, plan, message, errno, ...)
  local ok, e = pcall(require, "nsbox.error")
  if not ok then -- a module is a file: without a free descriptor there is no more to say
    error(op .. ": " .. message, 0)
  end
  e.spawn_failed(op, plan, message, errno, ...)
end

--- Starts the program of a plan.
-- @tparam string op the verb, for errors: `"run"`
-- @tparam table plan for `sys.process.spawn`, without the streams
-- @tparam nsbox.Streams streams
-- @tparam ?number timeout seconds of life; then it is killed, and the result
--   says so
-- @tparam[opt] table class the metatable, default that of a process
-- @treturn nsbox.Process
function M.start(op, plan, streams, timeout, class)
  for name, descriptor in pairs(streams.plan) do
    plan[name] = descriptor
  end
  local started = wait.now()
  local ok, handle, message, errno, step, subject = pcall(sys.spawn, plan)
  if not ok or not handle then
    streams:close(true)
    if not ok then
      refused(op, handle)
    end
    failed(op, plan, message, errno, step, subject)
  end
  return M.adopt(handle, streams, timeout, started, class, plan.seccomp)
end

--- Makes a process of a handle.
-- @param handle from `sys.process.spawn` or `clone`
-- @tparam nsbox.Streams streams
-- @tparam ?number timeout seconds of life
-- @tparam[opt] number started on the clock of `wait.now`; default now
-- @tparam[opt] table class the metatable, default that of a process
-- @tparam[opt] string filter its seccomp filter
-- @treturn nsbox.Process
function M.adopt(handle, streams, timeout, started, class, filter)
  started = started or wait.now()
  streams:handed_over()
  local self = setmetatable({
    pid = handle:pid(),
    stdin = streams.stdin,
    stdout = streams.stdout,
    stderr = streams.stderr,
    _handle = handle,
    _parent = sys.getpid(),
    _streams = streams,
    _started = started,
    _timeout = timeout,
    _filter = filter,
    _deadline = timeout and started + timeout,
  }, class or Process)
  wait.join(self)
  return self
end

--- The pidfd, see pidfd_open(2).
-- @treturn integer
function Process:fileno()
  return self._handle:fileno()
end

-- what nobody else could have while it ran
function Process:_release()
  for _, handle in ipairs(self._held or {}) do
    -- children of ours may have copies, and the lock of a forked child is its parent's
    if sys.getpid() == self._parent then
      handle:flock "none"
    end
    handle:close()
  end
  self._held = nil
end

-- nil while it runs
local function look(self)
  local how, value, errno = self._handle:status()
  if not how and not errno then
    return nil
  end
  wait.leave(self)
  self:_release()
  local raised = self._streams:finish()
  if not self._result then -- a function that took the last of it may have closed this
    local seconds = wait.now() - self._started
    -- it may have ended by itself just before
    local timeout = value == "KILL" and self._killed or nil
    self._result = require("nsbox.result").new(how, value, seconds, timeout, self._filter)
    self._streams:collect(self._result)
    self._streams:close()
  end
  if raised ~= nil then
    error(raised, 0)
  end
  return self._result
end

-- for nsbox.wait: what to wait for, and until when
function Process:_want(fds)
  fds[self:fileno()] = "r"
  self._streams:want(fds)
  return not self._killed and self._deadline or nil
end

-- for nsbox.wait: what can be done now
function Process:_move(ready)
  if self._result then
    return
  end
  self._streams:move(ready)
  if self._closed then -- by a function that took its output
    return
  elseif ready[self:fileno()] then
    look(self)
  elseif self._deadline and not self._killed and wait.now() >= self._deadline then
    self._killed = self._timeout
    self._handle:kill "KILL"
  end
end

--- Waits for the end, moving the bytes of the streams meanwhile.
-- @tparam[opt] table o `timeout` in seconds, or "500ms"; the program goes on
-- @treturn nsbox.Result the same each time
-- @treturn[2] nil
-- @treturn[2] string "timeout"
function Process:wait(o)
  local result, why = self:_wait(o, 2)
  return result, why
end

-- level: whose line to blame
function Process:_wait(o, level)
  local timeout = o and require("nsbox.waits").timeout("wait", o, level + 1)
  return wait.until_(function()
    return self._result
  end, timeout and wait.now() + timeout)
end

-- false when it has ended
local function send(self, signal)
  local ok, message, errno = self._handle:kill(signal)
  if not ok and errno ~= 3 then -- ESRCH
    require("nsbox.error").raise { op = "kill", subject = "pid " .. self.pid, detail = message,
      errno = errno }
  end
  return ok or false
end

--- Sends a signal.
-- @tparam[opt="TERM"] string signal
-- @treturn boolean false when it has ended
-- @see signal(7)
function Process:kill(signal)
  signal = signal and require("nsbox.waits").signal(signal, 2)
  if self._result then
    return false
  end
  return send(self, signal or "TERM")
end

-- looks until it has ended, or the time is over; not by `wait`, which may yield: the coroutine
-- may be one that is being closed
local function await(self, deadline)
  local left
  repeat
    left = deadline and math.max(0, deadline - wait.now())
    wait.poll({ [self:fileno()] = "r" }, left)
  until look(self) or left == 0
end

-- a forked child never ends what its parent started
local function is_ours_to_end(self)
  return not self._closed and not self._result and sys.getpid() == self._parent
end

--- Kills it, if it still runs, and lets go of everything; twice is harmless.
-- @raise an Error, EPERM: a program that changed its ids, as sudo does, runs on
function Process:close()
  if self._closed then
    return
  end
  local ours, ok, err = is_ours_to_end(self), true, nil
  self._closed = true
  if ours then
    ok, err = pcall(send, self, "KILL")
    self._streams:close()
    if ok then
      await(self)
    end
    wait.leave(self) -- one that may not be killed is not waited for
  end
  self:_release()
  self._streams:close(true)
  self._handle:close()
  if not ok then
    error(err, 0)
  end
end

--- Kills it and takes its end at once; what is left of its streams can be read.
function Process:_kill()
  if is_ours_to_end(self) then
    self._handle:kill "KILL"
    await(self)
  end
end

--- The same, for a program that has something to take away itself: it is asked first.
-- @tparam string signal
-- @tparam number seconds until it is killed
function Process:_end(signal, seconds)
  if is_ours_to_end(self) and send(self, signal) then
    await(self, wait.now() + seconds)
  end
  self:close()
end

Process.__close = Process.close

function Process:__tostring()
  return ("process (pid %d, %s)"):format(self.pid, self._result and "exited" or "running")
end

return M

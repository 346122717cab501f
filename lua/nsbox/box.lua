--- A box: a container, from its creation to its end.
--
--     created ── start ──> running ──> exited        an idle box runs from birth
--
-- Created, everything is there but the program: its namespaces and its pid 1,
-- which waits at a gate. A box dies with its owner.
--
-- @module nsbox.box

local opts = require "nsbox.opts"
local plan = require "nsbox.plan"
local stream = require "nsbox.stream"
local process = require "nsbox.process"
local wait = require "nsbox.wait"

local LOOK <const> = 0.02 -- seconds between two looks at what makes no event

---@class nsbox.Box : nsbox.Process
---@field name? string
---@field state string "created", "running", "exited"
---@field ns nsbox.Namespaces those that are its own
---@field fresh boolean made by this run
local Box = setmetatable({ __name = "nsbox.box" }, { __index = process.methods })

local schema = opts.schema("box", plan.fields)

-- those that have a name, by it, for hints
local M = { named = setmetatable({}, { __mode = "v" }) }

local function mistake(message, level)
  require("nsbox.mistake").raise(message, level + 1)
end

local computed = {}

function computed.state(self)
  return self._result and "exited" or self._created and "created" or "running"
end

function computed.ns(self)
  if not self._ns then
    if self._result then
      -- __index calls this as its tail: level 2 is who asked
      error(("box %s has ended: its namespaces are gone"):format(self.name or self.pid), 2)
    end
    -- by its handle: the number may be another process's by now
    self._ns = require("nsbox.ns").of(self._handle, table.unpack(self._kinds))
  end
  return self._ns
end

function Box.__index(self, key)
  local f = computed[key]
  if f then
    return f(self)
  end
  return Box[key]
end

-- Whether it could outlive a script that is killed. An nsbox-init ends when
-- its script does; a program alone gets a signal then, which the kernel
-- forgets when the program changes its ids.
local function outlives(p)
  local function one(ranges)
    return #ranges == 1 and ranges[1][3] == 1
  end
  return not (p.init or p.idle or p.maps and one(p.maps.uid) and one(p.maps.gid))
end

-- what it was given when it is there; where that fails, it is not
local function complete(self, scope, f, ...)
  local ok, err = pcall(f, ...)
  if not ok then
    self:_settle()
    self:_unlink()
    if self.name then
      scope.boxes[self.name] = nil
    end
    error(err, 0)
  end
end

-- the cards of `net`; they end with the box
local function connect(self, scope, level)
  for _, it in ipairs(self._options.net) do
    complete(self, scope, scope._make, scope, "attach", { bridge = it[1], netns = self, o = it[2],
      checked = true }, level + 2)
  end
end

--- Creates a box; the verb `box` of a scope, see `nsbox.part`.
-- @tparam nsbox.Part part
-- @tparam table|string o options BOX and PROGRAM; no program: an idle box
-- @tparam integer level whose line to blame
-- @treturn nsbox.Box
function M.make(part, o, level)
  o = schema:check(o, level + 1)
  local boxes = part.scope.boxes
  if o.name and boxes[o.name] then
    mistake(("box: the scope has a box '%s' already"):format(o.name), level + 1)
  end
  part.name = o.name
  local idle = #o == 0
  local ground
  local p, kinds, opened <close>, home = plan.build(o, "box", level + 1, function()
    -- where its bridge is, whoever's that is
    local bridge = o.net and o.net[1] and o.net[1][1]
    ground = (bridge and bridge._part or part):ground()
    return ground
  end)
  -- of the programs in it; what makes it a box works without
  local filter = p.seccomp
  if idle then
    p.argv, p.idle, p.seccomp = nil, true, nil
  else
    p.gate = true
  end
  local view = o.net and require("nsbox.names").plan(part, o, p)
  local self
  local ok, err = pcall(part.step, part, "process", { durable = outlives(p) }, function()
    self = process.start("box", p, stream.open(o, idle and stream.NULL or stream.INHERIT), nil,
      Box)
    opened:hand_over(self)
    return { pid = self.pid, id = self._handle:identity() }
  end)
  if not ok then
    if self then
      process.methods.close(self)
    end
    if view then
      require("nsbox.names").born(part, view)
    end
    error(err, 0)
  end
  self.name, self.links, self._scope, self._island = o.name, {}, part.scope,
    ground.handles and ground
  self._plan, self._kinds, self._options, self._created = p, kinds, o, not idle
  self._programs_filter, self._home = filter, home
  if o.name then
    boxes[o.name], M.named[o.name] = self, self
  end
  if view then
    require("nsbox.names").born(part, view, self)
  end
  if o.dns then
    complete(self, part.scope, require("nsbox.dns").apply, part, "box", self, o.dns)
  end
  if o.net then
    connect(self, part.scope, level + 1)
  end
  return self
end

-- its result, nil while it lives; asked now
local function look(self)
  if not self._result then
    self:_move(wait.poll({ [self:fileno()] = "r" }, 0))
  end
  return self._result
end

local function gone(self, op, detail)
  require("nsbox.error").raise { op = op, subject = tostring(self), code = "ESRCH",
    detail = detail .. tostring(self._result), result = self._result }
end

--- Opens the gate: the program starts. Again: nothing.
-- @treturn nsbox.Box itself
-- @raise an Error when the program cannot be started
function Box:start()
  if self._closed then
    mistake("start: the box is closed", 2)
  elseif not self._created then
    return self
  elseif self._options.net and self._part.scope._batch then
    mistake("start: its network is made when the batch ends: start it then", 2)
  end
  self._created = false
  if look(self) then
    gone(self, "start", "it ended before: ")
  end
  local ok, message, errno, step, subject = self._handle:start()
  if not ok then
    wait.leave(self)
    self:_release()
    self._streams:close(true)
    self._closed = true
    self._result = require("nsbox.result").new(nil, nil, 0)
    require("nsbox.error").spawn_failed("box", self._plan, message, errno, step, subject)
  end
  self._started = wait.now()
  self._timeout = self._options.timeout
  self._deadline = self._timeout and self._started + self._timeout
  return self
end

--- Waits for the end.
-- @tparam[opt] table o `timeout`
-- @treturn nsbox.Result
-- @treturn[2] nil
-- @treturn[2] string "timeout"
function Box:wait(o)
  if self._created and not look(self) then
    mistake("wait: the box was not started", 2)
  end
  local result, why = self:_wait(o, 2)
  if result and self._options.check and not result.ok then
    require("nsbox.result").fail("box", self._options[1], result)
  end
  return result, why
end

local stop_schema = opts.schema("stop", {
  { "signal", alone = true, doc = "asks it to end" },
  grace = { "duration", default = 10, doc = "then KILL" },
})

--- Asks the program to end, and kills it when it does not.
-- @tparam[opt] table o `{ "TERM", grace = 10 }`
-- @treturn nsbox.Result; `forced` says that only KILL worked
function Box:stop(o)
  o = stop_schema:check(o or {}, 2)
  if not self._result and not self._created then
    self:kill(o[1] or "TERM")
    if not process.methods.wait(self, { timeout = o.grace }) then
      self._forced = ("%s did not end it in %g s"):format(o[1] or "TERM", o.grace)
    end
  end
  if not self._result then
    self:kill "KILL"
    process.methods.wait(self)
    self._result.forced = self._forced
  end
  return self._result
end

-- with all capabilities a filter is none that holds
local function may_trace(caps)
  for _, name in ipairs(caps and caps.permitted or {}) do
    if name == "sys_ptrace" then
      return true
    end
  end
end

-- what was started in it, by exec and call, too: another coroutine may close the box meanwhile
local function remember(self, p)
  local spawned = { p }
  for _, other in ipairs(self._spawned or {}) do
    spawned[#spawned + 1] = not (other._result or other._closed) and other or nil
  end
  self._spawned = spawned
end

-- how to enter: never with more than the box has
local function place_of(self, op, level)
  if self._result or self._closed then
    mistake(("box %s has ended"):format(self.name or self.pid), level + 1)
  elseif look(self) then
    gone(self, op, "it has ended: ")
  end
  local p, root = self._plan, ("/proc/%d/root"):format(self.pid)
  if self._created and self._programs_filter and may_trace(p.caps) then
    mistake(("%s: start it before: a program with sys_ptrace could trace what waits at the gate, "
      .. "and has no filter yet"):format(op), level + 1)
  end
  local join = {}
  for _, kind in ipairs(self.ns.kinds) do
    join[#join + 1] = self.ns._handles[kind]
  end
  local mapped = p.maps and true
  return {
    join = join, name = tostring(self), setsid = p.setsid,
    uid = p.uid or mapped and 0, gid = p.gid or mapped and 0, groups = p.groups,
    trygroups = p.trygroups,
    caps = p.caps, no_new_privs = p.no_new_privs, seccomp = self._programs_filter,
    limits = (p.rlimits or p.oom_score_adj or p.nice or p.affinity) and p,
    home = self._home,
    started = function(launched)
      remember(self, launched)
    end,
    own_root = self._options.rootfs ~= nil,
    read = function(path)
      local dir <close> = require("nsbox.sys.fd").open(root, { "path", "directory" })
      return dir and require("nsbox.user").read(path, dir)
    end,
  }
end

--- Runs a program in the box to its end, with the box's privilege.
-- @tparam table|string o the program and its arguments, PROGRAM options
-- @treturn nsbox.Result
function Box:exec(o)
  local result = require("nsbox.enter").exec(place_of(self, "exec", 2), o, 2)
  return result
end

--- Starts a program in the box.
-- @tparam table|string o the program and its arguments, PROGRAM options
-- @treturn nsbox.Process
function Box:spawn(o)
  local p = require("nsbox.enter").spawn(place_of(self, "spawn", 2), o, 2)
  return p
end

-- a tail call has no level to blame
local function pass(...)
  return ...
end

--- Calls a Lua function in the box, in a forked child.
-- @tparam function|table f or `{ f, …, PROGRAM }`
-- @param ... its arguments
-- @return f's values
function Box:call(f, ...)
  return pass(require("nsbox.enter").call(place_of(self, "call", 2), 2, f, ...))
end

local function listens(self, port)
  local want = (":%04X 0"):format(port)
  for _, file in ipairs { "tcp", "tcp6" } do
    local f = io.open(("/proc/%d/net/%s"):format(self.pid, file))
    local text = f and f:read "a" or ""
    if f then
      f:close()
    end
    -- state 0A is LISTEN
    for line in text:gmatch "[^\n]+" do
      if line:find(want, 1, true) and line:match "^%s*%d+: %S+ %S+ 0A " then
        return true
      end
    end
  end
end

local ready_schema = opts.schema("ready", {
  port = { "integer", min = 1, max = 65535, doc = "something listens on this tcp port" },
  file = { "path", doc = "this path exists in the box" },
  call = { "function", doc = "returns true in the box" },
  timeout = { "duration", default = 10, doc = "then an Error, ETIMEDOUT" },
})

--- Waits until the box is of use.
-- @tparam table o `port`, `file` or `call`, `timeout`
-- @treturn nsbox.Box itself
-- @raise an Error, code "ETIMEDOUT"; or when the box ended before
function Box:ready(o)
  o = ready_schema:check(o, 2)
  local count = (o.port and 1 or 0) + (o.file and 1 or 0) + (o.call and 1 or 0)
  if count ~= 1 then
    mistake("ready: when? one of port, file and call", 2)
  elseif o.file and o.file:sub(1, 1) ~= "/" then
    mistake("ready: file: expected an absolute path, got '" .. o.file .. "'", 2)
  end
  local deadline = wait.now() + o.timeout
  while true do
    if look(self) then
      gone(self, "ready", "it ended before: ")
    end
    local there = o.port and listens(self, o.port)
      or o.file and require("nsbox.machine").exists(("/proc/%d/root%s"):format(self.pid, o.file))
      or o.call and self:call(o.call)
    -- what was seen there may be a stranger's, who has its number
    if there and not look(self) then
      return self
    elseif wait.now() >= deadline then
      require("nsbox.error").raise { op = "ready", subject = tostring(self), code = "ETIMEDOUT",
        detail = ("%s within %g s"):format(o.port and "nothing listens on port " .. o.port
          or o.file and "there was no " .. o.file or "the function was never true", o.timeout) }
    end
    wait.until_(function()
      return self._result
    end, math.min(deadline, wait.now() + LOOK))
  end
end

--- Ends what was spawned in it: these are children of ours, and pid 1 ends when all are gone.
function Box:_reap()
  local spawned = self._spawned or {}
  self._spawned = nil
  for _, p in ipairs(spawned) do
    -- a forked child never ends what its parent started
    if not (p._result or p._closed) and require("nsbox.sys.process").getpid() == p._parent then
      p:_kill()
    end
  end
end

--- Kills it, and lets go of what belongs to it.
function Box:_settle()
  self._created = false
  if self._view then
    require("nsbox.names").gone(self._scope, self)
  end
  self:_reap()
  process.methods.close(self)
  if self._ns then
    self._ns:close()
    self._ns = nil
  end
end

-- its cards: their other ends would end with it, but not at once
function Box:_unlink()
  for i = #self.links, 1, -1 do
    self.links[i]:close()
  end
end

--- Kills the box and undoes it; twice is harmless.
function Box:close()
  self:_settle()
  self:_unlink()
  self._part:close()
end

--- Forgets the box: its scope does not undo it any more. It ends with the script.
-- @treturn nsbox.Box itself
function Box:release()
  self._part:release()
  return self
end

Box.__close = Box.close

function Box:__tostring()
  return ("box %s(pid %d, %s) %s"):format(self.name and self.name .. " " or "", self.pid,
    self.state, table.concat(self._kinds, " "))
end

return M

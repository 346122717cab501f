--- Running something in namespaces that exist: exec, spawn, call.
--
-- A place says what to enter and with how much power:
-- `{ join = handles, uid, gid, groups, trygroups, caps, no_new_privs, seccomp, home,
-- read, name, own_root, limits }`; `limits` has what `nsbox.limits` adds, and
-- `started` is told of each process.
--
-- setns(2), nsenter(1)
--
-- @module nsbox.enter

local sys = require "nsbox.sys.process"
local opts = require "nsbox.opts"
local program = require "nsbox.program"
local stream = require "nsbox.stream"
local process = require "nsbox.process"
local wait = require "nsbox.wait"

local EAGAIN <const> = 11
local CHUNK <const> = 65536

local function mistake(message, level)
  require("nsbox.mistake").raise(message, level + 1)
end

local M = {}

local schemas = {}
local function schema(op)
  schemas[op] = schemas[op] or opts.schema(op, program.fields)
  return schemas[op]
end

local function enters_mnt(place)
  for _, handle in ipairs(place.join) do
    if handle:kind() == "mnt" then
      return true
    end
  end
end

-- what exec, spawn and call have in common; and what is to be closed after the launch
local function plan_of(op, place, o, level)
  local users = o.user and require "nsbox.user"
  local user = users and users.resolve(o.user, place.read or users.read, op)
  local plan = {
    uid = user and user.uid or place.uid,
    gid = user and user.gid or place.gid,
    groups = not user and place.groups or nil,
    trygroups = user and user.groups or place.trygroups,
    caps = place.caps,
    no_new_privs = place.no_new_privs,
    seccomp = place.seccomp,
    pdeathsig = "KILL",
  }
  if place.limits then
    require("nsbox.limits").add(plan, place.limits)
  end
  local wrong = program.add_cwd(plan, o, enters_mnt(place), place.own_root)
  if wrong then
    require("nsbox.mistake").raise(op .. ": " .. wrong, level + 1)
  end
  local opened
  plan.join, opened = require("nsbox.way").to(place.join)
  return plan, opened, user and user.home or place.home
end

local function start(op, place, o, defaults, level)
  o = schema(op):check(o, level + 1)
  local wrong = program.conflict(o, defaults == stream.CAPTURE)
  if wrong then
    mistake(op .. ": " .. wrong, level + 1)
  end
  local plan, _ <close>, home = plan_of(op, place, o, level + 1)
  plan.argv, plan.setsid = o, place.setsid
  plan.env, plan.path = program.environment(o.env, home or "/")
  local p = process.start(op, plan, stream.open(o, defaults), o.timeout)
  if place.started then
    place.started(p)
  end
  return p, o
end

--- Starts a program in a place, and does not wait for it.
-- @tparam table place see above
-- @tparam table|string o the program and its arguments; PROGRAM options
-- @tparam integer level whose line to blame
-- @treturn nsbox.Process
function M.spawn(place, o, level)
  local p = start("spawn", place, o, stream.INHERIT, level + 1)
  return p
end

--- Runs a program in a place to its end.
-- @tparam table place see above
-- @tparam table|string o the program and its arguments; PROGRAM options
-- @tparam integer level whose line to blame
-- @treturn nsbox.Result
function M.exec(place, o, level)
  local started, checked = start("exec", place, o, stream.CAPTURE, level + 1)
  local p <close> = started
  local result = p:wait()
  if checked.check and not result.ok then
    require("nsbox.result").fail("exec", checked[1], result)
  end
  return result
end

-- in the child: another mount namespace has other modules, or none
local function shielded(f)
  return function(...)
    package.searchers = { function(name)
      return "\n\tnot loaded before the call, and this is another mount namespace: require '"
        .. name .. "' before it"
    end }
    return f(...)
  end
end

local function arguments(f, ...)
  if type(f) ~= "table" or type(f[1]) ~= "function" then
    return {}, f, table.pack(...)
  end
  -- nil may stand among them: the last that is there counts
  local o, args = {}, { n = 0 }
  for key, value in next, f do
    if math.type(key) ~= "integer" then
      o[key] = value
    elseif key > 1 then
      args[key - 1], args.n = value, math.max(args.n, key - 1)
    end
  end
  return o, f[1], args
end

-- in the child: it is a copy of this script, which has another environment
local function with_environment(f, list)
  return function(...)
    assert(sys.setenviron(list))
    return f(...)
  end
end

-- there is nobody to read them, and nothing to put them into
local function nowhere(o)
  for _, name in ipairs { "stdin", "stdout", "stderr" } do
    if o[name] == "pipe" or o[name] == "capture" then
      return ("%s: '%s' is for a program, and call returns what f does: give a function, or a file")
        :format(name, o[name])
    end
  end
end

-- the bytes of the answer, all of them; another process may hold a copy of its
-- other end, so that the end of the child is the end, too
local function collect(handle, p)
  local chunks = {}
  handle:nonblock(true)
  wait.until_(function()
    while true do
      local data, message, errno = handle:read(CHUNK)
      if data then
        chunks[#chunks + 1] = data
      elseif errno == EAGAIN then
        return p._result
      else
        return message or true
      end
    end
  end, nil, { [handle:fileno()] = "r" })
  handle:close()
  return table.concat(chunks)
end

local function answer(place, result, ok, ...)
  if ok then
    return ...
  end
  local err, text = ...
  local E = require "nsbox.error"
  if ok == nil then
    E.raise { op = "call", subject = place.name, result = result,
      detail = ("the child ended before it could answer: %s"):format(tostring(result)) }
  end
  if type(err) == "table" and err.op then
    err = E.new(err)
  elseif type(err) == "table" and text then
    setmetatable(err, { __tostring = function() return text end })
  end
  E.raise { op = "call", subject = place.name, cause = err, hint = false }
end

--- Calls a Lua function in a forked child in a place. It has the script's environment, unless `env`
-- says otherwise.
-- @tparam table place see above
-- @tparam integer level whose line to blame
-- @tparam function|table f or `{ f, …, PROGRAM }`
-- @param ... its arguments
-- @return f's values
function M.call(place, level, f, ...)
  local o, func, args = arguments(f, ...)
  if type(func) ~= "function" then
    mistake("call: expected a function, got a " .. type(func), level + 1)
  end
  o = schema("call"):check(o, level + 1)
  local wrong = nowhere(o)
  if wrong then
    mistake("call: " .. wrong, level + 1)
  end
  local plan, _ <close>, home = plan_of("call", place, o, level + 1)
  local streams = stream.open(o, stream.INHERIT)
  for name, descriptor in pairs(streams.plan) do
    plan[name] = descriptor
  end
  func = enters_mnt(place) and shielded(func) or func
  func = o.env and with_environment(func, (program.environment(o.env, home or "/"))) or func
  local handle, bytes, errno, step, subject = sys.clone(plan, func,
    table.unpack(args, 1, args.n))
  if not handle then
    streams:close(true)
    require("nsbox.error").spawn_failed("call", plan, bytes, errno, step, subject)
  end
  local p <close> = process.adopt(handle, streams, o.timeout, nil, nil, plan.seccomp)
  if place.started then
    place.started(p)
  end
  local text = collect(bytes, p)
  local result = p:wait()
  return answer(place, result, sys.results(text))
end

return M

-- What specs do with the processes they start.
--
--     self_maps()       maps of the caller's ids to 0
--     box(plan)         the plan with a user namespace and self_maps() added
--     ending(process)   waits for its end: how, value
--     output(plan)      spawns with stdout to a pipe: text, how, value; plan[1] is
--                       a shell command; or nil, message, errno, step, subject
--     hold(plan)        spawns a program that waits: process, and a function that
--                       lets it end and waits for that
--     status(pid)       /proc/PID/status as a table
--     script(code, before)  output and status of a Lua program of its own, started
--                       behind the shell command `before`
--
-- Nothing depends on timing: the watchdog of a wait is for a process that hangs.

local sys = require "nsbox.sys"
local process, fd = sys.process, sys.fd

local M = {}

local WATCHDOG = 60 -- seconds

function M.self_maps()
  local uid, gid = process.geteuid()
  return { uid = { { 0, uid, 1 } }, gid = { { 0, gid, 1 } }, setgroups = "deny" }
end

function M.box(plan)
  plan.new = { "user", table.unpack(plan.new or {}) }
  plan.maps = plan.maps or M.self_maps()
  return plan
end

-- waits until the descriptor is ready
function M.await(number, what)
  local ready, message, errno
  repeat
    ready, message, errno = fd.poll({ [number] = "r" }, WATCHDOG)
  until errno ~= sys.errno.EINTR
  assert(next(assert(ready, message)), (what or "the process") .. " hangs")
end

function M.ending(p)
  M.await(p:fileno())
  local how, value = p:status()
  p:close()
  return how, value
end

-- all that comes until the other ends are closed
function M.drain(r)
  local pieces = {}
  local function piece()
    M.await(r:fileno(), "the output")
    return r:read()
  end
  for text in piece do pieces[#pieces + 1] = text end
  r:close()
  return table.concat(pieces)
end

function M.output(plan)
  if plan[1] then
    plan.argv = { "/bin/sh", "-c", plan[1] }
    plan[1] = nil
  end
  plan.env = plan.env or { "PATH=/usr/bin:/bin:/usr/sbin:/sbin" }
  local r, w = assert(fd.pipe())
  plan.stdout = w
  local p, message, errno, step, subject = process.spawn(plan)
  w:close()
  if not p then
    r:close()
    return nil, message, errno, step, subject
  end
  if plan.gate then assert(p:start()) end
  return M.drain(r), M.ending(p)
end

function M.hold(plan)
  local r, w = assert(fd.pipe())
  plan.argv, plan.env, plan.stdin = { "/bin/cat" }, {}, r
  local p, message = process.spawn(plan)
  r:close()
  if not p then
    w:close()
    error(message, 2)
  end
  return p, function()
    w:close()
    return M.ending(p)
  end
end

function M.status(pid)
  local t = {}
  for key, value in assert(slurp(("/proc/%s/status"):format(pid))):gmatch "(%w+):%s*([^\n]*)" do
    t[key] = value
  end
  return t
end

function M.script(code, before)
  local path = os.tmpname()
  spew(path, code)
  local build = os.getenv "NSBOX_BUILD" or "build"
  local out, status = sh(("%s LUA_PATH='lua/?.lua;spec/?.lua;;' LUA_CPATH='%s/?.so;;' %s %s")
    :format(before or "", build, os.getenv "LUA" or "lua5.4", path))
  os.remove(path)
  return out, status
end

return M

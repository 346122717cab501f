-- Launches programs one after another and prints what that took, in
-- microseconds.  For launch.lua and root.lua, which run it next to the C program limit.c.
--
--     lua5.4 worker.lua VARIANT N nonet|net PROGRAM        prints "MEDIAN MEAN"
--     lua5.4 worker.lua VARIANT N DIRECTORY PROGRAM        the same, with this root
--     lua5.4 worker.lua VARIANT N nonet|net PROGRAM MB     prints "MEDIAN" for each line it reads
--     lua5.4 worker.lua defences N PROGRAM [self]          prints "NAME<tab>MEDIAN<tab>SAVED" lines
--
-- VARIANT: spawn (sys.process.spawn), bare, self (a default box that has our
-- own ids) or box (a default box); with a root, rooted_self or rooted.  MB: memory
-- that is resident meanwhile.

local nsbox = require "nsbox"
local process = require "nsbox.sys.process"
local fd = require "nsbox.sys.fd"

local clock = process.clock
local KINDS <const> = { "user", "pid", "mnt", "uts", "ipc" }

local figures <const> = dofile((arg[0]:match "^(.*)/" or ".") .. "/figures.lua")
local median <const> = figures.median

local function kinds(net)
  local list = { table.unpack(KINDS) }
  list[#list + 1] = net and "net" or nil
  return list
end

-- the ends of a launch without nsbox.run
local function spawn(plan)
  local p <close> = assert(process.spawn(plan))
  assert(fd.poll { [p:fileno()] = "r" })
  local how, code = p:status()
  assert(how == "exit" and code == 0, code)
end

local variants = {}

function variants.spawn(net, program)
  local uid, gid = process.geteuid()
  local plan = {
    argv = { program }, env = { "PATH=/bin" }, new = kinds(net), hostname = "c1",
    maps = { uid = { { 0, uid, 1 } }, gid = { { 0, gid, 1 } }, setgroups = "deny" },
    mounts = { { type = "proc", source = "proc", target = "/proc",
      flags = { "nosuid", "nodev", "noexec" } } },
  }
  return function()
    spawn(plan)
  end
end

local function box(options)
  return function(net, program)
    return function()
      local o = { program, hostname = "c1", namespaces = kinds(net) }
      for name, value in pairs(options) do
        o[name] = value
      end
      assert(nsbox.run(o) == 0)
    end
  end
end

variants.bare = box { maps = "self", bare = true }
variants.self = box { maps = "self" }
variants.box = box {}

local function rooted(maps)
  return function(dir, program)
    return function()
      assert(nsbox.run { program, hostname = "box", rootfs = dir, maps = maps } == 0)
    end
  end
end

variants.rooted_self = rooted "self"
variants.rooted = rooted(nil)

-- defences ------------------------------------------------------------------------

local function without_mounts(match)
  return function(plan)
    local mounts = {}
    local function take(list)
      for _, m in ipairs(list) do
        if type(m) == "userdata" then -- of process.mounts: a list
          take(m)
        elseif not match(m) then
          mounts[#mounts + 1] = m
        end
      end
    end
    take(plan.mounts)
    plan.mounts = mounts
  end
end

local function without(...)
  local names = { ... }
  return function(plan)
    for _, name in ipairs(names) do
      plan[name] = nil
    end
  end
end

local function without_kind(kind)
  return function(plan)
    local new = {}
    for _, k in ipairs(plan.new) do
      new[#new + 1] = k ~= kind and k or nil
    end
    plan.new = new
  end
end

local function own_net(plan)
  without("lo", "writes")(plan)
  without_kind "net"(plan)
end

-- what a plan of a default box may lack, and still run a program
local parts = {
  { "read-only root", without_mounts(function(m) return m.attr == "/" end) },
  { "masked files", without_mounts(function(m) return m.source == "/dev/null" end) },
  { "masked directories", without_mounts(function(m) return m.type == "tmpfs" end) },
  { "read-only paths", without_mounts(function(m)
    return m.attr and m.attr ~= "/" or m.source and m.source == m.target
  end) },
  { "capabilities", without "caps" },
  { "filter of system calls", without "seccomp" },
  { "no_new_privs and the filter", without("no_new_privs", "seccomp") },
  { "setsid", without "setsid" },
  { "killed with its parent", without "pdeathsig" },
  { "loopback up", without "lo" },
  { "ping_group_range", without "writes" },
  { "becoming root", without("uid", "gid", "groups"), "uid" },
  { "net namespace, with loopback and ping", own_net },
  { "cgroup namespace", without_kind "cgroup" },
  { "hostname", without "hostname" },
}

local function plan_of(options)
  local plan = require "nsbox.plan"
  local schema = require("nsbox.opts").schema("bench", plan.fields)
  return (plan.build(schema:check(options), "bench", 1))
end

local function defences(count, program, maps)
  local options = { program, hostname = "c1", maps = maps }
  local tried = { { name = "default box", plan = plan_of(options) } }
  for _, part in ipairs(parts) do
    local name, remove, needs = table.unpack(part)
    local plan = plan_of(options)
    if not needs or plan[needs] then
      remove(plan)
      tried[#tried + 1] = { name = name, plan = plan }
    end
  end
  for _, t in ipairs(tried) do
    spawn(t.plan)
    t.took, t.saved = {}, {}
  end
  for i = 1, count do
    for _, t in ipairs(tried) do
      local start = clock()
      spawn(t.plan)
      t.took[i] = (clock() - start) * 1e6
      t.saved[i] = tried[1].took[i] - t.took[i]
    end
  end
  for _, t in ipairs(tried) do
    print(("%s\t%.1f\t%.1f"):format(t.name, median(t.took), median(t.saved)))
  end
end

-- main ----------------------------------------------------------------------------

local what, count, net, program, megabytes = ...
count = tonumber(count)

if what == "defences" then
  defences(count, net, program)
  return
end

local root = what:find "^rooted" and net
local launch = variants[what](root or net == "net", program)

-- median and mean of N launches; the first ones load what is loaded late
local function measure(skip)
  for _ = 1, skip do
    launch()
  end
  local took, sum = {}, 0
  for i = 1, count do
    local start = clock()
    launch()
    took[i] = (clock() - start) * 1e6
    sum = sum + took[i]
  end
  return median(took), sum / count
end

if not megabytes then
  print(("%.1f %.1f"):format(measure(1)))
  return
end
local ballast = {}
for i = 1, tonumber(megabytes) do
  ballast[i] = ("x"):rep(1 << 20)
end
for _ in io.lines() do
  print(("%.1f"):format((measure(1))))
  io.flush()
end
assert(#ballast == tonumber(megabytes))

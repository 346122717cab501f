-- What a launch costs: the kernel's own part (limit.c does the same work by
-- raw system calls), what Lua and nsbox add, what each defence takes, and how
-- whole commands compare.
--
-- All variants take turns in every round, and ratios are taken within a round,
-- so that other work on the machine hits them alike.  Times differ from
-- machine to machine: it is the ratios that count.
--
-- Usage: make bench, or make bench ROUNDS=25

local process = require "nsbox.sys.process"
local fd = require "nsbox.sys.fd"

local HERE <const> = arg[0]:match "^(.*)/" or "."
local TOP <const> = HERE .. "/../.."
local LUA <const> = os.getenv "LUA" or "lua5.4"
local BUILD <const> = os.getenv "NSBOX_BUILD" or TOP .. "/build"
local ROUNDS <const> = tonumber(os.getenv "ROUNDS") or 11
local COUNT <const> = tonumber(os.getenv "COUNT") or 40
local BALLAST <const> = 1000

local ROOT <const> = process.geteuid() == 0
local CWD <const> = assert(process.getcwd())

local function absolute(path)
  return path:sub(1, 1) == "/" and path or CWD .. "/" .. path
end

local LIMIT <const> = absolute(BUILD .. "/bench/limit")
local FILTER <const> = " -s " .. absolute(BUILD .. "/filter.bin")
local TRUE <const> = absolute(BUILD .. "/bench/true")
local QUICK <const> = absolute(BUILD .. "/bench/quick")

local figures <const> = dofile(HERE .. "/figures.lua")
local median <const>, row <const> = figures.median, figures.row
local paired <const>, ratio <const> = figures.paired, figures.ratio

local function difference(a, b)
  return a - b
end

local function slurp(path)
  local f <close> = io.open(path)
  return f and f:read "a" or ""
end

local function first_line(command)
  local f <close> = assert(io.popen(command .. " 2>/dev/null"))
  return f:read "l"
end

local function heading(text, ...)
  print(("\n**%s**\n"):format(text))
  row(...)
  row("---", table.unpack({ "---:", "---:", "---:", "---:" }, 1, select("#", ...) - 1))
end

local function which(name)
  for dir in (os.getenv "PATH" or ""):gmatch "[^:]+" do
    local f = io.open(dir .. "/" .. name)
    if f then
      f:close()
      return dir .. "/" .. name
    end
  end
end

local HOST_ENV <const> = {
  "PATH=" .. (os.getenv "PATH" or "/usr/bin:/bin"), "HOME=/", "TERM=dumb",
  "LUA_PATH=" .. (os.getenv "LUA_PATH" or ";;"), "LUA_CPATH=" .. (os.getenv "LUA_CPATH" or ";;"),
}

-- warm ----------------------------------------------------------------------------

local function limit(options, net)
  return ("%s -n %d %s -k user,pid,mnt,uts,ipc%s %s"):format(LIMIT, COUNT, options,
    net and ",net" or "", TRUE)
end

local function worker(variant, net, megabytes)
  return ("%s %s/worker.lua %s %d %s %s %s"):format(LUA, HERE, variant, COUNT,
    net and "net" or "nonet", TRUE, megabytes or "")
end

-- one command of a round; what fails once is left out of the rest
local function try(variant)
  if variant.failed then
    return
  end
  local f <close> = assert(io.popen(variant.command))
  local typical, mean = f:read("a"):match "^(%S+) (%S+)\n$"
  if not typical then
    variant.failed = true
    return
  end
  local n = #variant.took + 1
  variant.took[n], variant.mean[n] = tonumber(typical), tonumber(mean)
end

local function new(list, name, command, base)
  local v = { name = name, command = command, base = base, took = {}, mean = {} }
  list[#list + 1] = v
  return v
end

local function print_variants(list)
  for _, v in ipairs(list) do
    if v.failed or v.base and #v.base.took == 0 then
      row(v.name, "failed", "", "")
    else
      row(v.name, ("%.0f"):format(median(v.took)), ("%.0f"):format(median(v.mean)),
        ("%.2f"):format(paired(v.took, (v.base or v).took, ratio)))
    end
  end
end

local function warm()
  local list = {}
  for _, net in ipairs { false, true } do
    local with = net and " + net" or ""
    local base = new(list, "limit" .. with, limit("-m vfork", net))
    new(list, "`sys.process.spawn`" .. with, worker("spawn", net), base)
    new(list, "`nsbox.run`, bare" .. with, worker("bare", net), base)
    base = new(list, "limit of a default box" .. with, limit("-d" .. FILTER .. " -m vfork", net))
    new(list, "default box, own ids" .. with, worker("self", net), base)
    if ROOT then
      base = new(list, "limit of root's default box" .. with,
        limit("-d" .. FILTER .. " -r -m fork", net))
      new(list, "root's default box" .. with, worker("box", net), base)
      new(list, "(its limit where the child shares the memory)" .. with,
        limit("-d" .. FILTER .. " -r -m vm", net), base)
    end
  end
  for _ = 1, ROUNDS do
    for _, v in ipairs(list) do
      try(v)
    end
  end
  heading(("Warm: %d launches in one process, %d rounds, microseconds each"):format(COUNT, ROUNDS),
    "launch of a static `true`", "median", "mean", "x limit")
  print_variants(list)
end

-- the host's size -------------------------------------------------------------------

-- a worker that measures when it is asked to
local function host(variant, megabytes)
  local stdin, input = fd.pipe()
  local output, stdout = fd.pipe()
  local p = assert(process.spawn { argv = { "/bin/sh", "-c", "exec " .. worker(variant, false,
    megabytes) }, env = HOST_ENV, stdin = stdin, stdout = stdout })
  stdin:close()
  stdout:close()
  return { process = p, input = input, output = output }
end

local function ask(h)
  assert(h.input:write "\n")
  assert(fd.poll { [h.output:fileno()] = "r" })
  return assert(tonumber(h.output:read() or nil), "the worker failed")
end

local function stop(h)
  h.input:close()
  assert(fd.poll { [h.process:fileno()] = "r" })
  h.process:status()
  h.process:close()
  h.output:close()
end

local function size()
  heading(("A host with %d MB resident, and a small one"):format(BALLAST), "launch", "large",
    "small", "large / small")
  for _, v in ipairs { { "bare", "`nsbox.run`, bare" }, { "self", "default box, own ids" },
    ROOT and { "box", "root's default box" } or nil } do
    local small, large, took = host(v[1], 1), host(v[1], BALLAST), { {}, {} }
    ask(large) -- when it has its memory
    for i = 1, ROUNDS do
      took[1][i], took[2][i] = ask(small), ask(large)
    end
    stop(small)
    stop(large)
    row(v[2], ("%.0f"):format(median(took[2])), ("%.0f"):format(median(took[1])),
      ("%.2f"):format(paired(took[2], took[1], ratio)))
  end
end

-- defences ------------------------------------------------------------------------

local function defences(title, maps)
  local names, took, saved = {}, {}, {}
  for _ = 1, 3 do
    -- on one CPU: where the child lands makes more difference than a defence
    local f <close> = assert(io.popen(("%s %s %s/worker.lua defences %d %s %s"):format(
      which "taskset" and "taskset -c 0" or "", LUA, HERE, ROUNDS * COUNT // 4, QUICK, maps)))
    for line in f:lines() do
      local name, typical, cost = line:match "^(.-)\t(%S+)\t(%S+)$"
      if not took[name] then
        names[#names + 1], took[name], saved[name] = name, {}, {}
      end
      table.insert(took[name], tonumber(typical))
      table.insert(saved[name], tonumber(cost))
    end
  end
  heading(title, "without", "median", "saves")
  for i, name in ipairs(names) do
    row(i == 1 and "(nothing)" or name, ("%.0f"):format(median(took[name])),
      i == 1 and "" or ("%.0f"):format(median(saved[name])))
  end
end

-- cold ----------------------------------------------------------------------------

local ENV <const> = {
  "PATH=" .. (os.getenv "PATH" or "/usr/bin:/bin"), "HOME=/", "TERM=dumb",
  ("LUA_PATH=%s/lua/?.lua;;"):format(absolute(BUILD)),
  ("LUA_CPATH=%s/?.so;;"):format(absolute(BUILD)),
}

local null <const> = assert(fd.open("/dev/null", { "rdwr" }))

-- a whole command; nil when it fails
local function whole(argv)
  local start = process.clock()
  local p <close> = assert(process.spawn { argv = argv, env = ENV, stdin = null, stdout = null,
    stderr = null })
  assert(fd.poll { [p:fileno()] = "r" })
  local seconds = process.clock() - start
  local how, code = p:status()
  return how == "exit" and code == 0 and seconds * 1e6 or nil
end

local function cold_round(list)
  for _, c in ipairs(list) do
    if not c.missing and not c.failed then
      local took = whole(c.argv)
      c.failed = not took
      c.took[#c.took + 1] = took
    end
  end
end

local function add(list, name, argv, base)
  local c = { name = name, argv = argv, took = {}, base = base, missing = not which(argv[1])
    and not argv[1]:find "/" }
  list[#list + 1] = c
  return c
end

local HELLO <const> = "echo hello from $(hostname), I am $(id -un), pid $$"

local function bwrap(...)
  local argv = { "bwrap", "--unshare-all", "--uid", "0", "--gid", "0", "--hostname", "box",
    "--ro-bind", "/", "/", "--proc", "/proc", "--die-with-parent", "--new-session" }
  return table.move({ ... }, 1, select("#", ...), #argv + 1, argv)
end

local function unshare(command)
  return { "unshare", "-UrpfmuinC", "--mount-proc", "sh", "-c",
    "echo box >/proc/sys/kernel/hostname; " .. command }
end

local BUNDLE <const> = [[{"ociVersion":"1.0.2","process":{"user":{"uid":0,"gid":0},
"args":["/true"],"env":["PATH=/bin"],"cwd":"/"},"root":{"path":"rootfs","readonly":true},
"hostname":"box","mounts":[{"destination":"/proc","type":"proc","source":"proc"}],
"linux":{"uidMappings":[{"containerID":0,"hostID":0,"size":65536}],
"gidMappings":[{"containerID":0,"hostID":0,"size":65536}],
"namespaces":[{"type":"user"},{"type":"pid"},{"type":"mount"},{"type":"uts"},{"type":"ipc"},
{"type":"network"}]}}
]]

local function bundle()
  local dir = absolute(BUILD) .. "/bench/bundle"
  assert(os.execute(("mkdir -p %s/rootfs/proc %s/rootfs/dev %s/rootfs/sys && cp %s %s/rootfs/true")
    :format(dir, dir, dir, TRUE, dir)))
  local f <close> = assert(io.open(dir .. "/config.json", "w"))
  f:write(BUNDLE)
  return dir
end

local function script(text)
  return { LUA, "-e", text }
end

local function cold()
  local hello, short, load = {}, {}, {}
  local base = add(hello, "bwrap", bwrap("sh", "-c", HELLO))
  base.base = base
  add(hello, "`lua5.4 examples/hello.lua`", { LUA, absolute(TOP) .. "/examples/hello.lua" }, base)
  add(hello, "unshare", unshare(HELLO), base)
  add(hello, "the shell's command alone", { "sh", "-c", HELLO }, base)

  local run = ("os.exit(require'nsbox'.run{'%s',hostname='box'%%s})"):format(TRUE)
  base = add(short, "bwrap", bwrap(TRUE))
  base.base = base
  add(short, "Lua with nsbox", script(run:format ""), base)
  add(short, "Lua with nsbox, bare, own ids", script(run:format ",bare=true,maps='self'"), base)
  add(short, "unshare, no host name", { "unshare", "-UrpfmuinC", "--mount-proc", TRUE }, base)
  add(short, "unshare, sh sets the host name", unshare("exec " .. TRUE), base)
  add(short, "limit, bare", { LIMIT, "-n", "1", "-k", "user,pid,mnt,uts,ipc,net,cgroup", TRUE },
    base)
  if ROOT then
    add(short, "crun, without cgroups, small root", { "crun", "--cgroup-manager=disabled",
      "--root", absolute(BUILD) .. "/bench/crun", "run", "-b", bundle(), "nsbox-bench" }, base)
  end

  base = add(load, "bare Lua", script "")
  base.base = base
  add(load, "nsbox loaded", script "local _ = require 'nsbox'", base)
  add(load, "`nsbox.run` loaded", script "local _ = require 'nsbox'.run", base)

  for _ = 1, ROUNDS * 4 do
    cold_round(hello)
    cold_round(short)
    cold_round(load)
  end
  local function print_cold(list, f, form)
    for _, c in ipairs(list) do
      if c.missing or c.failed then
        row(c.name, c.missing and "not installed" or "failed", "")
      else
        row(c.name, ("%.0f"):format(median(c.took)),
          #c.base.took > 0 and form:format(paired(c.took, c.base.took, f)) or "")
      end
    end
  end
  heading("Cold: whole commands, hello", "command", "median", "x bwrap")
  print_cold(hello, ratio, "%.2f")
  heading("Cold: whole commands, a static `true`", "command", "median", "x bwrap")
  print_cold(short, ratio, "%.2f")
  heading("Loading", "command", "median", "beyond bare Lua")
  print_cold(load, difference, "%+.0f")
end

-- main ----------------------------------------------------------------------------

print(("as %s; load average before %s"):format(ROOT and "root" or "a user",
  slurp "/proc/loadavg":match "^%S+ %S+ %S+"))
warm()
size()
defences("Each defence: a default box, own ids, without it (a program that ends at once)", "self")
if ROOT then
  defences("The same for root's default box", "")
end
cold()
print(("\nLinux %s, %s, %d CPUs, %s mounts; %s; load average %s"):format(
  slurp "/proc/sys/kernel/osrelease":match "%S+",
  (slurp "/proc/cpuinfo":match "model name%s*:%s*([^\n]+)" or "unknown CPU"):gsub("%s+", " "),
  select(2, slurp "/proc/cpuinfo":gsub("processor%s*:", "")),
  select(2, slurp "/proc/self/mountinfo":gsub("\n", "")),
  first_line(LUA .. " -v") or "Lua", slurp "/proc/loadavg":match "^%S+ %S+ %S+"))

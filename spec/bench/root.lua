-- What a root file system of its own costs: warm, beside a box that sees the host's
-- files and beside the kernel's own part (limit.c does the same work by raw system
-- calls); as a whole command beside bwrap and crun, which are given the same work;
-- and what 1,000 boxes cost that do nothing.
--
-- All variants take turns in every round, and ratios are taken within a round.
--
-- Usage: make bench WHAT=root, or make bench WHAT=root ROUNDS=25

local nsbox = require "nsbox"
local process = require "nsbox.sys.process"
local fd = require "nsbox.sys.fd"

local LUA <const> = os.getenv "LUA" or "lua5.4"
local CWD <const> = assert(process.getcwd())
local BUILD <const> = os.getenv "NSBOX_BUILD" or "build"
local ROUNDS <const> = tonumber(os.getenv "ROUNDS") or 11
local COUNT <const> = 20

local bench <const> = (BUILD:sub(1, 1) == "/" and BUILD or CWD .. "/" .. BUILD) .. "/bench"
local image <const> = bench .. "/image"
local lib <const> = bench:gsub("/bench$", "")

local figures <const> = dofile((arg[0]:match "^(.*)/" or ".") .. "/figures.lua")
local median <const> = figures.median

local function print_table(title, head, list)
  print(("\n**%s**\n\n| %s | median us | x the first |\n| --- | ---: | ---: |"):format(title, head))
  for _, v in ipairs(list) do
    print((v.failed or list[1].failed) and ("| %s | %s | |"):format(v.name, v.failed or "")
      or ("| %s | %.0f | %.2f |"):format(v.name, median(v.took),
        figures.paired(v.took, list[1].took, figures.ratio)))
  end
end

-- warm --------------------------------------------------------------------------------

local LIMIT <const> = ("%s/limit -s %s/filter.bin -k user,pid,mnt,uts,ipc,net,cgroup -R %s")
  :format(bench, lib, image)
-- what /proc/self/exe is for the image is no program of the machine
local SEALED <const> = ("-x %s/onward"):format(bench)

-- the median of COUNT launches in one process that does nothing else
local function command(format, ...)
  local line = format:format(...)
  return function()
    local f <close> = assert(io.popen(line))
    return assert(f:read "n", "failed")
  end
end

local function boxes(o)
  return function()
    local start = process.clock()
    for _ = 1, COUNT do
      assert(nsbox.run(o) == 0)
    end
    return (process.clock() - start) / COUNT * 1e6
  end
end

local function take_turns(list)
  for _ = 1, ROUNDS do
    for _, v in ipairs(list) do
      v.took[#v.took + 1] = v.f()
    end
  end
end

local function beside_limit()
  local here = arg[0]:match "^(.*)/" or "."
  for _, how in ipairs {
    { "own ids", "-m vfork", "rooted_self" },
    process.geteuid() == 0 and { "root's range of ids, an idmapped root", "-r -m vm", "rooted" }
      or nil,
  } do
    local list = {
      { name = "the same system calls in C", took = {},
        f = command("%s %s %s -n %d /true", LIMIT, how[2], SEALED, COUNT) },
      { name = "`nsbox.run`", took = {}, f = command("%s %s/worker.lua %s %d %s /true", LUA, here,
        how[3], COUNT, image) },
      { name = "(in C, the image can ask for the caller's program)", took = {},
        f = command("%s %s -n %d /true", LIMIT, how[2], COUNT) },
    }
    take_turns(list)
    print_table(("Warm, a root file system, %s"):format(how[1]), "launch", list)
  end
end

local function warm()
  local list = {}
  local function add(name, o)
    list[#list + 1] = { name = name, f = boxes(o), took = {} }
  end
  add("default box", { bench .. "/true", hostname = "box" })
  add("with `rootfs`", { "/true", hostname = "box", rootfs = image })
  add("the same, read-only, a tmpfs and a bind", { "/true", hostname = "box",
    rootfs = { image, ro = true }, tmpfs = "/tmp", bind = "/usr:/usr:ro" })
  add("an empty root, a bind", { "/b/true", hostname = "box", rootfs = {}, bind = bench .. ":/b" })
  add("`overlay = \"tmp\"`", { "/true", hostname = "box", rootfs = image, overlay = "tmp" })
  add("bare, with `rootfs`", { "/true", hostname = "box", rootfs = image, bare = true })
  take_turns(list)
  print_table(("Warm: %d launches in one process, %d rounds"):format(COUNT, ROUNDS), "launch", list)
end

-- cold --------------------------------------------------------------------------------

local ENV <const> = { "PATH=" .. (os.getenv "PATH" or "/usr/bin:/bin"), "HOME=/", "TERM=dumb",
  "LD_LIBRARY_PATH=" .. (os.getenv "LD_LIBRARY_PATH" or ""),
  ("LUA_PATH=%s/lua/?.lua;;"):format(lib), ("LUA_CPATH=%s/?.so;;"):format(lib) }

local null <const> = assert(fd.open("/dev/null", { "rdwr" }))
local FILTER <const> = "the descriptor from which bwrap reads its filter"

local function whole(argv)
  local filter <close> = assert(fd.open(lib .. "/filter.bin"))
  local words = {}
  for i, word in ipairs(argv) do
    words[i] = word == FILTER and tostring(filter:fileno()) or word
  end
  local start = process.clock()
  local p <close> = process.spawn { argv = words, env = ENV, path = os.getenv "PATH",
    stdin = null, stdout = null, stderr = null, keep = { filter } }
  if not p then
    return nil, "not installed"
  end
  assert(fd.poll { [p:fileno()] = "r" })
  local seconds = process.clock() - start
  local how, code = p:status()
  if how == "exit" and code == 0 then
    return seconds * 1e6
  end
  return nil, "failed"
end

-- what `crun spec` writes, in the namespaces and with the ids of a box
local BUNDLE <const> = [[{"ociVersion":"1.0.2","process":{"user":{"uid":0,"gid":0},
"args":["/true"],"env":["PATH=/bin"],"cwd":"/","noNewPrivileges":true,
"capabilities":{"bounding":["CAP_KILL"],"effective":["CAP_KILL"],"permitted":["CAP_KILL"]}},
"root":{"path":"image"},"hostname":"box","mounts":[
{"destination":"/proc","type":"proc","source":"proc"},
{"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["nosuid","mode=755"]},
{"destination":"/dev/pts","type":"devpts","source":"devpts","options":["newinstance"]},
{"destination":"/dev/shm","type":"tmpfs","source":"shm","options":["nosuid","nodev"]},
{"destination":"/dev/mqueue","type":"mqueue","source":"mqueue","options":["nosuid"]},
{"destination":"/sys","type":"sysfs","source":"sysfs","options":["nosuid","ro"]}],
"linux":{"uidMappings":[{"containerID":0,"hostID":0,"size":65536}],
"gidMappings":[{"containerID":0,"hostID":0,"size":65536}],
"maskedPaths":["/proc/kcore","/proc/keys","/proc/timer_list","/proc/acpi","/sys/firmware"],
"readonlyPaths":["/proc/bus","/proc/fs","/proc/irq","/proc/sys","/proc/sysrq-trigger"],
"namespaces":[{"type":"user"},{"type":"pid"},{"type":"mount"},{"type":"uts"},{"type":"ipc"},
{"type":"network"},{"type":"cgroup"}],"seccomp":{"defaultAction":"SCMP_ACT_ERRNO",
"architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86"],
"syscalls":[{"action":"SCMP_ACT_ALLOW","names":["clone",%s]}]}}}
]]

-- the calls of the built-in filter that are allowed with any arguments
local function allowed()
  local names = {}
  for name in require("nsbox.policy").allow:gmatch "%S+" do
    names[#names + 1] = ('"%s"'):format(name)
  end
  return table.concat(names, ",")
end

-- crun takes no machine that still has version 1: then this one has only version 2, for us
local function cgroup2_only()
  local sys = nsbox.sys
  for line in io.lines "/proc/self/cgroup" do
    if process.geteuid() == 0 and not line:find "^0:" then
      assert(sys.ns.unshare "mnt")
      assert(sys.mount.propagation("/", "private", true))
      assert(sys.mount.umount("/sys/fs/cgroup", "detach"))
      assert(sys.mount.mount("cgroup2", "/sys/fs/cgroup", "cgroup2"))
      return
    end
  end
end

local function cold()
  cgroup2_only()
  local list = {}
  local function add(name, ...)
    list[#list + 1] = { name = name, argv = { ... }, took = {} }
  end
  local f <close> = assert(io.open(bench .. "/config.json", "w"))
  f:write(BUNDLE:format(allowed()))
  f:close()
  local bwrap = { "bwrap", "--unshare-all", "--uid", "0", "--gid", "0", "--hostname", "box",
    "--bind", image, "/", "--proc", "/proc", "--dev", "/dev", "--mqueue", "/dev/mqueue",
    "--ro-bind", "/sys", "/sys", "--die-with-parent", "--new-session", "--cap-drop", "ALL",
    "--seccomp", FILTER }
  for _, path in ipairs { "/proc/kcore", "/proc/keys", "/proc/timer_list" } do
    if fd.stat(path) then
      table.move({ "--ro-bind", "/dev/null", path }, 1, 3, #bwrap + 1, bwrap)
    end
  end
  bwrap[#bwrap + 1] = "/true"
  add("bwrap", table.unpack(bwrap))
  add("Lua with nsbox", LUA, "-e",
    ("os.exit(require'nsbox'.run{'/true',hostname='box',rootfs='%s'})"):format(image))
  add("the same, own ids", LUA, "-e",
    ("os.exit(require'nsbox'.run{'/true',hostname='box',rootfs='%s',maps='self'})"):format(image))
  add("crun, without cgroups", "crun", "--cgroup-manager=disabled", "--root", bench .. "/crun",
    "run", "-b", bench, "nsbox-bench")
  for _ = 1, ROUNDS * 4 do
    for _, v in ipairs(list) do
      if not v.failed then
        local took, why = whole(v.argv)
        v.took[#v.took + 1], v.failed = took, why
      end
    end
  end
  print_table("Cold: whole commands", "command", list)
end

-- idle --------------------------------------------------------------------------------

local IDLE <const> = tonumber(os.getenv "IDLE") or 1000

-- kilobytes that processes and their namespaces have; caches come and go
local function memory()
  local sum = 0
  for line in io.lines "/proc/meminfo" do
    local name, kilobytes = line:match "^(%w+):%s+(%d+)"
    if name == "AnonPages" or name == "Shmem" or name == "SUnreclaim" or name == "KernelStack"
      or name == "PageTables" or name == "Percpu" then
      sum = sum + kilobytes
    end
  end
  return sum
end

local function pss(pid)
  for line in io.lines(("/proc/%d/smaps_rollup"):format(pid)) do
    local kilobytes = line:match "^Pss:%s+(%d+)"
    if kilobytes then
      return math.tointeger(kilobytes)
    end
  end
end

-- boxes in a process of their own; starts, and ends, with a line
local CHILD <const> = [[
  local nsbox, boxes = require "nsbox", {}
  for i = 1, %d do
    boxes[i] = nsbox.box { "/idle", hostname = "box", rootfs = "%s", maps = %s }:start()
  end
  print "running"
  io.stdout:flush()
  io.read()
  for _, box in ipairs(boxes) do box:close() end
]]

-- the kernel takes namespaces apart after their processes
local function settled()
  local least, since = memory(), process.clock()
  while process.clock() - since < 2 do
    fd.poll({}, 0.2)
    local now = memory()
    if now < least then
      least, since = now, process.clock()
    end
  end
  return least
end

-- milliseconds until all run, kilobytes of each
local function idle_ones(argv)
  local before, start = settled(), process.clock()
  local out, their_out = assert(fd.pipe())
  local their_in, keep = assert(fd.pipe())
  local p <close> = assert(process.spawn { argv = argv, env = ENV, path = os.getenv "PATH",
    stdin = their_in, stdout = their_out })
  their_in:close()
  their_out:close()
  assert(out:read() == "running\n", "the idle ones failed")
  local seconds, kilobytes = process.clock() - start, memory() - before
  keep:close()
  assert(fd.poll { [p:fileno()] = "r" })
  assert(select(2, p:status()) == 0)
  out:close()
  return seconds * 1e3, kilobytes / IDLE
end

local function idle()
  print(("\n**%d boxes that wait**\n"):format(IDLE))
  figures.row("", "all run after, ms", "x the first", "memory of each, kB", "x the first")
  figures.row("---", "---:", "---:", "---:", "---:")
  for _, maps in ipairs(process.geteuid() == 0 and { "self", "range" } or { "self" }) do
    local limit_argv = {}
    for word in (LIMIT .. " " .. SEALED .. (maps == "range" and " -r -m fork" or " -m vfork"))
      :gmatch "%S+" do
      limit_argv[#limit_argv + 1] = word
    end
    table.move({ "-n", tostring(IDLE), "-i", "/idle" }, 1, 4, #limit_argv + 1, limit_argv)
    local list = {
      { name = "the same system calls in C", argv = limit_argv },
      { name = "`nsbox.box`", argv = { LUA, "-e",
        CHILD:format(IDLE, image, maps == "self" and '"self"' or "nil") } },
    }
    for _, v in ipairs(list) do
      v.took, v.size = {}, {}
    end
    for _ = 1, math.max(3, ROUNDS // 2) do
      for _, v in ipairs(list) do
        v.took[#v.took + 1], v.size[#v.size + 1] = idle_ones(v.argv)
      end
    end
    for _, v in ipairs(list) do
      figures.row(("%s, %s"):format(v.name, maps == "self" and "own ids" or "root's range"),
        ("%.0f"):format(median(v.took)),
        ("%.2f"):format(figures.paired(v.took, list[1].took, figures.ratio)),
        ("%.0f"):format(median(v.size)),
        ("%.2f"):format(figures.paired(v.size, list[1].size, figures.ratio)))
    end
  end
  local box <close> = nsbox.box { "/idle", rootfs = image, init = true }
  box:start()
  print(("\nPSS of nsbox-init as pid 1: %d kB"):format(pss(box.pid)))
end

assert(os.execute(("mkdir -p %s/etc && cp %s/true %s/idle %s && touch %s/etc/hosts %s/etc/hostname")
  :format(image, bench, bench, image, image, image)))
warm()
beside_limit()
cold()
idle()

-- What a root file system of its own costs: warm, beside a box that sees the host's
-- files, and as a whole command beside bwrap and crun, which are given the same work.
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
    print(v.failed and ("| %s | %s | |"):format(v.name, v.failed)
      or ("| %s | %.0f | %.2f |"):format(v.name, median(v.took),
        figures.paired(v.took, list[1].took, figures.ratio)))
  end
end

-- warm --------------------------------------------------------------------------------

local function warm()
  local list = {}
  local function add(name, o)
    list[#list + 1] = { name = name, o = o, took = {} }
  end
  add("default box", { bench .. "/true", hostname = "box" })
  add("with `rootfs`", { "/true", hostname = "box", rootfs = image })
  add("the same, read-only, a tmpfs and a bind", { "/true", hostname = "box",
    rootfs = { image, ro = true }, tmpfs = "/tmp", bind = "/usr:/usr:ro" })
  add("an empty root, a bind", { "/b/true", hostname = "box", rootfs = {}, bind = bench .. ":/b" })
  add("`overlay = \"tmp\"`", { "/true", hostname = "box", rootfs = image, overlay = "tmp" })
  add("bare, with `rootfs`", { "/true", hostname = "box", rootfs = image, bare = true })
  for _ = 1, ROUNDS do
    for _, v in ipairs(list) do
      local start = process.clock()
      for _ = 1, COUNT do
        assert(nsbox.run(v.o) == 0)
      end
      v.took[#v.took + 1] = (process.clock() - start) / COUNT * 1e6
    end
  end
  print_table(("Warm: %d launches in one process, %d rounds"):format(COUNT, ROUNDS), "launch", list)
end

-- cold --------------------------------------------------------------------------------

local ENV <const> = { "PATH=" .. (os.getenv "PATH" or "/usr/bin:/bin"), "HOME=/", "TERM=dumb",
  "LD_LIBRARY_PATH=" .. (os.getenv "LD_LIBRARY_PATH" or ""),
  ("LUA_PATH=%s/lua/?.lua;;"):format(lib), ("LUA_CPATH=%s/?.so;;"):format(lib) }

local null <const> = assert(fd.open("/dev/null", { "rdwr" }))

local function whole(argv)
  local start = process.clock()
  local p <close> = process.spawn { argv = argv, env = ENV, path = os.getenv "PATH",
    stdin = null, stdout = null, stderr = null }
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
{"type":"network"},{"type":"cgroup"}]}}
]]

local function cold()
  local list = {}
  local function add(name, ...)
    list[#list + 1] = { name = name, argv = { ... }, took = {} }
  end
  local f <close> = assert(io.open(bench .. "/config.json", "w"))
  f:write(BUNDLE)
  f:close()
  add("bwrap", "bwrap", "--unshare-all", "--uid", "0", "--gid", "0", "--hostname", "box", "--bind",
    image, "/", "--proc", "/proc", "--dev", "/dev", "--mqueue", "/dev/mqueue", "--die-with-parent",
    "--new-session", "--cap-drop", "ALL", "/true")
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

assert(os.execute(("mkdir -p %s && cp %s/true %s/true"):format(image, bench, image)))
warm()
cold()

-- Every step of a launch, failed in turn.  NSBOX_FAULT is read at each launch
-- and belongs to the environment, so each kind of launch has a Lua program of
-- its own, which is run once a step: see fault() below.

local sys = require "nsbox.sys"
local c = require "children"

-- prelude of the programs: `try(...)` takes what spawn or clone returned, and
-- reports its failure and what it left
local PRELUDE = [[
  local sys = require "nsbox.sys"
  local process = sys.process
  local c = require "children"
  local lfs = require "lfs"
  function slurp(path)
    local f = io.open(path)
    if not f then return nil end
    local text = f:read "a"
    f:close()
    return text
  end
  local function count(path)
    local n = 0
    for _ in lfs.dir(path) do n = n + 1 end
    return n
  end
  local function state()
    local pid = process.getpid()
    local children = slurp("/proc/" .. pid .. "/task/" .. pid .. "/children")
    local _, mounts = slurp "/proc/self/mountinfo":gsub("\n", "")
    return ("descriptors %d, mounts %d, children %s"):format(count "/proc/self/fd", mounts,
      children)
  end
  local maps = c.self_maps()
  local TARGET = arg[1]
  local BEFORE = state()
  local function left(before)
    collectgarbage()
    collectgarbage()
    local now = state()
    return now == before and "nothing left" or before .. " -> " .. now
  end
  local function report(before, p, message, errno, step)
    if p then
      -- nobody else may reap it soon, and its pid namespace waits for that
      if p ~= true then c.ending(p) end
      return print "started"
    end
    print(("%s\t%d\t%s\t%s"):format(step, errno, left(before), message))
  end
]]

local function program(body)
  local dir = tmpdir()
  spew(dir .. "/launch.lua", PRELUDE .. body)
  return function(fault)
    local build = os.getenv "NSBOX_BUILD" or "build"
    return (sh(("NSBOX_FAULT=%s LUA_PATH='lua/?.lua;spec/?.lua;;' LUA_CPATH='%s/?.so;;' "
      .. "timeout 60 %s %s/launch.lua %s"):format(fault, build, os.getenv "LUA" or "lua5.4", dir,
        dir)))
  end
end

-- fails every step by its number until none is left; the words of the steps
local function every(run)
  local steps = {}
  for i = 1, 100 do
    local out = run(("%d:EIO"):format(i))
    if out == "started\n" then return steps end
    local step, errno, left, message = out:match "^([^\t]+)\t(%d+)\t([^\t]*)\t([^\n]*)\n$"
    assert(step, "step " .. i .. ": " .. out)
    assert.equal(sys.errno.EIO, tonumber(errno))
    assert.equal("nothing left", left)
    assert.matches("^" .. step:gsub("%p", "%%%0") .. ".*: Input/output error$", message)
    steps[i] = step
  end
  error "it never started"
end

-- fails these, by their words
local function parents(run, words)
  for _, word in ipairs(words) do
    local out = run(word .. ":EAGAIN")
    local step, errno, left, message = out:match "^([^\t]+)\t(%d+)\t([^\t]*)\t([^\n]*)\n$"
    assert(step, word .. ": " .. out)
    assert.same({ word, sys.errno.EAGAIN, "nothing left" }, { step, tonumber(errno), left })
    assert.matches(": Resource temporarily unavailable", message)
  end
end

local function list(text)
  local t = {}
  for word in text:gmatch "%S+" do t[#t + 1] = word end
  return t
end

describe("a launch fails at every step and leaves nothing:", function()
  needs("maps", "pidns", "utsns")

  it("a program that shares the memory #fault", function()
    local run = program [[
      report(BEFORE, process.spawn { argv = { "/bin/true" }, env = {}, maps = maps,
        new = { "user", "pid", "mnt", "uts", "time" }, hostname = "x", pdeathsig = "KILL",
        time_offsets = { boottime = 1 }, stdin = 0, cwd = "/", setsid = true,
        no_new_privs = true, caps = {}, writes = { { "/proc/self/oom_score_adj", "1000" } },
        mounts = { { target = TARGET, type = "tmpfs" }, { attr = TARGET, set = { "nodev" } },
          { grab = TARGET, recursive = true }, { place = 3, target = TARGET } } })
    ]]
    local steps = every(run)
    assert.same(list [[hold pdeathsig signals uid_map setgroups gid_map unshare time_offsets
      hostname mount write mount attr bind bind bounding caps ambient no_new_privs cwd stdio keep
      setsid sigmask exec]], steps)
    parents(run, { "pipe", "clone" })
  end)

  it("one whose maps the parent writes #fault", function()
    local run = program [[
      maps.uid[1][1] = 7
      report(BEFORE, process.spawn { argv = { "/bin/true" }, env = {}, new = { "user", "pid" },
        -- without setgroups it is the parent's business
        maps = { uid = maps.uid } })
    ]]
    assert.same(list "hold signals release keep sigmask exec", every(run))
    parents(run, { "pipe", "clone", "uid_map", "release" })
  end)

  it("ranges as root #fault #root", function()
    local run = program [[
      local ranges = { { 0, 100000, 65536 } }
      report(BEFORE, process.spawn { argv = { "/bin/true" }, env = {}, new = { "user", "pid" },
        maps = { uid = ranges, gid = ranges, setgroups = "allow" } })
    ]]
    assert.same(list "hold signals release keep sigmask exec", every(run))
    parents(run, { "pipe", "clone", "uid_map", "setgroups", "gid_map", "release" })
  end)

  it("subordinate ids by the helpers #fault #user", function()
    needs "subuid"
    local run = program [[
      report(BEFORE, process.spawn { argv = { "/bin/true" }, env = {}, new = { "user", "pid" },
        maps = require("nsbox.idmap").resolve "subuid" })
    ]]
    assert.same(list "hold signals release keep sigmask exec", every(run))
    parents(run, { "pipe", "clone", "newuidmap", "newgidmap", "release" })
  end)

  it("nsbox-init, with a gate and other ids #fault", function()
    local run = program [[
      local p, message, errno, step = process.spawn { argv = { "/bin/true" }, env = {},
        maps = maps, new = { "user", "pid", "mnt", "uts", "time" }, hostname = "x",
        time_offsets = { boottime = 1 }, stdin = 0, cwd = "/", setsid = true, uid = 0, gid = 0,
        no_new_privs = true, caps = {}, init = true, gate = true, pdeathsig = "KILL",
        mounts = { { target = TARGET, type = "tmpfs" } } }
      if p then p, message, errno, step = p:start() end
      report(BEFORE, p, message, errno, step)
    ]]
    local steps = every(run)
    assert.same(list [[hold pdeathsig signals uid_map setgroups gid_map stdio caps ambient init
      ambient caps unshare time_offsets setns hostname mount mount bounding keepcaps setgid
      setuid keepcaps caps ambient pdeathsig no_new_privs cwd keep gate fork pdeathsig setsid
      sigmask caps ambient exec]], steps)
    parents(run, { "pipe", "clone" })
    local out = run "image:ENOSPC"
    assert.matches("^init\t28\tnothing left\tinit: No space left on device\n$", out)
  end)

  it("a program in joined namespaces #fault", function()
    local dir = tmpdir()
    -- NSBOX_FAULT may not hit the holder: it runs in a program of its own
    spew(dir .. "/holder.lua", PRELUDE .. [[
      local p = c.hold(c.box { new = { "pid", "uts", "mnt" } })
      print(p:pid())
      io.stdout:flush()
      io.read()
    ]])
    local r, w = assert(sys.fd.pipe())
    local out, report = assert(sys.fd.pipe())
    local build = os.getenv "NSBOX_BUILD" or "build"
    local host = assert(sys.process.spawn { argv = { os.getenv "LUA" or "lua5.4",
      dir .. "/holder.lua" }, stdin = r, stdout = report, path = os.getenv "PATH",
      env = { "PATH=" .. os.getenv "PATH", "ASAN_OPTIONS=" .. (os.getenv "ASAN_OPTIONS" or ""),
        "LUA_PATH=lua/?.lua;spec/?.lua;;", ("LUA_CPATH=%s/?.so;;"):format(build) } })
    r:close()
    report:close()
    c.await(out:fileno(), "the holder")
    local pid = tonumber(out:read())
    assert(pid)
    local ok, message = pcall(function()
      local run = program(([[
        local join = {}
        for i, kind in ipairs { "user", "pid", "uts", "mnt" } do
          join[i] = assert(sys.ns.open(%d, kind))
        end
        local before = state()
        report(before, process.spawn { argv = { "/bin/true" }, env = {}, join = join,
          new = { "user", "ipc" }, maps = { uid = { { 0, 0, 1 } } }, cwd = "/" })
      ]]):format(pid))
      assert.same(list [[hold signals init dumpable setns unshare dumpable uid_map dumpable fork cwd
        keep sigmask exec]], every(run))
      parents(run, { "pipe", "clone" })
      assert.matches("^init\t28\tnothing left\t", run "image:ENOSPC")
    end)
    w:close()
    c.ending(host)
    out:close()
    if not ok then error(message, 0) end
  end)

  it("a Lua function with maps #fault", function()
    local run = program [[
      local p, out, errno, step = process.clone({ "user", "pid", "mnt", "uts", maps = maps,
        hostname = "x", mounts = { { target = TARGET, type = "tmpfs" } }, cwd = "/" },
        function() end)
      if p then
        c.drain(out)
        c.ending(p)
        p = true
      end
      report(BEFORE, p, out, errno, step)
    ]]
    assert.same(list [[hold release unshare uid_map setgroups gid_map fork hostname mount mount
      cwd keep started]], every(run))
    parents(run, { "pipe", "clone" })
  end)

  it("a Lua function whose maps the parent writes #fault", function()
    local run = program [[
      local p, out, errno, step = process.clone({ "user", maps = { uid = maps.uid } },
        function() end)
      if p then
        c.drain(out)
        c.ending(p)
        p = true
      end
      report(BEFORE, p, out, errno, step)
    ]]
    assert.same(list "hold release unshare maps keep started", every(run))
    parents(run, { "pipe", "clone", "uid_map", "release" })
  end)
end)

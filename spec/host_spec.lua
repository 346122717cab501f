-- Boxes in a host that does what a library cannot forbid: reaps, forks, ignores
-- signals, forgets its coroutines; and programs that do not do their part.

local children = require "children"
local lfs = require "lfs"

local PROLOGUE = [[
  package.cpath = "%s/?.so;" .. package.cpath
  local nsbox = require "nsbox"
  local function gone(pid) return not io.open(("/proc/%%d/stat"):format(pid)) end
]]

-- output of a script that has the module `host` on its path
local function script(code, before)
  local dir = tmpdir()
  local out, status = sh(("%s -shared -fPIC -O1 -Wall -Wextra -Werror $(pkg-config --cflags "
    .. "lua5.4) -o %s/host.so spec/host.c"):format(os.getenv "CC" or "cc", dir))
  assert(status == 0, out)
  out, status = children.script(PROLOGUE:format(dir) .. code, before)
  assert.equal(0, status, out)
  return out
end

-- PIDFD_GET_INFO keeps a status since Linux 6.15
local function keeps_status()
  local major, minor = slurp "/proc/sys/kernel/osrelease":match "^(%d+)%.(%d+)"
  return tonumber(major) * 1000 + tonumber(minor) >= 6015
end

describe("a box", function()
  needs("maps", "procmount")

  local LIVES = [[
    local function life(init)
      local box <close> = nsbox.box { "sh", "-c", "exit 3", bare = true, init = init }
      box:start()
      REAP
      local r = box:wait()
      print(r.reason, r.status, r == box:wait(), box.state)
    end
    life(false)
    life(true)
    local box <close> = nsbox.box { bare = true }
    print(box:call(function() return 42 end))
  ]]

  for what, how in pairs {
    ["whose host reaps every child"] = { 'require "host".reap()' },
    ["whose host ignores SIGCHLD"] = { "", "env --ignore-signal=CHLD" },
  } do
    it(what .. " has its status as far as the kernel knows it", function()
      local unfriendly = keeps_status() and "exit\t3" or "unknown\t1"
      local out = script(LIVES:gsub("REAP", how[1]), how[2])
      assert.equal((unfriendly .. "\ttrue\texited\nexit\t3\ttrue\texited\n42\n"), out)
    end)
  end

  it("is not taken for the process that has its number now", function()
    needs("procmount", "pidns")
    local path = os.getenv "NSBOX_TREE" or lfs.currentdir()
    local file = tmpdir() .. "/inner.lua"
    spew(file, [[
      local nsbox = require "nsbox"
      local blame = require "blame"
      local box = nsbox.box { "cat", stdin = "pipe", bare = true, namespaces = { "uts" } }:start()
      local pid = box.pid
      box.stdin:close()
      -- nobody reaps it but the kernel
      nsbox.sys.fd.poll { [box:fileno()] = "r" }
      while io.open(("/proc/%d/stat"):format(pid)) do end
      local function write()
        local f = io.open("/proc/sys/kernel/ns_last_pid", "w")
        assert(f and f:write(pid - 1) and f:close(), "ns_last_pid")
      end
      -- the kernel frees the number a moment after /proc has lost the process
      local stranger
      repeat
        if stranger then stranger:close() end
        write()
        stranger = nsbox.box { "cat", stdin = "pipe", bare = true, namespaces = { "uts" } }
      until stranger.pid == pid
      stranger:start()
      print(stranger.pid == pid)
      blame.failure(function() return box.ns end, "ESRCH")
      blame.failure(function() box:exec { "true" } end, "ESRCH")
      blame.misuse(function() box:call(print) end, "has ended")
      print(box:kill "KILL", box.state, stranger.state)
      box:close()
      print(stranger:exec({ "echo", "lives" }).stdout)
    ]])
    local out, r = require("boxes").output { "env", "--ignore-signal=CHLD",
      os.getenv "LUA" or "lua5.4", file, bare = true, stderr = "capture", env = { "ASAN_OPTIONS",
        LUA_PATH = ("%s/lua/?.lua;%s/spec/?.lua"):format(path, path),
        LUA_CPATH = ("%s/%s/?.so"):format(path, os.getenv "NSBOX_BUILD" or "build") } }
    assert.equal("true\nfalse\texited\trunning\nlives\n\n", out, r.stderr)
  end)

  it("is its parent's: a fork that unwinds ends nothing", function()
    assert.equal("child\nrunning\trunning\trunning\nin\ninner\n", script [[
      local host = require "host"
      local scope <close> = nsbox.scope()
      local owned = scope:box { "cat", stdin = "pipe", bare = true }:start()
      local gated <close> = scope:box { "echo", "in", bare = true }
      local box <close> = nsbox.box { "cat", stdin = "pipe", bare = true, init = true }
      box:start()
      local p <close> = box:spawn { "cat", stdin = "pipe" }
      local ns <close> = nsbox.ns.new { "user", "uts" }
      io.stdout:flush()
      if host.fork() == 0 then
        print "child"
        os.exit(0, true) -- closes the variables, and the Lua state
      end
      host.reap()
      -- and one that closes by itself, in a child of our own
      box:call(function()
        box:close()
        scope:close()
        p:close()
      end)
      p:wait { timeout = 0 }
      print(owned.state, box.state, tostring(p):match "(%a+)%)$")
      io.stdout:flush()
      gated:start():wait()
      print(ns:exec({ "echo", "inner" }).stdout:match "%a+")
    ]])
  end)

  it("dies with a coroutine that is closed while it waits", function()
    assert.equal("false\nfalse\ntrue\ttrue\n", script [[
      nsbox.loop(coroutine.yield)
      local pid
      local one = coroutine.create(function()
        local scope <close> = nsbox.scope()
        local box = scope:box { "sleep", "1000", bare = true }:start()
        pid = box.pid
        box:wait()
      end)
      -- what run started has a parent, and no name
      local function children()
        local f <close> = io.open(("/proc/self/task/%d/children"):format(
          nsbox.sys.process.getpid()))
        return f:read "a"
      end
      local two = coroutine.create(function()
        nsbox.run { "sleep", "1000", bare = true, stdout = "capture" }
      end)
      coroutine.resume(one)
      coroutine.resume(two)
      print(gone(pid))
      print(children() == "")
      coroutine.close(one)
      coroutine.close(two)
      print(gone(pid), children() == "")
    ]])
  end)

  it("dies with the script whose coroutine never finished", function()
    for _, ending in ipairs { "", "os.exit(0, true)", "os.exit(0)" } do
      -- the boxes hold the script's stdout: sh() reads until they are gone
      local out = script([[
        nsbox.loop(coroutine.yield)
        for i = 1, 2 do
          coroutine.wrap(function()
            local scope <close> = nsbox.scope()
            local box = scope:box { "sleep", "1000", bare = true, init = i == 2 }:start()
            io.write(box.pid, " ", box.ns.uts.inode, "\n")
            box:wait()
          end)()
        end
        collectgarbage()
        io.stdout:flush()
      ]] .. ending)
      local n = 0
      for pid, inode in out:gmatch "(%d+) (%d+)\n" do
        n = n + 1
        assert.not_equal("uts:[" .. inode .. "]",
          lfs.symlinkattributes(("/proc/%s/ns/uts"):format(pid), "target"))
      end
      assert.equal(2, n, out)
    end
  end)

  it("that reads no more does not end its host by SIGPIPE", function()
    assert.equal("EPIPE\nEPIPE\t0\nalive\n", script [[
      local box <close> = nsbox.box { "sh", "-c", "exec <&-; echo; read x <&1", stdin = "pipe",
        stdout = "pipe", bare = true }
      box:start()
      box.stdout:read()
      local _, err = nsbox.try(box.stdin.write, box.stdin, "x")
      print(err.code)
      box:close()
      -- one that has ended
      local p <close> = nsbox.box { "true", stdin = "pipe", bare = true }
      local r = p:start():wait()
      _, err = nsbox.try(p.stdin.write, p.stdin, ("x"):rep(100000))
      print(err.code, r.status)
      print "alive"
    ]])
  end)

  it("that never reads its input, or floods an output nobody reads, is no deadlock", function()
    assert.equal("EPIPE\ttimeout\nKILL\nKILL\n", script [[
      local box <close> = nsbox.box { "sleep", "1000", stdin = "pipe", timeout = "50ms",
        bare = true }
      box:start()
      local _, err = nsbox.try(box.stdin.write, box.stdin, ("x"):rep(1000000))
      print(err.code, box:wait().reason)
      local flood <close> = nsbox.box { "cat", "/dev/zero", stdout = "pipe", bare = true }
      flood:start()
      assert(#flood.stdout:read(100000) == 100000)
      print(flood:stop { "KILL", grace = 60 }.signal)
      local closed = nsbox.box { "cat", "/dev/zero", stdout = "pipe", bare = true }
      closed:start():close()
      print(closed:wait().signal)
    ]])
  end)
end)

local process = require "nsbox.process"
local stream = require "nsbox.stream"
local E = require "nsbox.error"
local fd = require "nsbox.sys.fd"

local DEFAULTS <const> = { "null", "capture", "capture" }

local function start(...)
  return process.start("spawn", { argv = { ... } }, stream.open({ limit = 1024 }, DEFAULTS))
end

local function start_for(timeout, ...)
  return process.start("spawn", { argv = { ... } }, stream.open({ limit = 1024 }, DEFAULTS),
    timeout)
end

describe("nsbox.process", function()
  it("starts a program, waits, and has the same result each time", function()
    local p <close> = start("sh", "-c", "echo $PPID; exit 3")
    assert.is_true(p.pid > 0)
    assert.matches("^process %(pid %d+, running%)$", tostring(p))
    local r = p:wait()
    assert.equal(3, r.status)
    assert.equal(slurp "/proc/self/stat":match "^%d+" .. "\n", r.stdout)
    assert.equal(r, p:wait())
    assert.equal(r, p:wait { timeout = 0 })
    assert.matches("exited", tostring(p))
  end)

  it("has a pidfd that tells the end", function()
    local p <close> = start("cat")
    assert.is_truthy(slurp(("/proc/self/fdinfo/%d"):format(p:fileno())):find(
      "Pid:\t" .. p.pid, 1, true))
    fd.poll { [p:fileno()] = "r" }
    assert.equal(0, p:wait().status)
  end)

  it("kills what still runs when it is closed; twice is harmless", function()
    local p = start("sleep", "1000")
    local pid = p.pid
    p:close()
    p:close()
    assert.is_nil(slurp(("/proc/%d/stat"):format(pid)))
    assert.equal("KILL", p:wait().signal)
  end)

  it("does not wait for what may not be killed when it is closed", function()
    local p = start("sleep", "60")
    local handle, closed = p._handle, false
    p._handle = { kill = function() return nil, "kill: Operation not permitted", 1 end,
      close = function() closed = true end }
    assert.matches("^kill pid %d+: kill: Operation not permitted %(EPERM%)",
      tostring(require("blame").failure(function() p:close() end, "EPERM")))
    assert.is_true(closed)
    p:close()
    handle:kill "KILL"
    require("children").ending(handle)
  end)

  it("is asked first by _end, and killed when it does not listen", function()
    local p, q = start("sleep", "1000"), start("sleep", "1000")
    p:_end("TERM", 60)
    assert.equal("TERM", p:wait().signal)
    q:kill "STOP" -- it hears nothing but KILL then
    repeat until slurp(("/proc/%d/stat"):format(q.pid)):find "%) T"
    q:_end("TERM", 0)
    q:_end("TERM", 0)
    assert.equal("KILL", q:wait().signal)
    assert.is_nil(slurp(("/proc/%d/stat"):format(q.pid)))
  end)

  it("is its parent's: a forked child asks and kills nothing", function()
    local p <close> = start("cat")
    require("inside")({}, function() p:_end("TERM", 0) end)
    assert.is_nil(p:wait { timeout = 0 })
    assert.is_true(p:kill "CONT")
  end)

  it("kills after a time-out, and not what ended before it", function()
    local p <close> = start_for(0, "sleep", "1000")
    assert.equal("timeout", p:wait().reason)
    local q <close> = start_for(0, "sh", "-c", "exit 5")
    fd.poll { [q:fileno()] = "r" }
    local r = q:wait()
    assert.same({ "exit", 5 }, { r.reason, r.status })
  end)

  it("blames the caller for a plan that C refuses, and closes everything", function()
    local before = #entries "/proc/self/fd"
    collectgarbage "stop"
    finally(function() collectgarbage "restart" end)
    local ok, err = pcall(function()
      local p = process.start("run", { argv = { "true" }, bogus = 1 },
        stream.open({ limit = 1, input = "x" }, DEFAULTS))
      return p
    end)
    assert.is_false(ok)
    assert.matches("^[^\n]*process_spec.lua:%d+: run: plan: unknown field 'bogus'$", err)
    assert.equal(before, #entries "/proc/self/fd")
    ok, err = pcall(function()
      local p = process.start("run", { argv = { "true" }, stdin = 999 },
        stream.open({ limit = 1, stdin = "inherit" }, { "inherit", "inherit", "inherit" }))
      return p
    end)
    assert.is_false(ok)
    assert.matches("^[^\n]*process_spec.lua:%d+: run: stdin: descriptor 999 is not open$", err)
  end)

  it("raises what could not be started, and leaves no descriptor", function()
    local ok, err = pcall(start, "/no/such/program")
    assert.is_false(ok)
    assert.is_true(E.is(err))
    assert.same({ "spawn", "exec", "ENOENT" }, { err.op, err.step, err.code })
  end)
end)

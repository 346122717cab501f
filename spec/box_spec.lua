local nsbox = require "nsbox"
local children = require "children"
local blame = require "blame"
local misuse, failure = blame.misuse, blame.failure

local lfs = require "lfs"

local function link(pid, kind)
  return lfs.symlinkattributes(("/proc/%s/ns/%s"):format(pid, kind), "target")
end

describe("a box in which something runs", function()
  needs "procmount"

  it("ends with it", function()
    local scope = require("nsbox").scope()
    local box = scope:box {}
    box:spawn { "sleep", "60" }
    local kept = box:spawn { "sleep", "60" }
    scope:close()
    assert.equal("KILL", kept:wait().signal)
    local other = require("nsbox").scope()
    local second = other:box {}
    second:spawn { "sleep", "60" }
    second:close()
    other:close()
  end)
end)

describe("nsbox.box, misused", function()
  it("is told so at the caller's line, and nothing is made", function()
    misuse(function() nsbox.box(3) end, "box: expected a table of options")
    misuse(function() nsbox.box { "true", nam = "x" } end, "box: unknown option 'nam'")
  end)
end)

describe("nsbox.box", function()
  needs("maps", "procmount")

  it("is created, runs and has exited #uml", function()
    local b <close> = nsbox.box { "sh", "-c", "exit 7", name = "life" }
    assert.equal("created", b.state)
    assert.equal("life", b.name)
    assert.matches("^box life %(pid " .. b.pid .. ", created%) user mnt pid ", tostring(b))
    assert.equal(b, b:start())
    assert.equal(b, b:start())
    local r = b:wait()
    assert.same({ false, 7, 7, "exit" }, { r.ok, r.status, r.code, r.reason })
    assert.equal("exited", b.state)
    assert.equal(r, b:wait())
    assert.equal(b, b:start())
    assert.is_false(b:kill())
    b:close()
    b:close()
  end)

  it("says what is wrong with a call, at its line", function()
    local b <close> = nsbox.box { "true" }
    misuse(function() b:wait() end, "wait: the box was not started")
    misuse(function() nsbox.wait { b } end, "wait: argument 1: the box was not started")
    misuse(function() b:kill "FOO" end, "kill: argument 1: expected a signal")
    misuse(function() b:kill(9) end, "kill: argument 1: expected a signal")
    misuse(function() b:stop "FOO" end, "stop: argument 1: expected a signal")
    misuse(function() b:stop { grase = 1 } end, "stop: unknown option 'grase'")
    misuse(function() b:ready() end, "ready: ")
    misuse(function() b:ready {} end, "ready: when?")
    misuse(function() b:ready { port = 1, file = "/x" } end, "ready: when? one of")
    misuse(function() b:ready { file = "x" } end, "ready: file: expected an absolute path")
    misuse(function() b:exec {} end, "exec: which program?")
    misuse(function() b:exec { "true", stdout = "pipe" } end, "exec: stdout: 'pipe' needs")
    misuse(function() b:spawn { "true", foo = 1 } end, "spawn: unknown option 'foo'")
    misuse(function() b:call(3) end, "call: expected a function, got a number")
    b:start()
    misuse(function() b:wait { timeot = 1 } end, "wait: unknown option 'timeot'")
    b:close()
    misuse(function() b:start() end, "start: the box is closed")
    misuse(function() b:exec { "true" } end, "has ended")
    misuse(function() b:call(print) end, "has ended")
    misuse(function() return b.ns end, "has ended")
  end)

  it("can be closed before its start", function()
    local b = nsbox.box { "true" }
    local pid = b.pid
    b:close()
    assert.equal("exited", b.state)
    assert.equal("KILL", b:wait().signal)
    assert.is_nil(slurp(("/proc/%d/stat"):format(pid)))
  end)

  it("can be killed before its start: then there is none", function()
    local b <close> = nsbox.box { "true" }
    local r = b:stop()
    assert.same({ "KILL", "exited" }, { r.signal, b.state })
    assert.equal(r, b:wait())
    local err = failure(function() b:start() end, "ESRCH")
    assert.same({ "start", r }, { err.op, err.result })
    local c <close> = nsbox.box { "true" }
    nsbox.sys.process.open(c.pid):kill "KILL"
    nsbox.sys.fd.poll { [c:fileno()] = "r" }
    failure(function() c:start() end, "ESRCH")
    assert.equal("KILL", c:wait().signal)
  end)

  it("says that it has ended, also when nobody waited for it", function()
    for _, verb in ipairs { "exec", "spawn" } do
      local b <close> = nsbox.box { "true" }
      b:start()
      nsbox.sys.fd.poll { [b:fileno()] = "r" }
      local err = failure(function() b[verb](b, { "true" }) end, "ESRCH")
      assert.same({ verb, 0 }, { err.op, err.result.status })
      misuse(function() b[verb](b, { "true" }) end, "has ended")
    end
  end)

  it("gives two coroutines the same result", function()
    local b <close> = nsbox.box { "sh", "-c", "exit 3" }
    b:start()
    local results = {}
    local function waiter() results[#results + 1] = b:wait() end
    coroutine.wrap(waiter)()
    coroutine.wrap(waiter)()
    assert.equal(3, results[1].status)
    assert.equal(results[1], results[2])
  end)

  it("raises from start what cannot be started", function()
    local b <close> = nsbox.box { "/no/such/program" }
    local err = failure(function() b:start() end, "ENOENT")
    assert.same({ "box", "exec" }, { err.op, err.step })
    assert.equal("exited", b.state)
  end)

  it("raises for a status other than 0 when it is to be checked", function()
    local b <close> = nsbox.box { "sh", "-c", "exit 4", check = true }
    b:start()
    assert.equal(4, failure(function() b:wait() end, "EXIT").result.status)
  end)

  it("has a life time from its start #uml", function()
    local b <close> = nsbox.box { "sleep", "1000", timeout = "1ms" }
    -- longer than its time, while it is created
    assert.equal("0\n", b:exec({ "sh", "-c", "sleep 0.01; id -u" }).stdout)
    assert.equal("created", b.state)
    b:start()
    local r = b:wait()
    assert.same({ "timeout", 124, "KILL" }, { r.reason, r.status, r.signal })
  end)

  it("outlives a wait that is over", function()
    local b <close> = nsbox.box { "cat", stdin = "pipe" }
    b:start()
    local r, why = b:wait { timeout = 0 }
    assert.same({ nil, "timeout" }, { r, why })
    b.stdin:close()
    assert.equal(0, b:wait().status)
  end)

  describe("with nsbox-init #uml", function()
    needs "memfd_exec"

    it("tells a status of 137 from KILL", function()
      local b <close> = nsbox.box { "sh", "-c", "exit 137", init = true }
      local r = b:start():wait()
      assert.same({ 137, 137, "exit" }, { r.status, r.code, r.reason })
      local c <close> = nsbox.box { "sh", "-c", "kill -KILL $$", init = true }
      r = c:start():wait()
      assert.same({ 137, "KILL", "signal" }, { r.status, r.signal, r.reason })
    end)

    it("is ended by the signal its program is asked with", function()
      local b <close> = nsbox.box { "sleep", "1000", init = true }
      local r = b:start():stop()
      assert.same({ "TERM", 143 }, { r.signal, r.status })
      assert.is_nil(r.forced)
    end)
  end)

  describe("without a program #uml", function()
    it("runs from birth, and ends when it is asked", function()
      local b <close> = nsbox.box {}
      assert.equal("running", b.state)
      assert.equal(b, b:start())
      assert.equal("0\n", b:exec { "id", "-u" }.stdout)
      local r = b:stop()
      assert.same({ 143, "exited" }, { r.status, b.state })
      assert.is_nil(r.forced)
      assert.equal(r, b:stop())
    end)

    it("dies with the script", function()
      -- its pid 1 holds the script's stdout: sh() reads until it is gone
      local out = children.script([[
        local b = require "nsbox".box { "sleep", "1000" }
        b:start()
        io.write(b.pid, " ", b.ns.uts.inode)
        io.stdout:flush()
        os.execute "kill -9 $PPID"
      ]])
      local pid, inode = out:match "^(%d+) (%d+)"
      assert.not_equal("uts:[" .. inode .. "]", link(pid, "uts"))
    end)
  end)

  it("is killed when it ignores what asks it to stop", function()
    local b <close> = nsbox.box { "sh", "-c", "trap '' TERM; echo; cat", stdin = "pipe",
      stdout = "pipe" }
    b:start()
    assert.equal("", b.stdout:read())
    local r = b:stop { grace = "10ms" }
    assert.same({ "KILL", "TERM did not end it in 0.01 s" }, { r.signal, r.forced })
  end)

  it("lets a program that handles it end by itself", function()
    local b <close> = nsbox.box { "sh", "-c", "trap 'exit 5' TERM; echo; while read x; do :; done",
      stdin = "pipe", stdout = "pipe" }
    b:start()
    b.stdout:read()
    local r = b:stop()
    assert.same({ 5, nil }, { r.status, r.forced })
  end)

  describe("has streams:", function()
    it("null, captured with a limit, fed", function()
      local b <close> = nsbox.box { "sh", "-c", "cat; echo err >&2", input = ("x"):rep(100000),
        stdout = "capture", stderr = "capture", limit = 10 }
      local r = b:start():wait()
      assert.same({ ("x"):rep(10), "err\n", true }, { r.stdout, r.stderr, r.truncated })
      local c <close> = nsbox.box { "cat", stdin = "null", stdout = "capture" }
      assert.equal("", c:start():wait().stdout)
    end)

    it("functions and files", function()
      local got, n = {}, 0
      local b <close> = nsbox.box { "cat", stdout = function(s) got[#got + 1] = s or "end" end,
        stdin = function()
          n = n + 1
          return n < 3 and tostring(n) or nil
        end }
      b:start():wait()
      assert.equal("12end", table.concat(got))
      local path = tmpdir() .. "/out"
      local file = assert(io.open(path, "w"))
      local c <close> = nsbox.box { "echo", "to a file", stdout = file }
      c:start():wait()
      file:close()
      assert.equal("to a file\n", slurp(path))
    end)

    it("a flood, a closed stdout, an input nobody reads", function()
      local b <close> = nsbox.box { "head", "-c", "3000000", "/dev/zero", stdout = "capture",
        limit = 1000 }
      local r = b:start():wait()
      assert.same({ 0, 1000, true }, { r.status, #r.stdout, r.truncated })
      local c <close> = nsbox.box { "sh", "-c", "exec >&- <&-; exit 6", stdout = "capture",
        input = ("y"):rep(1000000) }
      r = c:start():wait()
      assert.same({ 6, "" }, { r.status, r.stdout })
    end)
  end)

  describe("is entered from its creation on: #uml", function()
    local kinds = "user mnt pid net uts ipc cgroup"

    it("exec and spawn are in its namespaces, with no more than it has", function()
      local b <close> = nsbox.box { "grep", "-E", "^(Cap|NoNewPrivs)", "/proc/self/status",
        stdout = "capture" }
      local want = {}
      for kind in kinds:gmatch "%a+" do want[#want + 1] = link(b.pid, kind) end
      local show = "for k in " .. kinds .. "; do readlink /proc/self/ns/$k; done"
      local r = b:exec { "sh", "-c", show }
      assert.equal(table.concat(want, "\n") .. "\n", r.stdout)
      local entered = b:exec { "grep", "-E", "^(Cap|NoNewPrivs)", "/proc/self/status" }.stdout
      assert.equal(b:start():wait().stdout, entered)
    end)

    it("exit code, directory, environment, user", function()
      local b <close> = nsbox.box {}
      local r = b:exec { "sh", "-c", "pwd; env -u PWD -u _ -u OLDPWD; id -u; exit 9", cwd = "/usr",
        env = { A = "1", TERM = "t" } }
      assert.equal(9, r.status)
      local lines = {}
      for line in r.stdout:gmatch "[^\n]+" do
        if not line:find "^SHLVL" then lines[#lines + 1] = line end
      end
      table.sort(lines)
      assert.same({ "/usr", "0", "A=1", "HOME=/root",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=t" }, lines)
      assert.equal("0\n", b:exec { "id", "-u", user = "root" }.stdout)
      failure(function() b:exec { "id", user = "no-such-user" } end, "ENOENT")
      failure(function() b:exec { "/no/such/program" } end, "ENOENT")
      failure(function() b:exec { "false", check = true } end, "EXIT")
      local p <close> = b:spawn { "cat", stdin = "pipe", stdout = "pipe" }
      p.stdin:write "talk\n"
      assert.equal("talk", p.stdout:read())
      p.stdin:close()
      assert.equal(0, p:wait().status)
    end)

    it("reads the user of a program from no FIFO", function()
      local dir = tmpdir()
      os.execute(("chmod 755 %s; mkfifo %s/fifo"):format(dir, dir))
      local b <close> = nsbox.box { bind = dir .. "/fifo:/etc/passwd" }
      local err = failure(function() b:exec { "id", user = "root" } end, "ENOENT")
      assert.matches("^exec: user root: the box has no /etc/passwd", tostring(err))
    end)

    it("call brings values back, nil among them, or the error", function()
      local b <close> = nsbox.box { hostname = "inner" }
      local function echo(...) return select("#", ...), ... end
      assert.same(table.pack(3, 1, nil, nil), table.pack(b:call(echo, 1, nil, nil)))
      assert.same(table.pack(3, nil, nil, 3), table.pack(b:call { echo, nil, nil, 3 }))
      assert.equal("/usr", b:call { lfs.currentdir, cwd = "/usr" })
      assert.equal("inner\n", b:call(function()
        return io.open "/proc/sys/kernel/hostname":read "a"
      end))
      local ok, err = pcall(b.call, b, function() error({ a = 1 }) end)
      assert.is_false(ok)
      assert.same({ "call", { a = 1 } }, { err.op, err.cause })
      err = failure(function() b:call(function()
        error(setmetatable({ a = 1 }, { __tostring = function() return "of mine" end }))
      end) end)
      assert.equal(1, err.cause.a)
      assert.matches(": of mine$", tostring(err))
      ok, err = pcall(b.call, b, function() require "nsbox.no_such_module" end)
      assert.is_false(ok)
      assert.matches("require 'nsbox.no_such_module' before it", tostring(err), 1, true)
    end)
  end)

  describe("is ready #uml", function()
    it("when a file is there, or a function says so", function()
      local b <close> = nsbox.box { "sh", "-c", "read x; touch /tmp/there; cat", stdin = "pipe",
        tmpfs = "/tmp" }
      b:start()
      local err = failure(function() b:ready { file = "/tmp/there", timeout = 0 } end, "ETIMEDOUT")
      assert.same({ "ready", "there was no /tmp/there within 0 s" }, { err.op, err.detail })
      err = failure(function() b:ready { call = function() end, timeout = 0 } end, "ETIMEDOUT")
      assert.equal("the function was never true within 0 s", err.detail)
      b.stdin:write "\n"
      assert.equal(b, b:ready { file = "/tmp/there" })
      assert.equal(b, b:ready { call = function() return true end })
    end)

    it("never, when it ended before", function()
      local b <close> = nsbox.box { "sh", "-c", "exit 3" }
      b:start()
      local err = failure(function() b:ready { file = "/no/such/file" } end, "ESRCH")
      assert.equal(3, err.result.status)
    end)

    it("when a program listens", function()
      needs "netns"
      for port, address in pairs { [8080] = "127.0.0.1", [8081] = "::" } do
        local b <close> = nsbox.box { "lua5.4", "-e", ([[
          local uv = require "luv"
          io.read()
          local server = uv.new_tcp()
          assert(server:bind("%s", %d))
          assert(server:listen(1, print))
          uv.run()
        ]]):format(address, port), stdin = "pipe" }
        b:start()
        local err = failure(function() b:ready { port = port, timeout = 0 } end, "ETIMEDOUT")
        assert.same({ "ready", ("nothing listens on port %d within 0 s"):format(port) },
          { err.op, err.detail })
        b.stdin:write "\n"
        assert.equal(b, b:ready { port = port, timeout = 60 })
        failure(function() b:ready { port = port + 1, timeout = 0 } end, "ETIMEDOUT")
      end
    end)
  end)

  it("runs in a box", function()
    local path = os.getenv "NSBOX_TREE" or lfs.currentdir()
    local build = os.getenv "NSBOX_BUILD" or "build"
    local out, r = require("boxes").output { os.getenv "LUA" or "lua5.4", "-e", [[
      local r = require "nsbox".box { "hostname", hostname = "inner", stdout = "capture",
        bare = true }:start():wait()
      io.write(r.stdout)
    ]], hostname = "outer", stderr = "capture", bare = true, env = { "ASAN_OPTIONS",
      LUA_PATH = path .. "/lua/?.lua",
      LUA_CPATH = ("%s/%s/?.so"):format(path, build) } }
    assert.equal("inner\n", out, r.stderr)
  end)
end)

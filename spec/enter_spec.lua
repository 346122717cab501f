-- exec, spawn and call in namespaces that exist, against nsenter.

local lfs = require "lfs"
local nsbox = require "nsbox"
local blame = require "blame"
local failure, misuse = blame.failure, blame.misuse
local ns = nsbox.ns

local SHOW = "for k in user mnt pid net uts ipc cgroup; do readlink /proc/self/ns/$k; done"

describe("entering", function()
  needs("maps", "procmount")

  it("goes where nsenter goes, by pid and by file", function()
    local box <close> = nsbox.box { bare = true, tmpfs = "/tmp" }
    local all <close> = ns.of(box)
    local inside = all:exec({ "sh", "-c", SHOW }).stdout
    assert.equal(sh(("nsenter -t %d -U -m -p -n -u -i -C --preserve-credentials sh -c '%s'")
      :format(box.pid, SHOW)), inside)
    assert.equal(inside, box:exec({ "sh", "-c", SHOW }).stdout)
    -- some kinds only: all else stays the caller's
    local some <close> = ns.of(box.pid, "user", "uts")
    assert.equal(sh(("nsenter -t %d -U -u --preserve-credentials sh -c '%s'"):format(box.pid,
      SHOW)), some:exec({ "sh", "-c", SHOW }).stdout)
  end)

  it("goes where the user namespace is the caller's own #root", function()
    local p <close> = assert(nsbox.sys.process.spawn { argv = { "sleep", "60" }, env = {},
      new = { "net", "uts", "mnt" }, hostname = "there" })
    local all <close> = ns.of(p:pid())
    assert.equal(sh(("nsenter -a -t %d sh -c '%s'"):format(p:pid(), SHOW)),
      all:exec({ "sh", "-c", SHOW }).stdout)
    assert.equal("there\n", all:exec({ "hostname" }).stdout)
    p:kill "KILL"
    require("children").ending(p)
  end)

  it("goes into a namespace whose owner is a level further up", function()
    local box <close> = nsbox.box { bare = true }
    local p <close> = box:spawn { "unshare", "-Urn", "sh", "-c", "readlink /proc/self/ns/net; cat",
      stdin = "pipe", stdout = "pipe" }
    local net = p.stdout:read()
    local nested <close> = ns.of(p.pid, "user", "net")
    assert.equal(net, ("net:[%d]"):format(nested.net.inode))
    local r = nested:exec { "sh", "-c", "readlink /proc/self/ns/net; id -u" }
    assert.equal(net .. "\n0\n", r.stdout)
    assert.equal(nested.net.inode, nested:call(function()
      local own <close> = ns.of(nil, "net")
      return own.inode
    end))
  end)

  it("says whose power is missing #user", function()
    local made <close> = ns.new { "user", "uts" }
    local own <close> = ns.of(made, "uts") -- without the power that is in its owner
    for _, f in ipairs {
      function() own:exec { "true" } end, function() own:spawn { "true" } end,
      function() own:call(print) end,
    } do
      local err = failure(f, "EPERM")
      assert.equal("setns", err.step)
      assert.matches("CAP_SYS_ADMIN", err.hint, 1, true)
    end
    -- somebody else's process does not even show its namespaces
    local err = failure(function() ns.of(1, "net") end, "EACCES")
    assert.matches("CAP_SYS_PTRACE", err.hint, 1, true)
  end)

  it("leaves alone what is the caller's own", function()
    -- to whom none of it may belong
    local own <close> = ns.of()
    assert.equal(0, own:exec({ "true" }).status)
    -- modules can be had where the files are
    assert.equal("table", own:call(function() return type(require "nsbox.preview") end))
    local box <close> = nsbox.box { namespaces = { "user", "uts" }, hostname = "inner" }
    for _, place in ipairs { box, box.pid } do
      local all <close> = ns.of(place)
      local r = all:exec { "sh", "-c", "hostname; readlink /proc/self/ns/ipc /proc/self/ns/uts" }
      assert.equal(("inner\n%s\n%s\n"):format(lfs.symlinkattributes("/proc/self/ns/ipc", "target"),
        lfs.symlinkattributes(("/proc/%d/ns/uts"):format(box.pid), "target")), r.stdout)
    end
  end)

  it("sees the clocks of the box, created or idle", function()
    needs "timens"
    local box <close> = nsbox.box { time_offsets = { boottime = 864000 }, bare = true }
    local function uptime(r) return tonumber(r.stdout:match "^%S+") end
    local here = tonumber((slurp "/proc/uptime"):match "^%S+")
    assert.is_true(uptime(box:exec { "cat", "/proc/uptime" }) >= here + 864000)
    local time <close> = ns.of(box, "user", "time")
    assert.is_true(uptime(time:exec { "cat", "/proc/uptime" }) >= here + 864000)
    -- before its program runs
    local created <close> = nsbox.box { "cat", "/proc/uptime", time_offsets = { boottime = 864000 },
      bare = true, stdout = "capture" }
    assert.is_true(uptime(created:exec { "cat", "/proc/uptime" }) >= here + 864000)
    assert.is_true(uptime(created:start():wait()) >= here + 864000)
  end)

  it("has time-outs, streams, a directory, and an environment of its own", function()
    local made <close> = ns.new { "user", "uts" }
    local r = made:exec { "sleep", "1000", timeout = "10ms" }
    assert.same({ "timeout", 124 }, { r.reason, r.status })
    r = made:exec { "sh", "-c", "cat; pwd; echo $A; echo err >&2; exit 7", input = "fed\n",
      cwd = "/usr", env = { A = "b" } }
    assert.same({ "fed\n/usr\nb\n", "err\n", 7 }, { r.stdout, r.stderr, r.status })
    local _, err = nsbox.try(made.call, made, { function() nsbox.sys.fd.poll({}, 1000) end,
      timeout = "10ms" })
    assert.same({ "call", "timeout" }, { err.op, err.result.reason })
    local got = {}
    assert.equal(42, made:call { function()
      io.write "said"
      return 42
    end, stdout = function(chunk) got[#got + 1] = chunk end })
    assert.equal("said", table.concat(got))
    assert.same({ "b", "A HOME PATH TERM" }, { made:call { function(name)
      local f <close> = io.popen "env -0 -u PWD -u _ -u OLDPWD | cut -zd= -f1 | sort -z"
      return os.getenv(name), (f:read "a":gsub("%z$", ""):gsub("%z", " "))
    end, "A", env = { A = "b" } } })
    assert.is_nil(os.getenv "A")
  end)

  it("makes no user namespaces in a function, and says that a program may #user", function()
    local made <close> = ns.new { "user", "uts" }
    assert.matches("this process is not dumpable", failure(function()
      made:call(function() nsbox.run { "true", bare = true } end)
    end).cause.hint, 1, true)
    assert.equal(0, (made:call(function()
      return nsbox.run { "true", bare = true, namespaces = { "uts" } }
    end)))
  end)

  it("says what is needed to mount a pin #user", function()
    local made <close> = ns.new { "user", "uts" }
    local uts <close> = ns.of(made, "uts")
    local err = failure(function() uts:pin(tmpdir() .. "/pin") end, "EPERM")
    assert.matches("a pin is a mount, which needs CAP_SYS_ADMIN", err.hint, 1, true)
    err = failure(function() ns.open "/etc/passwd" end, "EINVAL")
    assert.matches("a namespace is a file such as", err.hint, 1, true)
  end)

  it("has nowhere to put what a function writes for nobody", function()
    local made <close> = ns.new { "user", "uts" }
    for _, case in ipairs { { "stdin", "pipe" }, { "stdout", "pipe" }, { "stderr", "capture" } } do
      misuse(function() made:call { print, [case[1]] = case[2] } end,
        ("call: %s: '%s' is for a program"):format(case[1], case[2]))
    end
  end)

  it("outlives what it was entered by, until it is closed", function()
    local made = ns.new { "user", "uts" }
    local inode = made.uts.inode
    local p <close> = made:spawn { "sh", "-c", "read x; readlink /proc/self/ns/uts",
      stdin = "pipe", stdout = "pipe" }
    made:close()
    p.stdin:write "\n"
    assert.equal(("uts:[%d]"):format(inode), p.stdout:read())
  end)
end)

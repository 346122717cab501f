local sys = require "nsbox.sys"
local inside = require "inside"

local kinds = { "user", "mnt", "pid", "net", "uts", "ipc", "cgroup" }
if require("nsbox.machine").exists "/proc/self/ns/time" then kinds[#kinds + 1] = "time" end

local function readlink(path)
  return (sh("readlink " .. path):gsub("\n", ""))
end

-- a child that waits until its input ends, in namespaces of its own
local function sleeper(...)
  local r, w = assert(sys.fd.pipe())
  local options = { ... }
  options.stdin = r
  if ... == "user" then
    local ids = sys.process.ids()
    options.maps = { uid = { { 0, ids.euid, 1 } }, gid = { { 0, ids.egid, 1 } },
      setgroups = "deny" }
  end
  local input = w:fileno()
  local child, out = assert(sys.clone(options, function()
    sys.fd.close(input)
    sys.fd.read(0)
  end))
  r:close()
  return child, function()
    w:close()
    assert(sys.fd.poll { [child:fileno()] = "r" })
    child:status()
    child:close()
    out:close()
  end
end

describe("nsbox.sys.ns #uml", function()
  local ns, errno = sys.ns, sys.errno
  local pid = sys.process.getpid()

  it("has more than one handle of a namespace", function()
    local a <close> = assert(ns.open "/proc/self/ns/uts")
    local b = assert(a:dup())
    assert.is_true(a == b)
    assert.not_equal(a:fileno(), b:fileno())
    assert.same({ a:id() }, { b:id() })
    b:close()
    assert.equal("uts", a:kind())
    assert.has_error(function() b:dup() end)
  end)

  it("raises on wrong arguments and lists the kinds", function()
    assert.error_matches(function() ns.open(pid, "nett") end,
      "bad argument #2 to 'open' %(unknown namespace 'nett' %(known: user, mnt, pid, net, uts,"
        .. " ipc, cgroup, time%)%)")
    assert.error_matches(function() ns.open(pid) end, "namespace expected, got no value")
    assert.error_matches(function() ns.open("/proc/self/ns/net", "net") end, "a path has no kind")
    assert.error_matches(function() ns.open(0, "net") end, "not a process id")
    assert.error_matches(function() ns.open() end, "bad argument #1 to 'open'")
    assert.error_matches(function() ns.unshare() end, "bad argument #1 to 'unshare'")
    assert.error_matches(function() ns.unshare {} end, "no namespace")
    assert.error_matches(function() ns.unshare { "net", "bogus" } end, "unknown namespace 'bogus'")
    assert.error_matches(function() ns.setns "net" end, "descriptor expected, got string")
  end)

  it("opens every kind by path and by process, with the kernel's identity", function()
    for _, kind in ipairs(kinds) do
      local path = "/proc/self/ns/" .. kind
      local a <close> = assert(ns.open(path))
      local b <close> = assert(ns.open(pid, kind))
      assert.equal(kind, a:kind())
      assert.equal(a, b)
      local _, inode = a:id()
      assert.equal(readlink("/proc/" .. pid .. "/ns/" .. kind), kind .. ":[" .. inode .. "]")
      assert.equal("nsbox.ns (" .. kind .. ":[" .. inode .. "])", tostring(a))
    end
  end)

  it("opens by process handle and by pidfd", function()
    local p <close> = assert(sys.process.open(pid))
    for _, kind in ipairs(kinds) do
      local a <close> = assert(ns.open(p, kind))
      local b <close> = assert(ns.open(pid, kind))
      assert.equal(b, a)
    end
    local copy <close> = assert(sys.fd.dup(p))
    local c <close> = assert(ns.open(copy, "net"))
    assert.equal("net", c:kind())
  end)

  it("is close-on-exec and above stderr", function()
    local h <close> = assert(ns.open(pid, "net"))
    assert.is_true(h:fileno() > 2)
    assert.matches("flags:%s+02%d%d%d%d%d%d\n", slurp("/proc/self/fdinfo/" .. h:fileno()))
  end)

  it("tells a file that is no namespace from one that is missing", function()
    for _, path in ipairs { "/etc/passwd", "/dev/null", "/proc/self/status", "/" } do
      local h, message, number = ns.open(path)
      assert.is_nil(h)
      assert.equal(path .. ": not a namespace", message)
      assert.equal(errno.EINVAL, number)
    end
    assert.same({ n = 3, nil, "/run/nope: No such file or directory", errno.ENOENT },
      table.pack(ns.open "/run/nope"))
    -- the pid is above the kernel's limit
    assert.equal(errno.ESRCH, (select(3, ns.open(1 << 22, "net"))))
    local r = sys.fd.pipe()
    assert.equal(errno.EBADF, (select(3, ns.open(r, "net"))))
  end)

  it("opens no fifo for ever", function()
    local path = tmpdir() .. "/fifo"
    sh("mkfifo " .. path)
    collectgarbage "stop"
    local open = #entries "/proc/self/fd"
    assert.equal(path .. ": not a namespace", (select(2, ns.open(path))))
    assert.equal(open, #entries "/proc/self/fd")
    collectgarbage "restart"
  end)

  it("fails with ESRCH for a process that has ended", function()
    local child, stop = sleeper()
    local copy = assert(sys.fd.dup(child))
    stop()
    assert.equal(errno.ESRCH, (select(3, ns.open(copy, "net"))))
    copy:close()
  end)

  it("closes twice without harm, and raises when a closed handle is used", function()
    local h = assert(ns.open(pid, "net"))
    local same <close> = assert(ns.open(pid, "net"))
    assert.is_true(h:close())
    assert.is_true(h:close())
    assert.equal("nsbox.ns (closed)", tostring(h))
    assert.not_equal(same, h)
    for _, method in ipairs { "kind", "id", "owner", "parent", "owner_uid", "fileno" } do
      assert.error_matches(function() h[method](h) end, "attempt to use a closed nsbox.ns")
    end
    assert.error_matches(function() ns.setns(h) end, "attempt to use a closed nsbox.ns")
  end)

  it("knows the owner of a namespace", function()
    local net <close> = assert(ns.open(pid, "net"))
    local user <close> = assert(ns.open(pid, "user"))
    local owner, message = net:owner()
    -- the network namespace of a test run may belong to an outer user
    if owner then
      assert.equal("user", owner:kind())
    else
      assert.equal("owner: Operation not permitted", message)
    end
    assert.equal(errno.EINVAL, (select(3, net:parent())))
    assert.equal(errno.EINVAL, (select(3, net:owner_uid())))
    assert.not_equal(net, user)
  end)

  it("needs to know which namespaces of a process to join", function()
    local p <close> = assert(sys.process.open(pid))
    assert.error_matches(function() ns.setns(p) end,
      "bad argument #2 to 'setns' %(which namespaces of the process%?%)")
  end)

  it("names the call and the kinds when the kernel refuses", function()
    local h <close> = assert(ns.open(pid, "net"))
    local ok, message, number = ns.setns(h, "uts")
    assert.is_nil(ok)
    assert.equal(errno.EINVAL, number)
    assert.equal("setns uts: Invalid argument", message)
  end)

  describe("in a user namespace", function()
    needs "userns"

    it("has the child's namespaces, their owner and its parent", function()
      local child, stop = sleeper("user", "uts")
      local user = assert(ns.open(child, "user"))
      local uts = assert(ns.open(child, "uts"))
      local owner = assert(uts:owner())
      local parent = assert(user:parent())
      local mine = assert(ns.open(pid, "user"))
      assert.equal(user, owner)
      assert.equal(mine, parent)
      assert.not_equal(mine, user)
      assert.equal(sys.process.ids().euid, user:owner_uid())
      assert.equal(readlink("/proc/" .. child:pid() .. "/ns/uts"),
        "uts:[" .. select(2, uts:id()) .. "]")
      for _, h in ipairs { user, uts, owner, parent, mine } do h:close() end
      stop()
    end)

    it("unshares what it is told and nothing else", function()
      local before, after = inside({ "user" }, function()
        local function look()
          local t = {}
          for _, kind in ipairs { "net", "uts", "ipc", "mnt" } do
            local h <close> = assert(sys.ns.open(sys.process.getpid(), kind))
            t[kind] = select(2, h:id())
          end
          return t
        end
        local first = look()
        assert(sys.unshare { "net", "uts" })
        return first, look()
      end)
      assert.not_equal(before.net, after.net)
      assert.not_equal(before.uts, after.uts)
      assert.equal(before.ipc, after.ipc)
      assert.equal(before.mnt, after.mnt)
    end)

    it("joins by handle and by process", function()
      local child, stop = sleeper("user", "uts", "ipc")
      local want = {}
      for _, kind in ipairs { "user", "uts", "ipc" } do
        want[kind] = readlink("/proc/" .. child:pid() .. "/ns/" .. kind)
      end
      local function look()
        local t = {}
        for kind in pairs(want) do
          local h <close> = assert(sys.ns.open("/proc/self/ns/" .. kind))
          t[kind] = kind .. ":[" .. select(2, h:id()) .. "]"
        end
        return t
      end
      assert.same(want, inside({}, function()
        assert(sys.setns(child, { "user", "uts", "ipc" }))
        return look()
      end))
      assert.same(want, inside({}, function()
        for _, kind in ipairs { "user", "uts", "ipc" } do
          local h <close> = assert(sys.ns.open(child, kind))
          -- once inside, /proc/PID/ns of the outer side may be closed to us
          assert(sys.setns(h))
        end
        return look()
      end))
      stop()
    end)
  end)
end)

local nsbox = require "nsbox"
local blame = require "blame"
local misuse, failure = blame.misuse, blame.failure
local ns = nsbox.ns

local lfs = require "lfs"

local function link(kind, pid)
  return lfs.symlinkattributes(("/proc/%s/ns/%s"):format(pid or "self", kind), "target")
end

describe("nsbox.ns #uml", function()
  it("says what is wrong at the caller's line", function()
    misuse(function() ns.of(-1) end, "ns.of: expected a pid, got -1")
    misuse(function() ns.of(true) end, "ns.of: expected a pid, a path or a namespace")
    misuse(function() ns.of {} end, "ns.of: expected a pid, a path or a namespace")
    misuse(function() ns.of(nil, "nett") end, "got 'nett' (did you mean 'net'?)")
    misuse(function() ns.open(3) end, "ns.open: expected a path or a name")
    misuse(function() ns.new {} end, "ns.new: which kinds?")
    misuse(function() ns.new { "pid" } end, "ns.new: a pid namespace ends with its first process")
    misuse(function() ns.new { "uts", "uts" } end, "ns.new: 'uts' stands there twice")
    misuse(function() ns.new { "uts", map = 1 } end, "ns.new: unknown option 'map'")
    misuse(function() ns.new { "uts", maps = "self" } end, "ns.new: maps: need a new user")
    misuse(function() ns.new { "user", maps = "me" } end, "ns.new: maps: expected")
    misuse(function() ns.compare(true) end, "ns.compare: expected a pid")
    misuse(function() ns.list "foo" end, "ns.list: expected one of")
    misuse(function() ns.unpin() end, "unpin: expected a path")
    misuse(function() ns.unpin ".." end, "unpin: '..' is no name")
  end)

  it("says at the caller's line that an object is closed", function()
    local x = ns.of(nil, "uts")
    misuse(function() x:pin() end, "pin: expected a path")
    misuse(function() x:pin "name" end, "pin: 'name' is no path")
    misuse(function() x:unpin() end, "unpin: this object has pinned nothing")
    misuse(function() x:call(3) end, "call: expected a function")
    misuse(function() x:exec {} end, "exec: which program?")
    x:close()
    x:close()
    misuse(function() x:exec { "true" } end, "exec: the ns object is closed")
    misuse(function() x:spawn { "true" } end, "spawn: the ns object is closed")
    misuse(function() x:call(print) end, "call: the ns object is closed")
    misuse(function() x:pin "/tmp/x" end, "pin: the ns object is closed")
    misuse(function() ns.of(x) end, "ns.of: the ns object is closed")
    local all <close> = ns.of()
    misuse(function() all:pin "/tmp/x" end, "pin: an object of one kind")
  end)

  it("raises what the kernel refuses", function()
    failure(function() ns.of(4194305) end, "ESRCH") -- above pid_max
    failure(function() ns.of "/no/such/file" end, "ENOENT")
    failure(function() ns.open "/no/such/file" end, "ENOENT")
    failure(function() ns.open "/etc/passwd" end, "EINVAL")
    assert.equal("ns.of", failure(function() ns.of("/proc/self/ns/uts", "net") end, "EINVAL").op)
    failure(function() ns.unpin(lfs.currentdir()) end, "EINVAL")
    ns.unpin "/no/such/file"
  end)

  it("finds our own, and compares them", function()
    local own <close> = ns.of()
    assert.equal(link "uts", ("uts:[%d]"):format(own.uts.inode))
    local uts <close> = ns.of("/proc/self/ns/uts")
    local same <close> = ns.open "/proc/self/ns/uts"
    local copy <close> = ns.of(uts)
    assert.same({ "uts", own.uts.inode }, { uts.kind, uts.inode })
    assert.is_true(uts == same and uts == copy)
    assert.is_false(uts == own)
    assert.equal(link "uts", tostring(uts))
    assert.is_true(ns.compare(own).uts.same)
    uts:close()
    assert.is_true(ns.compare(uts, own).uts.same) -- identity needs no descriptor
  end)

  it("leaves out what the kernel lacks, unless it is asked for #onlyuml", function()
    local pid = nsbox.sys.process.getpid()
    local own <close> = ns.of(pid)
    assert.equal("user mnt pid net uts ipc cgroup", table.concat(own.kinds, " "))
    local err = failure(function() ns.of(pid, "time") end, "ENOENT")
    assert.equal("this kernel has no time namespaces", err.hint)
  end)

  it("lists what /proc shows", function()
    local pid = nsbox.sys.process.getpid()
    local hold <close> = ns.of(nil, "uts")
    for record in ns.list "uts" do
      assert.equal("uts", record.kind)
      if record.inode == hold.inode then
        local pids = " " .. table.concat(record.pids, " ") .. " "
        assert.is_truthy(pids:find(" " .. pid .. " ", 1, true))
        local held = false
        for _, x in ipairs(record.fds) do
          held = held or x.pid == pid and x.fd == hold._handles.uts:fileno()
        end
        assert.is_true(held)
        local again <close> = ns.of(record)
        assert.is_true(again == hold)
        return
      end
    end
    error "our own is not listed"
  end)

  describe("with namespaces of its own", function()
    needs("maps", "procmount")

    it("finds those of a box", function()
      local b <close> = nsbox.box {}
      local found <close> = ns.of(b)
      for _, kind in ipairs(found.kinds) do
        assert.equal(link(kind, b.pid), ("%s:[%d]"):format(kind, found[kind].inode))
      end
      local net <close> = ns.of(b, "net")
      local by_pid <close> = ns.of(b.pid, "net")
      assert.is_true(net == by_pid)
      local diff = ns.compare(b)
      assert.is_false(diff.uts.same)
      b:close()
      misuse(function() ns.of(b) end, "ns.of: box " .. b.pid .. " has ended")
      -- the descriptors hold them, but nothing starts in a pid namespace without its pid 1
      failure(function() found:exec { "true" } end, "ENOMEM")
      local rest <close> = ns.of(found, "user", "uts")
      local r = rest:exec { "readlink", "/proc/self/ns/uts" }
      assert.equal(("uts:[%d]\n"):format(found.uts.inode), r.stdout)
    end)

    it("makes new ones, holds them, and runs inside", function()
      local made <close> = ns.new { "user", "uts", "net" }
      assert.same({ "user", "net", "uts" }, made.kinds)
      local r = made:exec { "sh", "-c", "readlink /proc/self/ns/uts; readlink /proc/self/ns/ipc" }
      assert.equal(("uts:[%d]\n%s\n"):format(made.uts.inode, link "ipc"), r.stdout)
      assert.equal(made.uts.inode, made:call(function()
        local inner = ns.of(nil, "uts")
        return inner.inode
      end))
      assert.equal("0\n", made:exec({ "id", "-u", user = "root" }).stdout)
      local p <close> = made:spawn { "sh", "-c", "exit 5" }
      assert.equal(5, p:wait().status)
      local held
      for record in ns.list "uts" do
        if record.inode == made.uts.inode then
          held = record
        end
      end
      assert.same({ {}, 1 }, { held.pids, #held.fds })
      local again <close> = ns.of(held)
      assert.is_true(again.inode == made.uts.inode)
      made:close()
      again:close()
      for record in ns.list "uts" do assert.not_equal(held.inode, record.inode) end
    end)
  end)
end)

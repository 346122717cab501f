-- Pins: where they may be, what they leave alone, and that `ip netns` and
-- nsenter take them for their own.

local children = require "children"

-- runs Lua in a box with mounts of its own: nothing of the machine's /run is
-- touched. DIR is a directory there; what it prints
local PROLOGUE = [[
  local nsbox = require "nsbox"
  local lfs, sys, blame = require "lfs", require "nsbox.sys", require "blame"
  local ns, DIR = nsbox.ns, "/mnt"
  local function sh(command)
    local f <close> = io.popen("{ " .. command .. "; } 2>&1")
    return (f:read "a":gsub("\n$", ""))
  end
  local function spew(path, text)
    local f <close> = assert(io.open(path, "w"))
    f:write(text)
  end
  local function slurp(path)
    local f <close> = assert(io.open(path))
    return f:read "a"
  end
  local function link(path) return lfs.symlinkattributes(path, "target") end
  local function same(want, got)
    if want ~= got then
      error(("wanted: %s\ngot: %s"):format(tostring(want), tostring(got)), 2)
    end
  end
  local function tmpfs(path, data)
    assert(lfs.mkdir(path))
    assert(sys.mount.mount("tmpfs", path, "tmpfs", {}, data))
  end
]]

local function inside(body)
  local file = tmpdir() .. "/body.lua"
  spew(file, PROLOGUE .. body)
  -- read here, since the box has a /tmp of its own
  local out, status = children.script(([[
    local f <close> = io.open %q
    local nsbox = require "nsbox"
    local status, r = nsbox.run { os.getenv "LUA" or "lua5.4", "-", input = f:read "a",
      stdout = "capture", stderr = "stdout", bare = true, tmpfs = { "/run", "/mnt" },
      namespaces = { "user", "mnt", "net" }, maps = "self", env = { "*" } }
    io.write(r.stdout)
    os.exit(status, true)
  ]]):format(file))
  assert.same({ "", 0 }, { out, status })
end

describe("a pin", function()
  needs "maps"

  it("is seen elsewhere whatever became of the mount that it is in", function()
    inside [[
      local s <close> = nsbox.scope { private = false }
      s:netns "a"
      local function is_shared()
        for line in io.lines "/proc/self/mountinfo" do
          if line:find(" /run/netns ", 1, true) then
            return line:find("shared:", 1, true) ~= nil
          end
        end
      end
      same(true, is_shared())
      sh "mount --make-private /run/netns"
      same(false, is_shared())
      s:netns "b"
      same(true, is_shared())
    ]]
  end)

  it("is a path that outlives what made the namespace, and is joined again", function()
    inside [[
      local made = ns.new { "uts" }
      local inode = made.inode
      same(made, made:pin(DIR .. "/pin"))
      made:close()
      local again <close> = ns.open(DIR .. "/pin")
      same(inode, again.inode)
      same(("uts:[%d]"):format(inode), again:exec({ "readlink", "/proc/self/ns/uts" })
        .stdout:match "%C+")
      same(("uts:[%d]"):format(inode), sh("nsenter --uts=" .. DIR .. "/pin readlink "
        .. "/proc/self/ns/uts"))
      local count = 0
      for record in ns.list "uts" do
        if record.inode == inode then
          count = count + 1
          same(DIR .. "/pin", record.path)
          same(0, #record.pids)
        end
      end
      same(1, count)
      again:close()
      ns.unpin(DIR .. "/pin")
      same(nil, lfs.attributes(DIR .. "/pin", "mode"))
      for record in ns.list "uts" do assert(record.inode ~= inode) end
    ]]
  end)

  it("with a name is one of `ip netns`, and the other way round", function()
    needs "sysfs" -- ip mounts one
    inside [[
      local made = ns.new { "net" }
      made:pin "blue"
      same("blue", sh "ip netns list":match "^%S+")
      same(("net:[%d]"):format(made.inode), sh "ip netns exec blue readlink /proc/self/ns/net")
      same(tostring(ns.open "blue"), tostring(made))
      same("", sh "ip netns delete blue")
      same(nil, lfs.attributes("/run/netns/blue", "mode"))
      ns.unpin "blue" -- gone already: fine

      same("", sh "ip netns add red")
      local red = ns.open "red"
      same(red:exec({ "readlink", "/proc/self/ns/net" }).stdout,
        sh "ip netns exec red readlink /proc/self/ns/net" .. "\n")
      for record in ns.list "net" do
        if record.inode == red.inode then same("/run/netns/red", record.path) end
      end
      ns.unpin "red"
      same("", sh "ip netns list")

      -- and again, in the directory that is there now
      made:pin("blue"):unpin()
      same(nil, lfs.attributes("/run/netns/blue", "mode"))
      blame.misuse(function() made:unpin() end, "unpin: this object has pinned nothing")
    ]]
  end)

  it("with a name is seen in other mount namespaces, also when the directory went away", function()
    inside [[
      local function shared()
        local line = sh "grep ' /run/netns ' /proc/self/mountinfo"
        return line:find(" shared:", 1, true) ~= nil
      end
      local made, other, last = ns.new { "net" }, ns.new { "net" }, ns.new { "net" }
      made:pin "blue"
      same(true, shared())
      other:pin "red"
      same("", sh "umount -l /run/netns")
      same(false, shared())
      last:pin "green"
      same(true, shared())
      last:unpin()
    ]]
  end)

  it("takes a name for a net namespace only, and what has a slash for a path", function()
    inside [[
      local uts, net = ns.new { "uts" }, ns.new { "net" }
      blame.misuse(function() uts:pin "blue" end, "only network namespaces have names")
      blame.misuse(function() net:pin ".." end, "pin: '..' is no name")
      lfs.chdir(DIR)
      uts:pin "./blue"
      same(uts, ns.open(DIR .. "/blue"))
      same(nil, lfs.attributes("/run/netns", "mode"))
      uts:unpin()
      blame.failure(function() net:pin(DIR .. "/no/such/dir") end, "ENOENT")
    ]]
  end)

  it("leaves an existing file, directory or pin untouched", function()
    inside [[
      local made, other = ns.new { "uts" }, ns.new { "uts" }
      spew(DIR .. "/file", "precious")
      lfs.mkdir(DIR .. "/dir")
      other:pin(DIR .. "/pin")
      same("there is no directory /mnt/no/such: a pin makes its file, not the way to it",
        blame.failure(function() made:pin(DIR .. "/no/such/pin") end, "ENOENT").hint)
      for _, name in ipairs { "file", "dir", "pin" } do
        local err = blame.failure(function() made:pin(DIR .. "/" .. name) end, "EEXIST")
        same(true, err.hint:find(('nsbox.ns.unpin("%s/%s")'):format(DIR, name), 1, true) ~= nil)
        same(("pin %s/%s: File exists (EEXIST)"):format(DIR, name), tostring(err):match "^[^\n]*")
        same("pin", err.op)
        same(DIR .. "/" .. name, err.subject)
      end
      same("precious", slurp(DIR .. "/file"))
      same("directory", lfs.attributes(DIR .. "/dir", "mode"))
      same(other, ns.open(DIR .. "/pin"))
      blame.misuse(function() made:unpin() end, "this object has pinned nothing")
    ]]
  end)

  it("says that a file system is read-only, or full, and leaves nothing", function()
    inside [[
      local made = ns.new { "uts" }
      tmpfs(DIR .. "/ro")
      assert(sys.mount.mount("none", DIR .. "/ro", "none", { "remount", "ro", "bind" }))
      blame.failure(function() made:pin(DIR .. "/ro/pin") end, "EROFS")
      -- its root and one more
      tmpfs(DIR .. "/full", "nr_inodes=2")
      made:pin(DIR .. "/full/one")
      blame.failure(function() made:pin(DIR .. "/full/two") end, "ENOSPC")
      same(nil, lfs.attributes(DIR .. "/full/two", "mode"))
      -- a pin is no data
      tmpfs(DIR .. "/small", "size=4k")
      spew(DIR .. "/small/data", ("x"):rep(4096))
      made:pin(DIR .. "/small/pin")
      same(made, ns.open(DIR .. "/small/pin"))
    ]]
  end)

  it("leaves no file where the kernel refuses the mount", function()
    inside [[
      -- a mount namespace cannot hold itself
      local own <close> = ns.of(nil, "mnt")
      local err = blame.failure(function() own:pin(DIR .. "/pin") end, "EINVAL")
      same(true, err.hint:find("a mount namespace is pinned from an older one", 1, true) == 1)
      same(nil, lfs.attributes(DIR .. "/pin", "mode"))
    ]]
  end)

  it("is all that unpin removes", function()
    inside [[
      spew(DIR .. "/file", "precious")
      spew(DIR .. "/over", "")
      assert(sys.mount.mount(DIR .. "/file", DIR .. "/over", "none", { "bind" }))
      tmpfs(DIR .. "/dir")
      for _, path in ipairs { "/file", "/over", "/dir" } do
        local err = blame.failure(function() ns.unpin(DIR .. path) end, "EINVAL")
        assert(tostring(err):find("nothing is pinned there", 1, true), tostring(err))
      end
      same("precious", slurp(DIR .. "/over"))
      -- a namespace's file, but no pin
      blame.failure(function() ns.unpin "/proc/self/ns/uts" end, "EINVAL")
      -- below another pin's mount: the second goes, the first is said to be there
      local a, b = ns.new { "uts" }, ns.new { "uts" }
      a:pin(DIR .. "/pin")
      assert(sys.mount.mount("/proc/self/fd/" .. b._handles.uts:fileno(), DIR .. "/pin", "none",
        { "bind" }))
      local err = blame.failure(function() ns.unpin(DIR .. "/pin") end, "EBUSY")
      same(DIR .. "/pin", err.subject)
      same(a, ns.open(DIR .. "/pin"))
      ns.unpin(DIR .. "/pin")
      same(nil, lfs.attributes(DIR .. "/pin", "mode"))
    ]]
  end)

  it("holds a pid namespace, but its end is its init's", function()
    inside [[
      local box = nsbox.box { bare = true, namespaces = { "user", "pid" } }
      local pid = ns.of(box, "pid")
      pid:pin(DIR .. "/pin")
      local user <close> = ns.of(box, "user")
      box:close()
      pid:close()
      local again <close> = ns.open(DIR .. "/pin")
      same("pid", again.kind)
      local err = blame.failure(function() again:exec { "true" } end, "ENOMEM")
      assert(err.hint:find("pid 1", 1, true), err.hint)
    ]]
  end)
end)

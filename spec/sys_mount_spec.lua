local lfs = require "lfs"
local sys = require "nsbox.sys"
local inside = require "inside"

-- runs f as root of a new user and mount namespace, with a tmpfs on a
-- directory of its own
local function mounted(f, ...)
  return inside({ "user", "mnt" }, function(dir, ...)
    assert(sys.mount("tmpfs", dir, "tmpfs", { "nosuid", "nodev" }, "size=64k,mode=700"))
    return f(dir, ...)
  end, tmpdir(), ...)
end

-- the options of a mount, as the kernel lists them
local function options(target)
  for line in io.lines "/proc/self/mountinfo" do
    local where, flags, optional = line:match "^%d+ %d+ %S+ %S+ (%S+) (%S+) ?(.-) ?%- "
    if where == target then return flags, optional end
  end
end

describe("nsbox.sys.mount #uml", function()
  local mount, errno = sys.mount, sys.errno

  it("raises on wrong arguments and lists the known words", function()
    assert.error_matches(function() mount.mount("a") end, "bad argument #2 to 'mount'")
    assert.error_matches(function() mount("a") end, "bad argument #2 to 'mount'")
    assert.error_matches(function() mount.mount("a", "/b\0c") end, "string contains zeros")
    assert.error_matches(function() mount.mount("a", "b", "c", "rdonly") end,
      "bad argument #4 to 'mount' %(unknown mount flag 'rdonly' %(known: ro, nosuid, nodev,")
    assert.error_matches(function() mount.mount("a", "b", "c", {}, 1) end, "bad argument #5")
    assert.error_matches(function() mount.umount("a", "lazy") end,
      "unknown umount flag 'lazy' %(known: force, detach, expire, nofollow%)")
    assert.error_matches(function() mount.propagation("/", "rprivate") end,
      "unknown propagation 'rprivate'")
    assert.error_matches(function() mount.open_tree("/", "rec") end,
      "unknown open_tree flag 'rec'")
    assert.error_matches(function() mount.move_mount("/a", "/b") end, "descriptor expected")
    assert.error_matches(function() mount.pivot_root "/" end, "bad argument #2 to 'pivot_root'")
  end)

  it("suggests the field that was meant", function()
    assert.error_matches(function() mount.setattr("/", { cleer = "ro" }) end,
      "^setattr: unknown field 'cleer' %(did you mean 'clear'%?%)")
    assert.error_matches(function() mount.setattr("/", { set = "rw" }) end,
      "unknown mount attribute 'rw'")
    assert.error_matches(function() mount.setattr("/", { recursive = 1 }) end,
      "field 'recursive': boolean expected, got number")
  end)

  it("can be called itself", function()
    assert.same(table.pack(mount.mount("none", "/nope", "tmpfs")),
      table.pack(mount("none", "/nope", "tmpfs")))
  end)

  it("names the target that is missing", function()
    local ok, message, number = mount.umount "/nope"
    assert.is_nil(ok)
    -- without the privilege the path is not even looked at, on some kernels
    assert.is_true(number == errno.ENOENT or number == errno.EPERM)
    assert.matches("^/nope: ", message)
  end)

  describe("in a user namespace", function()
    needs "userns"

    it("mounts with flags and data", function()
      local flags, stat = mounted(function(dir)
        local _, text = nil, sh("findmnt -no SOURCE,FSTYPE,OPTIONS " .. dir)
        return options(dir), text
      end)
      assert.equal("rw,nosuid,nodev,relatime", flags)
      assert.matches("^tmpfs%s+tmpfs%s+.*size=64k.*mode=700", stat)
    end)

    it("names the source of a bind that is missing", function()
      local ok, message, number = mounted(function(dir)
        return sys.mount(dir .. "/nope", dir, nil, "bind")
      end)
      assert.is_nil(ok)
      assert.equal(errno.ENOENT, number)
      assert.matches("/nope: No such file or directory$", message)
    end)

    it("unmounts, and says so when there is nothing", function()
      local there, gone, ok, message, number = mounted(function(dir)
        local first = options(dir) ~= nil
        assert(sys.mount.umount(dir))
        return first, options(dir) == nil, sys.mount.umount(dir, "detach")
      end)
      assert.is_true(there)
      assert.is_true(gone)
      assert.is_nil(ok)
      assert.equal(errno.EINVAL, number)
      assert.matches(": Invalid argument$", message)
    end)

    it("refuses a busy mount, and detaches it when told to", function()
      local number, ok, gone = mounted(function(dir)
        local busy <close> = assert(io.open(dir .. "/f", "w"))
        local e = select(3, sys.mount.umount(dir))
        assert(io.type(busy) == "file")
        return e, sys.mount.umount(dir, "detach"), options(dir) == nil
      end)
      assert.equal(errno.EBUSY, number)
      assert.is_true(ok)
      assert.is_true(gone)
    end)

    it("binds and remounts with words", function()
      local flags = mounted(function(dir)
        assert(sys.mount(dir, dir, nil, "bind"))
        assert(sys.mount(nil, dir, nil, { "remount", "bind", "ro", "nosuid", "nodev", "noexec" }))
        local last
        for line in io.lines "/proc/self/mountinfo" do
          local where, f = line:match "^%d+ %d+ %S+ %S+ (%S+) (%S+)"
          if where == dir then last = f end
        end
        return last
      end)
      assert.equal("ro,nosuid,nodev,noexec,relatime", flags)
    end)

    it("tells mounts by their number", function()
      local upper, lower, listed = mounted(function(dir)
        local lower = mount.id(dir)
        assert(sys.mount("tmpfs", dir, "tmpfs"))
        local number
        for line in io.lines "/proc/self/mountinfo" do
          local id, where = line:match "^(%d+) %d+ %S+ %S+ (%S+)"
          if where == dir then number = math.tointeger(id) end
        end
        return mount.id(dir), lower, number
      end)
      assert.equal(listed, upper)
      assert.not_equal(lower, upper)
      assert.equal(errno.ENOENT, (select(3, mount.id "/nowhere")))
    end)

    it("sets how mounts propagate", function()
      local seen = mounted(function(dir)
        local t = {}
        for _, how in ipairs { "shared", "slave", "private", "unbindable" } do
          assert(sys.mount.propagation(dir, how))
          t[how] = select(2, options(dir))
        end
        return t
      end)
      assert.matches("^shared:%d+$", seen.shared)
      -- the only member of its group: there is nobody to be the slave of
      assert.equal("", seen.slave)
      assert.equal("", seen.private)
      assert.equal("unbindable", seen.unbindable)
    end)

    it("changes one mount, or all below it", function()
      local outer, inner, all = mounted(function(dir)
        os.execute("mkdir " .. dir .. "/sub")
        assert(sys.mount("tmpfs", dir .. "/sub", "tmpfs"))
        assert(sys.mount.setattr(dir, { set = "noexec" }))
        local a, b = options(dir), options(dir .. "/sub")
        assert(sys.mount.setattr(dir, { set = { "ro", "noexec" }, recursive = true }))
        return a, b, options(dir .. "/sub")
      end)
      assert.equal("rw,nosuid,nodev,noexec,relatime", outer)
      assert.equal("rw,relatime", inner)
      assert.equal("ro,noexec,relatime", all)
    end)

    it("changes those below it whatever their names are", function()
      local NAMES = { "a b", "a\\040b", "\\134", "\\x\\", "a\tb\nc" }
      local seen = mounted(function(dir)
        local t = {}
        for _, name in ipairs(NAMES) do
          assert(lfs.mkdir(dir .. "/" .. name))
          assert(sys.mount("tmpfs", dir .. "/" .. name, "tmpfs"))
        end
        assert(sys.mount.setattr(dir, { set = "ro", recursive = true }))
        for i, name in ipairs(NAMES) do
          local _, _, number = io.open(dir .. "/" .. name .. "/x", "w")
          t[i] = number
        end
        return t
      end)
      assert.same({ 30, 30, 30, 30, 30 }, seen) -- EROFS
    end)

    it("clears attributes and chooses one access time", function()
      local seen = mounted(function(dir)
        local t = {}
        for i, change in ipairs {
          { clear = "nodev" }, { set = "noatime" }, { set = "strictatime" },
          { clear = "strictatime" }, { set = "noatime" }, { set = "relatime" },
        } do
          assert(sys.mount.setattr(dir, change))
          t[i] = options(dir)
        end
        return t
      end)
      assert.same({
        "rw,nosuid,relatime", "rw,nosuid,noatime", "rw,nosuid", "rw,nosuid,relatime",
        "rw,nosuid,noatime", "rw,nosuid,relatime",
      }, seen)
    end)

    it("opens a tree and attaches it elsewhere", function()
      local text, first = mounted(function(dir)
        os.execute("mkdir " .. dir .. "/from " .. dir .. "/to")
        local f = assert(io.open(dir .. "/from/x", "w"))
        f:write "here"
        f:close()
        local tree <close>, message, number = sys.mount.open_tree(dir .. "/from", "clone")
        -- kernels before 5.2 and some sandboxes do not have it
        if number == sys.errno.ENOSYS then return "here", message end
        assert(tree, message)
        assert(sys.mount.move_mount(tree, dir .. "/to"))
        local g <close> = assert(io.open(dir .. "/to/x"))
        return g:read "a", options(dir .. "/to")
      end)
      assert.equal("here", text)
      assert.is_string(first)
    end)

    it("attaches a tree behind a symbolic link", function()
      local text, first = mounted(function(dir)
        os.execute(("cd %s && mkdir from to && touch from/x && ln -s to link"):format(dir))
        local tree <close>, message, number = sys.mount.open_tree(dir .. "/from", "clone")
        if number == sys.errno.ENOSYS then return dir .. "/to", message end
        assert(tree, message)
        assert(sys.mount.move_mount(tree, dir .. "/link"))
        local last
        for line in io.lines "/proc/self/mountinfo" do
          last = line:match "^%d+ %d+ %S+ %S+ (%S+) "
        end
        return last, options(dir .. "/to")
      end)
      assert.matches("/to$", text)
      assert.is_string(first)
    end)

    it("pivots into a new root", function()
      local names, old = mounted(function(dir)
        os.execute("mkdir " .. dir .. "/old")
        assert(sys.pivot_root(dir, dir .. "/old"))
        local there <close> = assert(io.open "/old/etc/passwd")
        local where = {}
        for line in io.lines "/old/proc/self/mountinfo" do
          where[#where + 1] = line:match "^%d+ %d+ %S+ %S+ (%S+) "
        end
        return where[1], there ~= nil
      end)
      assert.is_string(names)
      assert.is_true(old)
    end)

    it("fails with EINVAL when the new root is no mount point", function()
      local number = mounted(function(dir)
        os.execute("mkdir -p " .. dir .. "/a/b")
        return (select(3, sys.pivot_root(dir .. "/a", dir .. "/a/b")))
      end)
      assert.equal(errno.EINVAL, number)
    end)
  end)
end)

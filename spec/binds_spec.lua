local nsbox = require "nsbox"
local sys = require "nsbox.sys"
local roots = require "roots"
local inside = require "inside"
local binds = require "nsbox.binds"
local cwd = require("lfs").currentdir()

local function one(value)
  local list, message = binds.check(value)
  assert(list, message)
  assert.equal(1, #list)
  return list[1]
end

describe("nsbox.binds", function()
  it("takes SRC[:DST[:ro]]", function()
    assert.same({ from = "/a", to = "/a", ro = false }, one "/a")
    assert.same({ from = "/a", to = "/b", ro = false }, one "/a:/b")
    assert.same({ from = "/a", to = "/b", ro = true }, one "/a:/b:ro")
    assert.same({ from = "/a", to = "/b", ro = false }, one "/a:/b:rw")
    assert.same({ from = cwd .. "/a", to = "/b", ro = false }, one "a:/b")
    assert.same({ from = cwd .. "/a", to = cwd .. "/a", ro = false }, one "a")
    assert.same({ from = "/a", to = "/b", ro = false }, one "/a/:/b//")
  end)

  it("takes { SRC, to =, ro = }", function()
    assert.same({ from = "/a", to = "/b", ro = true }, one { "/a", to = "/b", ro = true })
    assert.same({ from = "/a:x", to = "/b", ro = false }, one { "/a:x", to = "/b" })
    assert.same({ from = "/a", to = "/a", ro = true }, one { "/a", ro = true })
  end)

  it("takes a list of both", function()
    local list = binds.check { "/a", { "/b", to = "/c" }, "/d:/e:ro" }
    assert.same({ "/a", "/c", "/e" }, { list[1].to, list[2].to, list[3].to })
    assert.same({}, binds.check {})
  end)

  it("says what is wrong", function()
    for value, want in pairs {
      [1] = "SRC%[:DST%[:ro%]%]", [""] = "expected an absolute path, got ''",
      ["/a:b"] = "expected an absolute path, got 'b'", ["/a:/b:x"] = "got '/a:/b:x'",
      [{ "/a", propagation = "shared" }] = "propagation: expected one of 'private', 'slave'",
      [{ "/a", propagation = "slave", idmap = true }] = "^propagation: what is shown with other",
      [{ "/a", ro = "yes" }] = "ro: expected true or false",
      [{ "/a", up = "/b", ro = true }] = "'up'",
      [{ "/a", "b", 3 }] = "^%[3%] ", [{ "/\0" }] = "^%[1%] ",
    } do
      local list, message = binds.check(value)
      assert.is_nil(list)
      assert.matches(want, message)
    end
  end)

  it("refuses the root directory as a target, however it is written", function()
    for _, root in ipairs { "/", "//", "/.", "/usr/..", "/../", "/a/./../b/.." } do
      local list, message = binds.check { "/usr:" .. root }
      assert.is_nil(list)
      assert.matches("^%[1%] '.*': the root is what `rootfs` says, or the host's", message)
      assert.is_nil((binds.check_tmpfs(root)))
    end
    assert.is_nil((binds.check "/"))
    assert.equal("/mnt", one("/:/mnt").to)
    assert.equal("/a/../b", one("/:/a/../b").to)
  end)

  it("says that there is a NUL byte", function()
    local _, message = binds.check { { "/a\0b" } }
    assert.equal("[1] '/a\\0b' contains a NUL byte", message)
    _, message = binds.check_tmpfs "/\0"
    assert.equal("'/\\0' contains a NUL byte", message)
  end)

  it("makes mounts of tmpfs", function()
    local mount = binds.check_tmpfs("/tmp/")[1]
    assert.same({ "tmpfs", "/tmp", "mode=1777" }, { mount.type, mount.target, mount.data })
    mount = binds.check_tmpfs({ "/run", size = "1M", mode = "0750" })[1]
    assert.equal("mode=750,size=1048576", mount.data)
    assert.equal(2, #binds.check_tmpfs { "/a", { "/b", size = 4096 } })
  end)

  it("says what is wrong with a tmpfs", function()
    for value, want in pairs {
      [1] = "DIR or { DIR", tmp = "absolute path", [{ "/a", size = "x" }] = "size",
      [{ "/a", mode = "9" }] = "mode", [{ { "/a", perm = "1" } }] = "unknown option 'perm'",
      [{ "/b", size = 0 }] = "0 is no limit", [{ "/b", size = "0K" }] = "0 is no limit",
    } do
      local list, message = binds.check_tmpfs(value)
      assert.is_nil(list)
      assert.matches(want, message)
    end
  end)
end)

describe("a bind", function()
  needs("maps", "procmount", "rootfs", "mount_api")

  it("gets its caller's later mounts when it is a slave, and else none", function()
    local root, dir = roots.make(), tmpdir()
    for _, name in ipairs { "slave", "private", "other" } do
      assert(require "lfs".mkdir(dir .. "/" .. name))
      assert(require "lfs".mkdir(dir .. "/" .. name .. "/below"))
    end
    for _, rootfs in ipairs { root, false } do
      local before, after, mounts, outside = inside({ "user", "mnt" }, function()
        assert(sys.mount.propagation("/", "shared", true))
        local b <close> = nsbox.box { rootfs = rootfs or nil, caps = "all", seccomp = false,
          no_new_privs = false, bind = { dir .. "/private",
            { dir .. "/slave", propagation = "slave" } } }
        local function below(name)
          return b:exec({ "sh", "-c", ("cat %s/%s/below/f 2>&1 | tail -c 10"):format(dir, name) })
            .stdout
        end
        local first = below "slave"
        for _, name in ipairs { "slave", "private", "other" } do
          local at = dir .. "/" .. name .. "/below"
          assert(sys.mount("tmpfs", at, "tmpfs"))
          spew(at .. "/f", "came later")
        end
        local seen = { below "slave", below "private", below "other" }
        -- what the box mounts stays in there
        local inner = b:exec { "sh", "-c", ("mount -t tmpfs tmpfs %s/slave && grep -c %s/slave "
          .. "/proc/self/mountinfo; cat /proc/self/mountinfo"):format(dir, dir) }.stdout
        return first, seen, inner, slurp "/proc/self/mountinfo"
      end)
      assert.is_nil(before:find "came")
      assert.equal("came later", after[1])
      assert.is_nil(after[2]:find "came")
      assert.is_nil(after[3]:find "came")
      assert.matches("^3\n", mounts)
      for line in mounts:gmatch "[^\n]+" do
        assert.is_nil(line:find "shared:")
        -- of nothing but that bind
        assert(not line:find "master:" or line:find(dir .. "/slave", 1, true), line)
      end
      local count = select(2, outside:gsub(dir:gsub("%p", "%%%0") .. "/slave ", ""))
      assert.equal(0, count)
    end
  end)
end)

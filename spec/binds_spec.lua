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
    } do
      local list, message = binds.check_tmpfs(value)
      assert.is_nil(list)
      assert.matches(want, message)
    end
  end)
end)

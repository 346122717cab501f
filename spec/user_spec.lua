local E = require "nsbox.error"
local user = require "nsbox.user"

local passwd = [[
root:x:0:0:root:/root:/bin/sh
# a comment
garbage
bad:x:99999999999:1::/:/bin/sh
worse:x:-1:1::/:/bin/sh
1000:x:0:0:a trap:/root:/bin/sh
www-data:x:33:33:www:/var/www:/usr/sbin/nologin
me:x:1000:100:Me:/home/me:/bin/sh
homeless:x:1001:100:::/bin/sh
]]
local group = [[
root:x:0:
users:x:100:
docker:x:999:www-data,me
audio:x:29:me
broken:x:abc:me
]]

local function read(path)
  return ({ ["/etc/passwd"] = passwd, ["/etc/group"] = group })[path]
end

describe("nsbox.user", function()
  for _, wrong in ipairs { -1, 4294967295, 1.5, true, {}, "", ":", "me:", ":100", "a:b:c",
    "4294967295", "99999999999", "-1", "+1", "1:-1", "0:4294967295", "a\0b", "a\nb" } do
    it("refuses " .. (tostring(wrong):gsub("%c", "?")), function()
      local value, message = user.check(wrong)
      assert.is_nil(value)
      assert.is_string(message)
      if type(wrong) ~= "table" then
        local _, err = pcall(function() user.resolve(wrong, read) end)
        assert.matches("user_spec.lua:%d+: box: user: ", err)
      end
    end)
  end

  it("finds a name", function()
    assert.same({ name = "www-data", uid = 33, gid = 33, home = "/var/www", groups = { 999 } },
      user.resolve("www-data", read))
    assert.same({ 999, 29 }, user.resolve("me", read).groups)
  end)

  it("finds an id, as a number or as text", function()
    assert.same({ name = "me", uid = 1000, gid = 100, home = "/home/me", groups = { 999, 29 } },
      user.resolve(1000, read))
    assert.same(user.resolve(1000, read), user.resolve("1000", read))
  end)

  it("takes digits for an id, also where a user is named so", function()
    assert.equal(1000, user.resolve("1000", read).uid)
  end)

  it("takes an id without an entry, in group 0 as docker", function()
    assert.same({ uid = 4242, gid = 0, home = "/", groups = {} }, user.resolve(4242, read))
    assert.equal(4294967294, user.resolve("4294967294", read).uid)
  end)

  it("takes the group that is given, and no others", function()
    assert.same({ name = "me", uid = 1000, gid = 999, home = "/home/me", groups = {} },
      user.resolve("me:docker", read))
    assert.equal(5, user.resolve("1000:5", read).gid)
  end)

  it("does without the files for ids", function()
    local function nothing() end
    assert.same({ uid = 1, gid = 2, home = "/", groups = {} }, user.resolve("1:2", nothing))
  end)

  it("gives a user without a home the root directory", function()
    assert.equal("/", user.resolve("homeless", read).home)
  end)

  it("passes over a line whose home no environment could have", function()
    local files = { ["/etc/passwd"] = "me:x:1:1::/a\0b:/bin/sh\nme:x:2:2::/c:/bin/sh\n" }
    assert.same({ name = "me", uid = 2, gid = 2, home = "/c", groups = {} },
      user.resolve("me", function(path) return files[path] end))
  end)

  it("raises an Error for a name that is not there", function()
    for _, name in ipairs { "nobody", "bad", "worse", "garbage", "1000abc", "0x10", " 1000" } do
      local _, e = E.try(user.resolve, name, read, "run")
      assert.equal("ENOENT", e.code)
      assert.equal(("run: user %s: not in the box's /etc/passwd (ENOENT)"):format(name),
        tostring(e):match "^[^\n]*")
    end
    local _, e = E.try(user.resolve, "me:nogroup", read)
    assert.equal(":nogroup", e.subject)
    assert.is_string(e.hint)
    _, e = E.try(user.resolve, "me", function() end)
    assert.equal("the box has no /etc/passwd to look it up in", e.detail)
  end)
end)

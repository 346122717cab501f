local E = require "nsbox.error"
local subid = require "nsbox.subid"

describe("nsbox.subid", function()
  it("finds entries by name and by uid", function()
    local text = "you:100000:65536\nme:200000:65536\n1000:300000:10\n"
    assert.same({ { 200000, 65536 }, { 300000, 10 } }, subid.parse(text, "me", 1000))
  end)

  it("passes over comments and lines that make no sense", function()
    local text = "# me:1:1\n\nme\nme:x:1\nme:1\nme:-5:3\nme:10:0\nme:4294967295:10\n"
      .. "me:99999999999999999999:1\nme:5:2:7\nme:500:20\r\n mee:1:1\nme:600:30"
    assert.same({ { 500, 20 }, { 600, 30 } }, subid.parse(text, "me", 1000))
  end)

  it("passes over a range whose end is beyond all integers", function()
    assert.same({ { 5, 1 } }, subid.parse(
      "me:9223372036854775807:1\nme:1:9223372036854775807\nme:5:1\n", "me", 1000))
  end)

  it("passes over a range that overlaps an earlier one", function()
    assert.same({ { 100, 50 }, { 150, 10 } },
      subid.parse("me:100:50\nme:120:50\n1000:100:50\nme:150:10\n", "me", 1000))
  end)

  it("puts a user's own id first, all ranges behind it", function()
    local who = { uid = 1000, euid = 1000, egid = 1001, name = "me", read = function(path)
      return path == "/etc/subuid" and "me:100000:10\nme:900:200\nme:5000:5\n" or "me:7000:3\n"
    end }
    assert.same({
      -- the second holds the own uid: the kernel would refuse the overlap
      uid = { { 0, 1000, 1 }, { 1, 100000, 10 }, { 11, 5000, 5 } },
      gid = { { 0, 1001, 1 }, { 1, 7000, 3 } },
    }, subid.ranges(who, "run"))
  end)

  it("says so when there is no such file", function()
    local _, e = E.try(subid.ranges, { uid = 1, euid = 1, egid = 1, name = false,
      read = function() end }, "run")
    assert.equal("no such file, so no range for 1", e.detail)
  end)

  it("finds the helpers by their full path, or says what to install", function()
    local path, e = E.try(subid.helper, "newuidmap", "run")
    if path then
      assert.matches("^/.*/newuidmap$", path)
    else
      assert.matches("apt%-get install uidmap", e.hint)
    end
    path, e = E.try(subid.helper, "newnothingmap", "run")
    assert.is_nil(path)
    assert.equal("run: newnothingmap: the helper is not installed, and a user needs it for "
      .. "these ids (ENOENT)", tostring(e):match "^[^\n]*")
  end)
end)

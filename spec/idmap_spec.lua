local E = require "nsbox.error"
local idmap = require "nsbox.idmap"
local sys = require "nsbox.sys"

local function reader(subuid, subgid)
  return function(path)
    return ({ ["/etc/subuid"] = subuid, ["/etc/subgid"] = subgid or subuid })[path]
  end
end

local function user(subuid, subgid)
  return { uid = 1000, euid = 1000, egid = 1001, name = "me", read = reader(subuid, subgid) }
end

local function root(subuid)
  return { uid = 0, euid = 0, egid = 0, root = true, name = "root", read = reader(subuid) }
end

local function refuses(maps, pattern)
  local ok, message = pcall(function() idmap.resolve(maps, "run", user "") end)
  assert.is_false(ok)
  assert.is_string(message)
  assert.matches("idmap_spec.lua:%d+: run: maps: .*" .. pattern, message)
end

describe("nsbox.idmap", function()
  local wrong = {
    { "a word it does not know", "selv", "expected 'self', 'subuid' or a list" },
    { "a number", 5, "got a number" },
    { "no range", {}, "expected a list" },
    { "a range without its braces", { 0, 1000, 1 }, "in braces of its own" },
    { "a range of two numbers", { { 0, 1000 } }, "%[1%] expected .* all integers" },
    { "an id that is no integer", { { 0, "x", 1 } }, "all integers" },
    { "a negative id", { { 0, -1, 1 } }, "negative id or length: %-1" },
    { "an empty range", { { 0, 1000, 0 } }, "is empty" },
    { "an overflow inside", { { 4294967295, 0, 1 } }, "beyond the last id" },
    { "an overflow outside", { { 0, 4294967290, 10 } }, "beyond the last id" },
    { "an overlap inside", { { 0, 1, 10 }, { 9, 100, 1 } }, "overlap inside" },
    { "an overlap outside", { { 0, 100, 10 }, { 50, 109, 1 } }, "overlap outside" },
    { "a key that is no range", { { 0, 1000, 1 }, uids = 1 }, "got the key uids" },
    { "a range with names", { { 0, 1, 1, inside = 0 } }, "got the key inside" },
    { "uids without gids", { uid = { { 0, 1000, 1 } } }, "gid: expected a list" },
    { "more than uids and gids", { uid = {}, gid = {}, pid = {} }, "got the key pid" },
    { "a wrong gid range", { uid = { { 0, 1, 1 } }, gid = { { 0, 1, 0 } } }, "gid%[1%] is empty" },
  }
  for _, case in ipairs(wrong) do
    it("refuses " .. case[1], function() refuses(case[2], case[3]) end)
  end

  it("refuses more lines than a map has", function()
    local maps = {}
    for i = 1, 341 do maps[i] = { i, i, 1 } end
    refuses(maps, "at most 340")
  end)

  it("takes the whole range of ids", function()
    assert.is_table(idmap.check { { 0, 0, 4294967295 } })
  end)

  it("maps a user to 0 and nothing else by default", function()
    assert.same({ uid = { { 0, 1000, 1 } }, gid = { { 0, 1001, 1 } }, setgroups = "deny" },
      idmap.resolve(nil, "run", user ""))
  end)

  it("counts root in a user namespace as a user", function()
    local nested = { uid = 0, euid = 0, egid = 0, root = false, read = reader "" }
    assert.same({ uid = { { 0, 0, 1 } }, gid = { { 0, 0, 1 } }, setgroups = "deny" },
      idmap.resolve(nil, "run", nested))
  end)

  it("gives root's box a range without the kernel's uid 0", function()
    assert.same({ uid = { { 0, 1879048192, 65536 } }, gid = { { 0, 1879048192, 65536 } } },
      idmap.resolve(nil, "run", root ""))
  end)

  it("prefers root's own range, when it is long enough", function()
    assert.same({ { 0, 200000, 65536 } },
      idmap.resolve(nil, "run", root "root:100:10\nroot:200000:131072\n").uid)
    assert.same({ { 0, 1879048192, 65536 } }, idmap.resolve(nil, "run", root "root:100:10\n").uid)
  end)

  it("lets root write ranges itself", function()
    assert.same({ uid = { { 0, 5, 2 } }, gid = { { 0, 5, 2 } } },
      idmap.resolve({ { 0, 5, 2 } }, "run", root ""))
  end)

  it("writes a user's single own id itself, setgroups denied", function()
    local maps = idmap.resolve({ uid = { { 33, 1000, 1 } }, gid = { { 33, 1001, 1 } } }, "run",
      user "")
    assert.same({ uid = { { 33, 1000, 1 } }, gid = { { 33, 1001, 1 } }, setgroups = "deny" }, maps)
  end)

  it("leaves the given table alone", function()
    local given = { { 0, 1000, 1 } }
    local maps = idmap.resolve({ uid = given, gid = { { 0, 1001, 1 } } }, "run", user "")
    assert.are_not.equal(given, maps.uid)
  end)

  it("raises an Error for a user without an entry", function()
    local _, e = E.try(idmap.resolve, "subuid", "run", user "you:1:1\n")
    assert.equal("ENOENT", e.code)
    assert.equal("run: subuid /etc/subuid: no range for me (ENOENT)", tostring(e):match "^[^\n]*")
    assert.matches("usermod %-%-add%-subuids", e.hint)
  end)

  describe("here", function()
    local ids = sys.process.ids()

    it("knows who asks", function()
      local who = idmap.who()
      assert.equal(ids.euid, who.euid)
      assert.equal(ids.egid, who.egid)
      assert.equal(ids.euid == 0 and not in_userns(), who.root)
    end)

    -- what the kernel says of a child that stays in its namespace
    local function maps_of(maps)
      local p = E.check("spawn", nil, sys.process.spawn { argv = { "true" }, new = { "user" },
        maps = idmap.resolve(maps), gate = true })
      local uid, gid = slurp("/proc/" .. p:pid() .. "/uid_map"),
        slurp("/proc/" .. p:pid() .. "/gid_map")
      p:start()
      sys.fd.poll({ [p:fileno()] = "r" }, 30)
      p:status()
      p:close()
      return uid:gsub("%s+", " "), (gid:gsub("%s+", " "))
    end

    -- the words of the Error that a launch with these maps ends in
    local function refused(maps)
      local plan = { argv = { "true" }, new = { "user" }, maps = maps }
      local _, e = E.try(E.spawn_failed, "run", plan, select(2, sys.process.spawn(plan)))
      return e
    end

    it("will not guess who asks where /proc does not say #userns", function()
      needs("maps")
      local e = require "nsbox.error"
      local child, out = assert(sys.process.clone({ "user", "mnt", maps = idmap.resolve "self",
        mounts = { { target = "/proc", type = "tmpfs" } } }, function()
        local _, err = e.try(idmap.resolve, nil, "run")
        return err.step, err.code
      end))
      assert.same({ true, "uid_map", "ENOENT" },
        { sys.process.results(require("children").drain(out)) })
      require("children").ending(child)
    end)

    it("explains a helper without its setuid bit #userns", function()
      needs "userns"
      if ids.euid == 0 then return end -- root does without the bit
      local copy = tmpdir() .. "/newuidmap"
      spew(copy, slurp "/usr/bin/newuidmap")
      sh("chmod 755 " .. copy)
      local e = refused { uid = { { 0, ids.uid, 1 }, { 1, 5, 5 } }, newuidmap = copy }
      assert.equal("newuidmap", e.step)
      assert.equal("EPERM", e.code)
      assert.is_string(e.hint)
    end)

    it("explains ranges that are not the user's #userns", function()
      needs "subuid"
      if ids.euid == 0 then return end -- root may map any
      local e = refused { uid = { { 0, 5, 5 } }, newuidmap = "/usr/bin/newuidmap" }
      assert.matches("not allowed", e.detail)
      assert.matches("^/etc/subuid does not give this range", e.hint)
    end)

    it("explains two ranges without the helper #userns", function()
      needs "userns"
      if ids.euid == 0 then return end
      local e = refused { uid = { { 0, ids.uid, 1 }, { 1, 5, 5 } } }
      assert.equal("uid_map", e.step)
      assert.matches("has 2, so it needs newuidmap", e.hint)
    end)

    it("makes the map the kernel shows: self #userns", function()
      needs "maps"
      local uid, gid = maps_of "self"
      assert.equal((" 0 %d 1 "):format(ids.euid), uid)
      assert.equal((" 0 %d 1 "):format(ids.egid), gid)
    end)

    it("makes the map the kernel shows: subuid #userns", function()
      needs "subuid"
      local uid = maps_of "subuid"
      assert.matches(ids.euid == 0 and "^ 0 %d+ %d+" or ("^ 0 %d 1 1 %%d+ %%d+"):format(ids.euid),
        uid)
    end)

    it("makes the map the kernel shows: default #userns", function()
      needs "maps"
      local uid = maps_of(nil)
      assert.matches(idmap.who().root and "^ 0 %d+ 65536 $" or "^ 0 %d+ 1 $", uid)
    end)
  end)
end)

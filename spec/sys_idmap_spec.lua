local sys = require "nsbox.sys"

-- a child in a user namespace without maps, that waits until its input ends
local function unmapped(f)
  local child, stop
  do
    local r, w = assert(sys.fd.pipe())
    local ready, tell = assert(sys.fd.pipe())
    local input = w:fileno()
    local p, out = assert(sys.clone({ stdin = r }, function()
      sys.fd.close(input)
      assert(sys.unshare "user")
      -- the maps of a process that is not dumpable belong to root
      sys.process.dumpable(true)
      tell:write "x"
      sys.fd.read(0)
    end))
    tell:close()
    local up = ready:read()
    ready:close()
    child = p
    function stop()
      w:close()
      assert(sys.fd.poll { [p:fileno()] = "r" })
      p:status()
      p:close()
      out:close()
    end
    if not up then stop() end
    assert(up, "no user namespace")
  end
  local result = table.pack(pcall(f, child:pid()))
  stop()
  if not result[1] then error(result[2], 0) end
  return table.unpack(result, 2, result.n)
end

local function file(pid, name)
  local lines = {}
  for line in assert(slurp(("/proc/%d/%s"):format(pid, name))):gmatch "[^\n]+" do
    lines[#lines + 1] = (line:gsub("^%s+", ""):gsub("%s+", " "))
  end
  return lines
end

describe("nsbox.sys.idmap", function()
  local idmap, errno = sys.idmap, sys.errno

  local function rejects(ranges, why)
    -- process 1 would refuse anyway: nothing is written
    assert.error_matches(function() idmap.uid_map(1, ranges) end, why)
    assert.error_matches(function() sys.map(1, { gid = ranges }) end, why)
  end

  it("raises on ranges that are no ranges", function()
    rejects("x", "list of ranges expected")
    rejects({}, "no range")
    rejects({ 1 }, "range 1 must be { inside, outside, length }")
    rejects({ { 0, 0 } }, "range 1 must be { inside, outside, length }")
    rejects({ { 0, 0, 1 }, { 5, 5, "1" } }, "range 2 needs integers from 0 to 4294967295")
    rejects({ { -1, 0, 1 } }, "range 1 needs integers")
    rejects({ { 0, 1.5, 1 } }, "range 1 needs integers")
    rejects({ { 0, 1 << 32, 1 } }, "range 1 needs integers")
    rejects({ { 0, 0, 0 } }, "range 1 is empty")
  end)

  it("raises on ranges that overflow or overlap", function()
    rejects({ { 4294967295, 0, 2 } }, "range 1 goes beyond the last id")
    rejects({ { 0, 4294967295, 2 } }, "range 1 goes beyond the last id")
    rejects({ { 0, 100, 10 }, { 9, 200, 1 } }, "range 2 overlaps an earlier one")
    rejects({ { 0, 100, 10 }, { 10, 109, 1 } }, "range 2 overlaps an earlier one")
    rejects({ { 5, 100, 1 }, { 0, 200, 10 } }, "range 2 overlaps an earlier one")
  end)

  it("raises on more ranges than the kernel takes", function()
    local ranges = {}
    for i = 0, 340 do ranges[i + 1] = { 2 * i, 2 * i, 1 } end
    rejects(ranges, "more than 340 ranges")
    ranges[341] = nil
    for i = 1, 340 do ranges[i][2] = ranges[i][2] + 1000000 end
    rejects(ranges, "more than a page of text")
  end)

  it("raises on wrong processes and words", function()
    assert.error_matches(function() idmap.uid_map(0, { { 0, 0, 1 } }) end,
      "bad argument #1 to 'uid_map' %(not a process id%)")
    assert.error_matches(function() idmap.setgroups(1, "never") end,
      "unknown policy 'never' %(known: deny, allow%)")
    assert.error_matches(function() idmap.read(nil, "pid") end,
      "unknown map 'pid' %(known: uid, gid%)")
    assert.error_matches(function() sys.map(1, { uids = {} }) end,
      "unknown field 'uids' %(did you mean 'uid'%?%)")
  end)

  it("reads the maps of the caller", function()
    local lines = {}
    for i, r in ipairs(assert(idmap.read(nil, "uid"))) do lines[i] = table.concat(r, " ") end
    assert.same(file(sys.process.getpid(), "uid_map"), lines)
    assert.same(idmap.read(nil, "gid"), idmap.read(sys.process.getpid(), "gid"))
  end)

  it("names the file when the process is not there", function()
    local expected = { n = 3, nil, "/proc/4194304/uid_map: No such file or directory",
      errno.ENOENT }
    assert.same(expected, table.pack(idmap.uid_map(1 << 22, { { 0, 0, 1 } })))
    assert.same(expected, table.pack(idmap.read(1 << 22, "uid")))
  end)

  it("says so when the helper is missing", function()
    assert.same({ n = 3, nil, "/nope/newuidmap: No such file or directory", errno.ENOENT },
      table.pack(idmap.newuidmap(1, { { 0, 0, 1 } }, "/nope/newuidmap")))
  end)

  it("passes every number to the helper, and on what it said", function()
    local path = tmpdir() .. "/newgidmap"
    spew(path, '#!/bin/sh\nread line || echo "stdin is empty, args: $*" >&2\nexit 1\n')
    sh("chmod +x " .. path)
    local ok, message, number = idmap.newgidmap(77, { { 0, 1000, 1 }, { 1, 100000, 65535 } }, path)
    assert.is_nil(ok)
    assert.equal(errno.EPERM, number)
    assert.equal("stdin is empty, args: 77 0 1000 1 1 100000 65535", message)
  end)

  it("runs the helper with default signals and none blocked", function()
    local path = tmpdir() .. "/newuidmap"
    spew(path, "#!/bin/sh\ngrep -E '^Sig(Blk|Ign)' /proc/self/status | tr -s '\\t\\n' '  ' >&2"
      .. "\nexit 1\n")
    sh("chmod +x " .. path)
    local out = sh(("trap '' PIPE TERM; LUA_CPATH='%s' %s -e '%s'"):format(package.cpath,
      os.getenv "LUA" or "lua5.4",
      ("print((select(2, require(%q).sys.idmap.newuidmap(1, {{0,0,1}}, %q))))"):format(
        "nsbox.sys", path):gsub("%.sys%.idmap", ".idmap")))
    assert.matches("SigBlk: 0+ SigIgn: 0+", out)
  end)

  describe("in a user namespace #uml", function()
    needs "userns"

    it("writes maps that the kernel then shows", function()
      local ids = sys.process.ids()
      unmapped(function(pid)
        assert(idmap.setgroups(pid, "deny"))
        assert(idmap.uid_map(pid, { { 7, ids.euid, 1 } }))
        assert(idmap.gid_map(pid, { { 8, ids.egid, 1 } }))
        assert.same({ "7 " .. ids.euid .. " 1" }, file(pid, "uid_map"))
        assert.same({ "8 " .. ids.egid .. " 1" }, file(pid, "gid_map"))
        assert.same({ "deny" }, file(pid, "setgroups"))
        assert.same({ { 7, ids.euid, 1 } }, idmap.read(pid, "uid"))
      end)
    end)

    it("writes them all in the right order", function()
      local ids = sys.process.ids()
      unmapped(function(pid)
        assert(sys.map(pid, {
          uid = { { 0, ids.euid, 1 } },
          gid = { { 0, ids.egid, 1 } },
          setgroups = "deny",
        }))
        assert.same({ "0 " .. ids.euid .. " 1" }, file(pid, "uid_map"))
        assert.same({ "0 " .. ids.egid .. " 1" }, file(pid, "gid_map"))
        assert.same({ "deny" }, file(pid, "setgroups"))
      end)
    end)

    it("writes a map once only", function()
      local ids = sys.process.ids()
      unmapped(function(pid)
        assert(idmap.uid_map(pid, { { 0, ids.euid, 1 } }))
        local ok, message, number = idmap.uid_map(pid, { { 0, ids.euid, 1 } })
        assert.is_nil(ok)
        assert.equal(errno.EPERM, number)
        assert.equal(("/proc/%d/uid_map: Operation not permitted"):format(pid), message)
      end)
    end)

    it("writes 340 ranges in one go #root", function()
      local ranges, want = {}, {}
      for i = 0, 339 do
        ranges[i + 1] = { 2 * i, 2 * i, 1 }
        want[i + 1] = ("%d %d 1"):format(2 * i, 2 * i)
      end
      unmapped(function(pid)
        assert(idmap.uid_map(pid, ranges))
        assert.same(want, file(pid, "uid_map"))
        assert.same(ranges, idmap.read(pid, "uid"))
      end)
    end)

    it("believes the map when the host ignores SIGCHLD", function()
      local ids = sys.process.ids()
      local path = tmpdir() .. "/newuidmap"
      -- writes the map itself, as a setuid helper would
      spew(path, '#!/bin/sh\nprintf "%s %s %s\\n" "$2" "$3" "$4" >/proc/$1/uid_map\n')
      sh("chmod +x " .. path)
      unmapped(function(pid)
        local out = sh(("trap '' CHLD; LUA_CPATH='%s' %s -e '%s'"):format(package.cpath,
          os.getenv "LUA" or "lua5.4", ([[local i = require("nsbox.sys").idmap
          print(i.newuidmap(%d, {{0,%d,1}}, %q))
          print(i.newuidmap(%d, {{0,%d,1}}, %q))]]):format(pid, ids.euid, path,
            sys.process.getpid() + 0, ids.euid, "/bin/false")))
        assert.matches("^true\n", out)
        assert.same({ "0 " .. ids.euid .. " 1" }, file(pid, "uid_map"))
      end)
    end)
  end)
end)

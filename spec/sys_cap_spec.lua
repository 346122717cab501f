local sys = require "nsbox.sys"
local inside = require "inside"

-- the five sets of /proc/PID/status as libcap's own program reads them
local function status(pid)
  local names = { CapInh = "inheritable", CapPrm = "permitted", CapEff = "effective",
    CapBnd = "bounding", CapAmb = "ambient" }
  local sets = {}
  for name, hex in slurp("/proc/" .. pid .. "/status"):gmatch "(Cap%a+):%s*(%x+)" do
    local words = {}
    for word in sh("capsh --decode=" .. hex):gsub("^.-=", ""):gmatch "[%w_]+" do
      words[#words + 1] = (word:gsub("^cap_", ""))
    end
    sets[names[name]] = words
  end
  return sets
end

-- the masks of the calling process, for a look from inside a child
local function masks()
  local t = {}
  for line in io.lines "/proc/self/status" do
    local name, hex = line:match "^(Cap%a+):%s*(%x+)"
    if name then t[name] = tonumber(hex, 16) end
  end
  return t
end

describe("nsbox.sys.cap", function()
  local cap, errno = sys.cap, sys.errno

  it("raises on unknown sets and words, with a suggestion", function()
    assert.error_matches(function() cap.set { efective = {} } end,
      "^unknown field 'efective' %(did you mean 'effective'%?%)")
    assert.error_matches(function() cap.set { effective = { "net_admn" } } end,
      "unknown capability 'net_admn' %(did you mean 'net_admin'%?%); known: chown, ")
    assert.error_matches(function() cap.set { effective = "some" } end,
      "list of capabilities, or 'all', expected, got string")
    assert.error_matches(function() cap.set { effective = { 12 } } end,
      "list of capabilities expected")
    assert.error_matches(function() cap.set() end, "table expected")
    assert.error_matches(function() cap.get(-1) end, "not a process id")
    assert.error_matches(function() cap.no_new_privs(false) end, "it cannot be cleared")
  end)

  it("reads the sets of the caller", function()
    assert.same(status "self", cap.get())
  end)

  it("reads the sets of another process", function()
    assert.same(status(1), cap.get(1))
    assert.same(cap.get(), cap.get(sys.process.getpid()))
    local sets, message, number = cap.get(1 << 22)
    assert.is_nil(sets)
    assert.equal(errno.ESRCH, number)
    assert.equal("capabilities of 4194304: No such process", message)
  end)

  it("knows every capability of this kernel, in order", function()
    local names = cap.names()
    assert.equal("chown", names[1])
    assert.equal("net_admin", names[13])
    assert.equal(tonumber(slurp "/proc/sys/kernel/cap_last_cap") + 1, #names)
  end)

  it("tells whether new privileges are possible", function()
    assert.is_boolean(cap.no_new_privs())
    local before, after, text = inside({}, function()
      local first = sys.cap.no_new_privs()
      return first, sys.cap.no_new_privs(true), slurp "/proc/self/status"
    end)
    assert.equal(cap.no_new_privs(), before)
    assert.is_true(after)
    assert.matches("NoNewPrivs:%s*1", text)
  end)

  it("refuses what the caller does not have", function()
    local ok, message, number = inside({}, function()
      assert(sys.cap.set { effective = {}, permitted = {} })
      return sys.cap.set { permitted = { "net_admin" } }
    end)
    assert.is_nil(ok)
    assert.equal(errno.EPERM, number)
    assert.equal("permitted: Operation not permitted", message)
  end)

  it("gives up its own sets and no others", function()
    local before, after = inside({}, function()
      local first = masks()
      assert(sys.cap.set { permitted = {} })
      return first, masks()
    end)
    assert.equal(0, after.CapPrm)
    assert.equal(0, after.CapEff)
    assert.equal(before.CapBnd, after.CapBnd)
  end)

  describe("in a user namespace #uml", function()
    needs "userns"

    it("sets all five, in prefix and case as written", function()
      local seen = inside({ "user" }, function()
        assert(sys.cap.set {
          bounding = { "net_admin", "chown", "kill" },
          permitted = { "CAP_NET_ADMIN", "chown" },
          effective = { "cap_chown" },
          inheritable = { "Net_Admin" },
          ambient = { "net_admin" },
        })
        return masks()
      end)
      assert.same({
        CapBnd = 1 << 12 | 1 << 0 | 1 << 5,
        CapPrm = 1 << 12 | 1 << 0,
        CapEff = 1 << 0,
        CapInh = 1 << 12,
        CapAmb = 1 << 12,
      }, seen)
    end)

    it("takes 'all' for a set and keeps what is not named", function()
      local seen, all = inside({ "user" }, function()
        assert(sys.cap.set { inheritable = "all" })
        return masks(), #sys.cap.names()
      end)
      local mask = (1 << all) - 1
      assert.equal(mask, seen.CapInh)
      assert.equal(mask, seen.CapPrm)
      assert.equal(mask, seen.CapEff)
      assert.equal(0, seen.CapAmb)
    end)

    it("clears the ambient set before it raises the new one", function()
      local seen = inside({ "user" }, function()
        assert(sys.cap.set { inheritable = { "kill", "chown" }, ambient = { "kill" } })
        assert(sys.cap.set { ambient = { "chown" } })
        return masks()
      end)
      assert.equal(1 << 0, seen.CapAmb)
    end)

    it("names the set that the kernel refused", function()
      local ok, message, number = inside({ "user" }, function()
        return sys.cap.set { inheritable = {}, ambient = { "kill" } }
      end)
      assert.is_nil(ok)
      assert.equal("ambient: Operation not permitted", message)
      assert.equal(errno.EPERM, number)
    end)
  end)
end)

local sys = require "nsbox.sys"
local children = require "children"
local ns = sys.ns

local function here()
  return require("lfs").symlinkattributes("/proc/self/ns/net", "target")
end

describe("nsbox.sys.ns, network namespaces", function()
  it("makes one and stays where it was #root", function()
    local before = here()
    local n <close> = assert(ns.newnet "7 9")
    assert.equal("net", n:kind())
    assert.equal(before, here())
    assert.not_equal(before, ("net:[%d]"):format(select(2, n:id())))
    local out = sh(("nsenter --net=/proc/%d/fd/%d sh -c 'ip -o link; cat "
      .. "/proc/sys/net/ipv4/ping_group_range'"):format(sys.process.getpid(), n:fileno()))
    assert.matches("^1: lo: <LOOPBACK,UP", out)
    assert.matches("\n7%s9\n$", out)
  end)

  it("says why not #user", function()
    local n, message, code = ns.newnet()
    assert.same({ nil, "unshare net: Operation not permitted", sys.errno.EPERM },
      { n, message, code })
  end)

  it("has a cookie that is not used again #root", function()
    local seen = {}
    for _ = 1, 20 do
      local n <close> = assert(ns.newnet())
      local cookie = assert(n:cookie())
      assert.equal(cookie, n:cookie())
      assert.is_nil(seen[cookie])
      seen[cookie] = true
    end
    local own <close> = assert(ns.open "/proc/self/ns/net")
    assert.is_nil(seen[own:cookie()])
  end)

  it("has a cookie only for the net kind", function()
    local uts <close> = assert(ns.open "/proc/self/ns/uts")
    local cookie, _, code = uts:cookie()
    assert.same({ nil, sys.errno.EINVAL }, { cookie, code })
    local own <close> = assert(ns.open "/proc/self/ns/net")
    assert.equal("integer", math.type(own:cookie()))
  end)
end)

describe("the identity of a process", function()
  it("is one for one process, and no other's", function()
    local p, finish = children.hold {}
    local q, finish_q = children.hold {}
    local again <close> = assert(sys.process.open(p:pid()))
    assert.equal(p:identity(), again:identity())
    assert.not_equal(p:identity(), q:identity())
    assert.matches("^%l+:%d+$", p:identity())
    finish()
    finish_q()
  end)

  it("is not its number's: a number used again means another process", function()
    needs "procmount"
    -- in a pid namespace of its own the next number can be chosen
    local _, result = require("nsbox").run { os.getenv "LUA" or "lua5.4", "-e", [[
      local sys = require "nsbox.sys"
      local function start()
        local f = assert(io.open("/proc/sys/kernel/ns_last_pid", "w"))
        f:write "99"
        f:close()
        local p = assert(sys.process.spawn { argv = { "/bin/true" } })
        local id = p:identity()
        repeat sys.fd.poll { [p:fileno()] = "r" } until p:status()
        p:close()
        return p:pid(), id
      end
      local pid, a = start()
      local again, b = start()
      print(pid == again, a == b)
    ]], stdout = "capture", bare = true, maps = "self",
      env = { "LUA_PATH", "LUA_CPATH", "ASAN_OPTIONS" } }
    assert.equal("true\tfalse\n", result.stdout)
  end)
end)

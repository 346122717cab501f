local sys = require "nsbox.sys"
local netns = require "netns"

local netlink, errno = sys.netlink, sys.errno

describe("nsbox.sys.netlink", function()
  needs "netns"

  it("opens, says its number, closes twice, and raises when it is closed", function()
    local nl = assert(netlink.open())
    assert.matches("^nsbox.netlink %(%d+%)$", tostring(nl))
    assert.matches("socket", (sh("readlink /proc/$PPID/fd/" .. nl:fileno())))
    assert.matches("flags:%s+02%d%d%d%d%d%d\n", slurp("/proc/self/fdinfo/" .. nl:fileno()))
    local batch = nl:batch()
    assert.is_true(nl:close())
    assert.is_true(nl:close())
    assert.equal("nsbox.netlink (closed)", tostring(nl))
    for _, method in ipairs { "fileno", "index", "name", "mtu", "batch", "link_get", "link_list",
      "link_add", "link_set", "link_del" } do
      assert.error_matches(function() nl[method](nl, {}) end,
        "attempt to use a closed nsbox.netlink")
    end
    assert.error_matches(function() batch:send() end, "attempt to use a closed nsbox.netlink")
    assert.error_matches(function() batch:link_add { "a", kind = "bridge" } end, "closed")
  end)

  it("knows devices by name and by number", function()
    local nl <close> = assert(netlink.open())
    assert.equal(1, nl:index "lo")
    assert.equal("lo", nl:name(1))
    assert.same({ n = 3, nil, "index: name nope: No such device", errno.ENODEV },
      table.pack(nl:index "nope"))
    assert.same({ n = 3, nil, "name 4711: No such device", errno.ENODEV },
      table.pack(nl:name(4711)))
    assert.same({ 65536, 65536, 65536 }, { nl:mtu(1), nl:mtu "lo", nl:link_get("lo").mtu })
    assert.same({ nil, "mtu 4711: No such device", 19, n = 3 }, table.pack(nl:mtu(4711)))
    assert.same({ nil, "mtu: link none0: No such device", 19, n = 3 }, table.pack(nl:mtu "none0"))
    assert.error_matches(function() nl:name(0) end, "not an index")
    assert.error_matches(function() nl:index "0123456789abcdef" end, "at most 15 bytes")
  end)

  it("tells what is no network namespace", function()
    local function why(...) return (select(2, netlink.open(...))) end
    assert.equal("/etc/passwd: not a network namespace", why "/etc/passwd")
    assert.equal("/proc/self/ns/uts: not a network namespace", why "/proc/self/ns/uts")
    assert.equal("/run/nope: No such file or directory", why "/run/nope")
    assert.equal(errno.ESRCH, (select(3, netlink.open(1 << 22))))
    local r, w = sys.fd.pipe()
    assert.matches("^descriptor %d+: not a network namespace$", why(r))
    w:close()
    r:close()
    assert.error_matches(function() netlink.open(w) end, "closed nsbox.fd")
    assert.error_matches(function() netlink.open(-1) end, "not a process id")
    assert.error_matches(function() netlink.open {} end, "descriptor expected, got table")
    assert.error_matches(function() netlink.open "a\0b" end, "contains zeros")
  end)

  it("is bound to the namespace of a handle, a path, a pid, a process", function()
    netns(function()
      local ns <close> = netns.new()
      local nl <close> = assert(netlink.open(ns))
      assert(nl:link_add { "there", kind = "bridge" })
      local here <close> = assert(netlink.open())
      assert.is_nil(here:link_get "there")
      for _, where in ipairs { "/proc/self/fd/" .. ns:fileno(), assert(sys.fd.dup(ns)) } do
        local other <close> = assert(netlink.open(where))
        assert.equal("there", other:link_get("there").name)
      end
      for _, link in ipairs(netns.ip "link") do assert.not_equal("there", link.ifname) end
    end)
    -- a child that has another one than ours
    local r, w = assert(sys.fd.pipe())
    local input = w:fileno()
    local options = { "net", stdin = r }
    if not netns.power() then
      local ids = sys.process.ids()
      options[2] = "user"
      options.maps = { uid = { { 0, ids.euid, 1 } }, gid = { { 0, ids.egid, 1 } },
        setgroups = "deny" }
    end
    local child, out = assert(sys.clone(options, function()
      sys.fd.close(input)
      sys.fd.read(0)
    end))
    r:close()
    local before = sh "readlink /proc/$PPID/ns/net"
    for _, where in ipairs { child, child:pid(), ("/proc/%d/ns/net"):format(child:pid()) } do
      local nl <close> = assert(netlink.open(where))
      -- a stranger's user namespace, owned by the caller: the child that
      -- fetches the socket is needed, and the requests are allowed
      assert.same({ true }, { nl:link_add { "x", kind = "bridge" } })
      assert.is_true(nl:link_get("x").index > 1)
      assert.is_true(nl:link_del { "x" })
    end
    assert.equal(before, (sh "readlink /proc/$PPID/ns/net"))
    w:close()
    assert(sys.fd.poll { [child:fileno()] = "r" })
    child:status()
    assert.equal(errno.ESRCH, (select(3, netlink.open(child))))
    child:close()
    out:close()
  end)

  it("#user cannot reach a namespace that is not the caller's", function()
    -- that of pid 1 belongs to another user
    local _, message, number = netlink.open(1)
    assert(number == errno.EPERM or number == errno.EACCES, message)
  end)

  it("says what the kernel says #valgrind", function()
    netns(function()
      local nl <close> = assert(netlink.open())
      local function fails(text, number, ...)
        assert.same({ n = 3, nil, text, number }, table.pack(...))
      end
      assert.is_true(nl:link_add { "br0", kind = "bridge" })
      fails("link_add br0: File exists", errno.EEXIST, nl:link_add { "br0", kind = "bridge" })
      fails("link_add x: Unknown device type", errno.EOPNOTSUPP,
        nl:link_add { "x", kind = "bogus" })
      fails("link_add x: mtu less than device minimum", errno.EINVAL,
        nl:link_add { "x", kind = "bridge", mtu = 1 })
      fails("link_get nope: No such device", errno.ENODEV, nl:link_get "nope")
      fails("link_set nope: No such device", errno.ENODEV, nl:link_set { "nope", up = true })
      fails("link_set br0: master nope: No such device", errno.ENODEV,
        nl:link_set { "br0", master = "nope" })
      fails("link_del 4711: No such device", errno.ENODEV, nl:link_del { 4711 })
    end)
  end)

  it("is there for a host that links it", function()
    local dir = tmpdir()
    spew(dir .. "/host.c", [[
      #include <stdio.h>
      #include <lua.h>
      #include <lauxlib.h>
      #include <lualib.h>
      #include "nsbox.h"
      int main(void)
      {
        lua_State *L = luaL_newstate();
        luaL_openlibs(L);
        nsbox_preload(L);
        nsbox_preload_netlink(L);
        if (luaL_dostring(L, "print(require 'nsbox.sys'.netlink.open():name(1))"))
          printf("%s\n", lua_tostring(L, -1));
        lua_close(L);
        return 0;
      }]])
    local out, status = sh(("%s -Wall -Werror $(pkg-config --cflags lua5.4) -Icsrc -o %s/host "
      .. "%s/host.c build/libnsbox.a $(pkg-config --libs lua5.4 libnl-3.0) -lcap"):format(
      os.getenv "CC" or "cc", dir, dir))
    assert(status == 0, out)
    assert.equal("lo\n", (sh(("LUA_CPATH=nowhere %s/host"):format(dir))))
  end)

  it("shows its requests in a trace", function()
    local path = tmpdir() .. "/script"
    spew(path, [[local nl = require "nsbox.sys".netlink.open()
      nl:link_add { "x", kind = "bogus", up = true }]])
    local out = sh(("NSBOX_TRACE=1 LUA_CPATH='%s' %s %s"):format(package.cpath,
      os.getenv "LUA" or "lua5.4", path))
    assert.matches('netlink%.open%(%) = nsbox%.netlink %(%d+%)\n', out)
    assert.matches('netlink%.link_add%(nsbox%.netlink %(%d+%), {"x", kind = "bogus", '
      .. 'up = true}%) = fail E%u+ %(link_add x: ', out)
  end)

  describe("a batch", function()
    it("tells for each request what became of it #valgrind", function()
      netns(function()
        local nl <close> = assert(netlink.open())
        local b, before = nl:batch(), #netns.ip "link"
        assert.equal(b, b:link_add { "br0", kind = "bridge", index = 100 })
        b:link_add { "br0", kind = "bridge" }
        b:link_add { "v0", kind = "veth", master = "nope" }
        b:link_add { "v1", kind = "veth", master = 100, peer = { "v2" } }
        b:link_set { "v1", up = true }
        assert.equal(5, #b)
        assert.equal("nsbox.netlink.batch (5 requests)", tostring(b))
        assert.equal(before, #netns.ip "link")
        local results, failed = b:send()
        assert.equal(2, failed)
        assert.same({ true, { "link_add br0: File exists", errno.EEXIST },
          { "link_add v0: master nope: No such device", errno.ENODEV }, true, true }, results)
        assert.equal("br0", netns.ip("link show v1")[1].master)
        -- it is empty now
        assert.same({ {}, 0 }, { b:send() })
        assert.same({ { true }, 0 }, { b:link_del { "v1" }:send() })
      end)
    end)

    it("is split when it is long, and loses no answer", function()
      netns(function()
        local nl <close> = assert(netlink.open())
        local b = nl:batch()
        local n <const> = 3000
        for i = 1, n do
          b:link_set { i % 2 == 0 and "lo" or "nope" .. i, alias = ("x"):rep(200) }
        end
        local results, failed = b:send()
        assert.equal(n // 2, failed)
        for i = 1, n do
          if i % 2 == 0 then
            assert.is_true(results[i])
          else
            assert.same({ ("link_set nope%d: No such device"):format(i), errno.ENODEV },
              results[i])
          end
        end
        assert.equal("lo", nl:link_get("lo").name)
      end)
    end)

    it("keeps what it refers to, and raises at the line of a mistake", function()
      netns(function()
        local nl <close> = assert(netlink.open())
        local b = nl:batch()
        b:link_add { "v0", kind = "veth", peer = { "eth0", netns = netns.new() } }
        collectgarbage()
        collectgarbage()
        local _, why = pcall(function() b:link_add { "v1", kind = "veth", pear = {} } end)
        assert.matches("sys_netlink_spec.lua:%d+: link: unknown field 'pear' "
          .. "%(did you mean 'peer'%?%)$", why)
        assert.equal(1, #b)
        assert.same({ { true }, 0 }, { b:send() })
        assert.equal("veth", nl:link_get("v0").kind)
      end)
    end)
  end)

  it("#fault fails where it is told to, and works on", function()
    local path = tmpdir() .. "/script"
    spew(path, [[local netlink = require "nsbox.sys".netlink
      print(netlink.open())]])
    local function run(fault)
      return (sh(("NSBOX_FAULT=%s LUA_CPATH='%s' %s %s"):format(fault, package.cpath,
        os.getenv "LUA" or "lua5.4", path)))
    end
    assert.matches("nil\tnetlink: Too many open files\t24\n$", run "netlink.open:EMFILE")
    spew(path, [[local nl = require "nsbox.sys".netlink.open()
      print(nl:link_set { "lo", up = true })
      print(nl:link_get "lo")
      local r, n = nl:batch():link_set { "lo", up = true }:send()
      print(r[1][1], r[1][2], n)]])
    assert.matches("nil\tlink_set lo: No buffer space available\t105\n.*"
      .. "nil\tlink_get lo: Interrupted system call\t4\n"
      .. "link_set lo: No buffer space available\t105\t1\n$",
      run "link_set:ENOBUFS,link_get:EINTR")
    spew(path, [[local nl = require "nsbox.sys".netlink.open()
      local list, how = nl:link_list()
      print(list[1].name, how)]])
    assert.matches("lo\tinterrupted\n$", run "netlink.interrupted:EAGAIN")
  end)
end)

local nsbox = require "nsbox"
local blame = require "blame"
local netns = require "netns"

local misuse, failure = blame.misuse, blame.failure

local function inside(ns, command)
  local out = ns:exec({ "ip", "-j", "-d", table.unpack(command) }).stdout
  return require "dkjson".decode(out == "" and "[]" or out)
end

describe("scope:veth", function()
  needs "netns"

  it("joins two places", function()
    netns(function()
      local s <close> = nsbox.scope()
      local a, b <close> = nsbox.ns.new { "net" }, nsbox.ns.new { "net" }
      local cable = s:veth {
        { "left", netns = a, addr = "10.1.0.1/24", gateway = "10.1.0.2" },
        { "right", netns = b, addr = { "10.1.0.2/24", "fd00::2/64" }, mtu = 1300,
          mac = "02:00:00:00:00:02" },
        mtu = 1400,
      }
      assert.same({ "left", "right", "10.1.0.1", "10.1.0.2", "right", "left" },
        { cable[1].name, cable[2].name, cable[1].ip, cable[2].ip, cable[1].peer, cable[2].peer })
      local left, right = inside(a, { "link", "show", "left" })[1],
        inside(b, { "link", "show", "right" })[1]
      assert.same({ 1400, 1300, "UP", "UP", "02:00:00:00:00:02", cable[1].index },
        { left.mtu, right.mtu, left.operstate, right.operstate, right.address, left.ifindex })
      assert.equal("10.1.0.2", inside(a, { "route", "show", "default" })[1].gateway)
      assert.equal(0, a:exec({ "ping", "-c1", "-W5", "10.1.0.2" }).status)
      assert.equal("scope (here): 1 link", tostring(s))
      cable:close()
      cable:close()
      assert.same({ 0, 0 }, { #inside(a, { "link", "show", "type", "veth" }),
        #inside(b, { "link", "show", "type", "veth" }) })
      a:close()
    end)
  end)

  it("is here without a place, and may be a port", function()
    netns(function()
      local s = nsbox.scope()
      local br = s:bridge { "br0", addr = false }
      local cable = s:veth { "a", { master = br, isolated = true }, up = false, alias = "both" }
      local a, b = netns.ip "link show a"[1], netns.ip("link show " .. cable[2].name)[1]
      assert.same({ "DOWN", "DOWN", "both", "both", "br0" },
        { a.operstate, b.operstate, a.ifalias, b.ifalias, b.master })
      assert.is_true(netns.bridge("link show dev " .. b.ifname)[1].isolated)
      assert.not_equal("default", a.group)
      cable:release()
      s:close()
      assert.equal("default", netns.ip "link show a"[1].group)
      sh "ip link del a"
    end)
  end)

  it("goes with either end, and with the namespace of one", function()
    netns(function()
      local s <close> = nsbox.scope()
      local nl <close> = assert(nsbox.sys.netlink.open())
      local monitor <close> = assert(nsbox.sys.netlink.monitor(nil, { "link" }))
      for _, how in ipairs { 1, 2, "namespace" } do
        local place = nsbox.ns.new { "net" }
        local cable = s:veth { "a", { "b", netns = place } }
        if how == "namespace" then
          place:close()
        else
          cable[how]:delete()
          assert.equal(0, #inside(place, { "link", "show", "type", "veth" }))
          place:close()
        end
        while nl:link_get "a" do -- the kernel takes its time
          assert(next(nsbox.sys.fd.poll({ [monitor:fileno()] = "r" }, 30)))
          monitor:read()
        end
        cable:close()
        assert.equal("scope (here): empty", tostring(s))
      end
    end)
  end)

  it("is a port only of a bridge that is where the end is", function()
    netns(function()
      local s <close> = nsbox.scope()
      local ns <close> = nsbox.ns.new { "net" }
      local br = s:bridge "br0"
      -- what has the same number there is another one
      assert(ns:exec({ "ip", "link", "add", "other", "index", tostring(br.index), "type",
        "bridge" }).status == 0)
      local err = failure(function() s:veth { "a", { "b", netns = ns, master = br } } end, "EXDEV")
      assert.same({ "veth", "b" }, { err.op, err.subject })
      assert.equal(0, #netns.ip "link show type veth")
      assert.equal("b", s:veth { "a", { "b", netns = ns, master = "other" } }[2].name)
    end)
  end)

  it("leaves nothing when it fails", function()
    netns(function()
      local s <close> = nsbox.scope()
      local ns <close> = nsbox.ns.new { "net" }
      s:veth { "a", { "b", netns = ns } }
      local function fails(o, code, subject)
        local err = failure(function() s:veth(o) end)
        assert.same({ "veth", code, subject }, { err.op, err.code, err.subject })
      end
      fails({ "a", { "c", netns = ns } }, "EEXIST", "a")
      fails({ "c", { "b", netns = ns } }, "EEXIST", "b")
      fails({ { "c", master = "nope" }, "d" }, "ENODEV", "c")
      fails({ { "c", master = "a" }, "d" }, "EOPNOTSUPP", "c")
      fails({ "c", { "d", netns = ns, gateway = "10.0.0.1" } }, "ENETUNREACH",
        "default via 10.0.0.1 on d")
      assert.equal(1, #netns.ip "link show type veth")
      misuse(function() s:veth { "a", "b", "c" } end, "veth: a cable has two ends")
      misuse(function() s:veth { "a", "a" } end, "veth: both ends are called a, in one place")
      misuse(function() s:veth { { "a", isolated = true } } end,
        "veth: end 1: isolated: it is no port of a bridge")
      misuse(function() s:veth { { "a", foo = 1 } } end, "unknown option 'foo'")
    end)
  end)

  it("is left alone by the next run of a named scope #root", function()
    netns(function()
      local function declare(name)
        local s = nsbox.scope { "cable" }
        s:netns "blue"
        local cable = s:veth { { "a", addr = "10.1.0.1/24" }, { "b", netns = "blue" } }
        if name then s:veth { name, "d" } end
        return s, cable
      end
      local s, cable = declare "c"
      s:commit()
      s:close()
      local again
      s, again = declare()
      assert.same({ false, cable[2].mac, cable[1].index },
        { again.fresh, again[2].mac, again[1].index })
      s:commit()
      s:close()
      assert.equal(1, #netns.ip "link show type veth")
      nsbox.scope.remove "cable"
      assert.equal(0, #netns.ip "link show type veth")
      sh "umount /run/netns; rmdir /run/netns"
    end)
  end)
end)

-- Subnets that bridges get, and addresses on bridges that several scopes use.

local nsbox = require "nsbox"
local blame = require "blame"
local netns = require "netns"
local pool = require "nsbox.pool"
local dns = require "nsbox.dns"

local misuse, failure = blame.misuse, blame.failure

-- what ip(8) says of a bridge
local function addrs(name)
  local list = {}
  for _, a in ipairs(netns.ip("addr show dev " .. name)[1].addr_info) do
    if a.scope ~= "link" then list[#list + 1] = ("%s/%d"):format(a["local"], a.prefixlen) end
  end
  return table.concat(list, " ")
end

local function world(f)
  netns(function()
    dns.sources = {} -- the machine's own servers are not the test's
    sh "ip link set lo up; ip link add eth0 type bridge; ip link set eth0 up"
    f()
  end)
end

describe("pool", function()
  it("is a list of subnets, or of what they are cut from", function()
    local function wrong(value, want)
      local ok, message = pool.check(value)
      assert.is_nil(ok)
      assert.truthy(message:find(want, 1, true), message)
    end
    wrong({}, "expected subnets")
    wrong("10.20.0.0", "expected a subnet, as '10.20.0.0/16'")
    wrong("10.20.0.1/16", "which is '10.20.0.0/16'")
    wrong({ "10.20.0.0/16", "10.21.0.0/31" }, "[2] ")
    wrong("10.20.0.0/31", "too small for a bridge and a card: /30 at most")
    wrong({ "10.20.0.0/16", size = 8 }, "subnets of 10.20.0.0/16 are from /16 to /30, not /8")
    wrong({ { "10.20.0.0/16", siz = 8 } }, "did you mean 'size'?")
    wrong({ { "10.20.0.0/16", "10.21.0.0/16" } }, "expected one subnet")
    assert.equal(2, #pool.check { { "10.0.0.0/8", size = 24 }, "fd00:5::/64" })
    misuse(function() nsbox.scope { pool = "10.1.2.3/8" } end, "scope: pool: ")
  end)
end)

describe("a bridge without an address", function()
  needs("netns", "bridge")

  it("gets the first subnet that is free", function()
    world(function()
      local s <close> = nsbox.scope()
      local br = s:bridge "br0"
      assert.same({ "172.17.0.1", "172.17.0.0/16" }, { br.ip, br.subnet })
      assert.equal("172.17.0.1/16", addrs "br0")
      assert.equal("172.18.0.1/16", (addrs(s:bridge({ "br1", addr = "auto" }).name)))
      br:close()
      assert.equal("172.17.0.1", nsbox.scope():bridge("br2").ip)
      local plain = s:bridge { "plain", addr = false }
      assert.is_nil(plain.ip)
      assert.equal("", addrs "plain")
    end)
  end)

  it("passes over addresses, routes of every table, peers and name servers", function()
    world(function()
      sh [[ip addr add 172.17.200.1/24 dev eth0; ip addr add 10.9.0.1 peer 172.18.3.0/24 dev eth0
        ip route add 172.19.0.0/20 via 172.17.200.9; ip route add 172.20.1.1/32 dev eth0 table 52
        ip route add blackhole 172.21.0.0/16]]
      local file = tmpdir() .. "/resolv.conf"
      spew(file, "nameserver 172.22.0.53 # ours\nnameserver 172.23.1.1\n")
      dns.sources = { file }
      local s <close> = nsbox.scope()
      assert.equal("172.24.0.1", s:bridge("br0").ip)
    end)
  end)

  it("does not mind ways to the whole world", function()
    world(function()
      sh [[ip addr add 203.0.113.2/24 dev eth0; ip route add default via 203.0.113.1
        ip route add 0.0.0.0/1 via 203.0.113.1; ip route add 128.0.0.0/1 via 203.0.113.1
        ip route add 160.0.0.0/3 via 203.0.113.1]]
      local s <close> = nsbox.scope()
      assert.equal("172.17.0.1", s:bridge("br0").ip)
    end)
  end)

  it("goes on where Docker does", function()
    world(function()
      sh "ip route add 172.16.0.0/12 dev eth0; ip route add 192.168.17.0/24 dev eth0"
      local s <close> = nsbox.scope()
      local seen = {}
      for i = 1, 16 do seen[i] = s:bridge("br" .. i).subnet end
      assert.same({ "192.168.0.0/20", "192.168.32.0/20", "192.168.240.0/20", "10.0.0.0/24" },
        { seen[1], seen[2], seen[15], seen[16] })
    end)
  end)

  it("is told what takes all of them", function()
    world(function()
      sh "ip addr add 10.20.0.9/24 dev eth0; ip route add 10.21.0.0/16 dev eth0"
      local s <close> = nsbox.scope { pool = { "10.20.0.0/16", "10.21.8.0/24", "10.22.0.0/30" } }
      assert.equal("10.22.0.1", s:bridge("small").ip)
      local err = failure(function() s:bridge "br0" end, "EADDRNOTAVAIL")
      assert.same({ "bridge", "br0" }, { err.op, err.subject })
      assert.equal("no subnet of the pool (10.20.0.0/16, 10.21.8.0/24, 10.22.0.0/30) is free: "
        .. "taken by eth0 (10.20.0.9/24), the route 10.21.0.0/16 dev eth0, small (10.22.0.1/30)",
        err.detail)
      assert.truthy(err.hint:find("pool = ", 1, true))
      assert.equal(2, #netns.ip "link show type bridge")
    end)
  end)

  it("is in a subnet of each family that the pool has, and so are its cards", function()
    world(function()
      local s <close> = nsbox.scope { pool = { { "fd00:5::/48", size = 64 },
        { "10.20.0.0/16", size = 24 } } }
      s:bridge "br0"
      local br = s:bridge "br1"
      assert.equal("10.20.1.1/24 fd00:5:0:1::1/64", addrs "br1")
      local ns <close> = nsbox.ns.new { "net" }
      local card = br:attach(ns)
      assert.equal("10.20.1.2", card.ip)
      assert.truthy(ns:exec({ "ip", "-o", "addr" }).stdout:find("fd00:5:0:1::2/64", 1, true))
    end)
  end)

  it("knows the bridges of other scopes, wherever they are", function()
    world(function()
      local ns <close> = nsbox.ns.new { "net" }
      local a <close> = nsbox.scope()
      local b <close> = nsbox.scope()
      local inner = a:bridge { "br0", netns = ns }
      assert.equal("172.17.0.1", inner.ip)
      assert.equal("172.18.0.1", b:bridge("br0").ip)
      assert.equal("172.19.0.1", a:bridge("br1").ip)
      inner:close()
      assert.equal("172.17.0.1", b:bridge("br2").ip)
    end)
  end)

  it("keeps its subnet in a named scope", function()
    world(function()
      for run = 1, 2 do
        local s <close> = nsbox.scope { "shop" }
        local br = s:bridge "br0"
        assert.same({ "172.17.0.1", "172.17.0.0/16", run == 1 }, { br.ip, br.subnet, br.fresh })
        s:commit()
      end
      assert.matches("bridge br0 +link br0 172.17.0.1/16$", nsbox.scope.show "shop")
      assert.equal("172.18.0.1", nsbox.scope():bridge("br1").ip)
      nsbox.scope.remove "shop"
    end)
  end)
end)

describe("an address of a bridge by hand", function()
  needs("netns", "bridge")

  it("must not overlap what another device has", function()
    world(function()
      sh "ip addr add 10.3.0.1/16 dev eth0; ip route add 10.4.0.0/24 dev eth0"
      sh "ip addr add 10.6.0.1/32 dev eth0; ip addr add fd00::1/64 dev eth0"
      local s <close> = nsbox.scope()
      local function refused(addr, what)
        local err = failure(function() s:bridge { "br0", addr = addr } end, "EADDRINUSE")
        assert.same({ "bridge", "br0" }, { err.op, err.subject })
        assert.truthy(err.detail:find("overlaps " .. what, 1, true), err.detail)
      end
      refused("10.3.7.1/24", "10.3.0.1/16 of eth0")
      refused("10.0.0.1/8", "10.3.0.1/16 of eth0")
      refused("10.4.0.1/24", "the route 10.4.0.0/24 dev eth0")
      refused("fd00::7/48", "fd00::1/64 of eth0")
      refused({ "10.8.0.1/24", "10.8.0.2/16" }, "its own 10.8.0.1/24")
      assert.equal(1, #netns.ip "link show type bridge")
      local br = s:bridge { "br1", addr = { "10.4.0.1/16", "10.6.0.2/24", "10.6.0.3/24",
        "fe80::7/64" } }
      failure(function() nsbox.scope():bridge { "br2", addr = "10.6.0.1/24" } end, "EADDRINUSE")
      br:close()
      -- meant
      s:bridge { "br3", addr = false }:addr "10.3.7.1/24"
      assert.equal("10.3.7.1/24", addrs "br3")
    end)
  end)

  it("may be what an earlier run of the scope had on another one", function()
    world(function()
      local s = nsbox.scope { "shop" }
      s:bridge { "old", addr = "10.3.0.1/24" }
      s:commit()
      s:close()
      s = nsbox.scope { "shop" }
      assert.equal("10.3.0.1", s:bridge({ "new", addr = "10.3.0.1/24" }).ip)
      s:commit()
      s:close()
      assert.equal("", (sh "ip -br link show old 2>/dev/null"))
      assert.equal("10.3.0.1/24", addrs "new")
      nsbox.scope.remove "shop"
    end)
  end)
end)

describe("addresses on one bridge", function()
  needs("netns", "bridge")

  it("are unique among scopes, and free when one ends", function()
    world(function()
      local ns <close> = nsbox.ns.new { "net" }
      local a <close> = nsbox.scope()
      local mine = a:bridge { "br0", addr = "10.0.3.1/29" }
      local b = nsbox.scope()
      local theirs = b:link "br0"
      local seen = {}
      for i = 1, 3 do
        seen[#seen + 1] = theirs:attach(ns).ip
        seen[#seen + 1] = i < 3 and mine:attach(ns).ip or nil
      end
      assert.same({ "10.0.3.2", "10.0.3.3", "10.0.3.4", "10.0.3.5", "10.0.3.6" }, seen)
      failure(function() mine:attach(ns) end, "EADDRNOTAVAIL")
      failure(function() theirs:attach(ns) end, "EADDRNOTAVAIL")
      local err = failure(function() mine:attach(ns, { addr = "10.0.3.4/29" }) end, "EADDRINUSE")
      assert.equal("another card on br0 has this address", err.detail)
      b:close()
      assert.equal("10.0.3.4", mine:attach(ns, { addr = "10.0.3.4/29" }).ip)
      assert.equal("10.0.3.6", mine:attach(ns).ip)
    end)
  end)

  it("are free when what was to have them failed", function()
    world(function()
      local ns <close> = nsbox.ns.new { "net" }
      local s <close> = nsbox.scope()
      local br = s:bridge { "br0", addr = "10.0.3.1/30" }
      failure(function() br:attach(ns, { "lo" }) end, "EEXIST")
      failure(function() br:attach(ns, { addr = { "auto", "10.9.9.9/24" } }) end, "EADDRNOTAVAIL")
      assert.equal("10.0.3.2", br:attach(ns).ip)
    end)
  end)

  it("are handed out last when somebody was heard to use them", function()
    world(function()
      local ns <close> = nsbox.ns.new { "net" }
      sh "ip addr add 10.0.3.1/30 dev eth0; ip addr add 10.0.4.1/29 dev eth0"
      sh "ip neigh add 10.0.3.2 lladdr 02:00:00:00:00:01 dev eth0 nud stale"
      local s <close> = nsbox.scope()
      assert.equal("10.0.3.2", s:link("eth0"):attach(ns).ip)
      sh "ip addr del 10.0.3.1/30 dev eth0"
      sh "ip neigh add 10.0.4.2 lladdr 02:00:00:00:00:02 dev eth0 nud permanent"
      assert.equal("10.0.4.3", nsbox.scope():link("eth0"):attach(ns).ip)
    end)
  end)

  it("are not chosen by two at once: scopes of 8 processes", function()
    world(function()
      local out, status = lua("spec/pool_stress.lua 8 4")
      assert.same({ "8 processes, 4 rounds each: 0 collisions\n", 0 }, { out, status })
    end)
  end)
end)

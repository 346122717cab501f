-- The name servers of the machine, copied for boxes that reach them through NAT.

local nsbox = require "nsbox"
local dns = require "nsbox.dns"
local netns = require "netns"

local STUB <const> = "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n"

local function resolv(box) return box:exec({ "cat", "/etc/resolv.conf" }).stdout end

-- f(scope) on a machine whose files say this
local function machine(first, second, f)
  local dir = tmpdir()
  spew(dir .. "/first", first)
  spew(dir .. "/second", second)
  netns(function()
    dns.sources = { dir .. "/first", dir .. "/second" }
    local s <close> = nsbox.scope()
    f(s)
  end)
end

describe("the machine's name servers", function()
  it("are of no use elsewhere on the loopback device, nor told by a link", function()
    local text = ""
    for _, server in ipairs { "127.0.0.53", "127.0.1.1", "0.0.0.0", "::1", "::",
      "::ffff:127.0.0.1", "fe80::1", "fe80::1%eth0", "not.an.address" } do
      text = text .. "nameserver " .. server .. "\n"
    end
    assert.same({ "192.0.2.1", "2001:db8::53", options = {} },
      dns.usable(text .. "nameserver\t192.0.2.1 # ours\n nameserver 2001:db8::53\n"))
  end)
end)

describe("dns = \"host\"", function()
  needs("netns", "bridge", "maps", "procmount", "mount_api", "nftables",
    "sysctl")

  it("is what a box on a bridge with nat has, and no other", function()
    machine("nameserver 192.0.2.1\nnameserver 127.0.0.1\nsearch lan\noptions ndots:2\n", "",
      function(s)
        local plain, nat = s:bridge "plain", s:bridge { "nat", nat = true }
        local before = resolv(s:box { name = "none" })
        local want = "nameserver 192.0.2.1\nsearch lan\noptions ndots:2\n"
        assert.equal(before, resolv(s:box { name = "a", net = plain }))
        assert.equal(want, resolv(s:box { name = "b", net = nat }))
        assert.equal(want, resolv(s:box { name = "c", net = { plain, dns = "host" } }))
        assert.equal(before, resolv(s:box { name = "d", net = { nat, dns = false } }))
        assert.equal(before, resolv(s:box { name = "e", net = nat, dns = false }))
        assert.equal("nameserver 192.0.2.9\n",
          resolv(s:box { name = "f", net = nat, dns = "192.0.2.9" }))
        assert.equal("nameserver 192.0.2.8\n",
          resolv(s:box { name = "g", net = { nat, dns = "192.0.2.8" } }))
        -- with a card that comes later, and goes
        local late = s:box { name = "late" }
        local card = nat:attach(late)
        assert.equal(want, resolv(late))
        card:close()
        assert.equal(before, resolv(late))
        nat:attach(late)
        assert.equal(want, resolv(late))
      end)
  end)

  it("looks behind a stub", function()
    machine(STUB, "nameserver 192.0.2.7\nsearch corp\n", function(s)
      assert.equal("nameserver 192.0.2.7\nsearch corp\n",
        resolv(s:box { net = { s:bridge "br0", dns = "host" } }))
    end)
  end)

  it("is nothing where a machine has no server for others, unless it was asked for", function()
    machine(STUB, "", function(s)
      local nat = s:bridge { "nat", nat = true }
      assert.equal(resolv(s:box { name = "a" }), resolv(s:box { name = "b", net = nat }))
      local err = require("blame").failure(function() s:box { net = nat, dns = "host" } end,
        "EADDRNOTAVAIL")
      assert.truthy(err.hint:find("give servers: dns = {", 1, true))
    end)
  end)
end)

-- rate, delay and loss: what is asked for, and what tc(8) says of it.

local nsbox = require "nsbox"
local blame = require "blame"
local netns = require "netns"
local shape = require "nsbox.shape"
local sys = require "nsbox.sys"
local misuse, failure = blame.misuse, blame.failure

local function with(f)
  return netns(function()
    local nl <close> = assert(sys.netlink.open())
    assert(nl:link_add { "v0", kind = "veth", up = true, peer = { "v1" } })
    local s <close> = nsbox.scope()
    f(s, nl)
  end)
end

local function root(dev)
  for _, q in ipairs(netns.tc("qdisc show dev " .. dev)) do
    if q.root then return q end
  end
end

describe("nsbox.shape", function()
  it("says what is wrong at the caller's line", function()
    local s <close> = nsbox.scope()
    local function macvlan(o)
      o[1], o.link = "a", "v0"
      return o
    end
    local fast, late = macvlan { rate = "10 mbit" }, macvlan { delay = "20 ms" }
    misuse(function() s:macvlan(fast) end, "rate: expected a rate such as")
    misuse(function() s:macvlan(late) end, "delay: expected a time such as")
    misuse(function() s:macvlan { "a", link = "v0", rate = 10 } end, "rate: expected between 1000")
    misuse(function() s:macvlan { "a", link = "v0", delay = "2m" } end, "expected at most 60")
    misuse(function() s:macvlan { "a", link = "v0", loss = 1 } end, "loss: expected a percentage")
    misuse(function() s:macvlan { "a", link = "v0", loss = "101%" } end, "loss: expected a percent")
  end)

  it("chooses the discipline and its queue", function()
    assert.is_nil(shape.request({}, 3))
    assert.is_nil(shape.request({ delay = 0, loss = 0 }, 3))
    assert.same({ dev = 3, handle = "7:", kind = "tbf",
      data = { rate = 10000000, burst = 12500, limit = 12500 + 62500 } },
      shape.request({ rate = 10000000 }, 3, "7:"))
    -- a bucket of two packets, and a queue of ten
    assert.same({ rate = 64000, burst = 2 * 1514, limit = 12 * 1514 },
      shape.request({ rate = 64000 }, 3).data)
    assert.same({ rate = 64000, burst = 2 * 9014, limit = 12 * 9014 },
      shape.request({ rate = 64000, mtu = 9000 }, 3).data)
    assert.same({ dev = 3, kind = "netem", data = { delay = 20000, limit = 1000 + 20000 } },
      shape.request({ delay = 0.02 }, 3))
    -- what is on its way for 100 ms at 12.112 Mbit/s: 100 packets
    assert.same({ rate = 12112000, delay = 100000, loss = 0.01, limit = 1100 },
      shape.request({ rate = 12112000, delay = 0.1, loss = 1 }, 3).data)
  end)

  it("limits the rate of what a device sends", function()
    needs "netns"
    needs "macvlan"
    with(function(s)
      s:macvlan { "m0", link = "v0", rate = "10mbit" }
      local q = root "m0"
      assert.same({ "tbf", 1250000, "12500" },
        { q.kind, q.options.rate, tostring(q.options.burst):match "^%d+" })
      local link = s:add { "i0", type = "ifb" }
      link:set { rate = "1mbit" }:set { rate = "2mbit" }
      assert.equal(250000, root("i0").options.rate)
    end)
  end)

  it("of a cable is that of both ends, and of a card on a bridge both ways", function()
    needs "netns"
    with(function(s)
      s:veth { { "a" }, { "b", rate = "2mbit" }, rate = "1mbit" }
      assert.same({ 125000, 250000 }, { root("a").options.rate, root("b").options.rate })
      local br = s:bridge { "br0", addr = "10.0.3.1/24" }
      local there <close> = netns.new()
      s:veth { { "c", rate = "1mbit" }, { "d" } }
      assert.same({ "tbf", "noqueue" }, { root("c").kind, root("d").kind })
      local card = br:attach(there, { rate = "8mbit", peer = "p0" })
      assert.equal(1000000, root("p0").options.rate)
      local inner <close> = assert(sys.netlink.open(there))
      local found
      for _, q in ipairs(inner:qdisc_list { dev = card.index }) do
        found = q.parent == "root" and q
      end
      assert.same({ "tbf", 8000000 }, { found.kind, found.data.rate })
    end)
  end)

  it("gives a borrowed device back what it had", function()
    needs "netns"
    with(function(s, nl)
      local before = root "v0"
      local v = s:link "v0"
      v:set { rate = "1mbit" }:set { rate = "2mbit" }
      assert.same({ "tbf", 250000 }, { root("v0").kind, root("v0").options.rate })
      s:close()
      assert.same(before, root "v0")
      -- not one that somebody else put there since, nor before
      local t = nsbox.scope()
      t:link("v0"):set { rate = "1mbit" }
      assert(nl:qdisc_replace { dev = "v0", kind = "pfifo", handle = "9:", data = { limit = 7 } })
      t:close()
      assert.same({ "pfifo", "9:" }, { root("v0").kind, root("v0").handle })
      local u <close> = nsbox.scope()
      failure(function() u:link("v0"):set { rate = "1mbit" } end, "EEXIST")
    end)
  end)

  it("delays and loses with netem #uml", function()
    needs "netns"
    needs "netem"
    with(function(s)
      local v = s:link("v0"):set { delay = "20ms", loss = "1%", rate = "10mbit" }
      local q = root "v0"
      assert.equal("netem", q.kind)
      assert.same({ 0.02, 0.01, 1250000 }, { q.options.delay.delay,
        q.options["loss-random"].loss, q.options.rate.rate })
      v:set { loss = "100%" }
      assert.is_nil(root("v0").options.delay)
      v:set { rate = "1mbit" }
      assert.equal("tbf", root("v0").kind)
      s:close()
      assert.equal("noqueue", root("v0").kind)
    end)
  end)

  it("that the kernel lacks is an error, and leaves nothing", function()
    needs "netns"
    needs "macvlan"
    with(function(s)
      local request = shape.request
      function shape.request(_, index) return { dev = index, kind = "nosuch" } end
      local ok, err = pcall(s.macvlan, s, { "m0", link = "v0", delay = "20ms" })
      shape.request = request
      assert.same({ false, "ENOENT", "nosuch on m0" }, { ok, err.code, err.subject })
      assert.matches("qdisc_replace nosuch on m0: Specified qdisc kind is unknown", tostring(err))
      assert.equal(3, #netns.ip "link show")
      assert.equal("scope (here): empty", tostring(s))
    end)
  end)
end)

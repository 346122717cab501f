local nsbox = require "nsbox"
local blame = require "blame"
local netns = require "netns"

local misuse, failure = blame.misuse, blame.failure

-- what ip(8) says of it, in the words of the options
local function state(name)
  local link = netns.ip("link show " .. name)[1]
  local data = link.linkinfo.info_data
  return { index = link.ifindex, stp = data.stp_state ~= 0, forward_delay = data.forward_delay,
    hello_time = data.hello_time, ageing_time = data.ageing_time, priority = data.priority,
    mcast_snooping = data.mcast_snooping ~= 0, mtu = link.mtu, mac = link.address }
end

describe("scope:bridge", function()
  needs "netns"
  needs "bridge"

  it("takes the options of ip", function()
    netns(function()
      local s <close> = nsbox.scope()
      local want = { stp = true, forward_delay = 400, hello_time = 300, ageing_time = 1000,
        priority = 4096, mcast_snooping = false, mtu = 1400, mac = "02:00:00:00:00:0b" }
      local o = { "a23456789012345", addr = { "10.0.3.1/24", "fd00:3::1/64" }, up = false }
      for key, value in next, want do o[key] = value end
      local br = s:bridge(o)
      want.index = br.index
      assert.same(want, state "a23456789012345")
      assert.same({ "bridge", "10.0.3.1", "10.0.3.0/24", want.mac },
        { br.kind, br.ip, br.subnet, br.mac })
      assert.is_false(br:get().up)
    end)
  end)

  it("is the same one, with the same settings, for the next run of a named scope #root", function()
    netns(function()
      local function run()
        local s <close> = nsbox.scope { "shop" }
        local br = s:bridge { "br0", addr = "10.0.3.1/24", stp = false, forward_delay = 300,
          ageing_time = 500, mtu = 1400 }
        s:commit()
        return state "br0", br.fresh
      end
      local first, fresh = run()
      assert.same({ true, false, 300, 500, 1400 }, { fresh, first.stp, first.forward_delay,
        first.ageing_time, first.mtu })
      local second
      second, fresh = run()
      assert.is_false(fresh)
      assert.same(first, second)
      nsbox.scope.remove "shop"
      assert.equal(1, #netns.ip "link show")
    end)
  end)

  it("touches nothing else that has its name", function()
    netns(function()
      sh "ip link add br0 type ifb; ip link set br0 mtu 1400"
      local before = netns.ip "link show"
      local s <close> = nsbox.scope()
      local err = failure(function() s:bridge { "br0", addr = "10.0.3.1/24", mtu = 1300 } end,
        "EEXIST")
      assert.equal("br0 is a device already, an ifb: scope:link \"br0\" borrows it", err.hint)
      assert.same(before, netns.ip "link show")
      assert.equal("scope (here): empty", tostring(s))
    end)
  end)

  it("leaves nothing when it fails after it was made", function()
    netns(function()
      local s <close> = nsbox.scope()
      local err = failure(function()
        s:bridge { "br0", addr = { "10.0.3.1/24", "10.0.3.1/24" } }
      end, "EEXIST")
      assert.equal("10.0.3.1/24 on br0", err.subject)
      err = failure(function() s:bridge { "br0", gateway = "10.9.9.9" } end, "ENETUNREACH")
      assert.equal("Nexthop has invalid gateway", err.detail)
      failure(function() s:bridge { "br0", mtu = 65536 } end, "EINVAL")
      assert.equal(1, #netns.ip "link show")
      misuse(function() s:bridge { "a/b" } end, "is no device name")
      misuse(function() s:bridge { "a234567890123456" } end, "has 16 characters")
      misuse(function() s:bridge { "br0", stp = "yes" } end, "stp: expected")
      misuse(function() s:bridge { "br0", forward_dealy = 3 } end, "did you mean 'forward_delay'?")
      assert.equal("scope (here): empty", tostring(s))
    end)
  end)
end)

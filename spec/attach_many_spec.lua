local nsbox = require "nsbox"
local netns = require "netns"

local MANY <const> = 70 -- more than what a bridge bears without help

local function received(card)
  return netns.ip("-s link show " .. card.peer)[1].stats64.tx.packets
end

local function pings(place, ip)
  return place:exec({ "ping", "-c1", "-W30", ip }).status == 0
end

describe("many cards on a bridge", function()
  needs "netns"

  it("find each other without asking all", function()
    netns(function()
      local s <close> = nsbox.scope()
      local br = s:bridge { "br0", addr = "10.0.0.1/16" }
      local places, cards = {}, {}
      for i = 1, MANY do places[i] = require("nsbox.ns").make { net = netns.new() } end
      s:batch(function()
        for i = 1, MANY do cards[i] = br:attach(places[i]) end
      end)
      local bystander = cards[MANY]
      local before = received(bystander)
      local asked = 0
      for i = 1, 20 do
        -- the bridge, a neighbour, and the first try of each must do
        assert.is_true(pings(places[i], "10.0.0.1"))
        assert.is_true(pings(places[i], cards[i + 20].ip))
        asked = asked + 2
      end
      -- the bridge greets in IPv6 now and then; each of the others would have been heard
      assert(received(bystander) - before < asked / 2, "all were asked")
      assert.is_nil(places[1]:exec({ "ip", "-o", "addr", "show", "eth0" }).stdout
        :find("fe80", 1, true))
      s:close()
      for _, place in ipairs(places) do place:close() end
    end)
  end)

  it("are forgotten one by one, and speak IPv6 when they are told to", function()
    netns(function()
      local s <close> = nsbox.scope()
      local br = s:bridge { "br0", addr = { "10.0.0.1/16", "fd00::1/64" } }
      local place, cards = require("nsbox.ns").make { net = netns.new() }, {}
      s:batch(function()
        for i = 1, MANY do
          cards[i] = br:attach(place, { "c" .. i, gateway = false,
            addr = ("10.0.1.%d/16"):format(i) })
        end
        cards.six = br:attach(place, { "six", addr = { "10.0.9.9/16", "fd00::9/64" } })
      end)
      local function known()
        local found = {}
        for _, n in ipairs(netns.ip "neigh show dev br0 nud permanent") do
          found[n.dst] = n.lladdr
        end
        return found
      end
      local six, first = cards.six.mac, cards[1]
      assert.same({ six, six, first.mac },
        { known()["10.0.9.9"], known()["fd00::9"], known()[first.ip] })
      assert.truthy(place:exec({ "ip", "-o", "addr", "show", "six" }).stdout:find("fe80", 1, true))
      -- another one has the address of the first by now
      sh(("ip neigh replace %s lladdr 02:00:00:00:00:07 dev br0 nud permanent"):format(first.ip))
      cards.six:close()
      first:close()
      assert.same({ nil, nil, "02:00:00:00:00:07" },
        { known()["10.0.9.9"], known()["fd00::9"], known()[first.ip] })
      assert.truthy(known()[cards[2].ip])
      s:close()
      place:close()
    end)
  end)
end)

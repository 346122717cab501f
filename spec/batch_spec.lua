local nsbox = require "nsbox"
local blame = require "blame"
local netns = require "netns"

local misuse, failure = blame.misuse, blame.failure

local function ports() return #netns.ip "link show type veth" end

describe("scope:batch", function()
  needs "netns"

  it("makes everything when the function ends", function()
    netns(function()
      local s <close> = nsbox.scope()
      local places = {}
      for i = 1, 10 do places[i] = nsbox.ns.new { "net" } end
      local br, cards, cable = nil, {}, nil
      local x, y = s:batch(function()
        br = s:bridge { "br0", addr = "10.0.3.1/24" }
        for i, place in ipairs(places) do cards[i] = br:attach(place) end
        cards.second = br:attach(places[1])
        cable = s:veth { { "a", addr = "10.7.0.1/24" }, { "b", netns = places[3] } }
        br:attach(places[4]):close()
        assert.equal(0, ports())
        return 1, nil
      end)
      assert.same({ 1 }, { x, y })
      assert.equal(12, ports())
      for i, place in ipairs(places) do
        assert.same({ "eth0", "10.0.3." .. 1 + i }, { cards[i].name, cards[i].ip })
        assert.equal(0, place:exec({ "ip", "route", "get", "1.1.1.1" }).status)
      end
      assert.same({ "eth1", "10.0.3.12", "b" },
        { cards.second.name, cards.second.ip, cable[2].name })
      -- what comes after it is made at once
      assert.equal("eth1", br:attach(places[2]).name)
      s:close()
      assert.equal(0, ports())
      for _, place in ipairs(places) do place:close() end
    end)
  end)

  it("is all or nothing #root", function()
    netns(function()
      local s <close> = nsbox.scope()
      local br = s:bridge { "br0", addr = "10.0.3.1/24" }
      local kept = br:attach(s:netns "kept")
      local err = failure(function()
        s:batch(function()
          s:bridge "br1"
          for i = 1, 4 do br:attach(s:netns("n" .. i)) end
          br:attach("n2", "eth0")
          br:attach("n3", { "eth1", gateway = "10.9.9.9" })
        end)
      end)
      assert.same({ "batch", 2, "EEXIST", "ENETUNREACH", "n2", "n3" }, { err.op, #err.failures,
        err.failures[1].code, err.failures[2].code, err.failures[1].netns:match "%S+$",
        err.failures[2].netns:match "%S+$" })
      assert.truthy(tostring(err):find("batch: 2 of 6 failed, and all of it was undone", 1, true))
      assert.is_nil(tostring(err):find("(EEXIST) (EEXIST)", 1, true))
      assert.is_nil(err.undo)
      assert.equal("kept", table.concat(entries "/run/netns", " "))
      assert.same({ 1, 1 }, { ports(), #netns.ip "link show type bridge" })
      assert.equal("eth0", kept:get().name)
      assert.equal("scope (here): 2 links, 1 netns", tostring(s))
      -- an error of the function's own
      local ok, why = pcall(s.batch, s, function()
        br:attach(s:netns "n1")
        error("mine", 0)
      end)
      assert.same({ false, "mine" }, { ok, why })
      assert.equal("kept", table.concat(entries "/run/netns", " "))
      -- and after all that it works
      local card
      s:batch(function() card = br:attach(s:netns "n1") end)
      assert.truthy(card.ip)
      s:close()
      sh "umount /run/netns; rmdir /run/netns"
    end)
  end)

  it("takes boxes with their networks", function()
    needs "procmount"
    needs "maps"
    netns(function()
      local s <close> = nsbox.scope()
      local boxes = {}
      s:batch(function()
        local br = s:bridge { "br0", addr = "10.0.3.1/24" }
        for i = 1, 3 do boxes[i] = s:box { name = "b" .. i, net = br } end
        local late = s:box { "true", net = br }
        misuse(function() late:start() end, "start: its network is made when the batch ends")
        late:close()
      end)
      for i, box in ipairs(boxes) do
        assert.equal("10.0.3." .. 1 + i, box.links[1].ip)
        assert.equal(0, box:exec({ "ip", "route", "get", "1.1.1.1" }).status)
      end
      s:close()
      assert.equal(0, ports())
    end)
  end)

  it("makes nothing for a scope that was closed in it", function()
    netns(function()
      sh "ip link add docker0 type bridge"
      local place <close> = nsbox.ns.new { "net" }
      local s = nsbox.scope()
      local br = s:link "docker0"
      local function f()
        br:attach(place)
        s:close()
      end
      misuse(function() s:batch(f) end, "batch: the scope was closed before its end")
      assert.equal(0, ports())
    end)
  end)

  it("says that a link was never made", function()
    netns(function()
      local s <close> = nsbox.scope()
      local place <close> = nsbox.ns.new { "net" }
      local br, card = s:bridge { "br0", addr = false }, nil
      failure(function() s:batch(function()
        br:attach(place, { "lan" })
        card = br:attach(place, { "lan" })
      end) end, "EEXIST")
      assert.equal("lan was never made, as its batch failed", tostring(card))
      misuse(function() card:get() end, "get: the link was never made, as its batch failed")
      card:close()
      assert.equal(0, ports())
    end)
  end)

  it("lets nothing be kept that is not made yet", function()
    netns(function()
      local s <close> = nsbox.scope()
      local place <close> = nsbox.ns.new { "net" }
      s:batch(function()
        local card = s:bridge { "br0", addr = false }:attach(place)
        local cable = s:veth { "a", "b" }
        misuse(function() card:set { mtu = 1400 } end, "set: the link is made when the batch ends")
        misuse(function() card:get() end, "get: the link is made when the batch ends")
        assert.equal("a link is made when the batch ends", tostring(card))
        assert.equal("a link is made when the batch ends -- a link is made when the batch ends",
          tostring(cable))
        misuse(function() card:release() end, "release: the link is made when the batch ends")
        misuse(function() cable:release() end, "release: the cable is made when the batch ends")
        misuse(function() s:release() end, "release: a batch of this scope has not ended")
        misuse(function() s:commit() end, "commit: a batch of this scope has not ended")
      end)
      assert.equal(3, ports()) -- and the other end of the cable
    end)
  end)

  it("takes off what waits in it", function()
    netns(function()
      local s <close> = nsbox.scope()
      local blue <close> = nsbox.ns.new { "net" }
      local red <close> = nsbox.ns.new { "net" }
      local br, card = s:bridge { "br0", addr = "10.0.3.1/24" }, nil
      local other = s:bridge { "br1", addr = "10.0.4.1/24" }
      s:batch(function()
        br:attach(blue)
        br:attach(red, "a")
        card = br:attach(red, "b")
        failure(function() other:detach(red, "a") end, "ENODEV")
        failure(function() br:detach(red) end, "EINVAL")
        failure(function() br:detach(red, "c") end, "ENODEV")
        assert.equal(br, br:detach(blue))
        failure(function() br:detach(blue) end, "ENODEV")
        br:detach(red, "a")
      end)
      assert.same({ 1, "b" }, { ports(), card.name })
      br:detach(red)
      assert.equal(0, ports())
    end)
  end)

  it("takes back what it changed of a link that is borrowed", function()
    netns(function()
      sh "ip link add docker0 type bridge; ip addr add 10.0.3.1/24 dev docker0"
      local s <close> = nsbox.scope()
      local place <close> = nsbox.ns.new { "net" }
      local br = s:link "docker0"
      local function state()
        local link = netns.ip "addr show dev docker0"[1]
        return { link.mtu, #link.addr_info }
      end
      failure(function()
        s:batch(function()
          br:set { mtu = 1400 }:addr "10.0.4.1/24"
          assert.same({ 1400, 2 }, state())
          br:attach(place, { "a", addr = "10.0.3.1/24" })
        end)
      end, "EADDRINUSE")
      assert.same({ 1500, 1 }, state())
      assert.equal("scope (here): 1 borrowed link", tostring(s))
      -- what another coroutine changes meanwhile would be undone with it
      local co = coroutine.create(function() s:batch(coroutine.yield) end)
      assert(coroutine.resume(co))
      local waits = ": a batch of this scope waits in another coroutine"
      misuse(function() br:set { mtu = 1400 } end, "set" .. waits)
      misuse(function() br:up() end, "up" .. waits)
      misuse(function() br:down() end, "down" .. waits)
      misuse(function() br:addr "10.0.4.1/24" end, "addr" .. waits)
      misuse(function() br:deladdr "10.0.3.1/24" end, "deladdr" .. waits)
      misuse(function() br:route "10.9.0.0/16" end, "route" .. waits)
      misuse(function() br:delroute "10.9.0.0/16" end, "delroute" .. waits)
      assert(coroutine.resume(co))
      s:batch(function() br:set { mtu = 1400 }:addr "10.0.4.1/24" end)
      assert.same({ 1400, 2 }, state())
      s:close()
      assert.same({ 1500, 1 }, state())
    end)
  end)

  it("has the scope for itself while its coroutine waits, and ends with that", function()
    netns(function()
      local s <close> = nsbox.scope()
      local place <close> = nsbox.ns.new { "net" }
      local br = s:bridge { "br0", addr = false }
      local co = coroutine.create(function()
        s:batch(function()
          br:attach(place)
          s:bridge "br1"
          coroutine.yield()
        end)
      end)
      assert(coroutine.resume(co))
      local waits = "a batch of this scope waits in another coroutine"
      misuse(function() br:attach(place) end, "attach: " .. waits)
      misuse(function() s:bridge "br2" end, "bridge: " .. waits)
      assert(coroutine.close(co))
      assert.same({ 0, 1 }, { ports(), #netns.ip "link show type bridge" })
      -- coroutines in it are a part of it
      local cards = {}
      s:batch(function()
        cards[1] = br:attach(place)
        coroutine.wrap(function() cards[2] = br:attach(place) end)()
      end)
      assert.same({ "eth0", "eth1" }, { cards[1].name, cards[2].name })
    end)
  end)

  it("says what is wrong at the caller's line", function()
    local s <close> = nsbox.scope()
    misuse(function() s:batch() end, "batch: expected a function, got nothing")
    local message
    s:batch(function()
      message = select(2, pcall(s.batch, s, function() end))
    end)
    assert.truthy(message:find("batch: this is in a batch already", 1, true))
    s:batch(function() end)
  end)
end)

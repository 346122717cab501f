local nsbox = require "nsbox"
local netns = require "netns"
local blame = require "blame"
local misuse, failure = blame.misuse, blame.failure

require "nsbox.netmonitor" -- before children that may not find it

-- the same list by another way: what ip says, sorted
local function sorted(list)
  table.sort(list)
  return table.concat(list, "\n")
end

local function plan()
  sh [[ip link set lo up
    ip link add br0 type bridge; ip link add v0 type veth peer name v1
    ip link set v0 master br0; ip addr add 10.0.0.1/24 dev br0; ip addr add fd00::1/64 dev br0 nodad
    ip link set br0 up; ip link set v0 up; ip link set v1 up
    ip route add 10.5.0.0/16 via 10.0.0.7 metric 9; ip route add default via 10.0.0.9 metric 20]]
end

describe("nsbox.net", function()
  needs "netns"

  it("takes a scope for where that works", function()
    netns(function()
      local s, island <close> = nsbox.scope(), nsbox.scope { private = true }
      s:bridge { "br0", addr = false }
      local br = island:bridge { "lan", addr = "10.0.3.1/24" }
      local function names(place)
        local list = {}
        for i, link in ipairs(nsbox.net.links(place)) do list[i] = link.name end
        return table.concat(list, " ")
      end
      assert.same({ "lo br0", "lo lan" }, { names(s), names(island) })
      assert.equal("lo\nlan\n", (island.ns:exec { "sh", "-c",
        "ip -o link | sed 's/^[0-9]*: //; s/[:@].*//'" }.stdout))
      assert.equal(nsbox.ns.of(island, "net").inode, island.ns.net.inode)
      local card = br:attach(island, { "own" })
      assert.equal("own", card.name)
      assert.matches("own@%S+ in private island of uid %d+: 10.0.3.2/24, up", tostring(card))
      local _, b = table.unpack(s:veth { { "v0" }, { "v1", netns = island } })
      assert.matches(" v1", names(island))
      assert.equal("v1", b:get().name)
      local monitor <close> = nsbox.net.monitor { "link", netns = island }
      b:down()
      local event = monitor:next { timeout = 10 }
      assert.same({ "link", "v1" }, { event.what, event.name })
      s:close()
      misuse(function() nsbox.net.links(s) end, "net.links: the scope is closed")
    end)
  end)

  it("lists what ip lists, in its words", function()
    netns(function()
      plan()
      local got, want = {}, {}
      for _, link in ipairs(nsbox.net.links()) do
        table.sort(link.addrs)
        got[#got + 1] = table.concat({ link.index, link.name, tostring(link.kind), link.mac,
          link.mtu, tostring(link.up), link.state, tostring(link.master), tostring(link.peer),
          table.concat(link.addrs, " ") }, " ")
      end
      for _, link in ipairs(netns.ip "addr show") do
        local flags, addrs = " " .. table.concat(link.flags, " ") .. " ", {}
        for i, a in ipairs(link.addr_info) do addrs[i] = a["local"] .. "/" .. a.prefixlen end
        table.sort(addrs)
        want[#want + 1] = table.concat({ link.ifindex, link.ifname,
          tostring(link.linkinfo and link.linkinfo.info_kind), link.address, link.mtu,
          tostring(flags:find " UP " ~= nil), link.operstate:lower(), tostring(link.master),
          tostring(link.link), table.concat(addrs, " ") }, " ")
      end
      assert.equal(sorted(want), sorted(got))
      got, want = {}, {}
      for _, a in ipairs(nsbox.net.addrs()) do
        got[#got + 1] = ("%s %s %s %s"):format(a.addr, a.dev, a.family, a.scope)
      end
      for _, link in ipairs(netns.ip "addr show") do
        for _, a in ipairs(link.addr_info) do
          want[#want + 1] = ("%s/%d %s %s %s"):format(a["local"], a.prefixlen, link.ifname,
            a.family, a.scope)
        end
      end
      assert.equal(sorted(want), sorted(got))
      got, want = {}, {}
      for _, r in ipairs(nsbox.net.routes()) do
        if r.family == "inet" then
          got[#got + 1] = ("%s %s %s %s %s"):format(r.dst, r.via, r.dev, r.src, r.metric)
        end
      end
      for _, r in ipairs(netns.ip "-4 route") do
        want[#want + 1] = ("%s %s %s %s %s"):format(r.dst, r.gateway, r.dev, r.prefsrc, r.metric)
      end
      assert.equal(sorted(want), sorted(got))
    end)
  end)

  it("names what is here, and nothing that is elsewhere", function()
    netns(function()
      plan()
      local ns <close> = netns.new()
      local nl <close> = nsbox.sys.netlink.open()
      assert(nl:link_add { "out", kind = "veth", peer = { "in", netns = ns } })
      for _, link in ipairs(nsbox.net.links()) do
        if link.name == "out" then assert.is_true(math.type(link.peer) == "integer") end
      end
      local names = {}
      for _, link in ipairs(nsbox.net.links(ns)) do names[#names + 1] = link.name end
      assert.equal("in\nlo", sorted(names))
      assert.same({}, nsbox.net.routes(ns))
    end)
  end)

  it("finds the device of the default route", function()
    netns(function()
      local ns <close> = netns.new()
      assert.is_nil(nsbox.net.uplink(ns))
      plan()
      assert.equal("br0", nsbox.net.uplink())
      sh [[ip addr add 10.9.0.1/24 dev v1; ip route add default via 10.9.0.2 metric 10]]
      assert.equal("v1", nsbox.net.uplink())
      sh "ip route del default via 10.9.0.2; ip route del default"
      assert.is_nil(nsbox.net.uplink())
      sh "ip -6 route add default via fd00::9 dev br0"
      assert.equal("br0", nsbox.net.uplink())
      sh "ip route add default nexthop via 10.9.0.2 dev v1 nexthop via 10.0.0.3 dev br0"
      assert.equal("v1", nsbox.net.uplink())
    end)
  end)

  it("says what is wrong at the caller's line", function()
    misuse(function() nsbox.net.links(0) end, "net.links: expected a pid, got 0")
    misuse(function() nsbox.net.addrs(true) end, "net.addrs: expected a pid, a path")
    misuse(function() nsbox.net.routes "" end, "net.routes: expected a path or a name")
    misuse(function() nsbox.net.uplink {} end, "net.uplink: ")
    misuse(function() nsbox.net.monitor {} end, "net.monitor: what?")
    misuse(function() nsbox.net.monitor { "lnk" } end, "net.monitor: argument 1: ")
    failure(function() nsbox.net.links "no-such-name" end, "ENOENT")
    failure(function() nsbox.net.links(2147483647) end, "ESRCH")
  end)
end)

describe("nsbox.net.monitor", function()
  needs "netns"

  local function all(m)
    local out = {}
    for event in function() return (m:next { timeout = 0 }) end do
      out[#out + 1] = ("%s %s %s"):format(event.what, event.action, event.name
        or (event.addr or event.dst) .. " " .. tostring(event.dev))
    end
    return out
  end

  local function has(list, wanted)
    for _, line in ipairs(list) do if line == wanted then return true end end
    error(("no '%s' in:\n%s"):format(wanted, table.concat(list, "\n")), 2)
  end

  it("tells what changes, by name", function()
    netns(function()
      local m <close> = nsbox.net.monitor { "link", "addr", "route" }
      assert.equal("monitor of link, addr, route", tostring(m))
      assert.same({ n = 2, nil, "timeout" }, table.pack(m:next { timeout = 0 }))
      plan()
      local seen = all(m)
      has(seen, "link new br0")
      has(seen, "addr new 10.0.0.1/24 br0")
      has(seen, "addr new fd00::1/64 br0")
      has(seen, "route new 10.5.0.0/16 br0")
      has(seen, "route new default br0")
      for _, line in ipairs(seen) do assert(not line:find "^route new 127", line) end
      sh "ip link del br0"
      seen = all(m)
      has(seen, "link del br0")
      has(seen, "addr del 10.0.0.1/24 br0")
      m:close()
      assert.same({ n = 2, nil, "closed" }, table.pack(m:next()))
      assert.equal("monitor of link, addr, route (closed)", tostring(m))
    end)
  end)

  it("watches another namespace, and only what it is told to", function()
    netns(function()
      local ns <close> = netns.new()
      local nl <close> = nsbox.sys.netlink.open(ns)
      local m <close> = nsbox.net.monitor { "addr", netns = ns }
      assert(nl:link_add { "br0", kind = "bridge", up = true })
      assert(nl:addr_add { "10.0.0.1/24", dev = "br0" })
      sh "ip link add br9 type bridge"
      assert.same({ "addr new 10.0.0.1/24 br0" }, all(m))
    end)
  end)

  it("waits in an event loop", function()
    netns(function()
      local m <close> = nsbox.net.monitor { "link" }
      local slept = 0
      nsbox.loop(function(fds, timeout)
        slept = slept + 1
        return coroutine.yield(fds, timeout)
      end)
      finally(function() nsbox.loop(nil) end)
      local got
      local co = coroutine.wrap(function() got = m:next() end)
      local fds = co()
      assert.equal("r", select(2, next(fds)))
      sh "ip link add br0 type bridge"
      co(fds)
      assert.same({ "br0", "new", 1 }, { got.name, got.action, slept })
    end)
  end)

  -- what a follower knows after all events must be what there is
  it("makes good what the kernel dropped", function()
    netns(function()
      local nl <close> = nsbox.sys.netlink.open()
      assert(nl:link_add { "gone", kind = "bridge" })
      assert(nl:link_add { "stays", kind = "bridge" })
      local m <close> = nsbox.net.monitor { "link", "addr" }
      local b = nl:batch()
      for i = 1, 4000 do b:link_set { "stays", mtu = 1000 + i % 2 } end
      b:link_del { "gone" }
      b:link_add { "late", kind = "bridge" }
      b:addr_add { "10.0.0.1/24", dev = "stays" }
      b:link_set { "stays", mtu = 1234 }
      assert.equal(0, (select(2, b:send())))
      local links, addrs, events = { lo = true, gone = true, stays = true }, {}, 0
      for event in function() return (m:next { timeout = 0 }) end do
        events = events + 1
        if event.what == "link" then
          links[event.name] = event.action == "new" and event.mtu or nil
        else
          addrs[#addrs + 1] = event.action .. " " .. event.addr .. " " .. event.dev
        end
      end
      assert(events < 4000, "nothing was dropped")
      assert.same({ nil, 1234, 1500 }, { links.gone, links.stays, links.late })
      assert.same({ "new 10.0.0.1/24 stays" }, addrs)
      assert(nl:link_del { "late" })
      assert.equal("late", m:next { timeout = 10 }.name)
    end)
  end)

  it("tells of a device that it was made before it tells that it went", function()
    netns(function()
      local nl <close> = nsbox.sys.netlink.open()
      local m <close> = nsbox.net.monitor { "link" }
      local b = nl:batch()
      b:link_add { "brief", kind = "bridge" }
      b:link_add { "stays", kind = "bridge" }
      for i = 1, 4000 do b:link_set { "stays", mtu = 1000 + i % 2 } end
      b:link_del { "brief" }
      assert.equal(0, (select(2, b:send())))
      local told, kept = {}, {}
      for event in function() return (m:next { timeout = 0 }) end do
        kept[#kept + 1] = { event, event.action }
        if event.name == "brief" then told[#told + 1] = event.action end
        event.name, event.mtu = nil, nil -- it is the reader's own
      end
      assert(#kept < 4000, "nothing was dropped")
      assert.equal("new del", table.concat(told, " "))
      for _, it in ipairs(kept) do assert.equal(it[2], it[1].action) end
      assert(nl:link_set { "stays", mtu = 1001 })
      assert.equal(1001, m:next { timeout = 10 }.mtu)
    end)
  end)
end)

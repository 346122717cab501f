local nsbox = require "nsbox"
local blame = require "blame"
local netns = require "netns"

local misuse, failure = blame.misuse, blame.failure

-- what ip(8) says in there
local function ip_in(ns, words)
  local dkjson = require "dkjson"
  local out = ns:exec({ "ip", "-j", "-d", table.unpack(words) }).stdout
  return dkjson.decode(out == "" and "[]" or out)
end

local function words(text)
  local list = {}
  for word in text:gmatch "%S+" do list[#list + 1] = word end
  return list
end

local function addrs(ns, name)
  local list = {}
  for _, link in ipairs(ip_in(ns, words("addr show dev " .. name))) do
    for _, a in ipairs(link.addr_info or {}) do
      if a.scope ~= "link" then list[#list + 1] = ("%s/%d"):format(a["local"], a.prefixlen) end
    end
  end
  return table.concat(list, " ")
end

local function routes(ns)
  local list = {}
  for _, r in ipairs(ip_in(ns, words "route")) do
    list[#list + 1] = (r.type ~= "unicast" and r.type .. " " or "") .. r.dst
      .. (r.gateway and " via " .. r.gateway or "") .. " dev " .. (r.dev or "none")
      .. (r.metric and " metric " .. r.metric or "")
  end
  table.sort(list)
  return list
end

local function ports() return netns.ip "link show type veth" end

-- f(scope, bridge, ns) where br0 is 10.0.3.1/24 and ns is somebody's network
local function with(f, bridge)
  netns(function()
    local s <close> = nsbox.scope()
    local ns = nsbox.ns.new { "net" }
    local br = s:bridge(bridge or { "br0", addr = "10.0.3.1/24" })
    f(s, br, ns)
    s:close()
    assert(#ports() == 0, "something is left on the host's side")
    assert(#ip_in(ns, words "link show type veth") == 0, "something is left inside")
    ns:close()
  end)
end

describe("bridge:attach", function()
  needs "netns"

  it("puts a card there, with an address, up, and a way out", function()
    with(function(_, br, ns)
      local card = br:attach(ns)
      assert.same({ "eth0", "veth", "10.0.3.2", "br0", "10.0.3.0/24", true },
        { card.name, card.kind, card.ip, card.master, card.subnet, card.fresh })
      local port, inside = ports()[1], ip_in(ns, words "link show dev eth0")[1]
      assert.same({ card.peer, "br0", "UP" }, { port.ifname, port.master, port.operstate })
      assert.same({ card.mac, card.index, "UP" },
        { inside.address, inside.ifindex, inside.operstate })
      assert.equal("10.0.3.2/24", addrs(ns, "eth0"))
      assert.same({ "10.0.3.0/24 dev eth0", "default via 10.0.3.1 dev eth0" }, routes(ns))
      assert.equal(0, ns:exec({ "ping", "-c1", "-W5", "10.0.3.1" }).status)
      assert.equal("eth0", card:get().name)
    end)
  end)

  it("takes every option of an interface", function()
    with(function(_, br, ns)
      local card = br:attach(ns, { "lan", addr = { "10.0.3.77/24", "fd00:3::77/64" },
        mac = "02:00:00:00:00:77", mtu = 1400, txqueuelen = 77, alias = "the lan", peer = "p0",
        isolated = true, hairpin = true, routes = {
          { "10.5.0.0/16", via = "10.0.3.5", metric = 7 }, { "10.6.0.0/16", type = "blackhole" },
        } })
      assert.same({ "lan", "10.0.3.77", "p0" }, { card.name, card.ip, card.peer })
      local inside, port = ip_in(ns, words "link show dev lan")[1], ports()[1]
      assert.same({ "02:00:00:00:00:77", 1400, 77, "the lan" },
        { inside.address, inside.mtu, inside.txqlen, inside.ifalias })
      assert.same({ "p0", 1400 }, { port.ifname, port.mtu })
      local flags = netns.bridge "link show dev p0"[1]
      assert.same({ true, true }, { flags.isolated, flags.hairpin })
      assert.equal("10.0.3.77/24 fd00:3::77/64", addrs(ns, "lan"))
      assert.same({ "10.0.3.0/24 dev lan", "10.5.0.0/16 via 10.0.3.5 dev lan metric 7",
        "blackhole 10.6.0.0/16 dev none", "default via 10.0.3.1 dev lan" }, routes(ns))
    end)
  end)

  it("speaks IPv6 as well", function()
    with(function(_, br, ns)
      local a, b = br:attach(ns, { addr = { "fd00::5/64", "10.0.3.5/24" } }),
        br:attach(ns, { addr = "fd00::6/64" })
      assert.same({ "fd00::5", "fd00::6", "eth1" }, { a.ip, b.ip, b.name })
      assert.equal(1, #ip_in(ns, words "-6 route show default"))
      assert.equal(0, ns:exec({ "ping", "-c1", "-W5", "fd00::1" }).status)
    end, { "br0", addr = { "10.0.3.1/24", "fd00::1/64" } })
    with(function(_, br, ns)
      assert.equal("fd00::2", br:attach(ns).ip)
    end, { "br0", addr = "fd00::1/64" })
  end)

  it("does not steal a default route that is there", function()
    with(function(s, br, ns)
      local other = s:bridge { "br1", addr = "10.0.4.1/24" }
      br:attach(ns)
      local second = other:attach(ns)
      assert.same({ "eth1", "10.0.4.2" }, { second.name, second.ip })
      assert.same({ "10.0.3.0/24 dev eth0", "10.0.4.0/24 dev eth1",
        "default via 10.0.3.1 dev eth0" }, routes(ns))
    end)
    with(function(_, br, ns)
      br:attach(ns, { gateway = false })
      assert.same({ "10.0.3.0/24 dev eth0" }, routes(ns))
      br:attach(ns, { gateway = "10.0.3.9" })
      assert.same({ "10.0.3.0/24 dev eth0", "10.0.3.0/24 dev eth1",
        "default via 10.0.3.9 dev eth1" }, routes(ns))
    end)
  end)

  it("adds no way out where the bridge itself is", function()
    with(function(_, br)
      br:attach("/proc/self/ns/net", { "here" })
      assert.same({}, netns.ip "route show default")
      assert.same({ "10.0.3.2" }, { netns.ip "addr show dev here"[1].addr_info[1]["local"] })
    end)
  end)

  it("has the MTU that its bridge has now", function()
    with(function(s, br, ns)
      local function mtus(name)
        local card = br:attach(ns, name)
        return { ip_in(ns, words("link show dev " .. name))[1].mtu,
          netns.ip("link show dev " .. card.peer)[1].mtu, netns.ip "link show dev br0"[1].mtu }
      end
      assert.same({ 9000, 9000, 9000 }, mtus "a")
      br:set { mtu = 1400 }
      assert.same({ 1400, 1400, 1400 }, mtus "b")
      sh "ip link add docker0 mtu 1450 type bridge"
      br = s:link "docker0"
      local borrowed = br:attach(ns, "c")
      assert.same({ 1450, 1450 }, { ip_in(ns, words "link show dev c")[1].mtu,
        netns.ip("link show dev " .. borrowed.peer)[1].mtu })
    end, { "br0", addr = "10.0.3.1/24", mtu = 9000 })
  end)

  it("with another MTU leaves that of the bridge as it was asked for", function()
    for _, mtu in ipairs { 1500, 9000, 68 } do
      with(function(_, br, ns)
        local function now() return netns.ip "link show dev br0"[1].mtu end
        local small = br:attach(ns, { "small", mtu = 1280 })
        assert.equal(mtu, now())
        br:attach(ns, "other")
        small:close()
        assert.equal(mtu, now())
      end, { "br0", addr = "10.0.3.1/24", mtu = mtu })
    end
  end)

  it("sends nothing back on a promiscuous bridge", function()
    with(function(_, br, ns)
      br:set { promisc = true }
      local err = failure(function() br:attach(ns, { hairpin = true }) end, "EINVAL")
      assert.matches("packets come twice", err.detail)
      assert.equal(0, #ports())
      br:attach(ns, { "a", hairpin = false })
      br:set { promisc = false }
      local card = br:attach(ns, { hairpin = true })
      misuse(function() card:set { hairpin = true, promisc = true } end,
        "set: hairpin and promisc exclude each other")
    end)
  end)

  it("is a plain switch without an address", function()
    with(function(_, br, ns)
      local card = br:attach(ns)
      assert.is_nil(card.ip)
      assert.equal("", addrs(ns, "eth0"))
      br:attach(ns, { "x", addr = "192.168.7.7/24" })
      assert.same({ "192.168.7.0/24 dev x" }, routes(ns))
      local err = failure(function() br:attach(ns, { "y", addr = "auto" }) end)
      assert.same({ "attach", "EADDRNOTAVAIL" }, { err.op, err.code })
    end, { "br0", addr = false })
  end)

  it("never gives an address twice, nor the network's own", function()
    with(function(_, br, ns)
      br:attach(ns, { addr = "10.0.3.3/29" })
      local seen = {}
      for i = 1, 4 do seen[i] = br:attach(ns, { "c" .. i }).ip end
      assert.same({ "10.0.3.2", "10.0.3.4", "10.0.3.5", "10.0.3.6" }, seen)
      local err = failure(function() br:attach(ns, { "more" }) end)
      assert.same({ "EADDRNOTAVAIL", "all 6 addresses of 10.0.3.0/29 are taken" },
        { err.code, err.detail })
      br:detach(ns, "c3")
      assert.equal("10.0.3.5", br:attach(ns, { "more" }).ip)
      err = failure(function() br:attach(ns, { "y", addr = { "10.0.9.9/24", "10.0.9.9/24" },
        gateway = false }) end, "EEXIST")
      assert.matches("10.0.9.9/24", tostring(err), 1, true)
      br:detach(ns, "c1")
      err = failure(function() br:attach(ns, { "y", addr = { "10.0.3.2/29", "10.0.3.2/29" } }) end)
      assert.same({ "EADDRINUSE", "it is asked for twice" }, { err.code, err.detail })
    end, { "br0", addr = "10.0.3.1/29" })
  end)

  it("says that the bridge is gone", function()
    with(function(_, br, ns)
      br:attach(ns)
      sh "ip link del br0"
      local err = failure(function() br:attach(ns) end, "ENODEV")
      assert.same({ "attach", "br0", "No such device" }, { err.op, err.subject, err.detail })
      assert.matches("^there is no device br0; there are: ", err.hint)
    end)
  end)

  it("gives the other one of two addresses, and none where there is one", function()
    for own, other in pairs { ["10.0.3.0/31"] = "10.0.3.1/31", ["10.0.3.1/31"] = "10.0.3.0/31",
      ["fd00::1/127"] = "fd00::/127" } do
      with(function(_, br, ns)
        local card = br:attach(ns)
        assert.equal(other, addrs(ns, "eth0"))
        assert.equal(other:match "[^/]+", card.ip)
        assert.equal(0, ns:exec({ "ping", "-c1", "-W5", (own:match "[^/]+") }).status)
        local err = failure(function() br:attach(ns) end, "EADDRNOTAVAIL")
        assert.matches("^all 2 addresses of ", err.detail)
      end, { "br0", addr = own })
    end
    for _, own in ipairs { "10.0.3.1/32", "fd00::1/128" } do
      with(function(_, br, ns)
        assert.is_nil(br:attach(ns).ip)
        assert.equal("", addrs(ns, "eth0"))
        local err = failure(function() br:attach(ns, { addr = "auto" }) end)
        assert.same({ "EADDRNOTAVAIL", "br0 has " .. own .. ", which is its own address alone" },
          { err.code, err.detail })
      end, { "br0", addr = own })
    end
    with(function(_, br, ns)
      assert.equal("10.0.3.2", br:attach(ns).ip)
      assert.equal("10.0.3.2/24", addrs(ns, "eth0"))
    end, { "br0", addr = { "10.9.9.9/32", "10.0.3.1/24", "fd00::1/128" } })
  end)

  it("reaches any process", function()
    with(function(s, br)
      local p = nsbox.ns.new { "net" }
      local sleeper = p:spawn { "sleep", "60" }
      local card = br:attach(sleeper.pid, { "eth1" })
      assert.equal("10.0.3.2/24", addrs(p, "eth1"))
      assert.equal("pid " .. sleeper.pid, card.netns)
      card:close()
      assert.equal("", addrs(p, "eth1"))
      card:close()
      local path = ("/proc/%d/ns/net"):format(sleeper.pid)
      assert.equal("eth0", br:attach(path).name)
      sleeper:kill "KILL"
      sleeper:wait()
      p:close()
      assert.equal("scope (here): 2 links", tostring(s))
    end)
  end)

  it("leaves nothing on either side when it fails", function()
    with(function(s, br, ns)
      local function fails(o, code, subject)
        local err = failure(function() br:attach(ns, o) end)
        assert.same({ "attach", code, subject }, { err.op, err.code, err.subject })
        return err
      end
      local card = br:attach(ns, { "eth0" })
      local err = fails({ "eth0" }, "EEXIST", "eth0")
      assert.same({ tostring(ns), "File exists" }, { err.netns, err.detail })
      assert.matches("^eth0 is a device already in .*, a veth: scope:link { \"eth0\", netns = … }",
        err.hint)
      err = fails({ "eth1", peer = card.peer }, "EEXIST", card.peer)
      assert.is_nil(err.netns)
      assert.matches("^veth%x+ is a device already, a veth", err.hint)
      fails({ addr = "10.0.4.4/24" }, "EADDRNOTAVAIL", "10.0.4.4/24")
      fails({ addr = card.ip .. "/24" }, "EADDRINUSE", card.ip)
      fails({ addr = "10.0.3.1/24" }, "EADDRINUSE", "10.0.3.1")
      err = fails({ "bad", gateway = "10.9.9.9" }, "ENETUNREACH", "default via 10.9.9.9 on bad")
      assert.equal("Nexthop has invalid gateway", err.detail)
      fails({ "bad", addr = { "10.0.3.9/24", "10.0.3.9/24" } }, "EADDRINUSE", "10.0.3.9")
      br:attach(ns, { "ok", addr = "10.0.4.4/24", gateway = false })
      assert.equal(2, #ports())
      assert.equal(2, #ip_in(ns, words "link show type veth"))
      assert.equal("scope (here): 3 links", tostring(s))
      -- a port that is no bridge port
      assert.equal("veth", card.kind)
      misuse(function() card:attach(ns) end, "attach: eth0 is a veth, no bridge")
    end)
  end)

  it("is in nobody's way when its namespace ends while it is made", function()
    netns(function()
      local interface, process = require "nsbox.interface", nsbox.sys.process
      local s <close> = nsbox.scope()
      local br = s:bridge { "br0", addr = "10.0.3.1/24" }
      for _, moment in ipairs { "born", "configure" } do
        local other <close> = assert(process.spawn { argv = { "sleep", "60" }, new = { "net" },
          env = { "PATH=" .. os.getenv "PATH" } })
        local f = interface[moment]
        interface[moment] = function(...)
          interface[moment] = f
          other:kill "KILL"
          assert(nsbox.sys.fd.poll({ [other:fileno()] = "r" }, 30))
          other:status()
          return f(...)
        end
        local ok, card = pcall(br.attach, br, other:pid())
        assert.equal(f, interface[moment])
        if ok then
          assert.matches("eth0 in pid %d+: gone", tostring(card))
          local err = failure(function() card:get() end, "ESRCH")
          assert.matches("there is no process", err.hint)
          card:close()
        else
          assert.is_true(require "nsbox.error".is(card), tostring(card))
        end
        assert.equal(0, #ports())
      end
    end)
  end)

  it("#fault leaves nothing on either side, whichever of its requests fails", function()
    netns(function()
      sh "ip link add docker0 up type bridge; ip addr add 10.0.3.1/24 dev docker0"
      local place <close> = nsbox.ns.new { "net" }
      local sleeper <close> = place:spawn { "sleep", "60" }
      local script = os.tmpname()
      spew(script, ([[
        local br = require "nsbox".scope():link "docker0"
        print(select(2, pcall(br.attach, br, %d, { "eth7", alias = "x", isolated = true })))
      ]]):format(sleeper.pid))
      for _, request in ipairs { "link_add", "addr_add", "link_set", "port_set", "route_add" } do
        local out = sh(("NSBOX_FAULT=%s:ENOBUFS LUA_CPATH='%s' %s %s"):format(request,
          package.cpath, os.getenv "LUA" or "lua5.4", script))
        assert.matches("^attach: " .. request .. " .*: No buffer space available %(ENOBUFS%)\n"
          .. "  hint: the kernel had more to say", out)
        assert.same({ 0, 0 }, { #ports(), #ip_in(place, words "link show type veth") })
      end
      os.remove(script)
      sleeper:kill "KILL"
      sleeper:wait()
    end)
  end)

  it("leaves no descriptor, made, failed, taken off, with a collector that never rests", function()
    with(function(s, br, ns)
      local function rounds(count)
        for _ = 1, count do
          s:batch(function()
            for _ = 1, 3 do br:attach(ns) end
          end)
          br:attach(ns, "again")
          failure(function() br:attach(ns, "again") end, "EEXIST")
          failure(function()
            s:batch(function()
              br:attach(ns, "one")
              br:attach(ns, "again")
            end)
          end, "EEXIST")
          for _, name in ipairs { "eth0", "eth1", "eth2", "again" } do br:detach(ns, name) end
          assert.equal("scope (here): 1 link", tostring(s))
        end
        collectgarbage()
        collectgarbage()
        return #entries "/proc/self/fd"
      end
      collectgarbage("incremental", 100, 400)
      finally(function() collectgarbage("incremental", 200, 100) end) -- Lua's own
      local before = rounds(1)
      assert.equal(before, rounds(2))
    end)
  end)

  it("says what is wrong at the caller's line", function()
    with(function(s, br, ns)
      misuse(function() br:attach() end, "attach: argument 1: expected a pid")
      misuse(function() br:attach(0) end, "attach: argument 1: expected a pid, got 0")
      misuse(function() br:attach(ns, { "a23456789abcdefg" }) end, "has 16 characters")
      misuse(function() br:attach(ns, { "a/b" }) end, "is no device name")
      misuse(function() br:attach(ns, { addr = "10.0.3.3" }) end, "has no prefix")
      misuse(function() br:attach(ns, { addr = "10.0.3.3/33" }) end, "is at most 32, not 33")
      misuse(function() br:attach(ns, { gateway = "10.0.3.1/24" }) end, "without a prefix")
      misuse(function() br:attach(ns, { netns = ns }) end, "unknown option 'netns'")
      misuse(function() br:attach(ns, { routes = { { via = "1.2.3.4" } } }) end,
        "routes[1]: where does the route lead to?")
      br:attach(ns, { "none", routes = {} }):close()
      misuse(function() br:attach(ns, { up = false, gateway = "10.0.3.1" }) end,
        "no way leads through a link that is not up")
      misuse(function() br:detach(ns, "a b") end, "is no device name")
      misuse(function() s:bridge { "x", isolated = true } end, "unknown option 'isolated'")
      misuse(function() br:attach(ns, { addr = "10.0.3.255/24" }) end,
        "attach: addr: '10.0.3.255/24' is the broadcast address of its network, 10.0.3.0/24")
      misuse(function() s:bridge { "br9", addr = "0.0.0.0/24" } end,
        "bridge: addr: '0.0.0.0/24' is no address of a device")
      misuse(function() br:addr "10.0.3.255/24" end, "addr: '10.0.3.255/24' is the broadcast")
      misuse(function() s:box { net = 7 } end, "box: net: argument 1: expected a bridge")
      misuse(function() s:box { net = { br, nam = "x" } } end, "(did you mean 'name'?)")
      misuse(function() s:box { net = br, namespaces = { net = false } } end,
        "net: needs a new net namespace")
      assert.equal("scope (here): 1 link", tostring(s))
    end)
  end)

  it("is taken back by detach, and only what it made", function()
    with(function(_, br, ns)
      br:attach(ns)
      br:attach(ns)
      local err = failure(function() br:detach(ns) end)
      assert.same({ "EINVAL", "br0 has 2 cards there: which one?" }, { err.code, err.detail })
      assert.equal(br, br:detach(ns, "eth0"))
      br:detach(ns)
      assert.equal(0, #ports())
      err = failure(function() br:detach(ns) end)
      assert.equal("ENODEV", err.code)
    end)
  end)

  it("keeps the bridge's own address while ports come and go", function()
    with(function(_, br, ns)
      local before = netns.ip "link show br0"[1].address
      br:attach(ns):close()
      br:attach(ns)
      assert.equal(before, netns.ip "link show br0"[1].address)
    end)
  end)

  it("belongs to the bridge's scope, by name as well #root", function()
    netns(function()
      local s = nsbox.scope { "cards" }
      local br = s:bridge { "br0", addr = "10.0.3.1/24" }
      s:netns "blue"
      local card = br:attach "blue"
      s:commit()
      s:close()
      s = nsbox.scope { "cards" }
      br = s:bridge { "br0", addr = "10.0.3.1/24" }
      local blue = s:netns "blue"
      local again = br:attach "blue"
      assert.same({ false, card.name, card.ip, card.peer, card.mac },
        { again.fresh, again.name, again.ip, again.peer, again.mac })
      -- what stands has its address
      assert.equal("10.0.3.3", br:attach(blue).ip)
      assert.equal(2, #ports())
      s:rollback()
      assert.equal(1, #ports())
      blue:close()
      nsbox.scope.remove "cards"
      assert.equal(0, #ports())
      sh "umount /run/netns; rmdir /run/netns"
    end)
  end)

  it("is made again by the next run where somebody took away what it joined #root", function()
    netns(function()
      local function run()
        local s <close> = nsbox.scope { "cards" }
        local br = s:bridge { "br0", addr = "10.0.3.1/24" }
        local blue = s:netns "blue"
        local card = br:attach(blue, "eth0")
        local cable = s:veth { "a", { "b", netns = "blue" } }
        local far = s:bridge { "br1", netns = "blue", addr = false }
        s:commit()
        return { card.fresh, cable.fresh, far.fresh }, card
      end
      run()
      assert.same({ false, false, false }, (run()))
      -- without its bridge
      sh "ip link del br0"
      local fresh, card = run()
      assert.same({ true, false, false }, fresh)
      assert.same({ "br0", "10.0.3.2" }, { netns.ip "link show master br0"[1].master, card.ip })
      sh("ip link set " .. card.peer .. " nomaster")
      assert.same({ true, false, false }, (run()))
      -- under another name
      sh "ip -n blue link set eth0 down name wan0; ip -n blue link set br1 name brX"
      assert.same({ true, false, true }, (run()))
      sh "ip link set br0 down name brY; ip -n blue link set dev b name cab1"
      assert.same({ true, true, false }, (run()))
      local function named(list)
        local seen = {}
        for i, link in ipairs(list) do seen[i] = link.ifname:gsub("^veth.*", "veth") end
        table.sort(seen)
        return table.concat(seen, " ")
      end
      assert.same({ "a br0 lo veth", "b br1 eth0 lo" }, { named(netns.ip "link"),
        named(netns.ip "-n blue link") })
      assert.same({ false, false, false }, (run()))
      -- the name is another namespace's, and the old one is in use yet
      local old <close> = nsbox.ns.open "blue"
      sh "ip netns del blue"
      fresh, card = run()
      local blue <close> = nsbox.ns.open "blue"
      assert.same({ true, true, true }, fresh)
      assert.same({ "eth0", "10.0.3.2/24" }, { card.name, addrs(blue, "eth0") })
      assert.same({ 0, 2 }, { #ip_in(old, words "link show type veth"), #ports() })
      assert.same({ false, false, false }, (run()))
      nsbox.scope.remove "cards"
      assert.equal(0, #ports())
      sh "umount /run/netns; rmdir /run/netns"
    end)
  end)
end)

describe("net of a box", function()
  needs("netns", "maps", "procmount")

  it("is there before the program, and goes with the box", function()
    with(function(s, br)
      local b = s:box { "ip", "-o", "-4", "addr", "show", "dev", "eth0", net = br,
        stdout = "capture" }
      assert.same({ 1, "eth0", "10.0.3.2", "created" },
        { #b.links, b.links[1].name, b.links[1].ip, b.state })
      assert.truthy(b:start():wait().stdout:find("inet 10.0.3.2/24", 1, true))
      b:close()
      assert.same({ 0, 0 }, { #ports(), #b.links })
      local idle = s:box { name = "web", net = { br, name = "lan0", addr = "10.0.3.9/24" } }
      assert.equal("10.0.3.9/24", addrs(idle, "lan0"))
      assert.equal("box web", idle.links[1].netns)
      br:attach(idle, "extra")
      assert.equal(2, #idle.links)
      br:detach(idle, "extra")
      assert.equal(1, #idle.links)
    end)
  end)

  it("may be none", function()
    with(function(s)
      for _, net in ipairs { false, {} } do
        local box <close> = s:box { net = net }
        assert.same({}, box.links)
        assert.equal("lo", (box:exec { "ls", "/proc/sys/net/ipv4/conf" }.stdout
          :gsub("%w+", { all = "", default = "" }):gsub("%s", "")))
        assert.equal(0, (nsbox.run { "true", net = net }))
      end
    end)
  end)

  it("may be several, and of a box that runs and ends", function()
    with(function(s, br)
      local other = s:bridge { "br1", addr = "10.0.4.1/24" }
      local b = s:box { net = { br, { other, addr = "10.0.4.44/24" } } }
      assert.same({ "10.0.3.2/24", "10.0.4.44/24" }, { addrs(b, "eth0"), addrs(b, "eth1") })
      local peer = s:box { net = br }
      assert.equal("10.0.3.3", peer.links[1].ip)
      local _, result = nsbox.run { "ip", "-o", "-4", "addr", "show", "dev", "eth0", net = br,
        stdout = "capture" }
      assert.truthy(result.stdout:find("inet 10.0.3.", 1, true))
      assert.equal(0, (nsbox.run { "true", net = {} }))
      assert.equal(3, #ports())
    end)
  end)

  it("fails as a whole", function()
    with(function(s, br)
      local err = failure(function()
        s:box { name = "a", net = { br, { br, addr = "10.0.3.1/24" } } }
      end)
      assert.equal("EADDRINUSE", err.code)
      assert.is_nil(s.boxes.a)
      assert.equal(0, #ports())
      assert.equal("scope (here): 1 link", tostring(s))
    end)
  end)
end)

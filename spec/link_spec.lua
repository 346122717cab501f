-- Link objects, and devices that are borrowed.

local nsbox = require "nsbox"
local blame = require "blame"
local children = require "children"
local netns = require "netns"
local sys = require "nsbox.sys"
local misuse, failure = blame.misuse, blame.failure

-- f(scope, nl) in a network namespace with a pair v0, v1
local function with(f)
  return netns(function()
    local nl <close> = assert(sys.netlink.open())
    assert(nl:link_add { "v0", kind = "veth", up = true, peer = { "v1" } })
    assert(nl:link_set { "v1", up = true })
    local s <close> = nsbox.scope()
    f(s, nl)
  end)
end

-- what ip(8) says of a device and its routes, but for what comes and goes by itself
local function state(name)
  local link = netns.ip("addr show " .. name)[1]
  local addrs, routes = {}, {}
  for _, a in ipairs(link.addr_info) do
    if a.scope ~= "link" then addrs[#addrs + 1] = a["local"] .. "/" .. a.prefixlen end
  end
  for _, r in ipairs(netns.ip("route show dev " .. name)) do
    routes[#routes + 1] = r.dst .. " " .. (r.gateway or "")
  end
  table.sort(addrs)
  table.sort(routes)
  return { name = link.ifname, mtu = link.mtu, mac = link.address, alias = link.ifalias,
    txqlen = link.txqlen, promiscuity = link.promiscuity, master = link.master,
    flags = table.concat(link.flags, " "):gsub(" ?LOWER_UP", ""), addrs = addrs, routes = routes }
end

-- a process in a network namespace of its own, ended when it is closed
local function elsewhere()
  local p = assert(sys.process.spawn { argv = { "sleep", "60" }, new = { "net" },
    env = { "PATH=" .. os.getenv "PATH" } })
  local function finish()
    if p then
      p:kill "KILL"
      assert(sys.fd.poll({ [p:fileno()] = "r" }, 30))
      p:status()
      p:close()
      p = nil
    end
  end
  return setmetatable({ pid = p:pid(), finish = finish }, { __close = finish })
end

local function names(pid)
  local out = sh(("nsenter -t %d -n ip -br link"):format(pid))
  local list = {}
  for name in out:gmatch "(%S+)[^\n]*\n" do list[#list + 1] = name:match "^[^@]*" end
  table.sort(list)
  return table.concat(list, " ")
end

describe("nsbox.link", function()
  it("says what is wrong at the caller's line", function()
    local s <close> = nsbox.scope()
    misuse(function() s:link {} end, "link: which device?")
    misuse(function() s:link(("x"):rep(16)) end, "has 16 characters")
    misuse(function() s:link { "lo", nets = 1 } end, "did you mean 'netns'?")
    netns(function()
      local lo = nsbox.scope():link "lo"
      misuse(function() lo:set { promis = true } end, "did you mean 'promisc'?")
      misuse(function() lo:set { mtu = 60 } end, "mtu: expected between 68")
      misuse(function() lo:addr "10.0.0.1" end, "has no prefix")
      misuse(function() lo:addr {} end, "addr: which address?")
      misuse(function() lo:deladdr "10.0.0.1/33" end, "is at most 32, not 33")
      misuse(function() lo:route {} end, "route: where to?")
      misuse(function() lo:route "nowhere" end, "expected \"default\", or where to")
      misuse(function() lo:route { "default", via = "10.0.0.1/24" } end, "without a prefix")
      misuse(function() lo:delroute { "default", vai = "10.0.0.1" } end, "did you mean 'via'?")
    end)
  end)

  describe("of the scope's own", function()
    needs "netns"
    needs "bridge"

    it("changes at once, and says what it is", function()
      with(function(s, nl)
        local br = s:bridge { "br0", addr = "10.0.3.1/24" }
        assert.equal("bridge br0: 10.0.3.1/24, 0 ports", tostring(br))
        assert.equal("10.0.3.0/24", br.subnet)
        assert(nl:link_set { "v0", master = "br0" })
        assert.equal("bridge br0: 10.0.3.1/24, 1 port", tostring(br))
        assert.equal(br, br:set { alias = ("x"):rep(255) })
        assert.equal(("x"):rep(255), state("br0").alias)
        br:set { alias = "" }
        assert.is_nil(state("br0").alias)
        assert.equal(br, br:set { mtu = 1400, promisc = true, allmulti = true, alias = "lab" })
        br:addr "10.0.4.1/24":addr { "10.0.5.1/24", noprefixroute = true }
          :route "10.9.0.0/16":route { "default", via = "10.0.3.7", metric = 9 }
        local now = state "br0"
        assert.same({ 1400, "lab", { "10.0.3.1/24", "10.0.4.1/24", "10.0.5.1/24" },
          { "10.0.3.0/24 ", "10.0.4.0/24 ", "10.9.0.0/16 ", "default 10.0.3.7" } },
          { now.mtu, now.alias, now.addrs, now.routes })
        assert.matches("PROMISC", now.flags)
        assert.matches("ALLMULTI", now.flags)
        br:deladdr "10.0.4.1/24":delroute "10.9.0.0/16":down()
        assert.equal("bridge br0: 10.0.3.1/24 10.0.5.1/24, 1 port, down", tostring(br))
        br:up()
        assert.is_true(br:get().up)
        failure(function() br:addr "10.0.3.1/24" end, "EEXIST")
        failure(function() br:deladdr "10.0.3.9/24" end, "EADDRNOTAVAIL")
        failure(function() br:delroute "10.9.0.0/16" end, "ESRCH")
        failure(function() br:route { "10.9.0.0/16", via = "192.0.2.1" } end, "ENETUNREACH")
        assert.equal(1, #s._parts)
        local err = failure(function() br:set { "v0" } end, "EEXIST")
        assert.matches("^v0 is a device already, a veth", err.hint)
        br:set { "br7" }
        assert.same({ "br7", "br7" }, { br.name, state("br7").name })
        s:close()
        assert.equal("br7: gone", tostring(br))
        failure(function() br:get() end, "ENODEV")
        assert.is_nil(netns.ip("link show v0")[1].master)
      end)
    end)

    it("is not the device that has its index later", function()
      with(function(s)
        for _, thief in ipairs { "new index %d type bridge", "cab0 index %d type bridge",
          "new index %d type veth peer name other" } do
          local v = s:veth { { "cab0", addr = "10.9.0.1/24" }, { "cab1" } }[1]
          local name = thief:match "^%S+"
          sh("ip link del cab0; ip link add " .. thief:format(v.index))
          assert.equal(v.index, netns.ip("link show " .. name)[1].ifindex)
          assert.equal("cab0: gone", tostring(v))
          for _, f in ipairs { function() v:get() end, function() v:set { mtu = 1300 } end,
            function() v:down() end, function() v:addr "10.9.0.2/24" end,
            function() v:deladdr "10.9.0.1/24" end, function() v:route "10.5.0.0/16" end,
            function() v:delroute "10.9.0.0/24" end, function() v:delete() end } do
            local err = failure(f, "ENODEV")
            assert.equal("it is gone, and " .. name .. " has its index", err.detail)
          end
          local now = netns.ip("addr show " .. name)[1]
          assert.same({ 1500, {} }, { now.mtu, now.addr_info })
          sh("ip link del " .. name)
        end
        s:close()
      end)
    end)

    it("is printed without commands for a terminal", function()
      with(function(s, nl)
        local v = s:veth { { "cab0" }, { "cab1" } }[1]
        assert(nl:link_set { v.index, name = "x\27[2J" })
        assert.equal("x\\27[2J@cab1: up", tostring(v))
        v:delete()
      end)
    end)

    it("is still it when somebody has given it another name, or address", function()
      with(function(s)
        local v = s:veth { { "cab0" }, { "cab1" } }[1]
        sh "ip link set cab0 down name new; ip link set cab1 address 02:00:00:00:00:99"
        assert.equal("new@cab1: 10.9.0.1/24, down", tostring(v:addr "10.9.0.1/24"))
        sh "ip link set new address 02:00:00:00:00:98"
        failure(function() v:get() end, "ENODEV") -- both: nobody can tell
        sh "ip link set new name cab0"
        v:set { mtu = 1300 }
        assert.equal(1300, netns.ip("link show cab0")[1].mtu)
        v:delete()
        assert.equal("", (sh "ip -o link | grep ': cab.@'"))
      end)
    end)

    it("may be deleted before", function()
      with(function(s)
        local br = s:bridge "br0"
        br:delete()
        assert.equal("scope (here): empty", tostring(s))
        s:bridge "br0"
      end)
    end)
  end)

  describe("that is borrowed", function()
    needs "netns"

    it("is told from what is made, and never deleted #valgrind", function()
      with(function(s)
        local v = s:link "v0"
        assert.same({ "v0", "veth", "v1", false },
          { v.name, v.kind, v.peer, v.fresh })
        assert.equal("v0@v1: up", tostring(v))
        assert.equal("scope (here): 1 borrowed link", tostring(s))
        local err = failure(function() s:link "nope" end, "ENODEV")
        assert.matches("No such device", tostring(err))
        assert.equal("loopback", s:link { "lo" }.kind)
        s:close()
        assert.equal(1, #netns.ip "link show v0")
      end)
    end)

    it("becomes what it was", function()
      with(function(s, nl)
        assert(nl:addr_add { "10.9.0.1/24", dev = "v0", label = "v0:first" })
        assert(nl:addr_add { "fd09::1/64", dev = "v0", nodad = true })
        assert(nl:route_add { "10.77.0.0/16", via = "10.9.0.7", metric = 3 })
        local before = state "v0"
        local v = s:link "v0"
        v:set { mtu = 1300, mac = "02:00:00:00:00:09", txqueuelen = 77, alias = "lent",
          promisc = true, allmulti = true, addr = { "10.8.0.1/24", "fd08::1/64" } }
        v:route { "10.78.0.0/16", via = "10.8.0.7" }:route { "fd99::/48", via = "fd08::7" }
        v:delroute "10.77.0.0/16":deladdr "10.9.0.1/24":deladdr "fd09:0::1/64"
        local now = state "v0"
        assert.same({ 1300, "02:00:00:00:00:09", 77, "lent", { "10.8.0.1/24", "fd08::1/64" },
          { "10.78.0.0/16 10.8.0.7", "10.8.0.0/24 " } }, { now.mtu, now.mac, now.txqlen,
          now.alias, now.addrs, now.routes })
        assert.is_true(now.promiscuity > 0)
        s:close()
        assert.same(before, state "v0")
        assert.equal("v0:first", netns.ip("-4 addr show v0")[1].addr_info[1].label)
      end)
    end)

    it("gets an address with a peer, and loses it", function()
      with(function(s)
        local function peers()
          local list = {}
          for _, a in ipairs(netns.ip("addr show v0")[1].addr_info) do
            if a.scope ~= "link" then
              list[#list + 1] = ("%s peer %s/%d"):format(a["local"], a.address or "-", a.prefixlen)
            end
          end
          return list
        end
        local v = s:link "v0"
        v:addr { "10.9.0.1/32", peer = "10.9.0.2/32" }:addr { "fd09::1/128", peer = "fd09::2/128" }
        assert.same({ "10.9.0.1 peer 10.9.0.2/32", "fd09::1 peer fd09::2/128" }, peers())
        assert.equal("10.9.0.1", v.ip)
        v:deladdr "10.9.0.1/32":deladdr { "fd09::1/128", peer = "fd09::2/128" }
        assert.same({}, peers())
        v:addr { "10.9.0.1/32", peer = "10.9.0.2/32" }
        local other <close> = nsbox.scope()
        other:link "v0":deladdr "10.9.0.1/32"
        assert.same({}, peers())
        other:close()
        assert.same({ "10.9.0.1 peer 10.9.0.2/32" }, peers())
        s:close()
        assert.same({}, peers())
      end)
    end)

    it("keeps an address as long as it is told", function()
      with(function(s)
        local v = s:link "v0"
        v:addr { "10.9.0.1/24", valid_lft = "1h", preferred_lft = 0 }
        local a = netns.ip("-4 addr show v0")[1].addr_info[1]
        assert(a.valid_life_time > 3000 and a.valid_life_time <= 3600, a.valid_life_time)
        assert.equal(0, a.preferred_life_time)
        local function refused(o, want)
          o[1] = o[1] or "10.9.0.2/24"
          misuse(function() v:addr(o) end, want)
        end
        refused({ valid_lft = 0 }, "addr: valid_lft: expected between 1 and 4294967294, got 0")
        refused({ valid_lft = 1 << 32 }, "valid_lft: expected between 1 and 4294967294")
        refused({ valid_lft = "soon" }, "valid_lft: expected a time")
        refused({ valid_lft = 5, preferred_lft = 6 }, "preferred_lft: more than valid_lft")
        refused({ valid_lft = 5, preferred_lft = "forever" }, "preferred_lft: more than")
        refused({ peer = "fd00::2/128" }, "peer: an address of the same family is wanted")
        refused({ peer = "10.9.0.3/32" }, "'10.9.0.2/24': with a peer, which has the prefix, the "
          .. "address is alone: '10.9.0.2/32'")
        assert.equal(1, #netns.ip("-4 addr show v0")[1].addr_info)
      end)
    end)

    it("becomes what it was by close, and stays by release", function()
      with(function(s)
        local before = state "v0"
        local v = s:link "v0"
        v:addr "10.9.0.1/24":set { mtu = 1300 }
        v:close()
        v:close()
        assert.same(before, state "v0")
        assert.equal("scope (here): empty", tostring(s))
        v = s:link "v0"
        v:set { mtu = 1300 }:release()
        s:link("v1"):set { mtu = 1200 }
        s:release()
        s:close()
        assert.same({ 1300, 1200 }, { state("v0").mtu, state("v1").mtu })
      end)
    end)

    it("keeps what somebody else has changed since", function()
      with(function(s, nl)
        local v = s:link "v0"
        v:set { mtu = 1300, alias = "ours" }:addr "10.9.0.1/24":route "10.5.0.0/16"
        assert(nl:link_set { "v0", mtu = 1200 })
        assert(nl:addr_del { "10.9.0.1/24", dev = "v0" })
        s:close()
        local now = state "v0"
        assert.same({ 1200, {} }, { now.mtu, now.addrs })
        assert.is_nil(now.alias)
      end)
    end)

    it("that is deleted meanwhile is nobody's any more", function()
      with(function(s, nl)
        local v = s:link "v0"
        v:set { mtu = 1300 }:addr "10.9.0.1/24":route "10.5.0.0/16"
        assert(nl:link_del { "v0" })
        s:close()
        assert(nl:link_add { "v0", kind = "veth", mtu = 1300, peer = { "v1" } })
        v = s.new and s or nsbox.scope():link "v0"
        v:delete()
        v:close()
        assert.equal(1, #netns.ip "link show")
      end)
    end)

    it("has none of a change that failed in the middle", function()
      with(function(s)
        local before = state "v0"
        local v = s:link "v0"
        failure(function() v:set { mtu = 1300, promisc = true, mac = "00:00:00:00:00:00" } end,
          "EADDRNOTAVAIL")
        assert.same(before, state "v0")
        failure(function() v:addr "10.0.0.1/24":addr "10.0.0.1/24" end, "EEXIST")
        s:close()
        assert.same(before, state "v0")
      end)
    end)

    it("is a port of a bridge for a while", function()
      needs "bridge"
      with(function(s)
        local br = s:bridge { "br0", addr = false }
        local v = s:link "v0"
        v:set { master = br }:set { isolated = true, hairpin = true }
        assert.equal("br0", v.master)
        local port = netns.ip("link show v0")[1].linkinfo.info_slave_data
        assert.same({ true, true }, { port.isolated, port.hairpin })
        v:set { master = false }
        assert.is_nil(state("v0").master)
        v:set { master = "br0" }
        failure(function() v:set { master = "v1" } end, "EOPNOTSUPP")
        failure(function() v:set { master = "nope" } end, "ENODEV")
        s:close()
        assert.is_nil(state("v0").master)
        -- one that was a port of another one goes back there
        local other <close> = nsbox.scope()
        local old = other:bridge { "br1", addr = false }
        other:link("v0"):set { master = old, isolated = true }
        local t <close> = nsbox.scope()
        t:link("v0"):set { master = t:bridge { "br2", addr = false } }
        assert.equal("br2", state("v0").master)
        t:close()
        assert.equal("br1", state("v0").master)
      end)
    end)

    it("that is a bridge takes cards, of this scope", function()
      needs "bridge"
      with(function(s, nl)
        local stranger <close> = elsewhere()
        assert(nl:link_add { "docker0", kind = "bridge", up = true })
        assert(nl:addr_add { "172.17.0.1/16", dev = "docker0" })
        local before = state "docker0"
        failure(function() s:bridge { "docker0", addr = false } end, "EEXIST")
        local card = s:link("docker0"):attach(stranger.pid, { addr = "auto" })
        assert.same({ "eth0", "172.17.0.2", "docker0" }, { card.name, card.ip, card.master })
        assert.equal("eth0 lo", names(stranger.pid))
        s:close()
        assert.equal("lo", names(stranger.pid))
        before.mac, before.flags = nil, nil -- what a bridge without ports has is another thing
        local after = state "docker0"
        after.mac, after.flags = nil, nil
        assert.same(before, after)
      end)
    end)

    it("may be what others stand on: a second card on a real one", function()
      needs "macvlan"
      with(function(s)
        local stranger <close> = elsewhere()
        local before = state "v0"
        local card = s:link("v0"):set { promisc = true }
        s:macvlan { "eth1", link = card, netns = stranger.pid, addr = "10.0.3.9/24",
          mode = "bridge" }
        assert.equal("eth1 lo", names(stranger.pid))
        assert.matches("PROMISC", state("v0").flags)
        s:close()
        assert.equal("lo", names(stranger.pid))
        assert.same(before, state "v0")
      end)
    end)
  end)

  describe("that is lent to another namespace", function()
    needs "netns"

    it("comes home, with its name, addresses and flags", function()
      with(function(s, nl)
        local stranger <close> = elsewhere()
        assert(nl:addr_add { "10.9.0.1/24", dev = "v0" })
        local before = state "v0"
        local v = s:link "v0"
        v:set { promisc = true }
        local lent = state "v0"
        v:set { "eth1", netns = stranger.pid, addr = "10.3.0.2/24", mtu = 1300 }
        assert.same({ "eth1", "pid " .. stranger.pid }, { v.name, v.netns })
        assert.matches("^eth1@if%d+ in pid %d+: 10%.3%.0%.2/24, up$", tostring(v))
        assert.equal("eth1 lo", names(stranger.pid))
        v:addr "10.4.0.2/24":up()
        assert.is_nil(nl:link_get "v0")
        assert.matches("PROMISC", lent.flags)
        s:close()
        assert.equal("lo", names(stranger.pid))
        assert.same(before, state "v0")
      end)
    end)

    it("stays at home when its name is taken there", function()
      with(function(s)
        local stranger <close> = elsewhere()
        local before = state "v0"
        local v = s:link "v0"
        local err = failure(function() v:set { "lo", netns = stranger.pid } end, "EEXIST")
        assert.equal("pid " .. stranger.pid, err.netns)
        assert.matches("^lo is a device already in pid %d+, a loopback", err.hint)
        failure(function() v:set { netns = "/nope" } end, "ENOENT")
        assert.same(before, state "v0")
        assert.equal("lo", names(stranger.pid))
        failure(function() s:link("lo"):set { netns = stranger.pid } end, "EINVAL")
      end)
    end)

    it("is lost with that namespace, and the scope says so", function()
      with(function(s, nl)
        local stranger <close> = elsewhere()
        local v = s:link "v0"
        v:set { netns = stranger.pid }
        local m <close> = assert(sys.netlink.monitor(nil, { "link" }))
        stranger.finish()
        while nl:link_get "v1" do -- the kernel takes its time
          assert(next(sys.fd.poll({ [m:fileno()] = "r" }, 30)))
          m:read()
        end
        local err = failure(function() s:close() end, nil)
        assert.matches("it was lent to has ended, and it with that: a veth does", tostring(err))
        s:close()
        for _, scope in ipairs(nsbox.scope.list()) do
          assert.are_not.equal(sys.process.getpid(), scope.pid)
        end
      end)
    end)

    -- a card of no program's making returns to the initial namespace
    it("comes back by itself if it is a physical one #onlyuml", function()
      require "inside"({ "uts" }, function()
        local initial <close> = assert(sys.ns.open "/proc/1/ns/net")
        assert(sys.setns(initial))
        local nl <close> = assert(sys.netlink.open())
        assert(nl:addr_add { "10.9.0.1/24", dev = "eth0" })
        local before = state "eth0"
        for name, dies in pairs { eth0 = false, lan0 = true } do
          local stranger <close> = elsewhere()
          local s <close> = nsbox.scope()
          local card = s:link "eth0"
          assert.same({ "device", nil }, { card.kind, card.peer })
          card:set { name, netns = stranger.pid, up = false, addr = "10.8.0.1/24" }
          assert.equal(name .. " lo", names(stranger.pid))
          assert.is_nil(nl:link_get "eth0")
          local m <close> = assert(sys.netlink.monitor(nil, { "link" }))
          if dies then stranger.finish() end
          while dies and not nl:link_get(name) do -- the kernel takes its time
            assert(next(sys.fd.poll({ [m:fileno()] = "r" }, 30)))
            m:read()
          end
          s:close()
          assert.same(before, state "eth0")
        end
        assert(nl:addr_del { "10.9.0.1/24", dev = "eth0" })
      end)
    end)

    it("comes home when it is the scope's own, and is deleted there", function()
      needs "macvlan"
      with(function(s)
        local stranger <close> = elsewhere()
        s:add { "t0", type = "ifb" }:set { netns = stranger.pid }
        assert.equal("lo t0", names(stranger.pid))
        s:close()
        assert.equal("lo", names(stranger.pid))
        assert.equal(3, #netns.ip "link show")
      end)
    end)

    it("is lent to a box, and back before the box ends", function()
      needs("maps", "procmount")
      with(function(s)
        local before = state "v0"
        local box = s:box { "sleep", "60", name = "web" }
        local v = s:link("v0"):set { netns = box }
        assert.equal("v0@if", tostring(v):match "^v0@if")
        assert.matches(" in box web: up$", tostring(v))
        s:close()
        assert.same(before, state "v0")
      end)
    end)
  end)

  describe("of a named scope #root", function()
    after_each(function()
      nsbox.scope.recover()
      for _, scope in ipairs(nsbox.scope.list()) do
        if not scope.anonymous then nsbox.scope.remove(scope.name) end
      end
    end)

    it("keeps what is committed, tells it again, and drops what is not declared", function()
      with(function(_, nl)
        local stranger <close> = elsewhere()
        local before = state "v0"
        local function run(declare)
          local s = nsbox.scope "shop"
          declare(s)
          s:commit()
          s:close()
        end
        local function all(s)
          s:link("v0"):set { mtu = 1300 }:addr "10.9.0.1/24":route "10.5.0.0/16"
        end
        run(all)
        local after = state "v0"
        assert.same({ 1300, { "10.9.0.1/24" } }, { after.mtu, after.addrs })
        run(all)
        assert.same(after, state "v0")
        run(function(s) s:link("v0"):addr "10.9.0.1/24" end)
        local now = state "v0"
        assert.same({ 1500, { "10.9.0.1/24" } }, { now.mtu, now.addrs })
        assert.same({ "10.9.0.0/24 " }, now.routes)
        local function lend(s)
          s:link("v0"):set { "eth9", netns = stranger.pid, addr = "10.1.0.1/24" }
        end
        run(lend)
        assert.is_nil(nl:link_get "v0")
        run(lend)
        assert.equal("eth9 lo", names(stranger.pid))
        assert.matches("v0 lent to pid:", nsbox.scope.show "shop")
        run(function() end)
        assert.same(before, state "v0")
      end)
    end)
  end)

  it("becomes what it was when the script was killed #root", function()
    needs "netns"
    with(function()
      local stranger <close> = elsewhere()
      local before = { state "v0", state "v1" }
      children.script(([[
        local nsbox = require "nsbox"
        local s = nsbox.scope()
        s:link("v0"):set { mtu = 1300, promisc = true }:addr "10.9.0.1/24":route "10.5.0.0/16"
        s:link("v1"):set { "eth1", netns = %d, addr = "10.8.0.1/24" }
        nsbox.sys.process.open(nsbox.sys.process.getpid()):kill "KILL"
      ]]):format(stranger.pid))
      assert.equal(1300, state("v0").mtu)
      assert.equal("eth1 lo", names(stranger.pid))
      nsbox.scope.recover()
      assert.same(before, { state "v0", state "v1" })
    end)
  end)

  describe("when the script is killed between what it plans and what it did #root", function()
    needs "netns"

    -- killed before, or after, the request
    local function killed(request, when, verb)
      children.script(([[
        local nsbox = require "nsbox"
        local nl <close> = nsbox.sys.netlink.open()
        local methods = getmetatable(nl).__index
        local whole, when = methods.%s, "%s"
        function methods.%s(...)
          if when == "after" then assert(whole(...)) end
          nsbox.sys.process.open(nsbox.sys.process.getpid()):kill "KILL"
        end
        nsbox.scope():link("v0"):%s
      ]]):format(request, when, request, verb))
    end

    local function seen() return { state "v0", sh "ip -6 route show fd05::/64" } end

    for _, case in ipairs {
      { "addr_add", 'addr "10.9.0.1/24"', "ip addr add 10.9.0.1/24 dev v0" },
      { "addr_add", 'addr "fd09::1/64"', "ip addr add fd09::1/64 dev v0 nodad" },
      { "route_add", 'route "10.5.0.0/16"', "ip route add 10.5.0.0/16 dev v0" },
      { "route_add", 'route "fd05::/64"', "ip route add fd05::/64 dev v0" },
    } do
      it("leaves what somebody else did, not what it did itself: " .. case[2], function()
        with(function()
          local before = seen()
          killed(case[1], "after", case[2])
          assert.is_not.same(before, seen())
          assert.equal(1, nsbox.scope.recover())
          assert.same(before, seen())
          killed(case[1], "before", case[2])
          assert.equal("", (sh(case[3])))
          local theirs = seen()
          assert.equal(1, nsbox.scope.recover())
          -- a kernel before 5.18 keeps no mark of an address
          if case[1] == "route_add" or require("nsbox.machine").kernel_since(5, 18) then
            assert.same(theirs, seen())
          end
        end)
      end)
    end
  end)

  -- the scope of a killed script: the process of this spec, and its parent, may have scopes, too
  local function left(pid)
    for _, record in ipairs(nsbox.scope.list()) do
      if record.pid == pid then return record end
    end
  end

  it("is undone as well when the kernel's answer was lost #fault #root", function()
    needs "netns"
    with(function()
      local before = { state "v0", sh "ip -br link show type bridge" }
      local out = children.script([[
        local nsbox = require "nsbox"
        local s = nsbox.scope()
        print(nsbox.sys.process.getpid())
        print(nsbox.try(s.bridge, s, "br0"))
        print(select(2, nsbox.try(s.link(s, "v0").addr, s:link "v0", "10.9.0.1/24")).code)
        local stranger <close> = nsbox.ns.new { "net" }
        print(select(2, nsbox.try(s.veth, s, { "a", { "b", netns = stranger } })).code)
        nsbox.sys.process.open(nsbox.sys.process.getpid()):kill "KILL"
      ]], "NSBOX_FAULT=netlink.lost:ENOBUFS")
      assert.matches("^%d+\nnil\tbridge: link_add br0: the kernel's answer was lost: nobody knows "
        .. "whether it was done %(ENOBUFS%)\n.*\nENOBUFS\nENOBUFS\n", out)
      -- what it asked for to undo that was done as well, which it does not know either
      assert.equal("crashed", left(math.tointeger(out:match "^%d+")).state)
      assert.same(before, { state "v0", sh "ip -br link show type bridge" })
      assert.equal(1, nsbox.scope.recover())
      assert.same(before, { state "v0", sh "ip -br link show type bridge" })
    end)
  end)
end)

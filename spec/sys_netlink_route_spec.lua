local sys = require "nsbox.sys"
local netns = require "netns"

local netlink, errno = sys.netlink, sys.errno

-- f(handle) in a network namespace of its own, where v0 is 10.0.0.1/24 and
-- fd00::1/64, and up
local function with(f)
  netns(function()
    local nl <close> = assert(netlink.open())
    assert(nl:link_set { "lo", up = true })
    assert(nl:link_add { "v0", kind = "veth", up = true, peer = { "v1" } })
    assert(nl:link_set { "v1", up = true })
    assert(nl:addr_add { "10.0.0.1/24", dev = "v0" })
    assert(nl:addr_add { "fd00::1/64", dev = "v0", nodad = true })
    f(nl)
  end)
end

-- the only route that ip(8) shows for these words
local function ip(words)
  local list = netns.ip("route show " .. words)
  assert.equal(1, #list)
  return list[1]
end

-- the only one of ours to this destination
local function find(nl, dst, filter)
  local found
  for _, r in ipairs(assert(nl:route_list(filter))) do
    if r.dst == dst then
      assert.is_nil(found)
      found = r
    end
  end
  return found
end

-- our word for what ip says
local function words(r, nl)
  return {
    dst = r.dst, via = r.gateway or r.via and r.via.host, dev = r.dev and nl:index(r.dev),
    src = r.prefsrc, metric = r.metric, table = tonumber(r.table) or r.table, type = r.type,
    scope = r.scope, protocol = r.protocol,
  }
end

local function agrees(nl, words_of_ip, dst, filter)
  local want = ip(words_of_ip)
  local got = find(nl, dst, filter)
  for key, value in pairs(words(want, nl)) do assert.equal(value, got[key], key) end
  return want, got
end

describe("nsbox.sys.netlink routes", function()
  needs "netns"

  it("by default lead through a gateway #valgrind", function()
    with(function(nl)
      assert.is_true(nl:route_add { "default", via = "10.0.0.254" })
      local _, got = agrees(nl, "default", "default", { family = "inet" })
      assert.same({ dst = "default", via = "10.0.0.254", dev = nl:index "v0", family = "inet",
        table = "main", type = "unicast", scope = "global", protocol = "boot" }, got)
      assert.is_true(nl:route_del { "default" })
      assert.same({}, netns.ip "route show default")

      assert.is_true(nl:route_add { "default", via = "fd00::fe", mtu = 1300 })
      local want = netns.ip("-6 route show default")[1]
      assert.equal("fd00::fe", want.gateway)
      assert.equal(1300, want.metrics[1].mtu)
      got = find(nl, "default", { family = "inet6" })
      assert.same({ "fd00::fe", 1300, 1024 }, { got.via, got.mtu, got.metric })
      -- nothing but the word tells the family here
      assert.is_true(nl:route_add { "default", dev = "v0", family = "inet6", table = 9 })
      assert.equal("v0", netns.ip("-6 route show table 9")[1].dev)
    end)
  end)

  it("have the scope, table and protocol that ip gives them", function()
    with(function(nl)
      local n = 0
      for _, route in ipairs {
        { { "via", "10.0.0.9" }, "" }, { { "dev", "v0" }, "" },
        { { "dev", "v0", "scope", "global" }, "" }, { { "dev", "v0", "protocol", "static" }, "" },
        { { "dev", "lo" }, "local" }, { { "dev", "v0" }, "broadcast" }, { {}, "blackhole" },
        { {}, "unreachable" }, { {}, "prohibit" }, { {}, "throw" },
        { { "dev", "v0", "table", 4711 }, "" }, { { "dev", "v0", "metric", 5 }, "" },
        { { "dev", "v0", "src", "10.0.0.1" }, "" }, { { "dev", "v0", "table", "local" }, "" },
        { { "via", "10.0.0.9", "mtu", 1400, "advmss", 1200, "initcwnd", 20 }, "" },
        { { "via", "fd00::9" }, "" },
      } do
        n = n + 1
        local theirs, ours = ("10.200.%d.1"):format(n), ("10.201.%d.1"):format(n)
        local mine = { ours, type = route[2] ~= "" and route[2] or nil }
        local text = {}
        for i = 1, #route[1], 2 do
          local key, value = route[1][i], route[1][i + 1]
          mine[key] = value
          text[#text + 1] = (key == "via" and tostring(value):find ":" and "via inet6" or key)
            .. " " .. value
        end
        local command = ("ip route add %s %s %s"):format(route[2], theirs, table.concat(text, " "))
        assert.same({ "", 0 }, { sh(command) })
        assert.is_true(nl:route_add(mine))
        local want, got = find(nl, theirs), find(nl, ours)
        want.dst = ours
        assert.same(want, got, command)
        local same = ip(("table %s %s"):format(got.table, ours))
        for key, value in pairs(words(same, nl)) do
          if key ~= "table" then assert.equal(value, got[key], command .. ": " .. key) end
        end
        for _, metric in ipairs { "mtu", "advmss", "initcwnd" } do
          assert.equal(mine[metric], got[metric])
          assert.equal(mine[metric], (same.metrics or { {} })[1][metric])
        end
      end
    end)
  end)

  it("fail with the kernel's sentence where the gateway cannot be", function()
    with(function(nl)
      local function fails(text, number, ...)
        assert.same({ n = 3, nil, text, number }, table.pack(...))
      end
      fails("route_add default via 10.9.0.1: Nexthop has invalid gateway", errno.ENETUNREACH,
        nl:route_add { "default", via = "10.9.0.1" })
      fails("route_add 10.8.0.1/16: Invalid prefix for given prefix length", errno.EINVAL,
        nl:route_add { "10.8.0.1/16", dev = "v0" })
      fails("route_add default: dev nope: No such device", errno.ENODEV,
        nl:route_add { "default", dev = "nope" })
      fails("route_del 10.8.0.0/16: No such process", errno.ESRCH,
        nl:route_del { "10.8.0.0/16" })
      assert.is_true(nl:route_add { "default", via = "10.9.0.1", dev = "v0", onlink = true })
      local want, got = agrees(nl, "default", "default", { family = "inet" })
      assert.same({ "onlink" }, want.flags)
      assert.is_true(got.onlink)
      -- twice
      fails("route_add default via 10.0.0.254: File exists", errno.EEXIST,
        nl:route_add { "default", via = "10.0.0.254" })
      assert.equal("10.9.0.1", ip "default".gateway)
      -- with another metric it is another route
      assert.is_true(nl:route_add { "default", via = "10.0.0.254", metric = 50 })
      assert.equal(2, #netns.ip "route show default")
      -- instead of the first
      assert.is_true(nl:route_replace { "default", via = "10.0.0.253" })
      assert.equal("10.0.0.253", netns.ip("route show default")[1].gateway)
      assert.is_true(nl:route_del { "default", metric = 50 })
      assert.equal("10.0.0.253", ip "default".gateway)
    end)
  end)

  it("of several ways #valgrind", function()
    with(function(nl)
      assert.is_true(nl:route_add { "10.2.0.0/16", metric = 3, nexthops = {
        { via = "10.0.0.2", weight = 3 }, { via = "10.9.0.3", dev = "v0", onlink = true },
        { via = "fd00::4", dev = "v0", weight = 256 } } })
      local v0 = nl:index "v0"
      local want = ip "10.2.0.0/16"
      assert.equal(3, want.nexthops[1].weight)
      assert.equal("10.0.0.2", want.nexthops[1].gateway)
      assert.same({ "onlink" }, want.nexthops[2].flags)
      assert.equal("fd00::4", want.nexthops[3].via.host)
      assert.equal(256, want.nexthops[3].weight)
      assert.same({ { via = "10.0.0.2", dev = v0, weight = 3 },
        { via = "10.9.0.3", dev = v0, weight = 1, onlink = true },
        { via = "fd00::4", dev = v0, weight = 256 } }, find(nl, "10.2.0.0/16").nexthops)
      assert.is_true(nl:route_add { "fd02::/64",
        nexthops = { { via = "fd00::2" }, { via = "fd00::3", weight = 2 } } })
      local hops = find(nl, "fd02::/64").nexthops
      assert.same({ "fd00::2", 1, "fd00::3", 2 },
        { hops[1].via, hops[1].weight, hops[2].via, hops[2].weight })
      assert.is_true(nl:route_add { "default", nexthops = { { via = "fd00::2" },
        { via = "fd00::3" } } })
      assert.equal(2, #netns.ip("-6 route show default")[1].nexthops)
      assert.is_true(nl:route_del { "10.2.0.0/16" })
      assert.same({}, netns.ip "route show 10.2.0.0/16")
      -- one that is not there: the kernel says so, and nothing is left
      assert.equal(errno.ENETUNREACH, (select(3, nl:route_add { "10.2.0.0/16",
        nexthops = { { via = "10.0.0.2" }, { via = "10.9.0.3" } } })))
      assert.same({}, netns.ip "route show 10.2.0.0/16")
      assert.same({ nil, "route_add 10.2.0.0/16: dev nope: No such device", errno.ENODEV },
        { nl:route_add { "10.2.0.0/16", nexthops = { { dev = "nope" } } } })
    end)
  end)

  it("are asked for", function()
    with(function(nl)
      assert(nl:route_add { "10.5.0.0/16", via = "10.0.0.5", table = 500, src = "10.0.0.1" })
      assert(nl:route_add { "10.6.0.0/16", type = "unreachable" })
      assert(nl:route_add { "10.7.0.0/16", via = "10.0.0.7", metric = 9 })
      assert(nl:route_add { "fd07::/64", via = "fd00::7", protocol = "static" })
      local got = nl:route_get { "10.7.1.2" }
      local want = netns.ip("route get 10.7.1.2")[1]
      assert.same({ want.dst, want.gateway, want.prefsrc, nl:index(want.dev), "main" },
        { got.dst, got.via, got.src, got.dev, got.table })
      got = nl:route_get { "10.7.1.2", fibmatch = true }
      assert.same({ "10.7.0.0/16", 9 }, { got.dst, got.metric })
      got = nl:route_get { "fd07::5", dev = "v0" }
      assert.same({ "fd07::5", "fd00::7", "fd00::1" }, { got.dst, got.via, got.src })
      assert.equal("local", nl:route_get { "10.0.0.1" }.type)
      assert.equal(1, nl:route_get { "127.0.0.1", from = "127.0.0.1" }.dev)
      assert.same({ nil, "route_get 10.6.0.1: No route to host", errno.EHOSTUNREACH },
        { nl:route_get { "10.6.0.1" } })
      assert.same({ nil, "route_get 10.8.0.1: Network is unreachable", errno.ENETUNREACH },
        { nl:route_get { "10.8.0.1" } })

      local function dsts(filter)
        local list = {}
        for _, r in ipairs(assert(nl:route_list(filter))) do list[#list + 1] = r.dst end
        table.sort(list)
        return table.concat(list, " ")
      end
      assert.equal("10.5.0.0/16", dsts { table = 500 })
      assert.equal("10.6.0.0/16", dsts { type = "unreachable", family = "inet" })
      assert.equal("fd07::/64", dsts { protocol = "static" })
      assert.equal("10.0.0.0/24 10.6.0.0/16 10.7.0.0/16", dsts { table = "main", family = "inet" })
      assert.equal("10.0.0.0/24 10.7.0.0/16",
        dsts { table = "main", dev = "v0", family = "inet" })
      assert.equal("", dsts { dev = "v1", family = "inet" })
      assert.equal(#netns.ip "-4 route show table all", #nl:route_list { family = "inet" })
    end)
  end)

  it("raise when they can be none, and nothing is sent", function()
    with(function(nl)
      local function raises(text, route)
        local _, why = pcall(function() nl:route_add(route) end)
        assert.matches("^[^\n]*sys_netlink_route_spec.lua:%d+: " .. text, why)
      end
      for _, bad in ipairs { "10.0.0.0/33", "300.1.1.0/24", "fd00::/129", "all", "", 7 } do
        raises("route: field '1': \"default\", or an address, its prefix", { bad, dev = "v0" })
      end
      raises("route: field '1'", {})
      raises("route: field 'via': an address, without prefix", { "default", via = "10.0.0.1/24" })
      raises("route: field 'via': an address", { "default", via = "gateway" })
      raises("route: field 'src': an address of its family", { "default", via = "10.0.0.1",
        src = "fd00::1" })
      raises("route: field 'family': that of", { "10.0.0.0/8", family = "inet6" })
      raises("route: field 'table': one of default, main, local", { "default", table = "mine" })
      raises("route: field 'table': integer from 0", { "default", table = -1 })
      raises("route: field 'type': one of unicast,", { "default", type = "hole" })
      raises("route: field 'mtu': integer", { "default", via = "10.0.0.2", mtu = "1400" })
      raises("route: field 'onlink': boolean", { "default", onlink = 1 })
      raises("route: field 'nexthops': a list of tables", { "default", nexthops = {} })
      raises("route: field 'nexthops': a list of tables", { "default", nexthops = { "10.0.0.1" } })
      raises("nexthop: field 'via': or dev expected", { "10.0.0.0/8", nexthops = { {} } })
      raises("nexthop: field 'weight': ", { "10.0.0.0/8",
        nexthops = { { via = "10.0.0.1", weight = 0 } } })
      raises("nexthop: field 'weight': ", { "10.0.0.0/8",
        nexthops = { { via = "10.0.0.1", weight = 257 } } })
      raises("nexthop: unknown field 'gateway'", { "10.0.0.0/8",
        nexthops = { { gateway = "10.0.0.1", dev = "v0" } } })
      raises("route: unknown field 'gateway'", { "default", gateway = "10.0.0.1" })
      assert.error_matches(function() nl:route_get { "10.0.0.0/8" } end, "without prefix")
      assert.error_matches(function() nl:route_get "10.0.0.1" end, "table expected")
    end)
  end)
end)

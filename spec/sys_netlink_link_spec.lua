local sys = require "nsbox.sys"
local netns = require "netns"

local netlink, errno = sys.netlink, sys.errno

-- f(handle) in a network namespace of its own
local function with(f)
  netns(function()
    local nl <close> = assert(netlink.open())
    f(nl)
  end)
end

-- ip(8) says the same of the link
local function agrees(nl, name)
  local want, first, got
  repeat -- the kernel looks at the carrier of a new link in its own time
    first = assert(nl:link_get(name))
    want, got = netns.ip("link show " .. name)[1], assert(nl:link_get(name))
  until first.state == got.state and first.qdisc == got.qdisc
  assert.equal(want.ifindex, got.index)
  assert.equal(want.ifname, got.name)
  assert.equal(want.mtu, got.mtu)
  assert.equal(want.address, got.mac)
  assert.equal(want.operstate:lower(), got.state)
  assert.equal(want.txqlen, got.txqueuelen)
  assert.equal(want.ifalias, got.alias)
  assert.equal(want.promiscuity, got.promiscuity)
  assert.equal(want.qdisc, got.qdisc)
  assert.equal(want.link_type, got.type)
  assert.equal(want.min_mtu or 0, got.min_mtu or 0)
  assert.equal(want.max_mtu or 0, got.max_mtu or 0)
  assert.equal(want.num_tx_queues, got.numtxqueues)
  assert.equal(want.master, got.master and nl:name(got.master))
  assert.equal(want.linkinfo and want.linkinfo.info_kind, got.kind)
  local flags = {}
  -- NO-CARRIER is ip's own word for what the others say
  for _, word in ipairs(want.flags) do
    if word ~= "NO-CARRIER" and word ~= "M-DOWN" then flags[word:lower()] = true end
  end
  local mine = {}
  for _, word in ipairs(got.flags) do mine[word] = true end
  assert.same(flags, mine)
  return want, got
end

describe("nsbox.sys.netlink links #uml", function()
  needs "netns"

  it("are made as told, and read as ip reads them #valgrind", function()
    with(function(nl)
      assert.is_true(nl:link_add { "br0", kind = "bridge", mac = "02:00:00:00:00:01", mtu = 1400,
        txqueuelen = 77, group = 5, up = true, index = 4711 })
      local want, got = agrees(nl, "br0")
      assert.equal("02:00:00:00:00:01", want.address)
      assert.equal(1400, want.mtu)
      assert.equal(77, want.txqlen)
      assert.equal("5", tostring(want.group))
      assert.equal(4711, want.ifindex)
      assert.equal(5, got.group)
      assert.is_true(got.up)
      assert.same(got, nl:link_get(4711))
      agrees(nl, "lo")
      assert.is_nil(nl:link_get("lo").kind)
    end)
  end)

  it("change: name, alias, group, switches, master", function()
    with(function(nl)
      assert(nl:link_add { "br0", kind = "bridge" })
      assert(nl:link_add { "a", kind = "veth", peer = { "b", txqueuelen = 5 } })
      assert.is_true(nl:link_set { "a", name = "c", mtu = 1300, txqueuelen = 9, group = 42,
        alias = "of spec", mac = "02:00:00:00:00:0a", promisc = true, allmulti = true, arp = false,
        multicast = false, master = "br0" })
      local want = agrees(nl, "c")
      assert.equal("of spec", want.ifalias)
      assert.equal(9, want.txqlen)
      assert.equal("br0", want.master)
      local words = " " .. table.concat(want.flags, " ") .. " "
      for _, word in ipairs { "PROMISC", "ALLMULTI", "NOARP" } do
        assert.truthy(words:find(" " .. word .. " "))
      end
      assert.is_nil(words:find " MULTICAST ")
      local c = nl:index "c"
      assert.is_true(nl:link_set { c, promisc = false, allmulti = false, arp = true,
        multicast = true, master = false, alias = "" })
      want = agrees(nl, "c")
      assert.is_nil(want.master)
      assert.is_nil(want.ifalias)
      assert.equal("link_set nope: No such device",
        (select(2, nl:link_set { "nope", name = "other" })))
      assert.equal("link_set c: master nope: No such device",
        (select(2, nl:link_set { "c", master = "nope" })))
      assert.is_true(nl:link_set { c, alias = ("x"):rep(255) })
      assert.equal(("x"):rep(255), netns.ip("link show c")[1].ifalias)
      assert.is_true(nl:link_set { "c", master = nl:index "br0" })
      assert.equal("br0", netns.ip("link show c")[1].master)
      assert.equal(errno.EEXIST, (select(3, nl:link_set { "c", name = "b" })))
      assert.is_true(nl:link_set { "c", addrgenmode = "none" })
      assert.equal("none", netns.ip("link show c")[1].inet6_addr_gen_mode)
    end)
  end)

  it("go: by name, index, and all of a group at once", function()
    with(function(nl)
      -- some kernels put devices of their own into each namespace
      local before = #netns.ip "link"
      for i = 1, 5 do
        assert(nl:link_add { "br" .. i, kind = "bridge", group = i > 2 and 7 or 0 })
      end
      assert.is_true(nl:link_del { "br1" })
      assert.is_true(nl:link_del { nl:index "br2" })
      assert.equal(before + 3, #netns.ip "link")
      assert.is_true(nl:link_del { group = 7 })
      assert.equal(before, #netns.ip "link")
      assert.same({ n = 3, nil, "link_del group 7: No such device", errno.ENODEV },
        table.pack(nl:link_del { group = 7 }))
    end)
  end)

  it("are listed, all of them or some", function()
    with(function(nl)
      assert(nl:link_add { "br0", kind = "bridge" })
      for i = 1, 3 do
        assert(nl:link_add { "a" .. i, kind = "veth", master = i < 3 and "br0" or nil,
          peer = { "b" .. i } })
      end
      local want, got = {}, {}
      for _, link in ipairs(netns.ip "link") do want[link.ifindex] = link.ifname end
      for _, link in ipairs(nl:link_list()) do got[link.index] = link.name end
      assert.same(want, got)
      local function names(filter)
        local list = {}
        for _, link in ipairs(nl:link_list(filter)) do list[#list + 1] = link.name end
        table.sort(list)
        return table.concat(list, " ")
      end
      assert.equal("a1 a2", names { master = "br0" })
      assert.equal("a1 a2", names { master = nl:index "br0" })
      assert.equal("br0", names { kind = "bridge" })
      assert.equal("a1 a2 a3 b1 b2 b3", names { kind = "veth" })
      assert.equal("", names { kind = "bogus" })
      assert.equal("", names { kind = "bridge", master = "br0" })
      assert.equal(errno.ENODEV, (select(3, nl:link_list { master = "nope" })))
    end)
  end)

  it("list a thousand", function()
    with(function(nl)
      local before = #nl:link_list()
      local b = nl:batch()
      -- not bridges: the kernel needs long to forget one
      for i = 1, 500 do b:link_add { "a" .. i, kind = "veth", peer = { "b" .. i } } end
      assert.equal(0, (select(2, b:send())))
      local list = nl:link_list()
      assert.equal(before + 1000, #list)
      local seen = {}
      for _, link in ipairs(list) do seen[link.name] = true end
      for i = 1, 500 do assert(seen["a" .. i] and seen["b" .. i]) end
      assert.equal("b300", nl:link_get("b300").name)
    end)
  end)

  it("of the kind veth have their other end born elsewhere, in one request", function()
    with(function(nl)
      local ns <close> = netns.new()
      assert.is_true(nl:link_add { "host0", kind = "veth", up = true, index = 1000,
        peer = { "eth0", netns = ns, mac = "02:00:00:00:00:02", mtu = 1350, index = 77,
          txqueuelen = 33, group = 3, numtxqueues = 2 } })
      local inner <close> = assert(netlink.open(ns))
      local eth0 = inner:link_get "eth0"
      assert.equal(77, eth0.index)
      assert.equal("02:00:00:00:00:02", eth0.mac)
      assert.equal(1350, eth0.mtu)
      assert.equal(33, eth0.txqueuelen)
      assert.equal(3, eth0.group)
      assert.equal(2, eth0.numtxqueues)
      assert.is_false(eth0.up)
      local want, got = agrees(nl, "host0")
      assert.equal(77, got.peer)
      assert.equal(want.link_index, got.peer)
      assert.equal(want.link_netnsid, got.link_netnsid)
      assert.equal(nl:index "host0", eth0.peer)
      -- a name that is taken there: nothing is left here
      assert.same({ n = 3, nil, "link_add host1: File exists", errno.EEXIST },
        table.pack(nl:link_add { "host1", kind = "veth", peer = { "eth0", netns = ns } }))
      assert.is_nil(nl:link_get "host1")
      assert.is_true(nl:link_add { "host1", kind = "veth", peer = { "eth%d", netns = ns } })
      assert.equal("eth1", inner:link_get("eth1").name)
      assert.is_true(inner:link_del { "eth0" })
      assert.is_nil(nl:link_get "host0")
    end)
  end)

  it("move to a namespace, by handle and by pid", function()
    with(function(nl)
      local ns <close> = netns.new()
      local inner <close> = assert(netlink.open(ns))
      assert(nl:link_add { "a", kind = "veth", peer = { "b" } })
      assert.is_true(nl:link_set { "a", netns = ns, name = "eth0", up = true })
      assert.is_nil(nl:link_get "a")
      assert.is_true(inner:link_get("eth0").up)
      assert.is_true(inner:link_set { "eth0", netns = sys.process.getpid() })
      assert.equal("eth0", nl:link_get("eth0").name)
      assert.is_true(nl:link_add { "x", kind = "bridge", netns = ns })
      assert.equal("bridge", inner:link_get("x").kind)
    end)
  end)

  it("of the kind bridge have the options of ip", function()
    with(function(nl)
      assert.is_true(nl:link_add { "br0", kind = "bridge", data = { stp = true,
        forward_delay = 400, hello_time = 300, max_age = 900, ageing_time = 1234, priority = 7,
        mcast_querier = true, mcast_igmp_version = 3, group_fwd_mask = 8,
        mcast_query_interval = 12345 } })
      local function compare()
        local want, got = netns.ip("link show br0")[1].linkinfo.info_data, nl:link_get("br0").data
        assert.equal(want.stp_state ~= 0, got.stp)
        for _, name in ipairs { "forward_delay", "hello_time", "max_age", "ageing_time", "priority",
          "mcast_hash_max" } do
          assert.equal(want[name], got[name])
        end
        assert.equal(want.mcast_query_intvl, got.mcast_query_interval)
        assert.equal(want.mcast_querier ~= 0, got.mcast_querier)
        assert.equal(want.mcast_snooping ~= 0, got.mcast_snooping)
        assert.equal(want.mcast_igmp_version, got.mcast_igmp_version)
        assert.equal(want.group_addr, got.group_address)
        return want
      end
      local want = compare()
      assert.equal(400, want.forward_delay)
      assert.equal(1234, want.ageing_time)
      assert.equal(7, want.priority)
      assert.is_true(nl:link_set { "br0", kind = "bridge", data = { stp = false,
        mcast_snooping = false, ageing_time = 0 } })
      want = compare()
      assert.equal(0, want.stp_state)
      assert.equal(0, want.mcast_snooping)
      assert.equal(400, want.forward_delay)
    end)
  end)

  it("of the kind macvlan have all modes", function()
    needs "macvlan"
    with(function(nl)
      assert(nl:link_add { "low", kind = "veth", peer = { "low1" } })
      for _, kind in ipairs { "macvlan", "macvtap" } do
        for _, mode in ipairs { "bridge", "private", "vepa", "source", "passthru" } do
          assert.is_true(nl:link_add { "m", kind = kind, link = "low",
            data = { mode = mode, nopromisc = mode == "passthru" or nil } })
          local want = netns.ip("link show m")[1]
          assert.equal(mode, want.linkinfo.info_data.mode)
          local got = nl:link_get "m"
          assert.equal(mode, got.data.mode)
          assert.equal(mode == "passthru", got.data.nopromisc)
          assert.equal("low", nl:name(got.link))
          assert.is_true(nl:link_del { "m" })
        end
      end
      local ns <close> = netns.new()
      local inner <close> = assert(netlink.open(ns))
      assert.is_true(nl:link_add { "eth0", kind = "macvlan", link = "low", netns = ns,
        mac = "02:00:00:00:00:03", data = { mode = "bridge" } })
      assert.equal("02:00:00:00:00:03", inner:link_get("eth0").mac)
      assert.equal(nl:index "low", inner:link_get("eth0").link)
      assert.is_true(inner:link_get("eth0").link_netnsid ~= nil)
    end)
  end)

  it("of the kind vxlan have the options of ip, v4 and v6", function()
    needs "vxlan"
    with(function(nl)
      assert(nl:link_add { "low", kind = "bridge" })
      assert.is_true(nl:link_add { "vx0", kind = "vxlan", data = { id = 42, remote = "10.0.0.1",
        src = "10.0.0.2", dstport = 4789, link = "low", ttl = 5, tos = 4, learning = false,
        ageing = 77, maxaddress = 9, df = "set" } })
      local want = netns.ip("link show vx0")[1].linkinfo.info_data
      local got = nl:link_get("vx0").data
      assert.equal(42, want.id)
      assert.equal("10.0.0.1", want.remote)
      assert.equal("10.0.0.2", want["local"])
      assert.equal("low", want.link)
      assert.equal(4789, want.port)
      assert.equal(5, want.ttl)
      assert.equal(77, want.ageing)
      assert.equal(9, want.limit)
      assert.equal("set", want.df)
      assert.is_false(want.learning)
      assert.same({ 42, "10.0.0.1", "10.0.0.2", 4789, 5, 4, false, 77, 9, "set", nl:index "low" },
        { got.id, got.remote, got.src, got.dstport, got.ttl, got.tos, got.learning, got.ageing,
          got.maxaddress, got.df, got.link })
      assert.is_true(nl:link_add { "vx1", kind = "vxlan", data = { id = 43, group = "ff02::5",
        dstport = 4790, link = "low" } })
      assert.equal("ff02::5", netns.ip("link show vx1")[1].linkinfo.info_data.group6)
      got = nl:link_get("vx1").data
      assert.equal("ff02::5", got.group)
      assert.is_nil(got.remote)
    end)
  end)

  it("of the kind ipvlan have modes and flags", function()
    needs "ipvlan"
    with(function(nl)
      assert(nl:link_add { "low", kind = "veth", peer = { "low1" } })
      for _, mode in ipairs { "l2", "l3", "l3s" } do
        for _, flags in ipairs { "bridge", "private", "vepa" } do
          assert.is_true(nl:link_add { "i", kind = "ipvlan", link = "low",
            data = { mode = mode, flags = flags } })
          -- the flags are null in ip's JSON
          assert.matches(("ipvlan +mode %s +%s "):format(mode, flags), (sh "ip -d link show i"))
          local got = nl:link_get("i").data
          assert.same({ mode, flags }, { got.mode, got.flags })
          assert.is_true(nl:link_del { "i" })
        end
      end
    end)
  end)

  it("of the kind vlan have id, protocol and flags", function()
    needs "vlan"
    with(function(nl)
      assert(nl:link_add { "low", kind = "veth", peer = { "low1" } })
      assert.is_true(nl:link_add { "v", kind = "vlan", link = "low",
        data = { id = 77, protocol = "802.1ad", gvrp = true, reorder_hdr = false } })
      local want = netns.ip("link show v")[1].linkinfo.info_data
      assert.same({ 77, "802.1ad" }, { want.id, want.protocol:lower() })
      assert.same({ "GVRP" }, want.flags)
      local got = nl:link_get("v").data
      assert.same({ 77, "802.1ad", true, false }, { got.id, got.protocol, got.gvrp,
        got.reorder_hdr })
    end)
  end)

  it("of the kinds dummy and vrf", function()
    needs("dummy", "vrf")
    with(function(nl)
      assert.is_true(nl:link_add { "d", kind = "dummy" })
      agrees(nl, "d")
      assert.is_true(nl:link_add { "r", kind = "vrf", data = { table = 1000 } })
      assert.equal(1000, netns.ip("link show r")[1].linkinfo.info_data.table)
      assert.equal(1000, nl:link_get("r").data.table)
      assert.is_true(nl:link_set { "d", master = "r" })
      agrees(nl, "d")
    end)
  end)

  it("of the kind ifb", function()
    needs "ifb"
    with(function(nl)
      assert.is_true(nl:link_add { "i", kind = "ifb", up = true })
      agrees(nl, "i")
    end)
  end)

  it("of any other kind take and give attributes by number", function()
    with(function(nl)
      assert.error_matches(function() nl:link_add { "x", kind = "bogus", data = { 5 } } end,
        "bogus: field 'data': a list of { number, bytes } expected")
      assert.equal(errno.EOPNOTSUPP, (select(3, nl:link_add { "x", kind = "bogus",
        data = { { 1, "abc" }, { 2, "" } } })))
      -- the number of gre's IFLA_GRE_LOCAL and IFLA_GRE_REMOTE, where there is gre
      local made, _, number = nl:link_add { "g", kind = "gre",
        data = { { 6, "\10\0\0\1" }, { 7, "\10\0\0\2" } } }
      if not made then
        assert.equal(errno.EOPNOTSUPP, number)
        return
      end
      local got = {}
      for _, pair in ipairs(nl:link_get("g").data) do got[pair[1]] = pair[2] end
      assert.equal("\10\0\0\1", got[6])
      assert.equal("10.0.0.2", netns.ip("link show g")[1].linkinfo.info_data.remote)
    end)
  end)

  it("made by ioctl: tun and tap, in the handle's namespace", function()
    needs "tun"
    with(function(nl)
      local ns <close> = netns.new()
      local inner <close> = assert(netlink.open(ns))
      assert.equal("tap7", inner:tuntap_add { "tap7", mode = "tap", user = 0, multi_queue = true })
      assert.is_nil(nl:link_get "tap7")
      local got = inner:link_get "tap7"
      assert.equal("tun", got.kind)
      assert.same({ "tap", 0, true, true, false }, { got.data.mode, got.data.user,
        got.data.multi_queue, got.data.persist, got.data.pi })
      assert.equal("tun0", nl:tuntap_add { mode = "tun", pi = true })
      local want = netns.ip("link show tun0")[1].linkinfo
      assert.same({ "tun", true, true }, { want.info_data.type, want.info_data.pi,
        want.info_data.persist })
      assert.same({ n = 3, nil, "tuntap_add tun0: Device or resource busy", errno.EBUSY },
        table.pack(nl:tuntap_add { "tun0", mode = "tap" }))
      assert.is_true(nl:link_del { "tun0" })
      assert.error_matches(function() nl:tuntap_add { "x" } end, "mode expected")
      assert.error_matches(function() nl:tuntap_add { "x", mode = "tan" } end, "unknown mode 'tan'")
      assert.error_matches(function() nl:tuntap_add { "x", mod = "tap" } end, "did you mean 'mode'")
    end)
  end)

  it("refuse what cannot be, before anything is sent", function()
    with(function(nl)
      local before = #netns.ip "link"
      local function raises(why, request)
        local ok, err = pcall(nl.link_add, nl, request)
        assert.is_false(ok)
        assert.matches(why, err)
      end
      raises("field '1': at most 15 bytes", { ("x"):rep(16), kind = "bridge" })
      for _, name in ipairs { "a/b", "a b", "a:b", ".", "..", "", "a\tb" } do
        raises("field '1': a device name", { name, kind = "bridge" })
      end
      raises("without zeros", { "a\0b", kind = "bridge" })
      raises("field '1': string", { 5, kind = "bridge" })
      raises("field 'kind': string", { "a" })
      raises("field 'kind': string", { "a", kind = 5 })
      for _, mac in ipairs { "", "xx", "02:00:00:00:00", "02:00:00:00:00:0g",
        "02:00:00:00:00:00:00", "02-00-00-00-00-00" } do
        raises("field 'mac': aa:bb", { "a", kind = "bridge", mac = mac })
      end
      for _, mtu in ipairs { -1, 1 << 31, 1.5, "9000" } do
        raises("field 'mtu': integer from 0", { "a", kind = "bridge", mtu = mtu })
      end
      raises("field 'up': boolean", { "a", kind = "bridge", up = 1 })
      raises("unknown field 'mut' %(did you mean 'mtu'%?%)", { "a", kind = "bridge", mut = 1 })
      raises("unknown field '2'", { "a", "b", kind = "bridge" })
      raises("bridge: unknown field 'stpp'", { "a", kind = "bridge", data = { stpp = true } })
      raises("bridge: field 'stp': true or false", { "a", kind = "bridge", data = { stp = 1 } })
      raises("veth: unknown field 'mode'", { "a", kind = "veth", data = { mode = 1 } })
      raises("a bridge has no peer", { "a", kind = "bridge", peer = {} })
      raises("peer: unknown field 'up'", { "a", kind = "veth", peer = { up = true } })
      raises("peer: field 'index': the link needs one, too",
        { "a", kind = "veth", peer = { index = 5 } })
      raises("peer: field '1': at most 15", { "a", kind = "veth", peer = { ("x"):rep(16) } })
      raises("macvlan: field 'mode': one of private, vepa",
        { "a", kind = "macvlan", data = { mode = "x" } })
      raises("macvlan: field 'nopromisc': true or false",
        { "a", kind = "macvlan", data = { nopromisc = 1 } })
      raises("vlan: field 'id': integer from 0 to 4094",
        { "a", kind = "vlan", data = { id = 4095 } })
      raises("vxlan: field 'remote': an address, without prefix",
        { "a", kind = "vxlan", data = { id = 1, remote = "10.0.0.1/24" } })
      raises("field 'netns': a pid, or a handle", { "a", kind = "bridge", netns = "blue" })
      raises("field 'netns': a process id", { "a", kind = "bridge", netns = 0 })
      raises("field 'index': an integer from 1 on", { "a", kind = "bridge", index = 0 })
      raises("field 'master': a device, by name or index", { "a", kind = "bridge", master = {} })
      assert.error_matches(function() nl:link_set { up = true } end, "field '1': a device")
      assert.error_matches(function() nl:link_set { "lo", alias = ("x"):rep(256) } end,
        "at most 255 bytes")
      assert.error_matches(function() nl:link_set { "lo", data = {} } end, "kind")
      assert.error_matches(function() nl:link_del { "lo", group = "x" } end, "group")
      assert.error_matches(function() nl:link_get {} end, "field '1': a device")
      assert.error_matches(function() nl:link_add "x" end, "table expected")
      assert.error_matches(function() nl:link_list { kid = 1 } end, "did you mean 'kind'")
      assert.equal(before, #netns.ip "link")
      -- a request that was given up in the middle spoils no later one
      assert.is_true(nl:link_set { "lo", up = true })
    end)
  end)

  it("at a bridge that is full fail with EXFULL, and leave nothing", function()
    with(function(nl)
      assert(nl:link_add { "br0", kind = "bridge", index = 5000 })
      local b = nl:batch()
      -- both ends of a cable are ports
      for i = 1, 512 do
        b:link_add { "a" .. i, kind = "veth", master = 5000, peer = { "b" .. i } }
      end
      for i = 1, 512 do b:link_set { "b" .. i, master = 5000 } end
      local results, failed = b:send()
      assert.equal(1, failed)
      assert.same({ "link_set b512: Exchange full", errno.EXFULL }, results[1024])
      assert.same({ n = 3, nil, "link_add x: Exchange full", errno.EXFULL },
        table.pack(nl:link_add { "x", kind = "veth", master = 5000, peer = { "y" } }))
      assert.is_nil(nl:link_get "x")
      assert.equal(1023, #nl:link_list { master = "br0" })
    end)
  end)
end)

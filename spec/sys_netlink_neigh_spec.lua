local sys = require "nsbox.sys"
local netns = require "netns"

local netlink, errno = sys.netlink, sys.errno

-- f(handle) in a network namespace of its own: v0 is a port of br0, v1 its
-- other end
local function with(f)
  netns(function()
    local nl <close> = assert(netlink.open())
    assert(nl:link_add { "br0", kind = "bridge", up = true })
    assert(nl:link_add { "v0", kind = "veth", up = true, master = "br0", peer = { "v1" } })
    assert(nl:link_set { "v1", up = true })
    f(nl)
  end)
end

local function by(key, list)
  local found = {}
  for _, entry in ipairs(list) do found[entry[key]] = entry end
  return found
end

describe("nsbox.sys.netlink neighbours", function()
  needs "netns"

  it("are what ip sees #valgrind", function()
    with(function(nl)
      local v1 = nl:index "v1"
      assert.is_true(nl:neigh_add { "10.0.0.2", dev = "v1", mac = "02:00:00:00:00:02" })
      assert.is_true(nl:neigh_add { "10.0.0.3", dev = v1, mac = "02:00:00:00:00:03",
        state = "noarp", protocol = "static" })
      assert.is_true(nl:neigh_add { "fd00::2", dev = "v1", mac = "02:00:00:00:00:04",
        state = "stale", router = true })
      local want = by("dst", netns.ip "neigh show dev v1 nud all")
      local got = by("addr", nl:neigh_list { dev = "v1" })
      for addr, entry in pairs {
        ["10.0.0.2"] = { "02:00:00:00:00:02", "PERMANENT" },
        ["10.0.0.3"] = { "02:00:00:00:00:03", "NOARP" },
        ["fd00::2"] = { "02:00:00:00:00:04", "STALE" },
      } do
        assert.same(entry, { want[addr].lladdr, want[addr].state[1] })
        assert.same({ entry[1], entry[2]:lower(), v1 },
          { got[addr].mac, got[addr].state, got[addr].dev })
      end
      assert.same({ addr = "10.0.0.2", dev = v1, mac = "02:00:00:00:00:02", family = "inet",
        state = "permanent" }, got["10.0.0.2"])
      assert.equal("static", got["10.0.0.3"].protocol)
      assert.is_true(got["fd00::2"].router)

      assert.is_nil(by("addr", nl:neigh_list { family = "inet6" })["10.0.0.2"])
      assert.is_table(by("addr", nl:neigh_list { family = "inet6" })["fd00::2"])
      assert.is_nil(by("addr", nl:neigh_list { dev = "v0" })["10.0.0.2"])
      assert.equal(errno.ENODEV, (select(3, nl:neigh_list { dev = "nope" })))
    end)
  end)

  it("are replaced, forgotten and answered for", function()
    with(function(nl)
      local function fails(text, number, ...)
        assert.same({ n = 3, nil, text, number }, table.pack(...))
      end
      local entry = { "10.0.0.2", dev = "v1", mac = "02:00:00:00:00:02" }
      assert.is_true(nl:neigh_add(entry))
      fails("neigh_add 10.0.0.2 dev v1: File exists", errno.EEXIST, nl:neigh_add(entry))
      entry.mac = "02:00:00:00:00:09"
      assert.is_true(nl:neigh_replace(entry))
      assert.equal("02:00:00:00:00:09", netns.ip("neigh show dev v1 10.0.0.2")[1].lladdr)
      assert.is_true(nl:neigh_del { "10.0.0.2", dev = "v1" })
      -- the kernel keeps it a while, as one that failed
      assert.same({}, netns.ip "neigh show dev v1 10.0.0.2 nud permanent")
      fails("neigh_del 10.0.0.7 dev v1: No such file or directory", errno.ENOENT,
        nl:neigh_del { "10.0.0.7", dev = "v1" })
      fails("neigh_add 10.0.0.2 dev nope: dev nope: No such device", errno.ENODEV,
        nl:neigh_add { "10.0.0.2", dev = "nope", mac = "02:00:00:00:00:02" })

      assert.is_true(nl:neigh_add { "10.0.0.9", dev = "v1", proxy = true })
      assert.is_true(nl:neigh_add { "fd00::9", dev = "v1", proxy = true })
      local want = by("dst", netns.ip "neigh show proxy")
      assert.equal("v1", want["10.0.0.9"].dev)
      local got = by("addr", nl:neigh_list { proxy = true })
      assert.same({ true, nl:index "v1" }, { got["10.0.0.9"].proxy, got["fd00::9"].dev })
      assert.is_nil(by("addr", nl:neigh_list())["10.0.0.9"])
      assert.is_true(nl:neigh_del { "10.0.0.9", dev = "v1", proxy = true })
      assert.is_nil(by("dst", netns.ip "neigh show proxy")["10.0.0.9"])
    end)
  end)

  it("come by the hundred in a batch", function()
    with(function(nl)
      local b = nl:batch()
      for i = 1, 200 do
        b:neigh_add { "10.0.1." .. i, dev = "v1", mac = ("02:00:00:00:01:%02x"):format(i) }
      end
      local _, failed = b:send()
      assert.equal(0, failed)
      local got = by("addr", nl:neigh_list { dev = "v1", family = "inet" })
      local want = netns.ip "neigh show dev v1 nud permanent"
      assert.equal(200, #want)
      for _, entry in ipairs(want) do assert.equal(entry.lladdr, got[entry.dst].mac) end
    end)
  end)

  it("raise when they can be none", function()
    with(function(nl)
      local function raises(text, entry)
        local _, why = pcall(function() nl:neigh_add(entry) end)
        assert.matches("^[^\n]*sys_netlink_neigh_spec.lua:%d+: neigh: " .. text, why)
      end
      for _, bad in ipairs { "10.0.0.1/24", "300.0.0.1", "02:00:00:00:00:02", "", 5 } do
        raises("field '1': an address, without prefix, expected", { bad, dev = "v1" })
      end
      raises("field '1'", { dev = "v1" })
      raises("field 'dev': a device", { "10.0.0.1" })
      raises("field 'mac': aa:bb:cc:dd:ee:ff", { "10.0.0.1", dev = "v1", mac = "2:0:0:0:0:2" })
      raises("field 'state': one of none, incomplete", { "10.0.0.1", dev = "v1", state = "ok" })
      raises("unknown field 'lladdr'", { "10.0.0.1", dev = "v1", lladdr = "x" })
    end)
  end)
end)

describe("nsbox.sys.netlink forwarding entries", function()
  needs("netns", "bridge")

  it("of a vxlan flood to several places #valgrind", function()
    needs "vxlan"
    with(function(nl)
      assert(nl:link_add { "vx0", kind = "vxlan", data = { id = 5, dstport = 4789 } })
      local zeros <const> = "00:00:00:00:00:00"
      assert.is_true(nl:fdb_append { zeros, dev = "vx0", dst = "192.0.2.1" })
      assert.is_true(nl:fdb_append { zeros, dev = "vx0", dst = "192.0.2.2" })
      local one = { "02:00:00:00:00:09", dev = "vx0", dst = "192.0.2.2", vni = 7, port = 8472,
        via = "v1" }
      assert.is_true(nl:fdb_add(one))
      assert.same({ nil, "fdb_add 02:00:00:00:00:09 dev vx0: File exists", errno.EEXIST },
        { nl:fdb_add(one) })
      local vx0 = nl:index "vx0"
      local got = assert(nl:fdb_list { dev = "vx0" })
      local function key(a, b) return (a.dst or "") .. a.mac < (b.dst or "") .. b.mac end
      table.sort(got, key)
      assert.same({
        { mac = zeros, dev = vx0, dst = "192.0.2.1", self = true, state = "permanent" },
        { mac = zeros, dev = vx0, dst = "192.0.2.2", self = true, state = "permanent" },
        { mac = "02:00:00:00:00:09", dev = vx0, dst = "192.0.2.2", vni = 7, port = 8472,
          via = nl:index "v1", self = true, state = "permanent" },
      }, got)
      local want = netns.bridge "fdb show dev vx0"
      table.sort(want, key)
      assert.equal(3, #want)
      for i, entry in ipairs(want) do
        assert.same({ entry.mac, entry.dst, entry.vni, entry.port, entry.state },
          { got[i].mac, got[i].dst, got[i].vni, got[i].port, got[i].state })
      end
      assert.equal("v1", want[3].via or want[3].viaIf)
      assert.is_true(nl:fdb_del { zeros, dev = "vx0", dst = "192.0.2.1" })
      assert.equal(2, #netns.bridge "fdb show dev vx0")
      assert.is_true(nl:fdb_replace { one[1], dev = "vx0", dst = "192.0.2.77", vni = 7 })
      assert.equal("192.0.2.77", by("mac", netns.bridge "fdb show dev vx0")[one[1]].dst)
    end)
  end)

  it("of a bridge are at its ports, or at the device itself", function()
    with(function(nl)
      local br0, v0 = nl:index "br0", nl:index "v0"
      assert.is_true(nl:fdb_add { "02:00:00:00:00:0a", dev = "v0", master = true,
        state = "static" })
      assert.is_true(nl:fdb_add { "02:00:00:00:00:0b", dev = v0, master = true,
        state = "dynamic" })
      assert.is_true(nl:fdb_add { "02:00:00:00:00:0c", dev = "v0", master = true,
        state = "static", sticky = true })
      assert.is_true(nl:fdb_add { "02:00:00:00:00:0d", dev = "v0" })
      local got = by("mac", nl:fdb_list { dev = "v0" })
      assert.same({ mac = "02:00:00:00:00:0a", dev = v0, master = br0, state = "static" },
        got["02:00:00:00:00:0a"])
      assert.same({ mac = "02:00:00:00:00:0b", dev = v0, master = br0, state = "dynamic" },
        got["02:00:00:00:00:0b"])
      assert.same({ mac = "02:00:00:00:00:0c", dev = v0, master = br0, state = "static",
        sticky = true }, got["02:00:00:00:00:0c"])
      assert.same({ mac = "02:00:00:00:00:0d", dev = v0, self = true, state = "permanent" },
        got["02:00:00:00:00:0d"])
      local want = by("mac", netns.bridge "fdb show brport v0")
      for mac, entry in pairs(got) do
        -- bridge has no word for the third
        assert.equal(want[mac].state, entry.state ~= "dynamic" and entry.state or "")
        assert.equal(want[mac].master, entry.master and "br0")
      end
      assert.equal(#netns.bridge "fdb show br br0", #nl:fdb_list { master = "br0" })
      assert.equal(#netns.bridge "fdb show", #nl:fdb_list())
      assert.is_true(nl:fdb_del { "02:00:00:00:00:0a", dev = "v0", master = true })
      assert.same({ nil, "fdb_del 02:00:00:00:00:0a dev v0: No such file or directory",
        errno.ENOENT }, { nl:fdb_del { "02:00:00:00:00:0a", dev = "v0", master = true } })
      assert.is_nil(by("mac", netns.bridge "fdb show brport v0")["02:00:00:00:00:0a"])
    end)
  end)

  it("belong to a VLAN #uml", function()
    needs "vlan_filtering"
    with(function(nl)
      assert(nl:link_set { "br0", kind = "bridge", data = { vlan_filtering = true } })
      assert.same({ "", 0 }, { sh "bridge vlan add dev v0 vid 5" })
      assert.is_true(nl:fdb_add { "02:00:00:00:00:0a", dev = "v0", master = true, vlan = 5 })
      assert.equal(5, by("mac", netns.bridge "fdb show brport v0")["02:00:00:00:00:0a"].vlan)
      assert.equal(5, by("mac", nl:fdb_list { dev = "v0" })["02:00:00:00:00:0a"].vlan)
      assert.equal(errno.EINVAL, (select(3, nl:fdb_add { "02:00:00:00:00:0a", dev = "v0",
        master = true, vlan = 6 })))
    end)
  end)

  it("are told by a monitor", function()
    with(function(nl)
      local m <close> = assert(netlink.monitor(nil, { "neigh", "fdb" }))
      assert(nl:fdb_add { "02:00:00:00:00:0a", dev = "v0", master = true })
      assert(nl:neigh_add { "10.0.0.2", dev = "v1", mac = "02:00:00:00:00:02" })
      assert(nl:fdb_del { "02:00:00:00:00:0a", dev = "v0", master = true })
      local seen = {}
      for _, event in ipairs(assert(m:read())) do
        if event.mac == "02:00:00:00:00:0a" or event.addr == "10.0.0.2" then
          seen[#seen + 1] = ("%s %s"):format(event.action, event.what)
        end
      end
      assert.same({ "new fdb", "new neigh", "del fdb" }, seen)
    end)
  end)

  it("raise when they can be none", function()
    with(function(nl)
      local function raises(text, entry)
        local _, why = pcall(function() nl:fdb_add(entry) end)
        assert.matches("^[^\n]*sys_netlink_neigh_spec.lua:%d+: fdb: " .. text, why)
      end
      raises("field '1': aa:bb:cc:dd:ee:ff expected", { "10.0.0.2", dev = "v0" })
      raises("field '1': aa:bb:cc:dd:ee:ff expected", { dev = "v0" })
      raises("field 'dev': a device", { "02:00:00:00:00:0a" })
      raises("field 'vlan': integer from 0 to 4095", { "02:00:00:00:00:0a", dev = "v0",
        vlan = 4096 })
      raises("field 'vni': integer from 0 to 16777215", { "02:00:00:00:00:0a", dev = "v0",
        vni = 1 << 24 })
      raises("field 'dst': an address", { "02:00:00:00:00:0a", dev = "v0", dst = "here" })
      raises("field 'state': one of permanent, static, dynamic", { "02:00:00:00:00:0a",
        dev = "v0", state = "stale" })
      raises("field 'master': boolean", { "02:00:00:00:00:0a", dev = "v0", master = "br0" })
    end)
  end)
end)

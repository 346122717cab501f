local sys = require "nsbox.sys"
local netns = require "netns"

local netlink, errno = sys.netlink, sys.errno

local function with(data, f)
  netns(function()
    local nl <close> = assert(netlink.open())
    assert(nl:link_add { "br0", kind = "bridge", data = data })
    assert(nl:link_add { "p0", kind = "veth", master = "br0", peer = { "q0" } })
    f(nl)
  end)
end

describe("nsbox.sys.netlink ports #uml", function()
  needs "netns"

  it("have the options of bridge(8), on and off #valgrind", function()
    with(nil, function(nl)
      local words = { "hairpin", "guard", "root_block", "fastleave", "learning", "flood",
        "mcast_flood", "bcast_flood", "mcast_to_unicast", "proxy_arp", "neigh_suppress", "isolated",
        "locked" }
      -- bridge(8)'s JSON has its own names for some
      local theirs = { proxy_arp = "proxyarp", bcast_flood = "bcast_flood" }
      for _, word in ipairs(words) do
        for _, on in ipairs { true, false } do
          assert.is_true(nl:port_set { "p0", [word] = on })
          local want = netns.bridge("link show dev p0")[1][theirs[word] or word]
          if want ~= nil then assert.equal(on, want, word) end
          assert.equal(on, nl:link_get("p0").port[word], word)
        end
      end
      local m <close> = assert(netlink.monitor(nil, { "link" }))
      for _, name in ipairs { "br0", "p0", "q0" } do assert(nl:link_set { name, up = true }) end
      -- the kernel starts the port a little later
      while nl:link_get("p0").state ~= "up" do
        assert(next(sys.fd.poll({ [m:fileno()] = "r" }, 30)))
        m:read()
      end
      assert.is_true(nl:port_set { nl:index "p0", cost = 55, priority = 20, state = "disabled" })
      local want = netns.bridge("link show dev p0")[1]
      assert.same({ 55, 20, "disabled" }, { want.cost, want.priority, want.state })
      local port = nl:link_get("p0").port
      assert.same({ 55, 20, "disabled" }, { port.cost, port.priority, port.state })
      assert.is_nil(nl:link_get("br0").port)
    end)
  end)

  it("refuse what is no port, no option, no state", function()
    with(nil, function(nl)
      local _, message, number = nl:port_set { "q0", hairpin = true }
      assert.matches("^port_set q0: ", message)
      assert(number == errno.EINVAL or number == errno.EOPNOTSUPP)
      assert.same({ n = 3, nil, "port_set nope: No such device", errno.ENODEV },
        table.pack(nl:port_set { "nope", hairpin = true }))
      assert.error_matches(function() nl:port_set { "p0", hairpn = true } end,
        "did you mean 'hairpin'")
      assert.error_matches(function() nl:port_set { "p0", state = "off" } end,
        "port: field 'state': one of disabled")
      assert.error_matches(function() nl:port_set { "p0", priority = 64 } end, "from 0 to 63")
      for _, vid in ipairs { 0, 4095, -1, 1.5, "x" } do
        assert.error_matches(function() nl:vlan_add { "p0", vid = vid } end,
          "vlan: field 'vid': integer from 1 to 4094")
      end
      assert.error_matches(function() nl:vlan_add { "p0" } end, "field 'vid'")
      assert.error_matches(function() nl:vlan_add { "p0", vid = 5, vid_end = 4 } end,
        "field 'vid_end': not less than vid")
    end)
  end)

  it("say by the kernel's text that it does not filter VLANs", function()
    with(nil, function(nl)
      if require("nsbox.probe").check "vlan_filtering" then return end
      local ok, message, number = nl:vlan_add { "p0", vid = 5 }
      assert.is_nil(ok)
      assert.matches("^vlan_add p0: ", message)
      assert.equal(errno.EOPNOTSUPP, number)
    end)
  end)

  it("admit VLANs, one and ranges", function()
    needs "vlan_filtering"
    with({ vlan_filtering = true, vlan_default_pvid = 1 }, function(nl)
      assert.is_true(nl:vlan_add { "p0", vid = 10, pvid = true, untagged = true })
      assert.is_true(nl:vlan_add { "p0", vid = 100, vid_end = 200 })
      assert.is_true(nl:vlan_add { "br0", vid = 10, self = true })
      assert.is_true(nl:vlan_del { "p0", vid = 150 })
      local function find(list, key, value)
        for _, entry in ipairs(list) do if entry[key] == value then return entry end end
      end
      local want = find(netns.bridge "vlan", "ifname", "p0").vlans
      local got = find(nl:vlan_list(), "index", nl:index "p0").vlans
      assert.equal(#want, #got)
      for i, vlan in ipairs(want) do
        assert.same({ vlan.vlan, vlan.vlanEnd }, { got[i].vid, got[i].vid_end })
        local flags = " " .. table.concat(vlan.flags or {}, " ") .. " "
        assert.equal(flags:find " PVID " ~= nil, got[i].pvid)
        assert.equal(flags:find " Egress Untagged " ~= nil, got[i].untagged)
      end
      assert.truthy(find(find(nl:vlan_list(), "index", nl:index "br0").vlans, "vid", 10))
    end)
  end)
end)

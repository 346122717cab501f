-- The verbs macvlan, ipvlan, vlan, vxlan and add.

local dkjson = require "dkjson"
local nsbox = require "nsbox"
local blame = require "blame"
local netns = require "netns"
local sys = require "nsbox.sys"
local misuse, failure = blame.misuse, blame.failure

-- what ip(8) says in another namespace
local function ip_in(pid, words)
  local out = sh(("nsenter -t %d -n ip -j -d %s"):format(pid, words))
  return dkjson.decode(out) or error(out, 2)
end

-- f(scope, pid) with a device v0 to stand on, and a process elsewhere
local function with(f)
  return netns(function()
    local nl <close> = assert(sys.netlink.open())
    assert(nl:link_add { "v0", kind = "veth", up = true, peer = { "v1" } })
    local other <close> = assert(sys.process.spawn { argv = { "sleep", "60" }, new = { "net" },
      env = { "PATH=" .. os.getenv "PATH" } })
    local s <close> = nsbox.scope()
    local ok, err = pcall(f, s, other:pid(), nl)
    s:close()
    other:kill "KILL"
    assert(sys.fd.poll({ [other:fileno()] = "r" }, 30))
    other:status()
    if not ok then error(err, 0) end
  end)
end

local function count(pid)
  return #ip_in(pid, "link show")
end

describe("nsbox.device", function()
  it("says what is wrong at the caller's line", function()
    local s <close> = nsbox.scope()
    misuse(function() s:macvlan { ("x"):rep(16), link = "v0" } end, "has 16 characters")
    misuse(function() s:macvlan { "a%d", link = "v0" } end, "is no device name")
    misuse(function() s:macvlan { "a", link = "v0", mode = "brigde" } end, "did you mean 'bridge'?")
    misuse(function() s:macvlan { "a", lnk = "v0" } end, "did you mean 'link'?")
    misuse(function() s:macvlan "a" end, "macvlan: on which device?")
    misuse(function() s:macvlan { "a", link = {} } end, "link: expected a device")
    misuse(function() s:ipvlan { "a", link = "v0", mode = "l4" } end, "mode: expected one of 'l2'")
    misuse(function() s:ipvlan { "a", link = "v0", flags = "privat" } end, "mean 'private'?")
    misuse(function() s:vlan { "a", link = "v0" } end, "vlan: which id?")
    misuse(function() s:vlan { "a", link = "v0", id = 0 } end, "between 1 and 4094, got 0")
    misuse(function() s:vlan { "a", link = "v0", id = 4095 } end, "between 1 and 4094, got 4095")
    misuse(function() s:vxlan { "a", id = 1 << 24 } end, "between 0 and 16777215, got 16777216")
    misuse(function() s:vxlan { "a", id = 5, group = "10.0.0.1" } end, "no multicast address")
    misuse(function() s:vxlan { "a", id = 5, group = "239.0.0.1" } end, "group: by which device?")
    local both = { "a", id = 5, group = "239.0.0.1", remote = "10.0.0.1", link = "v0" }
    misuse(function() s:vxlan(both) end, "exclude each other")
    misuse(function() s:vxlan { "a", id = 5, dstport = 0 } end, "between 1 and 65535")
    misuse(function() s:add "a" end, "add: which type?")
    misuse(function() s:add { "a", type = "veth" } end, "a veth is made by scope:veth")
    misuse(function() s:add { "a", type = "no kind" } end, "expected a kind of device")
    misuse(function() s:add { "a", type = "vrf" } end, "which table?")
    misuse(function() s:add { "a", type = "tap", link = "v0" } end, "unknown option 'link'")
    misuse(function() s:add { "a", type = "tap", user = "root" } end, "user: expected an id")
    misuse(function() s:add { "a", type = "dummy", netns = -1 } end, "netns: expected a pid")
  end)

  describe("of the kind macvlan", function()
    needs "netns"
    needs "macvlan"

    it("is born in the other namespace, as it was told #valgrind", function()
      with(function(s, pid)
        local link = s:macvlan { "eth1", link = "v0", netns = pid, mac = "02:00:00:00:00:07",
          mtu = 1400, addr = { "10.0.3.2/24", "fd00::2/64" }, alias = "a card",
          mode = "private" }
        local want = ip_in(pid, "addr show eth1")[1]
        assert.same({ "macvlan", "private", 1400, "02:00:00:00:00:07", "a card" }, {
          want.linkinfo.info_kind, want.linkinfo.info_data.mode, want.mtu, want.address,
          want.ifalias })
        assert.same({ "10.0.3.2", "fd00::2" },
          { want.addr_info[1]["local"], want.addr_info[2]["local"] })
        assert.is_truthy(table.concat(want.flags, " "):find "UP")
        assert.same({ "eth1", "macvlan", "02:00:00:00:00:07", "10.0.3.2", "pid " .. pid, true },
          { link.name, link.kind, link.mac, link.ip, link.netns, link.fresh })
        assert.equal(want.ifindex, link.index)
        assert.matches("^eth1@if%d+ in pid %d+: 10%.0%.3%.2/24 fd00::2/64, up$", tostring(link))
        assert.equal("scope (here): 1 link", tostring(s))
        link:close()
        assert.equal(1, count(pid))
      end)
    end)

    it("stands on a device by index, and on a link object, wherever that is", function()
      with(function(s, pid, nl)
        local br = s:bridge { "br0", netns = pid, addr = "10.1.0.1/24" }
        local a = s:macvlan { "a", link = br }
        assert.matches("^a@if", tostring(a))
        assert.equal(1, #netns.ip "link show a")
        assert.equal("bridge", netns.ip("link show a")[1].linkinfo.info_data.mode)
        local b = s:macvlan { link = nl:index "v0" }
        assert.matches("^macvlan%x+$", b.name)
        s:close()
        assert.equal(3, #netns.ip "link show")
      end)
    end)

    it("is a port of a bridge that is where it is itself", function()
      with(function(s, pid)
        local br = s:bridge { "br0", netns = pid }
        s:macvlan { "a", link = "v0", netns = pid, master = "br0" }
        s:macvlan { "b", link = "v0", netns = pid, master = br }
        assert.same({ "br0", "br0" },
          { ip_in(pid, "link show a")[1].master, ip_in(pid, "link show b")[1].master })
        local err = failure(function() s:macvlan { "c", link = "v0", master = br } end, "EXDEV")
        assert.same({ "macvlan", "c" }, { err.op, err.subject })
        err = failure(function() s:macvlan { "c", link = "v0", master = "br0" } end, "ENODEV")
        assert.matches("^there is no device br0; there are: ", err.hint)
        assert.equal(3, #netns.ip "link show")
      end)
    end)

    it("leaves nothing when it cannot be made", function()
      with(function(s, pid, nl)
        s:macvlan { "eth0", link = "v0", netns = pid }
        local err = failure(function() s:macvlan { "eth0", link = "v0", netns = pid } end, "EEXIST")
        assert.same({ "macvlan", "eth0", "pid " .. pid }, { err.op, err.subject, err.netns })
        err = failure(function() s:macvlan { "e", link = "nope", netns = pid } end, "ENODEV")
        assert.matches("link nope: No such device", tostring(err))
        failure(function() s:macvlan { "e", link = 9999 } end, "ENODEV")
        failure(function() s:macvlan { "e", link = "v0", netns = "/nope" } end, "ENOENT")
        -- what cannot follow undoes what was made
        failure(function()
          s:macvlan { "e", link = "v0", netns = pid, addr = { "10.0.0.1/24", "10.0.0.1/24" } }
        end, "EEXIST")
        -- a port of a bridge is no parent
        local br = s:bridge { "br0", addr = false }
        assert(nl:link_set { "v1", master = br.index })
        failure(function() s:macvlan { "e", link = "v1", netns = pid } end, "EBUSY")
        assert.equal(2, count(pid))
        assert.equal("scope (here): 2 links", tostring(s))
      end)
    end)

    it("goes to no process that has ended", function()
      with(function(s)
        local dead <close> = assert(sys.process.spawn { argv = { "true" },
          env = { "PATH=" .. os.getenv "PATH" } })
        local pid = dead:pid()
        assert(sys.fd.poll({ [dead:fileno()] = "r" }, 30))
        dead:status()
        local err = failure(function() s:macvlan { "e", link = "v0", netns = pid } end, "ESRCH")
        assert.matches("there is no process " .. pid, tostring(err))
      end)
    end)

    it("may be what all of a passthru parent go through", function()
      with(function(s, pid)
        s:macvlan { "eth0", link = "v0", netns = pid, mode = "passthru", nopromisc = true }
        assert.equal("passthru", ip_in(pid, "link show eth0")[1].linkinfo.info_data.mode)
        failure(function() s:macvlan { "eth1", link = "v0", netns = pid } end, "EINVAL")
      end)
    end)
  end)

  it("of the kind vxlan has its outer side where its link is", function()
    needs "netns"
    needs "vxlan"
    with(function(s, pid)
      s:vxlan { "vx0", id = 42, link = "v0", remote = "10.0.0.9", src = "10.0.0.1", ttl = 3,
        netns = pid, addr = "10.42.0.1/24" }
      local data = ip_in(pid, "link show vx0")[1].linkinfo.info_data
      assert.same({ 42, "10.0.0.9", "10.0.0.1", 4789, 3 },
        { data.id, data.remote, data["local"], data.port, data.ttl })
      assert.matches("4789", sh "ss -Hunl")
      s:vxlan { "vx1", id = 42, netns = pid, dstport = 8472 }
      assert.matches("8472", sh(("nsenter -t %d -n ss -Hunl"):format(pid)))
      s:vxlan { "vx2", id = 43, group = "239.1.1.1", link = "v0" }
      assert.equal("239.1.1.1", netns.ip("link show vx2")[1].linkinfo.info_data.group)
      failure(function() s:vxlan { "vx3", id = 43, group = "239.1.1.1", link = "v0" } end, "EEXIST")
    end)
  end)

  it("of the kind tap and tun is made by ioctl, and gone with the scope", function()
    needs "netns"
    needs "tun"
    with(function(s, pid)
      local tap = s:add { "tap0", type = "tap", netns = pid, user = 0, mtu = 1300,
        addr = "10.7.0.1/24", mac = "02:00:00:00:00:01" }
      s:add { "tun0", type = "tun", pi = true }
      local want = ip_in(pid, "link show tap0")[1]
      assert.same({ "tun", "tap", true, 1300, "02:00:00:00:00:01" }, { want.linkinfo.info_kind,
        want.linkinfo.info_data.type, want.linkinfo.info_data.persist, want.mtu, want.address })
      assert.equal("tun", netns.ip("link show tun0")[1].linkinfo.info_data.type)
      failure(function() s:add { "tap0", type = "tap", netns = pid } end, "EBUSY")
      failure(function() s:add { "tap1", type = "tap", mtu = 65000, up = true,
        mac = "00:00:00:00:00:00" } end, "EADDRNOTAVAIL")
      assert.equal("tap0 in pid " .. pid .. ": 10.7.0.1/24, down", tostring(tap:down()))
      s:close()
      assert.equal(1, count(pid))
      assert.equal(3, #netns.ip "link show")
    end)
  end)

  it("needs privilege over both namespaces, and leaves nothing where it has it #user", function()
    needs "netns"
    needs "macvlan"
    local outside = sys.process.getpid()
    with(function(s)
      local ok, err = pcall(s.macvlan, s, { "e", link = "v0", netns = outside })
      assert.is_true(not ok and (err.code == "EPERM" or err.code == "EACCES"), tostring(err))
      ok, err = pcall(s.macvlan, s, { "e", link = "v0", netns = 1 })
      assert.is_true(not ok and (err.code == "EPERM" or err.code == "EACCES"), tostring(err))
      assert.equal(3, #netns.ip "link show")
      assert.equal("scope (here): empty", tostring(s))
    end)
    -- nor has one who is nobody's root
    local s <close> = nsbox.scope { "here" .. sys.process.getpid() }
    local err = failure(function() s:add { "e", type = "ifb" } end, "EPERM")
    assert.equal("link_add", err.step)
    failure(function() s:link("lo"):set { mtu = 1300 } end, "EPERM")
  end)

  it("of a kind that the kernel lacks is an error that names it", function()
    needs "netns"
    with(function(s)
      local err = failure(function() s:add { "x0", type = "nosuchkind" } end, "EOPNOTSUPP")
      assert.matches("Unknown device type", tostring(err))
      assert.equal("scope (here): empty", tostring(s))
    end)
  end)

  describe("of a kind that other machines may lack #uml", function()
    needs "netns"

    it("ipvlan, all modes and flags", function()
      needs "ipvlan"
      with(function(s, pid)
        local nl <close> = assert(sys.netlink.open())
        -- all of one device have one mode
        for mode, flags in pairs { l2 = "bridge", l3 = "private", l3s = "vepa" } do
          assert(nl:link_add { "p" .. mode, kind = "veth", up = true, peer = { "q" .. mode } })
          local link = s:ipvlan { mode, link = "p" .. mode, netns = pid, mode = mode,
            flags = flags, addr = "10.0.3.2/24" }
          local want = ip_in(pid, "addr show " .. mode)[1]
          assert.same({ "ipvlan", mode, true, "10.0.3.2" }, { want.linkinfo.info_kind,
            want.linkinfo.info_data.mode, want.linkinfo.info_data[flags],
            want.addr_info[1]["local"] })
          assert.equal(flags, link:get().data.flags)
        end
        failure(function() s:ipvlan { "l2", link = "v0", netns = pid } end, "EEXIST")
        local m = s:macvlan { "m", link = "v0" }
        failure(function() s:ipvlan { "i", link = "v0" } end, "EBUSY")
        m:close()
        s:ipvlan { "i", link = "v0" }
      end)
    end)

    it("vlan, both protocols", function()
      needs "vlan"
      with(function(s, pid)
        local link = s:vlan { "v0.7", link = "v0", id = 7, netns = pid, addr = "10.7.0.1/24" }
        s:vlan { "v0.8", link = "v0", id = 4094, protocol = "802.1ad", gvrp = false }
        local want = ip_in(pid, "addr show v0.7")[1]
        assert.same({ "vlan", 7, "802.1Q", "10.7.0.1" }, { want.linkinfo.info_kind,
          want.linkinfo.info_data.id, want.linkinfo.info_data.protocol,
          want.addr_info[1]["local"] })
        want = netns.ip("link show v0.8")[1].linkinfo.info_data
        assert.same({ 4094, "802.1ad" }, { want.id, want.protocol })
        assert.matches("^v0%.7@if%d+ in pid %d+: 10%.7%.0%.1/24, up$", tostring(link))
        failure(function() s:vlan { "again", link = "v0", id = 7 } end, "EEXIST")
        local ok, err = pcall(s.vlan, s, { "big", link = "v0", id = 9, mtu = 9000 })
        assert.is_true(not ok and (err.code == "EINVAL" or err.code == "ERANGE"))
        -- and one on top of another one
        s:vlan { "q", link = link, id = 9 }
      end)
    end)

    it("dummy, vrf and ifb", function()
      for _, kind in ipairs { "dummy", "vrf", "ifb" } do needs(kind) end
      with(function(s, pid)
        s:add { "d0", type = "dummy", netns = pid, addr = "10.0.0.1/24" }
        s:add { "red", type = "vrf", table = 10, netns = pid }
        s:add { "i0", type = "ifb" }
        assert.equal("dummy", ip_in(pid, "link show d0")[1].linkinfo.info_kind)
        assert.equal(10, ip_in(pid, "link show red")[1].linkinfo.info_data.table)
        assert.equal("ifb", netns.ip("link show i0")[1].linkinfo.info_kind)
        s:close()
        assert.equal(1, count(pid))
      end)
    end)
  end)
end)

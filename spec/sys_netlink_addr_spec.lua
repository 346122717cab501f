local sys = require "nsbox.sys"
local netns = require "netns"

local netlink, errno = sys.netlink, sys.errno

-- f(handle) in a network namespace of its own, which has a bridge br0
local function with(f)
  netns(function()
    local nl <close> = assert(netlink.open())
    assert(nl:link_add { "br0", kind = "bridge", up = true })
    f(nl)
  end)
end

-- what ip(8) says of the addresses of br0, by address
local function ip()
  local byaddr = {}
  for _, a in ipairs(netns.ip("addr show dev br0")[1].addr_info) do byaddr[a["local"]] = a end
  return byaddr
end

-- the same of ours
local function list(nl, filter)
  local byaddr = {}
  for _, a in ipairs(assert(nl:addr_list(filter))) do byaddr[a.addr] = a end
  return byaddr
end

describe("nsbox.sys.netlink addresses", function()
  needs "netns"

  it("are given as told, and read as ip reads them #valgrind", function()
    with(function(nl)
      assert.is_true(nl:addr_add { "10.0.0.1/24", dev = "br0", broadcast = "10.0.0.255",
        label = "br0:lab", scope = "link", metric = 77, noprefixroute = true })
      assert.is_true(nl:addr_add { "fd00::1/64", dev = nl:index "br0", nodad = true,
        home = true, mngtmpaddr = false })
      local want, got = ip(), list(nl, { dev = "br0" })
      local w, g = want["10.0.0.1"], got["10.0.0.1/24"]
      assert.equal(24, w.prefixlen)
      assert.equal("10.0.0.255", w.broadcast)
      assert.equal("br0:lab", w.label)
      assert.equal("link", w.scope)
      assert.equal(77, w.metric)
      assert.is_true(w.noprefixroute)
      assert.same({ addr = "10.0.0.1/24", dev = nl:index "br0", family = "inet", scope = "link",
        label = "br0:lab", broadcast = "10.0.0.255", metric = 77, noprefixroute = true,
        permanent = true, valid_lft = "forever", preferred_lft = "forever" }, g)
      -- no route to the subnet came with it
      assert.same({}, netns.ip "route show 10.0.0.0/24")

      w, g = want["fd00::1"], got["fd00::1/64"]
      assert.equal(64, w.prefixlen)
      assert.is_true(w.nodad)
      assert.is_true(w.home)
      assert.is_nil(w.tentative)
      assert.is_nil(w.mngtmpaddr)
      assert.same({ addr = "fd00::1/64", dev = nl:index "br0", family = "inet6",
        scope = "global", nodad = true, home = true, permanent = true, valid_lft = "forever",
        preferred_lft = "forever" }, g)
    end)
  end)

  it("have the scope host on 127.0.0.0/8, as ip gives it", function()
    with(function(nl)
      assert.is_true(nl:addr_add { "127.0.0.2/8", dev = "br0" })
      assert.equal("host", ip()["127.0.0.2"].scope)
      assert.equal("host", list(nl)["127.0.0.2/8"].scope)
    end)
  end)

  it("of two ends have the prefix of the other one", function()
    with(function(nl)
      assert.is_true(nl:addr_add { "10.0.0.1", peer = "10.9.0.2/32", dev = "br0" })
      assert.is_true(nl:addr_add { "fd00::1", peer = "fd09::2/128", dev = "br0", nodad = true })
      local want, got = ip(), list(nl)
      assert.equal("10.9.0.2", want["10.0.0.1"].address)
      assert.equal(32, want["10.0.0.1"].prefixlen)
      assert.equal("10.9.0.2/32", got["10.0.0.1"].peer)
      assert.equal("fd09::2", want["fd00::1"].address)
      assert.equal("fd09::2/128", got["fd00::1"].peer)
      -- what was read names it
      for addr, a in pairs(got) do
        if a.scope == "global" then
          assert.is_true(nl:addr_del { addr, peer = a.peer, dev = a.dev })
        end
      end
      assert.is_nil(ip()["10.0.0.1"])
      assert.is_nil(ip()["fd00::1"])
    end)
  end)

  it("live for a time, which a replacement changes", function()
    with(function(nl)
      for _, addr in ipairs { "10.0.0.1/24", "fd00::1/64" } do
        local bare = addr:match "[^/]+"
        assert.is_true(nl:addr_replace { addr, dev = "br0", nodad = true, valid_lft = 5000,
          preferred_lft = 3000 })
        local w, g = ip()[bare], list(nl)[addr]
        assert(w.valid_life_time > 4000 and w.valid_life_time <= 5000)
        assert(w.preferred_life_time > 2000 and w.preferred_life_time <= 3000)
        assert(g.valid_lft > 4000 and g.valid_lft <= 5000)
        assert(g.preferred_lft > 2000 and g.preferred_lft <= 3000)
        assert.is_nil(g.permanent)
        assert.is_true(nl:addr_replace { addr, dev = "br0", valid_lft = "forever" })
        assert.equal(4294967295, ip()[bare].valid_life_time)
        g = list(nl)[addr]
        assert.same({ "forever", "forever", true }, { g.valid_lft, g.preferred_lft, g.permanent })
      end
    end)
  end)

  it("fail with the kernel's sentence", function()
    with(function(nl)
      local function fails(text, number, ...)
        assert.same({ n = 3, nil, text, number }, table.pack(...))
      end
      assert.is_true(nl:addr_add { "10.0.0.1/24", dev = "br0" })
      fails("addr_add 10.0.0.1/24: ipv4: Address already assigned", errno.EEXIST,
        nl:addr_add { "10.0.0.1/24", dev = "br0" })
      fails("addr_add 10.0.0.1/24: dev nope: No such device", errno.ENODEV,
        nl:addr_add { "10.0.0.1/24", dev = "nope" })
      local _, why, number = nl:addr_add { "10.0.0.1/24", dev = 4711 }
      assert.matches("^addr_add 10%.0%.0%.1/24: .+", why)
      assert.equal(errno.ENODEV, number)
      for _, addr in ipairs { "10.0.0.1/25", "fd00::1/64" } do
        _, why, number = nl:addr_del { addr, dev = "br0" }
        assert.matches("^addr_del " .. addr:gsub("%p", "%%%0") .. ": .+", why)
        assert.equal(errno.EADDRNOTAVAIL, number)
      end
      assert.equal("10.0.0.1", netns.ip("addr show dev br0")[1].addr_info[1]["local"])
    end)
  end)

  it("raise when they can be none, and nothing is sent", function()
    with(function(nl)
      local function raises(text, addr)
        local _, why = pcall(function() nl:addr_add(addr) end)
        assert.matches("^[^\n]*sys_netlink_addr_spec.lua:%d+: addr: " .. text, why)
      end
      for _, bad in ipairs { "10.0.0.1/33", "300.1.1.1/24", "fd00::1/129", "10.0.0.1/", "/24",
        "10.0.0.1/-1", "10.0.0.1/ 8", "10.0.0.1/8x", "10.0.0/24", "fd00::g/64", "",
        ("1"):rep(100) .. "/8", "10.0.0.1/99999999999999999999", "default" } do
        raises("field '1': an address, its prefix at most /32 %(IPv6: /128%), expected",
          { bad, dev = "br0" })
      end
      raises("field '1': an address, its", { 10, dev = "br0" })
      raises("field '1': an address, its", { dev = "br0" })
      raises("field '1': an address with its prefix expected", { "10.0.0.1", dev = "br0" })
      raises("field '1': without prefix, as there is a peer", { "10.0.0.1/24", dev = "br0",
        peer = "10.0.0.2/24" })
      raises("field 'peer': an address of the same family", { "10.0.0.1", dev = "br0",
        peer = "fd00::2" })
      raises("field 'dev': a device", { "10.0.0.1/24" })
      raises("field 'dev': a device", { "10.0.0.1/24", dev = true })
      raises("field 'broadcast': an address of the other family", { "10.0.0.1/24", dev = "br0",
        broadcast = "fd00::1" })
      raises("field 'scope': one of global, site, link, host", { "10.0.0.1/24", dev = "br0",
        scope = "near" })
      raises("field 'nodad': boolean", { "10.0.0.1/24", dev = "br0", nodad = 1 })
      raises("field 'valid_lft': more than 0", { "10.0.0.1/24", dev = "br0", valid_lft = 0 })
      raises("field 'valid_lft': one of forever", { "10.0.0.1/24", dev = "br0",
        valid_lft = "1h" })
      raises("field 'preferred_lft': at most as much", { "10.0.0.1/24", dev = "br0",
        valid_lft = 5, preferred_lft = 6 })
      raises("field 'label': at most 15 bytes", { "10.0.0.1/24", dev = "br0",
        label = "br0:0123456789012" })
      raises("unknown field 'nodat' %(did you mean 'nodad'%?%)", { "10.0.0.1/24", dev = "br0",
        nodat = true })
      assert.error_matches(function() nl:addr_list { fam = "inet" } end, "unknown field 'fam'")
      assert.error_matches(function() nl:addr_list "br0" end, "table expected")
      assert.same({}, nl:addr_list { family = "inet" })
    end)
  end)

  it("are listed by device and family, and come in batches", function()
    with(function(nl)
      assert.is_true(nl:link_add { "br1", kind = "bridge", index = 77 })
      local b = nl:batch()
      b:addr_add { "10.0.0.1/24", dev = "br0" }
      b:addr_add { "10.0.0.1/24", dev = "br0" }
      b:addr_add { "10.0.1.1/24", dev = 77 }
      b:addr_add { "10.0.2.1/24", dev = "nope" }
      b:addr_add { "fd00::1/64", dev = 77, nodad = true }
      local results, failed = b:send()
      assert.equal(2, failed)
      assert.same({ true, { "addr_add 10.0.0.1/24: ipv4: Address already assigned",
        errno.EEXIST }, true, { "addr_add 10.0.2.1/24: dev nope: No such device",
        errno.ENODEV }, true }, results)
      local function names(filter)
        local set = {}
        for addr, a in pairs(list(nl, filter)) do
          if a.scope == "global" then set[#set + 1] = addr end
        end
        table.sort(set)
        return table.concat(set, " ")
      end
      assert.equal("10.0.0.1/24 10.0.1.1/24 fd00::1/64", names())
      assert.equal("10.0.0.1/24", names { dev = "br0" })
      assert.equal("10.0.1.1/24 fd00::1/64", names { dev = 77 })
      assert.equal("10.0.1.1/24", names { dev = 77, family = "inet" })
      assert.equal("fd00::1/64", names { family = "inet6" })
      assert.same({}, nl:addr_list { dev = "lo" })
      assert.equal(errno.ENODEV, (select(3, nl:addr_list { dev = "nope" })))
    end)
  end)
end)

local sys = require "nsbox.sys"
local netns = require "netns"

local netlink, errno = sys.netlink, sys.errno

describe("nsbox.sys.netlink.monitor", function()
  needs "netns"

  it("tells what changes, and never waits #valgrind", function()
    netns(function()
      local nl <close> = assert(netlink.open())
      local m <close> = assert(netlink.monitor(nil, { "link" }))
      assert.matches("^nsbox.netlink.monitor %(%d+%)$", tostring(m))
      assert.same({ n = 3, nil, "monitor: Resource temporarily unavailable", errno.EAGAIN },
        table.pack(m:read()))
      assert.same({}, sys.fd.poll({ [m:fileno()] = "r" }, 0))
      assert(nl:link_add { "br0", kind = "bridge", up = true })
      assert.same({ [m:fileno()] = "r" }, sys.fd.poll({ [m:fileno()] = "r" }, 10))
      local events = assert(m:read())
      local last = events[#events]
      assert.same({ "link", "new", "br0", "bridge", true },
        { last.what, last.action, last.name, last.kind, last.up })
      assert(nl:link_del { "br0" })
      events = assert(m:read())
      last = events[#events]
      assert.same({ "link", "del", "br0" }, { last.what, last.action, last.name })
      assert.equal(errno.EAGAIN, (select(3, m:read())))
    end)
  end)

  it("watches the namespace that it is told to", function()
    netns(function()
      local ns <close> = netns.new()
      local nl <close> = assert(netlink.open(ns))
      local there <close> = assert(netlink.monitor(ns, { "link" }))
      local here <close> = assert(netlink.monitor(nil, { "link" }))
      assert(nl:link_add { "br0", kind = "bridge" })
      assert.equal("br0", there:read()[1].name)
      assert.equal(errno.EAGAIN, (select(3, here:read())))
    end)
  end)

  it("tells a port that left its bridge from a link that is gone", function()
    netns(function()
      local nl <close> = assert(netlink.open())
      assert(nl:link_add { "br0", kind = "bridge" })
      assert(nl:link_add { "v0", kind = "veth", master = "br0", peer = { "v1" } })
      local links <close> = assert(netlink.monitor(nil, { "link" }))
      local ports <close> = assert(netlink.monitor(nil, { "port" }))
      assert(nl:port_set { "v0", isolated = true })
      local events = assert(ports:read())
      local last = events[#events]
      assert.same({ "port", "new", "v0", nl:index "br0", true },
        { last.what, last.action, last.name, last.master, last.port.isolated })
      assert(nl:link_set { "v0", master = false })
      for _, event in ipairs(assert(links:read())) do
        assert.same({ "link", "new" }, { event.what, event.action })
      end
      local gone = false
      for _, event in ipairs(assert(ports:read())) do
        assert.equal("port", event.what)
        gone = gone or event.action == "del" and event.name == "v0"
      end
      assert.is_true(gone)
    end)
  end)

  it("tells of addresses and routes", function()
    netns(function()
      local nl <close> = assert(netlink.open())
      assert(nl:link_add { "br0", kind = "bridge", up = true })
      local m <close> = assert(netlink.monitor(nil, { "addr", "route" }))
      assert(nl:addr_add { "10.0.0.1/24", dev = "br0" })
      assert(nl:addr_add { "fd00::1/64", dev = "br0", nodad = true })
      assert(nl:route_add { "10.1.0.0/16", via = "10.0.0.9", metric = 5 })
      assert(nl:route_del { "10.1.0.0/16" })
      assert(nl:addr_del { "10.0.0.1/24", dev = "br0" })
      local seen, missing = {}, 6
      local wanted = { ["new addr 10.0.0.1/24"] = 1, ["new addr fd00::1/64"] = 1,
        ["new route 10.0.0.0/24"] = 1, ["new route 10.1.0.0/16"] = 1,
        ["del route 10.1.0.0/16"] = 1, ["del addr 10.0.0.1/24"] = 1 }
      -- the kernel has a worker for what IPv6 tells
      while missing > 0 do
        local ready = sys.fd.poll({ [m:fileno()] = "r" }, 20)
        assert(next(ready), "nothing more is told")
        for _, event in ipairs(assert(m:read())) do
          local text = ("%s %s %s"):format(event.action, event.what, event.addr or event.dst)
          seen[text] = event
          if wanted[text] then wanted[text], missing = nil, missing - 1 end
        end
      end
      assert.equal(nl:index "br0", seen["new addr 10.0.0.1/24"].dev)
      assert.same({ "10.0.0.9", 5 }, { seen["new route 10.1.0.0/16"].via,
        seen["new route 10.1.0.0/16"].metric })
    end)
  end)

  it("says that it lost changes, once, and goes on", function()
    netns(function()
      local nl <close> = assert(netlink.open())
      local m <close> = assert(netlink.monitor(nil, { "link" }))
      assert(nl:link_add { "br0", kind = "bridge" })
      -- each change takes some 2 KiB of a buffer of 1 or 2 MiB
      local b = nl:batch()
      for i = 1, 4000 do b:link_set { "br0", mtu = 1000 + i % 2 } end
      assert.equal(0, (select(2, b:send())))
      local lost, changes = 0, 0
      while true do
        local events, _, number = m:read()
        if not events then
          if number == errno.EAGAIN then break end
          assert.equal(errno.ENOBUFS, number)
          lost = lost + 1
        else
          changes = changes + #events
        end
      end
      assert.equal(1, lost)
      assert(changes > 0 and changes < 4000)
      assert(nl:link_set { "br0", mtu = 1234 })
      local events = assert(m:read())
      assert.equal(1234, events[#events].mtu)
    end)
  end)

  it("raises on wrong arguments and when it is closed", function()
    assert.error_matches(function() netlink.monitor(nil, { "lnk" }) end,
      "unknown object 'lnk' %(known: link, ")
    assert.error_matches(function() netlink.monitor(nil, {}) end, "nothing to watch")
    assert.error_matches(function() netlink.monitor(nil, { 5 }) end, "list of strings expected")
    assert.error_matches(function() netlink.monitor() end, "table expected")
    assert.equal(errno.ENOENT, (select(3, netlink.monitor("/nope", { "link" }))))
    local m = assert(netlink.monitor(nil, { "link" }))
    assert.is_true(m:close())
    assert.is_true(m:close())
    assert.equal("nsbox.netlink.monitor (closed)", tostring(m))
    assert.error_matches(function() m:read() end, "attempt to use a closed nsbox.netlink.monitor")
    assert.error_matches(function() m:fileno() end, "closed")
  end)
end)

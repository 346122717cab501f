local netns = require "netns"
local sys = require "nsbox.sys"
local world = require "world"

local netlink, errno = sys.netlink, sys.errno

local function listed(where, protocol, family)
  local out = {}
  for _, s in ipairs(assert(netlink.sockets(where, protocol, family))) do
    assert.equal(0, s.uid)
    assert.is_true(s.inode > 0)
    out[#out + 1] = ("%s %d%s"):format(s.addr, s.port, s.v6only and " v6only" or "")
  end
  table.sort(out)
  return table.concat(out, ", ")
end

describe("nsbox.sys.netlink.sockets", function()
  needs("netns", "bridge")

  it("tells who waits where, here and elsewhere", function()
    netns(function()
      local w <close> = world.make {}
      w:serve(nil, "tcp", "127.0.0.1", 80)
      w:serve(nil, "tcp", "::", 81)
      w:serve(nil, "udp", "0.0.0.0", 53)
      w:serve(w.web, "udp", "10.0.3.2", 54)
      assert.equal("127.0.0.1 80", listed(nil, "tcp", "inet"))
      assert.equal(":: 81", listed(nil, "tcp", "inet6"))
      assert.equal("0.0.0.0 53", listed(nil, "udp", "inet"))
      assert.equal("10.0.3.2 54", listed(w.web._handles.net, "udp", "inet"))
      assert.equal("", listed(w.web._handles.net, "tcp", "inet"))
      -- as ss says
      assert.matches("127.0.0.1:80 ", (sh "ss -ltn"))
    end)
  end)

  it("raises misuse, and says what is no place", function()
    assert.error_matches(function() netlink.sockets(nil, "icmp", "inet") end, "protocol")
    assert.error_matches(function() netlink.sockets(nil, "tcp", "unix") end, "family")
    local ok, _, code = netlink.sockets("/proc/self/nope", "tcp", "inet")
    assert.same({ nil, errno.ENOENT }, { ok, code })
  end)
end)

describe("nsbox.sys.netlink.conntrack_forget", function()
  needs("netns", "bridge", "nftables", "sysctl")

  it("forgets the connections to some ports, and no others", function()
    netns(function()
      local w <close> = world.make { nat = true }
      w:serve(w.internet, "udp", "::", 81)
      assert.equal(" 203.0.113.1", w:ask(w.web, "udp", "203.0.113.9", 80))
      assert.equal(" 203.0.113.1", w:ask(w.web, "udp", "203.0.113.9", 81))
      assert.equal(" 2001:db8::1", w:ask(w.web, "udp", "2001:db8::9", 81))
      assert.equal(" 203.0.113.1", w:ask(w.web, "tcp", "203.0.113.9", 80))
      assert.equal(0, netlink.conntrack_forget(nil, "udp", { [82] = true }))
      assert.equal(0, netlink.conntrack_forget(w.web._handles.net, "udp", { [81] = true }))
      assert.equal(2, netlink.conntrack_forget(nil, "udp", { [81] = true, [82] = true }))
      assert.equal(0, netlink.conntrack_forget(nil, "udp", { [81] = true }))
      assert.equal(1, netlink.conntrack_forget(nil, "udp", { [80] = true }))
      assert.equal(1, netlink.conntrack_forget(nil, "tcp", { [80] = true }))
    end)
  end)

  it("raises misuse", function()
    assert.error_matches(function() netlink.conntrack_forget(nil, "icmp", {}) end, "protocol")
    assert.error_matches(function() netlink.conntrack_forget(nil, "udp") end, "table expected")
  end)
end)

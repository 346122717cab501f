-- Whatever is done in another network namespace, the caller stays in its own.

local nsbox = require "nsbox"
local netns = require "netns"
local sys = require "nsbox.sys"

-- of the thread, and of the whole process
local function here()
  local out = {}
  for _, path in ipairs { "/proc/thread-self/ns/net", "/proc/self/ns/net" } do
    out[#out + 1] = require("lfs").symlinkattributes(path, "target")
  end
  return table.concat(out, " ")
end

describe("nsbox.netplace", function()
  needs "netns"
  needs "bridge"
  needs "sysctl"

  it("leaves the caller where it was, also when something fails", function()
    netns(function()
      local own, count = here(), 0
      local ns <close> = nsbox.ns.new { "net" }
      local s <close> = nsbox.scope()
      -- each is called with what works and with what does not
      local function does(works, f, ...)
        local ok, err = pcall(f, ...)
        assert.equal(works, ok, ("%d: %s"):format(count + 1, tostring(err)))
        assert.equal(own, here())
        count = count + 1
        return err
      end
      local br = does(true, s.bridge, s, { "br0", addr = "10.0.3.1/24" })
      local far = does(true, s.bridge, s, { "br1", netns = ns, addr = "10.0.4.1/24" })
      does(false, s.bridge, s, { "br1", netns = ns })
      does(false, s.bridge, s, { "br2", netns = "nowhere" })
      local card = does(true, br.attach, br, ns)
      does(false, br.attach, br, ns, "eth0")
      does(false, br.attach, br, ns, { "x", gateway = "192.0.2.1" })
      does(false, br.attach, br, 1 << 30)
      does(false, br.detach, br, ns, "none")
      does(true, far.attach, far, ns)
      does(true, s.veth, s, { "a", { "b", netns = ns } })
      does(false, s.veth, s, { "c", { "b", netns = ns } })
      does(true, s.add, s, { "i0", type = "ifb", netns = ns })
      does(false, s.add, s, { "i0", type = "ifb", netns = ns })
      does(false, s.add, s, { "i1", type = "nosuchkind", netns = ns })
      local a = does(true, s.link, s, "a")
      does(true, a.set, a, { "lent", netns = ns })
      does(false, a.set, a, { "b" })
      does(false, s.link, s, { "none", netns = ns })
      for _, method in ipairs { "addr", "deladdr" } do
        does(true, card[method], card, "10.9.0.1/24")
        does(false, card[method], card, "10.9.0.1/24")
      end
      does(true, s.sysctl, s, ns, { ["net.ipv4.ip_forward"] = 1 })
      does(false, s.sysctl, s, ns, { ["net.ipv4.nosuch"] = 1 })
      for _, what in ipairs { "links", "addrs", "routes", "uplink" } do
        does(true, nsbox.net[what], ns)
        does(false, nsbox.net[what], "nowhere")
      end
      does(true, nsbox.net.monitor, { "link", netns = ns }):close()
      does(true, tostring, card)
      -- what a function raises that is called meanwhile
      does(false, s.batch, s, function()
        br:attach(ns)
        assert.equal(own, here())
        error "oops"
      end)
      does(false, s.batch, s, function() br:attach(ns, "eth0") end)
      does(false, ns.call, ns, function() error "oops" end)
      does(true, ns.call, ns, function() return 1 end)
      local uts <close> = assert(sys.ns.open "/proc/self/ns/uts")
      assert.is_nil(does(true, sys.netlink.open, uts))
      does(true, card.close, card)
      does(true, s.close, s)
      assert.equal(42, count)
    end)
  end)

  it("is no other one when the script goes on elsewhere", function()
    netns(function()
      local netplace = require "nsbox.netplace"
      local home <close> = assert(sys.ns.open "/proc/thread-self/ns/net")
      local _, inode = home:id()
      for _ = 1, 2 do -- a place that was looked at, and one that is known from it
        local before <close> = netplace.open(nil, "x")
        assert.equal(inode, before.inode)
        assert.equal(home, before:namespace())
        local asked <close> = netplace.open(nil, "x")
        local there <close> = netns.new()
        assert(sys.setns(there))
        local after <close> = netplace.open(nil, "x")
        assert.equal(there, after:namespace())
        assert.equal(select(2, there:id()), after.inode)
        assert.equal(home, before:namespace())
        local ok, err = pcall(asked.namespace, asked)
        assert.same({ false, "EXDEV" }, { ok, err.code })
        assert(sys.setns(home))
        assert.equal(home, asked:namespace())
      end
    end)
  end)

  it("is told by an object of all kinds of namespaces, which has one of pids", function()
    netns(function()
      local all <close> = nsbox.ns.of()
      local s <close> = nsbox.scope()
      local br = s:bridge { "br0", netns = all, addr = "10.0.3.1/24" }
      assert.equal("br0", netns.ip("link show dev br0")[1].ifname)
      assert.equal(tostring(all), br.netns)
    end)
  end)
end)

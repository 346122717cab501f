local sys = require "nsbox.sys"
local netns = require "netns"

local netlink, errno = sys.netlink, sys.errno

describe("nsbox.sys.netlink numbers of namespaces", function()
  needs "netns"

  -- ip(8) says which there are
  local function ip()
    local list = {}
    for line in sh "ip netns list-id":gmatch "nsid (%d+)" do list[#list + 1] = tonumber(line) end
    table.sort(list)
    return list
  end

  it("are given once, and stay", function()
    netns(function()
      local nl <close> = assert(netlink.open())
      local one <close> = netns.new()
      local two <close> = netns.new()
      assert.same({}, nl:nsid_list())
      assert.is_false(nl:nsid_get { netns = one })
      assert.is_true(nl:nsid_set { netns = one, nsid = 77 })
      assert.equal(77, nl:nsid_get { netns = one })
      assert.same({ nil, "nsid_set: Peer netns already has a nsid assigned", errno.EEXIST },
        { nl:nsid_set { netns = one, nsid = 78 } })
      local _, why, number = nl:nsid_set { netns = two, nsid = 77 }
      assert.matches("^nsid_set: .+", why)
      assert.equal(errno.EEXIST, number)
      assert.is_false(nl:nsid_get { netns = two })
      assert.is_true(nl:nsid_set { netns = two })
      local free = nl:nsid_get { netns = two }
      local list = nl:nsid_list()
      table.sort(list)
      assert.same({ free, 77 }, list)
      assert.same(list, ip())
    end)
  end)

  it("say where the other end of a link is", function()
    netns(function()
      local nl <close> = assert(netlink.open())
      local ns <close> = netns.new()
      assert(nl:nsid_set { netns = ns, nsid = 5 })
      assert(nl:link_add { "v0", kind = "veth", peer = { "v1", netns = ns } })
      assert.equal(5, nl:link_get("v0").link_netnsid)
      assert.equal(5, netns.ip("link show v0")[1].link_netnsid)
      -- the kernel gives one by itself
      local other <close> = netns.new()
      assert(nl:link_add { "w0", kind = "veth", peer = { "w1", netns = other } })
      assert.equal(nl:nsid_get { netns = other }, nl:link_get("w0").link_netnsid)
    end)
  end)

  it("are found by pid, and of no process that has ended #valgrind", function()
    netns(function()
      local nl <close> = assert(netlink.open())
      assert.is_true(nl:nsid_set { netns = sys.process.getpid(), nsid = 3 })
      assert.equal(3, nl:nsid_get { netns = sys.process.getpid() })
      local child, out = assert(sys.clone({}, function() end))
      local pid = child:pid()
      assert(sys.fd.poll { [child:fileno()] = "r" })
      child:status()
      child:close()
      out:close()
      local _, why, number = nl:nsid_get { netns = pid }
      assert.matches("^nsid_get: .+", why)
      assert.equal(errno.ESRCH, number)
      assert.equal(errno.ESRCH, (select(3, nl:nsid_set { netns = pid })))
    end)
  end)

  it("raise on what names no namespace", function()
    netns(function()
      local nl <close> = assert(netlink.open())
      for _, bad in ipairs { 0, -1, "blue", true, 1.5 } do
        assert.error_matches(function() nl:nsid_get { netns = bad } end, "nsid: field 'netns': a p")
      end
      assert.error_matches(function() nl:nsid_get {} end, "nsid: field 'netns': a pid, or a handle")
      assert.error_matches(function() nl:nsid_set { netns = 1, nsid = -1 } end,
        "nsid: field 'nsid': integer from 0 to 2147483647 expected")
      assert.error_matches(function() nl:nsid_set { netns = 1, id = 1 } end, "unknown field 'id'")
      local closed = netns.new()
      closed:close()
      assert.error_matches(function() nl:nsid_get { netns = closed } end, "closed nsbox.ns")
      local file <close> = assert(sys.fd.open("/proc/self/ns/uts", { "rdonly" }))
      local _, why, number = nl:nsid_get { netns = file }
      assert.matches("^nsid_get: .+", why)
      assert.equal(errno.EINVAL, number)
    end)
  end)
end)

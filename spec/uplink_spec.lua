-- Uplinks of islands. The "internet" is a namespace of the spec's own, and so is the
-- machine that the scope runs on: a user namespace around both.

local nsbox = require "nsbox"
local blame = require "blame"
local inside = require "inside"
local netns = require "netns"

local misuse, failure = blame.misuse, blame.failure
local sys = nsbox.sys

local SERVER <const> = [[exec perl -MIO::Socket::INET -e '
  my $s = IO::Socket::INET->new(LocalAddr => "192.0.2.7", LocalPort => 80, Listen => 5,
    ReuseAddr => 1) or die $!;
  $| = 1; print "ready\n";
  while (my $c = $s->accept) { print $c "hello ".$c->peerhost."\n"; close $c }']]
local CLIENT <const> = [[perl -MIO::Socket::INET -e '
  my $s = IO::Socket::INET->new(PeerAddr => $ARGV[0], Timeout => 10) or die "no: $@\n";
  print <$s>' ]]

-- f(scope) on a machine 10.55.0.2 whose way out leads to 192.0.2.7
local function with(o, f)
  inside({ "net", "mnt", netns.power() and "uts" or "user" }, function()
    sh "mount -t tmpfs tmpfs /run"
    local world <close> = nsbox.ns.new { "net" }
    local here <close> = assert(sys.netlink.open())
    local there <close> = assert(sys.netlink.open(world._handles.net))
    assert(here:link_add { "up0", kind = "veth", peer = { "up1", netns = world._handles.net } })
    assert(here:addr_add { "10.55.0.2/24", dev = "up0" })
    assert(here:link_set { "up0", up = true })
    for _, addr in ipairs { "10.55.0.1/24", "192.0.2.7/32" } do
      assert(there:addr_add { addr, dev = "up1" })
    end
    assert(there:link_set { "lo", up = true })
    assert(there:link_set { "up1", up = true })
    assert(here:link_set { "lo", up = true })
    assert(here:route_add { "default", via = "10.55.0.1" })
    local server <close> = world:spawn { "sh", "-c", SERVER, stdout = "pipe" }
    assert(server.stdout:read "l" == "ready")
    o.private = true
    local ok, err = pcall(function()
      local s <close> = nsbox.scope(o)
      f(s)
    end)
    if not ok then error(type(err) == "table" and err.message or tostring(err), 0) end
  end)
end

-- the socket by which slirp4netns is told of ports is in a directory of the island's own
local function needs_program(name)
  needs(name)
  if name == "slirp4netns" then needs "mount_api" end
end

local function ended(pid) return slurp(("/proc/%d/stat"):format(pid)) == nil end

describe("the uplink of an island", function()
  needs("maps", "netns", "procmount", "tun")

  for _, name in ipairs { "pasta", "slirp4netns" } do
    it("reaches the world by " .. name .. ", and ends with its scope", function()
      needs_program(name)
      local pid
      with({ uplink = name }, function(s)
        local br = s:bridge { "br0", addr = "10.0.3.1/24", nat = true }
        local web = s:box { name = "web", net = br }
        assert.equal("hello 10.55.0.2\n",
          web:exec({ "sh", "-c", CLIENT .. "192.0.2.7:80" }).stdout)
        pid = s._island.uplink.process.pid
        assert.is_false(ended(pid))
        s:close()
        assert.is_true(ended(pid))
      end)
    end)

    it("is asked for by nat, by " .. name, function()
      needs_program(name)
      with({ uplink = nil }, function(s)
        s:bridge { "br0", addr = "10.0.3.1/24" }
        assert.is_nil(s._island.uplink)
        s:bridge { "br1", addr = "10.0.4.1/24", nat = true }
        assert.is_string(s._island.uplink.name)
      end)
      with({ uplink = false }, function(s)
        s:bridge { "br1", addr = "10.0.4.1/24", nat = true }
        assert.is_nil(s._island.uplink)
      end)
    end)

    it("opens ports of the machine by " .. name, function()
      needs_program(name)
      with({ uplink = name }, function(s)
        s:bridge { "br0", addr = "10.0.3.1/24" }
        local server <close> = s.ns:spawn { "sh", "-c",
          (SERVER:gsub('LocalAddr => "192.0.2.7", LocalPort => 80', "LocalPort => 8080")),
          stdout = "pipe" }
        assert(server.stdout:read "l" == "ready")
        local uplink = s._island.uplink
        local ports = uplink:publish { { proto = "tcp", addr = "127.0.0.1", port = 9090,
          to = 8080 } }
        assert.matches("^hello ", (sh(CLIENT .. "127.0.0.1:9090")))
        local err = failure(function()
          uplink:publish { { proto = "tcp", addr = "127.0.0.1", port = 9090, to = 8081 } }
        end, "EADDRINUSE")
        assert.matches("uplink", tostring(err))
        uplink:unpublish(ports)
        assert.matches("^no: ", (sh(CLIENT .. "127.0.0.1:9090")))
      end)
    end)

    it("brings published ports to boxes by " .. name .. ", until they are closed", function()
      needs_program(name)
      needs("nftables", "sysctl")
      with({ uplink = name }, function(s)
        local br = s:bridge { "br0", addr = "10.0.3.1/24" }
        local web = s:box { name = "web", net = { br, publish = "9090:80" } }
        local server <close> = web:spawn { "sh", "-c",
          (SERVER:gsub('LocalAddr => "192.0.2.7", ', "")), stdout = "pipe" }
        assert(server.stdout:read "l" == "ready")
        assert.matches("^hello ", (sh(CLIENT .. "127.0.0.1:9090")))
        local err = failure(function() web.links[1]:publish "127.0.0.1:9090:81" end, "EADDRINUSE")
        assert.matches("publish", tostring(err))
        failure(function() web.links[1]:publish "9091:80/sctp" end, "EPROTONOSUPPORT")
        assert.matches("^hello ", (sh(CLIENT .. "127.0.0.1:9090")))
        web:close()
        assert.matches("^no: ", (sh(CLIENT .. "127.0.0.1:9090")))
      end)
    end)

    it("is asked for by ports, and asked only for those that it can have: " .. name, function()
      needs_program(name)
      needs("nftables", "sysctl")
      with({ uplink = name }, function(s)
        local machine = require "nsbox.machine"
        local br = s:bridge { "br0", addr = "10.0.3.1/24" }
        local web = s:box { name = "web", net = { br, publish = "9090:80" } }.links[1]
        local pid = s._island.uplink.process.pid
        local function refused(ports, code, detail)
          local err = failure(function() web:publish(ports) end, code)
          assert.same({ "publish", ports }, { err.op, err.subject })
          assert.matches(detail, err.detail)
          return err.hint
        end
        local has_cap = machine.has_cap
        machine.has_cap = function() return false end
        assert.matches("publish another one, \"8080:80\"",
          refused("80:80", "EACCES", "the ports below 1024 of this machine are root's"))
        machine.has_cap = has_cap
        refused("192.0.2.7:9091:80", "EADDRNOTAVAIL", "192.0.2.7 is no address of this machine")
        refused("9091:80/sctp", "EPROTONOSUPPORT", "carries tcp and udp")
        local server <close> = nsbox.ns.of(nil, "net"):spawn { "sh", "-c",
          (SERVER:gsub('"192.0.2.7", LocalPort => 80', '"127.0.0.1", LocalPort => 9095')),
          stdout = "pipe" }
        assert(server.stdout:read "l" == "ready")
        assert.matches("sport = :9095", refused("9095:80", "EADDRINUSE",
          "a socket of uid %d+ waits at 127.0.0.1, port 9095"))
        refused("9095-9095:80", "EADDRINUSE", "waits at 127.0.0.1, port 9095")
        refused("9090:81", "EADDRINUSE", "this scope publishes 9090/tcp already, to 10.0.3.2:80")
        -- none of that has cost a connection
        assert.equal(pid, s._island.uplink.process.pid)
        assert.is_false(ended(pid))
        web:publish { "9095-9096:81", "10.55.0.2:9095:82" }
        assert.same({ 9096, 9095 }, { web.published[2].port, web.published[3].port })
        if name == "slirp4netns" then
          local db = s:box { net = { br, addr = { "10.0.3.9/24", "fd00:3::9/64" } } }.links[1]
          local err = failure(function() db:publish "[::1]:9097:80" end, "EAFNOSUPPORT")
          assert.matches("IPv4 only", err.detail)
        end
      end)
      with({ uplink = nil }, function(s)
        s:bridge { "br0", addr = "10.0.3.1/24" }:attach(s:box {}, { publish = "9090:80" })
        assert.is_string(s._island.uplink.name)
        assert.is_true(s._island.uplink:carries("tcp", 9090))
      end)
    end)

    it("is missed when it dies: " .. name, function()
      needs_program(name)
      with({ uplink = name }, function(s)
        s:bridge { "br0", addr = "10.0.3.1/24" }
        local pid = s._island.uplink.process.pid
        local child = slurp(("/proc/%d/task/%d/children"):format(pid, pid)):match "%d+"
        local p <close> = assert(sys.process.open(math.tointeger(tonumber(child))))
        p:kill "KILL"
        assert(sys.fd.poll({ [s._island.uplink.process:fileno()] = "r" }, 30))
        local err = failure(function() s:bridge { "br1", addr = false } end, "ECHILD")
        assert.matches(name .. " .*: the uplink of the island has ended: killed by KILL",
          tostring(err))
        s:bridge { "br1", addr = false }
      end)
    end)
  end

  it("that is not installed is an error that names the packages", function()
    local uplink = require "nsbox.uplink"
    local find = uplink.find
    finally(function() uplink.find = find end)
    uplink.find = function() end
    local s <close> = nsbox.scope { private = true, uplink = "pasta" }
    local err = failure(function() s:bridge { "br0", addr = false } end, "ENOENT")
    assert.equal("pasta", err.subject)
    assert.matches("passt.*slirp4netns", err.hint)
    assert.is_nil(s._island)
    -- it was not asked for by its name: the island has none, and says so
    local other <close> = nsbox.scope { private = true }
    other:bridge { "br0", addr = "10.0.3.1/24", nat = true }
    assert.matches("^scope %(private island of uid %d+, no way out: neither pasta nor slirp4netns "
      .. "is installed%): 1 link$", tostring(other))
  end)

  it("is one of two, and for islands", function()
    misuse(function() nsbox.scope { private = true, uplink = "pastq" } end,
      "scope: uplink: expected one of 'pasta', 'slirp4netns', got 'pastq' (did you mean 'pasta'?)")
    misuse(function() nsbox.scope { private = false, uplink = "pasta" } end,
      "scope: uplink: only an island has one")
    misuse(function() nsbox.scope { "shop", uplink = "pasta" } end, "only an island has one")
  end)
end)

-- Failures of networks, provoked where they can be, and what is said about them.

local nsbox = require "nsbox"
local hints = require "nsbox.hints"
local machine = require "nsbox.machine"
local netns = require "netns"
local failure = require("blame").failure

local netplace = require "nsbox.netplace"
require "nsbox.hints.network"
require "lfs"

local KINDS = [[
kernel/drivers/net/ipvlan/ipvlan.ko.xz: kernel/net/l3mdev.ko
kernel/net/8021q/8021q.ko.xz:
]]

-- the machine as it is, but for these files and answers
local real = {}
local function pretend(answers)
  for name, answer in pairs(answers) do
    real[name] = real[name] or machine[name]
    machine[name] = type(answer) == "function" and answer or function(key)
      local value = answer[key]
      if value == nil then return real[name](key) end
      return value or nil
    end
  end
end

-- the Error of a request in a place
local function request(netns_, verb, what, context)
  local place <close> = netplace.open(netns_, "try")
  local ok, message, errno = place.nl[verb](place.nl, what)
  assert(not ok, "nothing failed")
  return place:failure("try", what[1], message, errno, context)
end

describe("hints on networks", function()
  needs "netns"

  after_each(function()
    for name, f in pairs(real) do machine[name] = f end
  end)

  local function modules(dep, builtin)
    local dir = "/lib/modules/6.1.0-test/"
    pretend {
      sysctl = { ["kernel.osrelease"] = "6.1.0-test" },
      read = { [dir .. "modules.dep"] = dep or false,
        [dir .. "modules.builtin"] = builtin or false },
      initial_userns = function() return true end,
      ids = function() return { uid = 0, euid = 0, gid = 0, egid = 0, groups = {} } end,
    }
  end

  local function lacking(kind)
    return hints.hint("add", "link_add", "EOPNOTSUPP", { kind = kind })
  end

  it("EOPNOTSUPP: which module, and whether it is there at all", function()
    modules(KINDS, "kernel/drivers/net/veth.ko\n")
    assert.equal("this kernel has no ipvlan loaded: modprobe ipvlan", lacking "ipvlan")
    assert.equal("this kernel has no vlan loaded: modprobe 8021q", lacking "vlan")
    assert.matches("^this kernel %(6.1.0%-test%) has no geneve: there is no module geneve below "
      .. "/lib/modules/6.1.0%-test;", lacking "geneve")
    assert.is_nil(lacking "veth") -- it is something else, then
    modules()
    assert.matches("^this kernel has no ipvlan: modprobe ipvlan, as root .* tells nothing of its "
      .. "modules", lacking "ipvlan")
    modules(KINDS)
    pretend { initial_userns = function() return false end }
    assert.equal("this kernel has no ipvlan loaded: as root, outside of any container: modprobe "
      .. "ipvlan", lacking "ipvlan")
  end)

  it("ENOENT, EEXIST: which discipline is missing, or in the way", function()
    modules()
    assert.matches("^this kernel has no netem: modprobe sch_netem, as root",
      hints.hint("set", "qdisc_replace", "ENOENT", { about = "netem" }))
    assert.matches("a queueing discipline that somebody gave it",
      hints.hint("set", "qdisc_add", "EEXIST", {}))
  end)

  it("of a kind that is written wrong, and of a device that is open", function()
    assert.equal("there is no kind dumy here (did you mean 'dummy'?)", hints.hint("add",
      "link_add", "EOPNOTSUPP", { kind = "dumy", kinds = { dummy = {}, ifb = {} } }))
    modules()
    assert.matches("modprobe tun", hints.hint("add", "tuntap_add", "ENOENT", {}))
    assert.matches("/dev/net/tun", hints.hint("add", "tuntap_add", "EACCES", {}))
  end)

  it("EOPNOTSUPP: as the kernel says it", function()
    netns(function()
      modules(KINDS)
      local err = request(nil, "link_add", { "x", kind = "frobnicate" }, { kind = "frobnicate" })
      assert.same({ "EOPNOTSUPP", "Unknown device type" }, { err.code, err.detail })
      assert.matches("no module frobnicate below", err.hint)
    end)
  end)

  it("EEXIST: what has the name", function()
    netns(function()
      sh "ip link add br0 type bridge; ip link add v0 type veth peer name v1"
      local err = request(nil, "link_add", { "br0", kind = "bridge" })
      assert.equal("br0 is a device already, a bridge: scope:link \"br0\" borrows it", err.hint)
      err = request(nil, "link_add", { "v0", kind = "bridge" })
      assert.equal("v0 is a device already, a veth: scope:link \"v0\" borrows it", err.hint)
    end)
  end)

  it("EEXIST: an address, a route", function()
    netns(function()
      sh [[ip link add br0 type bridge; ip addr add 10.0.0.1/24 dev br0; ip link set br0 up
        ip addr add fd00::1/64 dev br0 nodad; ip route add default via 10.0.0.9]]
      local err = request(nil, "addr_add", { "10.0.0.1/24", dev = "br0" })
      assert.same({ "EEXIST", "br0 has this address already "
        .. "(10.0.0.1/24)" }, { err.code, err.hint })
      err = request(nil, "addr_add", { "fd00::1/64", dev = "br0" })
      assert.same({ "EEXIST", "br0 has this address already (fd00::1/64)" }, { err.code, err.hint })
      err = request(nil, "route_add", { "default", via = "10.0.0.8" })
      assert.equal("there is a route to default already via 10.0.0.9 by br0; one more needs "
        .. "another "
        .. "metric", err.hint)
    end)
  end)

  it("ENETUNREACH: which subnet lacks", function()
    netns(function()
      sh [[ip link add br0 type bridge; ip addr add 10.0.0.1/24 dev br0; ip link set br0 up
        ip link add br1 type bridge; ip addr add 10.1.0.1/24 dev br1]]
      local err = request(nil, "route_add", { "default", via = "10.0.5.9" })
      assert.same({ "ENETUNREACH", "Nexthop has invalid gateway" }, { err.code, err.detail })
      assert.equal("no subnet has the gateway 10.0.5.9: the subnets are 10.0.0.0/24 on br0, "
        .. "10.1.0.0/24 on br1; an address beside it, or onlink = true, makes it "
        .. "reachable", err.hint)
      err = request(nil, "route_add", { "default", via = "10.1.0.9" })
      assert.equal("br1, which has the subnet of 10.1.0.9, is not up", err.hint)
      sh [[for i in `seq 20`; do ip addr add 10.2.$i.1/24 dev br0; done]]
      err = request(nil, "route_add", { "default", via = "10.0.5.9" })
      assert.matches("10.2.7.0/24 on br0, and 14 more; an address beside", err.hint, 1, true)
      sh "ip link del br0; ip link del br1"
      err = request(nil, "route_add", { "default", via = "10.1.0.9" })
      assert.matches("no device has an address", err.hint)
    end)
  end)

  it("ENODEV: which device, and which there are", function()
    netns(function()
      sh "ip link add br0 type bridge; ip link add lxcbr0 type bridge"
      local err = request(nil, "link_add", { "mv0", kind = "macvlan", link = "lxcbr" },
        { kind = "macvlan", link = "lxcbr" })
      assert.equal("there is no device lxcbr (did you mean lxcbr0?); there are: br0, lo, lxcbr0",
        err.hint)
      err = request(nil, "link_set", { "eth9", up = true })
      assert.equal("there is no device eth9; there are: br0, lo, lxcbr0", err.hint)
      err = request(nil, "link_set", { "br0", master = "lxcbr" })
      assert.equal("there is no device lxcbr (did you mean lxcbr0?); there are: br0, lo, lxcbr0",
        err.hint)
      err = request(nil, "link_set", { 4711, up = true })
      assert.is_nil(err.hint)
    end)
  end)

  it("EBUSY: a macvlan on the port of a bridge", function()
    needs "macvlan"
    netns(function()
      sh("ip link add br0 type bridge; ip link add v0 type veth peer name v1; ip link set v0 "
        .. "master br0")
      local err = request(nil, "link_add", { "mv0", kind = "macvlan", link = "v0" },
        { kind = "macvlan", link = "v0" })
      assert.same({ "EBUSY", "v0 is a port of br0, which gets all that arrives: put the macvlan on "
        .. "br0, or take v0 out of it" }, { err.code, err.hint })
    end)
  end)

  it("no port of that", function()
    netns(function()
      sh("ip link add br0 type bridge; ip link add br1 type bridge; ip link add v0 type veth peer "
        .. "name v1")
      local err = request(nil, "link_set", { "br1", master = "br0" }, { master = "br0" })
      assert.equal("ELOOP", err.code)
      assert.equal("a bridge such as br0 cannot be a port of itself, nor of one that is a port of "
        .. "it",
        err.hint)
      err = request(nil, "link_set", { "v0", master = "v1" }, { master = "v1" })
      assert.equal("v1 is no bridge, but a veth: it takes no ports", err.hint)
      err = request(nil, "port_set", { "v0", isolated = true })
      assert.equal("v0 is no port of a bridge", err.hint)
      local s <close> = nsbox.scope()
      err = failure(function() s:veth { { "a", master = "lo" }, "b" } end, "EOPNOTSUPP")
      assert.equal("lo is no bridge, but a loopback: it takes no ports", err.hint)
      err = request(nil, "link_set", { "v0", mtu = 100000 }, { of = { mtu = 100000 } })
      assert.equal("the mtu of a veth is from 68 to 65535", err.hint)
    end)
  end)

  it("no port of that, and no such master, by set", function()
    netns(function()
      sh "ip link add br0 type bridge; ip link add v0 type veth peer name v1"
      local s <close> = nsbox.scope()
      local v = s:link "v0"
      local err = failure(function() v:set { master = "v1" } end, "EOPNOTSUPP")
      assert.equal("v1 is no bridge, but a veth: it takes no ports", err.hint)
      err = failure(function() v:set { master = "br" } end, "ENODEV")
      assert.equal("set: link_set v0: master br: No such device (ENODEV)\n  hint: there is no "
        .. "device br (did you mean br0?); there are: br0, lo, v0, v1", tostring(err))
    end)
  end)

  it("an address, or a route, is no device", function()
    netns(function()
      local err = request(nil, "addr_add", { "10.0.0.1/24", dev = 4711 })
      assert.same({ "ENODEV" }, { err.code, err.hint })
      local place <close> = netplace.open(nil, "try")
      err = place:failure("try", "br0", "addr_add 10.0.0.1/24: Device not found", 19)
      assert.equal("there is no device br0; there are: lo", err.hint)
    end)
  end)

  it("of routes that cannot be, or are not", function()
    netns(function()
      sh [[ip link add br0 type bridge; ip addr add 10.0.0.1/24 dev br0; ip link set br0 up
        ip addr add fd00::1/64 dev br0 nodad]]
      local s <close> = nsbox.scope()
      local br = s:link "br0"
      local err = failure(function() br:route { "10.5.0.1/16", via = "10.0.0.9" } end, "EINVAL")
      assert.equal("a route is to a network, and 10.5.0.1/16 is an address in one: 10.5.0.0/16",
        err.hint)
      err = failure(function() br:route { "fd05::/64", via = "10.0.0.9" } end)
      assert.equal("an IPv6 route has an IPv6 gateway", err.hint)
      err = failure(function() br:delroute "10.5.0.0/16" end, "ESRCH")
      assert.matches("^br0 has no such route: it has .*10%.0%.0%.0/24", err.hint)
      sh "ip addr flush dev br0; ip link set br0 down; ip -6 route flush dev br0"
      err = failure(function() br:delroute "10.5.0.0/16" end, "ESRCH")
      assert.equal("br0 has no such route: it has none", err.hint)
    end)
  end)

  it("what the kernel has no words for", function()
    needs "macvlan"
    netns(function()
      local s <close> = nsbox.scope()
      local err = failure(function() s:macvlan { "m", link = "lo" } end, "EINVAL")
      assert.equal("lo is a loopback: nothing is put on it", err.hint)
      s:veth { { "v0" }, { "v1" } }
      s:macvlan { "m", link = "v0", mode = "passthru" }
      err = failure(function() s:macvlan { "n", link = "v0" } end, "EINVAL")
      assert.equal("a macvlan of the mode passthru has its device for itself (v0)", err.hint)
      err = failure(function() s:veth { { "v8", mtu = 65536 }, { "v9" } } end, "EINVAL")
      assert.equal("the mtu of most devices is at most 65535", err.hint)
      for _, name in ipairs { "all", "default" } do
        assert.equal(("'%s' is no device name: settings (net.ipv4.conf.%s) have it"):format(name,
          name), select(2, require("nsbox.interface").check_name(name)))
      end
    end)
  end)

  it("EINVAL: a long value of a setting, in short", function()
    needs("netns", "sysctl")
    netns(function()
      local s <close> = nsbox.scope()
      local err = failure(function()
        s:sysctl("/proc/self/ns/net", { ["net.ipv4.ip_forward"] = ("1"):rep(5000) })
      end, "EINVAL")
      assert.equal("'" .. ("1"):rep(60) .. "…' is no value for it; now it is '0'", err.hint)
    end)
  end)

  it("EXFULL: how many ports", function()
    netns(function()
      sh("ip link add br0 type bridge; ip link add v0 type veth peer name v1; ip link set v0 "
        .. "master br0")
      local place <close> = netplace.open(nil, "try")
      local err = place:failure("attach", "eth0", "link_add v0: Exchange full", 54,
        { master = "br0" })
      assert.equal("EXFULL", err.code)
      assert.equal("a bridge has 1023 ports at most, and br0 has 1: spread them over several "
        .. "bridges",
        err.hint)
      assert.matches("1023 ports at most: spread", hints.hint("attach", "link_add", "EXFULL"))
    end)
  end)

  it("ENOBUFS: reads net.core.rmem_max", function()
    pretend { sysctl = { ["net.core.rmem_max"] = "4711" } }
    assert.matches("send less at once, or raise net.core.rmem_max %(4711%)",
      hints.hint("batch", "link_add", "ENOBUFS"))
  end)

  it("IPv6 that is off, addresses that no device can have", function()
    needs "sysctl"
    netns(function()
      sh("ip link add br0 type bridge; ip link add br1 type bridge; /sbin/sysctl -w "
        .. "net.ipv6.conf.br0.disable_ipv6=1")
      local err = request(nil, "addr_add", { "fd00::1/64", dev = "br0" })
      assert.matches("IPv6 is off there", err.hint)
      err = request(nil, "addr_add", { "ff02::5/64", dev = "br1" })
      assert.equal("a multicast address cannot be that of a device", err.hint)
    end)
  end)

  it("EINVAL: an mtu that is too small for IPv6", function()
    netns(function()
      local s <close> = nsbox.scope()
      local err = failure(function() s:bridge { "b", mtu = 1000, addr = "fd00::1/64" } end)
      assert.equal("IPv6 needs an mtu of 1280, and that of b is 1000", err.hint)
    end)
  end)

  it("EPERM: the capability, and where", function()
    local ns = nsbox.sys.ns.open "/proc/self/ns/net"
    local _, here = ns:id()
    ns:close()
    local function refused(place, caps, uid, initial)
      pretend {
        has_cap = function() return caps end,
        ids = function() return { euid = uid } end,
        initial_userns = function() return initial end,
      }
      return hints.hint("bridge", "link_add", "EPERM", { place = place })
    end
    local own, other = { inode = here }, { inode = here + 1, label = "netns blue" }
    assert.equal("this needs CAP_NET_ADMIN in the user namespace that owns the network namespace, "
      .. "and this process has it nowhere; a scope without a name works on an island of its own; "
      .. "or the whole script: unshare -Urnm lua5.4 script.lua", refused(own, false, 1000, true))
    assert.equal("this needs CAP_NET_ADMIN in the user namespace that owns the network namespace "
      .. "in "
      .. "netns blue, and this process has it nowhere", refused(other, false, 1000, true))
    assert.matches("only in this user namespace %(its root is uid %d+ outside%)",
      refused(own, true, 0, false))
    assert.matches("in the initial user namespace; the network namespace in netns blue belongs to",
      refused(other, true, 0, true))
  end)

  it("EPERM: a namespace of another user namespace", function()
    needs "maps"
    netns(function()
      local script = os.tmpname()
      spew(script, [[
        local nsbox = require "nsbox"
        local s = nsbox.scope()
        local br = s:bridge { "br0", addr = "10.0.3.1/24" }
        print(select(2, pcall(br.attach, br, "/proc/self/fd/9")))
        print(select(2, pcall(s.veth, s, { { "a", netns = "/proc/self/fd/9" }, "b" })))
        print(#nsbox.net.links())
      ]])
      local out = lua(script, "", "exec 9</proc/self/ns/net; unshare -Urn ")
      os.remove(script)
      local why = " (in netns /proc/self/fd/9): Operation not permitted (EPERM)\n  hint: this "
        .. "process has CAP_NET_ADMIN in this user namespace (its root is uid … outside); the "
        .. "network namespace in netns /proc/self/fd/9 belongs to another one\n"
      assert.is_true(matches("attach" .. why .. "veth" .. why .. "2\n", out), out)
      assert.equal(1, #netns.ip "link show")
    end)
  end)

  it("EPERM: as an ordinary user #user", function()
    local s <close> = nsbox.scope { "here" .. nsbox.sys.process.getpid() }
    local err = failure(function() s:bridge "br0" end, "EPERM")
    assert.matches("a scope without a name works on an island of its own", err.hint)
  end)

  it("a name that is no namespace: a box, a pid, a file that is left", function()
    local function hint(name, code)
      return failure(function() nsbox.net.links(name) end, code).hint
    end
    assert.matches("'4711' is a name under /run/netns/; a pid is a number: net = 4711",
      hint("4711", "ENOENT"))
    assert.matches("^there is no network namespace of this name", hint("webserver", "ENOENT"))
    assert.equal("'web/server' is a path, for there is a '/' in it; a name under /run/netns/ has "
      .. "none", hint("web/server", "ENOENT"))
    local ended <close> = assert(nsbox.sys.process.spawn { argv = { "true" } })
    assert(nsbox.sys.fd.poll({ [ended:fileno()] = "r" }, 30))
    assert.matches("^process %d+ has ended, and waits for its parent", hint(ended:pid(), "ENOENT"))
    ended:status()
    needs("maps", "procmount")
    local s <close> = nsbox.scope()
    s:box { name = "webserver" }
    assert.equal("a name is one under /run/netns/; there is a box 'webserver', and a box is named "
      .. "by "
      .. "its object: net = scope.boxes.webserver", hint("webserver", "ENOENT"))
  end)

  it("a file that is left under /run/netns #root", function()
    sh "mkdir -p /run/netns; touch /run/netns/stale"
    finally(function() sh "rm /run/netns/stale; rmdir /run/netns" end)
    local err = failure(function() nsbox.scope():bridge { "br0", netns = "stale" } end, "EINVAL")
    assert.equal("/run/netns/stale is a file, but no namespace: left from a program that crashed, "
      .. "or "
      .. "from before a restart; remove it (ip netns delete stale)", err.hint)
    assert.equal(err.hint, failure(function() nsbox.ns.open "stale" end, "EINVAL").hint)
  end)
end)

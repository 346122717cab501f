--- Hints on links, addresses, routes and settings of a network.
--
-- The context has `place` (where it failed: an open `nsbox.NetPlace`), `about`
-- (the thing of the request, `"10.0.0.1/24"`), `subject`, and what the verb
-- knew: `kind` of the device, `renamed` (its new name), `base` and `link` (the
-- place and the device below it), `of` (the checked options), `sysctl`
-- (`{ key, path, value }`).
--
-- Whatever is looked at is looked at in that namespace.
--
-- rtnetlink(7), modprobe(8), network_namespaces(7)
--
-- @internal nsbox.hints.network

local inet = require "nsbox.inet"
local machine = require "nsbox.machine"

local CAP_NET_ADMIN <const> = 12
local MOST <const> = 8 -- names in a list
local LONG <const> = 60 -- bytes of a value
local LONGEST <const> = 65535 -- ETH_MAX_MTU
local PORTS <const> = 1023 -- BR_MAX_PORTS, less the one that the bridge is itself

-- looking -------------------------------------------------------------------------

-- what a primitive reads in the place, or nothing
local function read(place, what, ...)
  if not place then
    return nil
  end
  local ok, value = pcall(place.nl[what], place.nl, ...)
  return ok and value or nil
end

local function where(place)
  return place and place.label and " in " .. place.label or ""
end

-- the devices have these names, as a list for people
local function devices(place)
  local names = {}
  for _, link in ipairs(read(place, "link_list") or {}) do
    names[#names + 1] = link.name
  end
  table.sort(names)
  local more = #names - MOST
  return more > 0 and table.concat(names, ", ", 1, MOST) .. (", and %d more"):format(more)
    or table.concat(names, ", ")
end

-- name → true
local function device_set(place)
  local names = {}
  for _, link in ipairs(read(place, "link_list") or {}) do
    names[link.name] = true
  end
  return names
end

local function inode_of(path)
  local ok, stat = pcall(machine.stat, path)
  return ok and stat and stat.ino
end

-- the modules of kinds that are not called as the kind is
local MODULES <const> = { vlan = "8021q", macvtap = "macvtap", ipvtap = "ipvtap", gretap = "ip_gre",
  gre = "ip_gre", ip6gre = "ip6_gre", ip6gretap = "ip6_gre", ip6tnl = "ip6_tunnel", vti = "ip_vti",
  vti6 = "ip6_vti", bond = "bonding", tun = "tun", tap = "tun", netem = "sch_netem",
  tbf = "sch_tbf", htb = "sch_htb" }

-- where a module is: "builtin", "there", "missing", or nil: nobody can tell
local function module_state(name)
  local release = machine.sysctl "kernel.osrelease"
  local dir = "/lib/modules/" .. (release or "?")
  local wanted = "/" .. name:gsub("-", "_") .. ".ko"
  local found
  for _, file in ipairs { "modules.builtin", "modules.dep" } do
    local text = machine.read(dir .. "/" .. file)
    if text then
      found = found or "missing"
      for line in text:gmatch "[^\n]+" do
        local path = (line:match "^[^:]+"):gsub("-", "_")
        if path:find(wanted, 1, true) then
          return file == "modules.dep" and "there" or "builtin"
        end
      end
    end
  end
  return found, dir
end

-- "this kernel has no ipvlan: …"
local function lacks(what, module)
  local state, dir = module_state(module)
  local root = machine.initial_userns() and machine.ids().euid == 0
  if state == "there" then
    return ("this kernel has no %s loaded: %smodprobe %s"):format(what, root and "" or "as root, "
      .. "outside of any container: ", module)
  elseif state == "missing" then
    return ("this kernel (%s) has no %s: there is no module %s below %s; another kernel, or its "
      .. "package of further modules (linux-modules-extra), is needed"):format(
      machine.sysctl "kernel.osrelease" or "?", what, module, dir)
  elseif state == "builtin" then
    return nil
  end
  return ("this kernel has no %s: modprobe %s, as root and outside of any container; %s tells "
    .. "nothing of its modules, it may be one without any"):format(what, module, dir)
end

-- privilege -----------------------------------------------------------------------

local ISLANDS <const> = "a scope without a name works on an island of its own; or the whole "
  .. "script: unshare -Urnm lua5.4 script.lua"

local function own_userns()
  return machine.initial_userns() and "the initial user namespace"
    or "this user namespace (its root is uid "
    .. ((machine.read "/proc/self/uid_map" or ""):match "^%s*0%s+(%d+)" or "?") .. " outside)"
end

-- who may: the capability in the user namespace that owns the place
local function refused(context)
  local place = context.place
  local here = not place or place.inode == inode_of "/proc/self/ns/net"
  if not machine.has_cap(CAP_NET_ADMIN) then
    local text = ("this needs CAP_NET_ADMIN in the user namespace that owns the network "
      .. "namespace%s, and this process has it nowhere"):format(where(place))
    return here and machine.ids().euid ~= 0 and text .. "; " .. ISLANDS or text
  elseif here then
    return ("this process has CAP_NET_ADMIN, but only in %s, and the network namespace belongs to "
      .. "another one: make one of its own (unshare -n, scope:netns)"):format(own_userns())
  end
  local base = context.base
  return ("this process has CAP_NET_ADMIN in %s; the network namespace%s belongs to another one%s")
    :format(own_userns(), where(place), base and base.inode ~= place.inode
    and (", or that%s, where the device below is, does"):format(where(base)) or "")
end

-- links ---------------------------------------------------------------------------

local function link_refused(context)
  local place = context.place
  return place and place.island and "what is on an island stays there: in a box of its scope, or "
    .. "in a network namespace that the scope has made" or refused(context)
end

local function taken(context)
  local name, place = context.renamed or context.about or context.subject, context.place
  local there = name and read(place, "link_get", name)
  if not there then
    if context.kind == "vxlan" or context.kind == "vlan" then
      return ("another device has this id already%s: ip -d link shows which"):format(where(place))
    end
    return context.of and context.of.netns ~= nil
      and "a device of this name may be on the other side" or nil
  end
  local kind = there.kind or there.type
  return ("%s is a device already%s, %s%s%s: scope:link %s borrows it")
    :format(name, where(place), kind:find "^[aeiou]" and "an " or "a ", kind,
    there.name ~= name and " by the name of " .. there.name or "",
    (place.label and '{ "%s", netns = … }' or '"%s"'):format(name))
end

local function no_device(context)
  local of, place = context.of or {}, context.base or context.place
  -- "master br0: No such device"
  local missing = (context.detail or ""):match "^master (%S+): "
  if missing then
    of, place, context = {}, context.place, { link = missing }
  end
  local subject = context.subject and (context.subject:match " on (%S+)$" or context.subject)
  for _, wanted in ipairs { context.link or false, of.link or false, of.master or false,
    context.about or false, subject or false } do
    -- a number is one of ours; an address, or a route, is no device
    if type(wanted) == "string" and not wanted:find "^%d+$" and not wanted:find "[%s/]"
      and not read(place, "link_get", wanted) then
      local near = require("nsbox.mistake").suggest(wanted, device_set(place))
      return ("there is no device %s%s%s; there are: %s"):format(wanted, where(place),
        near and (" (did you mean %s?)"):format(near) or "", devices(place))
    end
  end
end

local function ports(place, master)
  local index = master and read(place, "index", master)
  local count = 0
  for _, link in ipairs(index and read(place, "link_list") or {}) do
    count = count + (link.master == index and 1 or 0)
  end
  return count
end

local function master_of(context)
  local master = context.master or context.of and context.of.master
  if type(master) == "number" then
    return read(context.bridge_place or context.place, "name", master)
  end
  return type(master) == "table" and master.name or master
end

local function full(context)
  local master = master_of(context)
  local place = context.bridge_place or context.place
  local count = type(master) == "string" and ports(place, master) or 0
  return ("a bridge has %d ports at most%s: spread them over several bridges"):format(PORTS,
    count > 0 and (", and %s has %d"):format(master, count) or "")
end

local function busy(context)
  local place = context.base or context.place
  local below = context.link or context.of and context.of.link
  local link = below and read(place, "link_get", type(below) == "table" and below.index or below)
  local kind = context.kind or ""
  if link and link.master and (kind:find "^macv" or kind:find "^ipv") then
    local master = read(place, "name", link.master) or "?"
    return ("%s is a port of %s, which gets all that arrives: put the %s on %s, or take %s out of "
      .. "it"):format(link.name, master, kind, master, link.name)
  elseif link and kind:find "^macv" or kind:find "^ipv" then
    return ("macvlan and ipvlan exclude each other on one device, and a macvlan of the mode "
      .. "passthru everything else%s"):format(link and " (" .. link.name .. ")" or "")
  end
  return "the device is in use: up, a port of another one, or open by a program"
end

local function loop(context)
  local master = master_of(context)
  return ("a bridge%s cannot be a port of itself, nor of one that is a port of it"):format(
    master and " such as " .. master or "")
end

-- a master that takes no ports
local function no_master(context)
  local master = master_of(context)
  local there = type(master) == "string" and read(context.place, "link_get", master)
  if there and there.kind ~= "bridge" and there.kind ~= "vrf" and there.kind ~= "bond" then
    return ("%s is no bridge, but a %s: it takes no ports"):format(master,
      there.kind or there.type)
  end
end

local function no_kind(context)
  if context.kind == "bridge" and context.of and context.of.vlan_filtering
    and context.detail == "Operation not supported" then
    return "this kernel's bridges have no VLANs (CONFIG_BRIDGE_VLAN_FILTERING)"
  end
  local kind = context.kind or context.of and context.of.type
  local near = kind and require("nsbox.mistake").suggest(kind, context.kinds or {})
  if near and near ~= kind then
    return ("there is no kind %s here (did you mean '%s'?)"):format(kind, near)
  end
  return no_master(context) or kind and lacks(kind, MODULES[kind] or kind)
end

-- what the kernel has no words for
local function bounds(context)
  local kind = context.kind or ""
  local below = context.link or context.of and context.of.link
  below = below and read(context.base or context.place, "link_get",
    type(below) == "table" and below.index or below)
  if below and below.type == "loopback" then
    return ("%s is a loopback: nothing is put on it"):format(below.name)
  elseif below and kind:find "^macv" and context.detail == "Invalid argument" then
    return ("a macvlan of the mode passthru has its device for itself (%s)"):format(below.name)
  end
  local master = context.of and context.of.master
  if math.type(master) and not read(context.place, "link_get", master) then
    return "the bridge is gone"
  end
  local link = context.of and context.of.mtu
    and read(context.place, "link_get", context.about or context.subject)
  if link and link.max_mtu and link.max_mtu > 0 then
    return ("the mtu of a %s is from %d to %d"):format(link.kind or link.type, link.min_mtu,
      link.max_mtu)
  elseif context.of and (context.of.mtu or 0) > LONGEST then
    return ("the mtu of most devices is at most %d"):format(LONGEST)
  end
end

-- addresses and routes --------------------------------------------------------------

-- the addresses of a place that are up: { parsed, dev }
local function addresses(place)
  local out = {}
  for _, record in ipairs(read(place, "addr_list") or {}) do
    local a = inet.parse(record.addr)
    if a then
      a.text, a.dev = record.addr, record.dev
      out[#out + 1] = a
    end
  end
  return out
end

local function address_taken(context)
  local wanted = inet.parse(context.about)
  for _, a in ipairs(wanted and addresses(context.place) or {}) do
    if a.bytes == wanted.bytes then
      return ("%s has this address already (%s)%s"):format(
        read(context.place, "name", a.dev) or "a device", a.text, where(context.place))
    end
  end
end

local function route_taken(context)
  local dst = (context.about or ""):match "^%S+"
  for _, route in ipairs(dst and read(context.place, "route_list") or {}) do
    if route.dst == dst and route.table ~= "local" then
      return ("there is a route to %s already%s%s%s; one more needs another metric"):format(dst,
        route.via and " via " .. route.via or "", route.dev and " by "
        .. (read(context.place, "name", route.dev) or "?") or "", where(context.place))
    end
  end
end

-- the subnets of all addresses, for people
local function subnets(place)
  local out, more = {}, 0
  for _, a in ipairs(addresses(place)) do
    local first = a.bytes:byte()
    if first ~= 127 and a.text:sub(1, 5) ~= "fe80:" and a.text ~= "::1/128" then
      if #out < MOST then
        out[#out + 1] = ("%s/%d on %s"):format(inet.text(inet.network(a)), a.prefix,
          read(place, "name", a.dev) or "?")
      else
        more = more + 1
      end
    end
  end
  return #out > 0 and "the subnets are " .. table.concat(out, ", ")
    .. (more > 0 and (", and %d more"):format(more) or "") or "no device has an address"
end

-- "10.5.0.1/16 via …": what is wrong with the route itself
local function route_invalid(context)
  local about = context.about or ""
  local dst, via = inet.parse(about:match "^%S+"), inet.parse(about:match " via (%S+)$")
  if dst and dst.prefix and inet.network(dst) ~= dst.bytes then
    return ("a route is to a network, and %s is an address in one: %s/%d"):format(
      about:match "^%S+", inet.text(inet.network(dst)), dst.prefix)
  elseif dst and via and dst.family == "inet6" and via.family == "inet" then
    return "an IPv6 route has an IPv6 gateway"
  end
end

-- a route that shall be deleted
local function no_route(context)
  local place, device = context.place, (context.subject or ""):match " on (%S+)$"
  local index, words = device and read(place, "index", device), {}
  for _, r in ipairs(index and read(place, "route_list", { dev = index }) or {}) do
    if r.table ~= "local" and r.type ~= "multicast" then
      words[#words + 1] = r.dst .. (r.via and " via " .. r.via or "")
    end
  end
  local more = #words > MOST and (", and %d more"):format(#words - MOST) or ""
  return index and ("%s has no such route%s: %s"):format(device, where(place), #words == 0
    and "it has none" or "it has " .. table.concat(words, ", ", 1, math.min(#words, MOST)) .. more)
end

local function unreachable(context)
  local place = context.place
  local wrong = route_invalid(context)
  if wrong then
    return wrong
  end
  local via = (context.about or ""):match " via (%S+)$"
  local gateway = via and inet.parse(via)
  if not gateway then
    return "the way there leads through a device that is not up, or a gateway that no subnet has"
  end
  local found
  for _, a in ipairs(addresses(place)) do
    if inet.contains(a, gateway) then
      found = a
    end
  end
  if not found then
    return ("no subnet%s has the gateway %s: %s; an address beside it, or onlink = true, makes it "
      .. "reachable"):format(where(place), via, subnets(place))
  end
  local link = read(place, "link_get", found.dev)
  if link and not link.up then
    return ("%s, which has the subnet of %s, is not up"):format(link.name, via)
  end
end

local function ipv6_off(context)
  local a = inet.parse((context.about or ""):match "^%S+" or "")
  if not a or a.family ~= "inet6" then
    return nil
  end
  if not machine.exists "/proc/sys/net/ipv6" then
    return "this kernel has no IPv6"
  end
  return ("IPv6 is off there: net.ipv6.conf.all.disable_ipv6 or that of the device is 1, or its "
    .. "mtu is less than 1280%s"):format(where(context.place))
end

local function address_invalid(context)
  local a = inet.parse(context.about)
  if a and a.family == "inet6" and a.bytes:byte() == 0xff then
    return "a multicast address cannot be that of a device"
  end
  local device = a and a.family == "inet6" and (context.subject or ""):match " on (%S+)$"
  local link = device and read(context.place, "link_get", device)
  if link and link.mtu < 1280 then
    return ("IPv6 needs an mtu of 1280, and that of %s is %d"):format(device, link.mtu)
  end
end

-- settings --------------------------------------------------------------------------

local OF_MODULES <const> = {
  { "^net%.bridge%.", "br_netfilter" },
  { "^net%.netfilter%.nf_conntrack", "nf_conntrack" },
  { "^net%.ipv6%.", "ipv6" },
  { "^net%.mpls%.", "mpls_router" },
}

-- entries of the directory above a path of /proc/sys, as a set
local function siblings(path)
  local dir = "/proc/sys/" .. path:match "^(.*)/"
  local names = {}
  local ok, iterate, state = pcall(require("lfs").dir, dir)
  if ok then
    for name in iterate, state do
      names[name] = true
    end
  end
  return names
end

local function no_setting(context)
  local setting = context.sysctl
  if not setting then
    return nil
  end
  local device = setting.path:match "^net/ipv[46]/conf/([^/]+)/"
    or setting.path:match "^net/ipv[46]/neigh/([^/]+)/"
  if device and device ~= "all" and device ~= "default"
    and not read(context.place, "link_get", device) then
    return ("there is no device %s%s; there are: %s"):format(device, where(context.place),
      devices(context.place))
  end
  if machine.exists("/proc/sys/" .. setting.path) then
    return ("%s is one of the whole machine, not of a network namespace"):format(setting.key)
  end
  local near = require("nsbox.mistake").suggest(setting.path:match "[^/]+$",
    siblings(setting.path))
  if near then
    return ("did you mean '%s'?"):format(setting.key:gsub("[^.]+$", (near:gsub("%.", "/"))))
  end
  for _, one in ipairs(OF_MODULES) do
    if setting.key:find(one[1]) and not machine.exists("/proc/sys/"
      .. setting.path:match "^net/[^/]+") then
      return lacks(setting.key, one[2])
    end
  end
  return ("this kernel has no setting %s: sysctl -a shows all"):format(setting.key)
end

local function bad_value(context)
  local setting = context.sysctl
  if setting then
    local now = require("nsbox.sys.netlink").sysctl_get(context.place.handle, setting.path)
    local value = tostring(setting.value)
    value = #value > LONG and value:sub(1, LONG) .. "…" or value
    return ("'%s' is no value for it%s"):format(value,
      now and now ~= "" and ("; now it is '%s'"):format(now) or "")
  end
end

local function setting_refused(context)
  local setting = context.sysctl
  local stat = setting and machine.stat("/proc/sys/" .. setting.path)
  if stat and stat.mode & 73 == 0 and stat.mode & 292 == 0 then -- 0444
    return ("%s can only be written, so that it could not be restored"):format(setting.key)
  elseif stat and stat.mode & 146 == 0 then -- 0222
    return ("%s can only be read"):format(setting.key)
  end
  return refused(context)
end

-- reading ---------------------------------------------------------------------------

local function overrun()
  return "the kernel had more to say than the socket holds: send less at once, or raise "
    .. ("net.core.rmem_max (%s)"):format(machine.sysctl "net.core.rmem_max" or "?")
end

local M = {}

M.link_add = {
  EPERM = link_refused, EACCES = refused,
  EOPNOTSUPP = no_kind, ENOTSUP = no_kind,
  EEXIST = taken,
  ENODEV = no_device,
  EXFULL = full,
  EBUSY = busy,
  ELOOP = loop,
  EINVAL = bounds, ERANGE = bounds,
  ENOBUFS = overrun,
  ENAMETOOLONG = function()
    return "a device name has 15 characters at most"
  end,
}
M.link_set, M.link_del, M.link_get = M.link_add, M.link_add, M.link_add

M.port_set = setmetatable({
  EOPNOTSUPP = function(context)
    local name = context.about or context.subject
    local link = name and read(context.place, "link_get", tonumber(name) or name)
    return link and not link.master
      and ("%s is no port of a bridge%s"):format(link.name, where(context.place)) or nil
  end,
}, { __index = M.link_add })

M.tuntap_add = {
  EPERM = refused,
  EBUSY = taken,
  ENOENT = function()
    return lacks("tun", "tun")
  end,
  EACCES = function()
    local mount = machine.mount_of "/dev/net/tun"
    if mount and machine.has_option(mount, "nodev") then
      return ("/dev/net/tun is on a mount without devices (%s, nodev)"):format(mount.point)
    end
    local stat = machine.stat "/dev/net/tun"
    if stat and stat.mode & 2 == 0 then
      return ("/dev/net/tun is not for everybody here (mode %04o); as root: chmod 0666 "
        .. "/dev/net/tun"):format(stat.mode & 4095)
    end
    return "making a tun or tap device takes /dev/net/tun open for writing: "
      .. (stat and "see its mode" or "there is none; as root: modprobe tun")
  end,
}

M.qdisc_add = {
  EPERM = refused, EACCES = refused,
  ENOENT = function(context)
    local kind = context.kind or (context.about or ""):match "^%S+"
    return kind and lacks(kind, MODULES[kind] or "sch_" .. kind)
  end,
  EEXIST = function(context)
    return ("the device has a queueing discipline that somebody gave it (tc qdisc show%s): it is "
      .. "not replaced on one that is borrowed"):format(where(context.place))
  end,
  ENODEV = no_device,
}
M.qdisc_replace = M.qdisc_add

M.addr_add = {
  EPERM = refused, EACCES = function(context)
    return ipv6_off(context) or refused(context)
  end,
  EEXIST = address_taken,
  ENODEV = no_device,
  EOPNOTSUPP = ipv6_off, EAFNOSUPPORT = ipv6_off,
  EINVAL = address_invalid, EADDRNOTAVAIL = address_invalid,
  ENOBUFS = overrun,
}
M.addr_del, M.addr_replace = M.addr_add, M.addr_add

M.route_add = {
  EPERM = refused, EACCES = refused,
  EEXIST = route_taken,
  ENETUNREACH = unreachable, EHOSTUNREACH = unreachable, EINVAL = unreachable,
  ENETDOWN = function()
    return "the device is not up"
  end,
  ENODEV = no_device, ESRCH = no_route,
  EOPNOTSUPP = ipv6_off, EAFNOSUPPORT = ipv6_off,
  ENOBUFS = overrun,
}
M.route_del, M.route_replace = M.route_add, M.route_add

local function read_only(context)
  local setting = context.sysctl
  local mount = machine.mount_of "/proc/sys"
  return setting and mount and machine.has_option(mount, "ro")
    and ("%s is mounted read-only, as in a container: set %s where that is started (docker run "
    .. "--sysctl %s=%s, or --privileged)"):format(mount.point, setting.key, setting.key,
    setting.value) or nil
end

M.sysctl = {
  EROFS = read_only,
  ENOENT = no_setting,
  EPERM = setting_refused, EACCES = setting_refused,
  EINVAL = bad_value, ERANGE = bad_value,
}

local function no_nftables()
  return lacks("nf_tables", "nf_tables")
end

M.nft = { EPERM = refused, EACCES = refused, EOPNOTSUPP = no_nftables,
  EPROTONOSUPPORT = no_nftables,
  -- a table that is there, and an expression that is not
  ENOENT = function()
    return "this kernel lacks a part of nf_tables (nft_nat, nft_masq, nft_fib_inet, nft_ct), or "
      .. "somebody changed the table meanwhile: nsbox.doctor()"
  end,
}

M.netlink = { EPERM = refused, EACCES = refused, ENOBUFS = overrun }
M.monitor = M.netlink
M.link_list, M.addr_list, M.route_list = M.netlink, M.netlink, M.netlink

return M

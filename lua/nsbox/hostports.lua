--- Ports of the machine that the uplink of an island is to open: which it cannot.
--
-- An uplink says that it did not work, and not why; and pasta, which takes its
-- ports when it starts, has dropped all connections by then. It is a program of
-- the user's: what it may is what he may, so that is looked at first.
--
-- ip-sysctl.txt (ip_unprivileged_port_start), pasta(1), slirp4netns(1)
--
-- @internal nsbox.hostports

local inet = require "nsbox.inet"
local netlink = require "nsbox.sys.netlink"
local sockets = require "nsbox.sockets"

local CAP_NET_BIND_SERVICE <const> = 10

local HostPorts = {}
HostPorts.__index = HostPorts

local M = {}

--- The ports of the machine, as they are now.
-- @tparam nsbox.Uplink uplink
-- @treturn nsbox.HostPorts
function M.of(uplink)
  return setmetatable({ uplink = uplink, sockets = sockets.of(false) }, HostPorts)
end

local function is_own(addr)
  local nl <close> = netlink.open()
  for _, record in ipairs(nl and nl:addr_list() or {}) do
    if record.addr:match "^[^/]+" == addr then
      return true
    end
  end
  return addr:find "^127%." ~= nil
end

--- Why a port cannot be carried at all.
-- @tparam nsbox.Port port
-- @treturn ?table `{ code, detail, hint }`
function HostPorts:refuses(port)
  local addr = sockets.one(port.addr)
  if port.protocol == "sctp" then
    return { "EPROTONOSUPPORT", "the uplink of an island carries tcp and udp" }
  elseif not addr then
    return nil
  elseif inet.version(addr) == "6" and self.uplink.name == "slirp4netns" then
    return { "EAFNOSUPPORT", "slirp4netns opens ports in IPv4 only",
      "uplink = \"pasta\" opens them in both" }
  elseif not is_own(addr) then
    return { "EADDRNOTAVAIL", addr .. " is no address of this machine" }
  end
end

-- below this number they are not for everybody
local function first_free()
  return tonumber(netlink.sysctl_get(nil, "net/ipv4/ip_unprivileged_port_start")) or 1024
end

--- Why a number cannot be had.
-- @tparam nsbox.Port port
-- @tparam integer number
-- @treturn ?table `{ code, detail, hint }`
function HostPorts:conflict(port, number)
  self.first = self.first or first_free()
  if number < self.first and not require("nsbox.machine").has_cap(CAP_NET_BIND_SERVICE) then
    return { "EACCES", ("the ports below %d of this machine are root's"):format(self.first),
      ("publish another one, \"8080:%d\"; as root: sysctl -w "
        .. "net.ipv4.ip_unprivileged_port_start=%d"):format(port.to, number) }
  elseif self.uplink:carries(port.protocol, number) then -- the table of the island says to whom
    return nil
  end
  local addr = sockets.one(port.addr)
  for _, version in ipairs { "4", "6" } do
    local socket = (not addr or inet.version(addr) == version)
      and sockets.holder(self.sockets, port.protocol, number, addr, version)
    if socket then
      return sockets.reason(port.protocol, number, socket)
    end
  end
end

return M

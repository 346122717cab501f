--- Who waits at a port: the sockets of a network namespace.
--
-- sock_diag(7), ss(8)
--
-- @internal nsbox.sockets

local inet = require "nsbox.inet"
local netlink = require "nsbox.sys.netlink"

local EVERY4 <const>, EVERY6 <const> = "0.0.0.0", "::"

---@class nsbox.Sockets  protocol → port → list of sockets, each protocol read once
local Sockets = {}

local M = {}

function Sockets:__index(protocol)
  local list = {}
  for _, family in ipairs { "inet", "inet6" } do
    -- what the kernel cannot tell is not known
    for _, socket in ipairs(netlink.sockets(self.handle or nil, protocol, family) or {}) do
      local at = list[socket.port] or {}
      list[socket.port] = at
      at[#at + 1] = socket
    end
  end
  rawset(self, protocol, list)
  return list
end

--- The sockets of a namespace.
-- @param handle of it; false: the caller's own
-- @treturn nsbox.Sockets
function M.of(handle)
  return setmetatable({ handle = handle }, Sockets)
end

local function is_every(addr)
  return addr == EVERY4 or addr == EVERY6
end

--- Which address a port is at.
-- @tparam ?string addr
-- @treturn ?string nil: every one of the host
function M.one(addr)
  return not (addr and is_every(addr)) and addr or nil
end

--- The socket that waits at a port.
-- @tparam nsbox.Sockets sockets
-- @tparam string protocol
-- @tparam integer port
-- @tparam ?string addr nil: any
-- @tparam string version of the addresses
-- @treturn ?table the socket
function M.holder(sockets, protocol, port, addr, version)
  for _, socket in ipairs(sockets[protocol][port] or {}) do
    local both = socket.addr == EVERY6 and not socket.v6only
    if (inet.version(socket.addr) == version or both)
      and (addr == nil or is_every(socket.addr) or socket.addr == addr) then
      return socket
    end
  end
end

--- Why a port cannot be had at which a socket waits.
-- @tparam string protocol
-- @tparam integer port
-- @tparam table socket
-- @treturn table `{ code, detail, hint }`
function M.reason(protocol, port, socket)
  return { "EADDRINUSE", ("a socket of uid %d waits at %s, port %d"):format(socket.uid,
    socket.addr, port), ("ss -l%sp 'sport = :%d' tells whose it is; or publish another port")
    :format(protocol == "udp" and "nu" or "nt", port) }
end

return M

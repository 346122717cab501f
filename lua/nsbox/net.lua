--- Looking at a network: links, addresses, routes, and what changes.
--
--     for _, link in ipairs(nsbox.net.links(pid)) do print(link.name, link.kind) end
--
-- The records have the words of `ip`, and other devices in them by name. One in
-- another namespace has no name here: its index is a number.
--
-- rtnetlink(7), ip(8)
--
-- @module nsbox.net

local netplace = require "nsbox.netplace"

local M = {}

local function check_place(op, netns)
  local ok, wrong = true, nil
  if netns ~= nil then
    ok, wrong = require("nsbox.place").check(netns, "net")
  end
  if not ok then
    require("nsbox.mistake").raise(op .. ": " .. wrong, 3)
  end
end

--- Replaces the indexes in a record by names.
-- @tparam table record of a link, an address or a route
-- @tparam function name_of index → name; nil: it has none
-- @treturn table record
function M.name(record, name_of)
  -- what IFLA_LINK_NETNSID says is about the device below, or the other end
  if not record.link_netnsid then
    record.link = record.link and (name_of(record.link) or record.link)
    record.peer = math.type(record.peer) and (name_of(record.peer) or record.peer) or record.peer
  end
  record.master = record.master and (name_of(record.master) or record.master)
  record.dev = record.dev and (name_of(record.dev) or record.dev)
  for _, hop in ipairs(record.nexthops or {}) do
    hop.dev = hop.dev and (name_of(hop.dev) or hop.dev)
  end
  return record
end

-- the records of a kind, with names
local function list(netns, op, read, ...)
  local place <close> = netplace.open(netns, op)
  local records = place:check(op, nil, place.nl[read](place.nl, ...))
  local names = {}
  for _, record in ipairs(records) do
    M.name(record, function(index)
      names[index] = names[index] or place.nl:name(index)
      return names[index]
    end)
  end
  return records
end

--- The links of a namespace, with their addresses.
-- @param[opt] netns any form of it; nil: the caller's own
-- @treturn table[] records: `name index kind mac mtu up state master link peer addrs` and what
--   else `link_list` of `nsbox.sys.netlink` gives
function M.links(netns)
  check_place("net.links", netns)
  local links, by_name = list(netns, "net.links", "link_list"), {}
  for _, link in ipairs(links) do
    link.addrs = {}
    by_name[link.name] = link
  end
  for _, addr in ipairs(list(netns, "net.links", "addr_list")) do
    local link = by_name[addr.dev]
    if link then
      link.addrs[#link.addrs + 1] = addr.addr
    end
  end
  return links
end

--- The addresses of a namespace.
-- @param[opt] netns any form of it; nil: the caller's own
-- @treturn table[] records: `addr dev family scope label …`
function M.addrs(netns)
  check_place("net.addrs", netns)
  return list(netns, "net.addrs", "addr_list")
end

--- The routes of a namespace, of every table but `local`, which the kernel fills by itself.
-- @param[opt] netns any form of it; nil: the caller's own
-- @treturn table[] records: `dst via dev src metric table …`
function M.routes(netns)
  check_place("net.routes", netns)
  local routes = {}
  for _, route in ipairs(list(netns, "net.routes", "route_list")) do
    if route.table ~= "local" then
      routes[#routes + 1] = route
    end
  end
  return routes
end

-- the device of the best default route of a family
local function best(routes, family)
  local dev, least
  for _, route in ipairs(routes) do
    local hop = route.nexthops and route.nexthops[1] or route
    local metric = route.metric or 0
    if route.dst == "default" and route.family == family and route.table == "main"
      and route.type == "unicast" and hop.dev and not hop.dead
      and (not least or metric < least) then
      dev, least = hop.dev, metric
    end
  end
  return dev
end

--- The device by which a namespace reaches the rest of the world: that of its default route with
-- the lowest metric; that of IPv6 where there is none for IPv4.
-- @param[opt] netns any form of it; nil: the caller's own
-- @treturn ?string its name; nil: there is no default route
function M.uplink(netns)
  check_place("net.uplink", netns)
  local routes = list(netns, "net.uplink", "route_list")
  return best(routes, "inet") or best(routes, "inet6")
end

--- Watches a namespace.
-- @function monitor
-- @tparam table o a list of `"link"`, `"addr"`, `"route"`; `netns`, nil: the caller's own
-- @treturn nsbox.Monitor
function M.monitor(o)
  local m = require("nsbox.netmonitor").open(o, 2)
  return m
end

return M

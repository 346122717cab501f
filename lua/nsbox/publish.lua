--- Published ports: `link:publish`, and `publish` of INTERFACE.
--
-- A port of the host leads to one of a card's: from elsewhere, from the host
-- itself, by its own addresses and by 127.0.0.1, and from the card's own
-- network. A map of nftables has them, so a packet costs the same however many
-- there are, and to publish one more is one element.
--
-- nft(8), ip-sysctl.txt
--
-- @module nsbox.publish

local inet = require "nsbox.inet"
local netlink = require "nsbox.sys.netlink"
local nftable = require "nsbox.nftable"
local sockets = require "nsbox.sockets"

local version <const> = inet.version

-- where docker, too, looks for one that nobody asked for by its number
local FIRST <const>, LAST <const> = 49153, 65535

local M = {}

---@class nsbox.Publication  what one link publishes
---@field part nsbox.Part gets the step
---@field link nsbox.Link
---@field netns any where the host's side is, as the caller named it
---@field place nsbox.NetPlace the same, opened
---@field device? nsbox.Link the bridge that it is on
---@field ports nsbox.Port[]
---@field addrs string[] its addresses, with prefixes
---@field near? integer index of the device by which the host reaches it

local function host_of(addr)
  return addr:match "^[^/]+"
end

local function raise(op, it, port, code, detail, hint)
  require("nsbox.error").raise { op = op, subject = port and port.text or it.link.name, code = code,
    netns = it.place.label, detail = detail, hint = hint or false }
end

-- what the tables of nsbox have: name of a table → its sets
local function tables(nft, except)
  local found = {}
  for _, it in ipairs(nft:tables() or {}) do
    if it.family == "inet" and it.name ~= except and it.name:find "^nsbox%-%x+$" then
      local text = nft:run("list table inet " .. it.name)
      found[it.name] = text and nftable.read(text) or nil
    end
  end
  return found
end

-- elements -------------------------------------------------------------------------

-- the key of a port in its map
local function key_of(protocol, number, addr)
  return addr and ("%s . %s . %d"):format(addr, protocol, number)
    or ("%s . %d"):format(protocol, number)
end

-- Where a table leads a port, or one that it overlaps: the same port of every address. Of two
-- tables the older one goes first, also where its port is the more general one.
local function overlap(sets, v, protocol, number, addr)
  local every, at = sets["any" .. v] or {}, sets["at" .. v] or {}
  local key = key_of(protocol, number)
  if every[key] or addr then
    return every[key] or at[key_of(protocol, number, addr)]
  elseif not sets.ports then
    sets.ports = {}
    for _, version_ in ipairs { "4", "6" } do
      for one, target in next, sets["at" .. version_] or {} do
        sets.ports[version_ .. " " .. one:match "^%S+ %. (.*)$"] = target
      end
    end
  end
  return sets.ports[v .. " " .. key]
end

-- the addresses of a card that a port leads to, one of each version at most
local function targets(it, port)
  local found, v = {}, port.addr and version(port.addr)
  for _, addr in ipairs(it.addrs) do
    local own = version(addr)
    if not found[own] and (not v or v == own) then
      found[own] = host_of(addr)
    end
  end
  if not next(found) then
    raise("publish", it, port, "EADDRNOTAVAIL", ("%s has no %saddress that it could lead to")
      :format(it.link.name, v and ("IPv%s "):format(v) or ""))
  end
  return found
end

-- how the ports of the machine come to an island: by its uplink, if it can have one
local function uplink_of(it)
  local island = it.place.island
  if not island or it.netns ~= island.home then
    return nil
  end
  island:reach "publish"
  return island.uplink
end

-- an address of the host's, or for every one nil
local function bound_to(run, it, port)
  local addr = sockets.one(port.addr)
  if run.machine then -- which has it; on the island it is for every one
    local why = run.machine:refuses(port)
    if why then
      raise("publish", it, port, table.unpack(why))
    end
    return nil
  elseif not addr then
    return nil
  end
  if not run.addresses then
    run.addresses = {}
    for _, record in ipairs(it.place.nl:addr_list() or {}) do
      run.addresses[host_of(record.addr)] = true
    end
  end
  if not run.addresses[addr] and not addr:find "^127%." and addr ~= "::1" then
    raise("publish", it, port, "EADDRNOTAVAIL", addr .. " is no address of the host"
      .. (it.place.label and ", " .. it.place.label or ""))
  end
  return addr
end

-- why this number cannot be had, `{ code, detail, hint }`; nil: it can
local function conflict(run, port, number, addr, found)
  for v in next, found do
    local socket = sockets.holder(run.sockets, port.protocol, number, addr, v)
    if socket then
      return sockets.reason(port.protocol, number, socket)
    elseif run.keys[("%s %s"):format(v, key_of(port.protocol, number, addr))] then
      return { "EADDRINUSE", ("%d/%s is published twice"):format(number, port.protocol) }
    end
  end
  return run.machine and run.machine:conflict(port, number)
end

-- one that nobody has
local function choose(run, it, port, addr, found)
  run.tables = run.tables or tables(nftable.handle(it.place, "publish"))
  local function is_taken(number)
    for _, sets in next, run.tables do
      for v in next, found do
        if overlap(sets, v, port.protocol, number, addr) then
          return true
        end
      end
    end
    return conflict(run, port, number, addr, found)
  end
  local first, last = port.first or FIRST, port.last or LAST
  local from = port.first and first or math.random(first, last)
  for i = 0, last - first do
    local number = first + (from - first + i) % (last - first + 1)
    if not is_taken(number) then
      return number
    end
  end
  raise("publish", it, port, "EADDRINUSE",
    ("all ports from %d to %d are taken"):format(first, last))
end

-- what a link's ports are in the maps
local function elements(run, it)
  local owned = {}
  it.published, it.keys = {}, {}
  for _, port in ipairs(it.ports) do
    local found, addr = targets(it, port), bound_to(run, it, port)
    local number = port.choose and choose(run, it, port, addr, found) or port.first
    local why = not port.choose and conflict(run, port, number, addr, found)
    if why then
      raise("publish", it, port, table.unpack(why))
    end
    for v, target in next, found do
      local key = key_of(port.protocol, number, addr)
      local set = (addr and "at" or "any") .. v
      owned[set] = owned[set] or {}
      table.insert(owned[set], ("%s : %s . %d"):format(key, target, port.to))
      run.keys[v .. " " .. key] = true
      it.keys[#it.keys + 1] = { set = set, key = key, port = port, number = number, version = v,
        addr = addr }
    end
    if port.protocol == "udp" then
      run.udp = run.udp or {}
      run.udp[number] = true
    end
    it.published[#it.published + 1] = { protocol = port.protocol, addr = port.addr, port = number,
      to = port.to }
  end
  return owned
end

-- the way --------------------------------------------------------------------------

-- the device by which the host reaches a card, its index; nil: there is none, the card is its own
local function device_of(it)
  if it.device then
    return it.device.index
  end
  local route = it.place.nl:route_get { host_of(it.addrs[1]) }
  return route and route.type ~= "local" and route.dev or nil
end

-- Where rules of IP see what only crosses a bridge (br_netfilter, which Docker turns on), a
-- card that reaches itself by way of the host is answered through its own port.
local function let_back(it, run)
  local port = it.device and it.link.peer
  if run.bridged == nil then
    run.bridged = false
    for _, key in ipairs { "bridge-nf-call-iptables", "bridge-nf-call-ip6tables" } do
      run.bridged = run.bridged
        or netlink.sysctl_get(it.place:namespace(), "net/bridge/" .. key) == "1"
    end
  end
  if port and run.bridged then
    it.place:check("publish", port, it.place.nl:port_set { port, hairpin = true })
  end
end

-- the networks around a card: in them its answers must come back by the host
local function networks(it)
  local more = {}
  for _, addr in ipairs(it.addrs) do
    local a = inet.parse(addr)
    if a.prefix and a.prefix < #a.bytes * 8 then
      local net = ("%s/%d"):format(inet.text(inet.network(a)), a.prefix)
      local set = "within" .. version(addr)
      more[set] = more[set] or {}
      table.insert(more[set], ("%s . %s"):format(net, net))
    end
  end
  return more
end

-- once for a scope: the kernel forwards. A part of an earlier run was let through by the
-- firewalls then
local function open_way(it)
  local nat = require "nsbox.nat"
  it.near = device_of(it)
  local name = it.device and it.device.name or it.near and it.place.nl:name(it.near) or nil
  nat.forward(it.part, it.place, it.netns, nat.families(it.addrs),
    not it.part.standing and name or nil)
end

local function open_localhost(it)
  if it.near then
    require("nsbox.localhost").open(it.part, it.place, it.netns, it.near, it.device,
      require("nsbox.nat").families(it.addrs))
  end
end

local function prepare(run, it)
  open_way(it)
  local more = networks(it)
  more.near = it.near and { tostring(it.near) }
  let_back(it, run)
  return { part = it.part, owned = elements(run, it), more = more,
    text = ("%s to %s"):format(it.ports[1].text .. (it.ports[2]
      and (" and %d more"):format(#it.ports - 1) or ""), host_of(it.addrs[1])) }
end

-- from the machine to the island
local function forward(list, uplink)
  local items, all = {}, {}
  for _, it in ipairs(list) do
    local ports = {}
    for i, p in ipairs(it.published) do
      ports[i] = { proto = p.protocol, addr = sockets.one(p.addr), port = p.port, to = p.port }
    end
    table.move(ports, 1, #ports, #all + 1, all)
    items[#items + 1] = { it.part, "forward", { _inside = it.place.island, uplink = uplink,
      ports = ports } }
  end
  require("nsbox.part").steps(items, function(steps)
    local ok, err = pcall(uplink.publish, uplink, all)
    local outcome = {}
    for i in ipairs(steps) do
      outcome[i] = ok and {}
    end
    return outcome, not ok and err or nil
  end)
end

-- who publishes it already -----------------------------------------------------------

-- in the scope's own table a port of one address goes before that of all, and both may be
local function equal(sets, entry)
  return sets[entry.set] and sets[entry.set][entry.key]
end

local function foreign(sets, entry)
  return overlap(sets, entry.version, entry.port.protocol, entry.number, entry.addr)
end

local function find_key(list, sets, find)
  for _, it in ipairs(list) do
    for _, entry in ipairs(it.keys) do
      local there = find(sets, entry)
      if there then
        return it, entry, there
      end
    end
  end
end

local function name_scope(name)
  local journals = require "nsbox.journal"
  for _, journal in ipairs(journals.names "publish") do
    local state = journals.peek("publish", journal)
    for _, step in ipairs(state and state.steps or {}) do
      if step.kind == "nft" and step.table == name and not step.over then
        return state.name and ("scope %s"):format(state.name) or "another scope"
      end
    end
  end
  return "another scope"
end

local function taken(err, list, sets, find, whose, name)
  local it, entry, there = find_key(list, sets, find)
  if not it then
    return false
  end
  err.code, err.errno = "EADDRINUSE", require("nsbox.sys.errno").EADDRINUSE
  err.subject, err.hint, err.step = entry.port.text, false, nil
  err.detail = ("%s publishes %d/%s already, to %s"):format(whose(name), entry.number,
    entry.port.protocol, (there:gsub(" . ", ":")))
  return true
end

-- all of one scope and place, in one transaction
local function publish(list)
  local place, uplink = list[1].place, uplink_of(list[1])
  local run = { keys = {}, sockets = sockets.of(place:namespace()),
    machine = uplink and require("nsbox.hostports").of(uplink) }
  -- of two that want the same port one gets it, and "any free" stays free
  local alone <close> = require("nsbox.ledger").lock(list[1].part.scope, "publish")
  local items = {}
  for i, it in ipairs(list) do
    items[i] = prepare(run, it)
  end
  local nft = nftable.handle(place, "publish")
  nftable.add(place, "publish", { "publish" }, items, {
    explain = function(err, name)
      if err.code == "EEXIST" then
        taken(err, list, nftable.read(nft:run("list table inet " .. name) or ""), equal,
          function()
            return "this scope"
          end)
      end
    end,
    -- Another user may do the same at this moment: each looks when its own is there.
    verify = function(name)
      for other, sets in next, tables(nft, name) do
        local err = require("nsbox.error").new { op = "publish", netns = place.label,
          code = "EEXIST", hint = false }
        if taken(err, list, sets, foreign, name_scope, other) then
          return err
        end
      end
    end,
  })
  alone:close()
  for _, it in ipairs(list) do -- the table keeps others from it by now
    open_localhost(it)
  end
  if run.udp then
    netlink.conntrack_forget(place:namespace(), "udp", run.udp)
  end
  if uplink then
    forward(list, uplink)
  end
  for _, it in ipairs(list) do
    it.link.published = it.link.published or {}
    table.move(it.published, 1, #it.published, #it.link.published + 1, it.link.published)
  end
end

local function addresses(link)
  local place <close> = link:_open "publish"
  local list = {}
  for _, record in ipairs(place:check("publish", link.name,
    place.nl:addr_list { dev = link.index })) do
    if record.scope ~= "link" and record.scope ~= "host" then
      list[#list + 1] = record.addr
    end
  end
  return list
end

-- what was done of this ---------------------------------------------------------------

-- the port that a key of a map leads to a card: protocol, address, number, and where
local function read_element(set, element)
  local addr, protocol, number, target, to =
    element:match "^(%S-)[ .]*(%a+) %. (%d+) : (%S+) %. (%d+)$"
  return { protocol = protocol, addr = set:find "^at" and addr or nil,
    port = math.tointeger(tonumber(number)), to = math.tointeger(tonumber(to)), target = target }
end

-- what of the steps is for this port
local function find_published(port, there)
  local addr = sockets.one(port.addr)
  for i, it in ipairs(there) do
    if it.protocol == port.protocol and it.to == port.to and it.addr == addr
      and it.port >= (port.first or 1) and it.port <= (port.last or port.first or LAST) then
      return table.remove(there, i).port
    end
  end
end

-- An earlier run of the scope did it. What the kernel was told for that is declared by this
-- one, too: it ends with the last one that needs it.
local function again(it)
  local place <close> = require("nsbox.netplace").open(it.netns, "publish")
  it.place, it.addrs = place, addresses(it.link)
  if it.addrs[1] then
    open_way(it)
    open_localhost(it)
  end
  local own, there, seen = {}, {}, {}
  for _, addr in ipairs(it.addrs) do
    own[host_of(addr)] = true
  end
  for _, step in ipairs(it.part.standing.steps) do
    for set, element in nftable.elements(step) do
      local found = read_element(set, element)
      local key = ("%s %s %d"):format(found.addr, found.protocol, found.port)
      if own[found.target] and not seen[key] then -- once for v4 and v6
        seen[key], there[#there + 1] = true, found
      end
    end
  end
  local published = it.link.published or {}
  for _, port in ipairs(it.ports) do
    published[#published + 1] = { protocol = port.protocol, addr = port.addr, to = port.to,
      port = port.choose and find_published(port, there) or port.first }
  end
  it.link.published = published
end

--- Publishes, what belongs together in one transaction.
-- @tparam nsbox.Publication[] list of one scope
function M.run(list)
  local groups, order, places = {}, {}, {}
  local _ <close> = setmetatable({}, { __close = function()
    for _, place in next, places do
      place:close()
    end
  end })
  for _, it in ipairs(list) do
    local key = it.netns == nil and places or it.netns
    places[key] = places[key] or require("nsbox.netplace").open(it.netns, "publish")
    it.place = places[key]
    it.addrs = it.addrs or addresses(it.link)
    if #it.addrs == 0 then
      raise("publish", it, nil, "EADDRNOTAVAIL", "it has no address that a port could lead to",
        "give it one: addr = \"…\", link:addr()")
    end
    if not groups[it.place] then
      groups[it.place] = {}
      order[#order + 1] = groups[it.place]
    end
    table.insert(groups[it.place], it)
  end
  for _, group in ipairs(order) do
    publish(group)
  end
end

--- What a link is to publish, by the bridge that it is on, or where its scope works.
-- @tparam nsbox.Part part gets the steps
-- @tparam nsbox.Link link
-- @tparam nsbox.Port[] ports
-- @treturn nsbox.Publication
function M.of(part, link, ports)
  local bridge = link._bridge
  return { part = part, link = link, device = bridge, ports = ports,
    netns = bridge and bridge._netns or part:place(nil) }
end

--- Publishes at once, or when the batch of the scope ends; what an earlier run did is left as
-- it is.
-- @tparam nsbox.Publication it
function M.submit(it)
  local batch = it.part.scope._batch
  if it.part.standing then
    again(it)
  elseif batch then
    batch.publications = batch.publications or {}
    table.insert(batch.publications, it)
  else
    M.run { it }
  end
end

return M

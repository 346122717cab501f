--- Cards on a bridge: `bridge:attach`, `bridge:detach`, and `net` of a box.
--
-- One end of a veth is a port of the bridge, the other a card in any network
-- namespace: a box's, a name's, a stranger's. The step is the end on the
-- bridge: with it goes the other one.
--
-- ip-link(8), bridge(8)
--
-- @module nsbox.attach

local inet = require "nsbox.inet"
local interface = require "nsbox.interface"
local lease = require "nsbox.lease"
local link = require "nsbox.link"
local names = require "nsbox.names"
local netplace = require "nsbox.netplace"
local opts = require "nsbox.opts"
local pair = require "nsbox.pair"
local place_forms = require "nsbox.place"

local M = {}

local fields = interface.with {
  netns = false, master = false,
  addr = { interface.check_auto, list = true, none = true,
    doc = "\"10.0.3.7/24\", \"auto\": the next free one of the bridge's subnet, one of each "
      .. "family; one or a list" },
  peer = { interface.check_name, doc = "name of the end on the bridge" },
}
local schema = opts.schema("attach", fields)

-- in `net` of a box the array part is the bridge
local net_fields = interface.with(fields)
net_fields[1] = { link.check_bridge, alone = true, doc = "the bridge" }
net_fields.netns, net_fields.master = nil, nil
net_fields.name = { interface.check_name, doc = "of the card, 15 characters at most" }
local net_schema = opts.schema("net", net_fields)

--- Checks `net`, as a type for `nsbox.opts`: a bridge, `{ bridge, … }`, or a list.
-- @param value
-- @treturn ?table[] `{ bridge, options of attach }`; false: an empty list
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.check_net(value)
  local single = type(value) ~= "table" or getmetatable(value) ~= nil
  for key in next, single and {} or value do
    single = single or type(key) == "string"
  end
  local out = {}
  for i, element in ipairs(single and { value } or value) do
    if type(element) ~= "table" or getmetatable(element) then
      element = { element }
    end
    local o, message = net_schema:parse(element)
    if o and not o[1] then
      o, message = nil, "which bridge?"
    end
    if not o then
      return nil, (single and "" or ("[%d] "):format(i)) .. message
    end
    local bridge = o[1]
    o[1], o.name = o.name, nil
    out[i] = { bridge, o }
  end
  return #out > 0 and out
end

-- the bridge as it is now, read once a run: its mtu, and `subnets`, its addresses with a subnet
-- around them, each with its text as `host`
local function look(place, bridge)
  place.bridges = place.bridges or {}
  local record = place.bridges[bridge.index]
  if not record then
    record = { subnets = {}, mtu = place.nl:mtu(bridge.index)
      or bridge:_record(place, "attach").mtu } -- which says that it is gone
    for _, a in ipairs(place:check("attach", bridge.name,
      place.nl:addr_list { dev = bridge.index })) do
      if a.scope ~= "link" and not a.peer then
        local net = inet.parse(a.addr)
        net.host = a.addr:match "^[^/]+"
        table.insert(record.subnets, net)
      end
    end
    place.bridges[bridge.index] = record
  end
  return record
end

local function subnet_of(net)
  net.subnet = net.subnet or ("%s/%d"):format(inet.text(inet.network(net)), net.prefix)
  return net.subnet
end

local function around(nets, a)
  for _, net in ipairs(nets) do
    if inet.contains(net, a) then
      return net
    end
  end
end

local function outside(p, nets, addr, a)
  local same
  for _, net in ipairs(nets) do
    same = same or net.family == a.family and net
  end
  if same and p.o.gateway == nil then
    require("nsbox.error").raise { op = "attach", subject = addr, code = "EADDRNOTAVAIL",
      detail = ("it is not in the subnet of %s, which is %s"):format(p.bridge.name,
        subnet_of(same)),
      hint = "if it is meant: gateway = its own, or gateway = false" }
  end
end

-- the subnets that "auto" is for: the first of each family that is for more than the bridge
local function first_subnets(nets)
  local list, done = {}, {}
  for _, net in ipairs(nets) do
    if not done[net.family] and lease.has_room(net) then
      done[net.family], list[#list + 1] = true, net
    end
  end
  return list
end

local function wanted_addresses(p, nets)
  if p.o.addr ~= nil then
    return p.o.addr or {}
  end
  return first_subnets(nets)[1] and { "auto" } or {}
end

local function no_subnet(bridge, nets)
  require("nsbox.error").raise { op = "attach", subject = "addr", code = "EADDRNOTAVAIL",
    detail = nets[1] and ("%s has %s/%d, which is its own address alone"):format(bridge.name,
      nets[1].host, nets[1].prefix)
      or ("%s has no address, and so no subnet to choose from"):format(bridge.name),
    hint = nets[1] and "give the bridge an address in a subnet, or addr = \"…\" here"
      or "give the bridge an address, or addr = \"…\" here" }
end

-- "auto" becomes addresses; all of them are ours from here on: as texts, and parsed, with the
-- subnet of the bridge that each is in
local function choose_addresses(p, nets, leases)
  local chosen, parsed = {}, {}
  local function add(text, a, net)
    a.net = net
    chosen[#chosen + 1], parsed[#parsed + 1] = text, a
  end
  for _, addr in ipairs(wanted_addresses(p, nets)) do
    local a = addr ~= "auto" and inet.parse(addr)
    if not a then
      local subnets = first_subnets(nets)
      if not subnets[1] then
        no_subnet(p.bridge, nets)
      end
      for _, net in ipairs(subnets) do
        local text, auto = leases:auto(net, p.plan, p.bridge.name)
        add(text, auto, net)
      end
    else
      local net = around(nets, a)
      if net then
        leases:take(a, p.plan, p.bridge.name)
      else
        outside(p, nets, addr, a)
      end
      add(addr, a, net)
    end
  end
  return chosen, parsed
end

-- whether the namespace has a default route, or is going to have one
local function has_default(place, family)
  place.defaults = place.defaults or {}
  if place.defaults[family] == nil then
    local found = false
    for _, r in ipairs(place.nl:route_list { table = "main", family = family } or {}) do
      found = found or r.dst == "default"
    end
    place.defaults[family] = found
  end
  return place.defaults[family]
end

-- the bridge, for the addresses in its subnets; false: none
local function default_gateways(place, parsed)
  local list, done = {}, {}
  for _, a in ipairs(parsed) do
    local net = a.net
    if net and not done[net.family] and not has_default(place, net.family) then
      done[net.family], place.defaults[net.family] = true, true
      list[#list + 1] = net.host
    end
  end
  return list[1] and list
end

-- From so many cards on what one says to all is too much: 500 that greet each
-- other in IPv6, and look for the bridge, are 2 million packets, which fill the
-- queues of 2 processors, and first connections take seconds. So a card without
-- an IPv6 address of ours makes none for itself, and who looks for an address
-- that was handed out is answered by the bridge, which knows.
local MANY <const> = 64

-- for the port: the bridge knows the addresses and answers for them; what it
-- answers goes to no other port that is so
local function introduce(p, known)
  return function(batch, port, card)
    for _, host in ipairs(known) do
      batch:neigh_replace { host, dev = p.bridge.index, mac = card.mac }
    end
    batch:fdb_replace { card.mac, dev = port.index, master = true, state = "static" }
    batch:port_set { port.index, proxy_arp = true }
  end
end

-- for the card: it knows the bridge, if that has a MAC of its own, and not the
-- lowest of its ports
local function introduce_bridge(p, nets, parsed)
  local part, families = p.bridge._part, {}
  for _, a in ipairs(parsed) do
    families[a.family] = families[a.family] or a.net ~= nil
  end
  return part and part.verb == "bridge" and function(batch, card)
    for _, net in ipairs(nets) do
      if families[net.family] then
        batch:neigh_replace { net.host, dev = card.index, mac = p.bridge.mac }
      end
    end
  end or nil
end

-- whether it gets no IPv6 address, where there is such a thing (looked at once a run)
local function is_silent(host, parsed)
  for _, a in ipairs(parsed) do
    if a.family == "inet6" then
      return false
    end
  end
  if host.ipv6 == nil then
    host.ipv6 = require("nsbox.machine").exists "/proc/sys/net/ipv6"
  end
  return host.ipv6
end

local function inside_of(parsed)
  local known = {}
  for _, a in ipairs(parsed) do
    known[#known + 1] = a.net and inet.text(a.bytes) or nil
  end
  return known
end

-- it would get what it sent back twice
local function check_hairpin(o, bridge, place)
  if o.hairpin and place:check("attach", bridge.name, place.nl:link_get(bridge.index)).promisc then
    require("nsbox.error").raise { op = "attach", subject = bridge.name, code = "EINVAL",
      detail = "a port with hairpin on a bridge that is promiscuous: packets come twice",
      hint = "bridge:set { promisc = false }, or no hairpin" }
  end
end

local function prepare(p, places)
  local o, bridge = p.o, p.bridge
  local host = p.places_of_bridge(places)
  local inside = places:open(p.netns, "attach")
  local record = look(host, bridge)
  local nets = record.subnets
  check_hairpin(o, bridge, host)
  p.plan = host:mark { dev = o.peer or interface.generate "veth",
    group = p.part.scope:_group(), master = bridge.index }
  record.leases = record.leases
    or lease.of(p.part.scope, host, bridge, nets, nets[1] and places:ledger(p.part))
  local leases = record.leases
  local chosen, parsed = choose_addresses(p, nets, leases)
  p.plan.addr = chosen[1] and table.concat(chosen, " ") or nil
  p.net = parsed[1] and parsed[1].net
  o.mtu = o.mtu or record.mtu
  p.a = { place = host, name = p.plan.dev, o = { master = bridge.index, up = true,
    mtu = o.mtu, isolated = o.isolated, hairpin = o.hairpin,
    rate = o.rate, delay = o.delay, loss = o.loss, -- both ways
    -- a bridge without a MAC of its own takes the lowest of its ports
    mac = interface.random_mac "fe" } }
  -- the rest is the card's
  o.addr, o.isolated, o.hairpin = chosen, nil, nil
  -- beside the bridge is where its own way out is
  if o.gateway == nil and o.up and inside.inode ~= host.inode then
    o.gateway = default_gateways(inside, parsed)
  end
  local told
  leases.cards = leases.cards + 1
  if math.max(leases.cards, p.together) > MANY then
    o.silent = is_silent(host, parsed)
    local known = inside_of(parsed)
    if #known > 0 then
      p.a.configure, p.plan.known = introduce(p, known), true
      told = introduce_bridge(p, nets, parsed)
    end
  end
  p.b = { place = inside, name = o[1] or "eth%d", o = o, configure = told }
end

-- the object of a card
local function fill(object, place, netns, record, host_name, bridge, addrs, net)
  object.peer, object.master, object._bridge = host_name, bridge.name, bridge
  object.ip = addrs and addrs:match "^[^/]+"
  object.subnet = net and subnet_of(net) or nil
  link.new(place, netns, record, object)
end

-- Who gets out by NAT asks the servers that the machine asks, unless told otherwise. A machine
-- without such servers, or a box without such a file, is no mistake.
local function default_dns(p)
  local box, dns = p.netns, require "nsbox.dns"
  if not p.bridge._nat or not names.takes_files(p.part, box)
    or box._options.dns ~= nil or box._host_dns and box._host_dns:in_force() then
    return
  end
  local servers = dns.of_host()
  local ok, err = pcall(dns.apply, p.part, "attach", box, servers)
  if not ok and not require("nsbox.error").is(err) then
    error(err, 0)
  end
  box._host_dns = p.part
end

local function finish(p, ra, rb)
  p.object._waits = nil
  fill(p.object, p.b.place, p.netns, rb, ra.name, p.bridge, p.plan.addr, p.net)
  p.object._leave = names.join(p.part, p.netns, p.bridge, p.b.o.addr)
  if p.o.dns then
    require("nsbox.dns").apply(p.part, "attach", p.netns, p.o.dns)
  elseif p.o.dns == nil then
    default_dns(p)
  end
  if p.o.publish then
    p.publications = { require("nsbox.publish").of(p.part, p.object, p.o.publish) }
    p.publications[1].addrs = p.b.o.addr
  end
end

-- whether it is in the namespace, and on the bridge, that are meant today, by its name
local function fits(p, step)
  local host <close> = p.bridge:_open "attach"
  local inside <close> = netplace.open(p.netns, "attach")
  local record = host:has(step) and inside:has(step, "peer_netns", "peer_nsinode")
    and host.nl:link_get(step.index)
  local card = record and record.master == p.bridge.index and inside.nl:link_get(record.peer)
  return card and (not p.o[1] or card.name == p.o[1])
end

local function standing_object(p)
  local step = p.part.standing.steps[1]
  local host <close> = p.bridge:_open "attach"
  local inside <close> = netplace.open(p.netns, "attach")
  local ra = host:check("attach", step.dev, host.nl:link_get(step.index))
  local rb = inside:check("attach", step.dev, inside.nl:link_get(ra.peer))
  local a = step.addr and inet.parse(step.addr:match "^%S+")
  fill(p.object, inside, p.netns, rb, ra.name, p.bridge, step.addr, a)
  if p.o.publish then
    local publish = require "nsbox.publish"
    publish.submit(publish.of(p.part, p.object, p.o.publish))
  end
end

--- Makes a card; see `nsbox.part`.
-- @tparam nsbox.Part part
-- @tparam table it `bridge`, `netns`, `o`: INTERFACE, checked if `checked`
-- @tparam integer level whose line to blame
-- @treturn nsbox.Link
function M.make(part, it, level)
  local bridge, netns, o = it.bridge, part:place(it.netns), it.o
  if not it.checked then
    o = schema:check(o, level + 1)
  end
  local wrong = not o.up and interface.conflict { up = o.up, gateway = o.gateway,
    routes = o.routes }
  if wrong then
    require("nsbox.mistake").raise("attach: " .. wrong, level + 1)
  end
  local p = { part = part, bridge = bridge, netns = netns, o = o, object = {}, prepare = prepare,
    finish = finish }
  function p.places_of_bridge(places)
    local place = places:open(bridge._netns, "attach")
    bridge:_verify(place, "attach")
    return place
  end
  setmetatable(p.object, link.methods)
  -- what a named scope compares: the same options, however the namespace was meant
  o.bridge = bridge.name
  local name = (o[1] or "card") .. " in " .. (netplace.label(netns) or "here")
  if part:stands(name, o, function(steps)
    return fits(p, steps[1])
  end) then
    standing_object(p)
  else
    p.object._waits = p -- for the end of a batch
    pair.submit(p)
  end
  if type(netns) == "table" and netns.links then
    p.object._box = netns
    table.insert(netns.links, p.object)
  end
  return p.object
end

local function check_place(netns, op, level)
  local fine, wrong = place_forms.check(netns, "net")
  if not fine then
    require("nsbox.mistake").raise(("%s: argument 1: %s"):format(op, wrong), level + 1)
  end
end

local function check_bridge(self, op, level)
  local _, wrong = link.check_bridge(self)
  if wrong then
    require("nsbox.mistake").raise(("%s: %s"):format(op, wrong), level + 1)
  end
end

--- `bridge:attach`.
-- @tparam nsbox.Link bridge
-- @param netns any form of `netns`
-- @tparam ?table|string o INTERFACE
-- @tparam integer level whose line to blame
-- @treturn nsbox.Link
function M.attach(bridge, netns, o, level)
  check_bridge(bridge, "attach", level + 1)
  check_place(netns, "attach", level + 1)
  local card = bridge._part.scope:_make("attach", { bridge = bridge, netns = netns, o = o or {} },
    level + 1)
  return card
end

-- whether it is on the bridge and in the place; made, or waiting for the end of a batch
local function is_between(card, bridge, place)
  local waiting = card._waits
  if not waiting then
    return card.master == bridge.name and place:has(card._identity)
  end
  local inside <close> = netplace.open(waiting.netns, "detach")
  return waiting.bridge.name == bridge.name and inside.inode == place.inode
end

--- `bridge:detach`: takes off what `attach` of the same scope made. In a batch, a card
-- that waits has the name that it was given, or none yet.
-- @tparam nsbox.Link bridge
-- @param netns any form of `netns`
-- @tparam ?string name of the card; nil: the only one
-- @tparam integer level whose line to blame
function M.detach(bridge, netns, name, level)
  check_bridge(bridge, "detach", level + 1)
  check_place(netns, "detach", level + 1)
  local _, wrong = interface.check_name(name or "eth0")
  if wrong then
    require("nsbox.mistake").raise("detach: argument 2: " .. wrong, level + 1)
  end
  local place <close> = netplace.open(bridge._part:place(netns), "detach")
  local found = {}
  for _, part in ipairs(bridge._part.scope._parts) do
    local card = part.verb == "attach" and part.object
    local known = card and (card._waits and card._waits.o[1] or card.name)
    if card and (not name or known == name) and is_between(card, bridge, place) then
      found[#found + 1] = card
    end
  end
  if #found == 0 then
    require("nsbox.error").raise { op = "detach", subject = name, netns = place.label,
      code = "ENODEV", hint = "what others made: link:delete()",
      detail = ("this scope attached no such card to %s"):format(bridge.name) }
  elseif #found > 1 then
    require("nsbox.error").raise { op = "detach", netns = place.label, code = "EINVAL",
      detail = ("%s has %d cards there: which one?"):format(bridge.name, #found), hint = false }
  end
  found[1]:close()
end

return M

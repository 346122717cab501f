--- Addresses and routes of a link: `link:addr`, `deladdr`, `route`, `delroute`.
--
-- ip-address(8), ip-route(8)
--
-- @module nsbox.linkaddr

local change = require "nsbox.linkchange"
local inet = require "nsbox.inet"
local interface = require "nsbox.interface"
local opts = require "nsbox.opts"

local M = {}

local function positive(doc)
  return { "integer", min = 0, max = 0xffffffff, doc = doc }
end

local FOREVER <const> = 0xfffffffe -- seconds; one more is what the kernel has for it

-- seconds as the kernel counts them
local function lifetime(value, field)
  if value == "forever" then
    return value
  end
  local seconds, message = require("nsbox.units").duration(value, field)
  return seconds and math.ceil(seconds), message
end

local addr_schema = opts.schema("addr", {
  { inet.check_addr, alone = true, doc = "the address, with its prefix" },
  peer = { inet.check_addr, doc = "the other end of a point-to-point device, with the prefix" },
  broadcast = { inet.check_host, doc = "as in ip" },
  label = { "string", min = 1, max = 15, doc = "begins with the name of the device" },
  metric = positive "of the route to the subnet",
  scope = { "string", one_of = { "global", "site", "link", "host" }, doc = "as in ip" },
  valid_lft = { lifetime, min = 1, max = FOREVER, doc = "60, \"1h\", or \"forever\"" },
  preferred_lft = { lifetime, max = FOREVER, doc = "the same, at most as much" },
  nodad = { "boolean", doc = "usable at once; IPv6: yes" },
  noprefixroute = { "boolean", doc = "no route to the subnet comes with it" },
})

-- what is wrong with options that are right one by one
local function addr_conflict(o)
  local peer, seconds = inet.parse(o.peer), math.type
  if peer then
    local own = inet.parse(o[1])
    if own.family ~= peer.family then
      return "peer: an address of the same family is wanted"
    elseif own.prefix < #own.bytes * 8 then
      return ("'%s': with a peer, which has the prefix, the address is alone: '%s/%d'"):format(o[1],
        inet.text(own.bytes), #own.bytes * 8)
    end
  end
  local valid, preferred = o.valid_lft, o.preferred_lft
  if seconds(valid) and (preferred == "forever" or seconds(preferred) and preferred > valid) then
    return "preferred_lft: more than valid_lft"
  end
end

-- also the address as a request wants it: with a peer, the prefix is that of the peer
local function checked_addr(op, a, level)
  local o = addr_schema:check(a, level + 1)
  local wrong = not o[1] and "which address?" or addr_conflict(o)
    or op == "addr" and select(2, inet.check_own(o[1]))
  if wrong then
    require("nsbox.mistake").raise(op .. ": " .. wrong, level + 1)
  end
  return o, o.peer and o[1]:match "^[^/]+" or o[1]
end

-- fields of a step -> of a request
local function copy(from, names, to)
  for name in names:gmatch "%S+" do
    to[name] = from[name]
  end
  return to
end

--- `link:addr`.
-- @tparam nsbox.Link link
-- @tparam string|table given
-- @tparam integer level whose line to blame
function M.addr(link, given, level)
  local o, addr = checked_addr("addr", given, level + 1)
  change.check(link, "addr", level + 1)
  local place <close> = link:_open "addr"
  link:_record(place, "addr")
  local module = require "nsbox.undo.addr"
  local request = copy(o, module.FIELDS, { addr, dev = link.index })
  if o.nodad == nil and o[1]:find(":", 1, true) then
    request.nodad = true
  end
  local plan = change.mark(link, place, copy(o, module.FIELDS, { addr = addr }))
  plan.proto = link._borrowed and module.mark() or nil
  request.proto = plan.proto
  change.step(link, "addr", link.name .. " " .. o[1], o, plan, function()
    -- what an earlier run of a named scope made has it already
    local add = link.fresh == false and not link._borrowed and "addr_replace" or "addr_add"
    place:check("addr", link.name, place.nl[add](place.nl, request))
    return {}
  end)
  if not link.ip then
    link.ip = o[1]:match "^[^/]*"
  end
end

local function same_addr(a, b)
  return a == b or inet.canonical(a) == inet.canonical(b)
end

--- `link:deladdr`.
-- @tparam nsbox.Link link
-- @tparam string|table given
-- @tparam integer level whose line to blame
function M.deladdr(link, given, level)
  local o = checked_addr("deladdr", given, level + 1)
  change.check(link, "deladdr", level + 1)
  local place <close> = link:_open "deladdr"
  link:_record(place, "deladdr")
  local module, had = require "nsbox.undo.addr", nil
  for _, record in ipairs(place.nl:addr_list { dev = link.index } or {}) do
    had = had or same_addr(record.addr, o[1]) and record
  end
  local peer = had and had.peer or o.peer
  local addr = peer and o[1]:match "^[^/]+" or o[1]
  local plan = copy(had or {}, module.FIELDS, { addr = addr, gone = true })
  plan = change.mark(link, place, plan)
  change.step(link, "addr", link.name .. " no " .. o[1], o, plan, function()
    place:check("deladdr", link.name, place.nl:addr_del { addr, dev = link.index, peer = peer })
    return {}
  end)
end

local function checked_route(op, r, level)
  local o = interface.route:check(r, level + 1)
  if not o[1] then
    require("nsbox.mistake").raise(op .. ": where to?", level + 1)
  end
  return o
end

local function route_name(link, word, o)
  return ("%s %s%s%s%s"):format(link.name, word, o[1], o.via and " via " .. o.via or "",
    o.table and " table " .. o.table or "")
end

--- `link:route`.
-- @tparam nsbox.Link link
-- @tparam string|table given
-- @tparam integer level whose line to blame
function M.route(link, given, level)
  local o = checked_route("route", given, level + 1)
  change.check(link, "route", level + 1)
  local place <close> = link:_open "route"
  link:_record(place, "route")
  local module = require "nsbox.undo.route"
  local request = module.request(o, o[1], link.index)
  local plan = change.mark(link, place, copy(o, module.FIELDS, { dst = o[1] }))
  plan.protocol = link._borrowed and require("nsbox.netplace").PROTOCOL or nil
  request.protocol = plan.protocol
  change.step(link, "route", route_name(link, "", o), o, plan, function()
    local add = link.fresh == false and not link._borrowed and "route_replace" or "route_add"
    place:check("route", link.name, place.nl[add](place.nl, request))
    return {}
  end)
end

--- `link:delroute`.
-- @tparam nsbox.Link link
-- @tparam string|table given
-- @tparam integer level whose line to blame
function M.delroute(link, given, level)
  local o = checked_route("delroute", given, level + 1)
  change.check(link, "delroute", level + 1)
  local place <close> = link:_open "delroute"
  link:_record(place, "delroute")
  local module = require "nsbox.undo.route"
  local had = module.find(place, link.index, o[1], o)
  local plan = change.mark(link, place, copy(had or o, module.FIELDS, { dst = o[1], gone = true }))
  change.step(link, "route", route_name(link, "no ", o), o, plan, function()
    place:check("delroute", link.name,
      place.nl:route_del(module.request(had or o, o[1], link.index)))
    return {}
  end)
end

return M

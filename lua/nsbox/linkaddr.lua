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

local function lifetime(value)
  return value == "forever" and value or math.type(value) == "integer" and value >= 0 and value
    or nil, "expected seconds, or 'forever'"
end

local addr_schema = opts.schema("addr", {
  { inet.check_addr, doc = "the address, with its prefix" },
  peer = { inet.check_addr, doc = "the other end of a point-to-point device, with the prefix" },
  broadcast = { inet.check_host, doc = "as in ip" },
  label = { "string", min = 1, max = 15, doc = "begins with the name of the device" },
  metric = positive "of the route to the subnet",
  scope = { "string", one_of = { "global", "site", "link", "host" }, doc = "as in ip" },
  valid_lft = { lifetime, doc = "seconds, or \"forever\"" },
  preferred_lft = { lifetime, doc = "seconds, or \"forever\"" },
  nodad = { "boolean", doc = "usable at once; IPv6: yes" },
  noprefixroute = { "boolean", doc = "no route to the subnet comes with it" },
})

local function checked_addr(op, a, level)
  local o = addr_schema:check(a, level + 1)
  if not o[1] then
    require("nsbox.mistake").raise(op .. ": which address?", level + 1)
  end
  return o
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
  local o = checked_addr("addr", given, level + 1)
  change.check(link, "addr", level + 1)
  local place <close> = link:_open "addr"
  local module = require "nsbox.undo.addr"
  local request = copy(o, module.FIELDS, { o[1], dev = link.index })
  if o.nodad == nil and o[1]:find(":", 1, true) then
    request.nodad = true
  end
  local plan = change.mark(link, place, copy(o, module.FIELDS, { addr = o[1] }))
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
  local module, had = require "nsbox.undo.addr", nil
  for _, record in ipairs(place.nl:addr_list { dev = link.index } or {}) do
    had = had or same_addr(record.addr, o[1]) and record
  end
  local plan = copy(had or {}, module.FIELDS, { addr = o[1], gone = true })
  plan = change.mark(link, place, plan)
  change.step(link, "addr", link.name .. " no " .. o[1], o, plan, function()
    place:check("deladdr", link.name, place.nl:addr_del { o[1], dev = link.index, peer = o.peer })
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

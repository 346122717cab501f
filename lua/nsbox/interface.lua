--- INTERFACE: what the end of a link, wherever it is made, can be told.
--
-- `born` says what goes into the request that makes it, `configure` what
-- follows inside its namespace, in one send.
--
-- ip-link(8), ip-address(8), ip-route(8), bridge(8)
--
-- @internal nsbox.interface

local inet = require "nsbox.inet"
local opts = require "nsbox.opts"
local random = require "nsbox.random"
local shape = require "nsbox.shape"

local M = {}

local LONGEST <const> = 15 -- IFNAMSIZ - 1

--- Checks a device name, as a type for `nsbox.opts`.
-- @param value
-- @treturn ?string
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.check_name(value)
  if type(value) ~= "string" then
    return nil, require("nsbox.mistake").expected("a device name", value)
  elseif #value > LONGEST then
    return nil, ("'%s' has %d characters, a device name has %d at most"):format(value:sub(1, 40),
      #value, LONGEST)
  elseif value == "" or value == "." or value == ".." or value:find "[%s/:%c%%]" then
    return nil, ("'%s' is no device name: no blanks, '/', ':' or '%%'"):format(
      value:gsub("%c", "?"))
  elseif value == "all" or value == "default" then
    return nil, ("'%s' is no device name: settings (net.ipv4.conf.%s) have it"):format(value, value)
  end
  return value
end

--- Checks a hardware address, as a type for `nsbox.opts`.
-- @param value
-- @treturn ?string
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.check_mac(value)
  local text = type(value) == "string" and value:lower():gsub("-", ":")
  local first = text and text:match "^(%x%x):%x%x:%x%x:%x%x:%x%x:%x%x$"
  if not first then
    return nil, require("nsbox.mistake").bad("a hardware address, as '02:00:00:00:00:01'", value)
  elseif tonumber(first, 16) & 1 == 1 then
    return nil, ("'%s' is a multicast address (its first byte is odd)"):format(value)
  end
  return text
end

--- Checks an address that may be chosen, as a type for `nsbox.opts`.
-- @param value "auto", or an address with its prefix
-- @treturn ?string
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.check_auto(value)
  if value == "auto" then
    return value
  end
  return inet.check_own(value)
end

local function netns(value)
  local ok, message = require("nsbox.place").check(value, "net")
  return ok and value or nil, message
end

-- a name, or a link
local function master(value)
  if type(value) == "table" and value.index and value.get then
    return value
  end
  return M.check_name(value)
end

local ROUTE_TYPES <const> = { "unicast", "local", "broadcast", "anycast", "multicast", "blackhole",
  "unreachable", "prohibit", "throw" }

local function destination(value)
  if value == "default" or inet.parse(value) then
    return value
  end
  return nil, require("nsbox.mistake").bad("\"default\", or where to, as '10.5.0.0/16'", value)
end

-- a number, or a word that the kernel's tables have
local function number_or_word(value)
  if math.type(value) == "integer" and value >= 0 or type(value) == "string" then
    return value
  end
  return nil, require("nsbox.mistake").bad("a number or a word", value)
end

--- What a route can be told: of `routes`, and of `link:route`.
M.route = opts.schema("route", {
  { destination, alone = true, doc = "\"10.5.0.0/16\" or \"default\"" },
  via = { inet.check_host, doc = "the gateway" },
  src = { inet.check_host, doc = "the address to send from" },
  metric = { "integer", min = 0, max = 0xffffffff, doc = "the lowest wins" },
  table = { number_or_word, doc = "which routing table (main)" },
  type = { "string", one_of = ROUTE_TYPES, doc = "unicast, blackhole, …" },
  scope = { number_or_word, doc = "global, link, host" },
  onlink = { "boolean", doc = "the gateway is there, whatever its address" },
  mtu = { "integer", min = 68, max = 65536, doc = "longest packet on this way" },
})

local function route(value)
  local parsed, message = M.route:parse(value)
  if parsed and not parsed[1] then
    return nil, "where does the route lead to?"
  end
  return parsed, message
end

-- one or a list: a table with a named part is one
local function routes(value)
  local single = type(value) ~= "table"
  for key in next, single and {} or value do
    single = single or type(key) == "string"
  end
  local out = {}
  for i, element in ipairs(single and { value } or value) do
    local message
    out[i], message = route(element)
    if not out[i] then
      return nil, ("[%d] %s"):format(i, message)
    end
  end
  return out
end

--- The fields of an option schema.
M.fields = {
  { M.check_name, alone = true, doc = "its name, 15 characters at most" },
  netns = { netns, doc = "where it is made" },
  addr = { inet.check_own, list = true, none = true, doc = "\"10.0.3.1/24\", one or a list" },
  mac = { M.check_mac, doc = "hardware address" },
  mtu = { "integer", min = 68, max = 65536, doc = "longest packet, in bytes" },
  up = { "boolean", default = true, doc = "it is up" },
  txqueuelen = { "integer", min = 0, max = 0xffffffff, doc = "packets that may wait" },
  dns = { opts.by "nsbox.dns", none = true,
    doc = "{ server…, search =, options =, hosts = }, or \"host\"" },
  publish = { opts.by "nsbox.ports",
    doc = "ports of the host that lead here: \"8080:80\", one or a list, as docker has them" },
  alias = { "string", max = 255, min = 1, doc = "a text for people" },
  gateway = { inet.check_host, list = true, none = true, doc = "where the default route leads to" },
  routes = { routes, doc = "{ \"10.5.0.0/16\", via =, … }, one or a list" },
  master = { master, doc = "the bridge that it is a port of" },
  isolated = { "boolean", doc = "of a port: nothing goes to other isolated ones" },
  hairpin = { "boolean", doc = "of a port: what came from it may go back there" },
}

for name, field in next, shape.fields do
  M.fields[name] = field
end

--- A schema's fields: those of an interface, and more.
-- @tparam table more a field that is false is not there
-- @treturn table
function M.with(more)
  local fields = {}
  for key, field in next, M.fields do
    fields[key] = field
  end
  for key, field in next, more do
    fields[key] = field or nil
  end
  return fields
end

--- What is wrong with options that are right one by one.
-- @tparam table o checked options
-- @treturn ?string
function M.conflict(o)
  if not o.master and (o.isolated ~= nil or o.hairpin ~= nil) then
    return (o.isolated ~= nil and "isolated" or "hairpin")
      .. ": it is no port of a bridge: master = which?"
  elseif not o.up and (o.gateway or o.routes and #o.routes > 0) then
    return (o.gateway and "gateway" or "routes") .. ": no way leads through a link that is not up"
  end
end

--- A name for what has none.
-- @tparam string prefix
-- @treturn string
function M.generate(prefix)
  return ("%s%08x"):format(prefix, random.u32())
end

--- A hardware address for what has none.
-- @tparam string first its first byte
-- @treturn string
function M.random_mac(first)
  return ("%s:%02x:%02x:%02x:%02x:%02x"):format(first, random.bytes(5):byte(1, 5))
end

--- What goes into the request that makes it.
-- @tparam table o checked options
-- @tparam table request gets the fields
-- @treturn table request
function M.born(o, request)
  request.mac, request.mtu, request.txqueuelen = o.mac, o.mtu, o.txqueuelen
  request.up = o.up
  request.master = M.master(o)
  return request
end

--- Its master, as a request wants it.
-- @tparam table o checked options
-- @treturn ?string|integer
function M.master(o)
  return type(o.master) == "table" and o.master.index or o.master or nil
end

--- Its master, looked for where the port is going to be.
-- @tparam nsbox.NetPlace place
-- @tparam string op the verb, for an Error
-- @tparam table o checked options
-- @tparam[opt="link_add"] string request that wants it
-- @treturn ?integer its index; nil: it gets none
-- @raise an Error: ENODEV; EXDEV: an object of another namespace
function M.find_master(place, op, o, request)
  local wanted = o.master
  if type(wanted) ~= "table" then
    local index, message, errno = wanted, nil, nil
    if wanted then
      index, message, errno = place.nl:index(wanted)
    end
    if message then -- as a request says it
      place:check(op, o[1], nil, ("%s %s: master %s: %s"):format(request or "link_add", o[1],
        wanted, message:match "[^:]*$":sub(2)), errno)
    end
    return index or nil
  elseif not place:has(wanted._identity) then
    -- its index is another device here
    require("nsbox.error").raise { op = op, subject = o[1], netns = place.label, code = "EXDEV",
      detail = ("%s is in another network namespace%s"):format(wanted.name,
        wanted.netns and ", " .. wanted.netns or ""), hint = "a port is where its bridge is" }
  end
  return wanted.index
end

local NONE <const> = {}
local ROUTE_FIELDS <const> = { "via", "src", "metric", "table", "type", "scope", "onlink", "mtu" }
local NOWHERE <const> = { blackhole = true, unreachable = true, prohibit = true, throw = true }

--- A route, as a request wants it.
-- @tparam table r checked by `route`
-- @tparam integer index of the device
-- @treturn table
function M.route_request(r, index)
  local request = { r[1], dev = not NOWHERE[r.type] and index or nil }
  for _, field in ipairs(ROUTE_FIELDS) do
    request[field] = r[field]
  end
  return request
end

--- What follows, inside: queues requests.
-- @tparam userdata batch of the netlink handle there
-- @tparam integer index of the device
-- @tparam table o checked options
-- @tparam[opt] boolean bare the request that made it did not take what `born` says of `up`
--   and `master`: it is the peer of another one
-- @treturn integer how many
function M.configure(batch, index, o, bare)
  local before = #batch
  for _, addr in ipairs(o.addr or NONE) do
    -- ours alone: nothing to be detected, and usable at once
    batch:addr_add { addr, dev = index, nodad = addr:find(":", 1, true) and true or nil }
  end
  if o.alias then
    batch:link_set { index, alias = o.alias }
  end
  if o.silent then -- before it is up: then it would begin to speak
    batch:link_set { index, addrgenmode = "none" }
  end
  if bare and (o.up or o.master) then
    batch:link_set { index, up = o.up or nil, master = M.master(o) }
  end
  if o.isolated ~= nil or o.hairpin ~= nil then
    batch:port_set { index, isolated = o.isolated, hairpin = o.hairpin }
  end
  for _, gateway in ipairs(o.gateway or NONE) do
    batch:route_add { "default", via = gateway, dev = index }
  end
  for _, r in ipairs(o.routes or NONE) do
    batch:route_add(M.route_request(r, index))
  end
  shape.configure(batch, index, o)
  return #batch - before
end

return M

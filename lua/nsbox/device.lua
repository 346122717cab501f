--- Devices of any kind: the verbs `macvlan`, `ipvlan`, `vlan`, `vxlan` and `add`.
--
-- A device is made where it is going to be, under its name, in one request: it
-- is asked for in the namespace of the device below it, which is where the
-- script is unless `link` is an object of another one. What a kind takes is in
-- the table KINDS, in the words of ip-link(8).
--
-- ip-link(8), ip-tuntap(8)
--
-- @module nsbox.device

local inet = require "nsbox.inet"
local interface = require "nsbox.interface"
local link = require "nsbox.link"
local netplace = require "nsbox.netplace"
local opts = require "nsbox.opts"

local M = {}

local BOOLEAN <const> = { "boolean", doc = "as in ip" }

local function number(max, doc, min)
  return { "integer", min = min or 0, max = max, doc = doc }
end

local function flags(names)
  local fields = {}
  for name in names:gmatch "%S+" do
    fields[name] = BOOLEAN
  end
  return fields
end

local function with(fields, more)
  for name, field in next, more do
    fields[name] = field
  end
  return fields
end

local macvlan = with(flags "nopromisc nodst", {
  mode = { "string", one_of = { "private", "vepa", "bridge", "passthru", "source" },
    default = "bridge", doc = "who of them sees whom" },
  bcqueuelen = number(0xffffffff, "broadcasts that may wait"),
})

local ipvlan = {
  mode = { "string", one_of = { "l2", "l3", "l3s" }, default = "l2", doc = "how it forwards" },
  flags = { "string", one_of = { "bridge", "private", "vepa" }, doc = "who of them sees whom" },
}

local tun = with(flags "pi vnet_hdr multi_queue", {
  user = { "id", doc = "who may open it" },
  group = { "id", doc = "who may open it" },
})

-- kind → `fields`: of its own; `below`: what it does with a device that it is on,
-- "needs" it, or has it among its own fields ("data"); `must`: a field; `ioctl`:
-- it is made by a file; `check(o)` → what is wrong
local KINDS <const> = {
  macvlan = { fields = macvlan, below = "needs" },
  macvtap = { fields = macvlan, below = "needs" },
  ipvlan = { fields = ipvlan, below = "needs" },
  ipvtap = { fields = ipvlan, below = "needs" },
  vlan = { below = "needs", must = "id",
    fields = with(flags "reorder_hdr gvrp loose_binding mvrp bridge_binding", {
      id = number(4094, "of the VLAN", 1),
      protocol = { "string", one_of = { "802.1q", "802.1ad" }, doc = "802.1q" },
    }) },
  vxlan = { below = "data", must = "id",
    fields = with(flags [[ttl_inherit learning proxy rsc l2miss l3miss udp_csum udp_zero_csum6_tx
      udp_zero_csum6_rx remcsum_tx remcsum_rx external gbp gpe]], {
      id = number(0xffffff, "of the network"),
      group = { inet.check_host, doc = "multicast address of all others" },
      remote = { inet.check_host, doc = "address of the other one" },
      src = { inet.check_host, doc = "address to send from" },
      dstport = { "integer", min = 1, max = 65535, default = 4789, doc = "UDP port" },
      ttl = number(255, "of the packets outside"),
      tos = number(255, "of the packets outside"),
      df = { "string", one_of = { "unset", "set", "inherit" }, doc = "of the packets outside" },
      label = number(0xfffff, "of the packets outside"),
      ageing = number(0xffffffff, "seconds"),
      maxaddress = number(0xffffffff, "hardware addresses to remember"),
    }),
    check = function(o)
      local group = o.group and inet.parse(o.group)
      local first = group and group.bytes:byte()
      if group and o.remote then
        return "group and remote exclude each other"
      elseif group and not (first == 0xff or #group.bytes == 4 and first >> 4 == 0xe) then
        return ("group: '%s' is no multicast address; one other end is `remote`"):format(o.group)
      elseif group and not o.link then
        return "group: by which device? (link = …)"
      end
    end },
  vrf = { must = "table", fields = {
    table = number(0xffffffff, "number of its routing table", 1),
  } },
  dummy = { fields = {} },
  ifb = { fields = {} },
  tun = { fields = tun, ioctl = true },
  tap = { fields = tun, ioctl = true },
}

local OF_A_VERB <const> = { bridge = "bridge", veth = "veth" }

local function check_kind(value)
  if type(value) ~= "string" or not value:find "^[%w_-]+$" or #value > 20 then
    return nil, require("nsbox.mistake").bad("a kind of device, as 'dummy'", value)
  elseif OF_A_VERB[value] then
    return nil, ("a %s is made by scope:%s"):format(value, OF_A_VERB[value])
  end
  return value
end

local LINK <const> = { link.check, doc = "the device below: name, index or link object" }

local function check_raw(value)
  return type(value) == "table" and value or nil,
    "expected a list of { number, bytes }, see nsbox.sys.netlink"
end

-- of kinds that nothing is known of
local OTHER <const> = { fields = { data = { check_raw, doc = "attributes by number" } } }

local schemas = {}

-- verb, type -> schema, kind
local function known(verb, given)
  local kind = verb
  if verb == "add" then
    kind = type(given) == "table" and given.type
    if not kind then
      return nil, "add: which type?"
    end
    local ok, message = check_kind(kind)
    if not ok then
      return nil, "add: type: " .. message
    end
  end
  local key = verb .. " " .. kind
  if not schemas[key] then
    local spec = KINDS[kind] or OTHER
    local fields = with({ link = not spec.ioctl and LINK or nil,
      type = verb == "add" and { check_kind, doc = "which kind" } or nil }, spec.fields)
    schemas[key] = opts.schema(verb, interface.with(fields))
  end
  return schemas[key], kind
end

local function checked(verb, given, level)
  local schema, kind = known(verb, given)
  local raise = require("nsbox.mistake").raise
  if not schema then
    raise(kind, level + 1)
  end
  local o = schema:check(given, level + 1)
  local spec = KINDS[kind] or OTHER
  local must = spec.must
  if must and o[must] == nil then
    raise(("%s: which %s?"):format(verb, must), level + 1)
  elseif spec.below == "needs" and not o.link then
    raise(("%s: on which device? (link = …)"):format(verb), level + 1)
  end
  local wrong = spec.check and spec.check(o) or interface.conflict(o)
  if wrong then
    raise(("%s: %s"):format(verb, wrong), level + 1)
  end
  o[1] = o[1] or interface.generate(kind:sub(1, 8))
  return o, kind, spec
end

-- fields of the kind -> what the request has of them
local function data_of(o, spec, below)
  local data = { table.unpack(o.data or {}) }
  for name in next, spec.fields do
    if name ~= "data" then
      data[name] = o[name]
    end
  end
  data.link = spec.below == "data" and below or nil
  return next(data) ~= nil and data or nil
end

-- a card of the machine is not on an island, and its owner may not work on it
local function check_reach(place, below, verb)
  if not place.island or type(below) ~= "string" or place.nl:index(below) then
    return
  end
  local machine <close> = require("nsbox.sys.netlink").open()
  if machine and machine:index(below) then
    place:close()
    require("nsbox.error").raise { op = verb, subject = below, netns = tostring(place.island),
      code = "EPERM", detail = "it is a card of the machine, and not on the island",
      hint = ("a %s on it takes CAP_NET_ADMIN in the machine's network: as root, with a scope "
        .. "that is not private; an island reaches the world by its uplink"):format(verb) }
  end
end

-- where the device below is, and what it is called there
local function open_below(part, o, verb)
  local below = o.link
  if below == nil then
    return nil
  elseif getmetatable(below) == link.methods then
    return below:_open(verb), below.index
  end
  local place = netplace.open(part:place(nil), verb)
  check_reach(place, below, verb)
  return place, below
end

-- made without a name for anybody else to open it by, until it bears the mark
local function by_file(place, o, kind, group, master)
  local name, file, errno = place.nl:tuntap_add { o[1], mode = kind, user = o.user,
    group = o.group, pi = o.pi, vnet_hdr = o.vnet_hdr, multi_queue = o.multi_queue,
    persist = false }
  if not name then
    return nil, file, errno
  end
  local request = interface.born(o, { name, group = group })
  request.master = master
  local ok, message
  ok, message, errno = place.nl:link_set(request)
  if ok then
    ok, message, errno = place.nl:tuntap_keep(file)
  end
  file:close()
  return ok, message, errno
end

local function by_message(place, base, below, o, kind, spec, group, master)
  local request = interface.born(o, { o[1], kind = kind, group = group,
    data = data_of(o, spec, below), link = spec.below ~= "data" and below or nil })
  request.master = master
  if base and base.inode ~= place.inode then
    request.netns = place:namespace()
  end
  return (base or place).nl:link_add(request)
end

-- and the ports that lead to it
local function object_of(part, place, o, record)
  local made = link.of(place, o, record)
  if o.publish then
    local publish = require "nsbox.publish"
    publish.submit(publish.of(part, made, o.publish))
  end
  return made
end

-- what is the same thing in another run
local function identity(o, place, base, below)
  local copy = with({}, o)
  copy.netns, copy.link = place.label, below and (base.label or "here") .. " " .. below
  copy.master = interface.master(o)
  return copy
end

--- Makes a device; see `nsbox.part`.
-- @tparam nsbox.Part part its verb is the kind, or "add"
-- @tparam table|string given options
-- @tparam integer level whose line to blame
-- @treturn nsbox.Link
function M.make(part, given, level)
  local verb = part.verb
  local o, kind, spec = checked(verb, given, level + 1)
  o.netns = part:place(o.netns)
  local place <close> = netplace.open(o.netns, verb)
  local base <close>, below = open_below(part, o, verb)
  local context = { kind = kind, kinds = KINDS, base = base, link = below, of = o }
  if part:stands(place:named(o[1]), identity(o, place, base, below), function(steps)
    return place:holds(steps[1])
  end) then
    return object_of(part, place, o, place:check(verb, o[1], place.nl:link_get(o[1])))
  end
  local master = interface.find_master(place, verb, o)
  local plan = place:mark { dev = o[1], group = part.scope:_group() }
  local record = part:step("link", plan, function(step)
    local ok, message, errno
    if spec.ioctl then
      ok, message, errno = by_file(place, o, kind, step.group, master)
    else
      ok, message, errno = by_message(place, base, below, o, kind, spec, step.group,
        master)
    end
    if not ok then
      error(place:failure(verb, step.dev, message, errno, context), 0)
    end
    local made = place.nl:link_get(step.dev)
    return { index = made and made.index }, made
  end)
  if not record then
    require("nsbox.error").raise { op = verb, subject = o[1], netns = place.label,
      code = "ENODEV", detail = "it was deleted as soon as it was made", hint = false }
  end
  link.configure(place, verb, record.index, o)
  if o.dns then
    require("nsbox.dns").apply(part, verb, o.netns, o.dns)
  end
  return object_of(part, place, o, record)
end

return M

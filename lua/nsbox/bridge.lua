--- Bridges: the verb `bridge` of a scope.
--
-- ip-link(8), bridge(8)
--
-- @module nsbox.bridge

local interface = require "nsbox.interface"
local link = require "nsbox.link"
local netplace = require "nsbox.netplace"
local opts = require "nsbox.opts"

local M = {}

-- device options as in ip, in its units; the kernel knows their bounds
local DEVICE <const> = {
  stp = { "boolean", doc = "the spanning tree protocol (the kernel: off)" },
  forward_delay = { "integer", min = 0, max = 0xffffffff, doc = "in 1/100 s" },
  hello_time = { "integer", min = 0, max = 0xffffffff, doc = "in 1/100 s" },
  max_age = { "integer", min = 0, max = 0xffffffff, doc = "in 1/100 s" },
  ageing_time = { "integer", min = 0, max = 0xffffffff, doc = "in 1/100 s" },
  priority = { "integer", min = 0, max = 65535, doc = "for the spanning tree" },
  vlan_filtering = { "boolean", doc = "ports have VLANs" },
  mcast_snooping = { "boolean", doc = "multicast goes where it is wanted" },
}

-- a bridge is a port of no other one
local fields = interface.with(DEVICE)
fields.nat = { opts.by "nsbox.nat",
  doc = "its subnets go out by any device, or by this one, as \"enp1s0\"" }
fields.isolate = { "boolean", doc = "no traffic to or from other bridges of nsbox" }
fields.master, fields.isolated, fields.hairpin, fields.publish = nil, nil, nil, nil
fields.addr = { interface.check_auto, list = true, none = true, default = { "auto" },
  doc = "\"10.0.3.1/24\", \"auto\": in a free subnet of the scope's pool; one or a list; false: "
    .. "none, a plain switch" }

local schema = opts.schema("bridge", fields)

local function device_options(o)
  local data
  for name in next, DEVICE do
    if o[name] ~= nil then
      data = data or {}
      data[name] = o[name]
    end
  end
  return data
end

-- the options in words that another run has, too
local function identity(o, place)
  local spec = {}
  for key, value in next, o do
    spec[key] = value
  end
  spec.netns = place.label
  return spec
end

local function addresses(step)
  local list = {}
  for addr in (step.addr or ""):gmatch "%S+" do
    list[#list + 1] = addr
  end
  return list[1] and list or false
end

-- its addresses are ours from here on; the lock on choosing them, where it has any
local function claim(part, place, o, plan)
  if not o.addr or not o.addr[1] then
    return nil
  end
  local ledger
  o.addr, ledger = require("nsbox.pool").claim(part, place, o[1], o.addr)
  plan.addr = table.concat(o.addr, " ")
  return ledger
end

--- Makes a bridge; see `nsbox.part`.
-- @tparam nsbox.Part part
-- @tparam table|string o `{ name, addr =, … }`: INTERFACE, and the device's options
-- @tparam integer level whose line to blame
-- @treturn nsbox.Link
function M.make(part, o, level)
  o = schema:check(o, level + 1)
  local wrong = interface.conflict(o)
  if wrong then
    require("nsbox.mistake").raise("bridge: " .. wrong, level + 1)
  end
  o[1] = o[1] or interface.generate "br"
  o.netns = part:place(o.netns)
  local place <close> = netplace.open(o.netns, "bridge")
  if part:stands(place:named(o[1]), identity(o, place), function(steps)
    return place:holds(steps[1])
  end) then
    o.addr = addresses(part.standing.steps[1])
    local there = link.of(place, o, place:check("bridge", o[1], place.nl:link_get(o[1])))
    if o.nat then
      require("nsbox.nat").of(part, place, o, there)
    end
    return there
  end
  local plan = place:mark { dev = o[1], group = part.scope:_group() }
  local ledger <close> = claim(part, place, o, plan)
  local record, message, errno = part:step("link", plan, function(step)
    if ledger then
      ledger:close()
    end
    local request = interface.born(o, { step.dev, kind = "bridge", group = step.group,
      data = device_options(o) })
    -- else it is the lowest of its ports, and changes when they come and go
    request.mac = request.mac or interface.random_mac "02"
    -- and so is its MTU, unless it is changed later to what it is to be
    request.mtu = o.mtu and o.mtu ~ 1
    local ok, message, errno = place.nl:link_add(request)
    if not ok then
      error(place:failure("bridge", step.dev, message, errno, { kind = "bridge", of = o }), 0)
    end
    local made, why, code = place.nl:link_get(step.dev)
    return { index = made and made.index }, made, why, code
  end)
  place:check("bridge", o[1], record, message, errno)
  if o.mtu then
    place:check("bridge", o[1], place.nl:link_set { record.index, mtu = o.mtu })
  end
  link.configure(place, "bridge", record.index, o)
  local made = link.of(place, o, record)
  if o.nat or o.isolate then
    require("nsbox.nat").of(part, place, o, made)
  end
  return made
end

return M

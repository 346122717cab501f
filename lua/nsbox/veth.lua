--- Cables: the verb `veth` of a scope.
--
-- veth(4), ip-link(8)
--
-- @module nsbox.veth

local inet = require "nsbox.inet"
local interface = require "nsbox.interface"
local link = require "nsbox.link"
local netplace = require "nsbox.netplace"
local opts = require "nsbox.opts"
local pair = require "nsbox.pair"

---@class nsbox.Cable  its two ends are `[1]` and `[2]`, links
---@field fresh boolean made by this run
local Cable = { __name = "nsbox.cable" }
Cable.__index = Cable

local M = {}

-- without defaults: what an end does not say, the cable says
local fields = interface.with { up = { "boolean", doc = "it is up (true)" } }
local end_schema = opts.schema("end", fields)
local outer = interface.with { { end_schema, doc = "an end: { name, INTERFACE }" },
  up = fields.up }
local schema = opts.schema("veth", outer)

-- both ends, each with what the cable says of both
local function ends_of(o, level)
  if #o > 2 then
    require("nsbox.mistake").raise("veth: a cable has two ends", level + 1)
  end
  local list = {}
  for i = 1, 2 do
    local this = o[i] or {}
    for key, value in next, o do
      if type(key) == "string" and this[key] == nil then
        this[key] = value
      end
    end
    if this.up == nil then
      this.up = true
    end
    local wrong = interface.conflict(this)
    if wrong then
      require("nsbox.mistake").raise(("veth: end %d: %s"):format(i, wrong), level + 1)
    end
    list[i] = this
  end
  return list
end

local function fill(object, place, this, record, other)
  local a = this.addr and this.addr[1] and inet.parse(this.addr[1])
  object.ip = a and inet.text(a.bytes)
  object.subnet = a and ("%s/%d"):format(inet.text(inet.network(a)), a.prefix)
  object.peer, object.master = other.name, type(this.master) == "table" and this.master.name
    or this.master
  link.new(place, this.netns, record, object)
end

local function prepare(p, places)
  local near, far = p.ends[1], p.ends[2]
  local a, b = places:open(near.netns, "veth"), places:open(far.netns, "veth")
  interface.find_master(a, "veth", near)
  interface.find_master(b, "veth", far)
  p.plan = a:mark { dev = near[1], group = p.part.scope:_group() }
  p.a = { place = a, name = near[1], o = near }
  p.b = { place = b, name = far[1], o = far }
end

local function finish(p, ra, rb)
  fill(p.object[1], p.a.place, p.ends[1], ra, rb)
  fill(p.object[2], p.b.place, p.ends[2], rb, ra)
  p.publications = {}
  for i, this in ipairs(p.ends) do
    if this.publish then
      table.insert(p.publications, require("nsbox.publish").of(p.part, p.object[i], this.publish))
    end
  end
end

local function complete(p, ra, rb)
  finish(p, ra, rb)
  for _, this in ipairs(p.ends) do
    if this.dns then
      require("nsbox.dns").apply(p.part, "veth", this.netns, this.dns)
    end
  end
end

local function standing_object(p)
  local a <close> = netplace.open(p.ends[1].netns, "veth")
  local b <close> = netplace.open(p.ends[2].netns, "veth")
  local ra = a:check("veth", p.ends[1][1], a.nl:link_get(p.ends[1][1]))
  p.a, p.b = { place = a }, { place = b }
  finish(p, ra, b:check("veth", p.ends[2][1], b.nl:link_get(ra.peer)))
  for _, it in ipairs(p.publications) do
    require("nsbox.publish").submit(it)
  end
end

-- whether both places are those where its ends are, and have them by their names
local function fits(p, step)
  local a <close> = netplace.open(p.ends[1].netns, "veth")
  local b <close> = netplace.open(p.ends[2].netns, "veth")
  local near = a:holds(step) and b:has(step, "peer_netns", "peer_nsinode")
    and a.nl:link_get(step.index)
  local far = near and b.nl:link_get(near.peer)
  return far and (not p.ends[2][1] or far.name == p.ends[2][1])
end

local function identity(list)
  local spec = {}
  for i, this in ipairs(list) do
    spec[i] = {}
    for key, value in next, this do
      spec[i][key] = key == "netns" and netplace.label(value)
        or key == "master" and interface.master(this) or value
    end
  end
  return ("%s-%s"):format(list[1][1] or "", list[2][1] or ""), spec
end

--- Makes a cable; see `nsbox.part`.
-- @tparam nsbox.Part part
-- @tparam table o `{ END, END, … }`; END: `{ name, INTERFACE }`, its netns anywhere
-- @tparam integer level whose line to blame
-- @treturn nsbox.Cable
function M.make(part, o, level)
  local list = ends_of(schema:check(o, level + 1), level + 1)
  for _, this in ipairs(list) do
    this.netns = part:place(this.netns)
  end
  local near, far = list[1], list[2]
  if near[1] and near[1] == far[1] and near.netns == far.netns then
    require("nsbox.mistake").raise(("veth: both ends are called %s, in one place"):format(near[1]),
      level + 1)
  end
  local name, spec = identity(list)
  local p = { part = part, ends = list, prepare = prepare, finish = complete, object =
    setmetatable({ {}, {} }, Cable) }
  local cable = p.object
  for _, this in ipairs(cable) do
    this._part = part
    setmetatable(this, link.methods)
  end
  if name ~= "-" and part:stands(name, spec, function(steps)
    return fits(p, steps[1])
  end) then
    standing_object(p)
    return cable
  end
  for i, this in ipairs(list) do
    this[1] = this[1] or interface.generate(i == 1 and "veth" or "vpeer")
  end
  pair.submit(p)
  return cable
end

--- Takes it away, both ends; twice is harmless.
function Cable:close()
  self._part:close()
end

Cable.__close = Cable.close

--- Keeps it: its scope does not undo it any more.
-- @treturn nsbox.Cable itself
function Cable:release()
  if not self[1]._identity then
    require("nsbox.mistake").raise("release: the cable is made when the batch ends", 2)
  end
  self._part:release()
  return self
end

function Cable:__tostring()
  return ("%s -- %s"):format(tostring(self[1]), tostring(self[2]))
end

return M

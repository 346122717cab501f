--- Changing a link: `link:set`, `up`, `down`.
--
-- ip-link(8)
--
-- @module nsbox.linkset

local change = require "nsbox.linkchange"
local inet = require "nsbox.inet"
local interface = require "nsbox.interface"
local netplace = require "nsbox.netplace"
local opts = require "nsbox.opts"

local M = {}

local schema = opts.schema("set", interface.with {
  { interface.check_name, alone = true, doc = "its new name" },
  up = { "boolean", doc = "it is up" },
  alias = { "string", max = 255, doc = "a text for people; \"\": none" },
  master = { interface.fields.master[1], none = true, doc = "the bridge; false: none" },
  promisc = { "boolean", doc = "it takes packets for others" },
  allmulti = { "boolean", doc = "it takes all multicast packets" },
})

-- what `set` asks for, as the record of a device would have it
local function wanted(link, place, o)
  local want = {}
  for _, name in ipairs(require("nsbox.undo.linkset").FIELDS) do
    want[name] = o[name]
  end
  want.name = not o.netns and o[1] or nil
  if o.master then
    want.master = interface.find_master(place, "set", { link.name, master = o.master }, "link_set")
  end
  return want
end

local function set_values(link, o)
  local linkset = require "nsbox.undo.linkset"
  local place <close> = link:_open "set"
  local want = wanted(link, place, o)
  if next(want) == nil then
    return
  end
  local record = link:_record(place, "set")
  local plan, names = linkset.plan(record, want)
  plan = change.mark(link, place, plan)
  change.step(link, "linkset", link.name .. " " .. names, want, plan, function(step)
    local ok, message, errno = linkset.apply(place, link.index, want)
    if not ok then
      linkset.restore(place, step, link.index)
      error(place:failure("set", link.name, message, errno,
        { renamed = want.name, master = want.master }), 0)
    end
    return {}
  end)
  link:_fill(place:check("set", link.name, place.nl:link_get(link.index)))
  if want.master ~= nil then
    link.master = want.master and place.nl:name(want.master) or nil
  end
end

-- the addresses that the scope itself gave it, and will take away
local function given(link)
  local set = {}
  local function note(steps)
    for _, step in ipairs(steps) do
      if step.kind == "addr" and step.index == link.index and not step.over and not step.gone then
        set[inet.canonical(step.addr)] = true
      end
    end
  end
  for _, part in ipairs(link._part and link._part.scope._parts or {}) do
    note(part.steps)
  end
  local named = link._part and link._part.scope._named
  for _, part in ipairs(named and named.standing or {}) do
    note(part.steps)
  end
  return set
end

-- the addresses that a move would lose
local function kept(link, place)
  local words, ours = {}, given(link)
  for _, a in ipairs(place.nl:addr_list { dev = link.index } or {}) do
    if a.permanent and a.scope ~= "link" and not a.peer and not ours[inet.canonical(a.addr)] then
      words[#words + 1] = a.addr
    end
  end
  return #words > 0 and table.concat(words, " ") or nil
end

local function lend(link, netns, name)
  netns = link._part and link._part:place(netns) or netns
  local place <close> = link:_open "set"
  local target <close> = netplace.open(netns, "set")
  local to = target:mark {}
  local spec = { to = to.where, name = name }
  if target.inode == place.inode then
    if link._home then
      change.step(link, "linkset", link._home.dev .. " netns", spec, { to_where = true })
    end
    return
  end
  local record = link:_record(place, "set")
  local plan = change.mark(link, place, { to_netns = to.netns, to_nsinode = to.nsinode,
    to_where = to.where, to_dev = name or link.name, mac = record.mac, up = record.up,
    master = record.master, addrs = kept(link, place) })
  plan._inside = target.island and plan._inside
  change.step(link, "linkset", link.name .. " netns", spec, plan, function(step)
    local ok, message, errno = place.nl:link_set { link.index, netns = target:namespace(),
      name = step.to_dev }
    if not ok then
      require("nsbox.undo.linkset").bring_home(step, function() end)
      error(target:failure("set", link.name, message, errno, { renamed = step.to_dev }), 0)
    end
    local moved = target.nl:link_get(step.to_dev)
    return { to_index = moved and moved.index }
  end)
  link:_fill(target:check("set", plan.to_dev, target.nl:link_get(plan.to_dev)))
  link:_settle(target, netns)
end

-- the discipline of a borrowed device has a handle by which it is told again
local function set_shape(link, o)
  if o.rate == nil and o.delay == nil and o.loss == nil then
    return
  end
  for i = #(link._changes or {}), 1, -1 do
    if link._changes[i].verb == "qdisc" then -- another one takes its place
      table.remove(link._changes, i):close()
    end
  end
  local shape = require "nsbox.shape"
  local place <close> = link:_open "set"
  local spec = { rate = o.rate, delay = o.delay, loss = o.loss, mtu = o.mtu }
  local handle = ("%x:"):format(math.random(1, 0xfffe))
  local request = shape.request(spec, link.index, handle)
  if not request then
    return
  end
  local plan = change.mark(link, place, { handle = handle, discipline = request.kind })
  change.step(link, "qdisc", link.name .. " qdisc", spec, plan, function()
    local add = link._borrowed and "qdisc_add" or "qdisc_replace"
    local ok, message, errno = place.nl[add](place.nl, request)
    if not ok then
      error(place:failure("set", link.name, message, errno, { kind = request.kind }), 0)
    end
    return {}
  end)
end

-- a part of its scope that goes with it; `name` tells it again in the next run of a named one
local function owned(link, verb, name, spec, act)
  local part = link._part.scope:_within(verb, function(part)
    part:stands(("%s of %s in %s"):format(name, link.name, link.netns or "here"), spec)
    act(part)
    return part
  end)
  link._changes = link._changes or {}
  table.insert(link._changes, part)
end

local function set_dns(link, o)
  owned(link, "dns", "dns", o == "host" and { o } or o, function(part)
    if not part.standing then
      require("nsbox.dns").apply(part, "set", link._netns, o)
    end
  end)
end

--- `link:publish`.
-- @tparam nsbox.Link link
-- @tparam nsbox.Port[] ports
function M.publish(link, ports)
  owned(link, "publish", "ports", ports, function(part)
    local publish = require "nsbox.publish"
    publish.submit(publish.of(part, link, ports))
  end)
end

--- `link:set`.
-- @tparam nsbox.Link link
-- @tparam table o INTERFACE, …
-- @tparam integer level whose line to blame
function M.set(link, o, level)
  o = schema:check(o, level + 1)
  if o.hairpin and o.promisc then
    require("nsbox.mistake").raise("set: hairpin and promisc exclude each other: "
      .. "packets would come twice", level + 1)
  end
  change.check(link, "set", level + 1)
  if o.netns then
    lend(link, o.netns, o[1])
    o.up = o.up == nil or o.up
  end
  set_values(link, o)
  set_shape(link, o)
  for _, addr in ipairs(o.addr or {}) do
    link:addr(addr)
  end
  for _, gateway in ipairs(o.gateway or {}) do
    link:route { "default", via = gateway }
  end
  for _, route in ipairs(o.routes or {}) do
    link:route(route)
  end
  if o.dns then
    set_dns(link, o.dns)
  end
  if o.publish then
    M.publish(link, o.publish)
  end
end

--- `link:up`, `link:down`.
-- @tparam nsbox.Link link
-- @tparam string op "up" or "down"
-- @tparam integer level whose line to blame
function M.switch(link, op, level)
  change.check(link, op, level + 1)
  set_values(link, { up = op == "up" })
end

return M

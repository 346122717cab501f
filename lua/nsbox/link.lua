--- Link objects: a device that a scope made, or borrowed; the verb `link`.
--
-- The object keeps no descriptor: each call opens the namespace again, and
-- makes sure that it is the same one. A change to what the scope made goes
-- when the device goes; one to a borrowed device is a part of the scope by
-- itself, with its own undo.
--
-- ip-link(8)
--
-- @module nsbox.link

local inet = require "nsbox.inet"
local interface = require "nsbox.interface"
local netplace = require "nsbox.netplace"
local opts = require "nsbox.opts"

---@class nsbox.Link
---@field name string
---@field index integer
---@field kind string "bridge", "veth", … "device": one that no program made
---@field mac? string
---@field netns? string where it is, for people; nil: the caller's own
---@field ip? string its first address, without the prefix
---@field subnet? string the network of that address
---@field master? string the bridge that it is a port of
---@field peer? string the other end, where that is in the same place
---@field fresh boolean made by this run
local Link = { __name = "nsbox.link" }
Link.__index = Link

local M = { methods = Link }

-- what can be told from a record
local function fill(self, record)
  self.name, self.index, self.mac = record.name, record.index, record.mac
  self.kind = netplace.kind(record)
end

-- its place from here on
local function settle(self, place, netns)
  self.netns, self._netns, self._step = place.label, netns, place:mark {}
end

--- Makes an object.
-- @tparam nsbox.NetPlace place where it is
-- @param netns how the caller named that place; nil: the own
-- @tparam table record as `link_get` gives it
-- @tparam[opt] table fields more
-- @treturn nsbox.Link
function M.new(place, netns, record, fields)
  local self = setmetatable(fields or {}, Link)
  fill(self, record)
  settle(self, place, netns)
  if record.master and not self.master then
    self.master = place.nl:name(record.master)
  end
  if record.peer and not record.link_netnsid and not self.peer then
    self.peer = place.nl:name(record.peer)
  end
  return self
end

--- Makes the object of a device with these options.
-- @tparam nsbox.NetPlace place where it is
-- @tparam table o checked options
-- @tparam table record as `link_get` gives it
-- @treturn nsbox.Link
function M.of(place, o, record)
  local a = inet.parse(o.addr and o.addr[1])
  return M.new(place, o.netns, record, {
    ip = a and inet.text(a.bytes),
    subnet = a and ("%s/%d"):format(inet.text(inet.network(a)), a.prefix) or nil,
  })
end

--- Gives a device what follows when it is there, in one send.
-- @tparam nsbox.NetPlace place
-- @tparam string verb for an Error
-- @tparam integer index of the device
-- @tparam table o checked options
function M.configure(place, verb, index, o)
  local batch = place.nl:batch()
  if interface.configure(batch, index, o) == 0 then
    return
  end
  for _, result in ipairs(place:check(verb, o[1], batch:send())) do
    if result ~= true then
      error(place:failure(verb, o[1], result[1], result[2]), 0)
    end
  end
end

-- a place opened as its own was: is it the same one?
function Link:_verify(place, op)
  if not place:has(self._step) then
    require("nsbox.error").raise { op = op, subject = self.name, code = "ENODEV",
      detail = "its network namespace is gone", hint = false }
  end
end

local function check_made(self, op, level)
  if not self._step then
    require("nsbox.mistake").raise(op .. ": the link is made when the batch ends", level + 1)
  end
end

-- its place, opened again
function Link:_open(op)
  check_made(self, op, 3)
  local place = netplace.open(self._netns, op)
  local ok, err = pcall(self._verify, self, place, op)
  if not ok then
    place:close()
    error(err, 0)
  end
  return place
end

--- Checks a bridge, as a type for `nsbox.opts`.
-- @param value
-- @treturn ?nsbox.Link
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.check_bridge(value)
  if getmetatable(value) ~= Link then
    return nil, require("nsbox.mistake").expected("a bridge", value)
  elseif value.kind ~= "bridge" then
    return nil, ("%s is a %s, no bridge"):format(value.name, value.kind or "link of no kind")
  end
  return value
end

--- Of a bridge: puts a card into a network namespace, and its other end on the bridge.
-- @param netns any form of `netns`: a box, a name, somebody's pid
-- @tparam[opt] table|string o `{ name, INTERFACE, peer = }`; no name: the first free ethN there
-- @treturn nsbox.Link the card
function Link:attach(netns, o)
  local card = require("nsbox.attach").attach(self, netns, o, 2)
  return card
end

--- Of a bridge: takes a card off that `attach` of the same scope made.
-- @param netns any form of `netns`
-- @tparam[opt] string name of the card; none: the only one
-- @treturn nsbox.Link itself
function Link:detach(netns, name)
  require("nsbox.attach").detach(self, netns, name, 2)
  return self
end

local function record_of(self, place, op)
  local record = place:check(op, self.name, place.nl:link_get(self.index))
  return record
end

--- Its record, read now.
-- @treturn table with the words of `ip link`, see `nsbox.sys.netlink`
-- @raise an Error, ENODEV: it is gone
function Link:get()
  local place <close> = self:_open "get"
  local record = record_of(self, place, "get")
  return record
end

-- changes -------------------------------------------------------------------------

-- whether it can be changed now
local function check_change(self, op, level)
  check_made(self, op, level + 1)
  if self._part then
    self._part.scope:_check_batch(op, level + 1)
  end
end

-- the scope will undo what is done to it
local function in_scope(self)
  return self._part and self._part:in_force()
end

-- Does one thing: as a step where something would stay of it, else at once.
-- `name` and `spec` tell it again in the next run of a named scope
local function change(self, kind, name, spec, plan, act)
  if not (in_scope(self) and (self._borrowed or plan.to_where)) then
    act(plan)
    return
  end
  local part = self._part.scope:_within(kind, function(part)
    if not part:stands(name, spec) then
      part:step(kind, plan, act)
    end
    return part
  end)
  self._changes = self._changes or {}
  table.insert(self._changes, part)
end

-- the fields by which a step finds the device again
local function mark(self, place, fields)
  fields.dev, fields.index, fields.device = self.name, self.index, self.kind
  return place:mark(fields)
end

--- Whether a value names a device, as a type for `nsbox.opts`.
-- @param value a name, an index, a link object
-- @return the value
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.check(value)
  if getmetatable(value) == Link then
    return value
  elseif type(value) == "string" then
    return interface.check_name(value)
  elseif math.type(value) == "integer" and value > 0 then
    return value
  end
  return nil, require("nsbox.mistake").expected("a device: a name, an index, a link object", value)
end

local set_schema
do
  local fields = interface.with {
    { interface.check_name, doc = "its new name" },
    up = { "boolean", doc = "it is up" },
    master = { interface.fields.master[1], none = true, doc = "the bridge; false: none" },
    promisc = { "boolean", doc = "it takes packets for others" },
    allmulti = { "boolean", doc = "it takes all multicast packets" },
  }
  set_schema = opts.schema("set", fields)
end

-- a device that is meant here -> its index
local function index_of(place, op, device)
  if getmetatable(device) == Link then
    if device._step.nsinode ~= place.inode then
      require("nsbox.error").raise { op = op, subject = device.name, code = "EXDEV", hint = false,
        detail = "it is in another network namespace" }
    end
    return device.index
  elseif type(device) == "string" then
    return (place:check(op, device, place.nl:index(device)))
  end
  return device
end

-- what `set` asks for, as the record of a device would have it
local function wanted(place, o)
  local want = {}
  for _, name in ipairs(require("nsbox.undo.linkset").FIELDS) do
    want[name] = o[name]
  end
  want.name = not o.netns and o[1] or nil
  if o.master then
    want.master = index_of(place, "set", o.master)
  end
  return want
end

local function set_values(self, o)
  local linkset = require "nsbox.undo.linkset"
  local place <close> = self:_open "set"
  local want = wanted(place, o)
  if next(want) == nil then
    return
  end
  local record = record_of(self, place, "set")
  local plan, names = linkset.plan(record, want)
  change(self, "linkset", self.name .. " " .. names, want, mark(self, place, plan), function(step)
    local ok, message, errno = linkset.apply(place, self.index, want)
    if not ok then
      linkset.restore(place, step, self.index)
      error(place:failure("set", self.name, message, errno, { renamed = want.name }), 0)
    end
    return {}
  end)
  fill(self, record_of(self, place, "set"))
  if want.master ~= nil then
    self.master = want.master and place.nl:name(want.master) or nil
  end
end

-- the addresses that the scope itself gave it, and will take away
local function given(self)
  local set = {}
  local function note(steps)
    for _, step in ipairs(steps) do
      if step.kind == "addr" and step.index == self.index and not step.over and not step.gone then
        set[inet.canonical(step.addr)] = true
      end
    end
  end
  for _, part in ipairs(self._part and self._part.scope._parts or {}) do
    note(part.steps)
  end
  local named = self._part and self._part.scope._named
  for _, part in ipairs(named and named.standing or {}) do
    note(part.steps)
  end
  return set
end

-- the addresses that a move would lose
local function kept(self, place)
  local words, ours = {}, given(self)
  for _, a in ipairs(place.nl:addr_list { dev = self.index } or {}) do
    if a.permanent and a.scope ~= "link" and not a.peer and not ours[inet.canonical(a.addr)] then
      words[#words + 1] = a.addr
    end
  end
  return #words > 0 and table.concat(words, " ") or nil
end

local function lend(self, netns, name)
  local place <close> = self:_open "set"
  local target <close> = netplace.open(netns, "set")
  local to = target:mark {}
  local spec = { to = to.where, name = name }
  if target.inode == place.inode then
    if self._home then
      change(self, "linkset", self._home.dev .. " netns", spec, { to_where = true })
    end
    return
  end
  local record = record_of(self, place, "set")
  local plan = mark(self, place, { to_netns = to.netns, to_nsinode = to.nsinode,
    to_where = to.where, to_dev = name or self.name, mac = record.mac, up = record.up,
    master = record.master, addrs = kept(self, place) })
  change(self, "linkset", self.name .. " netns", spec, plan, function(step)
    local ok, message, errno = place.nl:link_set { self.index, netns = target.handle,
      name = step.to_dev }
    if not ok then
      require("nsbox.undo.linkset").bring_home(step, function() end)
      error(target:failure("set", self.name, message, errno, { renamed = step.to_dev }), 0)
    end
    local moved = target.nl:link_get(step.to_dev)
    return { to_index = moved and moved.index }
  end)
  fill(self, target:check("set", plan.to_dev, target.nl:link_get(plan.to_dev)))
  settle(self, target, netns)
end

-- the discipline of a borrowed device has a handle by which it is told again
local function set_shape(self, o)
  if o.rate == nil and o.delay == nil and o.loss == nil then
    return
  end
  for i = #(self._changes or {}), 1, -1 do
    if self._changes[i].verb == "qdisc" then -- another one takes its place
      table.remove(self._changes, i):close()
    end
  end
  local shape = require "nsbox.shape"
  local place <close> = self:_open "set"
  local spec = { rate = o.rate, delay = o.delay, loss = o.loss, mtu = o.mtu }
  local handle = ("%x:"):format(math.random(1, 0xfffe))
  local request = shape.request(spec, self.index, handle)
  if not request then
    return
  end
  local plan = mark(self, place, { handle = handle, discipline = request.kind })
  change(self, "qdisc", self.name .. " qdisc", spec, plan, function()
    local add = self._borrowed and "qdisc_add" or "qdisc_replace"
    local ok, message, errno = place.nl[add](place.nl, request)
    if not ok then
      error(place:failure("set", self.name, message, errno, { kind = request.kind }), 0)
    end
    return {}
  end)
end

--- Changes it.
-- With `netns` it is moved there, under the name `[1]` if there is one, is up
-- (unless `up = false`), and comes home when the scope ends, with the addresses
-- that it had; what routes it had is lost, as with `ip link set netns`. A device
-- of a program's making, a veth for one, dies if that namespace ends before; a
-- physical one returns to the initial namespace by itself.
-- @tparam table o INTERFACE, `promisc`, `allmulti`; `rate`, `delay`, `loss` of what it sends
-- @treturn nsbox.Link itself
function Link:set(o)
  o = set_schema:check(o, 2)
  if o.hairpin and o.promisc then
    require("nsbox.mistake").raise("set: hairpin and promisc exclude each other: "
      .. "packets would come twice", 2)
  end
  check_change(self, "set", 2)
  if o.netns then
    lend(self, o.netns, o[1])
    o.up = o.up == nil or o.up
  end
  set_values(self, o)
  set_shape(self, o)
  for _, addr in ipairs(o.addr or {}) do
    self:addr(addr)
  end
  for _, gateway in ipairs(o.gateway or {}) do
    self:route { "default", via = gateway }
  end
  for _, route in ipairs(o.routes or {}) do
    self:route(route)
  end
  return self
end

--- Brings it up.
-- @treturn nsbox.Link itself
function Link:up()
  check_change(self, "up", 2)
  set_values(self, { up = true })
  return self
end

--- Takes it down: the kernel forgets its routes.
-- @treturn nsbox.Link itself
function Link:down()
  check_change(self, "down", 2)
  set_values(self, { up = false })
  return self
end

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

--- Gives it an address.
-- @tparam string|table a `"10.0.3.1/24"`, or with what ip(8) takes, `{ "10.0.3.1/24", label = }`
-- @treturn nsbox.Link itself
-- @raise an Error, EEXIST: it has it
function Link:addr(a)
  local o = checked_addr("addr", a, 2)
  check_change(self, "addr", 2)
  local place <close> = self:_open "addr"
  local module = require "nsbox.undo.addr"
  local request = copy(o, module.FIELDS, { o[1], dev = self.index })
  if o.nodad == nil and o[1]:find(":", 1, true) then
    request.nodad = true
  end
  local plan = mark(self, place, copy(o, module.FIELDS, { addr = o[1] }))
  plan.proto = self._borrowed and module.mark() or nil
  request.proto = plan.proto
  change(self, "addr", self.name .. " " .. o[1], o, plan, function()
    -- what an earlier run of a named scope made has it already
    local add = self.fresh == false and not self._borrowed and "addr_replace" or "addr_add"
    place:check("addr", self.name, place.nl[add](place.nl, request))
    return {}
  end)
  if not self.ip then
    self.ip = o[1]:match "^[^/]*"
  end
  return self
end

local function same_addr(a, b)
  return a == b or inet.canonical(a) == inet.canonical(b)
end

--- Takes an address from it.
-- @tparam string|table a as in `addr`
-- @treturn nsbox.Link itself
-- @raise an Error, EADDRNOTAVAIL: it has it not
function Link:deladdr(a)
  local o = checked_addr("deladdr", a, 2)
  check_change(self, "deladdr", 2)
  local place <close> = self:_open "deladdr"
  local module, had = require "nsbox.undo.addr", nil
  for _, record in ipairs(place.nl:addr_list { dev = self.index } or {}) do
    had = had or same_addr(record.addr, o[1]) and record
  end
  local plan = mark(self, place, copy(had or {}, module.FIELDS, { addr = o[1], gone = true }))
  change(self, "addr", self.name .. " no " .. o[1], o, plan, function()
    place:check("deladdr", self.name, place.nl:addr_del { o[1], dev = self.index, peer = o.peer })
    return {}
  end)
  return self
end

local function checked_route(op, r, level)
  local o = interface.route:check(r, level + 1)
  if not o[1] then
    require("nsbox.mistake").raise(op .. ": where to?", level + 1)
  end
  return o
end

local function route_name(self, word, o)
  return ("%s %s%s%s%s"):format(self.name, word, o[1], o.via and " via " .. o.via or "",
    o.table and " table " .. o.table or "")
end

--- Adds a route that goes out by it.
-- @tparam string|table r `"10.5.0.0/16"`, or `{ "default", via = "10.0.3.1", metric =, … }`
-- @treturn nsbox.Link itself
-- @raise an Error: EEXIST; ENETUNREACH: the gateway is in none of its networks
function Link:route(r)
  local o = checked_route("route", r, 2)
  check_change(self, "route", 2)
  local place <close> = self:_open "route"
  local module = require "nsbox.undo.route"
  local request = module.request(o, o[1], self.index)
  local plan = mark(self, place, copy(o, module.FIELDS, { dst = o[1] }))
  plan.protocol = self._borrowed and require("nsbox.netplace").PROTOCOL or nil
  request.protocol = plan.protocol
  change(self, "route", route_name(self, "", o), o, plan, function()
    local add = self.fresh == false and not self._borrowed and "route_replace" or "route_add"
    place:check("route", self.name, place.nl[add](place.nl, request))
    return {}
  end)
  return self
end

--- Deletes a route that goes out by it.
-- @tparam string|table r as in `route`; what is not given may be anything
-- @treturn nsbox.Link itself
-- @raise an Error, ESRCH: there is none
function Link:delroute(r)
  local o = checked_route("delroute", r, 2)
  check_change(self, "delroute", 2)
  local place <close> = self:_open "delroute"
  local module = require "nsbox.undo.route"
  local had = module.find(place, self.index, o[1], o)
  local plan = mark(self, place, copy(had or o, module.FIELDS, { dst = o[1], gone = true }))
  change(self, "route", route_name(self, "no ", o), o, plan, function()
    place:check("delroute", self.name,
      place.nl:route_del(module.request(had or o, o[1], self.index)))
    return {}
  end)
  return self
end

-- the end -------------------------------------------------------------------------

--- Deletes the device, whoever made it.
-- @raise an Error, EOPNOTSUPP: it is a physical one
function Link:delete()
  do
    local place <close> = self:_open "delete"
    place:check("delete", self.name, place.nl:link_del { self.index })
  end
  self:close()
end

--- Undoes what this object did; twice is harmless.
-- A device that was made is deleted, one that was borrowed is as it was.
function Link:close()
  local changes, failures = self._changes or {}, {}
  for i = #changes, 1, -1 do
    local ok, err = pcall(changes[i].close, changes[i])
    if ok then
      changes[i] = nil
    else
      table.insert(failures, err)
      break
    end
  end
  if #failures > 0 then
    error(failures[1], 0)
  elseif self._part then
    self._part:close()
  end
  self:_unlist()
end

-- off the list of the box that it is in
function Link:_unlist()
  if self._leave then
    self._leave()
    self._leave = nil
  end
  local links = self._box and self._box.links or {}
  for i = #links, 1, -1 do
    if links[i] == self then
      table.remove(links, i)
    end
  end
end

Link.__close = Link.close

--- Keeps it as it is: its scope does not undo anything of it any more.
-- @treturn nsbox.Link itself
function Link:release()
  check_made(self, "release", 2)
  for _, part in ipairs(self._changes or {}) do
    part:release()
  end
  self._changes = nil
  if self._part then
    self._part:release()
  end
  return self
end

-- text ----------------------------------------------------------------------------

local function addresses(place, index)
  local words = {}
  for _, a in ipairs(place.nl:addr_list { dev = index } or {}) do
    if a.scope ~= "link" then
      words[#words + 1] = a.addr
    end
  end
  return #words > 0 and table.concat(words, " ")
end

-- "eth0@if7": the device below, or the other end
local function on(place, record)
  local other = record.peer or record.link
  if not other then
    return ""
  end
  return "@" .. (not record.link_netnsid and place.nl:name(other) or "if" .. other)
end

local function describe(self)
  local place <close> = self:_open "get"
  local record = record_of(self, place, "get")
  local is_bridge = record.kind == "bridge"
  local words = { addresses(place, self.index) or nil }
  if is_bridge then
    local ports = #(place.nl:link_list { master = self.index } or {})
    words[#words + 1] = ("%d %s"):format(ports, ports == 1 and "port" or "ports")
    words[#words + 1] = self._nat and "nat" or nil
  end
  if not (is_bridge and record.up) then
    words[#words + 1] = record.up and "up" or "down"
  end
  return ("%s%s%s%s: %s"):format(is_bridge and "bridge " or "", record.name, on(place, record),
    self.netns and " in " .. self.netns or "", table.concat(words, ", "))
end

function Link:__tostring()
  local ok, text = pcall(describe, self)
  if ok then
    return text
  end
  return ("%s%s: gone"):format(self.name, self.netns and " in " .. self.netns or "")
end

-- the verb ------------------------------------------------------------------------

local schema = opts.schema("link", {
  { interface.check_name, doc = "the name of a device that is there" },
  netns = interface.fields.netns,
})

-- where a committed run of this scope has lent it to
local function lent(scope, name, place)
  for _, part in ipairs(scope._named and scope._named.standing or {}) do
    for _, step in ipairs(part.steps) do
      if step.to_where and step.dev == name and step.nsinode == place.inode then
        return netplace.find { netns = step.to_netns, nsinode = step.to_nsinode,
          where = step.to_where }, step
      end
    end
  end
end

--- Borrows a device that is there; see `nsbox.part`.
-- @tparam nsbox.Part part
-- @tparam table|string o `{ name, netns = }`
-- @tparam integer level whose line to blame
-- @treturn nsbox.Link
function M.make(part, o, level)
  o = schema:check(o, level + 1)
  if not o[1] then
    require("nsbox.mistake").raise("link: which device?", level + 1)
  end
  local place <close> = netplace.open(o.netns, "link")
  local record, message, errno = place.nl:link_get(o[1])
  if record then
    return M.new(place, o.netns, record, { _borrowed = true, fresh = false })
  end
  local there <close>, step <const> = lent(part.scope, o[1], place)
  record = there and there.nl:link_get(step.to_index)
  if not record then
    error(place:failure("link", o[1], message, errno), 0)
  end
  return M.new(there, there:again(), record, { _borrowed = true, fresh = false, _home = step })
end

return M

--- Link objects: a device that a scope made, or borrowed; the verb `link`.
--
-- The object keeps no descriptor: each call opens the namespace again, and
-- makes sure that it is the same one.
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
---@field published? table[] `{ protocol, addr, port, to }` of each port that leads to it
---@field fresh boolean made by this run
local Link = { __name = "nsbox.link" }
Link.__index = Link

local M = { methods = Link }

-- what can be told from a record
function Link:_fill(record)
  self.name, self.index, self.mac = record.name, record.index, record.mac
  self.kind = netplace.kind(record)
end

-- its place from here on
function Link:_settle(place, netns)
  self.netns, self._netns, self._identity = place.label, netns, place:identity()
end

--- Makes an object.
-- @tparam nsbox.NetPlace place where it is
-- @param netns how the caller named that place; nil: the own
-- @tparam table record as `link_get` gives it
-- @tparam[opt] table fields more
-- @treturn nsbox.Link
function M.new(place, netns, record, fields)
  local self = setmetatable(fields or {}, Link)
  self:_fill(record)
  self:_settle(place, netns)
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
  if not place:has(self._identity) then
    require("nsbox.error").raise { op = op, subject = self.name, code = "ENODEV",
      detail = "its network namespace is gone", hint = false }
  end
end

-- of one that a batch makes
function Link:_unmade()
  return self._part and self._part:in_force() and "is made when the batch ends"
    or "was never made, as its batch failed"
end

function Link:_check_made(op, level)
  if not self._identity then
    require("nsbox.mistake").raise(("%s: the link %s"):format(op, self:_unmade()), level + 1)
  end
end

-- its place, opened again
function Link:_open(op)
  self:_check_made(op, 3)
  local place = netplace.open(self._netns, op)
  local ok, err = pcall(self._verify, self, place, op)
  if not ok then
    place:close()
    error(err, 0)
  end
  return place
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
-- Its MTU is that of the bridge, unless it is told another one.
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

-- what the kernel says of it now; its index may have become another device's: that has neither
-- its name nor its address, while somebody may have changed one of them
function Link:_record(place, op)
  local record = place:check(op, self.name, place.nl:link_get(self.index))
  if netplace.kind(record) ~= self.kind
    or record.name ~= self.name and record.mac ~= self.mac then
    require("nsbox.error").raise { op = op, subject = self.name, netns = place.label,
      code = "ENODEV", hint = false,
      detail = ("it is gone, and %s has its index"):format(record.name) }
  end
  return record
end

--- Its record, read now.
-- @treturn table with the words of `ip link`, see `nsbox.sys.netlink`
-- @raise an Error, ENODEV: it is gone
function Link:get()
  local place <close> = self:_open "get"
  local record = self:_record(place, "get")
  return record
end

-- changes -------------------------------------------------------------------------

--- Changes it.
-- With `netns` it is moved there, under the name `[1]` if there is one, is up
-- (unless `up = false`), and comes home when the scope ends, with the addresses
-- that it had; what routes it had is lost, as with `ip link set netns`. A device
-- of a program's making, a veth for one, dies if that namespace ends before; a
-- physical one returns to the initial namespace by itself.
-- @tparam table o INTERFACE, `promisc`, `allmulti`; `rate`, `delay`, `loss` of what it sends
-- @treturn nsbox.Link itself
function Link:set(o)
  require("nsbox.linkset").set(self, o, 2)
  return self
end

--- Brings it up.
-- @treturn nsbox.Link itself
function Link:up()
  require("nsbox.linkset").switch(self, "up", 2)
  return self
end

--- Takes it down: the kernel forgets its routes.
-- @treturn nsbox.Link itself
function Link:down()
  require("nsbox.linkset").switch(self, "down", 2)
  return self
end

--- Gives it an address.
-- @tparam string|table a `"10.0.3.1/24"`, or with what ip(8) takes, `{ "10.0.3.1/24", label = }`
-- @treturn nsbox.Link itself
-- @raise an Error, EEXIST: it has it
function Link:addr(a)
  require("nsbox.linkaddr").addr(self, a, 2)
  return self
end

--- Takes an address from it.
-- @tparam string|table a as in `addr`
-- @treturn nsbox.Link itself
-- @raise an Error, EADDRNOTAVAIL: it has it not
function Link:deladdr(a)
  require("nsbox.linkaddr").deladdr(self, a, 2)
  return self
end

--- Adds a route that goes out by it.
-- @tparam string|table r `"10.5.0.0/16"`, or `{ "default", via = "10.0.3.1", metric =, … }`
-- @treturn nsbox.Link itself
-- @raise an Error: EEXIST; ENETUNREACH: the gateway is in none of its networks
function Link:route(r)
  require("nsbox.linkaddr").route(self, r, 2)
  return self
end

--- Deletes a route that goes out by it.
-- @tparam string|table r as in `route`; what is not given may be anything
-- @treturn nsbox.Link itself
-- @raise an Error, ESRCH: there is none
function Link:delroute(r)
  require("nsbox.linkaddr").delroute(self, r, 2)
  return self
end

--- Lets ports of the host lead to it: from elsewhere, from the host itself, also by 127.0.0.1,
-- and from its own network. The host is where its bridge is; of a link on none, where the
-- script is; of an island that has an uplink, the machine is a host, too. What was published is in
-- the field `published`, with the ports that were chosen.
-- @tparam string|table p `"8080:80"`, one or a list, as docker has them; see `nsbox.ports`
-- @treturn nsbox.Link itself
-- @raise an Error, EADDRINUSE: a port is taken, by a socket or by another publication
function Link:publish(p)
  local ports, wrong = require("nsbox.ports").check(p)
  if not ports then
    require("nsbox.mistake").raise("publish: " .. wrong, 2)
  elseif not self._identity or not self._part then
    require("nsbox.mistake").raise("publish: the link is made when the batch ends: say it there, "
      .. "publish = …", 2)
  end
  if self._part.scope._closed then
    require("nsbox.mistake").raise("publish: the scope is closed", 2)
  end
  require("nsbox.linkset").publish(self, ports)
  return self
end

-- the end -------------------------------------------------------------------------

--- Deletes the device, whoever made it.
-- @raise an Error, EOPNOTSUPP: it is a physical one
function Link:delete()
  do
    local place <close> = self:_open "delete"
    self:_record(place, "delete")
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
  self:_check_made("release", 2)
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
  local record = self:_record(place, "get")
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
  if not self._identity then
    return ("%s %s"):format(self._waits and self._waits.o[1] or "a link", self:_unmade())
  end
  local ok, text = pcall(describe, self)
  if ok then
    return require("nsbox.error").printable(text)
  end
  return ("%s%s: gone"):format(self.name, self.netns and " in " .. self.netns or "")
end

-- the verb ------------------------------------------------------------------------

local schema = opts.schema("link", {
  { interface.check_name, alone = true, doc = "the name of a device that is there" },
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
  o.netns = part:place(o.netns)
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

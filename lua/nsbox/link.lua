--- Link objects: a device that a scope made, or borrowed.
--
-- The object keeps no descriptor: each call opens the namespace again, and
-- makes sure that it is the same one.
--
-- ip-link(8)
--
-- @module nsbox.link

local netplace = require "nsbox.netplace"

---@class nsbox.Link
---@field name string
---@field index integer
---@field kind string "bridge", "veth", …
---@field mac? string
---@field netns? string where it is, for people; nil: the caller's own
---@field ip? string its first address, without the prefix
---@field fresh boolean made by this run
local Link = { __name = "nsbox.link" }
Link.__index = Link

local M = { methods = Link }

--- Makes an object.
-- @tparam nsbox.NetPlace place where it is
-- @param netns how the caller named that place; nil: the own
-- @tparam table record as `link_get` gives it
-- @tparam[opt] table fields more
-- @treturn nsbox.Link
function M.new(place, netns, record, fields)
  local self = fields or {}
  self.name, self.index, self.kind, self.mac = record.name, record.index, record.kind, record.mac
  self.netns = place.label
  self._netns, self._step = netns, place:mark {}
  return setmetatable(self, Link)
end

-- a place opened as its own was: is it the same one?
function Link:_verify(place, op)
  if place.inode ~= self._step.nsinode or place.cookie ~= self._step.netns then
    require("nsbox.error").raise { op = op, subject = self.name, code = "ENODEV",
      detail = "its network namespace is gone", hint = false }
  end
end

-- its place, opened again
function Link:_open(op)
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

--- Its record, read now.
-- @treturn table with the words of `ip link`, see `nsbox.sys.netlink`
-- @raise an Error, ENODEV: it is gone
function Link:get()
  local place <close> = self:_open "get"
  local record = place:check("get", self.name, place.nl:link_get(self.index))
  return record
end

local function set(self, op, fields)
  local place <close> = self:_open(op)
  fields[1] = self.index
  place:check(op, self.name, place.nl:link_set(fields))
  return self
end

--- Brings it up.
-- @treturn nsbox.Link itself
function Link:up()
  return set(self, "up", { up = true })
end

--- Takes it down.
-- @treturn nsbox.Link itself
function Link:down()
  return set(self, "down", { up = false })
end

--- Undoes what this object did; twice is harmless.
function Link:close()
  if self._part then
    self._part:close()
  end
  self:_unlist()
end

-- off the list of the box that it is in
function Link:_unlist()
  local links = self._box and self._box.links or {}
  for i = #links, 1, -1 do
    if links[i] == self then
      table.remove(links, i)
    end
  end
end

Link.__close = Link.close

--- Keeps it: its scope does not undo it any more.
-- @treturn nsbox.Link itself
function Link:release()
  if self._part then
    self._part:release()
  end
  return self
end

function Link:__tostring()
  return ("%s %s%s%s"):format(self.kind or "link", self.name,
    self.netns and " in " .. self.netns or "", self.ip and ": " .. self.ip or "")
end

return M

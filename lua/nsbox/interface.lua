--- INTERFACE: what the end of a link, wherever it is made, can be told.
--
-- `born` says what goes into the request that makes it, `configure` what
-- follows inside its namespace, in one send.
--
-- ip-link(8), ip-address(8)
--
-- @module nsbox.interface

local inet = require "nsbox.inet"

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
  elseif value == "" or value == "." or value == ".." or value:find "[%s/:%c]" then
    return nil, ("'%s' is no device name: no blanks, '/' or ':'"):format(value:gsub("%c", "?"))
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

local function netns(value)
  local ok, message = require("nsbox.place").check(value, "net")
  return ok and value or nil, message
end

--- The fields of an option schema.
M.fields = {
  { M.check_name, doc = "its name, 15 characters at most" },
  netns = { netns, doc = "where it is made" },
  addr = { inet.check_addr, list = true, none = true, doc = "\"10.0.3.1/24\", one or a list" },
  mac = { M.check_mac, doc = "hardware address" },
  mtu = { "integer", min = 68, max = 65536, doc = "longest packet, in bytes" },
  up = { "boolean", default = true, doc = "it is up" },
  txqueuelen = { "integer", min = 0, max = 0xffffffff, doc = "packets that may wait" },
  alias = { "string", max = 255, min = 1, doc = "a text for people" },
}

--- A schema's fields: those of an interface, and more.
-- @tparam table more
-- @treturn table
function M.with(more)
  local fields = {}
  for key, field in next, M.fields do
    fields[key] = field
  end
  for key, field in next, more do
    fields[key] = field
  end
  return fields
end

--- A name for what has none.
-- @tparam string prefix
-- @treturn string
function M.generate(prefix)
  return ("%s%06x"):format(prefix, math.random(0, 0xffffff))
end

--- What goes into the request that makes it.
-- @tparam table o checked options
-- @tparam table request gets the fields
-- @treturn table request
function M.born(o, request)
  request.mac, request.mtu, request.txqueuelen = o.mac, o.mtu, o.txqueuelen
  return request
end

--- What follows, inside: queues requests.
-- @tparam userdata batch of the netlink handle there
-- @tparam integer index of the device
-- @tparam table o checked options
-- @treturn integer how many
function M.configure(batch, index, o)
  local count = 0
  for _, addr in ipairs(o.addr or {}) do
    -- ours alone: nothing to be detected, and usable at once
    batch:addr_add { addr, dev = index, nodad = addr:find(":", 1, true) and true or nil }
    count = count + 1
  end
  if o.alias then
    batch:link_set { index, alias = o.alias }
    count = count + 1
  end
  return count
end

return M

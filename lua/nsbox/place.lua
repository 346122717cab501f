--- Which namespace is meant: every form that a `netns` may have.
--
-- An ns handle, a process handle, an integer (a pid), a string with a slash (a
-- path), and for network namespaces a name under /run/netns, as `ip netns`
-- knows it.
--
-- @module nsbox.place

local ns = require "nsbox.sys.ns"

local NETNS_DIR <const> = "/run/netns/"

local M = {}

local function open(place, kind)
  if type(place) == "string" and not place:find("/", 1, true) then
    return ns.open(NETNS_DIR .. place)
  elseif type(place) == "userdata" and place.id then
    return place
  elseif math.type(place) == "integer" or type(place) == "userdata" then
    return ns.open(place, kind)
  end
  return ns.open(place)
end

--- Whether x has one of the forms, judged without the kernel.
-- @param x anything
-- @tparam string kind `"net"`
-- @treturn ?boolean true
-- @treturn[2] nil
-- @treturn[2] string what was expected
function M.check(x, kind)
  if math.type(x) == "integer" then
    if x > 0 then
      return true
    end
    return nil, "expected a pid, got " .. x
  elseif type(x) == "string" then
    if x == "" or x:find("\0", 1, true) then
      return nil, "expected a path or a name"
    elseif kind == "net" or x:find("/", 1, true) then
      return true
    end
    return nil, ("'%s' is no path; only network namespaces have names"):format(x)
  elseif type(x) == "userdata" and (x.id or x.pid) then
    return true
  end
  return nil, require("nsbox.mistake").expected("a pid, a path or a namespace", x)
end

--- Opens the namespace of a kind.
-- @param place see above
-- @tparam string kind `"net"`
-- @treturn userdata an ns handle
function M.open(place, kind)
  local handle, message, errno = open(place, kind)
  if not handle then
    require("nsbox.error").raise { op = "open", subject = kind .. " namespace", detail = message,
      errno = errno }
  end
  local found = handle:kind()
  if found ~= kind then
    require("nsbox.error").raise { op = "open", subject = kind .. " namespace", code = "EINVAL",
      detail = ("%s is a %s namespace"):format(tostring(place), found) }
  end
  return handle
end

return M

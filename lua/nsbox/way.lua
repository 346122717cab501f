--- The way to namespaces: through the user namespaces that own them.
--
-- Joining a namespace takes privilege over its owner, and who joins a user namespace
-- has none left outside of it. What a process shares with outer containers is joined in
-- theirs, on the way to its own.
--
-- user_namespaces(7), ioctl_ns(2)
--
-- @internal nsbox.way

local ns = require "nsbox.sys.ns"

local M = {}

local Opened = {
  __close = function(self)
    for _, handle in ipairs(self) do
      handle:close()
    end
  end,
}

local function contains(list, handle)
  for _, other in ipairs(list) do
    if other == handle then
      return true
    end
  end
  return false
end

-- the user namespaces that own something of it
local function owners(join, opened)
  local list = {}
  for _, handle in ipairs(join) do
    local owner = handle:kind() ~= "user" and handle:owner()
    if owner then
      list[#list + 1], opened[#opened + 1] = owner, owner
    end
  end
  return list
end

local function user_of(join)
  for _, handle in ipairs(join) do
    if handle:kind() == "user" then
      return handle
    end
  end
end

--- What to join, in order, to be in these namespaces.
-- @tparam userdata[] join ns handles
-- @treturn userdata[] the same and, before them, outer user namespaces, the outermost first
-- @treturn table what was opened for that: close it after the launch
function M.to(join)
  local opened = setmetatable({}, Opened)
  local user = user_of(join)
  local needed = user and owners(join, opened) or {}
  local outer = false
  for _, owner in ipairs(needed) do
    outer = outer or owner ~= user
  end
  if not outer then
    return join, opened
  end
  local own <close> = ns.open "/proc/thread-self/ns/user"
  local list, at = table.move(join, 1, #join, 1, {}), user:parent()
  while at do
    opened[#opened + 1] = at
    if at == own then
      break
    elseif contains(needed, at) then
      table.insert(list, 1, at)
    end
    at = at:parent()
  end
  return list, opened
end

return M

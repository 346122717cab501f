--- The way from 127.0.0.1 and ::1 of a host to a card, for ports that lead there.
--
-- Packets from 127.0.0.1 leave by a device only if that is allowed; then nobody
-- may come in by it and talk to 127.0.0.1: the table sees to that, see
-- `nsbox.nftable`. The kernel itself lets nobody come in and talk to ::1.
--
-- ip-sysctl.txt (route_localnet)
--
-- @internal nsbox.localhost

local EEXIST <const> = 17
local LOCAL6 <const> = { dst = "::1/128", type = "local", table = "local", metric = 1024 }

local M = {}

-- an answer to ::1 comes in by the device, and is looked for among its routes
local function open6(place, index, part)
  local route = require "nsbox.undo.route"
  local function add()
    local ok, message, errno = place.nl:route_add(route.request(LOCAL6, LOCAL6.dst, index))
    if not ok and errno ~= EEXIST then
      place:check("publish", "::1", ok, message, errno)
    end
    return {}
  end
  if not part then
    return add()
  end
  local record = place:check("publish", "::1", place.nl:link_get(index))
  local plan = place:mark { dev = record.name, index = index,
    device = require("nsbox.netplace").kind(record) }
  for name, value in next, LOCAL6 do
    plan[name] = value
  end
  part:step("route", plan, add)
end

-- as sysctl(8) has it
local function key_of(name)
  return ("net.ipv4.conf.%s.route_localnet"):format((name:gsub("%.", "/")))
end

-- of a bridge that is ours; it goes with that
local function open_own(place, name, index, family)
  if family == "inet" then
    require("nsbox.setting").write(place, "publish", { { key = key_of(name),
      path = ("net/ipv4/conf/%s/route_localnet"):format(name), value = "1" } })
  else
    open6(place, index)
  end
end

-- of somebody's device, until the scope ends
local function open_foreign(scope, place, netns, name, index, family)
  local made = require "nsbox.made"
  if family == "inet" then
    return made.within(scope, "localhost", require("nsbox.setting").make, netns, 1,
      { [key_of(name)] = 1 })
  end
  return made.within(scope, "localhost", function(part)
    local text = "route to ::1 by " .. place:named(name)
    if not part:stands(text, {}, function(steps)
      return place:has(steps[1])
    end) then
      open6(place, index, part)
    end
    return made.new(text)
  end)
end

--- Opens it, once for a scope.
-- @tparam nsbox.Part part that needs it
-- @tparam nsbox.NetPlace place the host
-- @param netns how that is meant
-- @tparam integer index of the device by which the host reaches the card
-- @tparam ?nsbox.Link bridge that device, where it is one
-- @tparam table families `inet`, `inet6` → true
function M.open(part, place, netns, index, bridge, families)
  local scope = part.scope
  scope._localhost = scope._localhost or {}
  local name = place:check("publish", tostring(index), place.nl:name(index))
  for family in next, families do
    local mark = ("%s %d %s"):format(place.cookie or place.inode, index, family)
    local done = scope._localhost[mark]
    if not (done and done:in_force()) then
      if bridge and not bridge._borrowed then
        open_own(place, name, index, family)
        scope._localhost[mark] = bridge._part
      else
        scope._localhost[mark] = open_foreign(scope, place, netns, name, index, family)
      end
    end
    if scope._localhost[mark].verb == "localhost" then
      part:need(scope._localhost[mark])
    end
  end
end

return M

--- Leases: which addresses of a bridge's subnet are handed out, by any scope.
--
-- The record is the step of each card (`addr`, `master`): what is undone is
-- free again. What other scopes have is in their journals, see `nsbox.ledger`.
-- On a bridge that others use, too, an address that the kernel heard somebody
-- use is the last to be handed out.
--
-- @internal nsbox.lease

local inet = require "nsbox.inet"

local Leases = {}
Leases.__index = Leases

local M = {}

-- of a longer host part only so much is used
local BITS <const> = 32

local function host_bits(net)
  return math.min(#net.bytes * 8 - net.prefix, BITS)
end

--- Whether a subnet has addresses besides the bridge's own: one of a /32 has none.
-- @tparam table net as from `inet.parse`
-- @treturn boolean
function M.has_room(net)
  return host_bits(net) > 0
end

local function note(taken, step)
  for addr in (step.addr or ""):gmatch "%S+" do
    taken[inet.parse(addr).bytes] = step
  end
end

-- addresses that somebody used; a bridge that this run made is ours alone
local function heard_on(place, bridge)
  local heard, part = {}, bridge._part
  if part and part.verb == "bridge" and not part.standing then
    return heard
  end
  for _, n in ipairs(place.nl:neigh_list { dev = bridge.index } or {}) do
    if n.mac and n.state ~= "failed" then
      heard[inet.parse(n.addr).bytes] = true
    end
  end
  return heard
end

--- The leases of a scope on a bridge.
-- @tparam nsbox.Scope scope
-- @tparam nsbox.NetPlace place of the bridge
-- @tparam nsbox.Link bridge
-- @tparam table[] nets the bridge's addresses
-- @tparam ?nsbox.Ledger ledger what others have; nil: there is nothing to have
-- @treturn nsbox.Leases
function M.of(scope, place, bridge, nets, ledger)
  scope._leases = scope._leases or {}
  local key = require("nsbox.ledger").key(place.cookie, place.inode, bridge.index)
  local leases = scope._leases[key]
  if not leases then
    leases = setmetatable({ key = key, taken = {}, next = {}, cards = 0 }, Leases)
    for _, part in ipairs(scope._named and scope._named.standing or {}) do
      for _, step in ipairs(part.steps) do
        if step.master == bridge.index and step.netns == place.cookie then
          note(leases.taken, step)
        end
      end
    end
    scope._leases[key] = leases
  end
  if leases.ledger ~= ledger then
    leases.ledger, leases.heard = ledger, ledger and heard_on(place, bridge)
  end
  leases.own = {}
  for _, net in ipairs(nets) do
    leases.own[net.bytes] = true
  end
  return leases
end

function Leases:_is_free(bytes)
  local step = self.taken[bytes]
  return not self.own[bytes] and (not step or step.over)
    and not self.ledger:card(self.key, bytes)
end

--- Takes an address.
-- @tparam table a as from `inet.parse`
-- @tparam table step that is going to have it
-- @tparam string bridge its name, for an Error
-- @raise an Error, EADDRINUSE
function Leases:take(a, step, bridge)
  if not self:_is_free(a.bytes) then
    require("nsbox.error").raise { op = "attach", subject = inet.text(a.bytes),
      code = "EADDRINUSE", hint = false,
      detail = self.own[a.bytes] and ("%s has this address itself"):format(bridge)
        or self.taken[a.bytes] == step and "it is asked for twice"
        or ("another card on %s has this address"):format(bridge) }
  end
  self.taken[a.bytes] = step
end

local function found(bytes, net)
  return ("%s/%d"):format(inet.text(bytes), net.prefix),
    { bytes = bytes, family = net.family, prefix = net.prefix }
end

-- the numbers of hosts: never the first one, and of IPv4 never the last, but both of two
-- (RFC 3021, RFC 6164)
local function hosts(net)
  local bits = host_bits(net)
  if bits == 1 then
    return 0, 2
  end
  return 1, (1 << bits) - (net.family == "inet" and 2 or 1)
end

--- Takes the next free address of a subnet.
-- @tparam table net as from `inet.parse`, with room
-- @tparam table step that is going to have it
-- @tparam string bridge its name, for an Error
-- @treturn string with its prefix
-- @treturn table the same, as from `inet.parse`
-- @raise an Error, EADDRNOTAVAIL: all are taken
function Leases:auto(net, step, bridge)
  local network = inet.network(net)
  local low, most = hosts(net)
  local first, tail = network:sub(1, -5), string.unpack(">I4", network, #network - 3)
  local from, second = self.next[network] or low, nil
  for i = 0, most - 1 do
    local n = (from - low + i) % most + low
    local bytes = first .. string.pack(">I4", tail | n)
    if self:_is_free(bytes) then
      if not self.heard[bytes] then
        self.next[network], self.taken[bytes] = n + 1, step
        return found(bytes, net)
      end
      second = second or bytes
    end
  end
  if second then
    self.taken[second] = step
    return found(second, net)
  end
  require("nsbox.error").raise { op = "attach", subject = bridge, code = "EADDRNOTAVAIL",
    detail = ("all %d addresses of %s/%d are taken"):format(most, inet.text(network), net.prefix),
    hint = false }
end

return M

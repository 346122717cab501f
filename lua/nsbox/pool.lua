--- Subnets: which one a bridge gets, and which one it must not have.
--
-- A bridge without an address gets the first subnet of its scope's pool that
-- nothing else has: no address and no route where it is made or where the
-- script is, no name server, no bridge of any scope. Default routes do not
-- count, nor what stands for one: a VPN sends the world through 0.0.0.0/1 and
-- 128.0.0.0/1, and a route to more than any private network is a way out.
--
-- RFC 1918, RFC 4193
--
-- @internal nsbox.pool

local inet = require "nsbox.inet"

local M = {}

-- a route to more than that is a way to the world
local WIDEST <const> = { inet = 8, inet6 = 7 }
local MOST <const> = 8 -- of those in the way, in a message

-- bytes -----------------------------------------------------------------------------

-- `<` on strings is the locale's
local function less(a, b)
  for i = 1, #a, 4 do
    local x, y = string.unpack(">I4", a, i), string.unpack(">I4", b, i)
    if x ~= y then
      return x < y
    end
  end
  return false
end

-- the last address of a network
local function last_of(net)
  local network = inet.network(net)
  local whole, bits = net.prefix // 8, net.prefix % 8
  if whole == #network then
    return network
  end
  return network:sub(1, whole) .. string.char(network:byte(whole + 1) | 0xff >> bits)
    .. ("\255"):rep(#network - whole - 1)
end

-- the next address; nil: there is none
local function after(bytes)
  for i = #bytes, 1, -1 do
    local byte = bytes:byte(i)
    if byte < 255 then
      return bytes:sub(1, i - 1) .. string.char(byte + 1) .. ("\0"):rep(#bytes - i)
    end
  end
end

local function text_of(net)
  return ("%s/%d"):format(inet.text(inet.network(net)), net.prefix)
end

local function overlap(a, b)
  return a.family == b.family and inet.contains(a.prefix < b.prefix and a or b,
    a.prefix < b.prefix and b or a)
end

-- the option ------------------------------------------------------------------------

local MIN_HOST_BITS <const> = 2 -- the bridge and a card

local function check_subnet(value)
  local net = inet.parse(value)
  if not net or not net.prefix then
    return nil, require("nsbox.mistake").bad("a subnet, as '10.20.0.0/16'", value)
  elseif inet.network(net) ~= net.bytes then
    return nil, ("'%s' is an address in a subnet, which is '%s'"):format(value, text_of(net))
  elseif net.prefix > #net.bytes * 8 - MIN_HOST_BITS then
    return nil, ("'%s' is too small for a bridge and a card: /%d at most"):format(value,
      #net.bytes * 8 - MIN_HOST_BITS)
  end
  return net
end

local entry_schema

local function check_entry(value)
  entry_schema = entry_schema or require("nsbox.opts").schema("pool", {
    { check_subnet, doc = "\"10.20.0.0/16\"" },
    size = { "integer", min = 0, max = 128 - MIN_HOST_BITS, doc = "prefix of each subnet" },
  })
  local o, wrong = entry_schema:parse(value)
  if o and (not o[1] or o[2]) then
    o, wrong = nil, "expected one subnet, as { \"10.20.0.0/16\", size = 24 }"
  end
  if not o then
    return nil, wrong
  end
  local net = o[1]
  local size, most = o.size or net.prefix, #net.bytes * 8 - MIN_HOST_BITS
  if size < net.prefix or size > most then
    return nil, ("size: subnets of %s are from /%d to /%d, not /%d"):format(text_of(net),
      net.prefix, most, size)
  end
  return { bytes = net.bytes, family = net.family, prefix = net.prefix, size = size }
end

--- Checks `pool`, as a type for `nsbox.opts`: one or a list of `"10.20.0.0/16"`, a subnet, or
-- `{ "10.0.0.0/8", size = 24 }`, all subnets of that size in it.
-- @param value
-- @treturn ?table[] networks, each with `size`
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.check(value)
  if type(value) ~= "table" or value.size then
    value = { value }
  end
  local pool = {}
  for i, entry in ipairs(value) do
    local net, wrong = check_entry(entry)
    if not net then
      return nil, #value == 1 and wrong or ("[%d] %s"):format(i, wrong)
    end
    pool[i] = net
  end
  if #pool == 0 then
    return nil, "expected subnets, as { \"10.20.0.0/16\" }"
  end
  return pool
end

-- as Docker has it, and then what is left of the private networks
local DEFAULT <const> = {}
for i = 17, 31 do
  DEFAULT[#DEFAULT + 1] = ("172.%d.0.0/16"):format(i)
end
DEFAULT[#DEFAULT + 1] = { "192.168.0.0/16", size = 20 }
DEFAULT[#DEFAULT + 1] = { "10.0.0.0/8", size = 24 }

local default
local function pool_of(scope)
  default = default or M.check(DEFAULT)
  return scope._pool or default
end

-- what is taken ---------------------------------------------------------------------

-- a network that somebody has; `why` says who, when somebody asks
local function add(all, net, why)
  if net then
    net.prefix = net.prefix or #net.bytes * 8
    all[#all + 1] = { family = net.family, first = inet.network(net), last = last_of(net),
      why = why }
  end
end

local function via(route, name_of)
  local hop = route.nexthops and route.nexthops[1] or route
  return (route.type ~= "unicast" and route.type .. " " or "") .. route.dst
    .. (hop.via and " via " .. hop.via or "") .. (hop.dev and " dev " .. name_of(hop.dev) or "")
    .. (route.table ~= "main" and " table " .. route.table or "")
end

-- what there is in a namespace
local function look(all, nl, check)
  local names = {}
  local function name_of(index)
    names[index] = names[index] or nl:name(index) or index
    return names[index]
  end
  for _, a in ipairs(check(nl:addr_list())) do
    add(all, inet.parse(a.addr), function()
      return ("%s (%s)"):format(name_of(a.dev), a.addr)
    end)
    add(all, inet.parse(a.peer), function()
      return ("%s (peer %s)"):format(name_of(a.dev), a.peer)
    end)
  end
  for _, r in ipairs(check(nl:route_list())) do
    local net = r.table ~= "local" and inet.parse(r.dst) or nil
    -- what the kernel makes for an address says no more than that
    if net and (net.prefix or 128) >= WIDEST[net.family] and r.protocol ~= "kernel" then
      add(all, net, function()
        return "the route " .. via(r, name_of)
      end)
    end
  end
end

-- what a step of a bridge has
local function nets_of(step)
  local list = {}
  for addr in step.addr:gmatch "%S+" do
    list[#list + 1] = inet.parse(addr)
  end
  return list
end

-- the bridges of the scope itself, wherever they are
local function own_bridges(scope)
  local list = {}
  local function note(steps)
    for _, step in ipairs(steps) do
      if step.kind == "link" and step.addr and not step.master and not step.over then
        list[#list + 1] = { step = step, whose = "this scope" }
      end
    end
  end
  for _, part in ipairs(scope._parts) do
    note(part.steps)
  end
  for _, part in ipairs(scope._named and scope._named.standing or {}) do
    note(part.steps)
  end
  return list
end

local function taken(scope, place, ledger, op)
  local all = {}
  look(all, place.nl, function(...)
    return place:check(op, nil, ...)
  end)
  local own <close> = require("nsbox.sys.netlink").open()
  if own and require("nsbox.sys.fd").stat("/proc/thread-self/ns/net").ino ~= place.inode then
    look(all, own, function(list)
      return list or {}
    end)
  end
  for _, server in ipairs(require("nsbox.dns").of_host() or {}) do
    add(all, inet.parse(server), function()
      return "the name server " .. server
    end)
  end
  for _, list in ipairs { own_bridges(scope), ledger:bridges() } do
    for _, it in ipairs(list) do
      for _, net in ipairs(nets_of(it.step)) do
        add(all, net, function()
          return ("%s of %s (%s/%d)"):format(it.step.dev, it.whose, inet.text(net.bytes),
            net.prefix)
        end)
      end
    end
  end
  table.sort(all, function(a, b)
    return #a.first < #b.first or #a.first == #b.first and less(a.first, b.first)
  end)
  return all
end

-- choosing --------------------------------------------------------------------------

-- the first free subnet of a part of the pool; nil: none, and what was in the way
local function first_free(net, all, blame)
  local at, final = net.bytes, last_of(net)
  for _, it in ipairs(all) do
    if it.family == net.family and not less(it.last, at) then
      local candidate = { bytes = at, family = net.family, prefix = net.size }
      if less(last_of(candidate), it.first) then
        break
      end
      blame(it)
      -- behind it, where the next subnet begins
      at = after(last_of { bytes = less(at, it.last) and it.last or at, prefix = net.size })
      if not at or less(final, at) then
        return nil
      end
    end
  end
  return { bytes = at, family = net.family, prefix = net.size }
end

local function reasons_of(all)
  local list, seen = {}, {}
  for _, it in ipairs(all) do
    local why = it.why()
    if not seen[why] then
      seen[why], list[#list + 1] = true, why
    end
  end
  return list
end

local function all_taken(pool, family, all, bridge)
  local subnets, reasons, blamed = {}, {}, reasons_of(all)
  for _, net in ipairs(pool) do
    if net.family == family then
      subnets[#subnets + 1] = text_of(net)
    end
  end
  for i = 1, math.min(#blamed, MOST) do
    reasons[i] = blamed[i]
  end
  if #blamed > MOST then
    reasons[#reasons + 1] = ("%d more"):format(#blamed - MOST)
  end
  require("nsbox.error").raise { op = "bridge", subject = bridge, code = "EADDRNOTAVAIL",
    taken = blamed,
    detail = ("no subnet of the pool (%s) is free: taken by %s"):format(
      #subnets > 3 and ("%s … %s"):format(subnets[1], subnets[#subnets])
      or table.concat(subnets, ", "), table.concat(reasons, ", ")),
    hint = "give it one, addr = \"…\", or the scope another pool: nsbox.scope { pool = "
      .. "{ \"10.20.0.0/16\" } }; addr = false is a bridge without one" }
end

-- the bridge's address in the first free subnet of a family; nil: the pool has none of it
local function choose(pool, family, all, bridge)
  local blamed, any = {}, false
  local function blame(it)
    blamed[#blamed + 1] = it
  end
  for _, net in ipairs(pool) do
    if net.family == family then
      any = true
      local free = first_free(net, all, blame)
      if free then
        free.bytes = after(free.bytes)
        return free
      end
    end
  end
  if any then
    all_taken(pool, family, blamed, bridge)
  end
end

-- by hand ---------------------------------------------------------------------------

-- neither one address alone, nor that of links, which every link has
local function is_subnet(net)
  return net and net.prefix and net.prefix < #net.bytes * 8
    and not (net.family == "inet6" and string.unpack(">I2", net.bytes) & 0xffc0 == 0xfe80)
end

-- bridges of an earlier run that this one has not declared: what they have is taken over
local function left_over(scope, place)
  local indexes = {}
  for _, part in ipairs(scope._named and scope._named.standing or {}) do
    for _, step in ipairs(part.declared and {} or part.steps) do
      if step.kind == "link" and place:has(step) then
        indexes[step.index or 0] = true
      end
    end
  end
  return indexes
end

local function refuse(bridge, addr, net, what)
  require("nsbox.error").raise { op = "bridge", subject = bridge, code = "EADDRINUSE",
    detail = ("%s is in %s, which overlaps %s"):format(addr, text_of(net), what),
    hint = "packets would go to one of them only; take another subnet, or addr = \"auto\"; "
      .. "if it is meant: addr = false, and then link:addr \"" .. addr .. "\"" }
end

-- Two ways to one network, and the kernel takes the older one: that is refused.
local function check_by_hand(scope, place, ledger, bridge, addrs)
  local ignored, there = left_over(scope, place), {}
  for _, a in ipairs(place:check("bridge", bridge, place.nl:addr_list())) do
    local net = inet.parse(a.peer or a.addr)
    if is_subnet(net) and not ignored[a.dev] then
      there[#there + 1] = { net = net, what = function()
        return ("%s of %s"):format(a.addr, place.nl:name(a.dev) or a.dev)
      end }
    end
  end
  for _, r in ipairs(place:check("bridge", bridge, place.nl:route_list { table = "main" })) do
    local net = r.protocol ~= "kernel" and inet.parse(r.dst) or nil
    if is_subnet(net) then -- a longer or a shorter one is another route
      there[#there + 1] = { net = net, equal = true, what = function()
        return "the route " .. via(r, function(index)
          return place.nl:name(index) or index
        end)
      end }
    end
  end
  for _, it in ipairs(ledger:bridges()) do
    for _, net in ipairs(place:has(it.step) and nets_of(it.step) or {}) do
      there[#there + 1] = { net = net, what = function()
        return ("%s/%d of %s of %s"):format(inet.text(net.bytes), net.prefix, it.step.dev, it.whose)
      end }
    end
  end
  for i, addr in ipairs(addrs) do
    local net = inet.parse(addr)
    for _, it in ipairs(is_subnet(net) and there or {}) do
      if overlap(net, it.net) and (not it.equal or net.prefix == it.net.prefix) then
        refuse(bridge, addr, net, it.what())
      end
    end
    for j = 1, i - 1 do -- several addresses of one subnet are one network
      local other = inet.parse(addrs[j])
      if other.prefix ~= net.prefix and is_subnet(net) and is_subnet(other)
        and overlap(net, other) then
        refuse(bridge, addr, net, "its own " .. addrs[j])
      end
    end
  end
end

-- both ------------------------------------------------------------------------------

--- The addresses of a bridge that is going to be made: "auto" becomes one in a free subnet,
-- others must not overlap what is there.
-- @tparam nsbox.Part part
-- @tparam nsbox.NetPlace place where the bridge is going to be
-- @tparam string bridge its name
-- @tparam string[] wanted addresses, or "auto"
-- @treturn string[] addresses
-- @treturn nsbox.Ledger to be closed when the bridge's step is in the journal
-- @raise an Error: EADDRNOTAVAIL, all are taken; EADDRINUSE, it overlaps
function M.claim(part, place, bridge, wanted)
  local scope = part.scope
  local ledger = require("nsbox.ledger").open(scope, "bridge")
  local ok, result = pcall(function()
    local chosen, by_hand, all = {}, {}, nil
    for _, addr in ipairs(wanted) do
      if addr == "auto" then
        all = all or taken(scope, place, ledger, "bridge")
        for _, family in ipairs { "inet", "inet6" } do
          local a = choose(pool_of(scope), family, all, bridge)
          chosen[#chosen + 1] = a and ("%s/%d"):format(inet.text(a.bytes), a.prefix)
        end
      else
        chosen[#chosen + 1], by_hand[#by_hand + 1] = addr, addr
      end
    end
    if by_hand[1] then
      check_by_hand(scope, place, ledger, bridge, by_hand)
    end
    return chosen
  end)
  if not ok then
    ledger:close()
    error(result, 0)
  end
  return result, ledger
end

return M

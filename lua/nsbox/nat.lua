--- Address translation: the verb `nat` of a scope, `nat` and `isolate` of a bridge.
--
-- What comes from a subnet and goes elsewhere gets the address of the device
-- that it leaves by, and the kernel forwards. That it forwards belongs to the
-- scope, not to one of its networks: it ends with the last scope that needs it.
--
-- nft(8), ip-sysctl.txt
--
-- @module nsbox.nat

local inet = require "nsbox.inet"
local interface = require "nsbox.interface"
local link = require "nsbox.link"
local netplace = require "nsbox.netplace"
local nftable = require "nsbox.nftable"
local opts = require "nsbox.opts"

local M = {}

local function subnet_or_bridge(value)
  if type(value) ~= "string" then
    local bridge = link.check_bridge(value)
    return bridge, not bridge
      and require("nsbox.mistake").expected("a bridge, or a subnet as '10.0.3.0/24'", value) or nil
  end
  local _, wrong = inet.check_addr(value)
  if wrong then
    return nil, wrong
  end
  local a = inet.parse(value)
  return ("%s/%d"):format(inet.text(inet.network(a)), a.prefix)
end

local schema = opts.schema("nat", {
  { subnet_or_bridge, alone = true, doc = "the bridge, or the subnet" },
  out = { interface.check_name, doc = "the device to go out by; none: any but the subnet's own" },
  netns = interface.fields.netns,
  firewall = { "boolean", default = true,
    doc = "false: do not look whether other tables drop what is forwarded" },
})

-- forwarding ----------------------------------------------------------------------

local IPV4 <const> = "net.ipv4.ip_forward"
local IPV6 <const> = "net.ipv6.conf.all.forwarding"

-- A kernel that forwards believes no router any more, and forgets the routes
-- that it has from one, unless it is told to go on.
local function hosts_of_routers(scope, place)
  local keys = {}
  for _, route in ipairs(place.nl:route_list { family = "inet6", table = "main" } or {}) do
    local name = route.protocol == "ra" and route.dev and place.nl:name(route.dev)
    local path = name and ("net/ipv6/conf/%s/accept_ra"):format(name)
    local old = path and require("nsbox.sys.netlink").sysctl_get(place:namespace(), path)
    if old and old ~= "0" then
      keys[("net.ipv6.conf.%s.accept_ra"):format((name:gsub("%.", "/")))] = true
    end
  end
  -- what an earlier run has told it holds as long as the kernel forwards
  for _, part in ipairs(scope._named and scope._named.standing or {}) do
    for _, step in ipairs(part.verb == "forwarding" and part.steps or {}) do
      if step.key:find "accept_ra$" and place:has(step) then
        keys[step.key] = true
      end
    end
  end
  return keys
end

--- Makes the kernel forward, once for a scope in a place.
-- @tparam nsbox.Part part
-- @tparam nsbox.NetPlace place
-- @param netns how that is meant
-- @tparam table families `inet`, `inet6` → true
-- @tparam ?string device on whose way no firewall may be
-- @tparam ?boolean trusted it is known to be let through
-- @raise an Error, EACCES: there is one
function M.forward(part, place, netns, families, device, trusted)
  local scope = part.scope
  scope._forwards = scope._forwards or {}
  local passes = device and ("%s %s"):format(place.cookie or place.inode, device)
  if passes and not scope._forwards[passes] then
    if not trusted then
      require("nsbox.firewall").check(place, part.verb, device, families)
    end
    scope._forwards[passes] = part
  end
  local function set(key, value)
    return require("nsbox.made").within(scope, "forwarding", require("nsbox.setting").make, netns,
      1, { [key] = value })
  end
  for family, key in next, { inet = IPV4, inet6 = IPV6 } do
    local mark = ("%s %s"):format(place.cookie or place.inode, family)
    local done = scope._forwards[mark]
    if families[family] and not (done and done:in_force()) then
      local routers = {}
      -- done first, and undone last
      for router in next, family == "inet6" and hosts_of_routers(scope, place) or {} do
        routers[#routers + 1] = set(router, 2)
      end
      done = set(key, 1)
      scope._forwards[mark] = done
      for _, router in ipairs(routers) do
        done:need(router)
      end
    end
    if families[family] then
      part:need(done)
    end
  end
end

-- subnets -------------------------------------------------------------------------

--- The subnets of a bridge, read now.
-- @tparam nsbox.NetPlace place
-- @tparam integer index of the bridge
-- @tparam string op the verb, for an Error
-- @tparam string name of the bridge
-- @treturn string[] as "10.0.3.0/24"
function M.subnets(place, index, op, name)
  local list, seen = {}, {}
  for _, record in ipairs(place:check(op, name, place.nl:addr_list { dev = index })) do
    local a = inet.parse(record.addr)
    local subnet = ("%s/%d"):format(inet.text(inet.network(a)), a.prefix)
    if record.scope ~= "link" and not record.peer and a.prefix < #a.bytes * 8
      and not seen[subnet] then
      seen[subnet], list[#list + 1] = true, subnet
    end
  end
  return list
end

local ANYWHERE <const> = { ["4"] = "0.0.0.0/0", ["6"] = "::/0" }

-- the device by which a subnet is reached
local function device_to(place, subnet)
  local route = place.nl:route_get { subnet:match "^[^/]+" }
  return route and route.type ~= "local" and route.dev and place.nl:name(route.dev) or nil
end

--- The families of addresses, or subnets.
-- @tparam string[] addrs
-- @treturn table `inet`, `inet6` → true
function M.families(addrs)
  local families = {}
  for _, addr in ipairs(addrs) do
    families[inet.version(addr) == "4" and "inet" or "inet6"] = true
  end
  return families
end

local function translate(part, place, netns, op, subnets, out, device, trusted)
  if place.island and netns == place.island.home then
    place.island:reach(op)
  end
  local owned, more = {}, {}
  local function add(lists, set, element)
    lists[set] = lists[set] or {}
    table.insert(lists[set], element)
  end
  for _, subnet in ipairs(subnets) do
    local f = inet.version(subnet)
    -- as nft shows it, which is how it is found again
    subnet = subnet:gsub(f == "4" and "/32$" or "/128$", "")
    add(more, "within" .. f, ("%s . %s"):format(subnet, subnet))
    if out then
      add(owned, "out" .. f, ('%s . "%s"'):format(subnet, out))
    else
      add(owned, "nat" .. f, ("%s . %s"):format(subnet, ANYWHERE[f]))
    end
  end
  if out then
    place:check(op, out, place.nl:link_get(out))
  end
  local text = ("nat of %s%s"):format(table.concat(subnets, " "), out and " out by " .. out or "")
  nftable.add(place, op, { "nat" }, { { part = part, owned = owned, more = more, text = text } },
    { explain = function(err)
      if err.code == "EEXIST" then
        err.detail, err.hint = "the scope translates this subnet already", false
      end
    end })
  M.forward(part, place, netns, M.families(subnets), device, trusted)
  return text
end

local function of_bridge(part, place, netns, op, bridge, out, trusted)
  local subnets = M.subnets(place, bridge.index, op, bridge.name)
  if #subnets == 0 then
    require("nsbox.error").raise { op = op, subject = bridge.name, netns = place.label,
      code = "EADDRNOTAVAIL", detail = "it has no address, and so no subnet to translate",
      hint = "give the bridge an address: addr = \"10.0.3.1/24\"" }
  end
  local text = translate(part, place, netns, op, subnets, out, bridge.name, trusted)
  bridge._nat = true
  return text
end

--- The verb; see `nsbox.part`.
-- @tparam nsbox.Part part
-- @tparam table|string o `{ bridge or subnet, out = }`
-- @tparam integer level whose line to blame
-- @treturn nsbox.Made
function M.make(part, o, level)
  o = schema:check(getmetatable(o) and { o } or o, level + 1)
  local what = o[1]
  if not what then
    require("nsbox.mistake").raise("nat: of which bridge or subnet?", level + 1)
  elseif type(what) == "table" and o.netns then
    require("nsbox.mistake").raise("nat: netns: the bridge is where it is", level + 1)
  end
  local is_bridge = type(what) == "table"
  local netns = part:place(o.netns)
  if is_bridge then
    netns = what._netns
  end
  local place <close> = is_bridge and what:_open "nat" or netplace.open(netns, "nat")
  local name = is_bridge and what.name or what
  if part:stands(place:named(name), { name, out = o.out, netns = place.label }, function(steps)
    return place:has(steps[1])
  end) then
    if is_bridge then
      what._nat = true
    end
    M.forward(part, place, netns, M.families(is_bridge
      and M.subnets(place, what.index, "nat", name) or { what }))
    return require("nsbox.made").new(part.standing.steps[1].text)
  end
  local text = is_bridge and of_bridge(part, place, netns, "nat", what, o.out, not o.firewall)
    or translate(part, place, netns, "nat", { what }, o.out, device_to(place, what),
      not o.firewall)
  return require("nsbox.made").new(text .. (place.label and " in " .. place.label or ""))
end

--- What a bridge is told by `nat` and `isolate`. Of one that an earlier run made, what `nat`
-- needs is declared by this run, too.
-- @tparam nsbox.Part part the bridge's
-- @tparam nsbox.NetPlace place
-- @tparam table o its checked options
-- @tparam nsbox.Link bridge
function M.of(part, place, o, bridge)
  if part.standing then
    bridge._nat = o.nat
    M.forward(part, place, o.netns, M.families(M.subnets(place, bridge.index, "bridge",
      bridge.name)))
    return
  end
  if o.nat then
    of_bridge(part, place, o.netns, "bridge", bridge, type(o.nat) == "string" and o.nat or nil)
  end
  if o.isolate then
    nftable.add(place, "bridge", { "isolate" }, { { part = part,
      owned = { isolated = { ('"%s"'):format(bridge.name) } },
      more = { apart = { tostring(bridge.index) },
        itself = { ("%d . %d"):format(bridge.index, bridge.index) } },
      text = bridge.name .. " isolated" } })
  end
end

--- Checks `nat` of a bridge, as a type for `nsbox.opts`.
-- @param value
-- @treturn ?boolean|string
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.check(value)
  if type(value) == "boolean" then
    return value
  elseif type(value) == "string" then
    return interface.check_name(value)
  end
  return nil, require("nsbox.mistake").expected("true, or the name of a device", value)
end

return M

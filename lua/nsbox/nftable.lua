--- The table that a scope has in nftables: one in each network namespace.
--
-- Its chains look everything up in sets and maps: what is added is one element
-- of one of them, whatever there is already, and other people's tables stay as
-- they are. All that is added together is one transaction. The step is what
-- was added; the table goes with the last of it.
--
-- nft(8)
--
-- @internal nsbox.nftable

local inet = require "nsbox.inet"
local parts = require "nsbox.part"

local M = {}

local EEXIST <const> = 17

--- The sets whose elements are somebody's. What is in the others goes with the table: it says
-- how a network is, not what is done to it.
M.OWNED = { nat4 = true, nat6 = true, out4 = true, out6 = true, any4 = true, any6 = true,
  at4 = true, at6 = true, isolated = true }

-- each family once: ip, ip6
local function both(text)
  return text .. text:gsub("ipv4_addr", "ipv6_addr"):gsub("ip ([sd]addr)", "ip6 %1")
    :gsub("dnat ip to", "dnat ip6 to"):gsub("([%a]+)4%f[%W]", "%16")
end

local WITHIN <const> = both [[
  set within4 { type ipv4_addr . ipv4_addr; flags interval; }
]]

-- a port of one address goes before that of every address
local LEAD <const> = both [[
  dnat ip to ip daddr . meta l4proto . th dport map @at4
  fib daddr type local dnat ip to meta l4proto . th dport map @any4
]]

-- what chains there are, and what they look at; the rules of a chain are written anew each
-- time, which needs no knowledge of what was there
local FEATURES <const> = {
  -- from a subnet to anywhere else, or out by one device
  nat = {
    sets = WITHIN .. both [[
      set nat4 { type ipv4_addr . ipv4_addr; flags interval; }
      set out4 { type ipv4_addr . ifname; flags interval; }
    ]],
    chains = { leaving = {
      "type nat hook postrouting priority srcnat",
      both [[
        ip saddr . ip daddr @within4 return
        ip saddr . ip daddr @nat4 masquerade
        ip saddr . oifname @out4 masquerade
      ]],
    } },
  },
  -- to a port of the host's, from elsewhere and from the host itself; who is in the same
  -- network, or at 127.0.0.1, is answered by way of the host. The networks near by may
  -- not talk to 127.0.0.1 for all that
  publish = {
    sets = WITHIN .. both [[
      map any4 { type inet_proto . inet_service : ipv4_addr . inet_service; }
      map at4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
    ]] .. "set near { type iface_index; }\n",
    chains = {
      arriving = { "type nat hook prerouting priority dstnat", LEAD },
      starting = { "type nat hook output priority -100", LEAD },
      returning = { "type nat hook postrouting priority srcnat", both [[
        ct status dnat ip saddr . ip daddr @within4 masquerade
      ]] .. [[
        ct status dnat oif @near ip saddr 127.0.0.0/8 masquerade
        ct status dnat oif @near ip6 saddr ::1 masquerade
      ]] },
      guard = { "type filter hook prerouting priority raw",
        "iif @near ip daddr 127.0.0.0/8 drop\n" },
    },
  },
  -- between two bridges of nsbox (their groups are marks), one of them isolated; `isolated` is
  -- for people and for steps, the rules go by what does not change with a name
  isolate = {
    sets = [[
      set isolated { type ifname; }
      set apart { type iface_index; }
      set itself { type iface_index . iface_index; }
    ]],
    chains = { crossing = {
      "type filter hook forward priority filter - 10",
      [[
        iif . oif @itself return
        iif @apart meta oifkind "bridge" oifgroup >= 65536 drop
        oif @apart meta iifkind "bridge" iifgroup >= 65536 drop
      ]],
    } },
  },
}

local function base(name, features)
  local out = { ("add table inet %s"):format(name) }
  for _, feature in ipairs(features) do
    out[#out + 1] = ("table inet %s {\n%s}"):format(name, FEATURES[feature].sets)
    for chain, it in next, FEATURES[feature].chains do
      out[#out + 1] = ("add chain inet %s %s { %s; policy accept; }"):format(name, chain, it[1])
      out[#out + 1] = ("flush chain inet %s %s"):format(name, chain)
      out[#out + 1] = ("table inet %s {\nchain %s {\n%s}\n}"):format(name, chain, it[2])
    end
  end
  return table.concat(out, "\n")
end

-- "add element inet T set { a, b }" for each set
local function elements(verb, name, lists)
  local out = {}
  for set, list in next, lists do
    out[#out + 1] = ("%s element inet %s %s { %s }"):format(verb, name, set,
      table.concat(list, ", "))
  end
  return table.concat(out, "\n")
end

local function missing(op, message)
  require("nsbox.error").raise { op = op, step = "nft", code = "ENOPKG",
    detail = message:match "^[^\n]*libnftables[^\n]*" or "nsbox/sys/nft.so is not there",
    hint = "install libnftables (Debian: libnftables1); nsbox/sys/nft.so is built where its "
      .. "headers are (libnftables-dev)" }
end

local function failure(place, op, subject, message, errno)
  return require("nsbox.error").new({ op = op, step = "nft", subject = subject,
    netns = place.label, detail = message:gsub("^Could not process rule: ", ""), errno = errno },
    { place = place })
end

--- The handle for rules of a place, opened when it is first asked for.
-- @tparam nsbox.NetPlace place
-- @tparam string op the verb, for an Error
-- @treturn userdata of `nsbox.sys.nft`, closed with the place
function M.handle(place, op)
  if not place.nft then
    local found, nft = pcall(require, "nsbox.sys.nft")
    if not found then
      missing(op, nft)
    end
    local message, errno
    place.nft, message, errno = nft.open(place:namespace())
    if not place.nft then
      error(failure(place, op, nil, message:gsub("^netlink: ", ""), errno), 0)
    end
  end
  return place.nft
end

-- the table's name; that of an earlier run of a named scope, where it has one
local function name_of(scope, place)
  scope._tables = scope._tables or {}
  local key = place.cookie or place.inode
  if not scope._tables[key] then
    local name = ("nsbox-%08x"):format(require("nsbox.random").u32())
    for _, part in ipairs(scope._named and scope._named.standing or {}) do
      for _, step in ipairs(part.steps) do
        name = step.kind == "nft" and not step.over and place:has(step) and step.table or name
      end
    end
    scope._tables[key] = name
  end
  return scope._tables[key]
end

--- What is in a set's text: element → value, or true.
-- @tparam string text as `list table` shows it
-- @treturn table set → element → value
function M.read(text)
  local sets = {}
  for set, body in text:gmatch "%f[%a][sm][ea][tp] (%w+) (%b{})" do
    local found = {}
    for element in (body:match "elements = (%b{})" or "{}"):sub(2, -2):gmatch "[^,]+" do
      local key, value = element:match "^%s*(.-)%s* : (.-)%s*$"
      found[key or element:match "^%s*(.-)%s*$"] = value or true
    end
    sets[set] = found
  end
  return sets
end

-- networks ------------------------------------------------------------------------

-- nft leaves out the prefix of an address alone
local function network_of(element)
  local net = inet.parse(element:match "^%S+")
  net.prefix = net.prefix or #net.bytes * 8
  return net
end

local function is_in(inner, outer)
  return inner.prefix >= outer.prefix and inet.contains(outer, inner)
end

-- The kernel takes no network into a set that begins or ends within another one. Of two that are
-- in one another the wider one says all: what is to be added then, and taken out before; nil: as
-- it was, nothing is in the way
local function widened(sets, more)
  local add, gone, any = {}, {}, false
  for set, list in next, more do
    add[set] = list
    if set:find "^within" then
      local there = table.move(list, 1, #list, 1, {})
      for element in next, sets[set] or {} do
        there[#there + 1] = element
      end
      add[set] = {}
      for i, element in ipairs(there) do
        local net, wider = network_of(element), false
        for _, other in ipairs(there) do
          wider = wider or other ~= element and is_in(net, network_of(other))
        end
        any = any or wider
        if wider and i > #list then
          gone[set] = gone[set] or {}
          table.insert(gone[set], element)
        elseif not wider and i <= #list then
          table.insert(add[set], element)
        end
      end
      add[set] = add[set][1] and add[set] or nil
    end
  end
  if any then
    return add, gone
  end
end

-- the networks that are to be in a set: those that are translated, and those in which a card is
-- that a port leads to; `there`: what is in it
local function needed(sets, v, there)
  local found = {}
  for _, set in ipairs { "nat", "out" } do
    for element in next, sets[set .. v] or {} do
      local subnet = element:match "^%S+"
      found[("%s . %s"):format(subnet, subnet)] = true
    end
  end
  for element in next, there do
    for _, set in ipairs { "any", "at" } do
      for _, target in next, sets[set .. v] or {} do
        found[element] = found[element]
          or inet.contains(network_of(element), inet.parse(target:match "^%S+")) or nil
      end
    end
  end
  return found
end

-- what of the networks is nobody's any more, into `gone`; what takes its place
local function narrowed(sets, gone)
  local add = {}
  for _, v in ipairs { "4", "6" } do
    local set = "within" .. v
    local there = sets[set] or {}
    local found = needed(sets, v, there)
    for element in next, there do
      if not found[element] then
        gone[set] = gone[set] or {}
        table.insert(gone[set], element)
        there[element] = nil
      end
    end
    for element in next, found do
      local covered = there[element] ~= nil
      for other in next, there do
        covered = covered or is_in(network_of(element), network_of(other))
      end
      if not covered then
        add[set] = add[set] or {}
        table.insert(add[set], element)
      end
    end
  end
  return add
end

---@class nsbox.NftItem
---@field part nsbox.Part
---@field owned table set → list of elements: what is added; EEXIST when one is there
---@field more? table set → list of elements: what may be there
---@field text string what it is, for people

local function merge(into, lists)
  for set, list in next, lists or {} do
    into[set] = into[set] or {}
    table.move(list, 1, #list, #into[set] + 1, into[set])
  end
  return into
end

-- "any4 tcp . 80 : 10.0.3.2 . 80;…" as the step keeps it
local function encode(owned)
  local out = {}
  for set, list in next, owned do
    for _, element in ipairs(list) do
      out[#out + 1] = set .. " " .. element
    end
  end
  table.sort(out)
  return table.concat(out, ";")
end

--- The elements of a step; one of another kind has none.
-- @tparam nsbox.Step step
-- @return iterator over set, element with its value
function M.elements(step)
  return (step.elements or ""):gmatch "(%w+) ([^;]+)"
end

--- Adds to the table of a scope, in one transaction.
-- @tparam nsbox.NetPlace place
-- @tparam string op the verb, for an Error
-- @tparam string[] features which chains it takes
-- @tparam nsbox.NftItem[] items of one scope
-- @tparam[opt] table how `explain`: gets the Error and the table's name, and may change it;
--   `verify`: gets the name when all is there, and returns an Error where it may not stay
function M.add(place, op, features, items, how)
  local nft = M.handle(place, op)
  local name = name_of(items[1].part.scope, place)
  local owned, more, plans = {}, {}, {}
  for i, item in ipairs(items) do
    merge(owned, item.owned)
    merge(more, item.more)
    plans[i] = { item.part, "nft", place:mark { table = name, elements = encode(item.owned),
      text = item.text } }
  end
  local function transaction(add, gone)
    return nft:run(table.concat({ base(name, features), elements("delete", name, gone),
      elements("add", name, add), elements("create", name, owned) }, "\n"))
  end
  local err
  parts.steps(plans, function(steps)
    local ok, message, errno = transaction(more, {})
    if not ok and errno == EEXIST then
      local add, gone = widened(M.read(nft:run("list table inet " .. name) or ""), more)
      if add then
        ok, message, errno = transaction(add, gone)
      end
    end
    if not ok then
      err = failure(place, op, items[1].text, message, errno)
    elseif how and how.verify then
      err = how.verify(name)
      if err then
        M.remove(nft, name, steps)
      end
    end
    local outcome = {}
    for i = 1, #steps do
      outcome[i] = not err and {}
    end
    return outcome
  end)
  if err then
    if how and how.explain then
      how.explain(err, name)
    end
    error(err, 0)
  end
end

--- Takes elements out of a table, if they are in it, and the table if that was all.
-- @tparam userdata nft a handle
-- @tparam string name of the table
-- @tparam nsbox.Step[] steps
-- @treturn boolean true
-- @return[2] nil, message, errno
function M.remove(nft, name, steps)
  local text = nft:run("list table inet " .. name)
  if not text then
    return true -- gone
  end
  local sets, gone = M.read(text), {}
  for _, step in ipairs(steps) do
    for set, element in M.elements(step) do
      local key, value = element:match "^(.-) : (.*)$"
      key, value = key or element, value or true
      if sets[set] and sets[set][key] == value then
        sets[set][key] = nil
        gone[set] = gone[set] or {}
        table.insert(gone[set], key)
      end
    end
  end
  for set in next, M.OWNED do
    if next(sets[set] or {}) then
      if next(gone) then
        local add = narrowed(sets, gone)
        local ok, message, errno = nft:run(elements("delete", name, gone) .. "\n"
          .. elements("add", name, add))
        return ok and true, message, errno
      end
      return true
    end
  end
  local ok, message, errno = nft:run("delete table inet " .. name)
  return ok and true, message, errno
end

return M

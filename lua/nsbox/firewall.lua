--- Firewalls that drop what the kernel forwards.
--
-- A packet has to please every table: that ours lets it through does not help
-- where another one drops it, as Docker's chain FORWARD does, ufw and firewalld.
-- Other people's tables are not touched; who drops is named, with the commands
-- that let a bridge through.
--
-- nft(8), iptables(8)
--
-- @internal nsbox.firewall

local netlink = require "nsbox.sys.netlink"
local nftable = require "nsbox.nftable"

local M = {}

---@class nsbox.Firewall  one that drops
---@field what string for people: "the chain FORWARD of table ip filter"
---@field how string "its policy is drop"
---@field family string "ip", "ip6", "inet"
---@field table? string of nf_tables; nil: of iptables-legacy
---@field chain? string
---@field knows function (device) whether its rules speak of this device

-- whether a chain's text ends with a rule that drops everything
local function ends_with_drop(text)
  local last
  for line in text:gmatch "[^\n]+" do
    if not line:find "^%s*}" and not line:find "^%s*type " then
      last = line
    end
  end
  last = (last or ""):gsub("counter packets %d+ bytes %d+ ?", ""):match "^%s*(.-)%s*$"
  return last == "drop" or last:find "^reject%f[%W]" ~= nil
end

-- "docker*" of nft, "docker+" of iptables
local function matcher(names)
  return function(device)
    for name in next, names do
      local prefix = name:match "^(.*)[*+]$"
      if name == device or prefix and device:sub(1, #prefix) == prefix then
        return true
      end
    end
    return false
  end
end

-- the names in its rules, and in sets that they may look in
local function devices_in(text)
  local names = {}
  for set in text:gmatch "%f[%a][sm][ea][tp] %S+ (%b{})" do
    for name in (set:find "type [^\n]*ifname" and set or ""):gmatch '"([^"]+)"' do
      names[name] = true
    end
  end
  for name in text:gmatch '[io]ifname [^"\n]-"([^"]+)"' do
    names[name] = true
  end
  for set in text:gmatch '[io]ifname [^\n{]-(%b{})' do
    for name in set:gmatch '"([^"]+)"' do
      names[name] = true
    end
  end
  return names
end

-- chains of nf_tables, but for ours, that are asked about forwarded packets
local function chains(nft)
  local list, family, name, chain = {}, nil, nil, nil
  for line in (nft:run "list chains" or ""):gmatch "[^\n]+" do
    local f, t = line:match "^table (%S+) (%S+) {"
    family, name = f or family, t or name
    chain = line:match "^%s+chain (%S+) {" or chain
    if line:find "hook forward" and not name:find "^nsbox%-%x+$" and family ~= "bridge"
      and family ~= "netdev" then
      list[#list + 1] = { family = family, table = name, chain = chain,
        policy = line:match "policy (%w+)" }
    end
  end
  return list
end

--- Who drops forwarded packets in a place.
-- @tparam nsbox.NetPlace place
-- @tparam string op the verb, for an Error
-- @treturn nsbox.Firewall[]
function M.list(place, op)
  local nft, found = nftable.handle(place, op), {}
  for _, it in ipairs(chains(nft)) do
    local text = nft:run(("list chain %s %s %s"):format(it.family, it.table, it.chain)) or ""
    if it.policy == "drop" or ends_with_drop(text) then
      it.what = ("the chain %s of table %s %s"):format(it.chain, it.family, it.table)
      it.how = it.policy == "drop" and "its policy is drop" or "its last rule drops all"
      it.knows = matcher(devices_in(nft:run(("list table %s %s"):format(it.family, it.table))
        or ""))
      found[#found + 1] = it
    end
  end
  for family, word in next, { inet = "ip", inet6 = "ip6" } do
    local old = netlink.iptables(place:namespace(), family)
    if old and old.policy == "drop" then
      found[#found + 1] = { family = word, what = ("the chain FORWARD of %stables-legacy"):format(
        word), how = "its policy is DROP", knows = matcher(old.devices) }
    end
  end
  return found
end

-- commands that let a device through
local function remedy(it, device)
  local docker = it.chain == "FORWARD" or not it.table
  if docker then
    local command = it.family .. "tables" .. (it.table and "" or "-legacy")
    return ("%s -I FORWARD -i %s -j ACCEPT; %s -I FORWARD -o %s -j ACCEPT"):format(command, device,
      command, device)
  elseif it.table == "firewalld" then
    return ("firewall-cmd --zone=trusted --add-interface=%s"):format(device)
  end
  local rule = ("nft insert rule %s %s %s"):format(it.family, it.table, it.chain)
  return ('%s iifname "%s" accept; %s oifname "%s" accept'):format(rule, device, rule, device)
end

--- Raises when somebody drops what a device sends on.
-- @tparam nsbox.NetPlace place
-- @tparam string op the verb
-- @tparam string device a bridge
-- @tparam table families `inet`, `inet6` → true
-- @raise an Error, EACCES
function M.check(place, op, device, families)
  for _, it in ipairs(M.list(place, op)) do
    local concerned = it.family == "inet" or families[it.family == "ip" and "inet" or "inet6"]
    if concerned and not it.knows(device) then
      require("nsbox.error").raise { op = op, subject = device, netns = place.label,
        code = "EACCES", detail = ("%s drops what is forwarded (%s)"):format(it.what, it.how),
        hint = ("let it through: %s; where other rules do: scope:nat { …, firewall = false }")
          :format(remedy(it, device)) }
    end
  end
end

return M

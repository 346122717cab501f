--- Undoing what was added to a scope's table of nftables.
--
-- `{ table, elements, text, netns, nsinode, where }`: the elements are taken
-- out of the table, and the table goes with the last of them. It has a name
-- that no other one has, and only its scope touches it.
--
-- nft(8)
--
-- @internal nsbox.undo.nft

local undo = require "nsbox.undo"

-- here, not where it is used: an undo at the end of a script may be elsewhere
local nftable = require "nsbox.nftable"

local M = { phase = 1 }

local function grouped(steps)
  local groups, by_key = {}, {}
  for _, step in ipairs(steps) do
    local key = ("%s/%s/%s"):format(step.netns, step.nsinode, step.table)
    if not by_key[key] then
      by_key[key] = {}
      groups[#groups + 1] = by_key[key]
    end
    table.insert(by_key[key], step)
  end
  return groups
end

--- See `nsbox.undo`.
function M.undo(steps, fail)
  for _, group in ipairs(grouped(steps)) do
    local place <close> = require("nsbox.netplace").find(group[1])
    if place then
      local ok, message, errno = nftable.remove(nftable.handle(place, "undo"), group[1].table,
        group)
      for _, step in ipairs(ok and {} or group) do
        fail(step, undo.failure(step.text, message, errno))
      end
    end
  end
end

--- See `nsbox.undo`.
function M.there(step)
  local place <close> = require("nsbox.netplace").find(step)
  local text = place and nftable.handle(place, "undo"):run("list table inet " .. step.table)
  local sets = nftable.read(text or "")
  for set, element in nftable.elements(step) do
    local key, value = element:match "^(.-) : (.*)$"
    if not (sets[set] and sets[set][key or element] == (value or true)) then
      return false
    end
  end
  return text ~= nil
end

--- See `nsbox.undo`.
function M.describe(step)
  return ("%s%s (table inet %s)"):format(step.text,
    step.where == "own" and "" or " in " .. step.where, step.table)
end

return M

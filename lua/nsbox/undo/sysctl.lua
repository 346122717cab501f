--- Undoing a kernel setting: it becomes what it was, if it is as it was left.
--
-- `{ key, path, value, old, became, besides, token, netns, nsinode, where }`.
-- Another that set it to the same still needs it: then it stays, and that one
-- undoes it, which is why each records what was there before all of them.
--
-- sysctl(8)
--
-- @internal nsbox.undo.sysctl

-- both here, not where they are used: an undo at the end of a script may be elsewhere
local forwarding = require "nsbox.forwarding"
local netlink = require "nsbox.sys.netlink"
local undo = require "nsbox.undo"

local ENOENT <const> = 2

-- before tables of nftables that keep others from what a setting opens
local M = { phase = 0 }

local function normal(text)
  return require("nsbox.setting").normal(tostring(text))
end

-- the place of a step, and what the setting is now
local function look(step)
  local place = require("nsbox.netplace").find(step)
  if place then
    return place, netlink.sysctl_get(place:namespace(), step.path)
  end
end

local function is_ours(step, value)
  return normal(value) == normal(step.became or step.value)
end

--- The steps of this kind of all scopes of this user that are not over.
-- @tparam table except a set of steps, told by their tokens
-- @treturn nsbox.Step[]
function M.others(except)
  local tokens, out = {}, {}
  for step in next, except do
    tokens[step.token] = true
  end
  local journals = require "nsbox.journal"
  for _, name in ipairs(journals.names "undo") do
    local state = journals.peek("undo", name)
    for _, step in ipairs(state and state.steps or {}) do
      if step.kind == "sysctl" and not step.over and not step._other_boot
        and not tokens[step.token] then
        out[#out + 1] = step
      end
    end
  end
  return out
end

local function needed(step, value, others)
  for _, other in ipairs(others) do
    if other.key == step.key and other.netns == step.netns and other.nsinode == step.nsinode
      and is_ours(other, value) then
      return true
    end
  end
  return false
end

--- See `nsbox.undo`.
function M.undo(steps, fail)
  local mine = {}
  for _, step in ipairs(steps) do
    mine[step] = true
  end
  local others = M.others(mine)
  for _, step in ipairs(steps) do
    local found, value, message, errno = look(step)
    local place <close> = found
    if value and normal(value) == normal(step.old) then
      forwarding.restore(place, step.besides) -- an undo that was killed came as far as here
    elseif value and is_ours(step, value) and not needed(step, value, others) then
      local ok
      ok, message, errno = netlink.sysctl_set(place:namespace(), step.path, tostring(step.old))
      if not ok then
        fail(step, undo.failure(step.key, message:gsub("^[^:]*: ", ""), errno))
      else
        forwarding.restore(place, step.besides)
      end
    elseif found and not value and errno ~= ENOENT then -- gone with its device: undone
      fail(step, undo.failure(step.key, message:gsub("^[^:]*: ", ""), errno))
    end
  end
end

--- See `nsbox.undo`.
function M.there(step)
  local found, value = look(step)
  local place <close> = found
  return place and value and is_ours(step, value)
end

--- See `nsbox.undo`.
function M.describe(step)
  return ("%s = %s (was %s)%s"):format(step.key, step.value, step.old,
    step.where == "own" and "" or " in " .. step.where)
end

return M

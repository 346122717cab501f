--- Undoing a link: it is deleted, if it is still the one that was made.
--
-- `{ dev, group, index, netns, nsinode, where }`: a link is ours by its group,
-- a random number that was in the request that made it, so also one of which
-- nothing but the plan is known. `bulk`: all that has this group is ours.
--
-- Deleting waits for the kernel some 20 ms, all links of a group at once no
-- longer than one. A link whose namespace is gone is gone.
--
-- rtnetlink(7)
--
-- @module nsbox.undo.link

local undo = require "nsbox.undo"

local ENODEV <const> = 19

local M = { phase = 3 }

local function places()
  return require "nsbox.netplace"
end

-- the link of a step, in its place
local function is_ours(place, step)
  local record = place.nl:link_get(step.index or step.dev)
  return record and record.group == step.group and (step.index or record.name == step.dev)
    and record or nil
end

local function delete_one(place, step, fail)
  local record = is_ours(place, step)
  if record then
    local ok, message, errno = place.nl:link_del { record.index }
    if not ok and errno ~= ENODEV then
      fail(step, undo.failure(step.dev, message, errno))
    end
  end
end

-- steps of one namespace and one group
local function delete(steps, bulk, fail)
  local place <close> = places().find(steps[1])
  if not place then
    return
  elseif bulk and #steps > 1 then
    local ok, message, errno = place.nl:link_del { group = steps[1].group }
    if ok or errno == ENODEV then
      return
    end
    fail(steps[1], undo.failure("group " .. steps[1].group, message, errno))
  end
  for _, step in ipairs(steps) do
    delete_one(place, step, fail)
  end
end

--- See `nsbox.undo`.
function M.undo(steps, fail, bulk)
  local lists, order = {}, {}
  for _, step in ipairs(steps) do
    local key = ("%s %s %s"):format(step.netns, step.nsinode, step.group)
    if not lists[key] then
      lists[key] = {}
      order[#order + 1] = key
    end
    table.insert(lists[key], step)
  end
  for _, key in ipairs(order) do
    delete(lists[key], bulk, fail)
  end
end

--- See `nsbox.undo`.
function M.there(step)
  local place <close> = places().find(step)
  return place and is_ours(place, step) ~= nil
end

--- Lets go of a link that is kept: it is no more of the group that is ours.
function M.keep(step)
  local place <close> = places().find(step)
  local record = place and is_ours(place, step)
  if record then
    place.nl:link_set { record.index, group = 0 }
  end
end

--- See `nsbox.undo`.
function M.describe(step)
  return ("link %s%s"):format(step.dev, step.where == "own" and "" or " in " .. step.where)
end

return M

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
-- @internal nsbox.undo.link

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

-- A bridge that was told of a card's addresses forgets them, unless it has
-- been told otherwise since: they may become another card's.
local function forget(place, steps)
  local batch, tables
  for _, step in ipairs(steps) do
    if step.known and step.mac then
      batch, tables = batch or place.nl:batch(), tables or {}
    end
    if step.known and step.mac and not tables[step.master] then
      tables[step.master] = {}
      for _, n in ipairs(place.nl:neigh_list { dev = step.master } or {}) do
        tables[step.master][n.addr] = n.state == "permanent" and n.mac or nil
      end
    end
    for addr in (step.known and step.mac and step.addr or ""):gmatch "%S+" do
      local host = addr:match "^[^/]+"
      if tables[step.master][host] == step.mac then
        batch:neigh_del { host, dev = step.master }
      end
    end
  end
  if batch then
    batch:send() -- a bridge that has gone has forgotten
  end
end

-- steps of one namespace and one group
local function delete(steps, bulk, fail)
  local place <close> = places().find(steps[1])
  if not place then
    return
  end
  local ok, message, errno
  if bulk and #steps > 1 then
    ok, message, errno = place.nl:link_del { group = steps[1].group }
    ok = ok or errno == ENODEV
    if not ok then
      fail(steps[1], undo.failure("group " .. steps[1].group, message, errno))
    end
  end
  for _, step in ipairs(ok and {} or steps) do
    delete_one(place, step, fail)
  end
  forget(place, steps)
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
  return ("link %s%s%s"):format(step.dev, step.addr and " " .. step.addr or "",
    step.where == "own" and "" or " in " .. step.where)
end

return M

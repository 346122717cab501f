--- Undoing a queueing discipline that a device got: it is taken off.
--
-- `{ dev, index, device, netns, nsinode, where, handle, discipline }`: the
-- handle is a number that was chosen at random for it.
--
-- rtnetlink(7), tc(8)
--
-- @internal nsbox.undo.qdisc

local undo = require "nsbox.undo"

local ENOENT <const>, EINVAL <const>, ENODEV <const> = 2, 22, 19

local M = { phase = 1 }

--- The one that a device sends through.
-- @tparam nsbox.NetPlace place
-- @tparam integer index of the device
-- @treturn ?table its record; nil: the kernel's own
function M.root(place, index)
  for _, q in ipairs(place.nl:qdisc_list { dev = index } or {}) do
    if q.parent == "root" and q.handle then
      return q
    end
  end
end

local function is_ours(place, step)
  local q = M.root(place, step.index)
  return q and q.handle == step.handle and q.kind == step.discipline
end

--- See `nsbox.undo`.
function M.undo(steps, fail)
  for _, step in ipairs(steps) do
    local place <close>, record = require("nsbox.netplace").device(step)
    if record and is_ours(place, step) then
      local ok, message, errno = place.nl:qdisc_del { dev = step.index, parent = "root" }
      if not ok and errno ~= ENOENT and errno ~= EINVAL and errno ~= ENODEV then
        fail(step, undo.failure(tostring(step.dev), message, errno))
      end
    end
  end
end

--- See `nsbox.undo`.
function M.there(step)
  local place <close>, record = require("nsbox.netplace").device(step)
  return record and place and is_ours(place, step)
end

--- See `nsbox.undo`.
function M.describe(step)
  return ("%s %s on %s%s"):format(step.discipline, step.handle, step.dev,
    step.where == "own" and "" or " in " .. step.where)
end

return M

--- Undoing what an uplink was told: which ports of the machine lead to an island.
--
-- `{ ports, uplink }`, of this process only: the uplink ends with the island, and
-- the island with the script.
--
-- pasta(1), slirp4netns(1)
--
-- @internal nsbox.undo.forward

local M = { phase = 1 }

--- See `nsbox.undo`.
function M.undo(steps, fail)
  local lists = {}
  for _, step in ipairs(steps) do
    local list = lists[step.uplink] or {}
    lists[step.uplink] = list
    table.move(step.ports, 1, #step.ports, #list + 1, list)
  end
  for uplink, list in next, lists do
    local ok, err = pcall(uplink.unpublish, uplink, list)
    for _, step in ipairs(ok and {} or steps) do
      if step.uplink == uplink then
        fail(step, err)
      end
    end
  end
end

--- See `nsbox.undo`.
function M.there(step)
  return step.uplink:publishes(step.ports)
end

--- See `nsbox.undo`.
function M.describe(step)
  local words = {}
  for i, p in ipairs(step.ports) do
    words[i] = ("%d/%s"):format(p.port, p.proto)
  end
  return "ports by the uplink: " .. table.concat(words, ", ")
end

return M

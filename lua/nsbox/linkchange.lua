--- A change to a link: what its scope has to undo.
--
-- A change to what the scope made goes when the device goes; one to a borrowed
-- device is a part of the scope by itself, with its own undo.
--
-- @internal nsbox.linkchange

local M = {}

--- Whether a link can be changed now: it is made, and no batch of its scope waits.
-- @tparam nsbox.Link link
-- @tparam string op the method
-- @tparam integer level whose line to blame
function M.check(link, op, level)
  link:_check_made(op, level + 1)
  if link._part then
    link._part.scope:_check_batch(op, level + 1)
  end
end

--- Does one thing: as a step where something would stay of it, else at once.
-- @tparam nsbox.Link link
-- @tparam string kind a module of `nsbox.undo`
-- @tparam string name tells it again in the next run of a named scope
-- @tparam table spec what that run compares
-- @tparam table plan see `nsbox.part`
-- @tparam function act does it, given the step
function M.step(link, kind, name, spec, plan, act)
  local in_scope = link._part and link._part:in_force()
  if not (in_scope and (link._borrowed or plan.to_where)) then
    act(plan)
    return
  end
  local made = link._part.scope:_within(kind, function(part)
    if not part:stands(name, spec) then
      part:step(kind, plan, act)
    end
    return part
  end)
  link._changes = link._changes or {}
  table.insert(link._changes, made)
end

--- The fields by which a step finds the device again.
-- @tparam nsbox.Link link
-- @tparam nsbox.NetPlace place where it is
-- @tparam table fields gets them
-- @treturn table fields
function M.mark(link, place, fields)
  fields.dev, fields.index, fields.device = link.name, link.index, link.kind
  return place:mark(fields)
end

return M

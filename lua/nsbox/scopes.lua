--- All scopes of this user: looking at them, recovering and removing them.
--
-- @module nsbox.scopes

local journals = require "nsbox.journal"
local named = require "nsbox.named"
local record = require "nsbox.record"
local undo = require "nsbox.undo"

local PATIENCE <const> = 10 -- seconds, for another run to end

local M = {}

M.options, M.declare = named.options, named.declare
M.open = named.open

-- one journal whose owner has ended; failures, and whether there was something
local function recover_one(op, name)
  local journal = journals.open(op, name)
  if not journal then
    return {}, false
  end
  local failures, steps, standing = named.settle(op, journal)
  local anonymous = name:sub(1, 1) == "."
  if #failures > 0 then
    journal:close()
  elseif journal.state.damaged > 0 then
    failures[1] = require("nsbox.error").new { op = op, subject = journal.path, code = "EBADMSG",
      detail = ("%d of its lines make no sense"):format(journal.state.damaged),
      hint = #standing > 0 and ("nsbox.scope.remove(\"%s\") removes what can be read"):format(name)
        or "what could be read was undone; the file was put aside, with the name .damaged" }
    if #standing > 0 then
      journal:close()
    else
      journal:set_aside()
    end
  elseif #standing == 0 then
    journal:remove()
  else
    journal:close()
  end
  return failures, anonymous or steps > 0
end

local function recover(op)
  local failures, count = {}, 0
  for _, name in ipairs(journals.names(op)) do
    local ok, some, worth = pcall(recover_one, op, name)
    if not ok then
      failures[#failures + 1] = some
    else
      table.move(some, 1, #some, #failures + 1, failures)
      count = count + (worth and 1 or 0)
    end
  end
  return count, failures
end

--- Undoes what scopes left whose owners were killed.
-- @treturn integer how many scopes
-- @raise an Error with the failures in `undo`
function M.recover()
  local count, failures = recover "scope.recover"
  if #failures > 0 then
    require("nsbox.error").raise { op = "scope.recover", undo = failures,
      detail = ("%d scopes recovered, not all of it"):format(count) }
  end
  return count
end

--- The same, on the way to something else: what fails here stays for `recover`.
-- @tparam string op the verb that asks, for an Error
function M.recover_quietly(op)
  recover(op)
end

local function state_of(state)
  if state.version ~= record.VERSION then
    return state.version and "another version" or "damaged"
  elseif state.busy then
    return "running"
  end
  local crashed = false
  for _, step in ipairs(state.steps) do
    if not step.over and undo.is_elsewhere(step) then
      return "elsewhere"
    end
    crashed = crashed or not step.over and not step.stands
  end
  if crashed then
    return "crashed"
  end
  return state.damaged > 0 and "damaged" or state.committed and "committed" or "crashed"
end

---@class nsbox.ScopeRecord
---@field name string
---@field anonymous boolean
---@field state string "running", "committed", "crashed", "damaged", "elsewhere" (it has
---  processes of another pid namespace), "another version"
---@field pid? integer of the last run
---@field parts table[] `{ verb, name, steps }`
local Record = { __name = "nsbox.scoperecord" }

function Record.__tostring(r)
  return ("scope %s (%s%s): %d part%s"):format(r.anonymous and "without a name" or '"' .. r.name
    .. '"', r.state, r.pid and (", pid %d"):format(r.pid) or "", #r.parts,
    #r.parts == 1 and "" or "s")
end

local function record_of(name, state)
  local steps = {}
  for _, step in ipairs(state.steps) do
    if not step.over then
      steps[#steps + 1] = step
    end
  end
  local what = state_of(state)
  return setmetatable({ name = name, anonymous = name:sub(1, 1) == ".", state = what,
    pid = (what == "running" or what == "crashed") and state.pid or nil,
    parts = named.group(steps) }, Record)
end

--- All scopes of this user that have something on the machine.
-- @treturn nsbox.ScopeRecord[]
function M.list()
  local out = {}
  for _, name in ipairs(journals.names "scope.list") do
    local state = journals.peek("scope.list", name)
    if state then
      out[#out + 1] = record_of(name, state)
    end
  end
  return out
end

-- a name as `list` has it: also of a scope without one
local function check_name(op, name)
  local checked, message = named.check_name(name)
  if not checked and not (type(name) == "string" and name:find "^%.%d+%-%d+$") then
    require("nsbox.mistake").raise(op .. ": " .. message, 3)
  end
end

--- What a scope has on the machine, for people.
-- @tparam string name as `list` has it
-- @treturn string
function M.show(name)
  check_name("scope.show", name)
  local state = journals.peek("scope.show", name)
  if not state then
    named.missing("scope.show", name)
  end
  local scope = record_of(name, state)
  local lines = { tostring(scope) }
  for _, part in ipairs(scope.parts) do
    for i, step in ipairs(part.steps) do
      local head = i == 1 and ("  %s %s"):format(part.verb, part.name or "") or ""
      lines[#lines + 1] = ("%-24s %s%s"):format(head, undo.describe(step),
        undo.there(step) and "" or " (gone)")
    end
  end
  return table.concat(lines, "\n")
end

--- Removes a scope with everything that it has.
-- @tparam string name as `list` has it
-- @raise an Error: ENOENT, ETIMEDOUT when another run has it, or what could not
--   be undone, in `undo`
function M.remove(name)
  check_name("scope.remove", name)
  local journal = named.take("scope.remove", name, PATIENCE)
  if not journal then
    named.missing("scope.remove", name)
  end
  local failures, _, standing = named.settle("scope.remove", journal)
  local more = undo.run(standing, { whole = true })
  table.move(more, 1, #more, #failures + 1, failures)
  if #failures == 0 then
    journal:remove()
    return
  end
  journal:close()
  require("nsbox.error").raise { op = "scope.remove", subject = name, undo = failures,
    detail = "not everything could be undone" }
end

return M

--- A part: what one verb of a scope made, step by step.
--
-- A step is one thing done to the machine. What is planned is written to the
-- scope's journal before it is done, what became of it after: `part:step` is
-- the only way in which a verb changes the machine. A step whose thing ends
-- with this process, whatever ends it, needs no journal (`durable = false`).
--
-- @internal nsbox.part

local record = require "nsbox.record"
local undo = require "nsbox.undo"

---@class nsbox.Part
---@field scope nsbox.Scope
---@field verb string
---@field name? string what the verb made, as its first argument calls it
---@field steps nsbox.Step[]
---@field object? any what the verb returned
local Part = {}
Part.__index = Part

local M = {}

--- Whether an Error says that the kernel's answer did not arrive: then nobody knows
-- whether it did what it was asked for, see netlink(7).
-- @param err anything
-- @treturn boolean
function M.lost(err)
  return require("nsbox.error").is(err) and err.code == "ENOBUFS"
end

--- Makes an empty one.
-- @tparam nsbox.Scope scope
-- @tparam string verb
-- @treturn nsbox.Part
function M.new(scope, verb)
  return setmetatable({ scope = scope, verb = verb, steps = {} }, Part)
end

--- Does one thing to the machine, so that it can be undone.
-- @tparam string kind a module of `nsbox.undo`
-- @tparam table plan what is going to be there: strings, numbers, booleans;
--   `durable = false`: it ends with this process
-- @tparam function act does it, given the step; returns fields that tell what
--   was made, and values for the caller. When it raises what comes from elsewhere, as
--   Ctrl-C does, or an Error that is `lost`, what is there of the plan is undone with the
--   part; another Error says that nothing was done: what has that name may be somebody else's
-- @return the values after the fields
function Part:step(kind, plan, act)
  local step, journal = self:_plan(kind, plan)
  if journal then
    journal:write(self.verb, "do", step.n, step)
  end
  self.steps[#self.steps + 1] = step
  return self:_did(step, journal, pcall(act, step))
end

--- Where the verb works, made ready: an island, or `nsbox.here`.
-- @treturn table
function Part:ground()
  return self.scope:_land(self.verb)
end

--- What a form of `netns` means where the verb works.
-- @param netns any form; nil: there
-- @return a form that means the same from everywhere
function Part:place(netns)
  return self:ground():place(require("nsbox.place").meant(netns))
end

local function remove(list, value)
  for i = #list, 1, -1 do
    if list[i] == value then
      table.remove(list, i)
    end
  end
end

-- a plan becomes a step; the journal that it is to be written to
function Part:_plan(kind, step)
  undo.load(kind)
  local island = self.scope._island
  if island and step.path and island:has(step.path) then
    step._inside = island
  end
  if step._inside then -- it ends with that
    step.durable = false
  end
  local journal = step.durable ~= false and self.scope:_writes(self.verb) or nil
  step.kind, step.verb, step.name, step.durable = kind, self.verb, self.name, nil
  if journal then
    self.number = self.number or journal:part()
    step.n, step.part, step.spec = journal:number(), self.number, self.spec
    step._journaled = true
  end
  return step, journal
end

local function write_lines(op, journal, lines)
  if journal and #lines > 0 then
    journal:write_text(op, table.concat(lines))
  end
end

--- Does several things at once, of one part or of several of a scope: what is planned
-- is in the journal before any of it is done.
-- @tparam table[] items `{ part, kind, plan }`, see `Part:step`
-- @tparam function act does them, given the steps: a list, for each step the
--   fields that tell what was made (none: nobody knows whether it was), or false when it
--   was not done; and what is to be raised then. See `Part:step` for what happens when it
--   raises
function M.steps(items, act)
  local steps, lines, journal = {}, {}, nil
  local op = items[1][1].verb
  for i, item in ipairs(items) do
    local written
    steps[i], written = item[1]:_plan(item[2], item[3])
    if written then
      journal, lines[#lines + 1] = written, record.line("do", steps[i].n, steps[i])
    end
  end
  write_lines(op, journal, lines)
  for i, item in ipairs(items) do
    table.insert(item[1].steps, steps[i])
  end
  local outcome, err = act(steps)
  lines = {}
  for i, item in ipairs(items) do
    local step, fields = steps[i], outcome[i]
    for name, value in next, fields or {} do
      step[name] = value
    end
    if not fields then
      step.over = true
      remove(item[1].steps, step)
    end
    if step._journaled and not (fields and next(fields) == nil) then
      lines[#lines + 1] = record.line(fields and "did" or "undone", step.n, fields or nil)
    end
  end
  write_lines(op, journal, lines)
  if err then
    error(err, 0)
  end
end

function Part:_did(step, journal, ok, fields, ...)
  if not ok then
    if require("nsbox.error").is(fields) and not M.lost(fields) then
      step.over = true
      self:note "undone"
      remove(self.steps, step)
    end
    error(fields, 0)
  end
  for name, value in next, fields do
    step[name] = value
  end
  if journal and next(fields) then -- what was planned is done, else there is an error
    journal:write(self.verb, "did", step.n, fields)
  end
  return ...
end

--- Whether a named scope has this already, made by an earlier run and committed.
-- @tparam string name
-- @tparam table o the checked options: others are another thing
-- @tparam ?function fits whether these steps are what is meant today: a name may be that
--   of another namespace now
-- @treturn boolean
-- @raise an Error, EEXIST: it is there, with other options
function Part:stands(name, o, fits)
  self.name = name
  local named = self.scope._named
  if not named then
    return false
  end
  self.standing, self.spec = named:find(self.verb, name, o, fits)
  return self.standing ~= nil
end

local function has_new_net(box)
  for _, kind in ipairs(box._plan.new or {}) do
    if kind == "net" then
      return true
    end
  end
  return false
end

--- Whether this scope made a network namespace: what is in there goes with it, and needs no step.
-- @tparam nsbox.NetPlace place
-- @treturn boolean
function Part:made(place)
  for _, part in ipairs(self.scope._parts) do
    local made = part.object
    if made and part.verb == "box" and not made._result and has_new_net(made)
      and made.ns.net.inode == place.inode then
      return true
    end
    for _, step in ipairs(part.standing and part.standing.steps or part.steps) do
      if step.kind == "pin" and step.nskind == "net" and not step.over
        and step.inode == place.inode and step.cookie == place.cookie then
        return true
      end
    end
  end
  return false
end

--- Says that it is of no use without another part: who keeps it keeps that, too.
-- @tparam nsbox.Part other
function Part:need(other)
  self.needs = self.needs or {}
  self.needs[#self.needs + 1] = other
end

--- Undoes all steps.
-- @treturn nsbox.Error[] what is left
function Part:undo()
  local failures = undo.run(self.steps)
  self:note "undone"
  return failures
end

--- Writes to the journal that the steps are over.
-- @tparam string word "undone" or "kept"
function Part:note(word)
  for _, step in ipairs(self.steps) do
    step.over = step.over or word == "kept"
    if step.over and step._journaled then
      step._journaled = nil
      local ok, err = pcall(function()
        self.scope:_writes(self.verb):write(self.verb, word, step.n)
      end)
      -- what is gone may be undone again; what is kept may not
      if not ok and word == "kept" then
        error(err, 0)
      end
    end
  end
end

--- Whether the scope still has it: it is open, and this process is the one that made it.
-- @treturn boolean
function Part:in_force()
  local scope = self.scope
  return not scope._closed and not self.over and scope:_is_ours()
end

--- Undoes what the verb made, and takes it off the scope.
function Part:close()
  if not self:in_force() then
    return
  end
  if self.standing then -- a commit decides
    self.standing.declared = false
  end
  local failures = self:undo()
  if #failures > 0 then
    require("nsbox.error").raise { op = self.verb .. ".close", subject = self.name,
      undo = failures, detail = "it could not be undone" }
  end
  self.over = true
  self.scope:_drop(self)
end

--- Takes it off the scope as it is: nothing undoes it any more.
function Part:release()
  if not self:in_force() then
    return
  end
  if self.standing then -- with the next commit
    self.standing.released = true
  end
  for _, step in ipairs(self.steps) do
    undo.keep(step)
  end
  self:note "kept"
  self.over = true
  self.scope:_drop(self)
  for _, other in ipairs(self.needs or {}) do
    other:release()
  end
end

return M

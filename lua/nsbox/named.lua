--- Named scopes: what one run commits, the next one finds.
--
-- The journal of a named scope stays. What was done since the last commit is
-- undone when the run ends, or by whoever comes after a crash; what was
-- committed stands until a commit drops it, or the scope is removed.
--
-- @internal nsbox.named

local opts = require "nsbox.opts"
local undo = require "nsbox.undo"
local journals = require "nsbox.journal"
local record = require "nsbox.record"

local PATIENCE <const> = 10 -- seconds

local M = {}

---@class nsbox.Named  what a scope has because it has a name
---@field name string
---@field prune boolean
---@field timeout number
---@field standing table[] what earlier runs committed: `{ verb, name, spec, steps, declared }`
---@field remnants table[] of these, what was there only in part: a commit forgets it
local Named = {}
Named.__index = Named

--- Checks the name of a scope, as a type for `nsbox.opts`.
-- @tparam string value
-- @treturn ?string
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.check_name(value)
  if type(value) ~= "string" then
    return nil, require("nsbox.mistake").expected("a name", value)
  elseif not value:find "^[%w_][%w_.-]*$" or #value > 64 then
    return nil, ("'%s' is no name for a scope: letters, digits, '_', then also '-' and '.', "
      .. "64 at most"):format(value:sub(1, 80):gsub("%c", "?"))
  end
  return value
end

-- the same options make the same text
local function canonical(value)
  if type(value) ~= "table" then
    return type(value) == "string" and ("%q"):format(value) or tostring(value)
  end
  local keys, out = {}, {}
  for key in next, value do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b)
    return tostring(a) < tostring(b)
  end)
  for i, key in ipairs(keys) do
    out[i] = tostring(key) .. "=" .. canonical(value[key])
  end
  return "{" .. table.concat(out, ",") .. "}"
end

-- undoes steps of a journal that nobody else has, and notes it there
local function undo_steps(op, journal, steps, whole)
  local failures = undo.run(steps, { whole = whole })
  for _, step in ipairs(steps) do
    if step.over then
      -- where there is no room for it, it is undone again: what is gone is undone
      pcall(journal.write, journal, op, "undone", step.n)
    end
  end
  return failures
end

--- Brings a journal without an owner to its last commit.
-- @tparam string op the verb that asks, for an Error
-- @tparam nsbox.Journal journal
-- @treturn nsbox.Error[] what could not be undone
-- @treturn integer how many steps there were to undo
-- @treturn nsbox.Step[] the steps that stand
function M.settle(op, journal)
  local state = journal.state
  if state.version and state.version ~= record.VERSION then
    return { require("nsbox.error").new { op = op, subject = journal.path, code = "EINVAL",
      detail = ("it was written by another version of nsbox (%d, this one reads %d)")
        :format(state.version, record.VERSION), hint = "use that version to remove the scope" } },
      0, {}
  end
  local over, standing, whole = {}, {}, true
  for _, step in ipairs(state.steps) do
    if not step.over then
      local list = step.stands and standing or over
      list[#list + 1] = step
      -- what was committed with it has the same mark, and may stand
      whole = whole and not step.doomed
    end
  end
  return undo_steps(op, journal, over, whole), #over, standing
end

-- steps -> what each verb made
local function group(steps)
  local parts, by_number = {}, {}
  for _, step in ipairs(steps) do
    local part = by_number[step.part]
    if not part then
      part = { verb = step.verb, name = step.name, spec = step.spec, steps = {} }
      by_number[step.part] = part
      parts[#parts + 1] = part
    end
    part.steps[#part.steps + 1] = step
  end
  return parts
end

M.group = group

-- who has it for so long
local function locked(op, name, state, timeout)
  local process = require "nsbox.sys.process"
  local pid = state and not state.elsewhere and state.pid
  local who, hint = "another run has this scope", false
  if pid == process.getpid() then
    who = "this script has it open itself"
    hint = "go on with that object, or close() it before the next one is opened"
  elseif pid then
    local owner <close> = process.open(pid)
    who = ("another run (pid %d) has this scope"):format(pid)
    if not owner then
      who = ("its script (pid %d) has ended, but a process that it forked holds its lock")
        :format(pid)
      hint = ("fuser -v %s/%s.journal shows which"):format(require("nsbox.rundir").path(), name)
    end
  end
  require("nsbox.error").raise { op = op, subject = name, code = "ETIMEDOUT", hint = hint,
    detail = ("%s, for more than %g s"):format(who, timeout) }
end

--- Takes the journal of a name, waiting for others.
-- @tparam string op the verb that asks, for an Error
-- @tparam string name
-- @tparam number timeout seconds
-- @tparam ?boolean create make one where there is none
-- @treturn ?nsbox.Journal nil: there is none
function M.take(op, name, timeout, create)
  local journal = require("nsbox.lock").wait(function()
    local got, why = journals.open(op, name)
    if why ~= "gone" then
      return got
    elseif create then
      return journals.create(op, name)
    end
    return false
  end, timeout)
  if journal == nil then
    locked(op, name, journals.peek(op, name), timeout)
  end
  return journal or nil
end

--- Locks the scope, and brings it to its last commit; again: nothing.
-- @tparam nsbox.Scope scope
-- @tparam string op the verb that asks, for an Error
function Named:lock(scope, op)
  if scope._journal then
    return
  end
  local journal = M.take(op, self.name, self.timeout, self.create)
  if not journal then
    M.missing(op, self.name)
  end
  local failures, _, standing = M.settle(op, journal)
  if #failures > 0 then
    journal:close()
    require("nsbox.error").raise { op = op, subject = self.name, undo = failures,
      detail = "what an earlier run left could not be undone" }
  end
  journal:begin(op)
  self.standing = group(standing)
  scope:_own(journal)
end

--- Raises that there is no such scope.
-- @tparam string op
-- @tparam string name
function M.missing(op, name)
  require("nsbox.error").raise { op = op, subject = name, code = "ENOENT",
    detail = "there is no scope of this name",
    hint = (M.check_name(name) and "nsbox.scope { \"" .. name .. "\" } makes one; " or "")
      .. "nsbox.scope.list() has all" }
end

--- What an earlier run made and committed.
-- What is there only in part, or is not what is meant any more, is undone, so that it can be
-- made again.
-- @tparam string verb
-- @tparam string name
-- @tparam table o the checked options
-- @tparam ?function fits whether these steps are what is meant today
-- @treturn ?table one of `standing`
-- @treturn string the options, to be kept with the steps
-- @raise an Error, EEXIST: it is there, with other options
function Named:find(verb, name, o, fits)
  local spec = canonical(o)
  for i, part in ipairs(self.standing) do
    if part.verb == verb and part.name == name and not part.declared then
      local whole = not fits or fits(part.steps)
      for _, step in ipairs(part.steps) do
        whole = whole and undo.there(step)
      end
      if not whole then
        table.remove(self.standing, i)
        table.insert(self.remnants, part)
        undo.run(part.steps)
        return self:find(verb, name, o, fits)
      elseif part.spec ~= spec then
        require("nsbox.error").raise { op = verb, subject = name, code = "EEXIST",
          detail = "the scope has it already, with other options",
          hint = "nsbox.scope.remove(\"" .. self.name .. "\") removes the whole scope" }
      end
      part.declared = true
      return part, spec
    end
  end
  return nil, spec
end

--- Whether something stands, or stood and could not be removed.
-- @treturn boolean
function Named:keeps()
  return #self.standing + #self.remnants > 0 or self.failed or false
end

local function steps_of(parts)
  local steps = {}
  for _, part in ipairs(parts) do
    table.move(part.steps, 1, #part.steps, #steps + 1, steps)
  end
  return steps
end

--- Keeps what this run made, and removes what it did not declare.
-- @tparam nsbox.Scope scope
function Named:commit(scope)
  for _, part in ipairs(scope._parts) do
    if part.verb == "box" then
      require("nsbox.error").raise { op = "commit", subject = part.name or "box",
        code = "EOPNOTSUPP", detail = "a box ends with its script, and cannot be committed",
        hint = "close() or release() it before commit()" }
    end
  end
  self:lock(scope, "commit")
  local stay, go, released, drop = {}, { table.unpack(self.remnants) }, {}, {}
  for _, part in ipairs(self.standing) do
    local list = part.released and released
      or (part.declared or not self.prune and part.declared == nil) and stay or go
    list[#list + 1] = part
  end
  local steps = steps_of(go)
  for i, step in ipairs(steps) do
    drop[i] = step.n
  end
  -- one line: all of it or nothing; from here on there is no way back
  local journal = scope._journal
  journal:write("commit", "commit", 0, { drop = table.concat(drop, " ") })
  for _, part in ipairs(scope._parts) do
    if not part.standing and #part.steps > 0 then
      stay[#stay + 1] = { verb = part.verb, name = part.name, spec = part.spec,
        steps = part.steps, declared = true }
      part.standing, part.steps = stay[#stay], {}
    end
  end
  self.standing, self.remnants, scope._mark = stay, {}, nil
  for _, step in ipairs(steps_of(released)) do
    undo.keep(step)
    journal:write("commit", "kept", step.n)
  end
  local failures = undo_steps("commit", journal, steps)
  if #failures > 0 then
    self.failed = true
    require("nsbox.error").raise { op = "commit", subject = self.name, undo = failures,
      detail = "the scope stands, but what it does not have any more could not be removed" }
  end
  journal:compact(steps_of(stay))
end

local schema = opts.schema("scope", {
  { M.check_name, alone = true, doc = "the name of the scope" },
  timeout = { "duration", doc = "how long to wait for another run (10)" },
  prune = { "boolean", doc = "a commit removes what was not declared (true)" },
  pool = { opts.by "nsbox.pool",
    doc = "subnets for bridges without an address: \"10.20.0.0/16\", or all of one size in "
    .. "it, { \"10.0.0.0/8\", size = 24 }; one or a list" },
  uplink = { opts.by "nsbox.uplink", none = true,
    doc = "how an island reaches the world: \"pasta\", \"slirp4netns\", false" },
  private = { "boolean", doc = "an island of its own; absent: without the privilege" },
})

--- Checks the options of a scope.
-- @tparam table|string o
-- @tparam integer level whose line to blame
-- @treturn table
function M.options(o, level)
  o = schema:check(o, level + 1)
  if o[1] and o.private then
    require("nsbox.mistake").raise("scope: an island ends with its script, and what has a name "
      .. "stays: private = true is for a scope without one", level + 1)
  elseif o.uplink and (o[1] or o.private == false) then
    require("nsbox.mistake").raise("scope: uplink: only an island has one", level + 1)
  end
  for _, option in ipairs { "timeout", "prune" } do
    if not o[1] and o[option] ~= nil then
      require("nsbox.mistake").raise(("scope: %s: of a scope with a name, nsbox.scope { \"name\" };"
        .. " one without shares nothing, and keeps nothing"):format(option), level + 1)
    end
  end
  return o
end

--- Declares the whole of a named scope.
-- @tparam table o checked options, with a name
-- @treturn nsbox.Scope
function M.declare(o)
  require("nsbox.scopes").recover_quietly "scope"
  local named = setmetatable({ name = o[1], prune = o.prune ~= false,
    timeout = o.timeout or PATIENCE, create = true, standing = {}, remnants = {} }, Named)
  local scope = require("nsbox.scope").new { name = o[1], _named = named, _pool = o.pool }
  named:lock(scope, "scope")
  return scope
end

--- Opens a named scope to add to it.
-- @tparam string name
-- @treturn nsbox.Scope
function M.open(name)
  local wrong = select(2, M.check_name(name))
  if wrong then
    require("nsbox.mistake").raise("scope.open: " .. wrong, 2)
  end
  require("nsbox.scopes").recover_quietly "scope.open"
  if not journals.peek("scope.open", name) then
    M.missing("scope.open", name)
  end
  local named = setmetatable({ name = name, prune = false, timeout = PATIENCE,
    standing = {}, remnants = {} }, Named)
  return require("nsbox.scope").new { name = name, _named = named }
end

return M

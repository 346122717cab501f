--- Undoing steps, by what was recorded of them.
--
-- Never by a live handle: the same code undoes what this script did, what one
-- did that was killed, and what was committed by another. A step says what was
-- planned and, when it is known to have been done, what it became; each kind
-- has a module below `nsbox.undo` that finds the thing again and makes sure
-- that it is the one that is meant. What is gone already is undone; where one step of
-- a part is left, the later kinds of that part are left, too.
--
-- A module has `phase` (kinds of a lower one go first: what was borrowed, then
-- processes, then names of namespaces, then links, then files),
-- `undo(steps, fail, whole)`, which gets all steps of its kind at once, last done
-- first, and calls `fail(step, error)` for each that is left, or `fail(step,
-- error, true)` when nothing can be left of it but the news (whole: nothing else
-- carries the marks of these steps);
-- `there(step)`, and `describe(step)`. A kind whose things outlive a reboot has
-- `lasts`, one whose steps name processes `pids`; one that marks its things has
-- `keep(step)`, which takes the mark away.
--
-- @internal nsbox.undo

local M = {}

local function module_of(kind)
  return require("nsbox.undo." .. kind)
end

-- a newer nsbox may have done it
local function known(kind)
  return (pcall(module_of, kind))
end

--- Loads what undoing this kind takes: at the end of a Lua state it is too late.
-- @tparam string kind
-- @function load
M.load = module_of

-- why a step cannot be undone from here; nil: it can be
local function refusal(step)
  if not known(step.kind) then
    return { code = "EOPNOTSUPP", hint = false,
      detail = ("this version of nsbox cannot undo a %s"):format(step.kind) }
  elseif step._elsewhere and module_of(step.kind).pids and not step._other_boot then
    return { code = "EXDEV", detail = "it is a process of another pid namespace, whose numbers "
      .. "mean others here", hint = "recover it there; if that is gone, so is the process: remove "
      .. "the journal, a file in " .. require("nsbox.rundir").path() }
  end
end

--- Whether a step names a process by a number that means another one here.
-- @tparam nsbox.Step step
-- @treturn boolean
function M.is_elsewhere(step)
  return step._elsewhere and known(step.kind) and module_of(step.kind).pids or false
end

local function by_kind(steps)
  local kinds, lists = {}, {}
  for i = #steps, 1, -1 do
    local step = steps[i]
    if not step.over then
      local list = lists[step.kind]
      if not list then
        list = {}
        lists[step.kind] = list
        kinds[#kinds + 1] = step.kind
      end
      list[#list + 1] = step
    end
  end
  table.sort(kinds, function(a, b)
    local x, y = module_of(a).phase, module_of(b).phase
    return x < y or x == y and a < b
  end)
  return kinds, lists
end

--- Undoes steps, in one go; each that was undone has `over` then.
-- @tparam nsbox.Step[] steps in the order in which they were done
-- @tparam[opt] table how `whole`: all that a run did is among them
-- @treturn nsbox.Error[] what could not be undone; empty: nothing is left
function M.run(steps, how)
  local failures, left, stuck, able = {}, {}, {}, {}
  local function fail(step, err, over)
    left[step] = not over
    stuck[step.part or step] = stuck[step.part or step] or not over
    failures[#failures + 1] = err
  end
  for _, step in ipairs(steps) do
    local why = not step.over and refusal(step)
    if why then
      why.op, why.subject = "undo", step.name or M.describe(step)
      fail(step, require("nsbox.error").new(why))
    elseif not step.over then
      able[#able + 1] = step
    end
  end
  local kinds, lists = by_kind(able)
  for _, kind in ipairs(kinds) do
    local module, list = module_of(kind), {}
    for _, step in ipairs(lists[kind]) do
      -- the file below a namespace's name that is still mounted has to wait for the next time
      if stuck[step.part or step] then
        left[step] = true
      elseif module.lasts or not step._other_boot then
        list[#list + 1] = step
      end
    end
    if #list > 0 then
      local ok, err = pcall(module.undo, list, fail, how and how.whole)
      if not ok then -- it may have stopped in the middle
        failures[#failures + 1] = err
        for _, step in ipairs(list) do
          left[step], stuck[step.part or step] = true, true
        end
      end
    end
    for _, step in ipairs(lists[kind]) do
      step.over = not left[step]
    end
  end
  return failures
end

--- Whether what a step made is still there, or cannot be looked at.
-- @tparam nsbox.Step step
-- @treturn boolean
function M.there(step)
  local ok, there = pcall(function()
    local module = module_of(step.kind)
    return (module.lasts or not step._other_boot) and module.there(step)
  end)
  return not ok or there and true or false
end

--- Takes the mark away from what a step made: it is kept, and ours no more.
-- @tparam nsbox.Step step
function M.keep(step)
  local keep = module_of(step.kind).keep
  if keep then
    keep(step)
  end
end

--- A step in a few words.
-- @tparam nsbox.Step step
-- @treturn string
function M.describe(step)
  return known(step.kind) and module_of(step.kind).describe(step)
    or "something that this version of nsbox does not know: " .. step.kind
end

--- An Error of an undo.
-- @tparam string subject
-- @tparam string message
-- @tparam integer errno
-- @treturn nsbox.Error
function M.failure(subject, message, errno)
  return require("nsbox.error").new { op = "undo", subject = subject, detail = message,
    errno = errno }
end

return M

--- `scope:batch`: verbs that are queued and sent together, all or nothing.
--
-- Cards and pairs wait for the end of the function; boxes, namespaces and
-- bridges, which those need, are made at once.
--
-- @module nsbox.batch

local undo = require "nsbox.undo"

local MOST <const> = 5 -- failures in a message

local M = {}

local function has_links(scope)
  for _, part in ipairs(scope._parts) do
    for _, step in ipairs(part.steps) do
      if step.kind == "link" then
        return true
      end
    end
  end
end

local function new_parts(scope, before)
  local list = {}
  for _, part in ipairs(scope._parts) do
    list[#list + 1] = not before[part] and part or nil
  end
  return list
end

-- undoes what the batch did; what is left stays with the scope
local function take_back(scope, before)
  local parts, steps = new_parts(scope, before), {}
  for _, part in ipairs(parts) do
    table.move(part.steps, 1, #part.steps, #steps + 1, steps)
    part.over = #part.steps == 0 -- a pair that waits is not made any more
  end
  -- the links of a batch have a mark that no others have
  local failures = undo.run(steps, { whole = true })
  for i = #parts, 1, -1 do
    local part, clean = parts[i], true
    local object = part.object
    if object and object._settle then
      pcall(object._settle, object)
    elseif object and part.verb == "attach" then
      object:_unlist()
    end
    part:note "undone"
    for _, step in ipairs(part.steps) do
      clean = clean and step.over
    end
    if clean then
      part.over = true
      scope:_drop(part)
    end
  end
  return failures
end

local function summary(failures, count)
  local lines = {}
  for i = 1, math.min(#failures, MOST) do
    -- the code is said once
    lines[i] = tostring(failures[i]):match "^[^\n]*":gsub(" %(" .. failures[1].code .. "%)$", "")
  end
  if #failures > MOST then
    lines[#lines + 1] = ("and %d more"):format(#failures - MOST)
  end
  return require("nsbox.error").new { op = "batch", code = failures[1].code,
    errno = failures[1].errno, hint = failures[1].hint or false, failures = failures,
    detail = ("%d of %d failed, and all of it was undone: %s"):format(#failures, count,
      table.concat(lines, "; ")) }
end

--- Runs a function whose verbs are sent together.
-- @tparam nsbox.Scope scope
-- @tparam function f
-- @tparam integer level whose line to blame
-- @return f's values
-- @raise an Error with `failures`, a list
function M.run(scope, f, level)
  local before = {}
  for _, part in ipairs(scope._parts) do
    before[part] = true
  end
  if has_links(scope) then
    scope._mark = nil
  end
  -- others of the scope have to wait while this coroutine does
  local queued = { thread = coroutine.running() }
  scope._batch = queued
  local _ <close> = setmetatable({}, { __close = function()
    if scope._batch == queued then -- the coroutine was closed where it waited
      scope._batch = nil
      take_back(scope, before)
      scope._mark = nil
    end
  end })
  local results = table.pack(pcall(f))
  scope._batch = nil
  if results[1] and scope._closed then
    require("nsbox.mistake").raise("batch: the scope was closed before its end", level + 1)
  end
  local list = {}
  for _, pair in ipairs(queued) do
    list[#list + 1] = not pair.part.over and pair or nil
  end
  local err = not results[1] and results[2]
  local publications = {}
  for _, it in ipairs(queued.publications or {}) do
    publications[#publications + 1] = not it.part.over and it or nil
  end
  if results[1] and #list + #publications > 0 then
    local failures = require("nsbox.pair").run(list, publications)
    err = #failures > 0 and summary(failures, #list)
  end
  if results[1] and not err then
    return table.unpack(results, 2, results.n)
  end
  local left = take_back(scope, before)
  scope._mark = nil
  if #left > 0 and require("nsbox.error").is(err) then
    err.undo = left
  end
  error(err, 0)
end

return M

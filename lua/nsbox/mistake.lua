--- The words for mistakes in option tables; loaded when there is one.
--
-- @internal nsbox.mistake

local M = {}

--- What is wrong with a list that has a nil in it, most often an unset variable.
M.HOLE = "has a hole (an element is nil)"

-- quoted, short, printable
local function show(value)
  if type(value) ~= "string" then
    return tostring(value)
  end
  if #value > 40 then
    value = value:sub(1, 37) .. "..."
  end
  return "'" .. value:gsub("%c", function(c)
    return ("\\%d"):format(c:byte())
  end) .. "'"
end

local function a_type(value)
  local name = math.type(value) and "number" or type(value)
  if value == nil then
    return "nothing"
  elseif name == "boolean" then
    return tostring(value)
  end
  local meta = name == "userdata" and getmetatable(value)
  name = type(meta) == "table" and meta.__name or name
  return (name:match("^[aeiou]") and "an " or "a ") .. name
end

-- length of the longest common subsequence
local function common(a, b)
  local above = {}
  for j = 0, #b do
    above[j] = 0
  end
  for i = 1, #a do
    local row = { [0] = 0 }
    for j = 1, #b do
      if a:byte(i) == b:byte(j) then
        row[j] = above[j - 1] + 1
      else
        row[j] = math.max(above[j], row[j - 1])
      end
    end
    above = row
  end
  return above[#b]
end

--- The nearest of the known names, if one is near.
-- @tparam string name
-- @tparam table known a set: its string keys are the names
-- @treturn ?string
function M.suggest(name, known)
  local best, best_score = nil, 0.6
  local folded = name:lower()
  local names = {}
  for candidate in pairs(known) do
    if type(candidate) == "string" then
      names[#names + 1] = candidate
    end
  end
  table.sort(names)
  for _, candidate in ipairs(names) do
    local score = 2 * common(folded, candidate:lower()) / (#name + #candidate)
    if score > best_score or score == 0.6 and not best then
      best, best_score = candidate, score
    end
  end
  return best
end

--- A value of another type than expected.
-- @tparam string what "a string"
-- @param value
-- @treturn string
function M.expected(what, value)
  return ("expected %s, got %s"):format(what, a_type(value))
end

--- A value of the right type that makes no sense.
-- @tparam string what was expected
-- @param value
-- @treturn string
function M.bad(what, value)
  return ("expected %s, got %s"):format(what, show(value))
end

--- A string that C would cut short.
-- @tparam string value
-- @treturn string
function M.nul(value)
  return ("%s contains a NUL byte"):format(show(value))
end

--- A string of too many bytes.
-- @tparam string value
-- @tparam integer max bytes
-- @treturn string
function M.too_long(value, max)
  return ("%s is too long (%d bytes, at most %d)"):format(show(value), #value, max)
end

--- A string of too few bytes.
-- @tparam string value
-- @tparam integer min bytes
-- @treturn string
function M.too_short(value, min)
  return value == "" and "is empty"
    or ("%s is too short (%d bytes, at least %d)"):format(show(value), #value, min)
end

--- A number beyond the `min` or `max` of its field.
-- @tparam number value
-- @tparam table field
-- @treturn string
function M.out_of_range(value, field)
  local low, high = field.min, field.max
  local range = low and high and ("between %s and %s"):format(low, high)
    or low and ("at least %s"):format(low) or ("at most %s"):format(high)
  return ("expected %s, got %s"):format(range, value)
end

--- A word that is none of the known ones.
-- @tparam string value
-- @tparam table known a set
-- @treturn string
function M.not_one_of(value, known)
  local names = {}
  for name in pairs(known) do
    names[#names + 1] = "'" .. name .. "'"
  end
  table.sort(names)
  local near = M.suggest(value, known)
  return ("expected one of %s, got %s%s"):format(table.concat(names, ", "), show(value),
    near and (" (did you mean '%s'?)"):format(near) or "")
end

--- A table with a named part where a list is wanted.
-- @param key one of its keys
-- @treturn string
function M.no_list(key)
  return ("expected a list, got a table with the key %s"):format(show(key))
end

-- where the modules of this library are: their chunks are named alike
local OURS <const> = debug.getinfo(1, "S").source:match "^(.*)mistake%.lua$"

--- Raises a mistake at the line that made it.
-- Like `error`, but where the level has no line of the script, as in
-- `nsbox.try(nsbox.run, …)` or after a tail call, the next caller that has one
-- is blamed.
-- @tparam string message
-- @tparam integer level as in `error`: 1 is the function that calls raise
function M.raise(message, level)
  local frame
  repeat
    level = level + 1
    frame = debug.getinfo(level, "Sl")
  until not frame or frame.currentline > 0
    and not (OURS and frame.source:sub(1, #OURS) == OURS)
  if frame then
    message = ("%s:%d: %s"):format(frame.short_src, frame.currentline, message)
  end
  error(message, 0)
end

--- Puts the name of the option before what is wrong with it.
-- @tparam string|integer key
-- @tparam string message as another function here made it
-- @treturn string
function M.in_field(key, message)
  if math.type(key) then
    return ("argument %s: %s"):format(key, message)
  elseif message:sub(1, 1) == "[" then
    local index, rest = message:match("^(%b[]) (.*)")
    return ("%s%s: %s"):format(key, index, rest)
  end
  return ("%s: %s"):format(key, message)
end

--- A key that is no option.
-- @param key
-- @tparam table known the fields of the schema
-- @treturn string
function M.unknown(key, known)
  if math.type(key) == "integer" then
    return ("argument %d: takes none"):format(key)
  elseif type(key) ~= "string" then
    return ("an option has a name, got %s as its key"):format(a_type(key))
  end
  local near = M.suggest(key, known)
  return ("unknown option %s%s"):format(show(key),
    near and (" (did you mean '%s'?)"):format(near) or "")
end

--- A second element where there is one thing.
-- @param value
-- @treturn string
function M.surplus(value)
  return ("argument 2: there is one thing only, got %s as well"):format(
    type(value) == "string" and show(value) or a_type(value))
end

--- What keeps a table from being a list, of which a part would be read else.
-- @tparam table given
-- @treturn ?string nil: it is one
function M.list(given)
  local count = 0
  for key in next, given do
    if math.type(key) ~= "integer" then
      return M.no_list(key)
    end
    count = count + 1
  end
  for i = 1, count do
    if given[i] == nil then
      return M.HOLE
    end
  end
end

--- An array part that is not numbered from 1 on.
-- @tparam table given
-- @tparam integer count of its number keys
-- @treturn string
function M.hole(given, count)
  for i = 1, count do
    if given[i] == nil then
      return ("argument %d is missing (it is nil)"):format(i)
    end
  end
  return "the arguments are not numbered from 1"
end

return M

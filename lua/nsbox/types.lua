--- The option types that a simple launch does without, lists and nested tables.
--
-- The second half of `nsbox.opts`, loaded when a field needs it. The types
-- with units are in `nsbox.units`.
--
-- @internal nsbox.types

local function mistake(name, ...)
  return nil, require("nsbox.mistake")[name](...)
end

local types = {}

function types.number(value, field)
  if type(value) ~= "number" then
    return mistake("expected", "a number", value)
  elseif value ~= value then
    return mistake("bad", "a number", value)
  elseif value < (field.min or -math.huge) or value > (field.max or math.huge) then
    return mistake("out_of_range", value, field)
  end
  return value
end

function types.integer(value, field)
  local integer = math.type(value) and math.tointeger(value)
  if not integer then
    return mistake(math.type(value) and "bad" or "expected", "an integer", value)
  end
  return types.number(integer, field)
end

types["function"] = function(value)
  if type(value) == "function" then
    return value
  end
  return mistake("expected", "a function", value)
end

function types.table(value)
  if type(value) == "table" then
    return value
  end
  return mistake("expected", "a table", value)
end

function types.any(value)
  return value
end

local function words(list)
  local set = {}
  for _, word in ipairs(list) do
    set[word] = true
  end
  return set
end

local function check_words(check, list)
  local known = words(list)
  return function(value, field)
    local checked, message = check(value, field)
    if checked ~= nil and not known[checked] then
      return mistake("not_one_of", checked, known)
    end
    return checked, message
  end
end

-- one element rather than a list of them: a plain value, an object, and, where
-- elements are option tables, a table with a named part
local function is_one(value, nested)
  if type(value) ~= "table" or getmetatable(value) then
    return true
  end
  for key in next, nested and value or {} do
    if type(key) == "string" then
      return true
    end
  end
  return false
end

local function check_list(check, nested)
  return function(value, field)
    if is_one(value, nested) then
      local checked, message = check(value, field)
      return checked ~= nil and { checked } or nil, message
    end
    local out, count = {}, 0
    for key, element in next, value do
      if math.type(key) ~= "integer" or key < 1 then
        return mistake("no_list", key)
      end
      local checked, message = check(element, field)
      if checked == nil then
        return nil, "[" .. key .. "] " .. message
      end
      out[key], count = checked, count + 1
    end
    if count ~= #out then
      return nil, require("nsbox.mistake").HOLE
    end
    return out
  end
end

local M = {}

--- Makes a check of one or a list, which becomes a list.
-- @function list
-- @tparam function check (value, field) → the value to use, or nil and what is wrong
-- @tparam boolean nested whether an element is itself a table of options
-- @treturn function of the same kind
M.list = check_list

--- Makes the check of a field.
-- @tparam table field `{ type, … }`, see `nsbox.opts`
-- @tparam ?function check for its type, where that is known already
-- @treturn function (value, field) → the value to use, or nil and what is wrong
function M.compile(field, check)
  local kind = field[1]
  local nested = type(kind) == "table"
  if nested then
    check = function(value)
      return kind:parse(value)
    end
  end
  check = check or types[kind] or require("nsbox.units")[kind]
    or error("no such option type: " .. tostring(kind), 0)
  if field.one_of then
    check = check_words(check, field.one_of)
  end
  return field.list and check_list(check, nested) or check
end

return M

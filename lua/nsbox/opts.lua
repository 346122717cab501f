--- Strict option tables: one schema checks, converts and documents.
--
--     local schema = opts.schema("box", {
--       { "arg", doc = "the program and its arguments" },   -- the array part
--       hostname = { "string", max = 64, doc = "UTS name" },
--       memory   = { "size", none = true, doc = "hard limit; false: none" },
--       bind     = { bind_schema, list = true },
--       lo       = "boolean",
--     })
--     function M.box(o)
--       o = schema:check(o, 2)   -- level 2: blame the caller's line
--
-- A field is the name of a type, or `{ type, … }` with these settings:
-- `none` (false is allowed, too), `list` (one or a list; becomes a list),
-- `max` and `min` (length of a string, size of a number), `one_of` (words),
-- `default`, `alone` (of `[1]`: no second one), `doc`. A type is a name (those
-- below, those in `nsbox.types`, and the ones with units in `nsbox.units`),
-- another schema, or a function that returns the value to use, or nil and what
-- was expected. `[1]` describes each
-- element of the array part; without it there may be none.
--
-- Checking is on the way of every launch: fields are compiled when they are
-- first used, and what a simple launch or a correct table does without is in
-- `nsbox.types` and `nsbox.mistake`.
--
-- @internal nsbox.opts

local type, next, math_type, find = type, next, math.type, string.find

local Schema = { __name = "nsbox.schema" }
Schema.__index = Schema

local function mistake(name, ...)
  return nil, require("nsbox.mistake")[name](...)
end

local function text(value, field)
  if type(value) ~= "string" then
    return mistake("expected", "a string", value)
  elseif find(value, "\0", 1, true) then
    return mistake("nul", value)
  elseif field.max and #value > field.max then
    return mistake("too_long", value, field.max)
  elseif field.min and #value < field.min then
    return mistake("too_short", value, field.min)
  end
  return value
end

local types = { string = text }

function types.boolean(value)
  if type(value) == "boolean" then
    return value
  end
  return mistake("expected", "true or false", value)
end

-- an argument of a program: a number is as good as its digits
function types.arg(value, field)
  return text(math_type(value) and tostring(value) or value, field)
end

function types.path(value, field)
  if value == "" then
    return nil, "expected a path, got an empty string"
  end
  return text(value, field)
end

-- a field -> function(value, field) → value, or nil and what is wrong with it
local function compile(field)
  local kind = field[1]
  local check = type(kind) == "function" and kind or types[kind]
  if not check or field.list or field.one_of then
    check = require("nsbox.types").compile(field, check)
  end
  if not field.none then
    return check
  end
  return function(value, settings)
    if value == false then
      return value
    end
    return check(value, settings)
  end
end

-- checks and settings are made of the fields when first asked for
local function lazy(fields)
  local checks, settings = {}, {}
  setmetatable(checks, { __index = function(_, key)
    local field = fields[key]
    if field == nil then
      return nil
    elseif type(field) ~= "table" or getmetatable(field) == Schema then
      field = { field }
    end
    checks[key], settings[key] = compile(field), field
    return checks[key]
  end })
  return checks, settings
end

--- Checks and converts a table of options.
-- @tparam table|string given the options; a string is `{ given }`
-- @treturn ?table a new table with the values to use, defaults filled in
-- @treturn[2] nil
-- @treturn[2] string what is wrong, naming the option
function Schema:parse(given)
  if type(given) ~= "table" then
    if type(given) ~= "string" then
      return mistake("expected", "a table of options", given)
    end
    given = { given }
  end
  local checks, settings, out, count = self.checks, self.settings, {}, 0
  local element = checks[1]
  for key, value in next, given do
    local check, field = element, 1
    if math_type(key) == "integer" then
      count = count + 1
    else
      check, field = checks[key], key
    end
    if not check then
      return mistake("unknown", key, self.fields)
    end
    local checked, message = check(value, settings[field])
    if checked == nil then
      return mistake("in_field", key, message)
    end
    out[key] = checked
  end
  if count > 0 and (out[count] == nil or out[1] == nil) then
    return mistake("hole", given, count)
  elseif count > 1 and settings[1].alone then
    return mistake("surplus", out[2])
  end
  for key, value in next, self.defaults do
    if out[key] == nil then
      out[key] = value
    end
  end
  return out
end

--- Checks and converts a table of options; a mistake raises a string.
-- @tparam table|string given the options; a string is `{ given }`
-- @tparam[opt=1] integer level whose line to blame, as in `error`: 1 is the
--   function that calls check, 2 the one that called that
-- @treturn table a new table with the values to use, defaults filled in
function Schema:check(given, level)
  local out, message = self:parse(given)
  if out then
    return out
  end
  require("nsbox.mistake").raise(self.name .. ": " .. message, (level or 1) + 1)
end

local M = {}

--- A type that another module checks, loaded when the option is first given.
-- @tparam string module `"nsbox.dns"`
-- @tparam[opt="check"] string name of its function
-- @treturn function
function M.by(module, name)
  return function(value)
    return require(module)[name or "check"](value)
  end
end

--- Makes a schema.
-- @tparam string name the verb, the first word of every message: `"run"`
-- @tparam table fields see above
-- @treturn table with `check`, `parse`, and `fields`, `name` for reading
function M.schema(name, fields)
  local defaults = {}
  for key, field in next, fields do
    if type(field) == "table" and field.default ~= nil then
      defaults[key] = field.default
    end
  end
  local checks, settings = lazy(fields)
  return setmetatable({ name = name, fields = fields, defaults = defaults, checks = checks,
                        settings = settings }, Schema)
end

return M

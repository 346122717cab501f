--- The lines of a journal: what they look like, and what they say together.
--
-- A line is a word, a number and fields, separated by tabs, each field
-- `name=value`; "%", control characters, and the first character of a text that
-- would be read as a number or a boolean, are written as %XX. The words:
--
--     nsbox    VERSION name= time=          the first line
--     run      0 pid= pidns= boot=          who writes from here on: a process of this pid
--                                           namespace, and since when the machine runs
--     do       N part= kind= …              step N is going to be done: what is planned
--     did      N …                          it was done: its identity, where the plan
--                                           does not have it
--     undone   N                            it is undone
--     kept     N                            it is nobody's any more
--     commit   0 drop=                      what came before stands, but for these steps,
--                                           which are going to be undone
--
-- A line, or several that belong together, is one write(2): a line without an
-- end was cut by a crash, and nothing was done after it.
--
-- @internal nsbox.record

local VERSION <const> = 1

-- fields of a step that are not written as such: other lines tell them
local UNWRITTEN <const> = { n = true, over = true, stands = true, doomed = true }

local M = { VERSION = VERSION }

local type, next, find, concat = type, next, string.find, table.concat

local function coded(c)
  return ("%%%02X"):format(c:byte())
end

local function escape(text)
  if find(text, "^%-?%d+$") or text == "true" or text == "false" then
    return coded(text) .. text:sub(2) -- a name such as 007 stays one
  end
  return (text:gsub("[%c%%]", coded))
end

-- what can stand as it is begins otherwise
local function written(text)
  return find(text, "^[^-%dtf%c%%][^%c%%]*$") and text or escape(text)
end

local BOOLEAN <const> = { [true] = "true", [false] = "false" }

-- a field's name → what is before its value; false: it is not written
local keys = setmetatable({}, { __index = function(known, name)
  local key = not UNWRITTEN[name] and name:byte() ~= 95 and "\t" .. name .. "="
  known[name] = key
  return key
end })

local function unescape(text)
  return (text:gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

-- of lines to come; nil while one is made, for a finalizer may make another one meanwhile
local spare

--- Makes a line.
-- @tparam string word
-- @tparam integer n
-- @tparam ?table fields name to string, number or boolean; other values, and names that
--   begin with "_", are not written
-- @treturn string with its end
function M.line(word, n, fields)
  local pieces, i = spare or {}, 3
  spare = nil
  pieces[1], pieces[2], pieces[3] = word, "\t", n
  for name, value in next, fields or {} do
    local key, kind = keys[name], type(value)
    local text = kind == "string" and key and written(value) or kind == "number" and value
      or BOOLEAN[value]
    if key and text then
      pieces[i + 1], pieces[i + 2] = key, text
      i = i + 2
    end
  end
  pieces[i + 1] = "\n"
  local line = concat(pieces, "", 1, i + 1)
  spare = pieces
  return line
end

-- numbers come back as numbers, where they were
local function value_of(text)
  if text:find "^%-?%d+$" then
    return math.tointeger(tonumber(text)) or text
  elseif text == "true" or text == "false" then
    return text == "true"
  end
  return unescape(text)
end

local WORDS <const> = { run = true, ["do"] = true, did = true, undone = true, kept = true,
  commit = true }

-- word, number, fields; or nothing
local function parse(line)
  local word, n, rest = line:match "^(%l+)\t(%d+)(.*)$"
  n = n and math.tointeger(tonumber(n))
  if not n then
    return
  end
  local fields, left = {}, rest:gsub("\t(%l[%l_]*)=([^\t%c]*)", "")
  if left ~= "" then
    return
  end
  for name, value in rest:gmatch "\t(%l[%l_]*)=([^\t]*)" do
    if UNWRITTEN[name] then
      return
    end
    fields[name] = value_of(value)
  end
  return word, n, fields
end

---@class nsbox.Step  one thing that was done to the machine, and how to undo it
---@field n integer its number
---@field part integer what it belongs to: steps of one verb have the same
---@field kind string which module of nsbox.undo knows it
---@field stands boolean a commit keeps it
---@field doomed boolean a commit dropped it
---@field over boolean undone, or kept

-- whether what everybody relies on is of its type
local function fits(fields)
  local kind, part = fields.kind, fields.part
  return (kind == nil or type(kind) == "string") and (part == nil or math.type(part) == "integer")
end

local apply = {}

apply["do"] = function(state, n, fields)
  if fields.kind == nil or not fits(fields) or state.by_n[n] then
    return false
  end
  fields.n, fields._run = n, state.run
  state.by_n[n] = fields
  state.steps[#state.steps + 1] = fields
  state.last = math.max(state.last, n)
  state.last_part = math.max(state.last_part, fields.part or 0)
end

function apply.did(state, n, fields)
  local step = state.by_n[n]
  if not step or not fits(fields) then
    return false
  end
  for name, value in pairs(fields) do
    step[name] = value
  end
end

function apply.undone(state, n)
  local step = state.by_n[n]
  if not step then
    return false
  end
  step.over = true
end

apply.kept = apply.undone

function apply.commit(state, _, fields)
  local drop = fields.drop or ""
  if type(drop) ~= "string" then
    return false
  end
  for number in drop:gmatch "%d+" do
    local step = state.by_n[math.tointeger(number)]
    if not step then
      return false
    end
    step.doomed = true
  end
  for _, step in ipairs(state.steps) do
    step.stands = not step.doomed
  end
  state.committed = true
end

function apply.run(state, _, fields)
  state.run, state.pid = fields, fields.pid
end

---@class nsbox.JournalState
---@field version? integer nil: no journal at all
---@field name? string
---@field steps nsbox.Step[] in the order in which they were done
---@field committed boolean
---@field run table the last who wrote: `{ pid, pidns, boot }`
---@field pid? integer of that
---@field damaged integer lines that make no sense
---@field last integer the highest number of a step
---@field last_part integer

--- Reads a journal's text.
-- @tparam string text
-- @tparam[opt] nsbox.JournalState state what was read before: the text follows on it
-- @treturn nsbox.JournalState
function M.read(text, state)
  local first = not state
  state = state or { steps = {}, by_n = {}, damaged = 0, last = 0, last_part = 0,
    committed = false, run = {} }
  for line in text:gmatch "([^\n]*)\n" do
    local word, n, fields = parse(line)
    if first then
      if word == "nsbox" then
        state.version, state.name = n, fields.name
      else
        state.damaged = state.damaged + 1
      end
      first = false
      if state.version and state.version ~= VERSION then
        return state
      end
    elseif not WORDS[word] or apply[word](state, n, fields) == false then
      state.damaged = state.damaged + 1
    end
  end
  return state
end

return M

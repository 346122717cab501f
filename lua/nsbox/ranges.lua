--- Ranges of ids: those that a script wrote down, checked and copied; which ids are in some.
--
-- Loaded when a script gives `maps` as a table, and where it matters whose a file is.
--
-- user_namespaces(7)
--
-- @internal nsbox.ranges

local MAX_LINES <const> = 340        -- of a map, see user_namespaces(7)
local PAGE <const> = 4096            -- the text of a map has to be shorter
local END <const> = 0xffffffff       -- (uid_t)-1 is no id
local LIST <const> = "expected a list of { inside, outside, length }"

local function number(range, i, field)
  local value = math.type(range[field]) and math.tointeger(range[field])
  if not value then
    return nil, ("[%d] %s, all integers"):format(i, LIST)
  elseif value < 0 then
    return nil, ("[%d] a negative id or length: %d"):format(i, value)
  end
  return value
end

local function copy_range(range, i)
  if type(range) ~= "table" then
    return nil, ("[%d] %s, got a %s as an element"):format(i, LIST, type(range))
  end
  for key in next, range do
    if key ~= 1 and key ~= 2 and key ~= 3 then
      return nil, ("[%d] %s and nothing else, got the key %s"):format(i, LIST, key)
    end
  end
  local copy = {}
  for field = 1, 3 do
    local value, message = number(range, i, field)
    if not value then
      return nil, message
    end
    copy[field] = value
  end
  if copy[3] == 0 then
    return nil, ("[%d] is empty (length 0)"):format(i)
  elseif copy[1] + copy[3] > END or copy[2] + copy[3] > END then
    return nil, ("[%d] goes beyond the last id, 4294967294"):format(i)
  end
  return copy
end

local function overlap(ranges, field)
  local sorted = table.move(ranges, 1, #ranges, 1, {})
  table.sort(sorted, function(a, b)
    return a[field] < b[field]
  end)
  for i = 2, #sorted do
    local low, high = sorted[i - 1], sorted[i]
    if low[field] + low[3] > high[field] then
      return ("two ranges overlap %s: { %d, %d, %d } and { %d, %d, %d }"):format(
        field == 1 and "inside" or "outside", low[1], low[2], low[3], high[1], high[2], high[3])
    end
  end
end

-- the bytes of a map as it is written, a line for each range
local function text_size(ranges)
  local size = 0
  for _, range in ipairs(ranges) do
    size = size + #("%d %d %d\n"):format(range[1], range[2], range[3])
  end
  return size
end

local function copy_ranges(ranges)
  if type(ranges) ~= "table" or #ranges == 0 then
    return nil, LIST
  elseif math.type(ranges[1]) then
    return nil, LIST .. ", each range in braces of its own"
  elseif #ranges > MAX_LINES then
    return nil, ("a map has at most %d ranges, got %d"):format(MAX_LINES, #ranges)
  end
  local copies = {}
  for i, range in ipairs(ranges) do
    local copy, message = copy_range(range, i)
    if not copy then
      return nil, message
    end
    copies[i] = copy
  end
  for key in next, ranges do
    if not copies[key] then
      return nil, ("%s, got the key %s"):format(LIST, key)
    end
  end
  local message = overlap(copies, 1) or overlap(copies, 2)
  if not message and text_size(copies) >= PAGE then
    message = ("a map has less than %d bytes of text, these %d ranges have %d: join ranges that "
      .. "touch, or use smaller ids"):format(PAGE, #copies, text_size(copies))
  end
  if message then
    return nil, message
  end
  return copies
end

local M = {}

--- Checks the tables that the option `maps` takes.
-- A list has at most 340 ranges, and less than a page of text: lines of three
-- decimal numbers, so some 120 ranges of the largest ids.
-- @tparam table maps a list of `{ inside, outside, length }`, or `{ uid = list, gid = list }`
-- @treturn ?table a copy `{ uid = ranges, gid = ranges }`
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.parse(maps)
  if maps.uid == nil and maps.gid == nil then
    local ranges, message = copy_ranges(maps)
    return ranges and { uid = ranges, gid = ranges }, message
  end
  local out = {}
  for key in next, maps do
    if key ~= "uid" and key ~= "gid" then
      return nil, ("expected { uid = list, gid = list }, got the key %s, too"):format(key)
    end
  end
  for _, which in ipairs { "uid", "gid" } do
    local ranges, message = copy_ranges(maps[which])
    if not ranges then
      return nil, which .. (message:sub(1, 1) == "[" and message or ": " .. message)
    end
    out[which] = ranges
  end
  return out
end

local function has(ranges, id, field)
  for _, range in ipairs(ranges) do
    if id >= range[field] and id < range[field] + range[3] then
      return true
    end
  end
  return false
end

--- Whether a box has an id.
-- @tparam table ranges `{ inside, outside, length }`
-- @tparam integer id as the box counts them
-- @treturn boolean
function M.has_inside(ranges, id)
  return has(ranges, id, 1)
end

--- Whether an id of the machine has a name in a box.
-- @tparam table ranges `{ inside, outside, length }`
-- @tparam integer id as the machine counts them
-- @treturn boolean
function M.has_outside(ranges, id)
  return has(ranges, id, 2)
end

return M

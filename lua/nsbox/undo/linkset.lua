--- Undoing a change to a device that is not ours.
--
-- `{ dev, index, device, netns, nsinode, where }` and, of each thing that was
-- changed, `old_…` and `new_…`: it becomes what it was if it is still what it
-- was made. Or, of one that was lent to another namespace, `to_…` of that, and
-- what it had at home: it comes back from there.
--
-- Devices come home before the processes end whose namespace they are in: what
-- a program has made, a veth for one, dies with the namespace.
--
-- rtnetlink(7)
--
-- @internal nsbox.undo.linkset

local undo = require "nsbox.undo"

local M = { phase = 0 }

-- of a port of a bridge
local PORT <const> = { isolated = true, hairpin = true }

--- What can be changed, in the words of `link_get`.
M.FIELDS = { "name", "mac", "mtu", "txqueuelen", "alias", "promisc", "allmulti", "master", "up",
  "isolated", "hairpin" }

local function places()
  return require "nsbox.netplace"
end

-- numbers, booleans and text keep apart in a journal
local function encode(value)
  return value == nil and "-" or type(value):sub(1, 1) .. tostring(value)
end

local function decode(text)
  local kind, rest = text:sub(1, 1), text:sub(2)
  if kind == "n" then
    return math.tointeger(tonumber(rest))
  elseif kind == "b" then
    return rest == "true"
  end
  return kind == "s" and rest or nil
end

local function current(record, field)
  if PORT[field] then
    return record.port and record.port[field]
  end
  return record[field]
end

--- What a change would change.
-- @tparam table record of the device
-- @tparam table want fields
-- @treturn table fields of a step
-- @treturn string the fields that are wanted
function M.plan(record, want)
  local plan, names = {}, {}
  for _, field in ipairs(M.FIELDS) do
    local new, old = want[field], current(record, field)
    if new ~= nil then
      names[#names + 1] = field
    end
    if new == false and field == "master" then
      new = nil
      plan.old_master, plan.new_master = encode(old), encode(nil)
    end
    -- what a port was is forgotten when it leaves its bridge
    local stays = not PORT[field] or want.master == nil
    if new ~= nil and new ~= old and stays then
      plan["old_" .. field], plan["new_" .. field] = encode(old), encode(new)
    end
  end
  return plan, table.concat(names, " ")
end

--- Changes a device.
-- @tparam nsbox.NetPlace place
-- @tparam integer index
-- @tparam table want fields
-- @treturn ?boolean true
-- @return[2] nil, message, errno
function M.apply(place, index, want)
  local request, port = { index }, { index }
  for _, field in ipairs(M.FIELDS) do
    if PORT[field] then
      port[field] = want[field]
    else
      request[field] = want[field]
    end
  end
  local ok, message, errno = true, nil, nil
  if next(request, next(request)) ~= nil then
    ok, message, errno = place.nl:link_set(request)
  end
  if ok and next(port, next(port)) ~= nil then
    ok, message, errno = place.nl:port_set(port)
  end
  return ok, message, errno
end

--- Gives a device back what it had, where it is still as it was left.
-- @tparam nsbox.NetPlace place
-- @tparam nsbox.Step step
-- @tparam[opt] integer index of the device
-- @treturn ?boolean true
-- @return[2] nil, message, errno
function M.restore(place, step, index)
  local record = place.nl:link_get(index or step.index)
  local want = {}
  for _, field in ipairs(record and M.FIELDS or {}) do
    local new = step["new_" .. field]
    if new and encode(current(record, field)) == new then
      want[field] = decode(step["old_" .. field])
      if want[field] == nil then
        want[field] = field == "master" and false or field == "alias" and "" or nil
      end
    end
  end
  if next(want) == nil then
    return true
  end
  return M.apply(place, record.index, want)
end

-- lending -------------------------------------------------------------------------

local function borrower(step)
  return places().find { netns = step.to_netns, nsinode = step.to_nsinode, where = step.to_where }
end

-- the device of a step; index: nil if that is not known
local function is_it(record, step, index)
  if not record or places().kind(record) ~= step.device then
    return false
  end
  return record.index == index or not index and record.mac == step.mac
end

-- it never left, or came back by itself: then with the name that it had there, or
-- any one if that is taken
local function at_home(home, step)
  local record = home.nl:link_get(tostring(step.dev))
  if is_it(record, step, step.index) or is_it(record, step) then
    return record
  end
  for _, what in ipairs { tostring(step.to_dev), step.to_index or step.index, step.index } do
    record = home.nl:link_get(what)
    if is_it(record, step) then
      return record
    end
  end
end

local function settle(home, step)
  local record = at_home(home, step)
  if not record then
    return
  elseif record.name ~= tostring(step.dev) then
    home.nl:link_set { record.index, up = false }
    home.nl:link_set { record.index, name = tostring(step.dev) }
  end
  for addr in tostring(step.addrs or ""):gmatch "%S+" do
    home.nl:addr_add { addr, dev = record.index, nodad = addr:find(":", 1, true) and true or nil }
  end
  home.nl:link_set { record.index, master = step.master, up = step.up }
end

-- the device where it was lent to; the kernel moves it before it gives it the other name
local function away(there, step)
  for _, what in ipairs { step.to_index or tostring(step.to_dev), tostring(step.dev) } do
    local record = there and there.nl:link_get(what)
    if is_it(record, step, step.to_index) then
      return record
    end
  end
end

local function bring_home(step, fail)
  local home <close> = places().find(step)
  if not home then
    return
  end
  local there <close> = borrower(step)
  local record = away(there, step)
  if record then
    local ok, message, errno = there.nl:link_set { record.index, netns = home:namespace(),
      name = tostring(step.dev) }
    if not ok then
      fail(step, undo.failure(tostring(step.dev), message, errno))
      return
    end
  elseif not there and not at_home(home, step) then
    fail(step, require("nsbox.error").new { op = "undo", subject = tostring(step.dev),
      code = "ENODEV", hint = false, detail = "the network namespace that it was lent to has "
      .. (step.device == "device" and "ended, and it is in the initial one now"
        or "ended, and it with that: a " .. step.device .. " does") }, true)
    return
  end
  settle(home, step)
end

--- Brings a device home that was lent.
-- @tparam nsbox.Step step
-- @tparam function fail as in `nsbox.undo`
M.bring_home = bring_home

--- See `nsbox.undo`.
function M.undo(steps, fail)
  for _, step in ipairs(steps) do
    if step.to_where then
      bring_home(step, fail)
    else
      local place <close>, record = places().device(step)
      if record then
        local ok, message, errno = M.restore(place, step)
        if not ok then
          fail(step, undo.failure(tostring(step.dev), message, errno))
        end
      end
    end
  end
end

--- See `nsbox.undo`.
function M.there(step)
  if step.to_where then
    local there <close> = borrower(step)
    return away(there, step) ~= nil
  end
  local place <close>, record = places().device(step)
  for _, field in ipairs(place and record and M.FIELDS or {}) do
    local new = step["new_" .. field]
    if new and encode(current(record, field)) ~= new then
      return false
    end
  end
  return record ~= nil
end

--- See `nsbox.undo`.
function M.describe(step)
  local where = step.where == "own" and "" or " in " .. step.where
  if step.to_where then
    return ("%s%s lent to %s"):format(step.dev, where, step.to_where)
  end
  local words = {}
  for _, field in ipairs(M.FIELDS) do
    local new = step["new_" .. field]
    words[#words + 1] = new and field .. " " .. tostring(decode(new)) or nil
  end
  return ("%s%s changed: %s"):format(step.dev, where, table.concat(words, ", "))
end

return M

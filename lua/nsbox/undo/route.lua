--- Undoing a route that was added, or deleted.
--
-- `{ dev, index, device, netns, nsinode, where, dst, … }`; `gone`: it was
-- deleted, and what it was is in the other fields. One that was added is told by its
-- `protocol` from what somebody else has added.
--
-- rtnetlink(7)
--
-- @internal nsbox.undo.route

local inet = require "nsbox.inet"
local undo = require "nsbox.undo"

-- those that lead nowhere have no device
local NOWHERE <const> = { blackhole = true, unreachable = true, prohibit = true, throw = true }
local ENOENT <const>, ESRCH <const>, EEXIST <const>, ENODEV <const> = 2, 3, 17, 19

local M = { phase = 1 }

--- What a route has besides, in the words of `route_add`.
M.FIELDS = "via src metric table type scope onlink mtu family protocol"

--- Makes a request.
-- @tparam table from fields
-- @tparam string dst
-- @tparam integer index of the device
-- @treturn table
function M.request(from, dst, index)
  local request = { dst, dev = not NOWHERE[from.type] and index or nil }
  for name in M.FIELDS:gmatch "%S+" do
    request[name] = from[name]
  end
  return request
end

local function family_of(dst, via)
  local a = inet.parse(dst) or via and inet.parse(via)
  return a and a.family
end

local function same(a, b)
  return a == b or a ~= nil and inet.canonical(a) == inet.canonical(b or "")
end

--- The first route of a device that is so.
-- @tparam nsbox.NetPlace place
-- @tparam integer index of the device
-- @tparam string dst
-- @tparam table like fields; what is absent may be anything, but for the table
-- @treturn ?table its record
function M.find(place, index, dst, like)
  local family = like.family or family_of(dst, like.via) or "inet"
  local list = place.nl:route_list { dev = not NOWHERE[like.type] and index or nil,
    family = family, table = like.table or "main" }
  for _, r in ipairs(list or {}) do
    if same(r.dst, dst) and (not like.via or same(r.via, like.via))
      and (not like.metric or (r.metric or 0) == like.metric)
      and (not like.type or r.type == like.type)
      and (not like.protocol or r.protocol == like.protocol) then
      return r
    end
  end
end

--- See `nsbox.undo`.
function M.undo(steps, fail)
  for _, step in ipairs(steps) do
    local place <close>, record = require("nsbox.netplace").device(step)
    local there = record and M.find(place, step.index, step.dst, step)
    if record and (there ~= nil) == not step.gone then
      local request = M.request(step, step.dst, step.index)
      local ok, message, errno = place.nl[step.gone and "route_add" or "route_del"](place.nl,
        request)
      if not ok and errno ~= EEXIST and errno ~= ESRCH and errno ~= ENODEV and errno ~= ENOENT then
        fail(step, undo.failure(tostring(step.dev), message, errno))
      end
    end
  end
end

--- See `nsbox.undo`.
function M.there(step)
  local place <close>, record = require("nsbox.netplace").device(step)
  local found = record and place and M.find(place, step.index, step.dst, step) ~= nil
  return record and found == not step.gone
end

--- See `nsbox.undo`.
function M.describe(step)
  return ("route to %s by %s%s%s"):format(step.dst, step.dev,
    step.where == "own" and "" or " in " .. step.where, step.gone and " deleted" or "")
end

return M

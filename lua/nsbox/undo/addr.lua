--- Undoing an address that a device got, or lost.
--
-- `{ dev, index, device, netns, nsinode, where, addr, … }`; `gone`: it was
-- taken away, and what it was is in the other fields. One that was added has a mark,
-- `proto`, where the kernel keeps such: without it, it is somebody else's.
--
-- rtnetlink(7)
--
-- @internal nsbox.undo.addr

local inet = require "nsbox.inet"
local undo = require "nsbox.undo"

local EEXIST <const>, EADDRNOTAVAIL <const>, ENODEV <const> = 17, 99, 19

local M = { phase = 1 }

--- What an address has besides, in the words of `addr_add`.
M.FIELDS = "peer broadcast label metric scope valid_lft preferred_lft nodad noprefixroute proto"

--- The mark of an address that is going to be added.
-- @treturn ?integer nil: this kernel keeps none
function M.mark()
  return require("nsbox.machine").kernel_since(5, 18) and require("nsbox.netplace").PROTOCOL or nil
end

local function has(place, step)
  local wanted = inet.canonical(step.addr)
  for _, a in ipairs(place.nl:addr_list { dev = step.index } or {}) do
    if inet.canonical(a.addr) == wanted and (step.gone or a.proto == step.proto) then
      return true
    end
  end
  return false
end

local function give(place, step)
  local request = { step.addr, dev = step.index }
  for name in M.FIELDS:gmatch "%S+" do
    request[name] = step[name]
  end
  request.label = step.label and tostring(step.label)
  -- it was there already, so nobody else has it
  request.nodad = step.nodad or step.addr:find(":", 1, true) and true or nil
  return place.nl:addr_add(request)
end

--- See `nsbox.undo`.
function M.undo(steps, fail)
  for _, step in ipairs(steps) do
    local place <close>, record = require("nsbox.netplace").device(step)
    if record and has(place, step) == not step.gone then
      local ok, message, errno
      if step.gone then
        ok, message, errno = give(place, step)
      else
        ok, message, errno = place.nl:addr_del { step.addr, dev = step.index, peer = step.peer }
      end
      if not ok and errno ~= EEXIST and errno ~= EADDRNOTAVAIL and errno ~= ENODEV then
        fail(step, undo.failure(tostring(step.dev), message, errno))
      end
    end
  end
end

--- See `nsbox.undo`.
function M.there(step)
  local place <close>, record = require("nsbox.netplace").device(step)
  return record and place and has(place, step) == not step.gone
end

--- See `nsbox.undo`.
function M.describe(step)
  return ("address %s %s %s%s"):format(step.addr, step.gone and "taken from" or "of", step.dev,
    step.where == "own" and "" or " in " .. step.where)
end

return M

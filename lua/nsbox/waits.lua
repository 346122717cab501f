--- Waiting for several, and what waits and signals take.
--
-- @module nsbox.waits

local opts = require "nsbox.opts"
local wait = require "nsbox.wait"

local function mistake(message, level)
  require("nsbox.mistake").raise(message, level + 1)
end

local M = {}

local schema = {}

--- The option `timeout` of a wait.
-- @tparam string op
-- @tparam table o
-- @tparam integer level whose line to blame
-- @treturn ?number seconds
function M.timeout(op, o, level)
  schema[op] = schema[op] or opts.schema(op, { timeout = { "duration", doc = "how long to wait" } })
  local checked = schema[op]:check(o, level + 1)
  return checked.timeout
end

local kill
--- The signal that `kill` takes.
-- @param x a word
-- @tparam integer level whose line to blame
-- @treturn string
function M.signal(x, level)
  kill = kill or opts.schema("kill", { { "signal", doc = "what to send" } })
  return kill:check({ x }, level + 1)[1]
end

--- Waits until the first of several programs has ended.
-- @tparam table o processes and boxes as the array part, `timeout`
-- @return the one that ended
-- @treturn nsbox.Result
-- @treturn[2] nil
-- @treturn[2] string "timeout"
function M.any(o, ...)
  if ... ~= nil then
    mistake("wait: takes one table: wait { …, timeout = … }", 2)
  end
  if type(o) ~= "table" or #o == 0 then
    mistake("wait: expected { process or box, …, timeout = }", 2)
  end
  for i, x in ipairs(o) do
    if type(x) ~= "table" or not x._want then
      mistake(("wait: argument %d: expected a process or a box, got a %s"):format(i, type(x)), 2)
    elseif x._created then
      mistake(("wait: argument %d: the box was not started"):format(i), 2)
    end
  end
  local named = {}
  for key, value in next, o do
    if type(key) ~= "number" then
      named[key] = value
    end
  end
  local timeout = M.timeout("wait", named, 2)
  local first, why = wait.until_(function()
    for _, x in ipairs(o) do
      if x._result then
        return x
      end
    end
  end, timeout and wait.now() + timeout)
  if not first then
    return nil, why
  end
  return first, first._result
end

return M

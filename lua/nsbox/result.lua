--- How a program ended.
--
-- @module nsbox.result

local process = require "nsbox.sys.process"

local TIMEOUT_STATUS <const> = 124

---@class nsbox.Result
---@field ok boolean status is 0
---@field status integer as in the shell: code, 128 + signal, 124 for a time-out
---@field code? integer exit code
---@field signal? string "KILL"
---@field reason string "exit", "signal", "timeout", "seccomp" or "unknown"
---@field stdout? string captured text, raw
---@field stderr? string
---@field truncated? boolean more came than `limit`
---@field seconds number

local Result = { __name = "nsbox.result" }

local function headline(r)
  if r.reason == "timeout" then
    return ("killed by %s: timeout after %g s"):format(r.signal or "KILL", r.timeout)
  elseif r.reason == "seccomp" then
    return ("killed by %s in %.3f s: its seccomp filter does not allow what it did")
      :format(r.signal, r.seconds)
  elseif r.signal then
    return ("killed by %s in %.3f s"):format(r.signal, r.seconds)
  elseif r.reason == "unknown" then
    return ("ended in %.3f s, nobody knows how"):format(r.seconds)
  end
  return ("exit %d in %.3f s"):format(r.code, r.seconds)
end

local TAIL <const> = 400

function Result.__tostring(r)
  local lines = { headline(r) }
  for _, name in ipairs { "stdout", "stderr" } do
    if r[name] and r[name] ~= "" then
      lines[#lines + 1] = (r[name]:gsub("\n$", ""))
    end
  end
  return table.concat(lines, "\n")
end

-- the second value of run, as os.exit(nsbox.run{…}) wants it: any true value
-- closes the Lua state
Result.__close = function() end

local M = {}

--- Raises the Error that the option `check` asks for.
-- @tparam string op the verb
-- @tparam ?string subject the program
-- @tparam nsbox.Result r
function M.fail(op, subject, r)
  require("nsbox.error").raise { op = op, subject = subject, code = "EXIT",
    detail = M.summary(r), result = r }
end

--- A result in one line, for an Error: how it ended, and the end of what it
-- complained about.
-- @tparam nsbox.Result r
-- @treturn string
function M.summary(r)
  local said = (r.stderr or ""):gsub("%s+$", "")
  if #said > TAIL then
    said = "…" .. said:sub(-TAIL):gsub("^[\x80-\xbf]+", "")
  end
  return said == "" and headline(r) or headline(r) .. ": " .. said
end

--- Makes a result from what `status()` of a process handle said.
-- @tparam ?string how `"exit"`, `"signal"`, nil: nobody knows
-- @tparam integer|string value code or signal
-- @tparam number seconds it ran
-- @tparam ?number timeout it was killed after so many seconds
-- @tparam ?string filter its seccomp filter
-- @treturn nsbox.Result
function M.new(how, value, seconds, timeout, filter)
  local r = { seconds = seconds, reason = how or "unknown" }
  if how == "exit" then
    r.code, r.status = value, value
  elseif how == "signal" then
    r.signal = value
    r.status = 128 + process.signal(value)
    -- a filter without such an answer has killed nobody
    if value == "SYS" and filter and require("nsbox.filter").kills(filter) then
      r.reason = "seccomp"
    end
  else
    r.status = 255
  end
  if timeout then
    r.reason, r.status, r.timeout = "timeout", TIMEOUT_STATUS, timeout
  end
  r.ok = r.status == 0
  return setmetatable(r, Result)
end

return M

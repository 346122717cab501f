--- The error object, and the one bridge from the kernel's failures to it.
--
-- There are two kinds of error, and the difference is who can do something
-- about it. *Misuse* (an unknown option, a wrong type, a map range of length
-- 0) is a mistake in the script: it can be judged without the kernel, before
-- anything is done, and the only sensible reaction is to correct the line.
-- So it raises a plain *string* at the caller's line, as Lua's own libraries
-- do, and `nsbox.try` lets it pass. *The world* (no privilege, no such file,
-- a limit reached) may fail a correct script, on this machine or on that one:
-- a program may want to look at it, so it raises an `nsbox.Error`, an object
-- with the step, the kernel's errno and a hint. The primitives below return
-- `nil, message, errno` instead of raising; `check` makes the one out of the
-- other, and nothing else in nsbox raises for a failure of the system. A
-- script needs no error handling for good messages: `lua5.4` prints the
-- object by its `__tostring`, without a traceback.
--
-- @module nsbox.error

---@class nsbox.Error
---@field op string what was attempted: "run", "ns.open"
---@field subject? string on what: "/proc", "br0"
---@field step? string which step of it failed: "mount", "uid_map"
---@field netns? string in which network namespace
---@field errno? integer
---@field code? string the errno's name, or "EXIT"; test this: `e.code == "ENOENT"`
---@field detail? string the kernel's (or helper's) own words
---@field hint? string what to do about it
---@field cause? any the error below this one
---@field undo? table failures of the undo that this error caused
---@field result? table what a program that ran and failed left
---@field traceback? string only when NSBOX_TRACE is set

local LONGEST <const> = 4096 -- PATH_MAX

local Error = { __name = "nsbox.Error" }

local function is(x)
  return getmetatable(x) == Error
end

local function one_line(text)
  return (text:gsub("%s+$", ""):gsub("%s*\n%s*", "; "))
end

-- a name of thousands of bytes is still in the field
local function short(text)
  return #text > LONGEST and text:sub(1, 60) .. "…" or text
end

-- names may be others', who may have put commands for a terminal into them
local function printable(text, controls)
  return (text:gsub(controls or "%c", function(c)
    return ("\\%d"):format(c:byte())
  end):gsub("\xc2[\x80-\x9f]", "?"))
end

-- "op subject: what (CODE)"; a cause takes the place of what is not known here
local function headline(e)
  local where = e.op or "nsbox"
  if e.step then
    where = where .. ": " .. e.step
  end
  if e.subject then
    where = where .. " " .. short(e.subject)
  end
  if e.netns then
    where = where .. " (in " .. e.netns .. ")"
  end
  local what = e.detail and one_line(e.detail)
  if e.code and what ~= e.code then
    what = what and what .. " (" .. e.code .. ")" or e.code
  end
  local cause = e.cause
  if cause ~= nil then
    cause = is(cause) and headline(cause) or one_line(tostring(cause))
    what = what and what .. ": " .. cause or cause
  end
  return printable(what and where .. ": " .. what or where .. ": failed", "[^%C\t]")
end

local function first_hint(e)
  while is(e) do
    if e.hint then
      return e.hint
    end
    e = e.cause
  end
end

function Error.__tostring(e)
  local lines = { headline(e) }
  local hint = first_hint(e)
  if hint then
    lines[2] = "hint: " .. printable(hint, "[^%C\t\n]")
  end
  for _, failure in ipairs(e.undo or {}) do
    lines[#lines + 1] = "undo: " .. (is(failure) and headline(failure) or tostring(failure))
  end
  return table.concat(lines, "\n  ")
end

function Error.__concat(a, b)
  return tostring(a) .. tostring(b)
end

local NO_DESCRIPTOR <const> = "this process has as many descriptors open as RLIMIT_NOFILE "
  .. "allows: close handles, or raise the limit (ulimit -n)"

-- a hint is help for people: a mistake in composing it must not hide the error
local function hint_for(e, context)
  if e.hint == nil and e.errno and not e.cause then
    local ok, hint = pcall(function()
      return require("nsbox.hints").hint(e.op, e.step, e.errno, context)
    end)
    -- then the hints, which are files, cannot be read either
    return ok and hint or e.code == "EMFILE" and NO_DESCRIPTOR or nil
  end
  return e.hint or nil
end

local M = { Error = Error }

--- Makes an Error without raising it.
-- Adds `code` from `errno` (or `errno` from `code`) and, unless `hint` is
-- given or `false`, a hint composed by looking at the machine.
-- @tparam table fields those of `nsbox.Error`; kept as the object
-- @tparam[opt] table context what the hint may look at, see `nsbox.hints`
-- @treturn nsbox.Error
function M.new(fields, context)
  -- not by the submodule's own name: that opens a file, which EMFILE forbids
  local ok, sys = pcall(require, "nsbox.sys")
  if ok then
    local names = sys.errno
    fields.code = fields.code or names[fields.errno or 0]
    local number = names[fields.code or ""]
    fields.errno = fields.errno or math.type(number) and number
  end
  context = setmetatable({ subject = fields.subject, detail = fields.detail },
    { __index = context })
  fields.hint = hint_for(fields, context)
  if os.getenv("NSBOX_TRACE") then
    fields.traceback = debug.traceback(nil, 2)
  end
  return setmetatable(fields, Error)
end

--- Raises an Error made from these fields.
-- @tparam table fields those of `nsbox.Error`
-- @tparam[opt] table context for the hint
function M.raise(fields, context)
  error(M.new(fields, context), 0)
end

local function without_subject(message, subject)
  local prefix = subject and subject .. ": "
  if prefix and message:sub(1, #prefix) == prefix then
    return message:sub(#prefix + 1)
  end
  return message
end

--- A line without what a terminal would take for a command.
-- @tparam string text
-- @tparam[opt="%c"] string controls a pattern of bytes
-- @treturn string
M.printable = printable

--- Passes the values of a primitive on, or raises its failure as an Error.
-- A lone nil (end of a file, "still running") is a value, no failure.
-- @tparam string op what was attempted, `"ns.open"`
-- @tparam ?string subject on what
-- @param ... what the primitive returned: values, or nil, message, errno, detail
-- @return the values
function M.check(op, subject, ...)
  local value, message, errno, detail = ...
  if value ~= nil or message == nil then
    return ...
  end
  local text = without_subject(message, subject)
  if detail then
    text = text .. ": " .. tostring(detail)
  end
  M.raise { op = op, subject = subject, detail = text, errno = errno }
end

--- Raises the failure that `sys.process.spawn` returned for a plan.
-- @tparam string op the verb that launched: `"run"`
-- @tparam table plan the plan, which the hint looks at
-- @tparam string message
-- @tparam integer errno
-- @tparam[opt] string step which step of the launch failed
-- @tparam[opt] string subject on what
function M.spawn_failed(op, plan, message, errno, step, subject)
  local said = step and subject and step .. " " .. subject or step or subject
  local text = without_subject(without_subject(message, said), subject)
  M.raise({ op = op, step = step, subject = subject, detail = text, errno = errno }, plan)
end

--- Whether x is an Error.
-- @param x anything
-- @treturn boolean
M.is = is

local function finish(ok, ...)
  if ok then
    return ...
  end
  local err = ...
  if is(err) then
    return nil, err
  end
  error(err, 0)
end

--- Calls f; an Error becomes a second value, everything else passes through.
-- @tparam function f
-- @param ... its arguments
-- @return f's values, or nil and the Error
function M.try(f, ...)
  return finish(pcall(f, ...))
end

return M

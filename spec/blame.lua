-- Which line a mistake is blamed on.
--
--     misuse(f, want)   f, which stands on one line, raises a string that names
--                       that line and has `want` in it
--     failure(f, code)  f raises an nsbox.Error of this code (nil: any), which is
--                       returned

local E = require "nsbox.error"

local M = {}

function M.misuse(f, want)
  local ok, message = pcall(f)
  assert(not ok, "nothing was raised: " .. want)
  assert(type(message) == "string", "not a string: " .. tostring(message))
  local info = debug.getinfo(f, "S")
  local where = ("%s:%d: "):format(info.short_src, info.linedefined)
  assert(message:sub(1, #where) == where, "another line is blamed: " .. message)
  assert(message:find(want, #where, true), ("wanted: %s\ngot: %s"):format(want, message))
end

function M.failure(f, code)
  local ok, err = pcall(f)
  assert(not ok, "nothing was raised: " .. tostring(code))
  assert(E.is(err), "not an Error: " .. tostring(err))
  assert(code == nil or err.code == code, ("wanted: %s\ngot: %s"):format(code, tostring(err)))
  return err
end

return M

--- What a verb made that has nothing to be asked about: it is undone, or kept.
--
-- @internal nsbox.made

---@class nsbox.Made
---@field fresh boolean made by this run
local Made = { __name = "nsbox.made" }
Made.__index = Made

local M = {}

--- Makes an object.
-- @tparam string text what it is, for people
-- @treturn nsbox.Made
function M.new(text)
  return setmetatable({ _text = text }, Made)
end

--- Makes one for the scope itself, which has it until it ends.
-- @tparam nsbox.Scope scope
-- @tparam string verb
-- @tparam function make returns the object, given a part and the rest
-- @treturn nsbox.Part
function M.within(scope, verb, make, ...)
  local made, part = scope:_within(verb, make, ...)
  made._part = part
  return part
end

--- Undoes it; twice is harmless.
function Made:close()
  self._part:close()
end

Made.__close = Made.close

--- Keeps it: its scope does not undo it any more.
-- @treturn nsbox.Made itself
function Made:release()
  self._part:release()
  return self
end

function Made:__tostring()
  return self._text
end

return M

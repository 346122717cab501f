--- Scopes: one owner for everything that a recipe makes.
--
-- What a method of a scope makes is undone when the scope ends: by `close`, by
-- `<close>`, by an error, at the end of the script. In reverse order; one
-- failure does not stop the rest. `nsbox.VERB` is the same verb on the script's
-- own scope, which ends with the Lua state.
--
-- @module nsbox.scope

local process = require "nsbox.sys.process"

---@class nsbox.Scope
---@field boxes table the boxes that have a name, by it
local Scope = { __name = "nsbox.scope" }
Scope.__index = Scope

local M = {}

local function new()
  return setmetatable({ boxes = {}, _made = {}, _pid = process.getpid() }, Scope)
end

local function check_open(self, verb, level)
  if self._closed then
    error(verb .. ": the scope is closed", level + 1)
  end
end

local function own(self, object)
  object._owner = self
  self._made[#self._made + 1] = object
  return object
end

--- Creates a box: complete, its pid 1 waiting before the program.
-- @tparam table|string o the program and its arguments; BOX and PROGRAM options
-- @treturn nsbox.Box
function Scope:box(o)
  check_open(self, "box", 2)
  local name = type(o) == "table" and o.name
  if name and self.boxes[name] then
    error(("box: the scope has a box '%s' already"):format(name), 2)
  end
  local box = own(self, require("nsbox.box").create(o, 2))
  if name then
    self.boxes[name] = box
  end
  return box
end

--- Lets go of an object that is closed, or released.
function Scope:_forget(object)
  for i = #self._made, 1, -1 do
    if self._made[i] == object then
      table.remove(self._made, i)
    end
  end
  if object.name and self.boxes[object.name] == object then
    self.boxes[object.name] = nil
  end
end

-- one failure neither stops the rest nor hides what caused the undo
local function undo(self)
  local failures = {}
  for i = #self._made, 1, -1 do
    local object = self._made[i]
    if object then
      local ok, err = pcall(object.close, object)
      if not ok then
        failures[#failures + 1] = err
      end
    end
  end
  self._made = {}
  return failures
end

--- Undoes everything, last made first; twice is harmless.
-- @raise an Error with the failures in `undo`, unless another error is on its way
function Scope:close(cause)
  -- a forked child never undoes its parent's work
  if self._closed or process.getpid() ~= self._pid then
    return
  end
  self._closed = true
  local failures = undo(self)
  if #failures > 0 and cause == nil then
    require("nsbox.error").raise { op = "scope.close", undo = failures,
      detail = ("%d of its parts could not be undone"):format(#failures) }
  end
end

Scope.__close = Scope.close

function Scope.__gc(self)
  self:close(true)
end

function Scope:__tostring()
  local boxes = #self._made
  return ("scope (%s): %d box%s"):format(self._closed and "closed" or "here", boxes,
    boxes == 1 and "" or "es")
end

-- the scope behind nsbox.VERB; it must be there before what it owns, so that
-- the state finalizes it after
local script
local function script_scope()
  script = script or new()
  return script
end

M.box = setmetatable({}, {
  __name = "nsbox.box",
  __call = function(_, o)
    local box = script_scope():box(o)
    return box
  end,
})

--- Makes an anonymous scope: what is made with it is undone with it.
-- @function scope
-- @treturn nsbox.Scope
return setmetatable(M, {
  __name = "nsbox.scope",
  __call = function(_, o)
    if o ~= nil then
      error("scope: named scopes and options are not there yet: nsbox.scope()", 2)
    end
    return new()
  end,
})

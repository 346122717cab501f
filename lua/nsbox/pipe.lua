--- Our end of a program's stream: reading and writing as on a Lua file.
--
-- The descriptor never blocks; a read or write that has to wait does so in
-- `nsbox.wait`, and moves all other streams meanwhile.
--
-- @module nsbox.pipe

local wait = require "nsbox.wait"

local EAGAIN <const> = 11
local CHUNK <const> = 65536

---@class nsbox.Pipe
local Pipe = { __name = "nsbox.pipe" }
Pipe.__index = Pipe

local M = {}

local function fail(op, message, errno)
  require("nsbox.error").raise { op = op, subject = "pipe", detail = message, errno = errno }
end

--- Makes a pipe object of a descriptor handle that does not block.
-- @param handle an nsbox.fd
-- @treturn nsbox.Pipe
function M.new(handle)
  return setmetatable({ _handle = handle, _buffer = "" }, Pipe)
end

--- The descriptor, for an event loop.
-- @treturn integer
function Pipe:fileno()
  return self._handle:fileno()
end

-- true: there is more in the buffer; false: the end; nil, "timeout"
local function fill(self, deadline)
  if self._ended then
    return false
  end
  return wait.until_(function()
    local data, message, errno = self._handle:read(CHUNK)
    if data then
      self._buffer = self._buffer .. data
      return true
    elseif errno == EAGAIN then
      return nil
    elseif message then
      fail("read", message, errno)
    end
    self._ended = true
    return false
  end, deadline, { [self:fileno()] = "r" })
end

local function take(self, n, skip)
  local text = self._buffer:sub(1, n)
  self._buffer = self._buffer:sub(n + 1 + (skip or 0))
  return text
end

local function rest(self)
  return self._buffer ~= "" and take(self, #self._buffer) or nil
end

-- each: what the buffer has to offer; nil: more is needed
local formats = {}

function formats.l(self)
  local at = self._buffer:find("\n", 1, true)
  return at and take(self, at - 1, 1)
end

function formats.L(self)
  local at = self._buffer:find("\n", 1, true)
  return at and take(self, at)
end

function formats.a()
  return nil
end

local function check_open(self, op)
  if self._closed or not pcall(self._handle.fileno, self._handle) then
    error(op .. ": the pipe is closed", 3)
  end
end

-- as for a Lua file; "*l" is the old way
local function check_format(op, format, level)
  format = type(format) == "string" and format:gsub("^%*", "") or format or "l"
  if not formats[format] and not (math.type(format) == "integer" and format >= 0) then
    error(op .. ": expected 'l', 'L', 'a' or a number of bytes", level + 1)
  end
  return format
end

--- Reads, as a Lua file does.
-- @tparam[opt="l"] string|integer format "l", "L", "a", or a number of bytes
-- @tparam[opt] table o `timeout` in seconds
-- @treturn ?string nil at the end
-- @treturn[2] nil
-- @treturn[2] string "timeout"; what came so far is kept for the next read
function Pipe:read(format, o)
  format = check_format("read", format, 2)
  check_open(self, "read")
  local number = math.type(format)
  local timeout = o and require("nsbox.waits").timeout("read", o, 2)
  local deadline = timeout and wait.now() + timeout
  while true do
    local text
    if number then
      -- 0 asks whether this is the end
      text = #self._buffer >= math.max(format, 1) and take(self, format) or nil
    else
      text = formats[format](self)
    end
    if text then
      return text
    end
    local more, why = fill(self, deadline)
    if more == false then
      return rest(self) or (format == "a" and "" or nil)
    elseif not more then
      return nil, why
    end
  end
end

--- Iterates over the lines, as a Lua file does.
-- @tparam[opt="l"] string format
-- @treturn function
function Pipe:lines(format)
  check_format("lines", format, 2)
  check_open(self, "lines")
  return function()
    return self:read(format)
  end
end

--- Writes all of a string, waiting as long as that takes.
-- @tparam string s
-- @treturn nsbox.Pipe itself
-- @raise an Error, code "EPIPE", when the program reads no more
function Pipe:write(s)
  s = type(s) == "number" and tostring(s) or s
  if type(s) ~= "string" then
    error("write: expected a string, got a " .. type(s), 2)
  end
  check_open(self, "write")
  local at = 1
  wait.until_(function()
    while at <= #s do
      local n, message, errno = self._handle:write(s:sub(at, at + CHUNK - 1))
      if n then
        at = at + n
      elseif errno == EAGAIN then
        return nil
      else
        fail("write", message, errno)
      end
    end
    return true
  end, nil, { [self:fileno()] = "w" })
  return self
end

--- Closes it; twice is harmless.
function Pipe:close()
  self._closed = true
  self._handle:close()
end

Pipe.__close = Pipe.close

function Pipe:__tostring()
  return "pipe (" .. tostring(self._handle) .. ")"
end

return M

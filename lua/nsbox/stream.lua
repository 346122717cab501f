--- The standard streams of a program: where they go, and moving their bytes.
--
-- @internal nsbox.stream

local fd = require "nsbox.sys.fd"

local EAGAIN <const> = 11
local CHUNK <const> = 65536
-- more does not fit into a pipe (fs.pipe-max-size), unless it is being filled
local LEFT <const> = 16

local M = {
  -- where the three go when no option says otherwise
  INHERIT = { "inherit", "inherit", "inherit" }, -- run, spawn, call, boxes with a program
  CAPTURE = { "null", "capture", "capture" }, -- exec
  NULL = { "null", "null", "null" }, -- idle boxes
}

---@class nsbox.Sink  output that we take: captured, or handed to a function
---@class nsbox.Source  input that we give: a string, or a function's chunks
---@class nsbox.Streams
---@field plan table stdin, stdout, stderr for `sys.process.spawn`
---@field sinks nsbox.Sink[]
---@field source? nsbox.Source
---@field theirs table handles that only the child needs

local Streams = { __name = "nsbox.streams" }
Streams.__index = Streams

local function fail(message, errno)
  require("nsbox.error").raise { op = "stream", detail = message, errno = errno }
end

-- while streams are opened: what to raise once they are closed, since loading
-- nsbox.error takes a descriptor, and there may be none left
local function cannot_open(message, errno)
  error({ op = "stream", detail = message, errno = errno }, 0)
end

local function pipe(self)
  local r, w, errno = fd.pipe()
  if not r then
    cannot_open(w, errno)
  end
  self.ours[#self.ours + 1] = r
  self.ours[#self.ours + 1] = w
  return r, w
end

-- the child's end is closed once it has it, or our end would never see the end
local function hand_over(self, name, handle)
  self.plan[name] = handle
  self.theirs[#self.theirs + 1] = handle
end

local function null(self, name)
  local handle, message, errno = fd.open("/dev/null", { "rdwr" })
  if not handle then
    cannot_open(message, errno)
  end
  self.ours[#self.ours + 1] = handle
  hand_over(self, name, handle)
end

local function sink(self, name, limit, f)
  local r, w = pipe(self)
  hand_over(self, name, w)
  r:nonblock(true)
  self.sinks[#self.sinks + 1] = { name = name, handle = r, limit = limit, size = 0, f = f }
end

local function source(self, data)
  local r, w = pipe(self)
  hand_over(self, "stdin", r)
  w:nonblock(true)
  local f = type(data) == "function" and data
  self.source = { handle = w, data = f and "" or data, at = 1, f = f }
end

-- an end for the script to read or write itself
local function talk(self, name)
  local r, w = pipe(self)
  local mine, theirs = r, w
  if name == "stdin" then
    mine, theirs = w, r
  end
  hand_over(self, name, theirs)
  mine:nonblock(true)
  self[name] = require("nsbox.pipe").new(mine)
end

local function open_one(self, name, how, limit)
  if how == "inherit" then
    return
  elseif how == "null" then
    null(self, name)
  elseif how == "capture" then
    sink(self, name, limit)
  elseif how == "pipe" then
    talk(self, name)
  elseif how == "stdout" then
    self.plan.stderr = self.plan.stdout or 1
  elseif type(how) == "function" then
    if name == "stdin" then
      source(self, how)
    else
      sink(self, name, limit, how)
    end
  else
    self.plan[name] = how
  end
end

local function open_all(self, o, defaults)
  if o.input then
    source(self, o.input)
  else
    open_one(self, "stdin", o.stdin or defaults[1], o.limit)
  end
  open_one(self, "stdout", o.stdout or defaults[2], o.limit)
  open_one(self, "stderr", o.stderr or defaults[3], o.limit)
end

--- Opens what the options `stdin stdout stderr input limit` ask for.
-- @tparam table o checked options
-- @tparam table defaults words for the three
-- @treturn nsbox.Streams
function M.open(o, defaults)
  local self = setmetatable({ plan = {}, sinks = {}, theirs = {}, ours = {} }, Streams)
  local ok, err = pcall(open_all, self, o, defaults)
  if not ok then
    self:close(true)
    if type(err) == "table" and not getmetatable(err) then
      require("nsbox.error").raise(err)
    end
    error(err, 0)
  end
  return self
end

--- Whether a handle is an end that the script reads or writes itself.
-- @param handle
-- @treturn boolean
function Streams:talks_by(handle)
  for _, name in ipairs { "stdin", "stdout", "stderr" } do
    if self[name] and self[name]._handle == handle then
      return true
    end
  end
  return false
end

--- Lets go of the child's ends, after it was started.
function Streams:handed_over()
  for i, handle in ipairs(self.theirs) do
    handle:close()
    self.theirs[i] = nil
  end
end

--- Adds the descriptors to wait for.
-- @tparam table fds as for `wait.poll`
function Streams:want(fds)
  for _, s in ipairs(self.sinks) do
    if s.handle then
      fds[s.handle:fileno()] = "r"
    end
  end
  if self.source then
    fds[self.source.handle:fileno()] = "w"
  end
end

local function keep(s, data)
  if s.f then
    return s.f(data)
  end
  local room = s.limit - s.size
  if #data > room then
    s.truncated = true
    data = data:sub(1, room)
  end
  s.size = s.size + #data
  s[#s + 1] = data
end

-- one chunk; false when there is nothing for now
local function drain(s)
  local data, message, errno = s.handle:read(CHUNK)
  if data then
    keep(s, data)
    return true
  elseif errno == EAGAIN then
    return false
  elseif message then
    fail(message, errno)
  end
  s.handle:close()
  s.handle = nil
  if s.f then
    s.f(nil)
  end
  return false
end

local function feed(self)
  local s = self.source
  if s.f and s.at > #s.data then
    s.data, s.at = s.f() or "", 1
    if self.source ~= s then -- the function ended what it feeds
      return
    end
    if type(s.data) ~= "string" then
      error("stdin: the function returned a " .. type(s.data) .. ", not a string or nil", 0)
    end
  end
  local n = 0
  if s.at <= #s.data then
    local message, errno
    n, message, errno = s.handle:write(s.data:sub(s.at, s.at + CHUNK - 1))
    if not n and errno == EAGAIN then
      return
    elseif not n and errno ~= 32 then -- EPIPE: it does not want any more
      fail(message, errno)
    end
    s.at = s.at + (n or 0)
  end
  if not n or (s.at > #s.data and not (s.f and n > 0)) then
    s.handle:close()
    self.source = nil
  end
end

--- Moves what can be moved without waiting.
-- @tparam table ready as from `wait.poll`
function Streams:move(ready)
  for _, s in ipairs(self.sinks) do
    if s.handle and ready[s.handle:fileno()] then
      drain(s)
    end
  end
  if self.source and ready[self.source.handle:fileno()] then
    feed(self)
  end
end

local function empty(s)
  local chunks = 0
  while s.handle and chunks < LEFT and drain(s) do
    chunks = chunks + 1
  end
  if s.handle then
    s.handle:close()
    s.handle = nil
    if s.f then
      s.f(nil)
    end
  end
end

--- Takes what the program left in its pipes when it ended; a process it left
-- behind may hold them open, and is not waited for.
-- @return what a function of the script raised, after the others have had theirs
function Streams:finish()
  local raised
  for _, s in ipairs(self.sinks) do
    local ok, err = pcall(empty, s)
    if not ok then
      raised = raised or err
    end
  end
  return raised
end

--- Puts the captured text into a result.
-- @tparam table result
function Streams:collect(result)
  for _, s in ipairs(self.sinks) do
    if not s.f then
      result[s.name] = table.concat(s)
      result.truncated = result.truncated or s.truncated
    end
  end
end

--- Closes what nsbox moves; twice is harmless.
-- @tparam[opt] boolean all the script's own ends ("pipe"), too
function Streams:close(all)
  for _, handle in ipairs(self.ours) do
    local talked = (self.stdin or self.stdout or self.stderr) and self:talks_by(handle)
    if all or not talked then
      handle:close()
    end
  end
  for _, s in ipairs(self.sinks) do
    s.handle = nil
  end
  self.source = nil
end

return M

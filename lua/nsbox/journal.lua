--- Journals: what a scope did, in a file that survives its owner.
--
-- One file a scope, in `nsbox.rundir`. Its owner holds a lock on it (flock(2)):
-- a journal that nobody has locked belongs to a scope whose owner has ended.
-- Each line is one write(2) at its end; what it means is in `nsbox.record`.
--
-- @module nsbox.journal

local fd = require "nsbox.sys.fd"
local process = require "nsbox.sys.process"
local record = require "nsbox.record"
local rundir = require "nsbox.rundir"

local SUFFIX <const> = ".journal"
local ENOENT <const>, EEXIST <const>, EAGAIN <const>, ENOSPC <const> = 2, 17, 11, 28
local EISDIR <const>, ELOOP <const> = 21, 40
local CHUNK <const> = 65536

---@class nsbox.Journal
---@field name string
---@field path string
---@field state nsbox.JournalState
local Journal = {}
Journal.__index = Journal

local M = {}

local function raise(op, subject, message, errno)
  require("nsbox.error").check(op, subject, nil, message, errno)
end

local boot
local function boot_id()
  if not boot then
    local f <close> = assert(io.open "/proc/sys/kernel/random/boot_id")
    boot = f:read "l"
  end
  return boot
end

-- numbers of processes mean something in one pid namespace only
local function pid_namespace()
  return fd.stat("/proc/self/ns/pid").ino
end

local function read_all(handle)
  local pieces = {}
  while true do
    local data, message, errno = handle:read(CHUNK)
    if not data then
      return table.concat(pieces), message, errno
    end
    pieces[#pieces + 1] = data
  end
end

-- the file was removed between open and flock: its name is another's, or nobody's
local function still_named(handle, path)
  local here, there = fd.stat(handle), fd.stat(path)
  return there ~= nil and here.ino == there.ino and here.dev == there.dev
end

-- opens and locks; nil and "busy" or "gone"
local function try(op, path)
  local handle, message, errno = fd.open(path, { "rdwr", "append", "nofollow" })
  if not handle then
    -- a directory or a link of that name is no journal
    if errno == ENOENT or errno == EISDIR or errno == ELOOP then
      return nil, "gone"
    end
    raise(op, path, message, errno)
  end
  local ok
  ok, message, errno = handle:flock()
  if not ok then
    handle:close()
    if errno == EAGAIN then
      return nil, "busy"
    end
    raise(op, path, message, errno)
  elseif not still_named(handle, path) then
    handle:close()
    return nil, "gone"
  end
  return handle
end

local function adopt(op, name, path, handle)
  local text, message, errno = read_all(handle)
  if message then
    handle:close()
    raise(op, path, message, errno)
  end
  local whole = text:match "^.*\n" or ""
  if #whole < #text then -- a line that was cut; what follows is no part of it
    handle:truncate(#whole)
  end
  local state = record.read(whole)
  -- what came after a reboot is another machine; files are still there
  state.other_boot = state.boot ~= nil and state.boot ~= boot_id()
  state.elsewhere = not state.other_boot and state.pidns ~= nil
    and state.pidns ~= pid_namespace()
  return setmetatable({ name = name, path = path, size = #whole, state = state, _handle = handle,
    _next = state.last, _next_part = state.last_part }, Journal)
end

--- Opens and locks a journal that is there.
-- @tparam string op the verb that asks, for an Error
-- @tparam string name
-- @treturn ?nsbox.Journal
-- @treturn[2] nil
-- @treturn[2] string "gone": there is none; "busy": somebody owns it
function M.open(op, name)
  local dir = rundir.open(op)
  if not dir then
    return nil, "gone"
  end
  local path = dir .. "/" .. name .. SUFFIX
  local handle, why = try(op, path)
  if not handle then
    return nil, why
  end
  return adopt(op, name, path, handle)
end

local function append(handle, text)
  local n, message, errno = handle:write(text)
  if n == #text then
    return true
  end
  return nil, message or "No space left on device", errno or ENOSPC
end

--- Makes and locks a new one.
-- @tparam string op the verb that asks, for an Error
-- @tparam ?string name nil: one of its own
-- @treturn ?nsbox.Journal nil: there is one of that name
function M.create(op, name)
  local serial = 0
  while true do
    local dir = rundir.open(op, true)
    local unique = name or (".%d-%d"):format(process.getpid(), serial)
    local path = dir .. "/" .. unique .. SUFFIX
    -- complete and locked before it has a name
    local handle, message, errno = fd.open(dir, { "rdwr", "append", "tmpfile" }, "0600")
    local text = record.line("nsbox", record.VERSION,
      { boot = boot_id(), pidns = pid_namespace(), name = name, time = os.time() })
      .. record.line("run", 0, { pid = process.getpid() })
    local ok
    if handle then
      ok, message, errno = handle:flock()
    end
    if ok then
      ok, message, errno = append(handle, text)
    end
    if ok then
      ok, message, errno = handle:link(path)
    end
    if ok then
      return setmetatable({ name = unique, path = path, size = #text, _start = #text,
        state = record.read(text), _handle = handle, _next = 0, _next_part = 0 }, Journal)
    end
    if handle then
      handle:close()
    end
    if errno == EEXIST and name then
      return nil
    elseif errno == EEXIST then
      serial = serial + 1
    elseif errno ~= ENOENT then -- the directory was empty, and has gone
      raise(op, path, message, errno)
    end
  end
end

--- The names of all journals.
-- @tparam string op the verb that asks, for an Error
-- @tparam[opt] string dir what `rundir.open` said just now
-- @treturn string[] sorted; those of anonymous scopes begin with a dot
function M.names(op, dir)
  local names = {}
  dir = dir or rundir.open(op)
  if dir then
    for file in require("lfs").dir(dir) do
      if #file > #SUFFIX and file:sub(-#SUFFIX) == SUFFIX then
        names[#names + 1] = file:sub(1, -#SUFFIX - 1)
      end
    end
    table.sort(names)
  end
  return names
end

--- The identity of this boot: what a journal of another one says is no more.
-- @treturn string
M.boot_id = boot_id

--- Where the journal of a name is.
-- @tparam string name
-- @tparam[opt] string dir what `rundir.open` said just now
-- @treturn string
function M.path(name, dir)
  return (dir or rundir.path()) .. "/" .. name .. SUFFIX
end

--- Reads one without owning it.
-- @tparam string op the verb that asks, for an Error
-- @tparam string name
-- @treturn ?nsbox.JournalState with `busy`; nil: there is none
function M.peek(op, name)
  local journal, why = M.open(op, name)
  if journal then
    journal:close()
    return journal.state
  elseif why == "busy" then
    local f = io.open(M.path(name), "rb")
    if f then
      local text = f:read "a"
      f:close()
      local state = record.read(text)
      state.busy = true
      return state
    end
  end
end

--- Writes a line.
-- @tparam string op the verb, for an Error
-- @tparam string word
-- @tparam integer n the step, or 0
-- @tparam[opt] table fields
-- @raise an Error; then the journal is as before
function Journal:write(op, word, n, fields)
  self:write_text(op, record.line(word, n, fields))
end

--- Writes lines that were made before, in one system call.
-- @tparam string op the verb, for an Error
-- @tparam string text whole lines
-- @raise an Error; then the journal is as before
function Journal:write_text(op, text)
  local ok, message, errno = append(self._handle, text)
  if not ok then
    self._handle:truncate(self.size)
    raise(op, self.path, message, errno)
  end
  self.size = self.size + #text
end

--- Forgets everything but its beginning: nothing of what it says is left. A
-- script that makes and closes things for ever has a journal that does not grow.
function Journal:reset()
  if self._handle:truncate(self._start) then
    self.size = self._start
  end
end

--- A number for the next step.
-- @treturn integer
function Journal:number()
  self._next = self._next + 1
  return self._next
end

--- A number for the next part.
-- @treturn integer
function Journal:part()
  self._next_part = self._next_part + 1
  return self._next_part
end

--- Removes the file and lets go of it.
function Journal:remove()
  os.remove(self.path)
  self:close()
  rundir.tidy()
end

--- Puts a file aside that cannot be understood in whole.
function Journal:set_aside()
  os.rename(self.path, self.path:sub(1, -#SUFFIX - 1) .. ".damaged")
  self:close()
end

--- Lets go of it; whoever comes next finds it without an owner.
function Journal:close()
  self._handle:close()
end

return M

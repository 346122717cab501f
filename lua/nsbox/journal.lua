--- Journals: what a scope did, in a file that survives its owner.
--
-- One file a scope, in `nsbox.rundir`. Its owner holds a lock on it (flock(2)):
-- a journal that nobody has locked belongs to a scope whose owner has ended.
-- Each line is one write(2) at its end; what it means is in `nsbox.record`.
--
-- @internal nsbox.journal

local fd = require "nsbox.sys.fd"
local process = require "nsbox.sys.process"
local record = require "nsbox.record"
local rundir = require "nsbox.rundir"

local SUFFIX <const> = ".journal"
local ENOENT <const>, EEXIST <const>, EAGAIN <const>, ENOSPC <const> = 2, 17, 11, 28
local EISDIR <const>, ELOOP <const>, ENOTSUP <const> = 21, 40, 95
local CHUNK <const> = 65536

---@class nsbox.Journal
---@field name string
---@field path string
---@field state nsbox.JournalState
local Journal = {}
Journal.__index = Journal

local M = {}

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
  local path = "/proc/self/ns/pid"
  return require("nsbox.error").check("scope", path, fd.stat(path)).ino
end

-- who writes from here on
local function run_line()
  return record.line("run", 0, { pid = process.getpid(), pidns = pid_namespace(),
    boot = boot_id() })
end

-- how a journal begins
local function first_lines(name)
  return record.line("nsbox", record.VERSION, { name = name, time = os.time() }) .. run_line()
end

local function read_state(text)
  local state, here = record.read(text), pid_namespace()
  state.elsewhere = state.run.pidns ~= here
  for _, step in ipairs(state.steps) do
    step._elsewhere = step._run.pidns ~= here
    -- what came after a reboot is another machine; files are still there
    step._other_boot = step._run.boot ~= boot_id()
  end
  return state
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
    rundir.fail(op, path, message, errno)
  end
  local ok
  ok, message, errno = handle:flock()
  if not ok then
    handle:close()
    if errno == EAGAIN then
      return nil, "busy"
    end
    rundir.fail(op, path, message, errno)
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
    rundir.fail(op, path, message, errno)
  elseif text == "" then -- who made it died before it was begun
    os.remove(path)
    handle:close()
    return nil, "gone"
  end
  local whole = text:match "^.*\n" or ""
  if #whole < #text then -- a line that was cut; what follows is no part of it
    handle:truncate(#whole)
  end
  local state = read_state(whole)
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

-- at the end, for that is how it was opened
local function append(handle, text)
  local n, message, errno = handle:pwrite(text, 0)
  if n == #text then
    return true
  end
  return nil, message or "No space left on device", errno or ENOSPC
end

-- a locked file with that text and, when there is none of it yet, that name; nil, message, errno
local function make(dir, path, text)
  -- complete and locked before it has a name
  local handle, message, errno = fd.open(dir, { "rdwr", "append", "tmpfile" }, "0600")
  local nameless = handle ~= nil
  if errno == ENOTSUP or errno == EISDIR then
    -- this file system has no nameless files: whoever finds it empty removes it
    handle, message, errno = fd.open(path, { "rdwr", "append", "creat", "excl" }, "0600")
  end
  local ok = handle
  if ok then
    ok, message, errno = handle:flock()
  end
  if ok and not nameless and not still_named(handle, path) then
    ok, message, errno = nil, "somebody removed it", EAGAIN
  end
  if ok then
    ok, message, errno = append(handle, text)
    if not ok and not nameless then
      os.remove(path)
    end
  end
  if ok and nameless then
    ok, message, errno = handle:link(path)
  end
  if ok then
    return handle
  elseif handle then
    handle:close()
  end
  return nil, message, errno
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
    local text = first_lines(name)
    local handle, message, errno = make(dir, path, text)
    if handle then
      return setmetatable({ name = unique, path = path, size = #text, _start = #text,
        state = read_state(text), _handle = handle, _next = 0, _next_part = 0 }, Journal)
    end
    if errno == EEXIST and name then
      return nil
    elseif errno == EEXIST then
      serial = serial + 1
    elseif errno ~= ENOENT and errno ~= EAGAIN then -- it was empty, and somebody removed it
      rundir.fail(op, path, message, errno)
    end
  end
end

-- the directory, to be read; nil: there is none
local function open_directory(op)
  local path = rundir.open(op)
  if path then
    local dir, message, errno = fd.open(path, { "directory" })
    if not dir and errno ~= ENOENT then
      rundir.fail(op, path, message, errno)
    end
    return dir
  end
end

--- The names of all journals.
-- @tparam string op the verb that asks, for an Error
-- @tparam[opt] userdata dir a handle of their directory, opened just now
-- @treturn string[] sorted; those of anonymous scopes begin with a dot
function M.names(op, dir)
  local own <close> = not dir and open_directory(op) or nil
  dir = dir or own
  if not dir then
    return {}
  end
  local names = {}
  local files, message, errno = dir:names()
  if not files and errno ~= ENOENT then -- removed since
    require("nsbox.error").check(op, nil, files, message, errno)
  end
  for _, file in ipairs(files or {}) do
    if #file > #SUFFIX and file:sub(-#SUFFIX) == SUFFIX then
      names[#names + 1] = file:sub(1, -#SUFFIX - 1)
    end
  end
  table.sort(names)
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
      local state = read_state(text)
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
    rundir.fail(op, self.path, message, errno)
  end
  self.size = self.size + #text
end

--- Says that this process writes from here on.
-- @tparam string op the verb, for an Error
-- @raise an Error
function Journal:begin(op)
  self:write_text(op, run_line())
end

--- Says in few lines what it says in many: what stands. Where that fails it stays as it is.
-- @tparam nsbox.Step[] steps
function Journal:compact(steps)
  local lines = { first_lines(self.name) }
  for _, step in ipairs(steps) do
    lines[#lines + 1] = step.n and record.line("do", step.n, step) or nil
  end
  lines[#lines + 1] = record.line("commit", 0)
  local text, path = table.concat(lines), self.path .. ".new"
  if 2 * #text > self.size then
    return
  end
  -- who waits for the lock of the old file finds that it has no name
  os.remove(path)
  local handle = fd.open(path, { "rdwr", "append", "creat", "excl" }, "0600")
  if handle and handle:flock() and append(handle, text) and os.rename(path, self.path) then
    self._handle:close()
    self._handle, self.size = handle, #text
  elseif handle then
    handle:close()
    os.remove(path)
  end
end

--- Forgets everything but its beginning: nothing of what it says is left. A
-- script that makes and closes things for ever has a journal that does not grow.
function Journal:reset()
  if self._handle:truncate(self._start) then
    self.size = self._start
  end
end

--- What is in it so far stays when it is reset.
function Journal:keep()
  self._start = self.size
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
  os.remove(self.path .. ".new") -- of a script that was killed while it wrote that
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

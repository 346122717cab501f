--- Files that come into being as a step: complete before they have a name.
--
-- Made by O_TMPFILE and linkat(2), so that a plan knows the inode before
-- anybody can see the file; where the file system cannot do that, an empty one
-- is made first.
--
-- open(2), linkat(2)
--
-- @internal nsbox.newfile

local fd = require "nsbox.sys.fd"

local EISDIR <const>, ENOTSUP <const> = 21, 95

local M = {}

---@class nsbox.NewFile  one that is going to have a name
---@field plan table of the step
---@field path string
---@field handle? userdata the open file
local NewFile = {}
NewFile.__index = NewFile

--- Prepares a file.
-- @tparam string path its directory is there
-- @tparam string mode octal
-- @tparam string text what is in it
-- @tparam function raise gets path, message, errno: EEXIST when the name is taken
-- @treturn nsbox.NewFile
function M.new(path, mode, text, raise)
  local handle, message, errno = fd.open(path:match "^(.*)/", { "rdwr", "tmpfile" }, mode)
  if not handle and errno ~= ENOTSUP and errno ~= EISDIR then
    raise(path, message, errno)
  end
  local self = setmetatable({ path = path, handle = handle, _mode = mode, _text = text,
    _raise = raise, plan = { path = path, empty = not handle or nil } }, NewFile)
  if handle then
    local st = fd.stat(handle)
    self.plan.dev, self.plan.ino = st.dev, st.ino
    self:_fill()
  end
  return self
end

function NewFile:_fill()
  local text = self._text
  if text == "" then
    return
  end
  local written, message, errno = self.handle:write(text)
  if written ~= #text then
    self.handle:close()
    self._raise(self.path, message or "No space left on device", errno or 28)
  end
end

--- Does the step.
-- @treturn ?table its fields
-- @treturn[2] nil
-- @treturn[2] string message
-- @treturn[2] integer errno
function NewFile:name()
  local ok, message, errno
  if self.handle then
    ok, message, errno = fd.link(self.handle, self.path)
  else
    ok, message, errno = fd.open(self.path, { "rdwr", "creat", "excl" }, self._mode)
  end
  if not ok then
    self:close()
    return nil, message, errno
  elseif self.handle then
    return {}
  end
  self.handle = ok
  local st = fd.stat(ok)
  return { dev = st.dev, ino = st.ino }
end

--- What comes after the step.
-- @treturn userdata the open file
function NewFile:done()
  if self.plan.empty then
    self:_fill()
  end
  return self.handle
end

--- Lets go of it.
function NewFile:close()
  if self.handle then
    self.handle:close()
  end
end

NewFile.__close = NewFile.close

--- Makes a file, so that it can be undone; see `nsbox.part`.
-- @tparam nsbox.Part part
-- @tparam string kind of the step: `"file"`, `"held"`
-- @param ... as for `new`
-- @treturn userdata the open file
function M.make(part, kind, ...)
  local file = M.new(...)
  local ok, err = pcall(part.step, part, kind, file.plan, function()
    local fields, message, errno = file:name()
    if not fields then
      file._raise(file.path, message, errno)
    end
    return fields
  end)
  if not ok then
    file:close()
    error(err, 0)
  end
  return file:done()
end

return M

--- Files that come into being as a step: complete before they have a name.
--
-- Made by O_TMPFILE and linkat(2), so that a plan knows the inode before
-- anybody can see the file; where the file system cannot do that, an empty one
-- is made first.
--
-- open(2), linkat(2)
--
-- @module nsbox.newfile

local fd = require "nsbox.sys.fd"

local EISDIR <const>, ENOTSUP <const> = 21, 95

local M = {}

local function fill(handle, text)
  local written, message, errno = handle:write(text)
  if text ~= "" and written ~= #text then
    return nil, message or "No space left on device", errno or 28
  end
  return true
end

--- Makes a file, so that it can be undone; see `nsbox.part`.
-- @tparam nsbox.Part part
-- @tparam string kind of the step: `"file"`, `"held"`
-- @tparam string path its directory is there
-- @tparam string mode octal
-- @tparam string text what is in it
-- @tparam function raise gets path, message, errno: EEXIST when the name is taken
-- @treturn userdata the open file
function M.make(part, kind, path, mode, text, raise)
  local file, message, errno = fd.open(path:match "^(.*)/", { "rdwr", "tmpfile" }, mode)
  if not file and errno ~= ENOTSUP and errno ~= EISDIR then
    raise(path, message, errno)
  end
  local function write()
    local done, why, code = fill(file, text)
    if not done then
      raise(path, why, code)
    end
  end
  local ok, err = pcall(function()
    local plan = { path = path, empty = not file or nil }
    if file then
      local st = fd.stat(file)
      plan.dev, plan.ino = st.dev, st.ino
      write()
    end
    part:step(kind, plan, function()
      if file then
        local linked, why, code = fd.link(file, path)
        if not linked then
          raise(path, why, code)
        end
        return {}
      end
      local made, why, code = fd.open(path, { "rdwr", "creat", "excl" }, mode)
      if not made then
        raise(path, why, code)
      end
      file = made
      local st = fd.stat(made)
      return { dev = st.dev, ino = st.ino }
    end)
    if plan.empty then
      write()
    end
  end)
  if not ok then
    if file then
      file:close()
    end
    error(err, 0)
  end
  return file
end

return M

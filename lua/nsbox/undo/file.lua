--- Undoing a file: it is removed, if it is still the one that was made.
--
-- `{ path, dev, ino }`. A file that was made by O_TMPFILE has its inode before
-- it has its name, so the plan knows it; elsewhere a plan has `empty`, and a
-- file of that name that is empty and ours is what a crash left.
--
-- @internal nsbox.undo.file

local fd = require "nsbox.sys.fd"
local process = require "nsbox.sys.process"
local undo = require "nsbox.undo"

local ENOENT <const> = 2

local M = { phase = 4, lasts = true }

local function is_ours(step)
  -- a link that somebody put there is not followed
  local handle = fd.open(step.path, { "path", "nofollow" })
  local st = handle and fd.stat(handle)
  if handle then
    handle:close()
  end
  if not st then
    return false
  elseif step.ino then
    return st.ino == step.ino and st.dev == step.dev
  end
  return step.empty and st.type == "file" and st.size == 0 and st.uid == process.geteuid()
end

--- See `nsbox.undo`.
function M.undo(steps, fail)
  for _, step in ipairs(steps) do
    if is_ours(step) then
      local ok, message, errno = os.remove(step.path)
      if not ok and errno ~= ENOENT then
        fail(step, undo.failure(step.path, message:gsub("^.-: ", ""), errno))
      end
    end
  end
end

--- See `nsbox.undo`. What is mounted on the file hides it, and is another step's.
function M.there(step)
  local st = fd.stat(step.path)
  return st and st.dev ~= step.dev or is_ours(step)
end

--- See `nsbox.undo`.
function M.describe(step)
  return step.path
end

return M

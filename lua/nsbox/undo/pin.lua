--- Undoing a pin: the bind mount of a namespace is removed, if it is of that one.
--
-- `{ path, nskind, inode, cookie }`. Inodes of namespaces are used again; the
-- cookie of a network namespace is not.
--
-- @internal nsbox.undo.pin

local ns = require "nsbox.sys.ns"
local here = require "nsbox.here"
local undo = require "nsbox.undo"

local ENOENT <const>, EINVAL <const> = 2, 22

local M = { phase = 2 }

local function is_ours(step)
  local handle <close> = ns.open(step.path)
  if not handle then -- nothing there, or nothing mounted on the file
    return false
  end
  local _, inode = handle:id()
  if handle:kind() ~= step.nskind or inode ~= step.inode then
    return false
  end
  if not step.cookie then
    return true
  end
  local cookie, message, errno = handle:cookie()
  if not cookie then -- what cannot be looked at is not gone
    error(undo.failure(step.path, message, errno), 0)
  end
  return cookie == step.cookie
end

--- See `nsbox.undo`.
function M.undo(steps, fail)
  for _, step in ipairs(steps) do
    if is_ours(step) then
      local ok, message, errno = (step._inside or here):unpin(step.path)
      if not ok and errno ~= ENOENT and errno ~= EINVAL then
        fail(step, undo.failure(step.path, message:gsub("^.-: ", ""), errno))
      end
    end
  end
end

--- See `nsbox.undo`.
M.there = is_ours

--- See `nsbox.undo`.
function M.describe(step)
  return ("%s:[%d] pinned at %s"):format(step.nskind, step.inode, step.path)
end

return M

--- Undoing a file that was mounted in a process's mount namespace: the mount goes.
--
-- `{ pid, id, target, dev, ino }`. Where the process has ended, so has the mount,
-- or it belongs to who is left there.
--
-- @internal nsbox.undo.overmount

local overmount = require "nsbox.overmount"
local process = require "nsbox.sys.process"
local undo = require "nsbox.undo"

local M = { phase = 2, pids = true }

-- the namespaces of the process that is meant
local function find(step)
  local handle <close> = process.open(step.pid)
  if handle and handle:identity() == step.id then
    return overmount.namespaces(handle)
  end
end

--- See `nsbox.undo`.
function M.undo(steps, fail)
  for _, step in ipairs(steps) do
    local mnt <close>, user = find(step)
    if mnt then
      local owner <close> = user
      local ok, message, errno = overmount.umount(mnt, owner, { step })
      local alive <close> = process.open(step.pid)
      if not ok and alive then -- else it ended meanwhile
        fail(step, undo.failure(step.target, message, errno))
      end
    end
  end
end

--- See `nsbox.undo`.
function M.there(step)
  local mnt <close>, user = find(step)
  local owner <close> = mnt and user or nil
  return mnt and overmount.there(mnt, owner, step)
end

--- See `nsbox.undo`.
function M.describe(step)
  return ("%s of pid %d"):format(step.target, step.pid)
end

return M

--- Undoing a file that is mounted elsewhere: its name goes, what is mounted stays.
--
-- `{ path, dev, ino }`, as `nsbox.undo.file`. The name is dispensable: who keeps
-- what the file is for does not need it either.
--
-- @internal nsbox.undo.held

local file = require "nsbox.undo.file"

local M = { phase = file.phase, lasts = true, undo = file.undo, there = file.there,
  describe = file.describe }

--- See `nsbox.undo`.
function M.keep(step)
  file.undo({ step }, function(_, err)
    error(err, 0)
  end)
end

return M

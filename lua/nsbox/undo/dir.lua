--- Undoing a directory: it is removed, if it is the one that was made, and empty.
--
-- `{ path, dev, ino }`; without the last two it was planned, and nothing more is
-- known. One that others have put something into is theirs.
--
-- rmdir(2)
--
-- @internal nsbox.undo.dir

local fd = require "nsbox.sys.fd"
local undo = require "nsbox.undo"

local ENOENT <const>, EEXIST <const>, ENOTEMPTY <const> = 2, 17, 39

local M = { phase = 5, lasts = true }

local function is_ours(step)
  local st = fd.stat(step.path)
  return st and st.type == "directory"
    and (not step.ino or st.ino == step.ino and st.dev == step.dev)
end

--- See `nsbox.undo`.
function M.undo(steps, fail)
  for _, step in ipairs(steps) do
    if is_ours(step) then
      local ok, message, errno = os.remove(step.path)
      if not ok and errno ~= ENOENT and errno ~= ENOTEMPTY and errno ~= EEXIST then
        fail(step, undo.failure(step.path, message:gsub("^.-: ", ""), errno))
      end
    end
  end
end

--- See `nsbox.undo`.
M.there = is_ours

--- See `nsbox.undo`.
function M.describe(step)
  return step.path .. "/"
end

return M

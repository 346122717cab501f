--- The values of a function that ran in a forked child, somewhere else.
--
-- @internal nsbox.forked

local fd = require "nsbox.sys.fd"
local process = require "nsbox.sys.process"

local M = {}

--- Calls a function in a child and waits for it; nothing else goes on meanwhile.
-- @tparam table plan for `sys.process.clone`
-- @tparam function f
-- @treturn ?boolean whether it returned; nil: there was no child
-- @return its values, or what it raised; nil: it ended before; without a child message, errno,
--   step, subject
function M.values(plan, f)
  local child, bytes, errno, step, subject = process.clone(plan, f)
  if not child then
    return nil, bytes, errno, step, subject
  end
  local pieces = {}
  while true do
    local data = bytes:read(65536)
    if not data then
      break
    end
    pieces[#pieces + 1] = data
  end
  bytes:close()
  fd.poll { [child:fileno()] = "r" }
  child:status()
  child:close()
  local text = table.concat(pieces)
  return (function(ok, ...)
    return ok or false, ...
  end)(process.results(text))
end

return M

--- `nsbox.loop "luv"`: waits in any coroutine while `uv.run` runs.
--
-- The coroutine is resumed by a callback of the loop. An error that leaves it is
-- one of that callback: luv reports it and ends the process.
--
-- @module nsbox.loop.luv

local uv = require "luv"
local poll = require("nsbox.wait").poll

local Handles = {
  __close = function(self)
    for _, handle in ipairs(self) do
      handle:close()
    end
  end,
}

return function(fds, timeout)
  local waiting, woken = coroutine.running(), false
  local function wake()
    if woken then
      return
    end
    woken = true
    local ok, err = coroutine.resume(waiting)
    if not ok then
      coroutine.close(waiting)
      error(err, 0)
    end
  end
  local handles <close> = setmetatable({}, Handles)
  for fd, how in next, fds do
    local handle = assert(uv.new_poll(fd))
    handles[#handles + 1] = handle
    handle:start(how, wake)
  end
  if timeout then
    local timer = uv.new_timer()
    handles[#handles + 1] = timer
    timer:start(math.ceil(timeout * 1000), 0, wake)
  end
  while not woken do -- somebody else may resume it, too
    coroutine.yield()
  end
  return poll(fds, 0)
end

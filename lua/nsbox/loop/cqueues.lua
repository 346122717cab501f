--- `nsbox.loop "cqueues"`: waits in a thread of a cqueues controller.
--
-- Elsewhere, also in a coroutine that such a thread runs itself, a wait blocks:
-- only the thread can yield to the controller.
--
-- @module nsbox.loop.cqueues

local cqueues = require "cqueues"
local poll = require("nsbox.wait").poll

-- a controller remembers descriptors by their numbers
local Watched = {
  __close = function(self)
    for _, object in ipairs(self) do
      cqueues.cancel(object.pollfd)
    end
  end,
}

return function(fds, timeout)
  local _, thread = cqueues.running()
  if not thread then
    return poll(fds, timeout)
  end
  local watched <close> = setmetatable({}, Watched)
  for fd, how in next, fds do
    watched[#watched + 1] = { pollfd = fd, events = how }
  end
  -- what it returns lacks those whose peer hung up
  local objects = table.move(watched, 1, #watched, 1, {})
  objects[#objects + 1] = timeout
  cqueues.poll(table.unpack(objects))
  return poll(fds, 0)
end

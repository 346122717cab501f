-- mountinfo, as hints read it and as the walk over submounts does
local machine = require "nsbox.machine"

local text

function machine.read()
  return text
end

return function(bytes)
  text = bytes
  for _, mount in ipairs(machine.mounts()) do
    assert(type(mount.root) == "string" and type(mount.point) == "string")
    assert(type(mount.options) == "string" and type(mount.fstype) == "string")
    machine.has_option(mount, "ro")
  end
  machine.mounts(1, "nsfs")
  machine.mount_of "/proc/sys"
  local r, remounts = fuzz.walk(bytes, tonumber(bytes:match "^%d%d?%d?") or 1, #bytes % 2 == 0)
  assert(r <= 0 and remounts >= 1 and remounts <= 513)
end

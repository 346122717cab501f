-- mountinfo, as hints read it and as the walk over submounts does
local machine = require "nsbox.machine"

local text

function machine.read()
  return text
end

-- any name, as the kernel writes it, is that name to both readers
local function check_name(name)
  text = "2 1 0:1 / /" .. name:gsub("[ \t\n\\]", function(c)
    return ("\\%03o"):format(c:byte())
  end) .. " rw - x y z\n"
  assert(machine.mounts()[1].point == "/" .. name, "mounts")
  local r, _, path = fuzz.walk(text, 1, true)
  assert(r == 0 and path == "/" .. name, "walk")
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
  check_name((bytes:sub(1, 4000):gsub("%z", "")))
end

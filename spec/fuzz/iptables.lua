-- the old tables of iptables; the first byte chooses the family
local netlink = require "nsbox.sys.netlink"

local NAME <const> = 16

return function(bytes)
  local family = (bytes:byte() or 0) % 2 == 0 and "inet" or "inet6"
  local t, message, errno = fuzz.with(bytes:sub(2), function()
    return netlink.iptables(nil, family)
  end)
  if not t then
    assert(type(message) == "string" and math.type(errno) == "integer" and errno > 0)
    return
  end
  assert(t.policy == "drop" or t.policy == "accept")
  for name, is in pairs(t.devices) do
    assert(is == true and #name > 0 and #name <= NAME)
  end
end

-- resolv.conf of a machine: what is taken of it is what `dns` takes
local dns = require "nsbox.dns"

return function(text)
  local o = dns.usable(text)
  if #o > 0 then
    local checked, message = dns.check(o)
    assert(checked, message)
  end
end

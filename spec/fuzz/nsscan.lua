-- whatever is in /proc: which processes are in which namespace
local ns = require "nsbox.sys.ns"

local KINDS <const> = { cgroup = true, ipc = true, mnt = true, net = true, pid = true, time = true,
  user = true, uts = true }

return function(bytes)
  local list, unseen = fuzz.with(bytes, ns.scan)
  assert(math.type(unseen) == "integer" and unseen >= 0)
  local seen = {}
  for _, record in ipairs(list) do
    local id = record.kind .. record.inode
    assert(KINDS[record.kind] and math.type(record.inode) == "integer" and not seen[id])
    seen[id] = true
    assert(#record.pids + #record.fds > 0)
    for i = 2, #record.pids do
      assert(record.pids[i] >= record.pids[i - 1])
    end
    for _, held in ipairs(record.fds) do
      assert(math.type(held.pid) == "integer" and held.fd >= 0)
    end
  end
end

--- Listing namespaces: one pass over /proc, and the pins in mountinfo.
--
-- proc(5), lsns(8)
--
-- @module nsbox.nslist

local ns = require "nsbox.sys.ns"
local machine = require "nsbox.machine"

---@class nsbox.NsRecord
---@field kind string
---@field inode integer
---@field pids integer[]
---@field fds table[] `{ pid, fd }`: descriptors that hold it open
---@field comm? string of its first process
---@field cgroup? string of its first process
---@field path? string where it is pinned
---@field owner? integer inode of the user namespace that owns it

local Record = { __name = "nsbox.nsrecord" }

function Record.__tostring(r)
  return ("%s:[%d] %d pids%s"):format(r.kind, r.inode, #r.pids, r.path and " " .. r.path or "")
end

local M = {}

-- "kind:[inode]" -> where it is mounted
local function pins()
  local found = {}
  for _, mount in ipairs(machine.mounts()) do
    if mount.fstype == "nsfs" and mount.root then
      found[mount.root] = found[mount.root] or mount.point
    end
  end
  return found
end

local function open(record)
  if record.pids[1] then
    return ns.open(record.pids[1], record.kind)
  elseif record.path then
    return ns.open(record.path)
  end
  local holder = record.fds[1]
  return holder and ns.open(("/proc/%d/fd/%d"):format(holder.pid, holder.fd))
end

M.open = open

-- seen again and again: the owners are few
local function owner_of(record)
  local handle <close> = open(record)
  local owner <close> = handle and handle:owner() or nil
  if owner then
    return select(2, owner:id())
  end
end

local function describe(record)
  local pid = record.pids[1] or record.fds[1] and record.fds[1].pid
  if pid then
    local comm = machine.read(("/proc/%d/comm"):format(pid))
    local cgroup = machine.read(("/proc/%d/cgroup"):format(pid))
    record.comm = comm and comm:gsub("\n$", "")
    record.cgroup = cgroup and (cgroup:match "0::([^\n]*)" or cgroup:match "[^\n]*")
  end
  record.owner = owner_of(record)
  return setmetatable(record, Record)
end

--- Reads all namespaces.
-- @tparam ?string kind only these
-- @treturn nsbox.NsRecord[] by kind and inode
-- @treturn integer processes that would not let us look
function M.read(kind)
  local records, unseen = require("nsbox.error").check("ns.list", nil, ns.scan(kind))
  local pinned, known = pins(), {}
  for _, record in ipairs(records) do
    local name = ("%s:[%d]"):format(record.kind, record.inode)
    record.path, known[name] = pinned[name], true
  end
  for name, path in pairs(pinned) do
    local of, inode = name:match "^(%l+):%[(%d+)%]$"
    if of and not known[name] and (not kind or of == kind) then
      records[#records + 1] = { kind = of, inode = math.tointeger(inode), pids = {}, fds = {},
        path = path }
    end
  end
  for _, record in ipairs(records) do
    describe(record)
  end
  return records, unseen
end

return M

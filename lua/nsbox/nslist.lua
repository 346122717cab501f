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
---@field path? string where it is pinned; in another mount namespace below /proc/PID/root
---@field owner? integer inode of the user namespace that owns it

local function name_of(record)
  return ("%s:[%d]"):format(record.kind, record.inode)
end

local Record = { __name = "nsbox.nsrecord" }

function Record.__tostring(r)
  return ("%s %d pids%s"):format(name_of(r), #r.pids, r.path and " " .. r.path or "")
end

local M = {}

local ESRCH <const> = 3

-- name -> where it is mounted, as seen from here; our own mount namespace first
local function pins(records)
  local found = {}
  local function look(pid, root)
    for _, mount in ipairs(machine.mounts(pid, "nsfs")) do
      found[mount.root] = found[mount.root] or root .. mount.point
    end
  end
  look("self", "")
  for _, record in ipairs(records) do
    local pid = record.kind == "mnt" and record.pids[1]
    if pid then
      look(pid, ("/proc/%d/root"):format(pid))
    end
  end
  return found
end

--- Opens the namespace of a record: that one, though its processes ended since
-- and their numbers belong to others.
-- @tparam nsbox.NsRecord record
-- @treturn userdata an ns handle
-- @return[2] nil, message, errno
function M.open(record)
  local message, errno = name_of(record) .. ": it is gone", ESRCH
  local function try(place, kind)
    local handle, why, code = ns.open(place, kind)
    if handle and handle:kind() == record.kind and select(2, handle:id()) == record.inode then
      return handle
    elseif handle then
      handle:close()
    else
      message, errno = why, code
    end
  end
  local handle
  for i = 1, #record.pids do
    handle = handle or try(record.pids[i], record.kind)
  end
  handle = handle or record.path and try(record.path)
  for i = 1, #record.fds do
    local holder = record.fds[i]
    handle = handle or try(("/proc/%d/fd/%d"):format(holder.pid, holder.fd))
  end
  if handle then
    return handle
  end
  return nil, message, errno
end

local function owner_of(record)
  local handle <close> = M.open(record)
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
  if not machine.has_proc() then -- nor a namespace, then
    require("nsbox.error").raise { op = "ns.list", subject = "/proc/", code = "ENOENT",
      detail = "it is not mounted" }
  end
  local wanted = kind and kind ~= "mnt" and { kind, "mnt" } or kind
  local all, unseen = require("nsbox.error").check("ns.list", nil, ns.scan(wanted))
  local pinned, records = pins(all), {}
  for _, record in ipairs(all) do
    local name = name_of(record)
    record.path, pinned[name] = pinned[name], nil
    if not kind or record.kind == kind then
      records[#records + 1] = record
    end
  end
  -- what only a mount holds
  for name, path in pairs(pinned) do
    local of, inode = name:match "^(%l+):%[(%d+)%]$"
    if of and (not kind or of == kind) then
      records[#records + 1] = { kind = of, inode = math.tointeger(inode), pids = {}, fds = {},
        path = path }
    end
  end
  for _, record in ipairs(records) do
    describe(record)
  end
  table.sort(records, function(a, b)
    return a.kind < b.kind or a.kind == b.kind and a.inode < b.inode
  end)
  return records, unseen
end

return M

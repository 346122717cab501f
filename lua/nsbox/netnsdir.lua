--- /run/netns, where network namespaces have names, as `ip netns` keeps it.
--
-- ip-netns(8), mount_namespaces(7)
--
-- @internal nsbox.netnsdir

local fd = require "nsbox.sys.fd"
local mount = require "nsbox.sys.mount"

local EEXIST <const>, EINVAL <const>, EAGAIN <const> = 17, 22, 11
local PATIENCE <const> = 10 -- seconds: who holds the lock mounts, and goes

local M = { DIR = "/run/netns" }

local DIR <const> = M.DIR

local function check(op, ...)
  return require("nsbox.error").check(op, DIR, ...)
end

local function share()
  local ok, message, errno = mount.propagation(DIR, "shared", true)
  if not ok and errno == EINVAL then -- not a mount point yet
    ok, message, errno = mount.mount(DIR, DIR, "none", { "bind", "rec" })
    if ok then
      ok, message, errno = mount.propagation(DIR, "shared", true)
    end
  end
  return ok, message, errno
end

--- What is wrong with a name, judged without the kernel.
-- @tparam string name
-- @treturn ?string nil: nothing
function M.wrong(name)
  if name == "" or name:find("[/%z]") then
    return ("'%s' is no name: it may not be empty or contain '/'"):format(name:gsub("%z", "\\0"))
  elseif name == "." or name == ".." then
    return ("'%s' is no name"):format(name)
  elseif #name > 255 then
    return "the name is longer than 255 bytes"
  end
end

-- the mount that this script has made ready: there is one for each mount namespace, and
-- for each time that somebody takes it away
local ready

--- Makes the directory, and shared, so that a new name is seen in every mount
-- namespace; under the lock that `ip netns` takes, or two would hide each
-- other's names.
-- @tparam string op the verb that asks, for an Error
function M.prepare(op)
  if ready and ready == mount.id(DIR) and mount.propagation(DIR, "shared") then
    return -- all the names below would be made shared again, each time
  end
  local ok, message, errno = fd.mkdir(DIR, "0755")
  if not ok and errno ~= EEXIST then
    check(op, nil, message, errno)
  end
  local dir <close> = check(op, fd.open(DIR, { "directory" }))
  ok = require("nsbox.lock").wait(function()
    ok, message, errno = dir:flock()
    if ok or errno ~= EAGAIN then
      return ok or false
    end
  end, PATIENCE)
  if not ok then
    check(op, nil, message, errno)
  end
  check(op, share())
  ready = mount.id(DIR)
end

return M

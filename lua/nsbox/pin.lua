--- Pins: a namespace kept alive by a bind mount of its file, as `ip netns` does.
--
-- mount(2), ip-netns(8)
--
-- @module nsbox.pin

local fd = require "nsbox.sys.fd"
local ns = require "nsbox.sys.ns"

local here = require "nsbox.here"
local netnsdir = require "nsbox.netnsdir"

local DIR <const> = netnsdir.DIR
local ENOENT <const>, EINVAL <const> = 2, 22

local M = {}

local function fail(op, subject, message, errno)
  require("nsbox.error").check(op, subject, nil, message, errno)
end

-- where a name or a path is; a name is for network namespaces only
local function path_of(op, where, kind, level)
  if type(where) ~= "string" or where == "" or where:find("\0", 1, true) then
    error(op .. ": expected a path, or a name under " .. DIR, level + 1)
  elseif where:find("/", 1, true) then
    return where
  elseif kind ~= "net" then
    error(("%s: '%s' is no path; only network namespaces have names"):format(op, where),
      level + 1)
  end
  local wrong = netnsdir.wrong(where)
  if wrong then
    error(op .. ": " .. wrong, level + 1)
  end
  return DIR .. "/" .. where
end

--- Pins a namespace.
-- @param handle an ns handle
-- @tparam string kind
-- @tparam string where a path that does not exist yet, or a name
-- @tparam integer level whose line to blame
-- @tparam[opt] nsbox.Island island to pin it in
-- @treturn string the path
function M.make(handle, kind, where, level, island)
  local path, ground = path_of("pin", where, kind, level + 1), island or here
  if path:sub(1, #DIR + 1) == DIR .. "/" then
    path = ground:names "pin" .. path:sub(#DIR + 1)
  elseif island then
    path = island.root .. path
  end
  local file, message, errno = fd.open(path, { "rdonly", "creat", "excl" }, "0444")
  if not file then
    fail("pin", path, message, errno)
  end
  file:close()
  local ok
  ok, message, errno = ground:pin(handle, path)
  if not ok then
    os.remove(path)
    fail("pin", path, message, errno)
  end
  return path
end

--- Removes a pin; one that is gone already is fine.
-- @tparam string where a path, or a name
-- @tparam integer level whose line to blame
-- @tparam[opt] nsbox.Island island that it is pinned in
function M.remove(where, level, island)
  local path = path_of("unpin", where, "net", level + 1)
  -- another mount is not ours to remove
  local handle, message, errno = ns.open(path)
  local ok
  if handle then
    handle:close()
    ok, message, errno = (island or here):unpin(path)
  end
  if not ok and errno == ENOENT then
    return
  elseif not ok then
    fail("unpin", path, errno == EINVAL and "nothing is pinned there" or message, errno)
  end
  -- EBUSY: another mount was below it
  local removed
  removed, message, errno = os.remove(path)
  if not removed and errno ~= ENOENT then
    fail("unpin", path, message:match ": ([^:]*)$", errno)
  end
end

return M

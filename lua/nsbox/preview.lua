--- What a box is going to see of its files, before it is there.
--
-- Most often that is what lies in its root: it is read there. Where something is mounted over
-- that, or layers are merged, it is for the kernel to say: the same mounts are made for a forked
-- child, which reads.
--
-- @internal nsbox.preview

local M = {}

local FILES <const> = { "/etc/passwd", "/etc/group" }

-- whether no link is on the way to it, as far as that exists
local function is_straight(root, path)
  local fd = require "nsbox.sys.fd"
  local function real(handle)
    return fd.readlink("/proc/self/fd/" .. handle:fileno())
  end
  local top = real(root)
  while top and path ~= "" do
    local there <close> = fd.open(path, "path", nil, root)
    if there then
      return real(there) == (top == "/" and "" or top) .. path
    end
    path = path:match "^(.*)/[^/]*$" or ""
  end
  return path == "" and top ~= nil
end

-- a mount that may be on the way to one of the files
local function is_elsewhere(root, target)
  for _, path in ipairs(FILES) do
    if require("nsbox.binds").within(path, target) then
      return false
    end
  end
  return is_straight(root, target)
end

local function each_target(o)
  local targets = {}
  for _, t in ipairs(o.tmpfs or {}) do
    targets[#targets + 1] = t.target
  end
  for _, b in ipairs(o.bind or {}) do
    targets[#targets + 1] = b.to
  end
  return targets
end

-- whether no mount of the box may lie over one of the files
local function is_plain(root, targets)
  if #targets == 0 then
    return true
  end
  for _, path in ipairs(FILES) do
    if not is_straight(root, path) then
      return false
    end
  end
  for _, target in ipairs(targets) do
    if not is_elsewhere(root, target) then
      return false
    end
  end
  return true
end

-- the root whose files are seen as they lie there, or nil
local function root_of(o)
  if o.overlay and (o.overlay.base or #o.overlay.lower > 0) or o.rootfs and not o.rootfs.dir then
    return nil
  end
  local root = require("nsbox.sys.fd").open(o.rootfs and o.rootfs.dir or "/",
    { "path", "directory" })
  if root and not is_plain(root, each_target(o)) then
    root:close()
    return nil
  end
  return root
end

-- by a child with the same mounts
local function read_inside(plan, op)
  local user = require "nsbox.user"
  local ok, value, errno, step, subject = require("nsbox.forked").values(plan, function()
    local texts = {}
    for _, path in ipairs(FILES) do
      texts[path] = user.read(path)
    end
    return texts
  end)
  if ok == nil then
    require("nsbox.error").spawn_failed(op, plan, value, errno, step, subject)
  elseif not ok then
    require("nsbox.error").raise { op = op, step = "user", subject = "the box's files",
      detail = tostring(value or "who reads them was killed"), code = "EIO" }
  end
  return value
end

--- Makes a reader of the box's /etc/passwd and /etc/group.
-- @tparam table o checked options
-- @param mnt its mount namespace: nil: the caller's, true: a new one, or which
-- @tparam string op the verb, for an Error
-- @tparam function plan makes the plan of the child, and what has to be closed after it
-- @treturn function from a path to its text, or nil
function M.reader(o, mnt, op, plan)
  local texts
  return function(path)
    if texts then
      return texts[path]
    elseif mnt == nil then
      return require("nsbox.user").read(path)
    end
    local root <close> = mnt == true and root_of(o) or nil
    if root then
      return require("nsbox.user").read(path, root)
    end
    local child, _ <close> = plan()
    texts = read_inside(child, op)
    return texts[path]
  end
end

return M

--- Files shown in the mount namespace of a process, over those that it has.
--
-- A file of ours becomes a mount of its own, read-only, which a forked child
-- takes into the other mount namespace. An ordinary user may copy a mount only
-- where his power is: in a copy of this mount namespace that belongs to the
-- user namespace of that process.
--
-- open_tree(2), move_mount(2), mount_namespaces(7)
--
-- @internal nsbox.overmount

local fd = require "nsbox.sys.fd"
local mount = require "nsbox.sys.mount"
local ns = require "nsbox.sys.ns"
local process = require "nsbox.sys.process"
local sys = require "nsbox.sys"

local EPERM <const>, ENOENT <const>, EINVAL <const> = 1, 2, 22
local FLAGS <const> = { set = { "ro", "nosuid", "nodev", "noexec" } }

local M = {}

local function same(handle, path)
  local own <close> = ns.open(path)
  local dev, inode = handle:id()
  local own_dev, own_inode = own:id()
  return dev == own_dev and inode == own_inode
end

local function values(ok, value, message, code)
  if not ok then
    return false, tostring(value or "the child ended"), ok == nil and message or EINVAL
  end
  return value, message, code
end

-- runs f in a forked child, which joins and makes namespaces first; f's values
local function within(join, new, f, root)
  local plan = { join = join, new = new, pdeathsig = "KILL", uid = root, gid = root }
  local t = table.pack(require("nsbox.forked").values(plan, f))
  if t[1] == nil and root then -- it has no root
    return within(join, new, f)
  end
  return values(table.unpack(t, 1, t.n))
end

-- a mount of the file, attached nowhere
local function detached(path)
  local tree, message, errno = mount.open_tree(path, "clone")
  if not tree then
    return nil, message, errno
  end
  local ok
  ok, message, errno = mount.setattr(tree, FLAGS)
  if not ok then
    tree:close()
    return nil, message, errno
  end
  return tree
end

-- The mount that is on top there, where that is ours: what it is does not change any more,
-- whatever becomes of its path. Found as `attach` finds it.
local function find(it)
  local root <close> = fd.open("/", { "path", "directory" })
  local there = root and fd.open(it.target, "path", nil, root)
  local st = there and fd.stat(there)
  if st and st.ino == it.ino and st.dev == it.dev then
    return there
  elseif there then
    there:close()
  end
end

-- by its descriptor; our /proc is not that of the namespace, and may be nowhere in it
local function umount(there, proc)
  local ok, message, errno = process.chdir(proc)
  if ok then
    ok, message, errno = mount.umount("self/fd/" .. there:fileno(), "detach")
  end
  return ok, message, errno
end

-- In the child, in the mount namespace of that process. Its links are not ours to follow: one
-- of /proc would lead to where a descriptor of the script does. What is missing is made.
local function attach(files, trees, proc)
  local root <close>, wrong, code = fd.open("/", { "path", "directory" })
  if not root then
    return false, wrong, code
  end
  for i, file in ipairs(files) do
    local ok, message, errno = mount.move_mount(trees[i], file.target, root, not file.optional)
    if not ok and not (errno == ENOENT and file.optional) then
      for j = i - 1, 1, -1 do
        local there <close> = find(files[j])
        if there then
          umount(there, proc)
        end
      end
      return false, message, errno
    end
  end
  return true
end

--- The mount and user namespaces of a process; the second is nil where it is ours.
-- @tparam userdata handle of the process
-- @treturn ?userdata mnt; nil: it has ended, or has no mount namespace of its own
-- @return ?userdata user, or message
-- @treturn ?integer errno: EINVAL for one with our mount namespace
function M.namespaces(handle)
  local mnt, message, errno = ns.open(handle, "mnt")
  if not mnt then
    return nil, message, errno
  elseif same(mnt, "/proc/thread-self/ns/mnt") then
    mnt:close()
    return nil, "it has no mount namespace of its own", EINVAL
  end
  local user
  user, message, errno = ns.open(handle, "user")
  if not user then
    mnt:close()
    return nil, message, errno
  elseif same(user, "/proc/thread-self/ns/user") then
    user:close()
    user = nil
  end
  return mnt, user
end

local Trees = {}
Trees.__index = Trees
function Trees:__close()
  for _, tree in ipairs(self) do
    tree:close()
  end
end

--- Shows files there: all or none.
-- @tparam userdata mnt
-- @tparam ?userdata user
-- @tparam table files list of `{ path, target, dev, ino, optional }`; optional: only where there
--   is one
-- @treturn ?boolean true
-- @return[2] false, message, errno
function M.mount(mnt, user, files)
  local trees <close> = setmetatable({}, Trees)
  local proc <close> = fd.open("/proc", { "path", "directory" })
  local message, errno
  for i, file in ipairs(files) do
    trees[i], message, errno = detached(file.path)
    if not trees[i] then
      break
    end
  end
  if #trees == #files then
    -- who makes a file there has to have a name there
    return within({ user, mnt }, nil, function()
      return attach(files, trees, proc)
    end, user and 0 or nil)
  elseif errno ~= EPERM or not user then
    return false, message, errno
  end
  return within({ user }, { "mnt" }, function()
    local copies = {}
    for i, file in ipairs(files) do
      copies[i], message, errno = detached(file.path)
      if not copies[i] then
        return false, message, errno
      end
    end
    local ok
    ok, message, errno = sys.setns(mnt)
    if not ok then
      return false, message, errno
    end
    return attach(files, copies, proc)
  end)
end

--- Takes them away again, where they are on top and ours.
-- @tparam userdata mnt
-- @tparam ?userdata user
-- @tparam table list of `{ target, dev, ino }`
-- @treturn ?boolean true
-- @return[2] false, message, errno
function M.umount(mnt, user, list)
  local proc <close> = fd.open("/proc", { "path", "directory" })
  return within({ user, mnt }, nil, function()
    for _, it in ipairs(list) do
      local there <close> = find(it)
      if there then
        local ok, message, errno = umount(there, proc)
        if not ok and errno ~= EINVAL then
          return false, message, errno
        end
      end
    end
    return true
  end)
end

--- Which of them are on top there.
-- @tparam userdata mnt
-- @tparam ?userdata user
-- @tparam table it `{ target, dev, ino }`
-- @treturn boolean
function M.there(mnt, user, it)
  return within({ user, mnt }, nil, function()
    local there <close> = find(it)
    return there ~= nil
  end) == true
end

return M

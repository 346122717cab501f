--- The option `overlay`: layers over a root file system, of which one takes the changes.
--
-- Where nothing else is said they go into memory, and are gone with the box: up to half
-- of the machine's, as in every tmpfs without a size; an `upper` on a tmpfs that has one is
-- the way to less. The mount is the box's own.
--
-- overlayfs (Documentation/filesystems/overlayfs.rst)
--
-- @internal nsbox.overlay

local M = {}

local KNOWN <const> = { lower = true, upper = true, work = true }
local MOST <const> = 500 -- layers, with the directory of rootfs: the kernel takes no more

local function path(value, name)
  local checked, message = require("nsbox.binds").source(value, "a directory")
  if message then
    return nil, require("nsbox.mistake").in_field(name, message)
  end
  return checked
end

local function lowers(value)
  local list, message = require("nsbox.types").list(function(dir)
    return require("nsbox.binds").source(dir, "a directory")
  end)(value)
  if list and #list >= MOST then
    message = ("at most %d directories"):format(MOST - 1)
  end
  if message then
    return nil, require("nsbox.mistake").in_field("lower", message)
  end
  return list
end

--- Checks the option: "tmp", or `{ lower = one or a list, upper =, work = }`.
-- @param value what was given
-- @treturn ?table `{ lower = list, upper =, work = }`
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.check(value)
  if value == "tmp" then
    return { lower = {} }
  elseif type(value) ~= "table" then
    return nil, require("nsbox.mistake").expected("\"tmp\" or { lower =, upper =, work = }", value)
  end
  for key in next, value do
    if not KNOWN[key] then
      return nil, require("nsbox.mistake").unknown(key, KNOWN)
    end
  end
  if (value.upper == nil) ~= (value.work == nil) then
    return nil, "upper and work go together: work is an empty directory on the same file system"
  end
  local out, message = { lower = {} }, nil
  if value.lower ~= nil then
    out.lower, message = lowers(value.lower)
  end
  for _, name in ipairs { "upper", "work" } do
    if value[name] ~= nil and not message then
      out[name], message = path(value[name], name)
    end
  end
  if message then
    return nil, message
  end
  return out
end

-- the directories -------------------------------------------------------------------

local function raise(op, name, dir, detail, errno)
  require("nsbox.error").raise({ op = op, step = "overlay", subject = dir,
    detail = name .. ": " .. detail, errno = errno }, { layer = name })
end

local function open(op, name, dir, flags)
  local handle, message, errno = require("nsbox.sys.fd").open(dir, flags)
  if not handle then
    raise(op, name, dir, message:sub(#dir + 3), errno)
  end
  return handle
end

local EAGAIN <const>, EBUSY <const>, EXDEV <const>, EINVAL <const> = 11, 16, 18, 22

-- one that is written to: open, and its path without links and dots
local function take(op, name, dir, held)
  local handle = open(op, name, dir, { "rdonly", "directory" })
  held[#held + 1] = handle
  local real, message, errno = require("nsbox.sys.fd").readlink("/proc/self/fd/"
    .. handle:fileno())
  if not real then
    raise(op, name, dir, message, errno)
  end
  return handle, real
end

local function lock(op, name, dir, handle)
  local ok, message, errno = handle:flock()
  if not ok and errno == EAGAIN then
    raise(op, name, dir, "another box writes there", EBUSY)
  elseif not ok then
    raise(op, name, dir, message, errno)
  end
end

-- upper and work have to be on one mount: what both are in
local function common(a, b)
  local within, dir = require("nsbox.binds").within, ""
  for name in (a .. "/"):gmatch "(/[^/]*)" do
    if not within(b, dir .. name) then
      break
    end
    dir = dir .. name
  end
  return dir
end

--- Looks for all directories, and takes those that are written to.
--
-- Two boxes that change one `upper` at a time would have files that are neither's, and the
-- kernel does not say so: there is a lock on `upper` and on `work` while the box lives. It is the
-- script's, and does not see a box that outlives one that is killed, until the next scope that is
-- opened ends that box.
-- @tparam table o checked options: `overlay` gets `base`, what upper and work are in
-- @tparam string op the verb, for an Error
-- @tparam table held gets the open directories with the locks
function M.open(o, op, held)
  local overlay = o.overlay
  for i, dir in ipairs(overlay.lower) do
    open(op, ("lower[%d]"):format(i), dir, { "path", "directory" }):close()
  end
  open(op, "rootfs", o.rootfs.dir, { "path", "directory" }):close()
  if not overlay.upper then
    return
  end
  local stat, within = require("nsbox.sys.fd").stat, require("nsbox.binds").within
  local upper_handle, upper = take(op, "upper", overlay.upper, held)
  local work_handle, work = take(op, "work", overlay.work, held)
  if within(upper, work) or within(work, upper) then
    raise(op, "work", overlay.work, "is, or is in, or has in it, upper", EINVAL)
  elseif stat(upper_handle).dev ~= stat(work_handle).dev then
    raise(op, "work", overlay.work, "is on another file system than upper", EXDEV)
  end
  lock(op, "upper", overlay.upper, upper_handle)
  lock(op, "work", overlay.work, work_handle)
  local base = common(upper, work)
  overlay.base = base == "" and "/" or base
  overlay.upper, overlay.work = upper:sub(#base + 2), work:sub(#base + 2)
end

--- The trees that the layers are in, the uppermost first, then that of the changes.
-- @tparam table o checked options, opened
-- @treturn table list of paths
function M.sources(o)
  local list = table.move(o.overlay.lower, 1, #o.overlay.lower, 1, {})
  list[#list + 1] = o.rootfs.dir
  list[#list + 1] = o.overlay.base
  return list
end

--- Adds the mount that becomes the root.
--
-- The layers get short names in the scratch: who makes the mount need not be able to come to
-- where they are, the box does not see where that is, and the kernel takes one page of options.
-- @tparam table list of mounts
-- @tparam table o checked options, opened
-- @tparam table sources the elements that took the sources
-- @tparam integer scratch the element with a file system for what is thrown away
-- @tparam table flags of the mount
-- @tparam boolean in_userns whether the box has a user namespace
function M.add(list, o, sources, scratch, flags, in_userns)
  local function add(element)
    element.below = scratch
    list[#list + 1] = element
  end
  local names = {}
  for i, source in ipairs(sources) do
    local name = i > #o.overlay.lower + 1 and "changes" or tostring(i)
    add { place = source, target = name, make = true, nofollow = true }
    -- the scratch lies over "/", and that is the way there
    names[#names + 1] = name ~= "changes" and "/../" .. name or nil
  end
  for _, name in ipairs { "upper", "work" } do
    add(o.overlay.base and { symlink = "changes/" .. o.overlay[name], target = name }
      or { directory = name })
  end
  list[#list + 1] = { type = "overlay", source = "overlay", target = "/", root = true,
    flags = flags, data = ("lowerdir=%s,upperdir=/../upper,workdir=/../work%s"):format(
      table.concat(names, ":"), in_userns and ",userxattr" or "") }
end

return M

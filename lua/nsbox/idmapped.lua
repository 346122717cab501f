--- A tree of files that is shown with other ids: those of a box, not of the machine.
--
-- Only root of the machine can make one, and only of a mount that is attached
-- nowhere: the caller makes it, and the box attaches it.
--
-- mount_setattr(2) on MOUNT_ATTR_IDMAP
--
-- @internal nsbox.idmapped

local M = {}

-- User namespaces by whose maps ids are shown; nobody is in them. To make one takes as long
-- as a launch: those that were used since the last collection of garbage are kept.
local holders = {}

local watched = false
local function watch()
  watched = true
  setmetatable({}, { __gc = function()
    watched = false
    for key, holder in next, holders do
      if holder.users == 0 and not holder.used then
        holder.ns:close()
        holders[key] = nil
      end
      holder.used = false
    end
    if next(holders) then
      watch()
    end
  end })
end

local function key_of(maps)
  local key = {}
  for _, which in ipairs { "uid", "gid" } do
    for _, range in ipairs(maps[which]) do
      key[#key + 1] = table.concat(range, " ")
    end
    key[#key + 1] = ""
  end
  return table.concat(key, "\n")
end

-- one that is not closed before `users` says so
local function take(maps)
  local key = key_of(maps)
  local holder = holders[key]
  if holder then
    holder.users, holder.used = holder.users + 1, true
    return holder
  end
  holder = { ns = require("nsbox.ns").new { "user", maps = { uid = maps.uid, gid = maps.gid } },
    users = 1, used = true }
  holders[key] = holder
  if not watched then
    watch()
  end
  return holder
end

--- Whether the files of its maker are nobody's in a box: those of root are, in his boxes; an
-- ordinary user has his own id there.
-- @tparam table who `{ euid =, maps = }`, as the machine counts ids
-- @treturn boolean
function M.is_needed(who)
  return who.euid == 0 and who.maps ~= nil
    and not require("nsbox.ranges").has_outside(who.maps.uid, 0)
end

--- A copy of a tree, shown by these maps.
-- @tparam string dir
-- @tparam table maps `{ uid = ranges, gid = ranges }`, as the machine counts ids
-- @tparam string op the verb, for an Error
-- @tparam table opened gets what has to be closed after the launch
-- @tparam ?string what "root": it is to be the root of a box, for the hint; "layer": of an overlay,
--   which shows nothing that is mounted below it
-- @treturn userdata for the field `tree` of a mount
function M.tree(dir, maps, op, opened, what)
  local holder = take(maps)
  local mount = require "nsbox.sys.mount"
  local tree, message, errno = mount.open_tree(dir,
    { "clone", what ~= "layer" and "recursive" or nil })
  local ok = tree ~= nil
  if tree then
    opened[#opened + 1] = tree
    -- private: the copy of a shared mount is a peer of it, and what a box mounts would appear here
    ok, message, errno = mount.setattr(tree, { recursive = true, idmap = holder.ns._handles.user,
      propagation = "private" })
  end
  holder.users = holder.users - 1
  if not ok then
    require("nsbox.error").raise({ op = op, step = tree and "idmap" or "bind", subject = dir,
      detail = message:gsub("^.-: ", "", 1), errno = errno }, { mounts = { { grab = dir },
        { place = 1, root = what ~= nil } } })
  end
  return tree
end

return M

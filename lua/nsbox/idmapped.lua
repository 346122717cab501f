--- A tree of files that is shown with other ids: those of a box, not of the machine.
--
-- Only root of the machine can show one so, and only a mount that is attached nowhere: the
-- caller takes it, shows it with the maps of the box once that has them, and the box attaches it.
--
-- mount_setattr(2) on MOUNT_ATTR_IDMAP
--
-- @internal nsbox.idmapped

local M = {}

--- Whether the files of its maker are nobody's in a box: those of root are, in his boxes; an
-- ordinary user has his own id there.
-- @tparam table who `{ euid =, maps = }`, as the machine counts ids
-- @treturn boolean
function M.is_needed(who)
  return who.euid == 0 and who.maps ~= nil
    and not require("nsbox.ranges").has_outside(who.maps.uid, 0)
end

--- Adds what takes a copy of a tree and shows it with the ids of the box.
-- @tparam table mounts of a plan with `maps`
-- @tparam string dir
-- @tparam string op the verb, for an Error
-- @tparam table opened gets what has to be closed after the launch
-- @tparam ?string what "root": it is to be the root of a box, for the hint; "layer": of an overlay,
--   which shows nothing that is mounted below it
-- @treturn integer the index of the grab
function M.take(mounts, dir, op, opened, what)
  local tree, message, errno = require("nsbox.sys.mount").open_tree(dir,
    { "clone", what ~= "layer" and "recursive" or nil })
  if not tree then
    require("nsbox.error").raise({ op = op, step = "bind", subject = dir,
      detail = message:gsub("^.-: ", "", 1), errno = errno }, { mounts = { { grab = dir },
        { place = 1, root = what ~= nil } } })
  end
  opened[#opened + 1] = tree
  local grab = #mounts + 1
  mounts[grab] = { grab = dir, tree = tree, recursive = true }
  mounts[grab + 1] = { idmap = grab }
  return grab
end

return M

--- What is done in a box before anything is mounted in it: becoming its root, settings.
--
-- The settings of an ipc namespace are its owner's: whoever writes them has to be uid 0 inside.
-- /proc is still the caller's, where nothing lies over them (CVE-2025-52881).
--
-- ipc_namespaces(7), user_namespaces(7)
--
-- @internal nsbox.early

local M = {}

-- who makes a file or a directory has to have a name in there
local function become(list, plan, chosen, who)
  local maps = who.maps
  local named = require("nsbox.ranges").has_outside
  local uid, gid
  if maps and not (named(maps.uid, who.euid) and named(maps.gid, who.egid)) then
    uid, gid = maps.uid[1][1], maps.gid[1][1]
  elseif not maps and chosen.user then -- one that is joined
    uid, gid = plan.uid, plan.gid
  end
  list[#list + 1] = gid and { gid = gid }
  list[#list + 1] = uid and { uid = uid }
end

--- Adds it to the mounts of a plan.
-- @tparam table list
-- @tparam table plan what is there of it: `uid`, `gid`
-- @tparam table o checked options
-- @tparam table chosen kinds of namespace: which are new, or joined
-- @tparam table who `{ euid, egid, maps = }`, as the machine counts ids
function M.add(list, plan, o, chosen, who)
  become(list, plan, chosen, who)
  for _, setting in ipairs(o.sysctl or {}) do
    if setting.kind == "ipc" then
      list[#list + 1] = { write = "/proc/sys/" .. setting.path, data = setting.value }
    end
  end
end

--- Whether there are settings that are written here.
-- @tparam table o checked options
-- @treturn boolean
function M.has_settings(o)
  for _, setting in ipairs(o.sysctl or {}) do
    if setting.kind == "ipc" then
      return true
    end
  end
  return false
end

return M

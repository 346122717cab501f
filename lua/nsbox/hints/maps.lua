--- Hints on id maps and on taking ids.
--
-- user_namespaces(7), newuidmap(1), subuid(5), setuid(2)
--
-- @internal nsbox.hints.maps

local machine = require "nsbox.machine"

local CAP_SETGID <const>, CAP_SETUID <const> = 6, 7
local SETUID_BIT <const> = tonumber("4000", 8)

local function apparmor()
  if machine.sysctl("kernel.apparmor_restrict_unprivileged_userns") == "1"
    and machine.ids().euid ~= 0 then
    return "kernel.apparmor_restrict_unprivileged_userns is 1: the user namespace was made, "
      .. "but has no power; as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
  end
end

local function refused(which, own, cap)
  return function(context)
    local ranges = context.maps and context.maps[which]
    local first = ranges and ranges[1]
    if first and not machine.has_cap(cap) then
      if #ranges > 1 or first[3] ~= 1 then
        return ("without privilege a map has one line of length 1; this one has %d, so it needs "
          .. "new%smap and an entry in /etc/sub%s (maps = \"subuid\")")
          :format(#ranges > 1 and #ranges or first[3], which, which)
      end
      local id = machine.ids()[own]
      if first[2] ~= id then
        return ("without privilege only the own %s %d can be mapped, not %d"):format(which, id,
          first[2])
      end
      if which == "gid" and context.maps.setgroups ~= "deny" then
        return "without privilege \"deny\" has to be written to setgroups before the gid map "
          .. "(maps.setgroups = \"deny\")"
      end
    end
    return apparmor() or ("a map file can be written once only, by a process in the parent "
      .. "user namespace or in this one, and only with ids that are mapped there themselves")
  end
end

local function not_dumpable()
  if not require("nsbox.sys.process").dumpable() then
    return "this process is not dumpable, as a function that is called in a namespace is not, so "
      .. "that nobody there can look into it: it makes no user namespaces; a program that is "
      .. "started there may (box:exec { \"lua5.4\", … })"
  end
  return "the child's /proc files belong to root, because it is not dumpable (it changed its "
    .. "ids or runs a program it may not read)"
end

local function invalid()
  return "a map has at most 340 lines that do not overlap, none of length 0"
end

local function helper_missing(name)
  return function(context)
    local path = context.maps and context.maps[name]
    if not path or not machine.exists(path) then
      return name .. " is not installed: apt-get install uidmap (elsewhere the package is "
        .. "called shadow-utils or shadow), or use maps = \"self\""
    end
    return path .. " exists, but its loader does not: is the package uidmap broken?"
  end
end

local function ids_word(name)
  return name == "newuidmap" and "subuid" or "subgid"
end

-- why the helper did not do it: its own words decide, then its mode
local function helper_refused(name)
  return function(context)
    local said = context.detail or ""
    if said:find("not allowed", 1, true) then
      return ("/etc/%s does not give this range to the user who asks; as root: usermod "
        .. "--add-%ss START-END USER"):format(ids_word(name), ids_word(name))
    end
    if said:find("determine your user name", 1, true) then
      return ("uid %d has no entry in /etc/passwd, where %s looks for its name")
        :format(machine.ids().uid, name)
    elseif machine.status("NoNewPrivs") == "1" then
      return "no_new_privs is set on this process, so the setuid bit of " .. name
        .. " has no effect: only maps = \"self\" works here"
    end
    local path = context.maps and context.maps[name] or context.subject
    local stat = path and path:sub(1, 1) == "/" and machine.stat(path)
    if stat and stat.mode & SETUID_BIT == 0 then
      return ("%s has no setuid bit (it may have file capabilities instead; look with getcap): "
        .. "as root: chmod u+s %s"):format(path, path)
    end
    local mount = path and path:sub(1, 1) == "/" and machine.mount_of(path)
    if mount and machine.has_option(mount, "nosuid") then
      return ("%s is on a nosuid mount (%s), so its setuid bit has no effect"):format(path,
        mount.point)
    end
    return apparmor() or (name .. " could not write the map: it needs its setuid bit or file "
      .. "capabilities, and the ids have to be mapped in this user namespace")
  end
end

local function no_entry(which)
  return function(context)
    if context.user == "root" then
      return ("/etc/%s gives no ids to root; without the option maps root's box gets a range "
        .. "that needs no entry"):format(which)
    end
    return ("/etc/%s gives no ids to %s; as root: usermod --add-%ss 100000-165535 %s "
      .. "(take a range that nobody has), or use maps = \"self\"")
      :format(which, context.user or "this user", which, context.user or "USER")
  end
end

local function unmapped(which)
  return function(context)
    local id = math.tointeger(context[which])
      or math.tointeger(tonumber((context.subject or ""):match("%d+")))
    local ranges = context.maps and context.maps[which]
    if id and ranges and not require("nsbox.ranges").has_inside(ranges, id) then
      return ("%s %d has no mapping in the user namespace; map it (maps = \"subuid\" gives a "
        .. "user more than one)"):format(which, id)
    end
    return ("the %s has no mapping in the user namespace"):format(which)
  end
end

local function change_refused(which)
  return function()
    return ("changing the %s needs CAP_SET%s in the user namespace"):format(which, which:upper())
  end
end

local M = {}

M.uid_map = {
  EPERM = refused("uid", "euid", CAP_SETUID),
  EACCES = not_dumpable,
  EINVAL = invalid,
}
M.gid_map = {
  EPERM = refused("gid", "egid", CAP_SETGID),
  EACCES = not_dumpable,
  EINVAL = invalid,
}
M.maps = M.uid_map

for _, name in ipairs { "newuidmap", "newgidmap" } do
  M[name] = {
    ENOENT = helper_missing(name),
    EACCES = function(context)
      return (context.maps and context.maps[name] or name) .. " may not be executed by this user"
    end,
    EPERM = helper_refused(name),
  }
end

M.subuid = { ENOENT = no_entry("subuid") }
M.subgid = { ENOENT = no_entry("subgid") }

M.setgroups = {
  EPERM = function(context)
    if context.maps and context.maps.setgroups == "deny" then
      return "setgroups is denied in this user namespace, as the kernel demands for a map "
        .. "written without privilege; maps = \"subuid\" allows groups"
    end
    local now = machine.read("/proc/self/setgroups")
    if now and now:match("deny") then
      return "setgroups is denied in the user namespace around us, and so in all below it"
    end
    return "setting groups needs CAP_SETGID and a written gid map"
  end,
  EACCES = not_dumpable,
  EINVAL = function(context)
    local ranges = context.maps and context.maps.gid
    for _, gid in ipairs(ranges and (context.groups or context.trygroups) or {}) do
      if not require("nsbox.ranges").has_inside(ranges, gid) then
        return unmapped("gid") { gid = gid, maps = context.maps }
      end
    end
    return unmapped("gid")(context)
  end,
}

M.setuid = {
  EINVAL = unmapped("uid"),
  EPERM = change_refused("uid"),
  EAGAIN = function()
    return ("that user has as many processes as RLIMIT_NPROC allows (%s)")
      :format(machine.limit("Max processes"))
  end,
}
M.setgid = { EINVAL = unmapped("gid"), EPERM = change_refused("gid") }

return M

--- Hints on mounts and on files of /proc, /sys and cgroups.
--
-- mount(2), mount_setattr(2), mount_namespaces(7), cgroups(7)
--
-- @internal nsbox.hints.mounts

local machine = require "nsbox.machine"

local LOCKED <const> = { "ro", "nosuid", "nodev", "noexec", "noatime" }

local function has(context, kind)
  local new = context.new
  for _, k in ipairs(type(new) == "string" and { new } or new or {}) do
    if k == kind then
      return true
    end
  end
  return false
end

local function file_system(context)
  if context.type then
    return context.type
  end
  local function search(mounts)
    for _, mount in ipairs(mounts) do
      -- the scratch is mounted on the root that is left, without fail
      if mount.target == context.subject and mount.type and not mount.scratch then
        return mount.type, mount
      elseif type(mount) == "userdata" then -- of process.mounts: more of them
        local fstype, found = search(mount)
        if fstype then
          return fstype, found
        end
      end
    end
  end
  return search(context.mounts or {})
end

-- the kernel mounts a new proc or sysfs only where one is to be seen whole
local function over_mounted(point)
  local first, count, overlaid = nil, 0, machine.mounts()
  for _, mount in ipairs(overlaid) do
    local inside = mount.point:sub(1, #point + 1) == point .. "/"
    -- mount points that the kernel keeps empty for this purpose do not count
    local meant = mount.point == "/proc/sys/fs/binfmt_misc"
      or mount.point:match("^/sys/fs/") or mount.point:match("^/sys/kernel/%a+$")
    if inside and not meant then
      first, count = first or mount.point, count + 1
    end
  end
  if first then
    return ("parts of our own %s are mounted over (%s%s), as in a default box, and then the "
      .. "kernel refuses a new one (dmesg: Mount too revealing): run the outer box with bare = "
      .. "true (docker: --security-opt systempaths=unconfined), or this one without a namespace "
      .. "of its own for it (namespaces = { %s = false })"):format(point, first,
      count > 1 and " and " .. count - 1 .. " more" or "", point == "/sys" and "net" or "pid")
  end
end

local refused = {}

function refused.proc(context)
  if context.new and not has(context, "pid") then
    return "mounting proc needs a pid namespace of the box's own: add \"pid\" to the namespaces"
  end
  return over_mounted("/proc") or "the pid namespace has to belong to the same user namespace, "
    .. "and one proc has to be fully visible in the mount namespace"
end

function refused.sysfs(context)
  if context.new and not has(context, "net") then
    return "mounting sysfs needs a net namespace of the box's own: add \"net\" to the "
      .. "namespaces, or bind /sys"
  end
  return over_mounted("/sys") or "the net namespace has to belong to the same user namespace, "
    .. "and one sysfs has to be fully visible; a recursive bind of /sys works, too"
end

function refused.mqueue(context)
  if context.new and not has(context, "ipc") then
    return "mounting mqueue needs an ipc namespace of the box's own: add \"ipc\" to the namespaces"
  end
end

function refused.cgroup2(context)
  if context.new and not has(context, "cgroup") then
    return "mounting cgroup2 needs a cgroup namespace of the box's own: add \"cgroup\" to the "
      .. "namespaces"
  end
end

function refused.devpts()
  return "before Linux 6 a new devpts needs uid 0 and gid 0 mapped in the user namespace; "
    .. "and it is mounted with \"newinstance\""
end

function refused.overlay()
  return ("overlay in a user namespace needs Linux 5.11; this is %s")
    :format(machine.sysctl("kernel.osrelease") or "?")
end

local function no_power(context)
  if machine.sysctl("kernel.apparmor_restrict_unprivileged_userns") == "1"
    and machine.ids().euid ~= 0 then
    return "kernel.apparmor_restrict_unprivileged_userns is 1: the user namespace was made, "
      .. "but has no power; as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
  end
  if context.new and not has(context, "mnt") then
    return "mounting needs a mount namespace of the box's own: add \"mnt\" to the namespaces"
  end
end

local function mount_refused(context)
  local fs = file_system(context)
  local text = fs and refused[fs] and refused[fs](context) or no_power(context)
  return text or (fs and ("a user namespace may not mount %s, or a security module forbids "
    .. "it"):format(fs)) or "mounting needs CAP_SYS_ADMIN in the user namespace that owns the "
    .. "mount namespace; a bind may not drop flags its source has"
end

local function locked(context)
  local mount = context.subject and machine.mount_of(context.subject)
  local held = {}
  for _, option in ipairs(mount and LOCKED or {}) do
    if machine.has_option(mount, option) then
      held[#held + 1] = option
    end
  end
  if #held > 0 then
    return ("%s came into this mount namespace with %s, and a user namespace may not take these "
      .. "flags away: keep them"):format(mount.point, table.concat(held, ", "))
  end
  return no_power(context) or "flags that a mount had in the parent user namespace (ro, nosuid, "
    .. "nodev, noexec, atime) are locked: keep them"
end

-- the directory that is to be the box's root, where it has one of its own
local function own_root(context)
  for _, mount in ipairs(context.mounts or {}) do
    if type(mount) == "table" and mount.root then
      return mount.place and context.mounts[mount.place].grab or "its root file system"
    end
  end
end

local function missing(context)
  local path = context.subject
  local root = own_root(context)
  if root and path ~= root then
    return ("there is no %s in %s"):format(path or "such path", root)
  end
  if path and path:sub(1, 1) == "/" and not machine.exists(path) then
    return ("there is no %s: source and target of a mount have to exist"):format(path)
  end
  return "source and target of a mount have to exist"
end

local function unmapped_option(context)
  local _, mount = file_system(context)
  for which, id in ((mount and mount.data or context.data) or ""):gmatch("([ug]id)=(%d+)") do
    local found = false
    for _, range in ipairs(context.maps and context.maps[which] or {}) do
      found = found or tonumber(id) >= range[1] and tonumber(id) < range[1] + range[3]
    end
    if context.maps and context.maps[which] and not found then
      return ("the mount option %s=%s names an id without a mapping in the user namespace")
        :format(which, id)
    end
  end
end

local function has_upper(context)
  for _, mount in ipairs(context.mounts or {}) do
    if type(mount) == "table" and mount.symlink and mount.target == "upper" then
      return true
    end
  end
end

local function mount_invalid(context)
  if file_system(context) == "overlay" and not has_upper(context) then
    return "no layer may have mounts below it where the box has a user namespace, which holds them "
      .. "together: a rootfs, or a lower, of \"/\" has some"
  elseif file_system(context) == "overlay" then
    return "upper and work have to be on one mount, of a file system that can take them: no "
      .. "overlay itself, no network file system; work has to be empty, but for what an overlay "
      .. "left there"
  end
  local there = machine.stat(context.subject or "")
  if there and there.type ~= "directory" then
    return ("%s is no directory, and a file system is mounted on one"):format(context.subject)
  end
  return unmapped_option(context) or "the file system does not know these options, or a bind of "
    .. "a tree with mounts of the parent user namespace in it is not recursive (\"rec\")"
end

local function unknown_type(context)
  local fs = file_system(context)
  local known = machine.read("/proc/filesystems")
  if fs and known and not known:find("\t" .. fs .. "\n", 1, true) then
    return ("this kernel does not know %s now (see /proc/filesystems); as root: modprobe %s")
      :format(fs, fs)
  end
end

-- a place for a mount that its maker may not make
local function unmakeable(context)
  local root, path = own_root(context), context.subject
  if root and path and path ~= root and not machine.exists(root .. "/" .. path) then
    return ("%s is missing in %s, and the box's root may not make it there"):format(path, root)
  end
end

local common = {
  ENOENT = missing,
  ENOTDIR = function()
    return "a directory can be mounted only on a directory, a file only on a file"
  end,
  ENODEV = unknown_type,
  ENOSPC = function(context)
    local root, path = own_root(context), context.subject
    if root and path and not machine.exists(root .. "/" .. path) then
      return ("%s is missing in %s and cannot be made there: its file system is full (df, df -i)")
        :format(path, root)
    end
    return ("a mount namespace holds at most fs.mount-max mounts (%s)")
      :format(machine.sysctl("fs.mount-max") or "?")
  end,
  EROFS = function(context)
    local root = own_root(context)
    if root then
      return ("%s is missing in %s and cannot be made there: it is on a read-only file system")
        :format(context.subject or "the place", root)
    end
    return "the file system it is on is read-only: mount a tmpfs there first"
  end,
  ELOOP = function(context)
    local root = own_root(context)
    if file_system(context) == "overlay" then
      return "two of the directories of the overlay are one, or one of them is in another: rootfs, "
        .. "lower, upper and work are directories of their own"
    elseif root and (context.subject or ""):find "^/etc/" then
      return ("%s in %s is, or is below, a symbolic link that leads in a circle"):format(
        context.subject, root)
    elseif root then
      return ("%s is, or leads through, a symbolic link in %s: what the kernel shows is mounted "
        .. "only on directories of its own"):format(context.subject or "it", root)
    end
    return "too many symbolic links, or one where nosymfollow forbids it"
  end,
  ESTALE = function(context)
    return ("somebody changed %s in %s just when it was mounted on"):format(
      context.subject or "the place", own_root(context) or "its root")
  end,
}

local function with_common(texts)
  return setmetatable(texts, { __index = common })
end

-- a directory that not everybody may pass through
local function closed(dir)
  local stat = machine.stat(dir)
  if stat and stat.type == "directory" and stat.mode & 1 == 0 then
    return ("%s has mode %04o and belongs to uid %d outside: the box's root, who is another one "
      .. "outside, may not pass through it; give it the x bit, or map its owner"):format(dir,
      stat.mode & 4095, stat.uid)
  end
end

-- what an overlay is made of: it has names in the scratch
local function closed_layer(context)
  local layers, overlay = {}, false
  for _, mount in ipairs(context.mounts or {}) do
    overlay = overlay or mount.type == "overlay" and mount.root
    if mount.place and mount.below then
      layers[#layers + 1] = context.mounts[mount.place].grab
    end
  end
  for _, dir in ipairs(overlay and layers or {}) do
    local text = closed(dir)
    if text then
      return text
    end
  end
end

local M = {}

M.mount = with_common {
  EPERM = mount_refused,
  EACCES = function(context)
    return closed_layer(context) or unmakeable(context) or mount_refused(context)
  end,
  EINVAL = mount_invalid,
  EBUSY = function()
    return "it is mounted there already, or open for writing while it is to become read-only"
  end,
}
-- what a launch's bind failed on: "source" or "target", and what is at its other end
local function bind_end(context)
  local mounts = context.mounts or {}
  for _, mount in ipairs(mounts) do
    if mount.place and mount.target == context.subject then
      local source = mounts[mount.place] and mounts[mount.place].grab
      -- the sources come first: one that is missing was never placed
      return context.subject == source and not machine.exists(source) and "source" or "target",
        source
    end
  end
  for _, mount in ipairs(mounts) do
    if mount.grab == context.subject then
      return "source"
    end
  end
end

local function bind_missing(context)
  local path = context.subject
  local which = bind_end(context)
  if path == own_root(context) then
    return ("there is no %s, which is to be the root"):format(path)
  elseif which == "source" then
    return machine.exists(path) and ("%s, the source of a bind, is a symbolic link to nothing, or "
      .. "was made just now"):format(path)
      or ("there is no %s, the source of a bind"):format(path)
  elseif which == "target" and machine.exists(path) then
    return ("there is %s here, but not in the box: a tmpfs or another bind hides it; a bind does "
      .. "not make its target"):format(path)
  elseif which == "target" then
    return ("there is no %s, the target of a bind, which has to exist: make it, or name a place "
      .. "that exists"):format(path)
  end
  return missing(context)
end

local function bind_loop(context)
  local path = context.subject
  if path and (path == own_root(context) or bind_end(context) == "source") then
    return ("%s is, or is below, a symbolic link that leads in a circle"):format(path)
  end
  return common.ELOOP(context)
end

local function bind_mismatch(context)
  local _, source = bind_end(context)
  local from, to = source and machine.stat(source), machine.stat(context.subject or "")
  if not from or not to then
    return nil
  end
  local from_dir, to_dir = from.type == "directory", to.type == "directory"
  if from_dir ~= to_dir then
    return ("%s is %s, %s is %s: a directory can be mounted only on a directory, a file only on a "
      .. "file"):format(source, from_dir and "a directory" or "a file", context.subject,
      to_dir and "a directory" or "a file")
  end
end

local function bind_not_directory(context)
  if context.subject and context.subject == own_root(context) then
    return ("%s is not a directory, and cannot be the root"):format(context.subject)
  end
  return bind_mismatch(context) or ("a part of the path %s is not a directory, or a directory "
    .. "was to be mounted on a file"):format(context.subject or "")
end

-- the first directory on the way, or the path itself, that not everybody may pass through
local function bind_denied(context)
  local path = context.subject or ""
  local text = unmakeable(context)
  if text then
    return text
  end
  for at in (path .. "/"):gmatch "()/" do
    text = closed(at == 1 and "/" or path:sub(1, at - 1))
    if text then
      return text
    end
  end
  return ("the box's root may not pass through a directory above %s"):format(path)
end

M.bind = with_common {
  EPERM = no_power,
  ENOENT = bind_missing,
  ENOTDIR = bind_not_directory,
  EACCES = bind_denied,
  ELOOP = bind_loop,
  EINVAL = function(context)
    return bind_mismatch(context) or "a tree with mounts of the parent user namespace in it can "
      .. "be bound only with all of them (recursive, \"rec\"); an unbindable one not at all"
  end,
}
M.open_tree, M.move_mount = M.bind, M.bind

M.attr = with_common { EPERM = locked, EINVAL = function(context)
  return ("%s is not a mount point"):format(context.subject or "it")
end }
M.setattr = M.attr

M.mask = with_common {
  ENXIO = function()
    return "/dev/null is not the null device (character device 1:3) here, and nothing else is "
      .. "put over what a box is not to see"
  end,
}
M.symlink, M.file, M.directory = M.mask, M.mask, M.mask

-- directories that were looked for before anything was mounted
M.overlay = with_common {
  ENOENT = function(context)
    return ("there is no %s: the directories of an overlay have to be there"):format(
      context.subject or "such directory")
  end,
  ENOTDIR = function(context)
    return ("%s is no directory"):format(context.subject or "it")
  end,
  EBUSY = function()
    return "one box at a time may write there: end the other one, or give this one an upper and a "
      .. "work of its own"
  end,
  EXDEV = function()
    return "work is an empty directory on the same file system as upper, best beside it"
  end,
}
M.overlay.EINVAL = M.overlay.EXDEV

local function without_idmap(context)
  local mount = context.subject and machine.mount_of(context.subject)
  return ("%s, on %s, cannot be shown with other ids (idmapped mounts: ext4, xfs and btrfs have "
    .. "them, tmpfs since Linux 6.3), nor can what is mounted below it: put it elsewhere, give the "
    .. "box your own ids (maps = \"self\"), or give the files those of the box and say "
    .. "rootfs = { DIR, idmap = false }"):format(context.subject or "it", mount and mount.fstype
      or "its file system")
end

M.idmap = with_common {
  EINVAL = without_idmap,
  EOPNOTSUPP = without_idmap,
  ENOSYS = without_idmap,
  EPERM = function(context)
    return ("showing the files of %s with other ids takes root of the first user namespace, and "
      .. "a mount that is not idmapped yet"):format(context.subject or "a tree")
  end,
}

M.umount = with_common {
  EINVAL = function(context)
    local mount = context.subject and machine.mount_of(context.subject)
    if mount and mount.point ~= context.subject then
      return ("%s is not a mount point"):format(context.subject)
    end
    return "a mount that came with the mount namespace is locked; the whole old root can be "
      .. "left instead (pivot_root, then detach)"
  end,
  EBUSY = function()
    return "something in it is still in use (an open file, a working directory, another "
      .. "mount); \"detach\" lets go of it when it is not"
  end,
  EPERM = no_power,
}

M.pivot_root = with_common {
  EINVAL = function()
    return "the new root has to be a mount point (bind it on itself), its parent mount not "
      .. "shared, the old place below the new root, and the current root not an initramfs"
  end,
  EBUSY = function()
    return "the new root is on the mount of the current root: bind it on itself first"
  end,
  EPERM = no_power,
}

M.mknod = {
  EPERM = function()
    return "a user namespace may not make device nodes: bind the host's"
  end,
}

local function write_refused(context)
  local path = context.subject or ""
  if path:find("cgroup.procs", 1, true) then
    return "moving a process needs write permission on cgroup.procs of the common ancestor of "
      .. "both cgroups, too; ask for a delegated one (systemd-run --user --scope -p Delegate=yes)"
  end
  if path:find("cgroup.", 1, true) then
    return "this cgroup is not delegated to us (systemd-run --user --scope -p Delegate=yes)"
  end
  if path:sub(1, 14) == "/proc/sys/net/" and context.new and not has(context, "net") then
    return "that setting belongs to the net namespace, and this box has none of its own"
  end
  if path:find "^/proc/sys/kernel/[ms]" or path:find "^/proc/sys/fs/mqueue/" then
    return ("settings of an ipc namespace are for uid 0 of its user namespace: has the box one "
      .. "(maps)? Not every kernel lets that one; this is %s"):format(
      machine.sysctl("kernel.osrelease") or "?")
  end
  if path:sub(1, 10) == "/proc/sys/" then
    return "only settings of the box's own namespaces can be changed in it"
  end
end

M.write = {
  EACCES = write_refused,
  EPERM = write_refused,
  EROFS = function()
    return "this path is on a read-only mount"
  end,
  EBUSY = function(context)
    if (context.subject or ""):find("subtree_control", 1, true) then
      return "a cgroup with processes of its own cannot hand controllers down: move them into "
        .. "a leaf first"
    end
  end,
  ENOENT = function(context)
    -- what a box is told is told before it has cards
    local device = tostring(context.subject):match "^/proc/sys/net/ipv[46]/%a+/([^/]+)/"
    if device and device ~= "all" and device ~= "default" and device ~= "lo" then
      return ("there is no device %s when the box is made: scope:sysctl(box, { … }) sets what its "
        .. "cards have"):format(device)
    end
    return ("this kernel has no %s"):format(context.subject or "such setting")
  end,
}
M.write.EOPNOTSUPP, M.write.ENOTSUP = M.write.EBUSY, M.write.EBUSY

return M

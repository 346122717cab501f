--- Hints on making and joining namespaces.
--
-- namespaces(7), user_namespaces(7), clone(2), setns(2), time_namespaces(7)
--
-- @internal nsbox.hints.namespaces

local machine = require "nsbox.machine"

local CAP_SYS_ADMIN <const> = 21

local function kinds(context)
  local new = context.new or {}
  return type(new) == "string" and { new } or new
end

local function has(context, kind)
  for _, k in ipairs(kinds(context)) do
    if k == kind then
      return true
    end
  end
  return false
end

local function seccomp_filter()
  return machine.status("Seccomp") == "2"
end

-- a chroot shows in the mount table: nothing is mounted at "/"
local function chrooted()
  for _, mount in ipairs(machine.mounts()) do
    if mount.point == "/" then
      return false
    end
  end
  return machine.has_proc() -- else there is no table to look at
end

-- AppArmor lets the namespace be made, and takes the power in it away: it shows later
local function powerless()
  if machine.sysctl("kernel.apparmor_restrict_unprivileged_userns") == "1"
    and machine.ids().euid ~= 0 then
    return "kernel.apparmor_restrict_unprivileged_userns is 1: user namespaces of unconfined "
      .. "programs have no power here; as root: sysctl -w "
      .. "kernel.apparmor_restrict_unprivileged_userns=0, or give the interpreter an AppArmor "
      .. "profile with \"userns,\""
  end
end

local function userns_refused()
  if machine.sysctl("kernel.unprivileged_userns_clone") == "0" then
    return "kernel.unprivileged_userns_clone is 0: users may not make user namespaces here; "
      .. "as root: sysctl -w kernel.unprivileged_userns_clone=1"
  end
  if machine.sysctl("user.max_user_namespaces") == "0" then
    return "user.max_user_namespaces is 0: nobody may make user namespaces here; "
      .. "as root: sysctl -w user.max_user_namespaces=10000"
  end
  local confined = powerless()
  if confined then
    return confined
  end
  if chrooted() then
    return "this process is in a chroot, where the kernel refuses user namespaces"
  end
  if seccomp_filter() then
    return "a seccomp filter is on this process, probably an outer container's: allow clone "
      .. "and unshare with CLONE_NEWUSER there (a box of nsbox: seccomp = false; docker: "
      .. "--security-opt seccomp=unconfined)"
  end
  return "the kernel refused the user namespace: a security module (SELinux, AppArmor) may "
    .. "forbid it, or our own uid or gid has no mapping in the user namespace around us"
end

local function create_refused(context)
  if has(context, "user") then
    return userns_refused()
  end
  if not machine.has_cap(CAP_SYS_ADMIN) then
    return "new namespaces need CAP_SYS_ADMIN, which this process lacks, or a new user "
      .. "namespace with them: add \"user\" to the kinds"
  end
  return seccomp_filter() and "a seccomp filter is on this process, probably an outer "
    .. "container's" or "a security module (SELinux, AppArmor) may forbid it"
end

local function limit_reached(context)
  local limits = {}
  for _, kind in ipairs(kinds(context)) do
    local name = "user.max_" .. kind .. "_namespaces"
    local value = machine.sysctl(name)
    if value == "0" then
      return name .. " is 0: nobody may make them; as root: sysctl -w " .. name .. "=10000"
    end
    if value then
      limits[#limits + 1] = name .. " = " .. value
    end
  end
  return ("a limit on namespaces is reached: %s; or 32 levels of user or pid namespaces are "
    .. "nested already"):format(#limits > 0 and table.concat(limits, ", ")
    or "user.max_*_namespaces")
end

local function kind_missing(context)
  for _, kind in ipairs(kinds(context)) do
    if not machine.exists("/proc/self/ns/" .. kind) then
      return ("this kernel has no %s namespaces (there is no /proc/self/ns/%s)"):format(kind, kind)
    end
  end
end

local function threads()
  return tonumber(machine.status("Threads") or "1")
end

local function invalid(context)
  local text = kind_missing(context)
  if not text and threads() > 1 then
    text = ("this process has %d threads; a user namespace can be entered or unshared only by "
      .. "a process with one: do it in a child (sys.process.clone or spawn)"):format(threads())
  end
  return text
end

-- pids.max of our cgroup, v2
local function pids_max()
  local cgroup = (machine.read("/proc/self/cgroup") or ""):match("0::(/[^\n]*)")
  local text = cgroup and machine.read("/sys/fs/cgroup" .. cgroup .. "/pids.max")
  return text and text:match("%d+")
end

local function too_many()
  local cgroup = pids_max()
  return ("too many processes: RLIMIT_NPROC (ulimit -u) is %s for this user%s")
    :format(machine.limit("Max processes"), cgroup and ", pids.max of the cgroup " .. cgroup or "")
end

local M = {}

M.clone = {
  EPERM = create_refused,
  EACCES = create_refused,
  ENOSPC = limit_reached,
  EUSERS = limit_reached, -- what ENOSPC was before Linux 4.9
  EINVAL = invalid,
  EAGAIN = too_many,
}
M.unshare = M.clone

M.fork = {
  EAGAIN = too_many,
  ENOMEM = function()
    return "the pid namespace is dying: its pid 1 has ended, and nothing can be started in it"
  end,
}

M.setns = {
  EPERM = function(context)
    local on = context.subject and " " .. context.subject or ""
    if not machine.has_cap(CAP_SYS_ADMIN) then
      return ("joining%s needs CAP_SYS_ADMIN in the user namespace that owns it, and this "
        .. "process has none: join that user namespace first or together with it"):format(on)
    end
    return ("joining%s needs CAP_SYS_ADMIN in the user namespace that owns it; that one may "
      .. "not be ours: join it, too (ns:owner() opens it)"):format(on)
  end,
  EINVAL = function()
    if threads() > 1 then
      return ("this process has %d threads; user and mount namespaces can be joined only by "
        .. "a process with one: do it in a child"):format(threads())
    end
    return "a process cannot join the user namespace it is in already, nor a namespace of "
      .. "another kind than the one asked for"
  end,
  EUSERS = function()
    return "a time namespace can be joined only by a process with one thread"
  end,
  ESRCH = function()
    return "that process has ended"
  end,
  ENOMEM = M.fork.ENOMEM,
}

M.open = {
  EACCES = function(context)
    return ("looking at the namespaces of another user's process needs CAP_SYS_PTRACE over "
      .. "it%s"):format(context.subject and " (" .. context.subject .. ")" or "")
  end,
  ENOENT = function(context)
    local pid = (context.subject or ""):match("^/proc/(%d+)/")
    if pid and not machine.exists("/proc/" .. pid) then
      return "there is no process " .. pid
    end
    local kind = (context.subject or ""):match("/ns/(%a+)$")
    return kind and not machine.exists("/proc/self/ns/" .. kind)
      and ("this kernel has no %s namespaces"):format(kind) or nil
  end,
  EINVAL = function()
    return "a namespace is a file such as /proc/PID/ns/net, or a bind mount of one"
  end,
}
M.open.EPERM = M.open.EACCES

local function cannot_mount()
  if not machine.has_cap(CAP_SYS_ADMIN) then
    return "a pin is a mount, which needs CAP_SYS_ADMIN: root's, or in a mount namespace of "
      .. "one's own; what is only held ends with its object"
  end
end

M.pin = {
  EPERM = cannot_mount,
  EEXIST = function(context)
    return ("a pin is a file that it makes: choose another name, or remove this one; where it "
      .. "is a pin, nsbox.ns.unpin(\"%s\")"):format(context.subject or "…")
  end,
  ENOENT = function(context)
    local dir = (context.subject or ""):match "^(.*)/"
    return dir and dir ~= "" and not machine.exists(dir)
      and ("there is no directory %s: a pin makes its file, not the way to it"):format(dir) or nil
  end,
  EINVAL = function()
    return "a mount namespace is pinned from an older one, by a mount that is not shared with it "
      .. "(mount --make-private)"
  end,
}
M.unpin = { EPERM = cannot_mount }

M.time_offsets = {
  ENOENT = function()
    return "this kernel has no time namespaces (there is no /proc/self/timens_offsets)"
  end,
  ERANGE = function()
    return ("an offset may not take a clock below zero, nor beyond 146 years; the machine has "
      .. "been up for %s seconds"):format((machine.read("/proc/uptime") or "?"):match("%S+"))
  end,
  EPERM = function()
    return "setting the clocks of a time namespace needs CAP_SYS_TIME in the user namespace "
      .. "that owns it"
  end,
  EACCES = function()
    return "the offsets are fixed as soon as a process is in the time namespace"
  end,
}

M.hostname = {
  EPERM = function(context)
    if context.new and not has(context, "uts") then
      return "the hostname belongs to the uts namespace, and this box has none of its own: "
        .. "add \"uts\" to the namespaces"
    end
    return "setting the hostname needs CAP_SYS_ADMIN in the user namespace that owns the uts "
      .. "namespace"
  end,
  EINVAL = function()
    return "a hostname has at most 64 bytes"
  end,
}

M.lo = {
  EPERM = function(context)
    return has(context, "user") and powerless()
      or context.new and not has(context, "net")
      and "the loopback device belongs to the net namespace, and this box has none of its own"
      or "bringing a device up needs CAP_NET_ADMIN in the net namespace"
  end,
}

return M

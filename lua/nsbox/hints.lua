--- Hints: what to do about a failure, composed by looking at this machine.
--
-- Loaded only when an Error is made. A hint states as a fact only what was
-- just read (a sysctl, a file's mode, the mount table); what cannot be seen
-- from here is offered as a possibility. The texts are kept by concept in
-- `nsbox.hints.*`: each is a table of steps, each step a table from the
-- errno's name to a function of the context.
--
-- The context has `subject` (what the failure was about), `detail` (the words
-- that came with it) and, for a launch, the fields of the plan: `argv`,
-- `path`, `new`, `join`, `maps`, `uid`, `cwd`, `mounts`; for a network see
-- `nsbox.hints.network`.
--
-- @internal nsbox.hints

local machine = require "nsbox.machine"

local families = {
  clone = "namespaces", unshare = "namespaces", setns = "namespaces", fork = "namespaces",
  time_offsets = "namespaces", hostname = "namespaces", lo = "namespaces", open = "namespaces",
  pin = "namespaces", unpin = "namespaces",
  maps = "maps", uid_map = "maps", gid_map = "maps", newuidmap = "maps", newgidmap = "maps",
  subuid = "maps", subgid = "maps", setgroups = "maps", setuid = "maps", setgid = "maps",
  mount = "mounts", bind = "mounts", attr = "mounts", umount = "mounts", pivot_root = "mounts",
  open_tree = "mounts", move_mount = "mounts", setattr = "mounts", mknod = "mounts",
  write = "mounts", mask = "mounts", symlink = "mounts", file = "mounts", directory = "mounts",
  idmap = "mounts", overlay = "mounts",
  exec = "programs", cwd = "programs", stdio = "programs", caps = "programs",
  bounding = "programs", ambient = "programs", no_new_privs = "programs", seccomp = "programs",
  setsid = "programs", init = "programs", user = "programs", gate = "programs",
  started = "programs",
  rlimits = "limits", oom_score_adj = "limits", nice = "limits", affinity = "limits",
  link_add = "network", link_set = "network", link_del = "network", link_get = "network",
  port_set = "network", addr_add = "network", addr_del = "network", route_add = "network",
  route_del = "network", route_replace = "network", tuntap_add = "network",
  qdisc_add = "network", qdisc_replace = "network", addr_replace = "network",
  nft = "network", sysctl = "network", netlink = "network", monitor = "network",
}

-- what means the same in every step
local anywhere = {}

function anywhere.EMFILE()
  return ("this process has as many descriptors open as RLIMIT_NOFILE allows (%s): "
    .. "close handles, or raise the limit (ulimit -n)"):format(machine.limit("Max open files"))
end

function anywhere.ENFILE()
  return ("the machine's limit of open files is reached (fs.file-max is %s)")
    :format(machine.sysctl("fs.file-max"))
end

function anywhere.EOVERFLOW(context)
  return ("an id has no mapping in the user namespace: a file or directory cannot be made%s by, "
    .. "or for, an unmapped uid or gid; extend the map (maps = \"subuid\")")
    :format(context.subject and " at " .. context.subject or "")
end

function anywhere.ENOSYS()
  if machine.status("Seccomp") == "2" then
    return "this kernel has no such system call, or the seccomp filter of an outer "
      .. "container hides it"
  end
  return "this kernel (" .. (machine.sysctl("kernel.osrelease") or "?")
    .. ") has no such system call"
end

function anywhere.ENOMEM()
  return "the kernel found no memory: see /proc/meminfo and the memory limit of this cgroup"
end

-- steps that open a file of /proc, whatever their subject is
local of_proc = { uid_map = true, gid_map = true, setgroups = true, time_offsets = true }

local function without_proc(step, code, context)
  local about = of_proc[step] or tostring(context.subject or ""):sub(1, 6) == "/proc/"
  if code == "ENOENT" and about and not machine.has_proc() then
    return "/proc is not mounted here, and a launch needs it; as root: mount -t proc proc /proc"
  end
end

local M = {}

--- Composes a hint.
-- @tparam string op what was attempted: `"run"`, `"ns.setns"`; its last word
--   counts as the step when there is no step
-- @tparam ?string step which step of it failed: `"mount"`
-- @tparam integer|string errno the number or its name
-- @tparam[opt] table context see above
-- @treturn ?string the hint, or nil when there is nothing to say
function M.hint(op, step, errno, context)
  local code = errno
  if math.type(errno) then
    code = require("nsbox.sys.errno")[errno]
  end
  step = step or op:match("[^.]+$")
  context = context or {}
  local family = families[step]
  local texts = family and require("nsbox.hints." .. family)[step]
  local text = without_proc(step, code, context)
    or texts and texts[code] and texts[code](context)
  if not text and anywhere[code] then
    text = anywhere[code](context)
  end
  return text
end

return M

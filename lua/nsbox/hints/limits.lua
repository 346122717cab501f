--- Hints on resource limits, niceness, processors and the killer of memory.
--
-- getrlimit(2), setpriority(2), sched_setaffinity(2), proc_pid_oom_score_adj(5)
--
-- @internal nsbox.hints.limits

local machine = require "nsbox.machine"

-- as /proc/PID/limits calls them
local NAMES <const> = {
  as = "Max address space", core = "Max core file size", cpu = "Max cpu time",
  data = "Max data size", fsize = "Max file size", locks = "Max file locks",
  memlock = "Max locked memory", msgqueue = "Max msgqueue size", nice = "Max nice priority",
  nofile = "Max open files", nproc = "Max processes", rss = "Max resident set",
  rtprio = "Max realtime priority", rttime = "Max realtime timeout",
  sigpending = "Max pending signals", stack = "Max stack size",
}

local function hard_limit(name)
  local text = NAMES[name] and machine.read "/proc/self/limits"
  return text and text:match("\n" .. NAMES[name] .. "%s+%S+%s+(%S+)") or "?"
end

local M = {}

M.rlimits = {
  EPERM = function(context)
    local name = context.subject or "it"
    local wanted = context.rlimits and context.rlimits[name]
    local most = name == "nofile" and tonumber(machine.sysctl "fs.nr_open")
    if wanted and most and (wanted[2] == "unlimited" or wanted[2] > most) then
      return ("nofile is at most fs.nr_open, which is %d"):format(most)
    end
    return ("the hard limit of %s is %s here, and raising it needs CAP_SYS_RESOURCE in the first "
      .. "user namespace: ask for no more, or have it raised (limits.conf(5), Limit%s= of a "
      .. "service)"):format(name, hard_limit(name), name:upper())
  end,
}

local function not_nicer()
  return ("the caller's niceness is %s, and a lower one needs CAP_SYS_NICE in the first user "
    .. "namespace, or RLIMIT_NICE (%s here)"):format(
    (machine.read "/proc/self/stat" or ""):match "^.*%) (.*)$":match(("%S+ "):rep(16) .. "(%S+)")
    or "?", hard_limit "nice")
end

M.nice = { EACCES = not_nicer, EPERM = not_nicer }

local function not_less_killed()
  return ("the caller's value is %s, and one below what it was given needs CAP_SYS_RESOURCE in "
    .. "the first user namespace"):format(
    (machine.read "/proc/self/oom_score_adj" or "?"):match "%S+")
end

M.oom_score_adj = { EACCES = not_less_killed, EPERM = not_less_killed }

M.affinity = {
  EINVAL = function(context)
    return ("%s is not there, or not for this process: this machine has the cpus %s, and %s are "
      .. "this process's"):format(context.subject or "a cpu of the list",
      (machine.read "/sys/devices/system/cpu/online" or "?"):match "%S+",
      machine.status "Cpus_allowed_list" or "?")
  end,
}

return M

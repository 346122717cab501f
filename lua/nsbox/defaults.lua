--- What every box has unless it says otherwise: capabilities, masked paths.
--
-- @internal nsbox.defaults

local M = {}

--- Docker's capabilities without MKNOD and NET_RAW, see capabilities(7).
M.caps = {
  "chown", "dac_override", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap",
  "net_bind_service", "sys_chroot", "audit_write", "setfcap",
}

--- Files that show the host, or reach into it: an empty one is put over each.
M.masked_files = {
  "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
  "/proc/sched_debug", "/proc/interrupts",
}

--- The same for directories.
M.masked_directories = {
  "/proc/acpi", "/proc/asound", "/proc/scsi", "/sys/firmware",
  "/sys/devices/virtual/powercap",
}

--- Switches of the kernel that stay visible.
M.readonly_paths = {
  "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
}

return M

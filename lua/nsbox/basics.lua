--- What every root file system of a box's own has: /proc, /sys, /dev, and its name.
--
-- Devices are bound from the machine: nobody but its root can make one. What the
-- defaults hide of /proc and /sys is found below the very mounts that are made here.
--
-- @internal nsbox.basics

local process = require "nsbox.sys.process"

local M = {}

local function append(list, element)
  list[#list + 1] = element
  return #list
end

local SAFE <const> = { "nosuid", "nodev", "noexec" }
local SAFE_RO <const> = { "ro", "nosuid", "nodev", "noexec" }

local DEVICES <const> = { "null", "zero", "full", "random", "urandom", "tty" }
local LINKS <const> = {
  { "/proc/self/fd", "fd" }, { "/proc/self/fd/0", "stdin" }, { "/proc/self/fd/1", "stdout" },
  { "/proc/self/fd/2", "stderr" }, { "pts/ptmx", "ptmx" },
}

-- a mount of the caller's, taken along: its index
local function bring(list, path, target, set)
  local grab = append(list, { grab = path, recursive = true })
  return append(list, { place = grab, target = target, make = true, nofollow = true, set = set })
end

local function add_proc(list, kind)
  if kind.proc then
    return append(list, { type = "proc", source = "proc", target = "/proc", make = true,
      nofollow = true, flags = SAFE })
  end
  return bring(list, "/proc", "/proc", SAFE)
end

-- of a network namespace of its own, where the kernel gives it a new one
local function add_sys(list, kind)
  if kind.net then
    return append(list, { type = "sysfs", source = "sysfs", target = "/sys", make = true,
      nofollow = true, flags = SAFE_RO, instead = "/sys" })
  end
  return bring(list, "/sys", "/sys", SAFE_RO)
end

-- a device is bound: nobody but the machine's root can make one. The console is the terminal that
-- the program is given, if that is one
local function add_dev(list, kind)
  local dev = append(list, { type = "tmpfs", source = "tmpfs", target = "/dev", make = true,
    nofollow = true, flags = SAFE, data = "mode=755,size=64k" })
  for _, name in ipairs(DEVICES) do
    local grab = append(list, { grab = "/dev/" .. name, optional = true })
    append(list, { place = grab, target = name, below = dev, make = true, nofollow = true,
      set = { "nosuid", "noexec" } })
  end
  local terminal = append(list, { terminal = true, try = true })
  append(list, { place = terminal, target = "console", below = dev, make = true, nofollow = true,
    set = { "nosuid", "noexec" } })
  append(list, { type = "devpts", source = "devpts", target = "pts", below = dev, make = true,
    flags = { "nosuid", "noexec" },
    data = "newinstance,ptmxmode=0666,mode=620" .. (kind.tty and ",gid=5" or "") })
  append(list, { type = "tmpfs", source = "shm", target = "shm", below = dev, make = true,
    flags = SAFE, data = "mode=1777,size=64m" })
  if kind.ipc then
    append(list, { type = "mqueue", source = "mqueue", target = "mqueue", below = dev,
      make = true, flags = SAFE, try = true })
  end
  for _, link in ipairs(LINKS) do
    append(list, { symlink = link[1], target = link[2], below = dev })
  end
end

-- what the defaults say of /proc and /sys, inside the very mounts that were made there
local function add_defences(list, proc, sys)
  local d = require "nsbox.defaults"
  local function each(paths, add)
    for _, path in ipairs(paths) do
      local fs, rest = path:match "^/(%l+)/(.+)$"
      local below = fs == "proc" and proc or fs == "sys" and sys
      if below then -- a bare one has no /sys
        add(rest, below)
      end
    end
  end
  local function mask(path, below)
    append(list, { mask = path, below = below, optional = true })
  end
  each(d.masked_files, mask)
  each(d.masked_directories, mask)
  each(d.readonly_paths, function(path, below)
    local grab = append(list, { grab = path, below = below, recursive = true, optional = true })
    append(list, { place = grab, target = path, below = below, nofollow = true, set = SAFE_RO })
  end)
end

-- checked once for all boxes that are alike in this, see process.mounts
local constant = {}

--- The mounts.
-- @tparam table kind `{ bare =, proc =, net =, ipc =, cgroup =, tty =, masks = }`: whether these
--   namespaces are not the caller's, whether it has the group of terminals
-- @treturn userdata of process.mounts
function M.mounts(kind)
  local key = ("%s %s %s %s %s %s %s"):format(kind.bare, kind.proc, kind.net, kind.ipc,
    kind.cgroup, kind.tty, kind.masks)
  if not constant[key] then
    local list = {}
    local proc, sys = add_proc(list, kind), nil
    if not kind.bare then
      sys = add_sys(list, kind)
      if kind.cgroup then
        append(list, { type = "cgroup2", source = "cgroup2", target = "fs/cgroup", below = sys,
          flags = SAFE_RO, try = true })
      end
      add_dev(list, kind)
    end
    if kind.masks then
      add_defences(list, proc, sys)
    end
    constant[key] = process.mounts(list)
  end
  return constant[key]
end

local function files_of(plan, chosen)
  local name = plan.hostname
  local files = { hosts = require("nsbox.hosts").text(name and name ~= "localhost"
    and { { address = "127.0.1.1", name = name } } or {}) }
  files.hostname = name and name .. "\n"
  if not chosen.net then -- in the caller's network it asks whom the caller asks
    files["resolv.conf"] = require("nsbox.machine").read "/etc/resolv.conf"
  end
  return files
end

--- Adds the files that say who it is and whom to ask.
-- @tparam table list of mounts
-- @tparam integer scratch the element of a file system for them
-- @tparam table plan `hostname`
-- @tparam table chosen kinds of namespace: which are new, or joined
function M.add_files(list, scratch, plan, chosen)
  for name, text in next, files_of(plan, chosen) do
    append(list, { content = text, target = name, below = scratch })
    local grab = append(list, { grab = name, below = scratch })
    -- an image that is somebody else's, and has no place for it, does without
    append(list, { place = grab, target = "/etc/" .. name, make = true, set = SAFE_RO,
      try = true })
  end
end

return M

--- Looking at this machine: small readings of /proc for hints and probes.
--
-- Loaded when something failed or is asked about, never on the way of a
-- launch. Everything here answers nil when it cannot know.
--
-- @internal nsbox.machine

local M = {}

--- Reads a whole file.
-- @tparam string path
-- @treturn ?string its text
-- @treturn[2] nil
-- @treturn[2] string message
-- @treturn[2] integer errno
function M.read(path)
  local file, message, errno = io.open(path, "rb")
  if not file then
    return nil, message, errno
  end
  local text
  text, message, errno = file:read("a")
  file:close()
  return text, message, errno
end

--- A kernel setting, see sysctl(8).
-- @tparam string name with dots: `"user.max_user_namespaces"`
-- @treturn ?string its value
function M.sysctl(name)
  local text = M.read("/proc/sys/" .. name:gsub("%.", "/"))
  return text and text:match("^%s*(.-)%s*$")
end

--- Whether the kernel is of this version, or a later one.
-- @tparam integer major
-- @tparam integer minor
-- @treturn boolean
function M.kernel_since(major, minor)
  local a, b = (M.sysctl "kernel.osrelease" or ""):match "^(%d+)%.(%d+)"
  a, b = tonumber(a) or 0, tonumber(b) or 0
  return a > major or a == major and b >= minor
end

--- A line of /proc/self/status, see proc(5).
-- @tparam string field `"Threads"`
-- @treturn ?string its value
function M.status(field)
  local text = M.read("/proc/self/status")
  return text and text:match("\n" .. field .. ":%s*([^\n]*)")
end

--- The soft limit of a resource, see getrlimit(2).
-- @tparam string name as in /proc/self/limits: `"Max processes"`
-- @treturn ?string a number or "unlimited"
function M.limit(name)
  local text = M.read("/proc/self/limits")
  return text and text:match("\n" .. name .. "%s+(%S+)")
end

local function unescape(path)
  return (path:gsub("\\([0-3][0-7][0-7])", function(octal)
    return string.char(tonumber(octal, 8))
  end))
end

--- The mounts of a process in their order, see proc(5) on mountinfo.
-- @tparam[opt="self"] integer|string pid
-- @tparam[opt] string fstype only those of this type
-- @treturn table list of `{ root, point, options, fstype }`
function M.mounts(pid, fstype)
  local mounts = {}
  local text = M.read(("/proc/%s/mountinfo"):format(pid or "self")) or ""
  local mark = fstype and " - " .. fstype .. " "
  if mark and not text:find(mark, 1, true) then
    return mounts
  end
  for line in text:gmatch("[^\n]+") do
    local root, point, options, kind =
      line:match("^[^ ]+ [^ ]+ [^ ]+ ([^ ]+) ([^ ]+) ([^ ]+).- %- ([^ ]+)")
    if point and (not fstype or kind == fstype) then
      mounts[#mounts + 1] = { root = unescape(root), point = unescape(point), options = options,
        fstype = kind }
    end
  end
  return mounts
end

--- The mount an absolute path is on, judged by its name.
-- @tparam string path
-- @treturn ?table an element of `mounts()`
function M.mount_of(path)
  local best
  for _, mount in ipairs(M.mounts()) do
    local point = mount.point == "/" and "" or mount.point
    if path == point or path:sub(1, #point + 1) == point .. "/" then
      -- the later of two on one place is the visible one
      if not best or #mount.point >= #best.point then
        best = mount
      end
    end
  end
  return best
end

--- Whether a mount has an option.
-- @tparam table mount an element of `mounts()`
-- @tparam string option `"noexec"`
-- @treturn boolean
function M.has_option(mount, option)
  return ("," .. mount.options .. ","):find("," .. option .. ",", 1, true) ~= nil
end

--- What a path is, symbolic links followed, see stat(2).
-- @tparam string path
-- @treturn ?table `{ type, mode, uid, gid }`, or nil when that cannot be known
function M.stat(path)
  local ok, fd = pcall(require, "nsbox.sys.fd")
  return ok and fd.stat and fd.stat(path) or nil
end

--- Whether there is something at a path, as far as this process can see.
-- @tparam string path
-- @treturn boolean
function M.exists(path)
  local file, _, errno = io.open(path, "rb")
  if file then
    file:close()
  end
  -- no missing file, no file where a directory should be, no name that is too long
  return file ~= nil or (errno ~= 2 and errno ~= 20 and errno ~= 36)
end

--- The processes' ids, see credentials(7).
-- @treturn table `{ uid, euid, gid, egid, groups }`
function M.ids()
  return require("nsbox.sys.process").ids()
end

--- Whether uid 0 here is the kernel's own: no user namespace around us.
-- @treturn ?boolean nil when /proc is not there to tell
function M.initial_userns()
  local text = M.read("/proc/self/uid_map")
  return text and text:match("^%s*0%s+0%s+4294967295%s*$") ~= nil
end

--- Whether this process has a capability in its effective set.
-- @tparam integer number of the capability, see capabilities(7)
-- @treturn boolean
function M.has_cap(number)
  local cap = require "nsbox.sys.cap"
  local wanted = cap.names()[number + 1]
  for _, name in ipairs(cap.get().effective) do
    if name == wanted then
      return true
    end
  end
  return false
end

--- Whether /proc is mounted: nearly all of this module needs it.
-- @treturn boolean
function M.has_proc()
  return M.exists("/proc/self/status")
end

return M

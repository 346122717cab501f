--- Hints on starting a program: exec, its file, its directory, its privilege.
--
-- execve(2), path_resolution(7), capabilities(7), script(7)
--
-- @internal nsbox.hints.programs

local machine = require "nsbox.machine"

local EXECUTE <const> = 1
local NAME_MAX <const> = 255
local DEFAULT_PATH <const> = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
local MACHINES <const> = { [3] = "i386", [40] = "arm", [62] = "x86_64", [183] = "aarch64",
                           [243] = "riscv" }

-- the file that argv[1] means, seen from here; nil when PATH has no such name
local function program(context)
  local name = context.argv and context.argv[1] or context.argv0 or context.subject
  if not name then
    return nil
  end
  if name:find("/", 1, true) then
    local cwd = context.cwd or context.trycwd
    return name:sub(1, 1) ~= "/" and cwd and cwd .. "/" .. name or name
  end
  for dir in (context.path or DEFAULT_PATH):gmatch("[^:]+") do
    if machine.exists(dir .. "/" .. name) then
      return dir .. "/" .. name
    end
  end
  return nil, name
end

-- the loader an ELF file of 64 bits names (PT_INTERP), see elf(5)
local function loader(text)
  if text:sub(1, 5) ~= "\x7fELF\2" or #text < 64 then
    return nil
  end
  local at, size, count = string.unpack("<I8", text, 33), string.unpack("<I2 I2", text, 55)
  for i = 0, count - 1 do
    local header = at + i * size + 1
    if header + 40 > #text then
      return nil
    end
    if string.unpack("<I4", text, header) == 3 then
      local offset, length = string.unpack("<I8", text, header + 8),
        string.unpack("<I8", text, header + 32)
      return text:sub(offset + 1, offset + length):match("^[^\0]+")
    end
  end
end

local function head(path)
  local file = io.open(path, "rb")
  local text = file and file:read(4096)
  if file then
    file:close()
  end
  return text
end

local function interpreter(text)
  return text and (text:match("^#!%s*([^%s]+)") or loader(text))
end

local function interpreter_missing(path, text)
  local carriage_return = text:match("^#![^\n]*\r\n")
  local name = interpreter(text)
  if name and carriage_return then
    return ("the first line of %s ends in a carriage return (DOS line ends), which the kernel "
      .. "takes as part of the interpreter's name"):format(path)
  end
  if name and not machine.exists(name) then
    return ("%s exists, but %s, its %s, does not"):format(path, name,
      text:sub(1, 2) == "#!" and "interpreter" or "loader (it is linked dynamically)")
  end
end

local function too_long(context)
  local name = context.argv and context.argv[1] or context.subject or ""
  return ("the program's name has %d bytes ('%s…'); a path has at most 4095, each part of it 255")
    :format(#name, name:sub(1, 40))
end

local function not_found(context)
  local path, name = program(context)
  if name and #name > NAME_MAX then
    return too_long(context)
  end
  if not path then
    return name and ("no %s in any directory of PATH (%s)"):format(name,
      context.path or DEFAULT_PATH)
  end
  if not machine.exists(path) then
    return "there is no such file: " .. path
  end
  local text = head(path)
  return text and interpreter_missing(path, text) or ("%s exists here; in the box it, its "
    .. "interpreter or its loader does not"):format(path)
end

-- the ids outside that the program has: what file modes are compared with
local function outside(ranges, id)
  for _, range in ipairs(ranges or {}) do
    if id >= range[1] and id < range[1] + range[3] then
      return range[2] + id - range[1]
    end
  end
end

local function program_ids(context)
  local ids, maps = machine.ids(), context.maps
  local uid, gid = ids.euid, ids.egid -- a launch that sets none keeps ours
  if context.uid then
    uid = maps and outside(maps.uid, context.uid) or not maps and context.uid
  end
  if context.gid then
    gid = maps and outside(maps.gid, context.gid) or not maps and context.gid
  end
  return uid, gid
end

-- root outside may do all this where any x bit is set
local function may_execute(stat, uid, gid)
  local mode = stat.mode
  if uid == 0 then
    return stat.type == "directory" or mode & 73 ~= 0 -- 0111
  elseif uid == stat.uid then
    return mode >> 6 & EXECUTE ~= 0
  elseif gid == stat.gid then
    return mode >> 3 & EXECUTE ~= 0
  end
  -- a supplementary group may open what the others may not
  for _, group in ipairs(machine.ids().groups or {}) do
    if group == stat.gid and mode >> 3 & EXECUTE ~= 0 then
      return true
    end
  end
  return mode & EXECUTE ~= 0
end

local function closed_parent(path, uid, gid)
  for at in path:gmatch("()/") do
    local parent = at == 1 and "/" or path:sub(1, at - 1)
    local stat = machine.stat(parent)
    if stat and stat.type == "directory" and not may_execute(stat, uid, gid) then
      return ("%s may not be passed through by uid %s outside (its mode is %04o): the program's "
        .. "user needs the x bit on every directory above it"):format(parent, uid or "?",
        stat.mode & 4095)
    end
  end
end

local function denied(context)
  local path = program(context) or context.subject
  if not path then
    return nil
  end
  local uid, gid = program_ids(context)
  local text = path:sub(1, 1) == "/" and closed_parent(path, uid, gid)
  if text then
    return text
  end
  local stat = machine.stat(path)
  if stat and stat.type == "directory" then
    return path .. " is a directory"
  end
  local mount = path:sub(1, 1) == "/" and machine.mount_of(path)
  if mount and machine.has_option(mount, "noexec") then
    return ("%s is on a noexec mount (%s)"):format(path, mount.point)
  end
  if stat and not may_execute(stat, uid, gid) then
    return ("%s is not executable for uid %s outside (its mode is %04o): chmod +x"):format(path,
      uid or "?", stat.mode & 4095)
  end
  local name = interpreter(head(path))
  local inner = name and machine.stat(name)
  if inner and not may_execute(inner, uid, gid) then
    return ("%s names the interpreter %s, which is not executable"):format(path, name)
  end
  return ("%s has no x bit for the program's user, is on a noexec mount, or a directory above "
    .. "it may not be passed through by that user"):format(path)
end

local function no_format(context)
  local path = program(context)
  local text = path and head(path)
  if not text then
    return nil
  end
  if text:sub(1, 4) == "\x7fELF" and #text >= 20 then
    local arch = string.unpack("<I2", text, 19)
    return ("%s is a program for another machine (%s)"):format(path, MACHINES[arch] or arch)
  end
  return text == "" and path .. " is empty"
    or path .. " does not start with #!: name its interpreter in the first line, or run it "
      .. "with one ({ \"sh\", \"" .. path .. "\" })"
end

local function own_filter(context)
  return context.seccomp and "every program is started by execve: the box's seccomp filter has to "
    .. "allow it, or there are none in it but functions (box:call)"
end

local M = {}

M.exec = {
  ENOENT = not_found,
  EACCES = denied,
  ENOEXEC = no_format,
  ENOTDIR = function(context)
    return ("a part of the path %s is not a directory"):format(context.subject or "")
  end,
  ENAMETOOLONG = too_long,
  E2BIG = function()
    return "arguments and environment together are too long (see ARG_MAX, and the limit of "
      .. "128 kB for one)"
  end,
  ETXTBSY = function()
    return "the file is open for writing somewhere"
  end,
  EPERM = function(context)
    return own_filter(context)
      or "the kernel refused the program: a security module, or the seccomp filter"
  end,
  ENOSYS = own_filter,
}

M.cwd = {
  ENOENT = function(context)
    return ("there is no directory %s in the box"):format(context.subject or "")
  end,
  EACCES = function(context)
    local uid, gid = program_ids(context)
    local path = context.cwd or context.subject or ""
    return closed_parent(path .. "/", uid, gid)
      or "the program's user has no x bit on that directory, or on one above it"
  end,
  ENOTDIR = function(context)
    return ("%s is not a directory"):format(context.subject or "it")
  end,
}

M.stdio = {
  EBADF = function()
    return "a descriptor for stdin, stdout or stderr is not open"
  end,
}

M.init = {
  EACCES = function()
    local level = machine.sysctl("vm.memfd_noexec")
    if level and level ~= "0" then
      return ("vm.memfd_noexec is %s: nsbox-init runs from a memfd, which this setting "
        .. "forbids; as root: sysctl -w vm.memfd_noexec=0"):format(level)
    end
    return "nsbox-init runs from a memfd; a security module may forbid that"
  end,
  ECHILD = function()
    return "nsbox-init was killed before it could say more (out of memory?)"
  end,
}

local function killed()
  return "the process was killed before its program was started (out of memory?)"
end

M.gate, M.started = { ESRCH = killed }, { ESRCH = killed }

local function no_capability()
  return "a capability can be kept only where the process has it: a user's box has all of them "
    .. "inside, a process without a user namespace just its own"
end

M.caps = { EPERM = no_capability, EINVAL = no_capability }
M.bounding, M.ambient = M.caps, M.caps

M.setsid = {
  EPERM = function()
    return "the process leads a process group already"
  end,
}

local function no_filter()
  return "this kernel takes no such filter (CONFIG_SECCOMP_FILTER), or an outer container keeps "
    .. "programs from installing any"
end

M.seccomp = {
  EACCES = function()
    return "a filter needs no_new_privs, or CAP_SYS_ADMIN in the box: leave no_new_privs true, or "
      .. "take seccomp = false"
  end,
  EINVAL = no_filter,
  EPERM = no_filter,
  ENOMEM = function()
    return "all filters on a process have at most 32768 instructions together"
  end,
}

M.no_new_privs = {
  EINVAL = function()
    return "this kernel has no no_new_privs (before Linux 3.5)"
  end,
}

M.user = {
  ENOENT = function(context)
    return ("the box's own /etc/passwd and /etc/group decide, not this machine's directory "
      .. "services; a number needs no entry: user = %s"):format(
      context.subject and context.subject:find(":", 1, true) and "\"1000:100\"" or "1000")
  end,
}

return M

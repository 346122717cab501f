--- Seccomp profiles as container runtimes have them, for libseccomp.
--
-- The `linux.seccomp` of an OCI configuration, and Docker's files, which add to each group of
-- calls for whom it is: capabilities, architectures, kernels. Architectures whose programs this
-- kernel does not run have no calls to allow. Of `flags`, SECCOMP_FILTER_FLAG_TSYNC is without
-- effect, and SECCOMP_FILTER_FLAG_SPEC_ALLOW as well: the mitigation stays.
--
-- @internal nsbox.oci

local mistake = require "nsbox.mistake"

local ACTIONS <const> = {
  SCMP_ACT_ALLOW = "allow", SCMP_ACT_ERRNO = "errno", SCMP_ACT_KILL = "kill_thread",
  SCMP_ACT_KILL_THREAD = "kill_thread", SCMP_ACT_KILL_PROCESS = "kill_process",
  SCMP_ACT_LOG = "log", SCMP_ACT_TRAP = "trap",
}
local OPERATORS <const> = {
  SCMP_CMP_EQ = "eq", SCMP_CMP_NE = "ne", SCMP_CMP_LT = "lt", SCMP_CMP_LE = "le",
  SCMP_CMP_GT = "gt", SCMP_CMP_GE = "ge", SCMP_CMP_MASKED_EQ = "masked_eq",
}
-- what such files call an architecture in `arches`
local GO <const> = { x86_64 = "amd64", aarch64 = "arm64", riscv64 = "riscv64" }

local function set(words)
  local known = {}
  for word in words:gmatch "%S+" do
    known[word] = true
  end
  return known
end

local PROFILE <const> = set(
  "defaultAction defaultErrnoRet defaultErrno architectures archMap syscalls flags")
local GROUP <const> = set "names name action errnoRet errno args comment includes excludes"
local ARGUMENT <const> = set "index value valueTwo op"
local CONDITIONS <const> = set "caps arches minKernel"
-- what csrc/seccomp.c knows
local ARCHES <const> = set("aarch64 arm mips mips64 mips64n32 mipsel mipsel64 mipsel64n32 parisc "
  .. "parisc64 ppc ppc64 ppc64le riscv64 s390 s390x x32 x86 x86_64")
-- what a kernel runs beside its own; calls of others there are none
local RUNS <const> = { x86_64 = { x86 = true, x32 = true }, aarch64 = { arm = true } }
-- one is for threads, of which there are no more yet; one would take a mitigation away
local FLAGS <const> = set "SECCOMP_FILTER_FLAG_TSYNC SECCOMP_FILTER_FLAG_SPEC_ALLOW"
local NO_FLAGS <const> = { SECCOMP_FILTER_FLAG_LOG = "refusals are not logged",
  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = "there is no SCMP_ACT_NOTIFY" }
local MOST_ERRNO <const>, MOST_RULES <const> = 4095, 65536
local MAP <const> = set "architecture subArchitectures"

local M = {}

-- raised by what follows, caught by check
local function wrong(where, message)
  error({ ("%s%s"):format(where ~= "" and where .. ": " or "", message) }, 0)
end

-- dkjson has a value for null
local function null(value)
  return value == nil or type(value) == "userdata" or getmetatable(value)
    and getmetatable(value).__tojson ~= nil
end

local function fields(t, known, where)
  if type(t) ~= "table" then
    wrong(where, mistake.expected("a table", t))
  end
  for key in next, t do
    if not known[key] then
      wrong(where, mistake.unknown(key, known))
    end
  end
end

local function list(value, where)
  if null(value) then
    return {}
  elseif type(value) ~= "table" then
    wrong(where, mistake.expected("a list", value))
  end
  local why = mistake.list(value)
  if why then
    wrong(where, why)
  end
  return value
end

local function word(value, known, where)
  local found = type(value) == "string" and known[value]
  if not found then
    wrong(where, type(value) == "string" and mistake.not_one_of(value, known)
      or mistake.expected("a word", value))
  end
  return found
end

local function integer(value, where, default)
  if null(value) and default then
    return default
  end
  local number = math.type(value) and math.tointeger(value)
  if not number then
    wrong(where, mistake.bad("an integer", tostring(value)))
  end
  return number
end

-- of two forms the number counts; the name is podman's
local function errno_of(number, name, where)
  if null(number) and not null(name) then
    local found = type(name) == "string" and require("nsbox.sys.errno")[name]
    if not math.type(found) then
      wrong(where:gsub("Ret$", ""), mistake.bad("a name like 'EPERM'", tostring(name)))
    end
    return found
  end
  return integer(number, where, 1)
end

local function action(name, errno, errno_name, where, of)
  local known = word(name, ACTIONS, where)
  local number = known == "errno" and errno_of(errno, errno_name, of) or nil
  if number and (number < 0 or number > MOST_ERRNO) then
    wrong(of, mistake.out_of_range(number, { min = 0, max = MOST_ERRNO }))
  end
  return { action = known, errno = number }
end

local function arguments(group, where)
  local args, seen, twice = {}, {}, false
  for i, given in ipairs(list(group.args, where .. ".args")) do
    local at = ("%s.args[%d]"):format(where, i)
    fields(given, ARGUMENT, at)
    args[i] = { index = integer(given.index, at .. ".index"),
      op = word(given.op, OPERATORS, at .. ".op"), value = integer(given.value, at .. ".value", 0),
      value2 = integer(given.valueTwo, at .. ".valueTwo", 0) }
    if args[i].index < 0 or args[i].index > 5 then
      wrong(at .. ".index", mistake.out_of_range(args[i].index, { min = 0, max = 5 }))
    end
    twice = twice or seen[args[i].index]
    seen[args[i].index] = true
  end
  return args, twice
end

local function numbers(version)
  local major, minor = tostring(version):match "^(%d+)%.(%d+)"
  return major and tonumber(major) * 1000 + tonumber(minor)
end

local function at_least(version, where)
  local wanted = numbers(version)
  if not wanted then
    wrong(where, mistake.bad("a version like '4.8'", tostring(version)))
  end
  return numbers(require("nsbox.machine").sysctl "kernel.osrelease" or "0.0") >= wanted
end

-- whether all, or any, of what a condition names is so
local function conditions(given, where, has, native)
  local all, any = true, false
  if null(given) then
    return all, any
  end
  fields(given, CONDITIONS, where)
  local function one(is)
    all, any = all and is, any or is
  end
  for _, name in ipairs(list(given.caps, where .. ".caps")) do
    one(has[tostring(name):lower():gsub("^cap_", "")] or false)
  end
  local arches = list(given.arches, where .. ".arches")
  if #arches > 0 then
    local here = false
    for _, name in ipairs(arches) do
      here = here or name == GO[native] or name == native
    end
    one(here)
  end
  if not null(given.minKernel) then
    one(at_least(given.minKernel, where .. ".minKernel"))
  end
  return all, any
end

local function architecture(name, where)
  local arch = type(name) == "string" and name:match "^SCMP_ARCH_([%w_]+)$"
  if not arch or not ARCHES[arch:lower()] then
    wrong(where, mistake.bad("a name like 'SCMP_ARCH_X86_64'", tostring(name)))
  end
  return arch:lower()
end

local function names_of(group, where)
  local names = list(group.names, where .. ".names")
  if not null(group.name) then
    names = { group.name, table.unpack(names) }
  end
  return names
end

-- Runtimes leave out the names that their libseccomp does not know: they are of newer kernels.
-- What a profile allows can be left out; what it refuses cannot.
local function is_known(name, does, known, where)
  if type(name) ~= "string" then
    wrong(where, mistake.expected("a name", name))
  elseif known[name] then
    return true
  elseif does.action ~= "allow" then
    local near = mistake.suggest(name, known)
    wrong(where, ("'%s' is no system call%s"):format(name,
      near and (" (did you mean '%s'?)"):format(near) or " that this libseccomp knows"))
  end
end

local function add_group(profile, group, where, has, native, known)
  fields(group, GROUP, where)
  local does = action(group.action, group.errnoRet, group.errno, where .. ".action",
    where .. ".errnoRet")
  local args, twice = arguments(group, where)
  local included = conditions(group.includes, where .. ".includes", has, native)
  local _, excluded = conditions(group.excludes, where .. ".excludes", has, native)
  for i, name in ipairs(names_of(group, where)) do
    if is_known(name, does, known, ("%s.names[%d]"):format(where, i)) and included
      and not excluded then
      local function add(of)
        if #profile.rules == MOST_RULES then
          wrong(where, ("more than %d rules"):format(MOST_RULES))
        end
        profile.rules[#profile.rules + 1] = { call = name, action = does.action,
          errno = does.errno, args = of }
      end
      -- one argument twice: either will do, as runc reads it
      for _, arg in ipairs(twice and args or {}) do
        add { arg }
      end
      if not twice then
        add(args)
      end
    end
  end
end

local function add_arches(profile, t, native)
  local of, seen = {}, {}
  local runs = RUNS[native] or {}
  local function add(arch)
    if not seen[arch] and (arch == native or runs[arch]) then
      seen[arch], of[#of + 1] = true, arch
    end
  end
  for i, name in ipairs(list(t.architectures, "architectures")) do
    add(architecture(name, ("architectures[%d]"):format(i)))
  end
  for i, entry in ipairs(list(t.archMap, "archMap")) do
    local where = ("archMap[%d]"):format(i)
    fields(entry, MAP, where)
    if architecture(entry.architecture, where .. ".architecture") == native then
      for k, name in ipairs(list(entry.subArchitectures, where .. ".subArchitectures")) do
        add(architecture(name, ("%s.subArchitectures[%d]"):format(where, k)))
      end
    end
  end
  profile.arches = of
end

local function check_flags(flags)
  for i, flag in ipairs(list(flags, "flags")) do
    local where = ("flags[%d]"):format(i)
    if NO_FLAGS[flag] then
      wrong(where, ("'%s' is not supported: %s"):format(flag, NO_FLAGS[flag]))
    end
    word(flag, FLAGS, where)
  end
end

--- Whether a table is such a profile.
-- @tparam table t
-- @treturn boolean
function M.is(t)
  return t.defaultAction ~= nil or t.syscalls ~= nil
end

--- Reads a profile.
-- @tparam table t
-- @tparam table has a set: the capabilities of the program
-- @tparam string native architecture
-- @tparam table known a set: the names of all system calls
-- @treturn ?table for `sys.seccomp.compile`
-- @treturn[2] nil
-- @treturn[2] string what is wrong, and where
function M.read(t, has, native, known)
  local ok, result = pcall(function()
    fields(t, PROFILE, "")
    local profile = action(t.defaultAction, t.defaultErrnoRet, t.defaultErrno, "defaultAction",
      "defaultErrnoRet")
    check_flags(t.flags)
    profile.rules = {}
    add_arches(profile, t, native)
    for i, group in ipairs(list(t.syscalls, "syscalls")) do
      add_group(profile, group, ("syscalls[%d]"):format(i), has, native, known)
    end
    return profile
  end)
  if ok then
    return result
  elseif type(result) ~= "table" then
    error(result, 0)
  end
  return nil, result[1]
end

return M

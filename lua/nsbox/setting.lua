--- Kernel settings of a network namespace: the verb `sysctl` of a scope.
--
-- Keys are those of sysctl(8): `"net.ipv4.ip_forward"`, and a device with a dot
-- in its name as there: `"net.ipv4.conf.eth0/100.rp_filter"`.
--
-- sysctl(8), network_namespaces(7)
--
-- @module nsbox.setting

local netlink = require "nsbox.sys.netlink"
local netplace = require "nsbox.netplace"

local M = {}

local IPC <const> = {}
for name in ("msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced"):gmatch "%S+" do
  IPC["kernel." .. name] = true
end

-- the kind of the namespaces of a box that it belongs to
local function kind_of(key)
  return key:sub(1, 4) == "net." and "net"
    or (IPC[key] or key:find "^fs%.mqueue%.[^.]") and "ipc" or nil
end

local function not_of_box(key)
  if key == "kernel.hostname" then
    return "'kernel.hostname' is the option `hostname`"
  end
  local near = key:find "^kernel%.[ms]" and require("nsbox.mistake").suggest(key, IPC)
  return ("'%s' is one of the whole machine; of a box's own namespaces are net.*, fs.mqueue.*, "
    .. "kernel.shm*, kernel.msg* and kernel.sem%s"):format(key:gsub("%c", "?"),
    near and (" (did you mean '%s'?)"):format(near) or "")
end

-- "net.ipv4.conf.eth0/1.forwarding" -> "net/ipv4/conf/eth0.1/forwarding"; or nil, why
local function path_of(key, box)
  if type(key) ~= "string" then
    return nil, require("nsbox.mistake").expected("keys as 'net.ipv4.ip_forward'", key)
  elseif kind_of(key) ~= "net" and not (box and kind_of(key)) then
    local first = key:match "^/?([^./]*)"
    return nil, key:find "^/?p?r?o?c?/?s?y?s?/?net/"
      and ("'%s' is a path; a key has dots: '%s'"):format(key,
        (key:gsub("^/?proc/sys/", ""):gsub("/", ".")))
      or box and not_of_box(key)
      or ("'%s': only settings below net belong to a network namespace, not %s"):format(key,
        first == "" and "this" or first .. ".*")
  end
  for part in (key .. "."):gmatch "([^.]*)%." do
    if part == "" or part:find "^/+$" or part:find "[%c%s]" then
      return nil, ("'%s' is no key of sysctl"):format(key:gsub("%c", "?"))
    end
  end
  return (key:gsub("[./]", { ["."] = "/", ["/"] = "." }))
end

local function value_of(value)
  if type(value) == "boolean" then
    return value and "1" or "0"
  elseif math.type(value) == "integer" then
    return tostring(value)
  elseif type(value) == "string" and not value:find "[\n%z]" then
    return value
  end
  return nil, require("nsbox.mistake").expected("an integer, true, false or one line of text",
    value)
end

-- several numbers are written with blanks and read back with tabs
local function normal(text)
  return (text:gsub("%s+", " "):match "^%s*(.-)%s*$")
end

M.normal = normal

local function check(value, box)
  if type(value) ~= "table" then
    return nil, require("nsbox.mistake").expected("{ [key] = value, … }", value)
  end
  local out = {}
  for key, given in next, value do
    local path, wrong = path_of(key, box)
    local text
    if path then
      text, wrong = value_of(given)
      wrong = wrong and ("'%s': %s"):format(key, wrong)
    end
    if not text then
      return nil, wrong
    end
    out[#out + 1] = { key = key, path = path, value = text, kind = box and kind_of(key) }
  end
  table.sort(out, function(a, b)
    return a.key < b.key
  end)
  return out
end

--- Checks settings of a network namespace, as a type for `nsbox.opts`.
-- @param value
-- @treturn ?table list of `{ key, path, value }`, sorted
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.check(value)
  return check(value)
end

--- Checks those of a box: also what belongs to its ipc namespace.
-- @param value
-- @treturn ?table list of `{ key, path, value, kind }`, sorted; kind: "net" or "ipc"
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.check_box(value)
  return check(value, true)
end

local function raise(place, op, setting, message, errno)
  error(place:failure(op, setting.key, (message:gsub("^/proc/sys/[^:]*: ", "")), errno,
    { sysctl = setting }), 0)
end

local function set(place, op, setting)
  local ok, message, errno = netlink.sysctl_set(place:namespace(), setting.path, setting.value)
  if not ok then
    raise(place, op, setting, message, errno)
  end
end

--- Sets settings of a namespace that its scope made: nothing is recorded.
-- @tparam nsbox.NetPlace place
-- @tparam string op the verb, for an Error
-- @tparam table settings as `check` gives them
function M.write(place, op, settings)
  for _, setting in ipairs(settings) do
    set(place, op, setting)
  end
end

-- What it is to be in the end, and what comes with that. What is set to what it is may be so
-- by another step, which found it different: who ends last goes back to what was before all.
local function before_all(place, step, value)
  if normal(step.value) ~= normal(value) then
    return value, require("nsbox.forwarding").besides(place, step.path, value)
  end
  for _, other in ipairs(require("nsbox.undo.sysctl").others { [step] = true }) do
    if other.key == step.key and other.netns == step.netns and other.nsinode == step.nsinode
      and normal(tostring(other.became or other.value)) == normal(value) then
      return tostring(other.old), other.besides
    end
  end
  return value
end

-- one setting, so that it can be undone
local function change(part, place, op, setting)
  local old, message, errno = netlink.sysctl_get(place:namespace(), setting.path)
  if not old then
    raise(place, op, setting, message, errno)
  end
  local plan = place:mark { key = setting.key, path = setting.path, value = setting.value,
    token = math.random(1 << 30) }
  plan.old, plan.besides = before_all(place, plan, old)
  part:step("sysctl", plan, function()
    if normal(old) ~= normal(setting.value) then -- else not even a writable /proc/sys is needed
      set(place, op, setting)
    end
    return { became = netlink.sysctl_get(place:namespace(), setting.path) or setting.value }
  end)
end

--- Sets settings in a place; see `nsbox.part`.
-- @tparam nsbox.Part part
-- @tparam nsbox.NetPlace place
-- @tparam string op the verb, for an Error
-- @tparam table settings as `check` gives them
function M.apply(part, place, op, settings)
  if part:made(place) then
    M.write(place, op, settings)
    return
  end
  for _, setting in ipairs(settings) do
    change(part, place, op, setting)
  end
end

--- The verb; see `nsbox.part`.
-- @tparam nsbox.Part part
-- @param netns any form of it; nil: the caller's own
-- @tparam integer level whose line to blame
-- @tparam table values `{ [key] = value }`
-- @treturn nsbox.Made
function M.make(part, netns, level, values)
  local mistake = require "nsbox.mistake"
  if netns ~= nil then
    local ok, wrong = require("nsbox.place").check(netns, "net")
    if not ok then
      mistake.raise("sysctl: " .. wrong, level + 1)
    end
  end
  local settings, wrong = M.check(values)
  if not settings then
    mistake.raise("sysctl: " .. wrong, level + 1)
  elseif #settings == 0 then
    mistake.raise("sysctl: which settings? { [\"net.ipv4.ip_forward\"] = 1 }", level + 1)
  end
  local place <close> = netplace.open(part:place(netns), "sysctl")
  local words = {}
  for i, setting in ipairs(settings) do
    words[i] = setting.key .. "=" .. setting.value
  end
  local where = place.label and " in " .. place.label or ""
  local made = require("nsbox.made").new(("sysctl %s%s"):format(table.concat(words, " "), where))
  if not part:stands(settings[1].key .. where, settings, function(steps)
    return place:has(steps[1])
  end) then
    M.apply(part, place, "sysctl", settings)
  end
  return made
end

return M

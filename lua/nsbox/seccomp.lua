--- The option `seccomp` where it is more than yes or no: filters of one's own.
--
--     seccomp = { deny = { "ptrace" }, allow = { "keyctl" }, errno = "EPERM" }
--     seccomp = "profile.json"         -- an OCI profile, or a table of that form
--
-- The first changes the built-in filter (`nsbox.policy`), the second replaces it. A filter
-- is made in the calling process, once for the same content.
--
-- seccomp(2), seccomp_rule_add(3)
--
-- @module nsbox.seccomp

local mistake = require "nsbox.mistake"

local MOST <const> = 32 -- filters kept; a script with more of them makes them again

local M = {}

-- the companion, or nil and why not
local function library()
  local ok, found = pcall(require, "nsbox.sys.seccomp")
  return ok and found or nil, found
end

local function lacks(op, detail, hint)
  require("nsbox.error").raise { op = op, step = "seccomp", code = "ENOPKG", detail = detail,
    hint = hint }
end

local function needed(op)
  local found, why = library()
  return found or lacks(op, tostring(why):match "[^\n]*libseccomp[^\n]*"
    or "nsbox/sys/seccomp.so is not there", "a filter of one's own needs libseccomp (Debian: "
      .. "libseccomp2); the built-in one, seccomp = true, does not")
end

-- the names that mean something on this machine: a set
local all_calls
local function known_calls(sys)
  if all_calls then
    return all_calls
  end
  all_calls = {}
  for _, arch in ipairs(require("nsbox.filter").arches()) do
    for name in pairs((sys.calls(arch))) do
      all_calls[name] = true
    end
  end
  return all_calls
end

local FIELDS <const> = { allow = true, deny = true, errno = true }

local function check_names(names, known, what)
  if type(names) ~= "table" then
    return nil, mistake.expected("a list of system calls", names)
  end
  local why = mistake.list(names)
  if why then
    return nil, ("%s: %s"):format(what, why)
  end
  local list = {}
  for _, name in ipairs(names) do
    if type(name) ~= "string" then
      return nil, ("%s: %s"):format(what, mistake.expected("a name", name))
    elseif known and not known[name] then
      local near = mistake.suggest(name, known)
      return nil, ("%s: '%s' is no system call%s"):format(what, name,
        near and (" (did you mean '%s'?)"):format(near) or ", see syscalls(2)")
    end
    list[#list + 1] = name
  end
  table.sort(list)
  return list
end

-- { allow =, deny =, errno = } → the same, checked
local function check_change(value, known)
  local out = {}
  for key, given in next, value do
    if not FIELDS[key] then
      return nil, mistake.unknown(key, FIELDS)
    elseif key == "errno" then
      local number = type(given) == "string" and require("nsbox.sys.errno")[given]
      if not math.type(number) then
        return nil, "errno: " .. mistake.bad("a name like 'EPERM'", tostring(given))
      end
      out.errno = number
    else
      local list, message = check_names(given, known, key)
      if not list then
        return nil, message
      end
      out[key] = list
    end
  end
  for _, name in ipairs(out.allow or {}) do
    for _, other in ipairs(out.deny or {}) do
      if name == other then
        return nil, ("'%s' is both in allow and in deny"):format(name)
      end
    end
  end
  return out
end

local DEEPEST <const> = 8 -- no profile is

-- one text for the same content
local function content(value, depth)
  depth = depth or 0
  if type(value) ~= "table" or depth == DEEPEST then
    return type(value) == "string" and ("%q"):format(value) or tostring(value)
  end
  local parts = {}
  for key, v in next, value do
    parts[#parts + 1] = content(key, depth + 1) .. "=" .. content(v, depth + 1)
  end
  table.sort(parts)
  return "{" .. table.concat(parts, ";") .. "}"
end

-- the content of profiles that were found right
local right = {}

local function check_profile(value, sys, known)
  local key = content(value)
  if known and not right[key] then
    local profile, message = require("nsbox.oci").read(value, {}, sys.arch(), known)
    if not profile then
      return nil, message
    end
    right = { [key] = true } -- most often there is one
  end
  return { oci = value, key = key }
end

--- Checks the option.
-- @param value boolean, a path, `{ allow =, deny =, errno = }` or an OCI profile
-- @return true, false, or what `bytes` takes
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.check(value)
  if type(value) == "boolean" then
    return value
  elseif type(value) == "string" then
    if value == "" or value:find("\0", 1, true) then
      return nil, mistake.bad("the path of a profile", value)
    end
    return { path = value }
  elseif type(value) ~= "table" or getmetatable(value) and not getmetatable(value).__jsontype then
    return nil, mistake.expected("true, false, a table or a path", value)
  end
  local sys = library()
  local known = sys and known_calls(sys)
  if require("nsbox.oci").is(value) then
    return check_profile(value, sys, known)
  end
  local change, message = check_change(value, known)
  return change and { change = change, key = content(change) }, message
end

local function cap_set(caps)
  local set = {}
  for _, name in ipairs(caps == "all" and require("nsbox.sys.cap").names() or caps) do
    set[name] = true
  end
  return set
end

-- the rules of the built-in filter, changed
local function changed(change)
  local filter = require "nsbox.filter"
  local rules = filter.rules()
  for _, name in ipairs(change.allow or {}) do
    rules[name] = "allow"
  end
  local refusal = filter.refusal(change.errno or 1)
  for _, name in ipairs(change.deny or {}) do
    rules[name] = refusal
  end
  return rules
end

local function fail_file(op, path, detail, errno)
  require("nsbox.error").raise { op = op, step = "seccomp", subject = path, detail = detail,
    errno = errno, hint = false }
end

local function read_file(op, path)
  local text
  local file, message, errno = io.open(path, "rb")
  if file then
    text, message, errno = file:read "a"
    file:close()
  end
  if not text then
    fail_file(op, path, message:gsub("^.*: ", ""), errno)
  end
  return text
end

local function parse_file(op, path, text)
  local ok, json = pcall(require, "dkjson")
  if not ok then
    lacks(op, "dkjson is not installed", "a profile in a file is read by dkjson (Debian: "
      .. "lua-dkjson); one in a table needs nothing")
  end
  -- it raises where a text is nested too deeply
  local read, t, _, message = pcall(json.decode, text)
  if not read then
    fail_file(op, path, "dkjson: " .. tostring(t):match "([^:]*)$":gsub("^ ", ""))
  elseif type(t) ~= "table" then
    fail_file(op, path, message or "is no JSON object")
  end
  -- of a whole configuration the part that is meant
  local linux = type(t.linux) == "table" and t.linux
  if (linux or t.ociVersion) and type(linux and linux.seccomp) ~= "table" then
    fail_file(op, path, "is a configuration without linux.seccomp")
  end
  return linux and linux.seccomp or t
end

local function profile_of(sys, choice, text, caps, op)
  local t = choice.oci or parse_file(op, choice.path, text)
  local profile, message = require("nsbox.oci").read(t, cap_set(caps), sys.arch(), known_calls(sys))
  if not profile then
    fail_file(op, choice.path, message)
  end
  return profile
end

local kept, count = {}, 0
local function keep(key, bytes)
  if count >= MOST then
    kept, count = {}, 0
  end
  kept[key], count = bytes, count + 1
  return bytes
end

local function compiled(sys, op, ...)
  local bytes, message, errno = sys.compile(profile_of(sys, ...))
  if not bytes then
    require("nsbox.error").raise { op = op, step = "seccomp", detail = message, errno = errno }
  end
  return bytes
end

--- The filter that a checked option means.
-- @tparam table choice from `check`
-- @tparam table|string caps of the program, or "all"
-- @tparam string op the verb, for errors
-- @treturn string
function M.bytes(choice, caps, op)
  local sys = needed(op)
  local text = choice.path and read_file(op, choice.path)
  local key = (choice.key or text) .. content(caps)
  if kept[key] then
    return kept[key]
  elseif choice.change then
    local marked = require("nsbox.filter").make(changed(choice.change))
    return keep(key, require("nsbox.sys.process").filter(caps, marked))
  end
  return keep(key, compiled(sys, op, choice, text, caps, op))
end

local function wrapped(lead, words)
  local lines, line = {}, lead
  for _, w in ipairs(words) do
    if #line + 1 + #w > 96 then
      lines[#lines + 1] = line
      line = "   "
    end
    line = line .. " " .. w
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n")
end

local function numbers(list)
  local out = {}
  for i, number in ipairs(list) do
    out[i] = ("%#x"):format(number)
  end
  return table.concat(out, ", ")
end

-- what a rule says, without the call
local function sentence(rule, has)
  if rule == "allow" or rule.unless and has[rule.unless] then
    return "allow"
  end
  local err = require("nsbox.sys.errno")[rule.ret & 0xfff] or rule.err
  if not rule.arg then
    return err
  end
  return ("%s if argument %d %s"):format(err, rule.arg,
    rule.any and ("has any bit of %#x"):format(rule.any)
    or rule.is and "is " .. numbers(rule.is) or "is none of " .. numbers(rule.but))
end

local function text_of(rules, known, has)
  local groups, order = {}, {}
  for name, rule in pairs(rules) do
    local says = known[name] and sentence(rule, has)
    if says and not groups[says] then
      groups[says] = {}
      order[#order + 1] = says
    end
    if says then
      table.insert(groups[says], name)
    end
  end
  table.sort(order)
  local lines = { "# " .. table.concat(require("nsbox.filter").arches(), ", ") }
  for _, says in ipairs(order) do
    table.sort(groups[says])
    lines[#lines + 1] = wrapped(says .. ":", groups[says])
  end
  lines[#lines + 1] = "ENOSYS: everything else"
  return table.concat(lines, "\n") .. "\n"
end

--- A filter as text to read: which calls are allowed, and what the others fail with; of an OCI
-- profile, libseccomp's pseudo filter code.
-- @param[opt=true] value as the option
-- @tparam[opt] table|string caps of the program, or "all"; default: those of a box
-- @treturn string
function M.dump(value, caps)
  local choice, message = M.check(value == nil and true or value)
  if message then
    mistake.raise("seccomp.dump: " .. message, 2)
  elseif not choice then
    return "none\n"
  end
  caps = caps or require("nsbox.defaults").caps
  local sys = needed "seccomp.dump"
  if choice == true or choice.change then
    local rules = choice == true and require("nsbox.filter").rules() or changed(choice.change)
    return text_of(rules, known_calls(sys), cap_set(caps))
  end
  local text = choice.path and read_file("seccomp.dump", choice.path)
  return (sys.describe(profile_of(sys, choice, text, caps, "seccomp.dump")))
end

return M

--- The options of every program: its streams, environment, directory, user.
--
-- @internal nsbox.program

local process = require "nsbox.sys.process"

local PATH <const> = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

local MAX_INT <const> = 2147483647

local STREAMS <const> = { "stdin", "stdout", "stderr" }

local M = {}

local function descriptor(value)
  if math.type(value) == "integer" and value >= 0 then
    local copy = value <= MAX_INT and require("nsbox.sys.fd").dup(value)
    if not copy then
      return nil, ("descriptor %d is not open"):format(value)
    end
    copy:close()
    return value
  elseif type(value) == "function" then
    return value
  elseif io.type(value) == "file" then
    value:flush()
    return value
  elseif type(value) == "userdata" and io.type(value) == nil then
    return pcall(value.fileno, value) and value or nil -- a closed one has no number
  end
end

local function stream(words)
  local known = {}
  for word in words:gmatch "%w+" do
    known[word] = true
  end
  return function(value)
    if known[value] then
      return value
    elseif type(value) == "string" then
      return nil, require("nsbox.mistake").not_one_of(value, known)
    end
    local checked, message = descriptor(value)
    if message then
      return nil, message
    elseif checked == nil then
      local what = ("'%s', an open file, a descriptor or a function"):format(
        (words:gsub(" ", "', '")))
      if type(value) == "userdata" then
        return nil, ("expected %s, got a closed one"):format(what)
      end
      return nil, require("nsbox.mistake").expected(what, value)
    end
    return checked
  end
end

local function environment(value)
  if type(value) ~= "table" then
    return nil, require("nsbox.mistake").expected("a table", value)
  end
  local count = 0
  for key, v in next, value do
    local name = math.type(key) and v or key
    count = count + (math.type(key) and 1 or 0)
    if type(name) ~= "string" or name == "" or name:find("[=%z]") then
      return nil, ("'%s' is no name of a variable"):format(tostring(name))
    elseif not math.type(key) and type(v) ~= "string" and not math.type(v) then
      return nil, ("%s: %s"):format(name, require("nsbox.mistake").expected("a string", v))
    elseif not math.type(key) and tostring(v):find("\0", 1, true) then
      return nil, ("%s: %s"):format(name, require("nsbox.mistake").nul(v))
    end
  end
  if count ~= #value then
    return nil, require("nsbox.mistake").HOLE
  end
  return value
end

-- any bytes, also NUL
local function bytes(value)
  if type(value) == "string" then
    return value
  end
  return nil, require("nsbox.mistake").expected("a string", value)
end

local function user(value)
  return require("nsbox.user").parse(value)
end

--- The fields of an option schema, to be merged into a verb's own.
M.fields = {
  { "arg", doc = "the program, searched along PATH, and its arguments" },
  stdin = { stream "inherit null pipe", doc = "where input comes from" },
  stdout = { stream "inherit null capture pipe", doc = "where output goes" },
  stderr = { stream "inherit null capture pipe stdout", doc = "where errors go" },
  input = { bytes, doc = "text for stdin" },
  limit = { "size", default = 16 << 20, doc = "bytes kept of each captured stream" },
  env = { environment, doc = "names to copy (\"*\": all), and name = value" },
  cwd = { "path", doc = "working directory" },
  user = { user, doc = "1000, \"1000:100\", \"www-data\", read from the box's passwd" },
  timeout = { "duration", none = true, doc = "life time; then SIGKILL" },
  check = { "boolean", doc = "a status other than 0 raises" },
}

--- The environment of a program: PATH, HOME, TERM, and what `env` says.
-- @tparam ?table env the option
-- @tparam string home of the user
-- @treturn table list of "NAME=value", sorted
-- @treturn string PATH
function M.environment(env, home)
  if not env then
    return { "HOME=" .. home, "PATH=" .. PATH, "TERM=" .. (os.getenv "TERM" or "dumb") }, PATH
  end
  local set = { HOME = home, PATH = PATH, TERM = os.getenv "TERM" or "dumb" }
  for _, name in ipairs(env) do
    if name == "*" then
      for _, pair in ipairs(process.environ()) do
        local key, value = pair:match "^([^=]+)=(.*)$"
        if key then
          set[key] = value
        end
      end
    else
      set[name] = os.getenv(name) or set[name]
    end
  end
  local list = {}
  for name, value in pairs(env) do
    if type(name) == "string" then
      set[name] = tostring(value)
    end
  end
  for name, value in pairs(set) do
    list[#list + 1] = name .. "=" .. value
  end
  table.sort(list)
  return list, set.PATH
end

--- A mistake between options that each are right.
-- @tparam table o checked options
-- @tparam ?boolean alone the verb returns only when the program has ended
-- @treturn ?string what is wrong
function M.conflict(o, alone)
  for _, name in ipairs(alone and STREAMS or {}) do
    if o[name] == "pipe" then
      return name .. ": 'pipe' needs a process to talk to: use input, a function, spawn or a box"
    end
  end
  if #o == 0 then
    return "which program? the array part is empty"
  elseif o.input and o.stdin then
    return "input: stdin says otherwise"
  elseif o[1] == "" then
    return "argument 1: expected a program, got an empty string"
  end
end

--- Where the program starts.
--
-- A directory that was entered before the box's mounts lies under them: the
-- caller's /proc would show the host's processes, and what a tmpfs hides would
-- be seen. So every path is walked again in the mounts of the place: the
-- caller's as far as the place has it, else "/".
-- @tparam table plan gets `cwd` or `trycwd`
-- @tparam table o checked options
-- @param mnt whether it enters another mount namespace
-- @param own_root whether that has a root of its own: there it is "/"
-- @treturn ?string what is wrong
function M.add_cwd(plan, o, mnt, own_root)
  local cwd = o.cwd
  if own_root then
    cwd = cwd or "/"
    if cwd:sub(1, 1) ~= "/" then
      return ("cwd: '%s' is relative, and the root is the box's own: give an absolute path")
        :format(cwd)
    end
  elseif mnt and not (cwd and cwd:sub(1, 1) == "/") then
    local here = process.getcwd()
    here = here and here:sub(1, 1) == "/" and here
    if not cwd then
      plan.trycwd = here or "/"
    elseif here then
      cwd = here .. "/" .. cwd
    else
      return ("cwd: '%s' is relative, and the current directory was deleted"):format(cwd)
    end
  end
  plan.cwd = cwd
end

return M

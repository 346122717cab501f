-- Loaded by busted before the specs: what a spec may call, and what must hold
-- after every one of them.
--
--     needs "userns"        skip the spec (in a describe: all of them) where the
--                           probe of this name says no; the only way to skip
--     cell                  name of the cell, "root", "user", …, or "here"
--     in_userns()           true in a user namespace other than the first
--     built(name)           path of a program that the build made for specs
--     slurp(path)           content of a file, or nil and the reason
--     spew(path, text)      write a file
--     entries(path)         sorted names in a directory
--     tmpdir()              a new directory, removed after the spec
--     sh(command)           output (stdout and stderr), exit status
--     lua(file, input, before)  the same for a Lua script that has nsbox on its path, started
--                           behind the shell command `before`
--     matches(want, got)    true when the texts are equal line by line; "…" in
--                           want stands for anything

local busted = require "busted"
local lfs = require "lfs"

cell = os.getenv "NSBOX_CELL" or "here"

function built(name)
  return (os.getenv "NSBOX_TREE" or lfs.currentdir()) .. "/build/" .. name
end

function slurp(path)
  local f, err = io.open(path, "rb")
  if not f then return nil, err end
  local text = f:read "a"
  f:close()
  return text
end

function spew(path, text)
  local f <close> = assert(io.open(path, "wb"))
  assert(f:write(text))
end

function entries(path)
  local names = {}
  for name in lfs.dir(path) do
    if name ~= "." and name ~= ".." then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

function sh(command)
  local f = assert(io.popen("{ " .. command .. "\n} 2>&1"))
  local out = f:read "a"
  local _, how, code = f:close()
  return out, how == "signal" and 128 + code or code
end

local here = lfs.currentdir()
local build = os.getenv "NSBOX_BUILD" or "build"

function lua(file, input, before)
  local stdin = os.tmpname()
  spew(stdin, input or "")
  local out, status = sh(("LUA_PATH='%s/lua/?.lua;;' LUA_CPATH='%s/%s/?.so;;' %s%s %s <%s"):format(
    here, here, build, before or "", os.getenv "LUA" or "lua5.4", file, stdin))
  os.remove(stdin)
  return out, status
end

function matches(want, got)
  local pattern = want:gsub("%p", "%%%0"):gsub(("…"):gsub("%p", "%%%0"), "[^\n]*")
  return got:find("^" .. pattern .. "$") ~= nil
end

local dirs = {}
function tmpdir()
  local path = os.tmpname()
  os.remove(path)
  assert(lfs.mkdir(path))
  dirs[#dirs + 1] = path
  return path
end

function in_userns()
  return not (slurp "/proc/self/uid_map"):find "^%s*0%s+0%s+4294967295%s*$"
end

-- needs --------------------------------------------------------------------

local blocks, wanted = {}, setmetatable({}, { __mode = "k" })
local current -- the spec that runs
local latest  -- its name, also afterwards

local function lacking(names)
  local probe = require "nsbox.probe"
  for _, name in ipairs(names) do
    local ok, why = probe.check(name)
    if not ok then return ("%s: %s"):format(name, why or "does not work here") end
  end
end

function needs(...)
  if current then
    local why = lacking { ... }
    if why then current.env.pending(why) end
    return
  end
  local block = blocks[#blocks]
  if not block then return end -- busted --list
  local list = wanted[block] or {}
  wanted[block] = list
  for _, name in ipairs { ... } do list[#list + 1] = name end
end

local function push(element)
  blocks[#blocks + 1] = element
  return nil, true
end
local function pop()
  blocks[#blocks] = nil
  return nil, true
end
busted.subscribe({ "file", "start" }, push)
busted.subscribe({ "file", "end" }, pop)
busted.subscribe({ "describe", "start" }, push)
busted.subscribe({ "describe", "end" }, pop)

busted.subscribe({ "test", "start" }, function(element, parent)
  current, latest = element, element.name
  while parent do
    local why = wanted[parent] and lacking(wanted[parent])
    if why then
      element.run = function() element.env.pending(why) end
      break
    end
    parent = busted.parent(parent)
  end
  return nil, true
end)
busted.subscribe({ "test", "end" }, function()
  current = nil
  return nil, true
end)

-- busted keeps what it ran until it ends: of a file that has ended, only the names
local function forget(element)
  for _, child in ipairs(busted.children(element)) do
    forget(child)
    child.run, child.env, child.trace = nil, nil, nil
  end
end
busted.subscribe({ "file", "end" }, function(file)
  forget(file)
  getmetatable(file.run).__call = nil
  return nil, true
end)

-- what a spec must leave as it found it ---------------------------------------

local function descriptors()
  local list = {}
  for _, fd in ipairs(entries "/proc/self/fd") do
    -- the listing's own descriptor is gone by now
    local target = lfs.symlinkattributes("/proc/self/fd/" .. fd, "target")
    -- the script's own scope keeps its journal until the state ends
    if target and not target:find "/nsbox[%d-]*/#%d+ %(deleted%)$" then
      list[fd .. " -> " .. target] = true
    end
  end
  return list
end

local function children()
  local list = {}
  for _, task in ipairs(entries "/proc/self/task") do
    local text = slurp(("/proc/self/task/%s/children"):format(task)) or ""
    for pid in text:gmatch "%d+" do
      local name = slurp("/proc/" .. pid .. "/comm") or "?"
      list[pid .. " " .. name:gsub("\n", "")] = true
    end
  end
  return list
end

local function namespaces()
  local list = {}
  for _, name in ipairs(entries "/proc/self/ns") do
    list[name .. " " .. lfs.symlinkattributes("/proc/self/ns/" .. name, "target")] = true
  end
  return list
end

local function mounts()
  return { [select(2, (slurp "/proc/self/mountinfo" or ""):gsub("\n", "")) .. " mounts"] = true }
end

local function links()
  local list = {}
  for name in (slurp "/proc/self/net/dev" or ""):gmatch "([^%s|]+):" do list[name] = true end
  return list
end

local function directory()
  return { [lfs.currentdir()] = true }
end

local invariants = {
  descriptor = descriptors,
  child = children,
  namespace = namespaces,
  mounts = mounts,
  link = links,
  directory = directory,
}
local before = {}

local function snapshot()
  local now = {}
  for what, look in pairs(invariants) do now[what] = look() end
  return now
end

-- what differs, sorted
local function changes(after)
  local found = {}
  for what in pairs(invariants) do
    for item in pairs(after[what]) do
      if not before[what][item] then found[#found + 1] = ("new %s: %s"):format(what, item) end
    end
    for item in pairs(before[what]) do
      if not after[what][item] then found[#found + 1] = ("lost %s: %s"):format(what, item) end
    end
  end
  table.sort(found)
  return found
end

-- the script's own scope keeps its island until the state ends
local settled = true
busted.subscribe({ "file", "start" }, function() -- each has modules of its own
  settled = false
  return nil, true
end)
local function settle()
  settled = true
  pcall(function() require("nsbox").box({ namespaces = { "user" } }):close() end)
end

-- a collection takes as long as many specs, with those of all files in memory: one after each
-- spec, one more before the first of a file or a block, whose setup may have left something
local tidy = false
local function untidy()
  tidy = false
  return nil, true
end
busted.subscribe({ "file", "start" }, untidy)
busted.subscribe({ "describe", "start" }, untidy)
busted.subscribe({ "describe", "end" }, untidy)

busted.before_each(function()
  if not settled then settle() end
  if not tidy then collectgarbage() end
  before = snapshot()
end)

busted.after_each(function()
  for i = #dirs, 1, -1 do
    os.execute("rm -rf '" .. dirs[i] .. "'")
    dirs[i] = nil
  end
  collectgarbage()
  local found = changes(snapshot())
  if #found > 0 then -- what a finalizer let go
    collectgarbage()
    found = changes(snapshot())
  end
  tidy = true
  if #found > 0 then
    found = table.concat(found, "\n")
    error(("%s does not leave things as they were\n%s"):format(latest, found), 0)
  end
end)

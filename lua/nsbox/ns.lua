--- Namespaces as objects: found, opened, made, listed, compared, pinned, entered.
--
-- An ns object holds its namespaces open by descriptors: they live as long as
-- it does, also when their processes end. What `pin` leaves, stays.
--
-- namespaces(7), setns(2)
--
-- @module nsbox.ns

local sys = require "nsbox.sys.ns"

local KINDS <const> = require "nsbox.kinds"
-- a pid namespace ends with its first process, and the rest can be held
local NEW <const> = { user = true, mnt = true, net = true, uts = true, ipc = true, cgroup = true }

---@class nsbox.Namespaces
---@field kinds string[]
---@field kind? string of an object with one kind
---@field inode? integer of an object with one kind
local Ns = { __name = "nsbox.ns" }
local methods = {}
Ns.__index = methods

local M = {}

-- handles by kind -> object
local function make(handles)
  local self = { kinds = {}, _handles = handles }
  for _, kind in ipairs(KINDS) do
    local handle = handles[kind]
    if handle then
      local dev, inode = handle:id()
      self.kinds[#self.kinds + 1] = kind
      self[kind] = { inode = inode, dev = dev }
    end
  end
  if #self.kinds == 1 then
    self.kind = self.kinds[1]
    self.inode = self[self.kind].inode
  end
  return setmetatable(self, Ns)
end

M.make = make

local function check_kinds(op, kinds, level)
  local known = {}
  for _, kind in ipairs(KINDS) do
    known[kind] = true
  end
  for _, kind in ipairs(kinds) do
    if not known[kind] then
      error(op .. ": " .. require("nsbox.mistake").not_one_of(tostring(kind), known), level + 1)
    end
  end
  return #kinds > 0 and kinds or nil
end

-- a kernel may be built without some of them; one descriptor at a time: where none
-- can be opened, /proc or descriptors are lacking, and the place will say so
local function kinds_here()
  local here = {}
  for _, kind in ipairs(KINDS) do
    local handle = sys.open("/proc/self/ns/" .. kind)
    if handle then
      here[#here + 1] = kind
      handle:close()
    end
  end
  return here[1] and here or KINDS
end

-- without kinds: those that a place of this form has
local function kinds_of(op, place, level)
  place = require("nsbox.place").meant(place)
  if type(place) == "string" then
    local handle = not place:find("/", 1, true) and "net"
      or require("nsbox.error").check(op, place, sys.open(place))
    if handle == "net" then
      return { "net" }
    end
    local kind = handle:kind()
    handle:close()
    return { kind }
  elseif type(place) == "userdata" and place.kind then
    return { place:kind() }
  elseif type(place) ~= "table" then
    return kinds_here()
  end
  -- a box that has ended says so, at the line that asked
  if place.state and place._result then
    error(("%s: box %s has ended: its namespaces are gone"):format(op, place.name or place.pid),
      level + 1)
  end
  local own = place.state and place.ns or place
  return own.kinds or { own.kind }
end

local function of(op, level, place, ...)
  local kinds = check_kinds(op, { ... }, level + 1)
  if place == nil then
    place = require("nsbox.sys.process").getpid()
  end
  if getmetatable(place) == Ns and not place._handles then
    error(op .. ": the ns object is closed", level + 1)
  end
  local fine, wrong = require("nsbox.place").check(place, "net")
  if not fine then
    error(op .. ": " .. wrong, level + 1)
  end
  local handles = {}
  kinds = kinds or kinds_of(op, place, level + 1)
  local ok, err = pcall(function()
    for _, kind in ipairs(kinds) do
      if not handles[kind] then
        handles[kind] = require("nsbox.place").open(place, kind, op)
      end
    end
  end)
  if not ok then
    for _, handle in pairs(handles) do
      handle:close()
    end
    error(err, 0)
  end
  return make(handles)
end

--- The namespaces of a process, a box, or this script.
-- @param place a pid, a box, an ns object; nil: our own
-- @tparam string ... kinds; none: all
-- @treturn nsbox.Namespaces
function M.of(place, ...)
  local ns = of("ns.of", 2, place, ...)
  return ns
end

--- A namespace by a path, or a network namespace by its name.
-- @tparam string where
-- @treturn nsbox.Namespaces
function M.open(where)
  if type(where) ~= "string" or where == "" then
    error("ns.open: expected a path or a name under /run/netns", 2)
  end
  local handle = where:find("/", 1, true)
    and require("nsbox.error").check("ns.open", where, sys.open(where))
    or require("nsbox.place").open(where, "net", "ns.open")
  return make { [handle:kind()] = handle }
end

-- the kinds to make, with their maps, as the options of a clone
local function new_options(o)
  local options, seen = { pdeathsig = "KILL" }, {}
  for i, kind in ipairs(o) do
    if not NEW[kind] then
      return nil, kind == "pid" and "a pid namespace ends with its first process: make a box"
        or require("nsbox.mistake").not_one_of(tostring(kind), NEW)
    end
    if seen[kind] then
      return nil, ("'%s' stands there twice"):format(kind)
    end
    options[i], seen[kind] = kind, true
  end
  if #o == 0 then
    return nil, "which kinds? the array part is empty"
  end
  if o.maps and not seen.user then
    return nil, "maps: need a new user namespace"
  elseif seen.user then
    options.maps = require("nsbox.idmap").resolve(o.maps or "self", "ns.new")
  end
  return options
end

--- Makes namespaces and holds them open.
-- @tparam table|string o kinds; `maps` of a new user namespace (default "self")
-- @treturn nsbox.Namespaces
function M.new(o)
  o = type(o) == "string" and { o } or o
  if type(o) ~= "table" then
    error("ns.new: expected a list of kinds", 2)
  end
  for key in next, o do
    if math.type(key) == "integer" and key > #o then
      error("ns.new: the array part has a hole", 2)
    elseif math.type(key) ~= "integer" and key ~= "maps" then
      error("ns.new: " .. require("nsbox.mistake").unknown(tostring(key), { maps = true }), 2)
    end
  end
  local maps = o.maps ~= nil and o.maps ~= "self"
  local wrong = maps and select(2, require("nsbox.idmap").parse(o.maps))
  if wrong then
    error("ns.new: maps: " .. wrong, 2)
  end
  local options
  options, wrong = new_options(o)
  if not options then
    error("ns.new: " .. wrong, 2)
  end
  local fd, process = require "nsbox.sys.fd", require "nsbox.sys.process"
  local r, w = fd.pipe()
  local child, bytes, errno, step, subject = process.clone(options, function()
    w:close()
    r:read(1)
  end)
  if not child then
    require("nsbox.error").spawn_failed("ns.new", options, bytes, errno, step, subject)
  end
  local ok, made = pcall(of, "ns.new", 2, child, table.unpack(o))
  child:kill "KILL"
  require("nsbox.wait").poll { [child:fileno()] = "r" }
  child:status()
  child:close()
  bytes:close()
  r:close()
  w:close()
  if not ok then
    error(made, 0)
  end
  return made
end

--- Which namespaces two places share.
-- @param a a pid, a box, an ns object
-- @param b the same
-- @treturn table `{ [kind] = { a = inode, b = inode, same = boolean } }`
function M.compare(a, b)
  for _, place in pairs { a, b } do
    local fine, wrong = require("nsbox.place").check(place, "net")
    if not fine and getmetatable(place) ~= Ns then
      error("ns.compare: " .. wrong, 2)
    end
  end
  -- identity needs no descriptor: a closed ns object has it, too
  local x = getmetatable(a) == Ns and a or of("ns.compare", 2, a)
  local ok, y = pcall(function()
    return getmetatable(b) == Ns and b or of("ns.compare", 3, b)
  end)
  if not ok then
    if not rawequal(x, a) then
      x:close()
    end
    error(y, 0)
  end
  local out = {}
  for _, kind in ipairs(KINDS) do
    if x[kind] and y[kind] then
      out[kind] = { a = x[kind].inode, b = y[kind].inode,
        same = x[kind].inode == y[kind].inode and x[kind].dev == y[kind].dev }
    end
  end
  for _, pair in ipairs { { a, x }, { b, y } } do
    if not rawequal(pair[1], pair[2]) then
      pair[2]:close()
    end
  end
  return out
end

--- Every namespace on the machine that this process can see.
-- @tparam[opt] string kind
-- @treturn function an iterator of `{ kind, inode, pids, comm, cgroup, path, owner, fds }`
function M.list(kind)
  if kind then
    check_kinds("ns.list", { kind }, 2)
  end
  local records = require("nsbox.nslist").read(kind)
  local i = 0
  return function()
    i = i + 1
    return records[i]
  end
end

--- Removes a pin: unmounts it and removes its file.
-- @tparam string where a path, or the name of a network namespace
function M.unpin(where)
  require("nsbox.pin").remove(where, 2)
end

-- the methods ---------------------------------------------------------------

local function open_handles(self, op, level)
  if not self._handles then
    error(op .. ": the ns object is closed", level + 1)
  end
  return self._handles
end

-- of these, what children will be in counts
local CHILDREN <const> = { pid = "pid_for_children", time = "time_for_children" }

-- what we are in already: the kernel refuses the user namespace, and others without privilege
local function is_own(self, kind)
  local own = require("nsbox.sys.fd").stat("/proc/thread-self/ns/" .. (CHILDREN[kind] or kind))
  return own and own.ino == self[kind].inode and own.dev == self[kind].dev
end

local function place_of(self, op)
  local handles, join, root = open_handles(self, op, 3), {}, nil
  for _, kind in ipairs(self.kinds) do
    if not is_own(self, kind) then
      join[#join + 1] = handles[kind]
      root = kind == "user" and 0 or root
    end
  end
  if self._island then
    local way = self._island:way(handles)
    table.move(join, 1, #join, #way + 1, way)
    join, root = way, 0
  end
  return { join = join, uid = root, gid = root, trygroups = root and {},
    name = tostring(self) }
end

--- Pins the namespace at a path: it lives as long as the mount there.
-- @tparam string where a path, or a name under /run/netns
-- @treturn nsbox.Namespaces itself
function methods:pin(where)
  if not self.kind then
    error("pin: an object of one kind, this one has " .. table.concat(self.kinds, " "), 2)
  end
  local handle = open_handles(self, "pin", 2)[self.kind]
  self._pin = require("nsbox.pin").make(handle, self.kind, where, 2, self._island)
  return self
end

--- Removes the pin that this object made.
function methods:unpin()
  if not self._pin then
    error("unpin: this object has pinned nothing", 2)
  end
  require("nsbox.pin").remove(self._pin, 2, self._island)
  self._pin = nil
end

--- Runs a program inside to its end; all other kinds are the caller's.
-- @tparam table|string o the program and its arguments, PROGRAM options
-- @treturn nsbox.Result
function methods:exec(o)
  local result = require("nsbox.enter").exec(place_of(self, "exec"), o, 2)
  return result
end

--- Starts a program inside.
-- @tparam table|string o the program and its arguments, PROGRAM options
-- @treturn nsbox.Process
function methods:spawn(o)
  local p = require("nsbox.enter").spawn(place_of(self, "spawn"), o, 2)
  return p
end

-- a tail call has no level to blame
local function pass(...)
  return ...
end

--- Calls a Lua function inside, in a forked child.
-- @tparam function|table f or `{ f, …, PROGRAM }`
-- @param ... its arguments
-- @return f's values
function methods:call(f, ...)
  return pass(require("nsbox.enter").call(place_of(self, "call"), 2, f, ...))
end

--- Lets go of the descriptors.
function methods:_settle()
  for _, handle in pairs(self._handles or {}) do
    handle:close()
  end
  self._handles = nil
end

--- Lets go of the descriptors; what a scope made is undone. Twice is harmless.
function methods:close()
  self:_settle()
  if self._part then
    self._part:close()
  end
end

--- Of what a scope made: nothing undoes it any more.
-- @treturn nsbox.Namespaces itself
function methods:release()
  if not self._part then
    require("nsbox.mistake").raise("release: no scope made this object", 2)
  end
  self._part:release()
  return self
end

Ns.__close = methods.close

function Ns.__eq(a, b)
  if getmetatable(a) ~= getmetatable(b) or #a.kinds ~= #b.kinds then
    return false
  end
  for _, kind in ipairs(a.kinds) do
    if not b[kind] or a[kind].inode ~= b[kind].inode or a[kind].dev ~= b[kind].dev then
      return false
    end
  end
  return true
end

function Ns:__tostring()
  local words = {}
  for i, kind in ipairs(self.kinds) do
    words[i] = ("%s:[%d]"):format(kind, self[kind].inode)
  end
  return table.concat(words, " ")
end

return M

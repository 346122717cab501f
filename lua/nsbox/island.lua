--- Islands: a user, a network and a mount namespace in which a scope works.
--
-- Who may not change the network here may do so in one of his own. One
-- nsbox-init holds it and does there what its owner may do only inside: it opens
-- sockets, makes namespaces, mounts. Boxes of the scope are children of it, and
-- all of it ends with that process: what is made inside needs no journal.
--
-- user_namespaces(7), network_namespaces(7)
--
-- @internal nsbox.island

local ns = require "nsbox.sys.ns"
local process = require "nsbox.sys.process"

local ESRCH <const> = 3
local KINDS <const> = { "user", "mnt", "net" }
local NAMES <const> = "/run/netns"

---@class nsbox.Island
---@field by userdata the handle of its nsbox-init
---@field root string where its files are seen from here
---@field maps table `{ uid = ranges, gid = ranges, setgroups }`
---@field handles table kind → ns handle
---@field uid integer whose it is
---@field uplink? nsbox.Uplink
---@field unreached? nsbox.Error why it has none
local Island = { __name = "nsbox.island" }
Island.__index = Island

local M = {}

-- privilege -----------------------------------------------------------------------

local function has_caps(names)
  local have = {}
  for _, name in ipairs(require("nsbox.sys.cap").get().effective) do
    have[name] = true
  end
  for _, name in ipairs(names) do
    if not have[name] then
      return false
    end
  end
  return true
end

--- Whether this process may work where it is: whether the network namespace belongs to the
-- user namespace in which it has its power.
-- @treturn boolean
function M.is_needless()
  if not has_caps { "net_admin", "sys_admin" } then
    return false
  end
  local net <close> = ns.open "/proc/thread-self/ns/net"
  local user <close> = ns.open "/proc/thread-self/ns/user"
  local owner <close> = net and net:owner() or nil
  return owner ~= nil and owner == user
end

-- ids -----------------------------------------------------------------------------

-- who may map all that there is, does: ids are the same inside
local function same_ids()
  local maps = {}
  for _, which in ipairs { "uid", "gid" } do
    maps[which] = {}
    for i, range in ipairs(require("nsbox.sys").idmap.read(nil, which) or {}) do
      maps[which][i] = { range[1], range[1], range[3] }
    end
  end
  return maps.uid[1] and maps.gid[1] and maps or nil
end

-- what is tried, in this order
local function candidates(op)
  local idmap, list = require "nsbox.idmap", {}
  if has_caps { "setuid", "setgid", "setfcap" } then
    list[1] = same_ids()
  elseif process.geteuid() ~= 0 then
    local ok, maps = pcall(idmap.resolve, "subuid", op)
    list[1] = ok and maps or nil
  end
  list[#list + 1] = idmap.resolve("self", op)
  return list
end

-- an id of here → what it is called inside; and how many that follow it are there, too
local function inside(ranges, id)
  for _, range in ipairs(ranges) do
    local at = id - range[2]
    if at >= 0 and at < range[3] then
      return range[1] + at, range[3] - at
    end
  end
end

local function translate(ranges, here, op)
  local out = {}
  for _, range in ipairs(ranges) do
    local first, outside, left = range[1], range[2], range[3]
    while left > 0 do
      local id, count = inside(here, outside)
      if not id then
        require("nsbox.error").raise { op = op, step = "maps", subject = tostring(outside),
          code = "EPERM", detail = "this id is not in the island of the scope",
          hint = "an island has the own ids, and those of /etc/subuid and /etc/subgid where "
            .. "newuidmap and newgidmap are installed" }
      end
      count = math.min(count, left)
      out[#out + 1] = { first, id, count }
      first, outside, left = first + count, outside + count, left - count
    end
  end
  return out
end

local function is_own(ranges)
  return #ranges == 1 and ranges[1][2] == 0 and ranges[1][3] == 1
end

--- The maps of a box that is a child of it: ids outside are the island's then.
-- @tparam table maps for `sys.process.spawn`
-- @tparam string op the verb, for an Error
-- @treturn table the same, for use inside
function Island:box_maps(maps, op)
  local out = { uid = translate(maps.uid, self.maps.uid, op),
    gid = translate(maps.gid, self.maps.gid, op), setgroups = maps.setgroups }
  -- the own id a process writes itself; for more, somebody in the island has to
  if not (is_own(out.uid) and is_own(out.gid) and out.setgroups == "deny") then
    out.via = self.by
  end
  return out
end

-- places --------------------------------------------------------------------------

---@class nsbox.Inside  a form of `netns`: the island itself, or a name in it
---@field name? string
local Inside = { __name = "nsbox.inside" }
Inside.__index = Inside

function Inside:_open(kind)
  local island = self._island
  if kind == "net" and self.name then
    local path = NAMES .. "/" .. self.name
    local handle, message, errno = ns.open(island.root .. path)
    return handle, message and path .. message:match ": .*$", errno
  end
  return island.handles[kind]:dup()
end

function Inside:__tostring()
  return self.name and "netns " .. self.name or tostring(self._island)
end

--- What a form of `netns` means in it: absent the island itself, a name one of its own.
-- @param netns any form
-- @return a form that means the same from everywhere
function Island:place(netns)
  if netns == nil then
    return self.home
  elseif type(netns) ~= "string" then
    return netns
  end
  local name = netns:match "^/run/netns/([^/]+)$" or netns:match "^/var/run/netns/([^/]+)$"
    or not netns:find("/", 1, true) and netns
  if not name then
    return netns
  end
  self.named[name] = self.named[name] or setmetatable({ _island = self, name = name }, Inside)
  return self.named[name]
end

-- files ---------------------------------------------------------------------------

-- everything that was in a directory, in a new one that can be written to: directories are
-- mounted again, for links in them that lead upwards
local function furnish(self, dir, hidden)
  local lfs, fd = require "lfs", require "nsbox.sys.fd"
  local from, to = dir .. "/" .. hidden, self.root .. dir .. "/"
  for name in lfs.dir(self.root .. from) do
    local path = self.root .. from .. "/" .. name
    local mode = name ~= "." and name ~= ".." and lfs.symlinkattributes(path, "mode")
    if mode == "directory" then
      fd.mkdir(to .. name, "0755")
      self.by:mount(from .. "/" .. name, dir .. "/" .. name, "none", { "bind", "rec" })
    elseif mode == "link" then
      lfs.link(lfs.symlinkattributes(path, "target"), to .. name, true)
    elseif mode then
      lfs.link(hidden .. "/" .. name, to .. name, true)
    end
  end
end

local function mounted(self, op, dir, ok, message, errno)
  if not ok then
    require("nsbox.error").raise { op = op, step = "mount", subject = dir, errno = errno,
      netns = tostring(self), detail = message:gsub("^[^\n]-: ", "") }
  end
  return ok
end

local HIDDEN <const> = ".nsbox"

-- a directory of the machine becomes one of the island, with the same in it
local function cover(self, op, dir)
  local tree <close> = mounted(self, op, dir, self.by:open_tree(dir))
  mounted(self, op, dir, self.by:mount("tmpfs", dir, "tmpfs", { "nosuid", "nodev" }, "mode=755"))
  require("nsbox.sys.fd").mkdir(self.root .. dir .. "/" .. HIDDEN, "0755")
  mounted(self, op, dir, self.by:move_mount(tree, dir .. "/" .. HIDDEN))
  furnish(self, dir, HIDDEN)
end

--- The directory of the names of network namespaces, made ready.
-- @tparam string op the verb, for an Error
-- @treturn string where it is seen from here
function Island:names(op)
  return self:directory(op, NAMES)
end

-- what it could not be asked
local function answered(value, message, errno)
  if not value and errno == ESRCH then
    message = "island: the island has ended: somebody killed its nsbox-init"
  end
  return value, message, errno
end

--- Opens a netlink handle in one of its namespaces.
-- @tparam userdata handle of the namespace
-- @treturn userdata
-- @return[2] nil, message, errno
function Island:netlink(handle)
  return answered(require("nsbox.sys.netlink").open(handle, self.by))
end

--- Makes a network namespace, its loopback device up.
-- @treturn userdata an ns handle
-- @return[2] nil, message, errno
function Island:newnet()
  return answered(self.by:newnet(self.groups))
end

--- Mounts a namespace on a file.
-- @tparam userdata handle of the namespace
-- @tparam string path as it is seen from here
-- @treturn ?boolean true
-- @return[2] nil, message, errno
function Island:pin(handle, path)
  return self.by:mount(handle, self:_inner(path))
end

--- Takes that away again, whatever uses it.
-- @tparam string path as it is seen from here
-- @treturn ?boolean true
-- @return[2] nil, message, errno
function Island:unpin(path)
  return self.by:umount(self:_inner(path))
end

--- Makes a directory that can be written to, where there is none that is the island's own.
-- @tparam string op the verb, for an Error
-- @tparam string path `/run/netns`, `/etc/netns`
-- @treturn string where it is seen from here
function Island:directory(op, path)
  if not self.own[path] then
    local fd = require "nsbox.sys.fd"
    local st = fd.stat(self.root .. path)
    if not (st and st.type == "directory") then
      cover(self, op, path:match "^(.*)/")
      require("nsbox.error").check(op, path, fd.mkdir(self.root .. path, "0755"))
    else
      mounted(self, op, path, self.by:mount("tmpfs", path, "tmpfs", { "nosuid", "nodev" },
        "mode=755"))
    end
    self.own[path] = true
  end
  return self.root .. path
end

--- Whether a path leads into it from here.
-- @tparam string path
-- @treturn boolean
function Island:has(path)
  return path:sub(1, #self.root + 1) == self.root .. "/"
end

-- as it is called there
function Island:_inner(path)
  return path:sub(#self.root + 1)
end

-- life ----------------------------------------------------------------------------

-- those that may ping: a range of groups that there are
local function groups(maps)
  local first, _, count = table.unpack(maps.gid[1])
  return ("%d %d"):format(first, math.min(first + count - 1, 2147483647))
end

-- the caller's later mounts come in, for binds that are slaves, and what is unmounted is not
-- held here
local function launch(op, maps)
  local stream = require "nsbox.stream"
  return require("nsbox.process").start(op, { idle = true, serves = true, new = KINDS, maps = maps,
    lo = true, slave = true, pdeathsig = "KILL", writes = { { "/proc/sys/net/ipv4/ping_group_range",
    groups(maps), optional = true } } }, stream.open({}, stream.NULL))
end

-- newuidmap is there, but may be refused: an island with one id is one, too
local function start(op)
  local list = candidates(op)
  for i, maps in ipairs(list) do
    local ok, started = pcall(launch, op, maps)
    if ok then
      return started, maps
    elseif i == #list or not require("nsbox.error").is(started) then
      error(started, 0)
    end
  end
end

local function open_all(self)
  local sys = self.by
  for _, kind in ipairs(KINDS) do
    self.handles[kind] = require("nsbox.error").check("island", kind, ns.open(sys, kind))
  end
  -- by a descriptor: the number of the process may become another's
  self._root = require("nsbox.error").check("island", "root",
    require("nsbox.sys.fd").open(("/proc/%d/root"):format(sys:pid()), { "path", "directory" }))
  self.root = ("/proc/self/fd/%d"):format(self._root:fileno())
end

--- Makes one.
-- @tparam nsbox.Part part
-- @tparam string op the verb that needs it, for an Error
-- @tparam ?string|boolean uplink which; false: none; nil: one that is installed
-- @treturn nsbox.Island
function M.make(part, op, uplink)
  local self = setmetatable({ handles = {}, named = {}, own = {}, uid = process.geteuid(),
    wanted = uplink, _part = part }, Island)
  part:step("process", {}, function()
    self.process, self.maps = start(op)
    -- it has no streams and no time limit: who asks it notices its end
    require("nsbox.wait").leave(self.process)
    self.by, self.groups = self.process._handle, groups(self.maps)
    return { pid = self.process.pid, id = self.by:identity() }
  end)
  local ok, err = pcall(open_all, self)
  if not ok then
    self:_settle()
    error(err, 0)
  end
  self.home = setmetatable({ _island = self }, Inside)
  if uplink then
    ok, err = pcall(self.reach, self, op)
    if not ok then
      self:_settle()
      error(err, 0)
    end
  end
  return self
end

--- Makes sure that it can reach the world, where it is to.
-- @tparam string op the verb that needs it, for an Error
-- @raise an Error, when an uplink was asked for by name and cannot be had
function Island:reach(op)
  if not self.uplink and not self.unreached and self.wanted ~= false then
    self.uplink, self.unreached = require("nsbox.uplink").start(self, op, self.wanted)
  end
end

--- Raises, once, that its uplink has ended.
-- @tparam string op the verb that comes upon it
function Island:look(op)
  if self.uplink then
    self.uplink:look(op)
  end
end

--- Ends it, and lets go of everything.
function Island:_settle()
  if self.uplink then
    self.uplink:_settle()
  end
  self.process:close()
  for _, handle in next, self.handles do
    handle:close()
  end
  if self._root then
    self._root:close()
  end
end

--- Its namespaces as an object: what runs there is root there.
-- @treturn nsbox.Namespaces
function Island:object()
  local copies = {}
  for kind, handle in next, self.handles do
    copies[kind] = handle:dup()
  end
  local object = require("nsbox.ns").make(copies)
  object._island = self
  return object
end

--- The namespaces to enter on the way to one that belongs to it.
-- @tparam table own kind → handle, of the place itself
-- @treturn userdata[]
function Island:way(own)
  local list = {}
  for _, kind in ipairs(KINDS) do
    list[#list + 1] = not own[kind] and self.handles[kind] or nil
  end
  return list
end

function Island:__tostring()
  return ("private island of uid %d"):format(self.uid)
end

return M

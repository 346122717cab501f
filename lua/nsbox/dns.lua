--- Name servers and names: the verb `dns` of a scope.
--
-- They go where such a namespace looks. `ip netns exec NAME` shows what is in
-- /etc/netns/NAME; a box or another process sees files of ours, mounted over
-- those that it has.
--
-- resolv.conf(5), hosts(5), ip-netns(8)
--
-- @module nsbox.dns

local fd = require "nsbox.sys.fd"
local inet = require "nsbox.inet"
local opts = require "nsbox.opts"

local ENOENT <const>, EEXIST <const> = 2, 17
local REFUSED <const> = { [1] = true, [13] = true, [30] = true } -- EPERM, EACCES, EROFS
local DIR <const> = "/etc/netns"
local LONGEST <const> = 253

local M = { DIR = DIR }

-- options -----------------------------------------------------------------------------

local function check_word(value)
  if type(value) ~= "string" then
    return nil, require("nsbox.mistake").expected("a word", value)
  elseif value == "" or #value > LONGEST or value:find "[%s%c#;]" then
    return nil, ("'%s' is no word for it"):format(value:sub(1, 40):gsub("%c", "?"))
  end
  return value
end

-- { name = address or list of them } -> list of { address, name }, sorted
local function check_hosts(value)
  if type(value) ~= "table" then
    return nil, require("nsbox.mistake").expected("{ name = address, … }", value)
  end
  local out = {}
  for name, given in next, value do
    local ok, wrong = check_word(name)
    if not ok then
      return nil, wrong
    end
    for _, address in ipairs(type(given) == "table" and given or { given }) do
      ok, wrong = inet.check_host(address)
      if not ok then
        return nil, ("'%s': %s"):format(name, wrong)
      end
      out[#out + 1] = { address = address, name = name }
    end
  end
  table.sort(out, function(a, b)
    return a.name < b.name or a.name == b.name and a.address < b.address
  end)
  return out
end

local schema = opts.schema("dns", {
  { inet.check_host, doc = "name servers" },
  search = { check_word, list = true, doc = "domains to look in" },
  options = { check_word, list = true, doc = "of the resolver, \"ndots:1\"" },
  hosts = { check_hosts, doc = "{ name = address, … }" },
})

--- Checks `dns`, as a type for `nsbox.opts`.
-- @param value servers and options, "host", or false
-- @treturn table|string|boolean
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.check(value)
  if value == "host" or value == false then
    return value
  elseif type(value) == "string" and not inet.parse(value) then
    return nil, require("nsbox.mistake").bad("name servers, \"host\" or false", value)
  end
  local o, wrong = schema:parse(value)
  if o and next(o) == nil then
    return nil, "expected name servers, search, options or hosts"
  end
  return o, wrong
end

-- texts -------------------------------------------------------------------------------

-- not one on the loopback device, which is everybody's own, nor one that is told by its link
local function is_reachable(a)
  if not a or a.prefix then
    return false
  elseif a.family == "inet" then
    return a.bytes:byte() ~= 127 and a.bytes:byte() ~= 0
  end
  local word = string.unpack(">I2", a.bytes)
  return not a.bytes:find "^\0\0\0\0\0\0\0\0" and word & 0xffc0 ~= 0xfe80
end

local function add_words(list, text)
  for word in text:gmatch "%S+" do
    if check_word(word) then
      list[#list + 1] = word
    end
  end
end

--- What of a resolv.conf is of use elsewhere: a server on the loopback device is not.
-- @tparam string text
-- @treturn table as `check` gives it
function M.usable(text)
  local o = { options = {} }
  for line in text:gmatch "[^\n]+" do
    local word, rest = line:match "^%s*(%l+)%s+(.-)%s*$"
    if word == "nameserver" then
      local server = rest:match "^%S+"
      if is_reachable(inet.parse(server)) then
        o[#o + 1] = server
      end
    elseif word == "search" or word == "domain" then
      o.search = {}
      add_words(o.search, rest)
    elseif word == "options" then
      add_words(o.options, rest)
    end
  end
  return o
end

-- where a machine keeps its name servers; the second is behind the stub of systemd
M.sources = { "/etc/resolv.conf", "/run/systemd/resolve/resolv.conf" }

--- What of the machine's own name servers, search and options is of use elsewhere.
-- @treturn ?table as `check` gives it; nil: no server that another network could reach
function M.of_host()
  for _, path in ipairs(M.sources) do
    local o = M.usable(require("nsbox.machine").read(path) or "")
    if #o > 0 then
      return o
    end
  end
end

local function of_host(op)
  local o = M.of_host()
  if o then
    return o
  end
  require("nsbox.error").raise { op = op, subject = "dns = \"host\"", code = "EADDRNOTAVAIL",
    detail = ("%s names no server that another network could reach"):format(
      table.concat(M.sources, " nor ")), hint = "a stub on 127.0.0.53 is for this machine alone; "
      .. "give servers: dns = { \"9.9.9.9\" }" }
end

local function resolv_text(o)
  local lines = {}
  for _, server in ipairs(o) do
    lines[#lines + 1] = "nameserver " .. server
  end
  if o.search and #o.search > 0 then
    lines[#lines + 1] = "search " .. table.concat(o.search, " ")
  end
  if o.options and #o.options > 0 then
    lines[#lines + 1] = "options " .. table.concat(o.options, " ")
  end
  return table.concat(lines, "\n") .. "\n"
end

local function has_resolv(o)
  return #o > 0 or o.search ~= nil or o.options ~= nil
end

local function raise(op, subject, message, errno, hint)
  require("nsbox.error").raise { op = op, subject = subject:gsub("^/proc/self/fd/%d+/", "/"),
    errno = errno, hint = hint,
    detail = message:gsub("^[^\n]-: ", "") }
end

-- a name under /run/netns -------------------------------------------------------------

-- root of a user namespace alone is nobody in /etc
local function refused(errno)
  return REFUSED[errno] and ("the files of a name are in %s, which this script may not write to; a "
    .. "scope with private = true has a directory of its own there"):format(DIR) or nil
end

local function directory(part, op, path)
  local st = fd.stat(path)
  if st and st.type == "directory" then
    return
  end
  part:step("dir", { path = path }, function()
    local ok, message, errno = fd.mkdir(path, "0755")
    if not ok and errno ~= EEXIST then
      raise(op, path, message, errno, refused(errno))
    end
    st = fd.stat(path)
    return { dev = st.dev, ino = st.ino }
  end)
end

-- in a file that is there already, in place: it may be mounted somewhere
local function rewrite(part, op, path, text)
  local handle <close>, message, errno = fd.open(path, { "rdwr" })
  if not handle then
    raise(op, path, message, errno)
  end
  local old, st = require("nsbox.machine").read(path) or "", fd.stat(handle)
  part:step("content", { path = path, dev = st.dev, ino = st.ino, old = old, new = text },
    function()
      local ok, why, code = require("nsbox.undo.content").write(handle, text)
      if not ok then
        raise(op, path, why, code)
      end
      return {}
    end)
end

local function put(part, op, path, text)
  if fd.stat(path) then
    rewrite(part, op, path, text)
    return
  end
  require("nsbox.newfile").make(part, "file", path, "0644", text, function(where, message, errno)
    raise(op, where, message, errno, refused(errno))
  end):close()
end

local function for_name(part, op, name, o, ground)
  local dir = ground:directory(op, DIR)
  local path = dir .. "/" .. name
  directory(part, op, dir)
  directory(part, op, path)
  if has_resolv(o) then
    put(part, op, path .. "/resolv.conf", resolv_text(o))
  end
  if o.hosts then
    put(part, op, path .. "/hosts", require("nsbox.hosts").text(o.hosts))
  end
end

-- a process ---------------------------------------------------------------------------

-- a file of this text that can be mounted, one for all that are to see the same
local function held_file(part, op, text)
  local scope = part.scope
  scope._held = scope._held or {}
  local known = scope._held[text]
  local st = known and fd.stat(known.path)
  if st and st.ino == known.ino and st.dev == known.dev then
    return known
  end
  local handle = M.hold(part, op, text)
  st = fd.stat(handle.handle)
  handle.handle:close()
  known = { path = handle.path, ino = st.ino, dev = st.dev }
  scope._held[text] = known
  return known
end

--- Makes a file that can be mounted, and written in place.
-- @tparam nsbox.Part part
-- @tparam string op the verb, for an Error
-- @tparam string text
-- @treturn table `{ path, handle }`
function M.hold(part, op, text)
  local rundir = require "nsbox.rundir"
  -- a user's directory in a user namespace comes with its first journal
  part.scope:_writes(op)
  local path = ("%s/dns-%08x"):format(rundir.open(op, true), require("nsbox.random").u32())
  local handle = require("nsbox.newfile").make(part, "held", path, "0644", text,
    function(where, message, errno)
      raise(op, where, message, errno)
    end)
  return { path = path, handle = handle }
end

local function missing(target)
  return ("there is no %s in there, and none can be made: its file system is read-only, or not "
    .. "its own; put an empty file there"):format(target)
end

--- Shows files of ours in a process, so that it can be undone.
-- @tparam nsbox.Part part
-- @tparam string op the verb, for an Error
-- @tparam table who `{ pid, box }`
-- @tparam table files list of `{ path, target, dev, ino, optional }`
function M.show(part, op, who, files)
  local overmount = require "nsbox.overmount"
  local handle <close>, message, errno = require("nsbox.sys.process").open(who.pid)
  if not handle then
    raise(op, "pid " .. who.pid, message, errno)
  end
  local mnt <close>, user, code = overmount.namespaces(handle)
  if not mnt then
    raise(op, who.box and tostring(who.box) or "pid " .. who.pid, "open: " .. user, code,
      code == 22 and "the files would be shown to everybody here" or nil)
  end
  local owner <close> = user
  local items, id = {}, handle:identity()
  for i, file in ipairs(files) do
    items[i] = { part, "overmount", { pid = who.pid, id = id, target = file.target,
      dev = file.dev, ino = file.ino, durable = not who.box } }
  end
  require("nsbox.part").steps(items, function(steps)
    local ok
    ok, message, errno = overmount.mount(mnt, owner, files)
    local outcome = {}
    for i in ipairs(steps) do
      outcome[i] = ok and {} or false
    end
    return outcome
  end)
  if message then
    local target = message:match "^(/[^:]*): " or "/etc/resolv.conf"
    raise(op, target, message, errno,
      (errno == ENOENT or errno == 30 or errno == 13 or errno == 75) and missing(target) or nil)
  end
end

local function file_of(known, target, optional)
  return { path = known.path, dev = known.dev, ino = known.ino, target = target,
    optional = optional }
end

local function for_process(part, op, who, o)
  local files = {}
  if has_resolv(o) then
    files[1] = file_of(held_file(part, op, resolv_text(o)), "/etc/resolv.conf")
  end
  local hostname = who.box and who.box._plan.hostname
  if hostname then
    files[#files + 1] = file_of(held_file(part, op, hostname .. "\n"), "/etc/hostname", true)
  end
  if o.hosts and who.box then
    require("nsbox.names").add(part, who.box, o.hosts)
  elseif o.hosts then
    files[#files + 1] = file_of(held_file(part, op, require("nsbox.hosts").text(o.hosts)),
      "/etc/hosts")
  end
  if #files > 0 then
    M.show(part, op, who, files)
  end
end

-- which way ---------------------------------------------------------------------------

-- the name under /run/netns, or the process
local function looker(netns)
  if type(netns) == "string" then
    local name = netns:match "^/run/netns/([^/]+)$" or netns:match "^/var/run/netns/([^/]+)$"
      or not netns:find("/", 1, true) and netns
    local pid = netns:match "^/proc/(%d+)/ns/net$"
    return name, pid and { pid = math.tointeger(tonumber(pid)) }
  elseif math.type(netns) == "integer" then
    return nil, { pid = netns }
  elseif type(netns) == "table" and netns.state and netns._plan then
    return nil, { pid = netns.pid, box = netns }
  elseif type(netns) == "table" and netns._open then
    return netns.name
  elseif type(netns) == "table" and netns._pin then
    return netns._pin:match "/run/netns/([^/]+)$"
  elseif type(netns) == "table" and netns.pids then
    return nil, netns.pids[1] and { pid = netns.pids[1] }
  elseif type(netns) == "userdata" and netns.pid then
    return nil, { pid = netns:pid() }
  end
end

--- Sets the names of a namespace; see `nsbox.part`.
-- @tparam nsbox.Part part
-- @tparam string op the verb, for an Error
-- @param netns any form of it
-- @param o as `check` gives it; false: nothing is done
function M.apply(part, op, netns, o)
  if not o then
    return
  end
  local name, who = looker(netns)
  if not name and not who then
    require("nsbox.error").raise { op = op, subject = netns ~= nil and tostring(netns) or nil,
      code = "EINVAL", detail = "nobody looks up names there by files of its own",
      hint = "dns is for a box, a pid, or a name under /run/netns" }
  end
  if o == "host" then
    o = of_host(op)
  end
  if name then
    local ground = type(netns) == "table" and netns._island or require "nsbox.here"
    local place = ground.place and ground:place(name) or name
    require("nsbox.place").open(place, "net", op):close()
    for_name(part, op, name, o, ground)
  else
    for_process(part, op, who, o)
  end
end

--- The verb; see `nsbox.part`.
-- @tparam nsbox.Part part
-- @param netns any form of it
-- @tparam integer level whose line to blame
-- @param value `{ server…, search =, options =, hosts = }` or "host"
-- @treturn nsbox.Made
function M.make(part, netns, level, value)
  local mistake = require "nsbox.mistake"
  local ok, wrong = require("nsbox.place").check(netns, "net")
  if not ok then
    mistake.raise("dns: argument 1: " .. wrong, level + 1)
  end
  local o
  o, wrong = M.check(value)
  if not o then
    mistake.raise("dns: " .. (wrong or "false sets nothing"), level + 1)
  end
  netns = part:place(netns)
  local where = require("nsbox.netplace").label(netns)
  if not part:stands(where, o == "host" and { "host" } or o) then
    M.apply(part, "dns", netns, o)
  end
  return require("nsbox.made").new("dns of " .. where)
end

return M

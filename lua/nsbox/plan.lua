--- The options of a box, and the plan that they make.
--
-- A plan is what `sys.process.spawn` takes. Its mounts are made by
-- `nsbox.mounts` or, for a root file system of its own, by `nsbox.root`.
--
-- @internal nsbox.plan

local process = require "nsbox.sys.process"
local program = require "nsbox.program"
local opts = require "nsbox.opts"

local M = {}

local KINDS <const> = require "nsbox.kinds"
local KNOWN <const> = {}
for _, kind in ipairs(KINDS) do
  KNOWN[kind] = true
end

local function namespaces(value)
  if type(value) ~= "table" or getmetatable(value) then
    return nil, require("nsbox.mistake").expected("a table", value)
  end
  local count = 0
  for key, v in next, value do
    local kind = math.type(key) and v or key
    count = count + (math.type(key) and 1 or 0)
    if not KNOWN[kind] then
      return nil, require("nsbox.mistake").not_one_of(tostring(kind), KNOWN)
    elseif not math.type(key) and type(v) ~= "boolean" then
      local ok, message = require("nsbox.place").check(v, kind)
      if not ok then
        return nil, ("%s: %s"):format(key, message)
      end
    end
  end
  if count ~= #value then
    return nil, require("nsbox.mistake").HOLE
  end
  return value
end

-- one or a list of capabilities -> a list
local function cap_list(value)
  if type(value) == "string" then
    value = { value }
  elseif type(value) ~= "table" then
    return nil, require("nsbox.mistake").expected("a list of capabilities or \"all\"", value)
  end
  local known, list = {}, {}
  for _, name in ipairs(require("nsbox.sys.cap").names()) do
    known[name] = true
  end
  for i, word in ipairs(value) do
    local name = type(word) == "string" and word:lower():gsub("^cap_", "")
    if name == "none" then
      return nil, "'none' is no capability; {} keeps none"
    elseif not known[name] then
      local near = require("nsbox.mistake").suggest(tostring(word), known)
      return nil, ("'%s' is no capability%s"):format(tostring(word),
        near and (" (did you mean '%s'?)"):format(near) or ", see capabilities(7)")
    end
    list[i] = name
  end
  for key in next, value do
    if math.type(key) and not list[key] then
      return nil, require("nsbox.mistake").HOLE
    end
  end
  return list
end

local function caps(value)
  if value == "all" then
    return value
  end
  local list, message = cap_list(value)
  for key, v in next, type(value) == "table" and list and value or {} do
    if key == "ambient" then
      list.ambient, message = cap_list(v)
    elseif type(key) ~= "number" then
      message = require("nsbox.mistake").unknown(key, { ambient = true })
    end
    if message then
      return nil, message
    end
  end
  return list, message
end

local HOST_NAME <const> = 64 -- bytes: the kernel's limit

-- it goes into files of the box, and of others
local function host_name(value)
  if type(value) ~= "string" then
    return nil, require("nsbox.mistake").expected("a string", value)
  elseif value:find("\0", 1, true) then
    return nil, require("nsbox.mistake").nul(value)
  elseif value == "" then
    return nil, require("nsbox.mistake").too_short(value, 1)
  elseif #value > HOST_NAME then
    return nil, require("nsbox.mistake").too_long(value, HOST_NAME)
  end
  for part in (value .. "."):gmatch "([^.]*)%." do
    -- RFC 1123 has no '_', but everybody else's boxes do
    if not part:find "^[%w_][%w_-]*$" or part:sub(-1) == "-" then
      return nil, require("nsbox.mistake").bad("a host name (letters, digits, '-', '_' and '.')",
        value)
    end
  end
  return value
end

local offsets = opts.schema("time_offsets", {
  monotonic = { "number", min = -1e10, max = 1e10 },
  boottime = { "number", min = -1e10, max = 1e10 },
})

local function seccomp(value)
  if type(value) == "boolean" then
    return value
  end
  return require("nsbox.seccomp").check(value)
end

local fields = {
  net = { opts.by("nsbox.attach", "check_net"), none = true,
    doc = "a bridge, { bridge, name =, INTERFACE }, or a list: networks at birth" },
  name = { host_name, doc = "identity, and default of hostname: a host name" },
  hostname = { host_name, doc = "UTS name: letters, digits, \"-\", \"_\" and \".\"" },
  namespaces = { namespaces, doc = "array: exactly these are new; named: true, false, or which" },
  maps = { opts.by("nsbox.idmap", "parse"),
    doc = "\"self\", \"subuid\", ranges, or { uid = ranges, gid = ranges }" },
  init = { "boolean", default = false, doc = "nsbox-init is pid 1, reaps and forwards signals" },
  bare = { "boolean", default = false, doc = "only namespaces and maps: what unshare gives" },
  rootfs = { opts.by "nsbox.root", none = true,
    doc = "its root: \"DIR\" or { DIR, ro =, idmap = }, {}: an empty one" },
  overlay = { opts.by "nsbox.overlay", none = true,
    doc = "{ lower =, upper =, work = } or \"tmp\", over its root; \"tmp\" takes up to half of the "
      .. "memory; upper and work have a lock (flock) of the script's, until it or the box ends" },
  devices = { opts.by("nsbox.root", "check_devices"), none = true,
    doc = "devices of the host that its root shows: one or a list" },
  masks = { "boolean", doc = "what of /proc and /sys is hidden or read-only (true; bare: false)" },
  bind = { opts.by "nsbox.binds", none = true,
    doc = "\"SRC[:DST[:ro]]\" or { SRC, to =, ro =, idmap =, propagation = }, a list" },
  tmpfs = { opts.by("nsbox.binds", "check_tmpfs"), none = true,
    doc = "\"DIR\" or { DIR, size =, mode = }, one or a list; without size up to half of the "
      .. "memory" },
  sysctl = { opts.by("nsbox.setting", "check_box"), doc = "{ [\"net.ipv4.ip_forward\"] = 1, … } "
    .. "of its net and ipc namespaces: net.*, kernel.shm*, msg* and sem, fs.mqueue.*" },
  dns = { opts.by "nsbox.dns", none = true,
    doc = "{ server…, search =, options =, hosts = }, or \"host\"" },
  forward = { "boolean", doc = "a router: it forwards IPv4 and IPv6" },
  caps = { caps, doc = "capabilities kept, \"all\", or {}; ambient = list" },
  no_new_privs = { "boolean", doc = "no setuid program gains anything (true; bare: false)" },
  seccomp = { seccomp, none = true, doc = "true: the built-in filter (bare: false); { allow =, "
    .. "deny =, errno = }: changes of it; an OCI profile: a table, or a file's path" },
  groups = { opts.by("nsbox.limits", "check_groups"),
    doc = "exactly these supplementary ones: gids, or names of its own /etc/group" },
  rlimits = { opts.by("nsbox.limits", "check_rlimits"),
    doc = "{ nofile = 1024, core = 0, as = { soft, hard } }, \"unlimited\", of each program" },
  oom_score_adj = { "integer", min = -1000, max = 1000,
    doc = "the higher, the sooner it is killed when memory is short; not the caller's" },
  nice = { "integer", min = -20, max = 19, doc = "its niceness; not the caller's" },
  affinity = { opts.by("nsbox.limits", "check_affinity"),
    doc = "the cpus that it may use: one or a list" },
  time_offsets = { offsets, doc = "{ monotonic =, boottime = } in seconds" },
}
for key, field in next, program.fields do
  fields[key] = field
end

--- The fields of an option schema: PROGRAM and BOX.
M.fields = fields

-- kind → true (new), a place (join) or nil (the caller's)
local function choose(o)
  local chosen, given = {}, o.namespaces or {}
  for _, kind in ipairs(given[1] and given or KINDS) do
    chosen[kind] = true
  end
  if not given[1] then
    chosen.time = nil -- only offsets make it useful
  end
  for kind, what in next, given do
    if type(kind) == "string" then
      chosen[kind] = what or nil
    end
  end
  if o.time_offsets and given.time == nil then
    chosen.time = true
  end
  return chosen
end

-- What was opened for a launch, and is of no use after it; `held`: until what is launched ends.
local Opened = { __name = "nsbox.opened" }
Opened.__index = Opened

function Opened:__close()
  for _, handle in ipairs(self) do
    handle:close()
  end
  for _, handle in ipairs(self.held) do
    handle:close()
  end
end

--- Gives what is held to the process that was launched.
-- @tparam nsbox.Process launched
function Opened:hand_over(launched)
  launched._held, self.held = self.held, {}
end

local function open_places(plan, joined, op, opened, ground)
  for kind, what in next, joined do
    local handle = require("nsbox.place").open(ground and ground:place(what) or what, kind, op)
    plan.join = plan.join or {}
    plan.join[#plan.join + 1] = handle
    opened[#opened + 1] = handle ~= what and handle or nil
  end
end

local function add_namespaces(plan, chosen, op, ground, opened)
  local new, joined = {}, {}
  for kind, what in next, chosen do
    if what == true then
      new[#new + 1] = kind
    else
      joined[kind] = what
    end
  end
  plan.new = new
  if ground and ground.handles then -- it is a child of the island
    plan.join = ground:way(joined)
    plan.dumpable = true -- nobody is there who is not its owner
  end
  open_places(plan, joined, op, opened, ground)
end

-- what an outside id is called inside, nil: it has no name there
local function inside(ranges, id)
  for _, range in ipairs(ranges) do
    if id >= range[2] and id < range[2] + range[3] then
      return range[1] + id - range[2]
    end
  end
end

-- the ids of pid 1: what the user option says, else root where there is one
local function add_ids(plan, user, chosen, who, wanted)
  local maps_, uid, gid, groups = plan.maps, nil, nil, nil
  if user then
    uid, gid, groups = user.uid, user.gid, user.groups
  elseif maps_ then
    if inside(maps_.uid, who.euid) ~= 0 then
      uid = 0
    end
    if inside(maps_.gid, who.egid) ~= 0 then
      gid = 0
    end
    groups = {}
  elseif chosen.user then -- one that is joined
    uid, gid, groups = 0, 0, {}
  end
  plan.uid, plan.gid = uid, gid
  -- where setgroups is denied, the caller's groups cannot be dropped; who asks for others
  -- is told so by the kernel
  plan.groups, plan.trygroups = wanted, not wanted and groups or nil
end

local function add_caps(plan, o, privileged)
  local keep = o.caps
  if keep == nil and not o.bare then
    keep = require("nsbox.defaults").caps
  end
  if keep == nil or keep == "all" or not (privileged or o.caps) then
    return
  end
  local ambient, permitted = keep.ambient, keep
  if ambient then
    permitted = { table.unpack(keep) }
    table.move(ambient, 1, #ambient, #permitted + 1, permitted)
  end
  plan.caps = { bounding = privileged and permitted or nil, permitted = permitted,
    inheritable = ambient, ambient = ambient }
end

-- the built-in one, by the list of capabilities: most often that of the defaults
local builtin = setmetatable({}, { __mode = "k" })

local function add_filter(plan, o, privileged, op)
  local choice = o.seccomp
  if choice == nil then
    choice = not o.bare
  end
  if not choice then
    return
  end
  local kept = plan.caps and plan.caps.permitted or privileged and "all" or {}
  if choice ~= true then
    plan.seccomp = require("nsbox.seccomp").bytes(choice, kept, op)
    return
  end
  builtin[kept] = builtin[kept] or process.filter(kept)
  plan.seccomp = builtin[kept]
end

-- ping sends with an ordinary socket where the group may; all mapped ones may
local function ping_range(plan)
  local ranges = plan.maps and plan.maps.gid
  local first, last = 0, 2147483647
  if ranges then
    first = ranges[1][1]
    last = math.min(first + ranges[1][3] - 1, last)
  end
  return { "/proc/sys/net/ipv4/ping_group_range", ("%d %d"):format(first, last), optional = true }
end

local function add_network(plan, o, chosen)
  if chosen.net ~= true then
    return
  end
  local writes = {}
  if not o.bare then
    plan.lo = true
    writes[1] = ping_range(plan)
  end
  if o.forward then
    writes[#writes + 1] = { "/proc/sys/net/ipv4/ip_forward", "1" }
    -- a kernel without IPv6 has no such file
    writes[#writes + 1] = { "/proc/sys/net/ipv6/conf/all/forwarding", "1", optional = true }
  end
  for _, setting in ipairs(o.sysctl or {}) do
    writes[#writes + 1] = setting.kind == "net" and { "/proc/sys/" .. setting.path, setting.value }
      or nil
  end
  plan.writes = writes
end

local function of_others(o, chosen)
  for _, setting in ipairs(o.sysctl or {}) do
    if chosen[setting.kind] ~= true then
      return ("sysctl: needs a new %s namespace for %s"):format(setting.kind, setting.key)
    end
  end
end

local function conflict(o, chosen)
  local mnt = chosen.mnt == true
  if o.maps and chosen.user ~= true then
    return "maps: need a new user namespace"
  elseif o.time_offsets and chosen.time ~= true then
    return "time_offsets: need a new time namespace"
  elseif (o.hostname or o.name) and chosen.uts ~= true then
    return "hostname: needs a new uts namespace"
  elseif o.net and chosen.net ~= true then
    return "net: needs a new net namespace"
  elseif o.forward and chosen.net ~= true then
    return "forward: needs a new net namespace"
  elseif o.dns and not mnt then
    return "dns: needs a new mnt namespace"
  elseif (o.rootfs or o.bind or o.tmpfs or o.masks) and not mnt then
    return (o.rootfs and "rootfs" or o.bind and "bind" or o.tmpfs and "tmpfs" or "masks")
      .. ": needs a new mnt namespace"
  elseif o.overlay and not o.rootfs then
    return "overlay: over what? rootfs is the lowest layer"
  elseif o.overlay and not o.rootfs.dir then
    return "overlay: an empty rootfs has nothing to lie over"
  elseif o.devices and not o.rootfs then
    return "devices: a box without a rootfs has those of the host"
  end
  return of_others(o, chosen)
end

local function view(o)
  return require(o.rootfs and "nsbox.root" or "nsbox.mounts")
end

-- the kinds in which the box is not with its caller
local function own_kinds(chosen, island)
  local kinds = {}
  for _, kind in ipairs(KINDS) do
    kinds[#kinds + 1] = (chosen[kind] or island and island.handles[kind]) and kind or nil
  end
  return kinds
end

-- reads the files that say who is who in the box
local function reader(plan, o, chosen, who, op, ground)
  return require("nsbox.preview").reader(o, chosen.mnt, op, function()
    local opened = setmetatable({ held = {} }, Opened)
    local child = { maps = plan.maps, pdeathsig = "KILL" }
    local kinds = { user = chosen.user, mnt = chosen.mnt }
    add_ids(child, nil, kinds, who)
    local ok, err = pcall(function()
      if kinds.mnt == true then
        child.mounts = view(o).list(child, o, kinds, who, op, opened, true)
      end
      add_namespaces(child, kinds, op, ground, opened)
    end)
    if not ok then
      opened:__close()
      error(err, 0)
    end
    return child, opened
  end)
end

-- what may open something, or fail
local function complete(plan, o, chosen, op, ground, opened)
  local island = ground and ground.handles and ground
  local euid, egid = process.geteuid()
  local who = { euid = euid, egid = egid }
  if chosen.user == true then
    who.maps = require("nsbox.idmap").resolve(o.maps, op, who)
    plan.maps = island and island:box_maps(who.maps, op) or who.maps
  end
  plan.no_new_privs = o.no_new_privs
  if plan.no_new_privs == nil then
    plan.no_new_privs = not o.bare
  end
  if o.overlay then
    require("nsbox.overlay").open(o, op, opened.held)
  end
  local read = (o.user or o.groups) and reader(plan, o, chosen, who, op, ground)
  local user = o.user and require("nsbox.user").resolve(o.user, read, op)
  add_ids(plan, user, chosen, who,
    o.groups and require("nsbox.user").resolve_groups(o.groups, read, op))
  if o.rlimits or o.oom_score_adj or o.nice or o.affinity then
    require("nsbox.limits").add(plan, o)
  end
  if chosen.uts == true then
    plan.hostname = o.hostname or o.name
  end
  plan.time_offsets = o.time_offsets
  add_network(plan, o, chosen)
  local privileged = chosen.user or island or euid == 0
  add_caps(plan, o, privileged)
  add_filter(plan, o, privileged, op)
  plan.setsid = not o.bare
  plan.init = o.init
  local home = user and user.home or privileged and "/root" or "/"
  plan.env, plan.path = program.environment(o.env, home)
  if chosen.mnt == true then
    plan.mounts = view(o).list(plan, o, chosen, who, op, opened)
  elseif o.sysctl and require("nsbox.early").has_settings(o) then
    plan.mounts = {}
    require("nsbox.early").add(plan.mounts, plan, o, chosen, who)
  end
  add_namespaces(plan, chosen, op, ground, opened)
  return own_kinds(chosen, island), home
end

--- Turns checked options into a plan.
-- @tparam table o options, checked by a schema of `fields`
-- @tparam string op the verb, for errors
-- @tparam integer level whose line to blame for options that exclude each other
-- @tparam[opt] function ground tells where it is made: an island, or `nsbox.here`
-- @treturn table for `sys.process.spawn`
-- @treturn table the kinds in which the box is not with its caller
-- @treturn table what was opened for the launch: close it after that; `hand_over` first
-- @treturn string the home of its user
function M.build(o, op, level, ground)
  local chosen = choose(o)
  local idle = op == "box" and #o == 0
  local wrong = not idle and program.conflict(o) or conflict(o, chosen)
  local plan = { argv = o, pdeathsig = "KILL" }
  wrong = wrong or program.add_cwd(plan, o, chosen.mnt, o.rootfs)
  if wrong then
    require("nsbox.mistake").raise(op .. ": " .. wrong, level + 1)
  end
  ground = ground and ground()
  local opened = setmetatable({ held = {} }, Opened)
  local ok, kinds, home = pcall(complete, plan, o, chosen, op, ground, opened)
  if not ok then
    opened:__close()
    error(kinds, 0)
  end
  return plan, kinds, opened, home
end

return M

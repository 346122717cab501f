--- What this machine allows: a table of probes that try it.
--
-- A probe does the thing itself in a scratch child and never goes by version
-- numbers: a kernel can have namespaces and forbid them, an outer container
-- can hide a system call. That a user namespace can be *made* proves nothing
-- either: AppArmor lets it be made and takes its power away.
-- `nsbox.doctor` prints them; the specs skip by them, and by nothing else.
--
-- @internal nsbox.probe

local sys = require "nsbox.sys"

local SECONDS <const> = 30 -- for a child that does nothing: only a stuck kernel takes longer

-- Targets of scratch mounts, in a mount namespace that ends with its child
local SOMEWHERE <const> = "/sys"

local values = require("nsbox.forked").values

local function ended(process)
  local how, code = process:status()
  if how == nil then
    sys.fd.poll({ [process:fileno()] = "r" }, SECONDS)
    how, code = process:status()
  end
  process:close()
  return how == "exit" and code == 0, how, code
end

local function refused(plan, message, errno, step, subject)
  local err = require("nsbox.error").new({ op = "probe", step = step, subject = subject,
    errno = errno, detail = message }, plan)
  return false, message, err.hint
end

-- starts true(1) by this plan
local function launch(plan)
  plan.argv = { "true" }
  plan.env = {}
  local process, message, errno, step, subject = sys.process.spawn(plan)
  if not process then
    return refused(plan, message, errno, step, subject)
  end
  local ok, how, code = ended(process)
  if ok then
    return true
  end
  return false, ("true(1) started, but its end was %s %s"):format(how, code)
end

-- a user namespace with our own ids and these kinds in it
local function box(kinds, more)
  return function()
    local plan = { new = { "user", table.unpack(kinds) } }
    plan.maps = require("nsbox.idmap").resolve("self")
    for key, value in pairs(more or {}) do
      plan[key] = value
    end
    return launch(plan)
  end
end

local function mounting(kinds, fstype, target, data)
  return box({ "mnt", table.unpack(kinds) },
    { mounts = { { type = fstype, source = fstype, target = target, data = data } } })
end

local probes, names = {}, {}

local function probe(name, what, try)
  probes[name] = { name = name, what = what, try = try }
  names[#names + 1] = name
end

probe("root", "privilege in the first user namespace", function()
  local ids = sys.process.ids()
  if ids.euid == 0 and require("nsbox.machine").initial_userns() == nil then
    return false, "/proc does not say whether this is the first user namespace",
      "as root: mount -t proc proc /proc"
  elseif not require("nsbox.idmap").who().root then
    return false, "this process is not root, or root of a user namespace only",
      "run it as root; what needs no privilege works without"
  end
  return launch { new = { "mnt", "uts" }, hostname = "nsbox-probe" }
end)

local CAP_SYS_RESOURCE <const> = 24

local function may_raise_limits()
  local machine = require "nsbox.machine"
  return machine.has_cap(CAP_SYS_RESOURCE) and machine.initial_userns() == true
end

probe("sys_resource", "limits above those that this process has", function()
  return may_raise_limits(), "this process has not CAP_SYS_RESOURCE in the first user namespace"
end)

probe("userns", "a user namespace", function()
  return launch { new = { "user" } }
end)

probe("maps", "a user namespace with the own ids mapped, and power in it",
  mounting({}, "tmpfs", SOMEWHERE))

probe("subuid", "ids of /etc/subuid and /etc/subgid", function()
  return launch { new = { "user" }, maps = require("nsbox.idmap").resolve "subuid" }
end)

probe("utsns", "an own hostname", box({ "uts" }, { hostname = "nsbox-probe" }))
probe("pidns", "a pid namespace", box { "pid" })
probe("ipcns", "an ipc namespace", box { "ipc" })
probe("netns", "a net namespace, its loopback up", box({ "net" }, { lo = true }))
probe("cgroupns", "a cgroup namespace", box { "cgroup" })
probe("timens", "a time namespace with offsets",
  box({ "time" }, { time_offsets = { boottime = 3600 } }))

probe("ipcsysctl", "settings of an own ipc namespace", function()
  local ok, err = pcall(require "nsbox.run", { "true", bare = true,
    sysctl = { ["kernel.shmmni"] = 4096 } })
  if ok then
    return true
  end
  return false, tostring(err.detail or err), err.hint
end)

probe("sysctl", "settings of an own net namespace", function()
  local ok, why = values({ "user", "net", maps = require("nsbox.idmap").resolve "self" }, function()
    assert(io.open("/proc/sys/net/ipv4/ip_forward", "w")):close()
  end)
  if ok then
    return true
  elseif ok == nil then
    return false, why
  end
  return false, "/proc/sys is read-only here, as in a default box",
    "run the outer box with bare = true (docker: --security-opt systempaths=unconfined)"
end)
for name, package in pairs { pasta = "passt", slirp4netns = "slirp4netns" } do
  probe(name, "the uplink of an island by " .. name, function()
    if require("nsbox.uplink").find(name) then
      return true
    end
    return false, name .. " is not installed", "install the package " .. package
  end)
end
probe("procmount", "an own /proc", mounting({ "pid" }, "proc", "/proc"))
probe("rootfs", "a root file system of its own", function()
  local maps = require("nsbox.idmap").resolve "self"
  return launch { new = { "user", "mnt" }, maps = maps, mounts = { { grab = "/", recursive = true },
    { place = 1, root = true }, { pivot = true } } }
end)
probe("idmap", "files of the temporary directory shown with other ids", function()
  local mount = require "nsbox.sys.mount"
  local ns <close> = require("nsbox.ns").new { "user", maps = { { 0, 100000, 1000 } } }
  local tree <close>, message, errno = mount.open_tree(os.getenv "TMPDIR" or "/tmp", "clone")
  local ok = tree ~= nil
  if tree then
    ok, message, errno = mount.setattr(tree, { idmap = ns._handles.user })
  end
  if ok then
    return true
  end
  return refused({}, message, errno, "idmap", "/tmp")
end)
probe("sysfs", "an own /sys", mounting({ "net" }, "sysfs", "/sys"))
probe("mqueue", "own POSIX message queues", mounting({ "ipc" }, "mqueue", SOMEWHERE))
probe("devpts", "own terminals", mounting({}, "devpts", SOMEWHERE, "newinstance"))
probe("cgroup2", "an own view of cgroup v2", mounting({ "cgroup" }, "cgroup2", SOMEWHERE))
probe("overlay_userns", "overlay mounts in a user namespace",
  mounting({}, "overlay", SOMEWHERE, "lowerdir=/usr:/etc"))

probe("mount_api", "open_tree(2) and move_mount(2)", function()
  local ok, why = values({ "user", "mnt", maps = require("nsbox.idmap").resolve "self" }, function()
    local tree <close> = assert(sys.mount.open_tree("/proc", { "clone", "recursive" }))
    assert(sys.mount.move_mount(tree, "/sys"))
  end)
  if ok then
    return true
  elseif ok == nil then
    return false, why
  end
  return false, tostring(why), "bind mounts are made by mount(2) then"
end)

probe("etc_netns", "files of a named network namespace, in /etc/netns", function()
  if not require("nsbox.island").is_needless() then
    return true -- an island has one of its own
  end
  local dir = sys.fd.stat "/etc/netns" and "/etc/netns" or "/etc"
  local file, why, errno = sys.fd.open(dir, { "rdwr", "tmpfile" }, "0600")
  if file then
    file:close()
  elseif errno ~= 21 and errno ~= 95 then -- EISDIR, ENOTSUP: no such files there, but others
    return false, why, "an island has one of its own: nsbox.scope { private = true }"
  end
  return true
end)

probe("memfd_exec", "nsbox-init, which runs from a memfd", box({ "pid" }, { init = true }))

probe("seccomp", "a filter of system calls on a program", function()
  return launch { no_new_privs = true, seccomp = sys.process.filter {} }
end)

probe("libseccomp", "seccomp filters of one's own", function()
  local found, why = pcall(require, "nsbox.sys.seccomp")
  if found then
    return true
  end
  return false, tostring(why):match "^[^\n]*", "install the package libseccomp2"
end)

-- runs f with rtnetlink in a network namespace of its own
local function network(f)
  local netlink = sys.netlink
  local kinds = { "net" }
  if not require("nsbox.idmap").who().root then
    kinds = { "user", "net", maps = require("nsbox.idmap").resolve("self") }
  end
  local ran, ok, why = values(kinds, function()
    return f(assert(netlink.open()))
  end)
  if not ran then
    return false, ok
  end
  return ok, why
end

-- whether the kernel can make such a link, on a veth if it needs a lower one
local function kind(name, module, data, lower)
  probe(name, "links of the kind " .. name, function()
    local ok, why = network(function(nl)
      if lower then
        nl:link_add { "lower", kind = "veth" }
      end
      local made, message = nl:link_add { "probe", kind = name, data = data, link = lower }
      return made or false, message
    end)
    if ok then
      return true
    end
    return false, why, ("as root: modprobe %s, if this kernel has it"):format(module)
  end)
end

kind("bridge", "bridge")
kind("veth", "veth")
kind("macvlan", "macvlan", { mode = "bridge" }, "lower")
kind("ipvlan", "ipvlan", { mode = "l2" }, "lower")
kind("vlan", "8021q", { id = 5 }, "lower")
kind("vxlan", "vxlan", { id = 5, dstport = 4789 })
kind("dummy", "dummy")
kind("vrf", "vrf", { table = 5 })
kind("ifb", "ifb")

probe("vlan_filtering", "bridges that filter VLANs", function()
  return network(function(nl)
    local made, message = nl:link_add { "probe", kind = "bridge", data = { vlan_filtering = true } }
    return made or false, message
  end)
end)

probe("tun", "tun and tap devices", function()
  local ok, why = network(function(nl)
    local made, message = nl:tuntap_add { "probe", mode = "tap" }
    return made ~= nil, message
  end)
  local hint = not ok and tostring(why):find "Permission denied"
    and require("nsbox.hints").hint("probe", "tuntap_add", "EACCES", {})
  return ok, why, not ok and (hint or "as root: modprobe tun") or nil
end)

probe("netem", "packets delayed and lost on purpose", function()
  local ok, why = network(function(nl)
    local made, message = nl:qdisc_add { dev = "lo", kind = "netem", data = { delay = 1 } }
    return made or false, message
  end)
  return ok, why, not ok and "as root: modprobe sch_netem, if this kernel has it" or nil
end)

probe("nftables", "firewall rules: libnftables, and nf_tables in the kernel", function()
  local found, why = pcall(require, "nsbox.sys.nft")
  if not found then
    return false, tostring(why):match "^[^\n]*", "install the package libnftables1"
  end
  local ok
  ok, why = network(function()
    local nft, message = sys.nft.open()
    if not nft then
      return false, message
    end
    local done
    done, message = nft:run "add table inet probe"
    return done ~= nil, message
  end)
  return ok, why, not ok and "as root: modprobe nf_tables, if this kernel has it" or nil
end)

probe("forwarding", "no firewall here drops what is forwarded", function()
  -- nobody else may look; in a network of one's own there is none
  if not require("nsbox.idmap").who().root or not pcall(require, "nsbox.sys.nft") then
    return true
  end
  local place <close> = require("nsbox.netplace").open(nil, "probe")
  local found = require("nsbox.firewall").list(place, "probe")[1]
  if found then
    return false, ("%s drops it (%s)"):format(found.what, found.how),
      "let the bridge through; the error of scope:nat has the commands for it"
  end
  return true
end)

probe("pidfd", "a handle of a process", function()
  local process, message, errno = sys.process.open(sys.process.getpid())
  if not process then
    return refused(nil, message, errno, "pidfd")
  end
  process:close()
  return true
end)

probe("delegation", "a cgroup of our own to put limits in", function()
  local machine = require "nsbox.machine"
  if not machine.has_proc() then
    return false, "/proc is not there to tell the own cgroup", "as root: mount -t proc proc /proc"
  end
  local own = (machine.read("/proc/self/cgroup") or ""):match("0::(/[^\n]*)")
  for _, mount in ipairs(own and machine.mounts() or {}) do
    if mount.fstype == "cgroup2" then
      local path = mount.point .. own .. "/cgroup.subtree_control"
      local file, message = sys.fd.open(path, { "wronly" })
      if file then
        file:close()
        return true
      end
      return false, message, "systemd-run --user --scope -p Delegate=yes gives one to a user"
    end
  end
  return false, "no cgroup v2 is mounted", "boot with systemd.unified_cgroup_hierarchy=1, or "
    .. "mount cgroup2 on /sys/fs/cgroup"
end)

local M = {}

local known = {}

-- what cannot even be tried does not work either
local function try(f)
  local e = require "nsbox.error"
  local ok, why, remedy = e.try(f)
  if e.is(why) then
    return false, why.detail, why.hint
  end
  return ok, why, remedy
end

--- Tries one thing, once per process.
-- @tparam string name of the probe; an unknown one raises
-- @treturn boolean whether it works
-- @treturn ?string why not
-- @treturn ?string what to do about it
function M.check(name)
  local entry = probes[name]
  if not entry then
    local near = require("nsbox.mistake").suggest(tostring(name), probes)
    error(("unknown probe '%s'%s"):format(name, near and (" (did you mean '%s'?)"):format(near)
      or ""), 2)
  end
  if not known[name] then
    known[name] = table.pack(try(entry.try))
  end
  return table.unpack(known[name], 1, 3)
end

--- The names of all probes, in the order to show them.
-- @treturn table list of strings
function M.names()
  return table.move(names, 1, #names, 1, {})
end

--- What a probe tries, in a few words.
-- @tparam string name
-- @treturn ?string
function M.what(name)
  return probes[name] and probes[name].what
end

return M

-- Ways out of a box that its filter does not close: build/escape, see escape.c,
-- tries them, and seccomp_spec.lua those that it does.
--
-- That a way is closed proves something when it is open, or another answer is
-- given, with the defence in question switched off. Where the kernel refuses an
-- ordinary user whatever nsbox does, the same is tried outside.

local boxes = require "boxes"
local inside = require "inside"
local nsbox = require "nsbox"
local roots = require "roots"
local sys = require "nsbox.sys"

local ESCAPE <const> = built "escape"

-- what lies around these cells answers instead of what is missing
local telling = cell ~= "nested" and cell ~= "box" and cell ~= "enosys"
local is_root = sys.process.ids().euid == 0 and not in_userns()

-- what a box is without one of its defences
local OFF <const> = {
  masks = { masks = false },
  caps = { caps = "all" },
  ["caps and masks"] = { caps = "all", masks = false },
  bare = { bare = true },
  net = { namespaces = { net = false } },
  pid = { namespaces = { pid = false } },
  ipc = { namespaces = { ipc = false } },
  -- root's own: ids, capabilities, masks, filter, read-only mounts
  ids = { bare = true, namespaces = { user = false, cgroup = false } },
}

-- attack, what lets root's box do it, what an ordinary user's: "outside" when it
-- takes no box, false when the kernel refuses him everywhere
local WAYS <const> = {
  -- switches of the kernel
  { "rewrite:/proc/sys/kernel/core_pattern", "ids", false },
  { "rewrite:/proc/sys/kernel/modprobe", "ids", false },
  { "rewrite:/proc/sys/kernel/hostname", "ids", false },
  { "rewrite:/proc/sys/vm/overcommit_memory", "ids", false },
  { "rewrite:/proc/sys/fs/file-max", "ids", false },
  { "rewrite:/proc/sys/kernel/shmmax", "ids", false },
  { "rewrite:/proc/sys/net/ipv4/ip_forward", "caps and masks", "caps and masks" },
  { "open_write:/proc/sys/vm/drop_caches", "ids", false },
  { "open_write:/proc/sys/fs/binfmt_misc/register", "ids", false },
  { "open_write:/proc/sysrq-trigger", "ids", false },
  { "open_write:/proc/irq/default_smp_affinity", "ids", false },
  { "open_write:/sys/kernel/uevent_helper", "ids", false },
  { "open_write:/sys/power/state", "ids", false },
  { "open_write:/sys/kernel/profiling", "ids", false },
  { "open_write:/sys/kernel/mm/transparent_hugepage/enabled", "ids", false },
  { "open_write:/sys/module/printk/parameters/time", "ids", false },
  { "load_module", "ids", false },
  { "load_module_file", "ids", false },
  { "unload_module", "ids", false },
  { "kexec", "ids", false },
  { "reboot", "caps", "caps" },
  { "swapon", "ids", false },
  { "acct", "ids", false },
  { "console_level", "ids", false },
  { "set_hostname", "caps", "caps" },
  { "set_domainname", "caps", "caps" },
  -- what tells of the machine
  { "reads:/proc/interrupts", "masks", "masks" },
  { "reads:/proc/keys", "ids", false },
  { "reads:/proc/timer_list", "masks", "masks" },
  { "reads:/sys/firmware/memmap/0/start", "masks", "masks" },
  { "open_read:/proc/kcore", "ids", false },
  { "open_read:/proc/kmsg", "ids", false },
  -- devices
  { "open_write:/dev/kmsg", "ids", false },
  { "open_read:/dev/kmsg", "ids", false },
  { "open_read:/dev/mem", "ids", false },
  { "mknod_memory", "ids", false },
  { "mknod_kmsg", "ids", false },
  { "mknod_disk", "ids", false },
  -- files of the machine
  { "open_write:FILE", "bare", "bare" },
  { "append:FILE", "bare", "bare" },
  { "rename:FILE", "bare", "bare" },
  { "truncate:FILE", "bare", "bare" },
  { "chmod:FILE", "bare", "bare" },
  { "chown:FILE", "bare", "bare" },
  { "utimes:FILE", "bare", "bare" },
  { "setxattr:FILE", "bare", "bare" },
  { "create_in:DIR", "bare", "bare" },
  { "mkdir_in:DIR", "bare", "bare" },
  { "link_in:DIR", "bare", "bare" },
  { "init_write:FILE", "bare", "bare" },
  { "unlink:FILE", "bare", "bare" },
  { "by_handle", "ids", false },
  { "leaked", "outside", "outside" },
  { "own_program", false, false },
  { "init_program", false, false },
  -- processes of the machine
  { "kill:PID", "pid", "pid" },
  { "trace:PID", "pid", "pid" },
  { "peek:PID", "pid", "pid" },
  { "pidfd:PID", "pid", "pid" },
  { "schedule:PID", "pid", "pid" },
  { "priority:PID", "pid", "pid" },
  { "limits:PID", "pid", "pid" },
  { "affinity:PID", "pid", "pid" },
  { "environment:PID", "pid", "pid" },
  { "command:PID", "pid", "pid" },
  { "its_root:PID", "pid", "pid" },
  { "its_memory:PID", "pid", "pid" },
  { "enter_user:PID", "pid", "pid" },
  { "enter_net:PID", "pid", "pid" },
  { "enter_pid:PID", "pid", "pid" },
  { "enter_mnt:PID", "pid", "pid" },
  { "enter_uts:PID", "pid", "pid" },
  { "enter_user:1", "caps", "caps" },
  { "enter_net:1", "caps", "caps" },
  { "enter_pid:1", "caps", "caps" },
  { "enter_mnt:1", "caps", "caps" },
  { "enter_uts:1", "caps", "caps" },
  { "realtime", "ids", false },
  { "faster", "ids", false },
  -- mounts
  { "remount:/proc/sys", "caps", "caps" },
  { "unmount:/proc/sys", "caps", "caps" },
  { "unmount:/proc/keys", "caps", "caps" },
  { "unmount:/proc/interrupts", "caps", "caps" },
  { "unmount:/proc/timer_list", "caps", "caps" },
  { "remount:/", "caps", "caps" },
  { "share:/", "caps", "caps" },
  { "bind_over:/etc", "caps", "caps" },
  { "mount_proc", "caps", "caps" },
  { "mount_sysfs", "caps", "caps" },
  { "mount_cgroup2", "caps", "caps" },
  { "mount_tmpfs", "caps", "caps" },
  { "mount_devtmpfs", "ids", false },
  { "mount_debugfs", "ids", false },
  { "release_agent", "ids", false },
  { "new_root", "caps", "caps" },
  { "mkdir_in:/sys/fs/cgroup", "bare", "bare" },
  { "open_write:/sys/fs/cgroup/cgroup.procs", "ids", false },
  { "open_write:/sys/fs/cgroup/memory/cgroup.procs", "ids", false },
  { "open_write:/sys/fs/cgroup/memory/release_agent", "ids", false },
  -- networks and memory
  { "abstract:ABSTRACT", "net", "net" },
  { "port:PORT", "net", "net" },
  { "shared_memory:KEY", "ipc", "ipc" },
  { "raw", "caps", "caps" },
  { "raw6", "caps", "caps" },
  { "packet", "caps", "caps" },
  { "packet_cooked", "caps", "caps" },
  { "loopback_down", "caps", "caps" },
  -- privilege
  { "more_capabilities", "caps", "caps" },
  { "more_inheritable", "caps", "caps" },
  { "write_map", false, false },
}

-- what is gone with the machine's root: open in a box without a rootfs
local ROOTS <const> = { "open_read:FILE", "init_root:FILE", "init_cwd:FILE", "up:FILE",
  "chroot_out:FILE", "socket:SOCKET" }

-- a process of the machine, and names for it and for files: the ways are spelt by them
local function victim()
  local dir = tmpdir()
  spew(dir .. "/file", "text")
  assert(os.execute(("mkfifo %s/fifo; cp %s %s/escape; chmod 777 %s %s/file"):format(dir, ESCAPE,
    dir, dir, dir)))
  local process = assert(io.popen(("exec %s host %s/socket >%s/fifo"):format(ESCAPE, dir, dir),
    "w"))
  local answer <close> = assert(io.open(dir .. "/fifo"))
  local pid, abstract, port, key = answer:read "l":match "^(%d+) (%S+) (%d+) (%d+)$"
  local names = { PID = pid, ABSTRACT = abstract, PORT = port, KEY = key, FILE = dir .. "/file",
    DIR = dir, SOCKET = dir .. "/socket" }
  return setmetatable({ dir = dir, spell = function(way) return (way:gsub("%u+$", names)) end },
    { __close = function() process:close() end })
end

-- what was answered: way → text
local function answers(text)
  local list = {}
  for way, answer in text:gmatch "(%S+) ([^\n]*)\n" do list[way] = answer end
  return list
end

local function options(more, program, ways)
  local o = { program, table.unpack(ways) }
  o.tmpfs, o.stderr = "/mnt", "stdout"
  for key, value in pairs(more) do o[key] = value end
  return o
end

local function run(more, program, ways)
  return answers((boxes.output(options(more, program, ways))))
end

-- the same by programs that enter
local function enter(more, program, ways)
  local o = options(more, program, {})
  o[1], o.stderr = nil, nil
  local box <close> = nsbox.box(o)
  return answers(box:exec { program, table.unpack(ways) }.stdout)
end

local function spelt(v, ways)
  local list = {}
  for i, way in ipairs(ways) do list[i] = v.spell(way[1] or way) end
  return list
end

-- counts them
local function refused(found, ways)
  for _, way in ipairs(ways) do
    local answer = found[way]
    assert.is_not_nil(answer, way .. ": no answer")
    assert.matches("^E%u+$", answer, nil, nil, way .. ": " .. answer)
  end
  return #ways
end

describe("ways out of a box", function()
  needs("maps", "pidns", "procmount", "seccomp", "netns")

  it("are closed by default, and each by what it is said to be", function()
    local v <close> = victim()
    local ways = spelt(v, WAYS)
    local found = run({}, ESCAPE, ways)
    assert.is_true(refused(found, ways) > 100)
    if not telling then return end
    local by = {}
    for i, way in ipairs(WAYS) do
      local off = way[is_root and 2 or 3] or "outside"
      by[off] = by[off] or {}
      table.insert(by[off], { ways[i], kernel = not way[is_root and 2 or 3] })
    end
    local proven = 0
    for off, list in pairs(by) do
      local other
      if off == "outside" then
        -- none of these does anything; 7 is what a box would inherit
        other = answers((sh(("exec %s %s 7</dev/null"):format(ESCAPE,
          table.concat(spelt(v, list), " ")))))
      else
        other = run(OFF[off], ESCAPE, spelt(v, list))
      end
      for _, way in ipairs(list) do
        local name = way[1]
        local open, text = other[name], ("%s: %s, and without %s %s"):format(name, found[name], off,
          other[name])
        if way.kernel then
          assert.is_true(open ~= "ok", text)
        elseif open ~= "EAFNOSUPPORT" and (open ~= "ENOENT" or not name:find ":/%l") then
          -- else this machine has no such thing
          assert.is_true(open ~= found[name] and open ~= nil, text)
          proven = proven + 1
        end
      end
    end
    assert.is_true(proven >= 60, "proven: " .. proven)
  end)

  it("are closed for programs that enter", function()
    local v <close> = victim()
    local ways = spelt(v, WAYS)
    refused(enter({}, ESCAPE, ways), ways)
  end)

  it("are closed with an init, and to root's own ids", function()
    needs "memfd_exec"
    local v <close> = victim()
    local ways = spelt(v, WAYS)
    refused(run({ init = true }, ESCAPE, ways), ways)
    if not is_root then return end
    local root = roots.make()
    assert(os.execute(("cp %s %s/bin/escape && mkdir %s/mnt"):format(ESCAPE, root, root)))
    -- the machine's devices are among its files, and his: only a root of the box's own has none
    local others = {}
    for _, way in ipairs(ways) do
      if not way:find ":/dev/" then others[#others + 1] = way end
    end
    for _, o in ipairs { { maps = "self" }, { namespaces = { user = false } } } do
      refused(run(o, ESCAPE, others), others)
      o.rootfs = root
      refused(run(o, "/bin/escape", ways), ways)
    end
  end)

  it("are closed with a root of its own, and those to the machine's", function()
    needs "rootfs"
    local root = roots.make()
    assert(os.execute(("cp %s %s/bin/escape && mkdir %s/mnt"):format(ESCAPE, root, root)))
    local v <close> = victim()
    local ways, gone = spelt(v, WAYS), spelt(v, ROOTS)
    for _, way in ipairs(gone) do ways[#ways + 1] = way end
    local o = { rootfs = root }
    refused(run(o, "/bin/escape", ways), ways)
    refused(enter(o, "/bin/escape", ways), ways)
    -- all of them: pivot_root is the only thing in their way
    local open = run({}, ESCAPE, gone)
    for _, way in ipairs(gone) do assert.equal(way .. " ok", way .. " " .. open[way]) end
  end)

  it("would lead out of a chroot", function()
    needs("rootfs", "userns")
    if not telling then return end
    local root, v <close> = roots.make(), victim()
    assert(os.execute(("cp %s %s/bin/escape && mkdir %s/mnt"):format(ESCAPE, root, root)))
    local way = v.spell "chroot_out:FILE"
    assert.equal(way .. " ok\n", (sh(("unshare --map-root-user chroot %s /bin/escape %s"):format(
      root, way))))
    assert.equal("ENOENT", run({ rootfs = root }, "/bin/escape", { way })[way])
  end)

  it("are not opened by files that would give privileges", function()
    needs "rootfs"
    if not is_root then needs "subuid" end
    local root = roots.make()
    assert(os.execute(("cp %s %s/bin/escape && cp %s %s/bin/su && chmod 4755 %s/bin/su"):format(
      ESCAPE, root, ESCAPE, root, root)))
    local way = "becomes_root:/bin/su"
    local function asked(no_new_privs)
      return run({ rootfs = root, user = "1000:1000", maps = not is_root and "subuid" or nil,
        no_new_privs = no_new_privs, tmpfs = {} }, "/bin/escape", { way })[way]
    end
    assert.equal("EPERM", asked(nil))
    assert.equal("ok", asked(false))
  end)

  it("are not opened by capabilities of files #root", function()
    needs("root", "rootfs", "idmap")
    local root = roots.make()
    assert(os.execute(("cp %s %s/bin/escape && cp %s %s/bin/tool"):format(ESCAPE, root, ESCAPE,
      root)))
    assert.equal("", (sh(("setcap cap_chown+ep %s/bin/tool"):format(root))))
    local way = "becomes_capable:/bin/tool"
    local function asked(no_new_privs)
      return run({ rootfs = root, user = "1000:1000", no_new_privs = no_new_privs, tmpfs = {} },
        "/bin/escape", { way })[way]
    end
    assert.equal("EPERM", asked(nil))
    assert.equal("ok", asked(false))
  end)

  it("do not go through a device in the image #root", function()
    needs("root", "rootfs", "idmap")
    local root = roots.make()
    -- zeroes, for everybody
    assert(os.execute(("cp %s %s/bin/escape && mknod -m 666 %s/node c 1 5"):format(ESCAPE, root,
      root)))
    local way = "reads:/node"
    assert.equal("EACCES", run({ rootfs = root }, "/bin/escape", { way })[way])
    assert.equal("ok", run({ rootfs = root, bare = true, tmpfs = {},
      namespaces = { "mnt" } }, "/bin/escape", { way })[way])
  end)

  it("are not opened by mounts that are shared with the machine #root", function()
    needs "root"
    local before, during = inside({ "mnt" }, function()
      assert(sys.mount.propagation("/", "shared", true))
      local text = slurp "/proc/self/mountinfo"
      -- a user namespace of its own would do it, too
      local box <close> = nsbox.box { tmpfs = "/mnt", namespaces = { user = false } }
      assert(box:exec { "grep", "-q", " /mnt ", "/proc/self/mountinfo" }.ok)
      return text, slurp "/proc/self/mountinfo"
    end)
    assert.matches("shared:", before)
    assert.equal(before, during)
  end)

  it("do not go through the caller's terminal", function()
    local file = tmpdir() .. "/box.lua"
    spew(file, ([[
      local nsbox = require "nsbox"
      for _, bare in ipairs { false, true } do
        local o = { %q, "terminal", "push_input:/dev/tty", stdout = "capture", bare = bare }
        print(bare, (select(2, nsbox.run(o)).stdout:gsub("\n", " ")))
      end]]):format(ESCAPE))
    local text = lua(file, "", [[sh -c 'script -qec "$0 $1" /dev/null' ]]):gsub("\r", "")
    assert.matches("false\tterminal ENXIO push_input:/dev/tty ENXIO", text)
    assert.matches("true\tterminal ok push_input:/dev/tty", text)
  end)

  it("do not go through it where it is the box's console", function()
    needs "rootfs"
    local root, file = roots.make(), tmpdir() .. "/box.lua"
    assert(os.execute(("cp %s %s/bin/escape"):format(ESCAPE, root)))
    spew(file, ([[
      local o = { "sh", "-c", "exec 3<>/dev/console; exec escape terminal push_input:/dev/console",
        rootfs = %q, maps = "self", stdout = "capture" }
      print((select(2, require "nsbox".run(o)).stdout:gsub("\n", " ")))]]):format(root))
    -- whoever leads a session and opens a terminal has it, unless it is another session's
    local text = lua(file, "", [[sh -c 'script -qec "$0 $1" /dev/null' ]]):gsub("\r", "")
    assert.equal("terminal ENXIO push_input:/dev/console EPERM \n", text)
  end)
end)

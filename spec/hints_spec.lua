local E = require "nsbox.error"
local hints = require "nsbox.hints"
local idmap = require "nsbox.idmap"
local machine = require "nsbox.machine"
local sys = require "nsbox.sys"

-- the machine as it is, but for these answers
local function pretend(answers)
  local saved = {}
  for name, table_or_function in pairs(answers) do
    local real = machine[name]
    saved[name] = real
    machine[name] = type(table_or_function) == "function" and table_or_function
      or function(key)
        local value = table_or_function[key]
        if value == nil then return real(key) end
        return value or nil
      end
  end
  finally(function()
    for name, real in pairs(saved) do machine[name] = real end
  end)
end

local function nothing() end
local function no_cap() return false end
local NORMAL = {
  ["kernel.unprivileged_userns_clone"] = false, ["user.max_user_namespaces"] = "1000",
  ["kernel.apparmor_restrict_unprivileged_userns"] = false,
}
local function with(t)
  return setmetatable(t, { __index = NORMAL })
end
local function a_user() return { uid = 1000, euid = 1000, gid = 100, egid = 100, groups = {} } end

local function hint(step, code, context)
  return hints.hint("run", step, code, context) or ""
end

describe("nsbox.hints", function()
  it("takes a number or a name, a step or the last word of op", function()
    local by_name = hints.hint("run", "hostname", "EINVAL", {})
    assert.is_string(by_name)
    assert.equal(by_name, hints.hint("sys.hostname", nil, sys.errno.EINVAL))
  end)

  it("has nothing to say about what it does not know", function()
    assert.is_nil(hints.hint("run", "frobnicate", "EPERM"))
    assert.is_nil(hints.hint("run", nil, "EXIT"))
  end)

  it("knows what means the same everywhere", function()
    assert.matches("RLIMIT_NOFILE allows %(%d+%)", hint("mount", "EMFILE"))
    assert.matches("fs.file%-max is %d+", hint("clone", "ENFILE"))
    assert.matches("cannot be made at /x by", hint("write", "EOVERFLOW", { subject = "/x" }))
    pretend { status = { Seccomp = "2" } }
    assert.matches("seccomp filter of an outer container", hint("attr", "ENOSYS"))
  end)

  it("sees that /proc is not mounted", function()
    pretend { has_proc = function() return false end, mounts = function() return {} end,
      sysctl = with {}, status = nothing }
    for _, step in ipairs { "uid_map", "gid_map", "setgroups", "time_offsets" } do
      assert.matches("^/proc is not mounted here", hint(step, "ENOENT"))
    end
    assert.matches("^/proc is not mounted here", hint("open", "ENOENT",
      { subject = "/proc/1/ns/net" }))
    assert.matches("there is no /process", hint("mount", "ENOENT", { subject = "/process" }))
    assert.is_nil(hint("clone", "EPERM", { new = { "user" } }):find("chroot", 1, true))
  end)

  it("answers every known step and errno with one line of text", function()
    for _, family in ipairs { "namespaces", "maps", "mounts", "programs", "limits" } do
      for step, codes in pairs(require("nsbox.hints." .. family)) do
        for code, compose in pairs(codes) do
          for _, context in ipairs { {}, { subject = "/x", detail = "?", new = { "user" },
            argv = { "/x" }, maps = { uid = { { 0, 1, 1 } }, gid = { { 0, 1, 1 } } } } } do
            local text = compose(context)
            assert.is_true(text == nil or type(text) == "string" and not text:find "\n",
              step .. " " .. code)
            assert.equal(text, (hints.hint("run", step, code, context)) and text)
          end
        end
      end
    end
  end)
end)

describe("nsbox.hints.namespaces", function()
  it("EPERM: reads the sysctl that forbids user namespaces", function()
    pretend { sysctl = with { ["kernel.unprivileged_userns_clone"] = "0" } }
    assert.matches("^kernel.unprivileged_userns_clone is 0", hint("clone", "EPERM",
      { new = { "user" } }))
  end)

  it("EPERM: knows AppArmor's switch, for users", function()
    pretend { sysctl = with { ["kernel.apparmor_restrict_unprivileged_userns"] = "1" },
      ids = a_user, mounts = function() return {} end, status = { NoNewPrivs = "0" } }
    local text = hint("clone", "EPERM", { new = { "user" } })
    assert.matches("^kernel.apparmor_restrict_unprivileged_userns is 1", text)
    -- there the namespace is made, and what fails comes later
    assert.equal(text:match "^%S+", hint("uid_map", "EPERM", {}):match "^%S+")
    assert.equal(text:match "^%S+",
      hint("mount", "EPERM", { new = { "user", "mnt" } }):match "^%S+")
    assert.equal(text:match "^%S+", hint("newuidmap", "EPERM", {}):match "^%S+")
    assert.equal(text, hint("lo", "EPERM", { new = { "user", "net", "mnt" } }))
  end)

  it("EPERM: sees a seccomp filter", function()
    pretend { sysctl = with {}, status = { Seccomp = "2" } }
    assert.matches("seccomp filter", hint("clone", "EPERM", { new = { "user" } }))
  end)

  it("EPERM: sees a chroot", function()
    pretend { sysctl = with {}, mounts = function() return {} end }
    assert.matches("in a chroot", hint("clone", "EPERM", { new = { "user" } }))
  end)

  it("EPERM: offers what it cannot see as a possibility", function()
    pretend { sysctl = with {}, status = { Seccomp = "0" } }
    assert.matches("may forbid it", hint("clone", "EPERM", { new = { "user" } }))
  end)

  it("EPERM without a user namespace: names the capability", function()
    pretend { has_cap = no_cap }
    assert.matches("need CAP_SYS_ADMIN.*add \"user\"", hint("unshare", "EPERM", { new = "uts" }))
  end)

  it("ENOSPC: tells a limit of 0 from one that is reached", function()
    pretend { sysctl = with { ["user.max_net_namespaces"] = "0" } }
    assert.matches("^user.max_net_namespaces is 0", hint("clone", "ENOSPC",
      { new = { "user", "net" } }))
    assert.matches("user.max_user_namespaces = 1000; or 32 levels", hint("clone", "ENOSPC",
      { new = { "user" } }))
  end)

  it("EINVAL: names the kind this kernel lacks", function()
    pretend { exists = { ["/proc/self/ns/time"] = nil } }
    local real = machine.exists
    machine.exists = function(path) return path ~= "/proc/self/ns/time" and real(path) end
    assert.matches("no time namespaces", hint("clone", "EINVAL", { new = { "user", "time" } }))
  end)

  it("EINVAL: counts the threads", function()
    pretend { status = { Threads = "4" } }
    assert.matches("has 4 threads", hint("setns", "EINVAL"))
    assert.matches("has 4 threads", hint("unshare", "EINVAL", { new = { "user" } }))
  end)

  it("EAGAIN: reads the limit of processes", function()
    assert.matches("RLIMIT_NPROC %(ulimit %-u%) is %w+", hint("clone", "EAGAIN"))
  end)

  it("setns EPERM: names the owning user namespace", function()
    assert.matches("joining /proc/1/ns/net needs CAP_SYS_ADMIN in the user namespace that owns it",
      hint("setns", "EPERM", { subject = "/proc/1/ns/net" }))
  end)

  it("open ENOENT: says that the process is gone", function()
    assert.matches("no process 99999999", hint("open", "ENOENT",
      { subject = "/proc/99999999/ns/net" }))
  end)

  it("hostname: says which namespace is missing", function()
    assert.matches("add \"uts\"", hint("hostname", "EPERM", { new = { "user" } }))
  end)
end)

describe("nsbox.hints.maps", function()
  local function maps(uid, gid, setgroups)
    return { maps = { uid = uid, gid = gid, setgroups = setgroups } }
  end

  it("knows what a user may write", function()
    pretend { has_cap = no_cap, ids = a_user }
    assert.matches("has 2, so it needs newuidmap", hint("uid_map", "EPERM",
      maps { { 0, 1000, 1 }, { 1, 5, 1 } }))
    assert.matches("only the own uid 1000 can be mapped, not 0", hint("uid_map", "EPERM",
      maps { { 0, 0, 1 } }))
    assert.matches("\"deny\" has to be written to setgroups", hint("gid_map", "EPERM",
      maps({}, { { 0, 100, 1 } })))
    assert.matches("written once only", hint("gid_map", "EPERM",
      maps({}, { { 0, 100, 1 } }, "deny")))
  end)

  it("has three texts for three troubles with the helper", function()
    pretend { status = { NoNewPrivs = "0" }, stat = function(path)
      return path == "/opt/newuidmap" and { type = "file", mode = 493, uid = 0, gid = 0 } or nil
    end, mount_of = nothing }
    local missing = hint("newuidmap", "ENOENT", { maps = { newuidmap = "/opt/newuidmap" } })
    assert.matches("apt%-get install uidmap", missing)
    local powerless = hint("newuidmap", "EPERM", { maps = { newuidmap = "/opt/newuidmap" },
      detail = "newuidmap: write to uid_map failed: Operation not permitted" })
    assert.matches("^/opt/newuidmap has no setuid bit", powerless)
    local unlisted = hint("newuidmap", "EPERM", { maps = { newuidmap = "/opt/newuidmap" },
      detail = "newuidmap: uid range [0-10) -> [5-15) not allowed" })
    assert.matches("^/etc/subuid does not give this range", unlisted)
  end)

  it("sees no_new_privs and nosuid, which disarm the helper", function()
    pretend { status = { NoNewPrivs = "1" } }
    assert.matches("^no_new_privs is set", hint("newgidmap", "EPERM", { detail = "" }))
    machine.status = nothing
    pretend { stat = nothing, mount_of = function()
      return { point = "/usr", options = "ro,nosuid", fstype = "ext4" }
    end }
    assert.matches("nosuid mount %(/usr%)", hint("newgidmap", "EPERM",
      { maps = { newgidmap = "/usr/bin/newgidmap" } }))
  end)

  it("names the id that is not mapped", function()
    assert.matches("uid 33 has no mapping", hint("setuid", "EINVAL",
      { uid = 33, maps = { uid = { { 0, 1000, 1 } } } }))
    assert.matches("gid 33 has no mapping", hint("setgid", "EINVAL",
      { gid = 33, maps = { gid = { { 0, 1000, 1 } } } }))
  end)

  it("explains a denied setgroups", function()
    assert.matches("as the kernel demands", hint("setgroups", "EPERM", maps({}, {}, "deny")))
  end)
end)

describe("nsbox.hints.mounts", function()
  local function mounting(fstype, target, new)
    return { subject = target, new = new, mounts = { { type = fstype, target = target } } }
  end

  it("names the namespace that a file system wants", function()
    for fstype, kind in pairs { proc = "pid", sysfs = "net", mqueue = "ipc", cgroup2 = "cgroup" } do
      assert.matches("add \"" .. kind .. "\"", hint("mount", "EPERM",
        mounting(fstype, "/x", { "user", "mnt" })))
    end
    assert.matches("add \"mnt\"", hint("mount", "EPERM", mounting("tmpfs", "/x", { "user" })))
  end)

  it("sees what is mounted over /proc", function()
    pretend { mounts = function()
      return { { point = "/proc", options = "rw", fstype = "proc" },
        { point = "/proc/sys/fs/binfmt_misc", options = "rw", fstype = "autofs" },
        { point = "/proc/kcore", options = "rw", fstype = "tmpfs" },
        { point = "/proc/keys", options = "rw", fstype = "tmpfs" } }
    end }
    assert.matches("our own /proc are mounted over %(/proc/kcore and 1 more%).*Mount too revealing",
      hint("mount", "EPERM", mounting("proc", "/proc", { "user", "mnt", "pid" })))
  end)

  it("names the flags that are locked", function()
    pretend { mount_of = function()
      return { point = "/data", options = "ro,nosuid,relatime", fstype = "ext4" }
    end }
    assert.matches("^/data came into this mount namespace with ro, nosuid",
      hint("attr", "EPERM", { subject = "/data/x" }))
  end)

  it("names a mount option with an id that is not mapped", function()
    local context = mounting("devpts", "/dev/pts", { "user", "mnt" })
    context.mounts[1].data = "newinstance,gid=5"
    context.maps = { gid = { { 0, 1000, 1 } } }
    assert.matches("gid=5 names an id without a mapping", hint("mount", "EINVAL", context))
  end)

  local function binding(subject, from, to)
    return { subject = subject, mounts = { { grab = from }, { place = 1, target = to } } }
  end

  it("says which end of a bind is missing", function()
    assert.equal("there is no /no/a, the source of a bind", hint("bind", "ENOENT",
      binding("/no/a", "/no/a", "/mnt")))
    assert.equal("there is no /no/a, the source of a bind", hint("bind", "ENOENT",
      binding("/no/a", "/no/a", "/no/a")))
    assert.matches("^there is no /no/b, the target of a bind, which", hint("bind", "ENOENT",
      binding("/no/b", "/usr", "/no/b")))
    assert.matches("^there is /etc/passwd here, but not in the box", hint("bind", "ENOENT",
      binding("/etc/passwd", "/usr", "/etc/passwd")))
  end)

  it("says which end of a bind is a directory", function()
    assert.matches("^/usr is a directory, /etc/passwd is a file: a directory can be mounted only",
      hint("bind", "EINVAL", binding("/etc/passwd", "/usr", "/etc/passwd")))
    assert.matches("^/etc/passwd is a file, /usr is a directory",
      hint("bind", "ENOTDIR", binding("/usr", "/etc/passwd", "/usr")))
    assert.matches("^a part of the path /etc/passwd/x is not a directory",
      hint("bind", "ENOTDIR", binding("/etc/passwd/x", "/etc/passwd/x", "/usr")))
    assert.matches("^a tree with mounts of the parent", hint("bind", "EINVAL",
      binding("/mnt", "/usr", "/mnt")))
  end)

  it("names the directory that a bind may not pass through", function()
    local dir = tmpdir()
    os.execute(("mkdir %s/in; chmod 755 %s; chmod 700 %s/in"):format(dir, dir, dir))
    assert.matches("^" .. (dir .. "/in"):gsub("%p", "%%%0") .. " has mode 0700 and belongs to uid",
      hint("bind", "EACCES", binding(dir .. "/in/x", dir .. "/in/x", "/mnt")))
  end)

  it("says which path is missing", function()
    assert.matches("there is no /no/such", hint("bind", "ENOENT", { subject = "/no/such" }))
  end)

  it("says when the kernel does not know a file system", function()
    assert.matches("does not know nosuchfs", hint("mount", "ENODEV", mounting("nosuchfs", "/x")))
  end)

  it("explains locked mounts, pivot_root, device nodes and cgroups", function()
    assert.matches("whole old root", hint("umount", "EINVAL", { subject = "/proc" }))
    assert.matches("is not a mount point", hint("umount", "EINVAL", { subject = "/proc/1" }))
    assert.matches("bind it on itself", hint("pivot_root", "EINVAL"))
    assert.matches("bind the host's", hint("mknod", "EPERM"))
    assert.matches("common ancestor", hint("write", "EACCES",
      { subject = "/sys/fs/cgroup/x/cgroup.procs" }))
    assert.matches("into a leaf first", hint("write", "EBUSY",
      { subject = "/sys/fs/cgroup/x/cgroup.subtree_control" }))
  end)
end)

describe("nsbox.hints.programs", function()
  local dir

  local function file(name, text, mode)
    dir = dir or tmpdir()
    spew(dir .. "/" .. name, text)
    assert(os.execute(("chmod %s %s/%s"):format(mode or "755", dir, name)))
    return dir .. "/" .. name
  end

  -- starts it and returns the Error
  local function start(argv, plan)
    plan = plan or {}
    plan.argv = argv
    local p, message, errno, step, subject = sys.process.spawn(plan)
    assert.is_nil(p)
    local _, e = E.try(E.spawn_failed, "run", plan, message, errno, step, subject)
    assert.equal("exec", e.step)
    return e
  end

  before_each(function() dir = nil end)

  it("ENOENT: a name that is not in PATH", function()
    local e = start({ "nosuchprogram" }, { path = "/bin:/usr/bin" })
    assert.equal("ENOENT", e.code)
    assert.equal("no nosuchprogram in any directory of PATH (/bin:/usr/bin)", e.hint)
  end)

  it("ENOENT: no such file", function()
    assert.equal("there is no such file: /no/such", start({ "/no/such" }).hint)
  end)

  it("ENOENT: the file is there, its interpreter is not", function()
    local path = file("script", "#!/no/such/lua -e\n")
    assert.equal(path .. " exists, but /no/such/lua, its interpreter, does not",
      start({ path }).hint)
  end)

  it("ENOENT: DOS line ends", function()
    assert.matches("carriage return", start({ file("script", "#!/bin/sh\r\necho\r\n") }).hint)
  end)

  it("ENOENT: the loader of an ELF file is not there", function()
    local text = slurp "/bin/true"
    local loader = text:match "/lib[%w/._-]*ld[%w._-]*%.so%.?%d*"
    local changed = text:gsub(loader:gsub("%p", "%%%0"), (loader:gsub("ld", "xx")), 1)
    assert.matches("xx.* its loader %(it is linked dynamically%), does not",
      start({ file("program", changed) }).hint)
  end)

  it("ENAMETOOLONG: does not repeat the name", function()
    for _, name in ipairs { "/" .. ("x"):rep(10000), ("x"):rep(10000) } do
      local e = start({ name })
      assert.matches("^the program's name has 1000%d bytes %('/?x+…'%); a path has", e.hint)
      assert.is_true(#tostring(e) < 400)
      assert.is_true(#e.subject > 255)
    end
  end)

  it("EACCES: no x bit", function()
    local path = file("plain", "#!/bin/sh\n", "644")
    assert.matches("^" .. path:gsub("%p", "%%%0") .. " is not executable for uid %d+ outside %(its "
      .. "mode is 0644%): chmod %+x", start({ path }).hint)
  end)

  it("EACCES: a directory", function()
    assert.equal("/usr is a directory", start({ "/usr" }).hint)
  end)

  it("EACCES: the interpreter is not executable", function()
    local inner = file("inner", "#!/bin/sh\n", "644")
    local path = file("outer", "#!" .. inner .. "\n")
    assert.equal(("%s names the interpreter %s, which is not executable"):format(path, inner),
      start({ path }).hint)
  end)

  it("EACCES: a directory above is closed to the mapped user #root", function()
    needs "root"
    local path = file("script", "#!/bin/sh\n")
    assert(os.execute("chmod 700 " .. dir))
    local e = start({ path }, { new = { "user" }, maps = idmap.resolve(nil), uid = 0, gid = 0 })
    assert.matches("^" .. dir:gsub("%p", "%%%0") .. " may not be passed through by uid 1879048192",
      e.hint)
  end)

  it("EACCES: a noexec mount", function()
    pretend { mount_of = function()
      return { point = "/mnt", options = "rw,noexec", fstype = "tmpfs" }
    end }
    assert.equal("/bin/true is on a noexec mount (/mnt)", hint("exec", "EACCES",
      { argv = { "/bin/true" } }))
  end)

  it("ENOEXEC: a script without #!", function()
    local path = file("script", "echo hello\n")
    local e = start { path }
    assert.equal("ENOEXEC", e.code)
    assert.matches("does not start with #!", e.hint)
  end)

  it("ENOEXEC: a program for another machine", function()
    local text = slurp "/bin/true"
    assert.matches("for another machine %(riscv%)",
      start({ file("program", text:sub(1, 18) .. "\xf3\0" .. text:sub(21)) }).hint)
  end)

  it("cwd: a directory that is not there", function()
    assert.matches("no directory /no/such", hint("cwd", "ENOENT", { subject = "/no/such" }))
  end)

  it("init: reads vm.memfd_noexec", function()
    pretend { sysctl = { ["vm.memfd_noexec"] = "2" } }
    assert.matches("^vm.memfd_noexec is 2", hint("init", "EACCES"))
  end)
end)

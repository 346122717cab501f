-- The option `seccomp`: what a box refuses, and how that is changed.

local blame = require "blame"
local boxes = require "boxes"
local dkjson = require "dkjson"
local nsbox = require "nsbox"
local roots = require "roots"
local output = boxes.output

local ATTACK <const> = built "attack"

local function found_in(text)
  local found = {}
  for name, result in text:gmatch "(%S+) ([^\n]*)\n" do found[name] = result end
  return found
end

-- each attack → what came of it, in a box with these options
local function attacks(o)
  o[1], o[2] = "sh", "-c"
  o[3] = ATTACK .. " $(" .. ATTACK .. ")"
  return found_in((output(o)))
end

-- the line Seccomp of a process, as the kernel shows it
local function mode(pid)
  return slurp(("/proc/%s/status"):format(pid)):match "\nSeccomp:%s*(%d)"
end

describe("a default box", function()
  needs("maps", "pidns", "procmount", "seccomp")

  local without

  it("refuses what reaches beyond it, and no kernel does so by itself", function()
    without = attacks { seccomp = false }
    local with, rows = attacks {}, 0
    for name, alone in pairs(without) do
      if name ~= "trace_init" then
        rows = rows + 1
        local want = name == "clone3" and "ENOSYS" or "EPERM"
        -- a kernel that runs no i386 programs
        if alone:find "^signal" then want = alone end
        assert.equal(name .. " " .. want, name .. " " .. with[name])
        -- in a box that hides calls nothing shows that it is this filter
        if cell ~= "enosys" then
          assert.is_true(alone:find "^signal" ~= nil or alone ~= want, name .. " proves nothing")
        end
      end
    end
    assert.is_true(rows >= 35)
  end)

  it("refuses them in every way into it", function()
    -- with ids of its own pid 1 could not be traced in any case: it has changed them
    local box <close> = nsbox.box { init = true, maps = "self", "sleep", "1000" }
    box:start()
    local WANT = "unshare_user EPERM\ntiocsti EPERM\ntrace_init EPERM\n"
    local command = { ATTACK, "unshare_user", "tiocsti", "trace_init" }
    assert.equal(WANT, box:exec(command).stdout)
    local p <close> = box:spawn { "sleep", "1000" }
    assert.equal("2", mode(p.pid))
    assert.equal("2", box:call(function()
      return io.open "/proc/self/status":read "a":match "\nSeccomp:%s*(%d)"
    end))
    local idle <close> = nsbox.box { maps = "self" }
    assert.equal(WANT, idle:exec(command).stdout)
  end)

  it("is not to be had by having pid 1 do it, whoever may trace it", function()
    local OWN = { "trace_init", "init_keyctl", "init_unshare", "init_chroot", "init_kill" }
    for _, filter in ipairs { true, false } do
      for _, program in ipairs { { "sleep", "1000", init = true }, {} } do
        program.maps, program.caps, program.seccomp = "self", { "sys_ptrace" }, filter
        local box <close> = nsbox.box(program):start()
        local found = found_in(box:exec { ATTACK, table.unpack(OWN) }.stdout)
        -- it can be traced, and signals what its tracer could as well
        assert.equal("ok", found.trace_init)
        for _, name in ipairs { "init_keyctl", "init_unshare", "init_chroot" } do
          assert.equal(found.init_kill and "EPERM", found[name], name)
        end
        assert.equal(found.init_kill and "ok", found.init_kill)
        -- kill and sys_ptrace
        assert.matches("\nCapPrm:\t0000000000080020\nCapEff:\t0000000000000020\n",
          slurp(("/proc/%d/status"):format(box.pid)))
        assert.equal("2", mode(box.pid))
      end
    end
  end)

  it("is not, either, where sys_ptrace comes from what the caller lets it inherit #root", function()
    needs "root"
    local script = tmpdir() .. "/script.lua"
    spew(script, [[
      local box <close> = require("nsbox").box { "sleep", "100", init = true, caps = "all",
        namespaces = { user = false } }
      box:start()
      print(io.open(("/proc/%d/status"):format(box.pid)):read("a"):match "Seccomp:%s+(%d)")]])
    assert.equal("2\n", (lua(script, nil,
      "setpriv --inh-caps=+sys_ptrace setpriv --bounding-set=-sys_ptrace ")))
  end)

  it("is not to be had by having do it what waits at the gate", function()
    for _, init in ipairs { false, true } do
      local box <close> = nsbox.box { "sleep", "1000", maps = "self", init = init }
      assert.equal("trace_init EPERM\n", box:exec { ATTACK, "trace_init" }.stdout)
      local tracer <close> = nsbox.box { "sleep", "1000", init = init, caps = { "sys_ptrace" } }
      blame.misuse(function() tracer:exec { ATTACK, "trace_init" } end, "exec: start it before")
      blame.misuse(function() tracer:call(print) end, "call: start it before")
      assert.equal(0, tracer:start():exec { "true" }.status)
    end
  end)

  it("refuses all of them to what enters, and with a root of its own", function()
    needs "rootfs"
    local with, names = attacks { init = true }, {}
    for name in pairs(with) do names[#names + 1] = name end
    assert.is_true(#names >= 36)
    local root = roots.make()
    assert(os.execute(("cp %s %s/bin"):format(ATTACK, root)))
    for _, o in ipairs { {}, { rootfs = root } } do
      local program = o.rootfs and "/bin/attack" or ATTACK
      local box <close> = nsbox.box(o)
      assert.same(with, found_in(box:exec { program, table.unpack(names) }.stdout))
    end
    with.trace_init = nil -- that is the program itself there
    local text = output { "/bin/attack", rootfs = root, table.unpack(names) }
    local found = found_in(text)
    found.trace_init = nil
    assert.same(with, found)
  end)

  it("runs ordinary programs", function()
    local script = [[set -e
      ls -l / >/dev/null
      perl -e 'print "perl\n"' || echo perl
      ping -c 1 -W 5 127.0.0.1 >/dev/null && echo ping
      printf 'int main(void){return 0;}' >/tmp/x.c
      cc -o /tmp/x /tmp/x.c && /tmp/x && echo cc
      sort /etc/passwd | tail -n 1 >/dev/null
      tar -cf /tmp/x.tar -C /tmp x.c && tar -tf /tmp/x.tar
      (trap 'echo trap' TERM; sh -c 'kill -TERM $PPID')
      echo $(setpriv --dump >/dev/null && echo setpriv)
    ]]
    local text, r = output { "sh", "-c", script, tmpfs = "/tmp", stderr = "stdout" }
    assert.equal("perl\nping\ncc\nx.c\ntrap\nsetpriv\n", text, tostring(r))
  end)

  it("has threads", function()
    local dir = tmpdir()
    spew(dir .. "/t.c", [[
      #include <pthread.h>
      #include <stdio.h>
      static void *f(void *p) { (*(int *)p)++; return p; }
      int main(void) {
        pthread_t t; int n = 0;
        for (int i = 0; i < 10; i++)
          if (pthread_create(&t, NULL, f, &n) || pthread_join(t, NULL)) return 1;
        printf("%d\n", n);
        return 0;
      }]])
    local command = "cc -pthread -o %s/t %s/t.c"
    assert.equal(0, select(2, sh(command:format(dir, dir))))
    assert.equal("10\n", (output { dir .. "/t" }))
  end)

  it("lets a shell's input alone, on a terminal of its own", function()
    -- script(1) makes a terminal and is its session's leader; the kernel may forbid it as well
    local text = output { "script", "-qec", ATTACK .. " tiocsti", "/dev/null", stderr = "stdout" }
    if text:find "tiocsti" then assert.matches("tiocsti EPERM", text) end
    assert.is_nil(text:find "tiocsti ok")
  end)

  it("has the filter whether or not it gave up privileges", function()
    for _, o in ipairs { {}, { init = true }, { caps = "all" }, { caps = { "chown" } },
      { caps = { ambient = "chown" } } } do
      o.no_new_privs = false
      o[1], o[2], o[3] = "grep", "-E", "^(CapPrm|CapEff|CapAmb|NoNewPrivs|Seccomp):"
      o[4] = "/proc/self/status"
      local filtered = output(o)
      o.seccomp, o.stdout = false, nil
      local plain = output(o)
      assert.equal(plain:gsub("Seccomp:\t%d", "Seccomp:\t2"), filtered)
      assert.matches("NoNewPrivs:\t0\n", filtered)
    end
  end)

  it("lifts what its capabilities are for", function()
    local with = attacks { caps = "all" }
    for _, name in ipairs { "unshare_user", "clone_user", "mount", "setns", "kcmp", "open_tree",
      "clone3", "settimeofday", "set_mempolicy" } do
      assert.equal(name .. " " .. without[name], name .. " " .. with[name])
    end
    for _, name in ipairs { "keyctl", "tiocsti", "io_uring_setup", "userfaultfd", "af_vsock",
      "personality" } do
      assert.equal(name .. " EPERM", name .. " " .. with[name])
    end
    with = attacks { caps = { "sys_ptrace" } }
    assert.equal("ok EPERM", with.kcmp .. " " .. with.unshare_user)
  end)
end)

describe("the option seccomp", function()
  needs("maps", "pidns", "procmount", "seccomp")

  local STATUS = "grep -c '^Seccomp:.2' /proc/self/status; exit 0"

  it("is on but for a bare box", function()
    local function filtered(o)
      o[1], o[2], o[3] = "sh", "-c", STATUS
      return (output(o))
    end
    -- the cells box and enosys have a filter around them
    local around = mode "self" == "2" and "1\n" or "0\n"
    assert.equal("1\n", filtered {})
    assert.equal("1\n", filtered { seccomp = true })
    assert.equal(around, filtered { seccomp = false })
    assert.equal(around, filtered { bare = true })
    assert.equal("1\n", filtered { bare = true, no_new_privs = true, seccomp = true })
    assert.equal("EPERM", attacks { bare = true, no_new_privs = true, seccomp = true }.keyctl)
  end)

  it("allows and denies on top of the built-in filter", function()
    local with = attacks { seccomp = { allow = { "keyctl", "unshare" } } }
    local without = attacks { seccomp = false }
    assert.equal(without.keyctl, with.keyctl)
    assert.equal(without.unshare_user, with.unshare_user)
    assert.equal("EPERM EPERM", with.add_key .. " " .. with.clone_user)
    local text, r = output { "sh", "-c", "mkdir /tmp/x || rmdir /tmp/y; kill -0 $$", tmpfs = "/tmp",
      stderr = "stdout", seccomp = { deny = { "mkdir", "mkdirat", "rmdir", "unlinkat" },
        errno = "EXDEV" } }
    assert.equal(2, select(2, text:gsub("Invalid cross%-device link", "")), text)
    assert.equal(0, r.status)
  end)

  it("holds for programs that enter", function()
    local box <close> = nsbox.box { seccomp = { deny = { "mkdir", "mkdirat" }, errno = "ENOTTY" } }
    assert.matches("Inappropriate ioctl", box:exec { "mkdir", "/tmp/x" }.stderr)
    local ok, message = box:call(function() return require("lfs").mkdir "/tmp/x" end)
    assert.is_nil(ok)
    assert.matches("Inappropriate ioctl", message)
  end)

  -- in its caller's memory, in nsbox-init, below nsbox-init
  local WAYS = { {}, { user = "1" }, { init = true }, { no_new_privs = false },
    { no_new_privs = false, init = true } }

  local function ways(filter, program)
    local list = {}
    for i, way in ipairs(WAYS) do
      list[i] = { program, seccomp = filter, timeout = "60s", init = way.init,
        no_new_privs = way.no_new_privs, user = cell:find "^root" and way.user or nil }
    end
    return list
  end

  it("tells why a program was not started, whatever it refuses", function()
    for _, case in ipairs { { { deny = { "write", "exit_group" } }, "/nonesuch", "ENOENT" },
      { { defaultAction = "SCMP_ACT_ERRNO", defaultErrnoRet = 18 }, "true", "EXDEV" },
      { { deny = { "execve", "write" } }, "true", "EPERM", "seccomp filter has to allow it" },
      { { deny = { "execve", "write" }, errno = "ENOSYS" }, "true", "ENOSYS",
        "seccomp filter has to allow it" } } do
      for _, o in ipairs(ways(case[1], case[2])) do
        local err = boxes.failure(o)
        assert.same({ case[3], "exec", case[2] }, { err.code, err.step, err.subject })
        if case[4] then assert.matches(case[4], err.hint) end
      end
      local box <close> = nsbox.box { seccomp = case[1] }
      assert.equal(case[3], blame.failure(function() box:exec { case[2] } end).code)
      local waits <close> = nsbox.box { case[2], seccomp = case[1] }
      assert.equal(case[3], blame.failure(function() waits:start() end).code)
    end
    local box <close> = nsbox.box { seccomp = { deny = { "execve", "execveat" } } }
    assert.equal("fine", box:call(function() return "fine" end))
  end)

  it("does not stand in the way of who sets up the box", function()
    for _, o in ipairs(ways({ deny = { "write", "read", "capset", "prctl", "kill", "wait4",
      "setsid" } }, "/bin/true")) do
      o.stderr = "null" -- it cannot read its libraries
      local status, result = nsbox.run(o)
      assert.equal("exit", result.reason, tostring(result))
      assert.equal(127, status)
    end
    local caps = "grep -E '^Cap(Prm|Eff|Bnd|Inh|Amb):' /proc/self/status"
    for _, o in ipairs(ways({ deny = { "capset" } }, "sh")) do
      o[2], o[3], o.caps = "-c", caps, { "chown", "kill", ambient = "chown" }
      local with = output(o)
      o.seccomp, o.stdout = nil, nil
      assert.equal(output(o), with)
    end
  end)

  it("has no capabilities to take from who has none #user", function()
    local none = { user = false, mnt = false, pid = false, net = false, uts = false, ipc = false,
      cgroup = false }
    local function options(o)
      o.namespaces, o.caps, o.stdout = none, o.caps or {}, "capture"
      o.seccomp = { defaultAction = "SCMP_ACT_ALLOW", syscalls = { { names = { "capset", "capget" },
        action = "SCMP_ACT_ERRNO" } } }
      o[1], o[2], o[3] = "grep", "CapPrm", "/proc/self/status"
      return o
    end
    for _, init in ipairs { false, true } do
      assert.equal("CapPrm:\t0000000000000000\n", (output(options { init = init })))
      assert.equal("caps", boxes.failure(options { init = init, caps = { "chown" } }).step)
      local o = options { init = init, stdin = "null" }
      local read
      o.stdout = function(text) read = (read or "") .. (text or "") end
      local box <close> = nsbox.box(o) -- which waits at the gate
      assert.is_true(box:start():wait().ok)
      assert.equal("CapPrm:\t0000000000000000\n", read)
    end
  end)

  it("says seccomp when it was the filter that ended the program", function()
    local profile = { defaultAction = "SCMP_ACT_ALLOW", syscalls = { { names = { "getppid" },
      action = "SCMP_ACT_KILL_PROCESS" } } }
    local PPID = { "perl", "-e", "getppid" }
    PPID.seccomp = profile
    local _, r = output(PPID)
    assert.same({ "seccomp", "SYS", 159, false }, { r.reason, r.signal, r.status, r.ok })
    assert.matches("^killed by SYS in %d.%d+ s: its seccomp filter does not allow what it did$",
      tostring(r))
    PPID.init = true
    _, r = output(PPID)
    assert.equal("seccomp", r.reason)
    local box <close> = nsbox.box { seccomp = profile }
    assert.equal("seccomp", box:exec { "perl", "-e", "getppid" }.reason)
    local err = select(2, pcall(function()
      box:exec { "perl", "-e", "getppid", check = true }
    end))
    assert.equal("EXIT", err.code)
    assert.matches("seccomp filter", err.detail)
    -- a signal of somebody else's
    _, r = output { "sh", "-c", "kill -SYS $$", init = true }
    assert.same({ "signal", "SYS" }, { r.reason, r.signal })
    _, r = output { "sh", "-c", "kill -SYS $$", init = true, seccomp = false }
    assert.equal("signal", r.reason)
  end)

  it("takes a profile of a file, also inside of a configuration", function()
    local path = tmpdir() .. "/profile.json"
    local profile = { defaultAction = "SCMP_ACT_ALLOW", syscalls = { { names = { "mkdir",
      "mkdirat" }, action = "SCMP_ACT_ERRNO", errnoRet = 18 } } }
    for _, t in ipairs { profile, { ociVersion = "1.0.2", linux = { seccomp = profile } } } do
      spew(path, dkjson.encode(t))
      local text = output { "mkdir", "/tmp/x", tmpfs = "/tmp", stderr = "stdout", seccomp = path }
      assert.matches("Invalid cross%-device link", text)
    end
    -- as dkjson reads it: its tables are marked
    local _, marked = output { "mkdir", "/tmp/x", tmpfs = "/tmp", stderr = "capture",
      seccomp = dkjson.decode(dkjson.encode(profile)) }
    assert.matches("Invalid cross%-device link", marked.stderr)
    -- what is in the file counts, not its name
    profile.syscalls[1].errnoRet = 25
    spew(path, dkjson.encode(profile))
    local text = output { "mkdir", "/tmp/x", tmpfs = "/tmp", stderr = "stdout", seccomp = path }
    assert.matches("Inappropriate ioctl", text)
  end)

  -- what Docker and podman ship, in their shape: groups for some capabilities, kernels and
  -- architectures, a map of these, names of newer kernels
  local function shipped()
    local names = { "ioctl", "from_the_future" }
    for name in require("nsbox.policy").allow:gmatch "%S+" do
      names[#names + 1] = name ~= "ptrace" and name or nil
    end
    local function arg(index, value, op)
      return { { index = index, value = value, valueTwo = 0, op = "SCMP_CMP_" .. op } }
    end
    local function group(t)
      t.action = t.action or "SCMP_ACT_ALLOW"
      t.comment, t.args = t.comment or "", t.args or {}
      t.includes, t.excludes = t.includes or {}, t.excludes or {}
      return t
    end
    local function only(...) return { caps = { ... } } end
    local NEW <const> = 2114060288
    return { defaultAction = "SCMP_ACT_ERRNO", defaultErrnoRet = 38, defaultErrno = "ENOSYS",
      archMap = { { architecture = "SCMP_ARCH_X86_64", subArchitectures = { "SCMP_ARCH_X86",
        "SCMP_ARCH_X32" } }, { architecture = "SCMP_ARCH_AARCH64", subArchitectures = {
        "SCMP_ARCH_ARM" } }, { architecture = "SCMP_ARCH_MIPS64", subArchitectures = {
        "SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64N32" } }, { architecture = "SCMP_ARCH_S390X",
        subArchitectures = { "SCMP_ARCH_S390" } }, { architecture = "SCMP_ARCH_RISCV64",
        subArchitectures = dkjson.null } },
      syscalls = { group { names = names },
        group { names = { "ptrace" }, includes = { minKernel = "4.8" } },
        group { names = { "socket" }, args = arg(0, 40, "NE") },
        group { names = { "personality" }, args = arg(0, 0, "EQ") },
        group { names = { "personality" }, args = arg(0, 4294967295, "EQ") },
        group { names = { "swapcontext" }, includes = { arches = { "ppc64le" } } },
        group { names = { "arch_prctl" }, includes = { arches = { "amd64", "x32" } } },
        group { names = { "clone", "clone3", "mount", "setns", "unshare" },
          includes = only "CAP_SYS_ADMIN" },
        group { names = { "clone" }, args = arg(0, NEW, "MASKED_EQ"), excludes = {
          caps = { "CAP_SYS_ADMIN" }, arches = { "s390", "s390x" } } },
        group { names = { "clone" }, args = arg(1, NEW, "MASKED_EQ"), excludes = only
          "CAP_SYS_ADMIN", includes = { arches = { "s390", "s390x" } }, comment = "other order" },
        group { names = { "clone3" }, action = "SCMP_ACT_ERRNO", errnoRet = 38, errno = "ENOSYS",
          excludes = only "CAP_SYS_ADMIN" },
        group { names = { "unshare", "setns", "mount" }, action = "SCMP_ACT_ERRNO", errnoRet = 1,
          errno = "EPERM", excludes = only "CAP_SYS_ADMIN" } } }
  end

  it("takes what Docker and podman ship, and what they make of it", function()
    local path = tmpdir() .. "/seccomp.json"
    local made = shipped()
    made.archMap, made.flags = nil, { "SECCOMP_FILTER_FLAG_TSYNC" }
    made.architectures = { "SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32",
      "SCMP_ARCH_AARCH64", "SCMP_ARCH_S390X", "SCMP_ARCH_MIPS" }
    local NAMES <const> = ATTACK .. " unshare_user clone_user clone3 setns mount keyctl af_vsock"
    for _, profile in ipairs { shipped(), made } do
      spew(path, dkjson.encode(profile))
      for _, o in ipairs { {}, { init = true }, { no_new_privs = false, init = true } } do
        o[1], o[2], o[3], o.seccomp = "sh", "-c", NAMES .. "; " .. STATUS, path
        assert.equal("unshare_user EPERM\nclone_user ENOSYS\nclone3 ENOSYS\nsetns EPERM\n"
          .. "mount EPERM\nkeyctl ENOSYS\naf_vsock ENOSYS\n1\n", (output(o)))
      end
      local text = output { "sh", "-c", NAMES, seccomp = path, caps = { "sys_admin" } }
      assert.matches("^unshare_user ok\nclone_user ok\n", text)
    end
  end)

  it("blames a file that is none", function()
    local dir = tmpdir()
    local function fails(text, want)
      local path = dir .. "/" .. #text
      spew(path, text)
      local err = boxes.failure { "true", seccomp = path }
      assert.same({ "run", "seccomp", path }, { err.op, err.step, err.subject })
      assert.matches(want, err.detail)
    end
    fails("", "JSON")
    fails("[1, 2", "line 1")
    fails(("["):rep(300000), "^dkjson: stack overflow")
    fails("3", "no JSON object")
    fails('{"ociVersion": "1.0.2", "root": {}}', "^is a configuration without linux.seccomp$")
    fails('{"linux": {"seccomp": null}}', "^is a configuration without linux.seccomp$")
    fails('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [null, {"names": ["read"], '
      .. '"action": "SCMP_ACT_ERRNO"}]}', "^syscalls: has a hole")
    fails("{}", "defaultAction: expected a word, got nothing")
    fails('{"defaultAction": "ALLOW"}', "expected one of 'SCMP_ACT_ALLOW'")
    local err = boxes.failure { "true", seccomp = dir .. "/none" }
    assert.equal("ENOENT", err.code)
    err = boxes.failure { "true", seccomp = dir }
    assert.equal("EISDIR", err.code)
  end)

  it("raises at the caller's line for misuse", function()
    for _, case in ipairs {
      { 1, "seccomp: expected true, false, a table or a path, got a number" },
      { "", "seccomp: expected the path of a profile" },
      { { deny = { "ptrac" } },
        "seccomp: deny: 'ptrac' is no system call (did you mean 'ptrace'?)" },
      { { allow = { "no_such_thing_at_all" } }, "allow: 'no_such_thing_at_all' is no system call" },
      { { allow = "read" }, "expected a list of system calls, got a string" },
      { { allow = { 3 } }, "allow: expected a name, got a number" },
      { { deny = { nil, "read" } }, "deny: has a hole (an element is nil)" },
      { { deny = { [1.5] = "read" } }, "deny: expected a list" },
      { { alow = { "read" } }, "seccomp: unknown option 'alow' (did you mean 'allow'?)" },
      { { "read" }, "seccomp: argument 1: takes none" },
      { { errno = "EFOO" }, "errno: expected a name like 'EPERM', got 'EFOO'" },
      { { errno = 1 }, "errno: expected a name like 'EPERM'" },
      { { allow = { "read" }, deny = { "read" } }, "'read' is both in allow and in deny" },
      { { defaultAction = "SCMP_ACT_ALOW" }, "did you mean 'SCMP_ACT_ALLOW'?" },
      { { defaultAction = "SCMP_ACT_NOTIFY" }, "expected one of" },
    } do
      boxes.misuse({ "true", seccomp = case[1] }, case[2])
    end
  end)

  it("needs libseccomp for filters of one's own, and only for these", function()
    local out, status = lua("-", [[
      local nsbox = require "nsbox"
      package.preload["nsbox.sys.seccomp"] = function()
        error "libseccomp.so.2: cannot open shared object file: No such file or directory"
      end
      print(nsbox.run { "true" } == 0)
      local ok, err = pcall(nsbox.run, { "true", seccomp = { deny = { "ptrac" } } })
      print(err.code, err.step, err)
    ]])
    assert.equal(0, status)
    assert.matches("^true\nENOPKG\tseccomp\t.*libseccomp.so.2: cannot open.*"
      .. "\n  hint: .*Debian: libseccomp2", out)
  end)

  it("needs dkjson for a profile in a file", function()
    local path = tmpdir() .. "/profile.json"
    spew(path, [[{ "defaultAction": "SCMP_ACT_ALLOW" }]])
    local out, status = lua("-", ([[
      local nsbox = require "nsbox"
      package.preload.dkjson = function() error "module 'dkjson' not found" end
      print(select(2, nsbox.try(nsbox.run, { "true", seccomp = %q })))
    ]]):format(path))
    assert.equal(0, status)
    assert.matches("^run: seccomp: dkjson is not installed %(ENOPKG%)\n  hint: .*lua%-dkjson", out)
  end)

  it("is compiled once for the same content", function()
    local sys = require "nsbox.sys.seccomp"
    local real, n = sys.compile, 0
    finally(function() sys.compile = real end)
    sys.compile = function(...)
      n = n + 1
      return real(...)
    end
    for _ = 1, 3 do
      output { "true", seccomp = { defaultAction = "SCMP_ACT_ALLOW", syscalls = { { names =
        { "sync" }, action = "SCMP_ACT_LOG" } } } }
    end
    assert.equal(1, n)
    -- in a place that nobody reads
    local round = { defaultAction = "SCMP_ACT_ALLOW", syscalls = { { names = {}, action =
      "SCMP_ACT_LOG" } } }
    round.syscalls[1].comment = round
    assert.equal(0, (nsbox.run { "true", seccomp = round }))
  end)

  it("hints when the kernel does not take it #user", function()
    local err = boxes.failure { "true", seccomp = true, bare = true, namespaces = { user = false,
      mnt = false, pid = false, net = false, uts = false, ipc = false, cgroup = false } }
    assert.same({ "EACCES", "seccomp" }, { err.code, err.step })
    assert.matches("no_new_privs", err.hint)
  end)
end)

describe("nsbox.seccomp.dump", function()
  it("shows the built-in filter", function()
    local text = nsbox.seccomp.dump()
    assert.matches("\nallow: [^:]* accept accept4 access", text)
    assert.matches("\nEPERM if argument 1 is 0x5412, 0x541c: ioctl\n", text)
    assert.matches("\nEPERM if argument 0 has any bit of 0x7e020000: clone\n", text)
    assert.matches("\nENOSYS: clone3\n", text)
    assert.matches("\nENOSYS: everything else\n$", text)
    for line in text:gmatch "[^\n]+" do assert.is_true(#line <= 100, line) end
    local lifted = nsbox.seccomp.dump(true, "all")
    assert.is_nil(lifted:find(": clone\n", 1, true))
    assert.equal("none\n", nsbox.seccomp.dump(false))
  end)

  it("shows changes of it, and profiles", function()
    local text = nsbox.seccomp.dump { deny = { "ptrace" }, errno = "ENOTTY", allow = { "ioctl" } }
    assert.matches("\nENOTTY: ptrace\n", text)
    assert.is_nil(text:find("0x5412", 1, true))
    text = nsbox.seccomp.dump { defaultAction = "SCMP_ACT_ALLOW", syscalls = { { name = "ptrace",
      action = "SCMP_ACT_KILL" } } }
    assert.matches('filter for syscall "ptrace"', text)
  end)

  it("raises at the caller's line", function()
    local ok, message = pcall(function() nsbox.seccomp.dump { den = {} } end)
    assert.is_false(ok)
    assert.matches("^[^\n]*seccomp_spec.lua:%d+: seccomp.dump: unknown option 'den'", message)
  end)
end)

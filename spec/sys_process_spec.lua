local sys = require "nsbox.sys"
local c = require "children"
local process, errno, fd = sys.process, sys.errno, sys.fd
local box, ending, output, hold = c.box, c.ending, c.output, c.hold

local kinds = { "mnt", "uts", "ipc", "pid", "net", "cgroup", "user" }
if require("nsbox.machine").exists "/proc/self/ns/time" then kinds[#kinds + 1] = "time" end
local probes = { mnt = "maps", uts = "utsns", ipc = "ipcns", pid = "pidns", net = "netns",
  cgroup = "cgroupns", time = "timens", user = "maps" }

local LIST = "for k in mnt uts ipc pid net cgroup time user; do readlink /proc/self/ns/$k; done"

local function namespaces(text)
  local t = {}
  for kind, inode in text:gmatch "(%l+):%[(%d+)%]" do t[kind] = inode end
  return t
end

local function here()
  return namespaces((sh(LIST)))
end

local function words(line)
  local list = {}
  for word in line:gmatch "%S+" do list[#list + 1] = word end
  return list
end

-- the lines of a map file as lists of strings
local function map_of(p, file)
  local list = {}
  for line in slurp(("/proc/%d/%s"):format(p:pid(), file)):gmatch "[^\n]+" do
    list[#list + 1] = table.concat(words(line), " ")
  end
  return list
end

local function mount_at(p, path)
  local found
  for line in slurp(("/proc/%d/mountinfo"):format(p:pid())):gmatch "[^\n]+" do
    local w = words(line)
    if w[5] == path then found = { options = w[6], type = line:match " %- (%S+)" } end
  end
  return found
end

local function has(list, word)
  return ("," .. list .. ","):find("," .. word .. ",", 1, true) ~= nil
end

-- spawn fails with these; the message says step, subject and reason
local function refused(step, subject, number, ...)
  local p, message, got, word, about = ...
  assert.is_nil(p)
  assert.same({ step, subject, number }, { word, about, got })
  assert.equal(("%s%s: %s"):format(step, subject and " " .. subject or "",
    errno.strerror(number)), message)
end

describe("nsbox.sys.process.spawn", function()
  describe("refuses", function()
    local function wrong(plan, pattern)
      if type(plan) == "table" then plan.argv = plan.argv or { "true" } end
      local ok, message = pcall(function() process.spawn(plan) end)
      assert.is_false(ok)
      assert.matches(pattern, message)
      assert.matches("sys_process_spec.lua:%d+: ", message)
    end

    it("what is no plan, and a plan without a program", function()
      assert.error_matches(function() process.spawn() end, "bad argument #1 to 'spawn'")
      assert.error_matches(function() process.spawn "true" end, "table expected, got string")
      wrong({ argv = {} }, "argv: needs at least the program")
      assert.error_matches(function() process.spawn {} end, "argv: needs at least the program")
    end)

    it("unknown fields, and suggests the nearest", function()
      wrong({ agrv = { "true" } }, "plan: unknown field 'agrv' %(did you mean 'argv'%?%)")
      wrong({ hostnam = "x" }, "unknown field 'hostnam' %(did you mean 'hostname'%?%)")
      wrong({ "true" }, "unknown field '1'")
      wrong({ maps = { udi = {} } }, "maps: unknown field 'udi' %(did you mean 'uid'%?%)")
      wrong({ caps = { ambiant = {} } }, "caps: unknown field 'ambiant' .*'ambient'")
      wrong({ mounts = { { targte = "/" } } }, "mounts: unknown field 'targte' .*'target'")
      wrong({ writes = { { "/a", "b", optionl = true } } }, "unknown field 'optionl'")
      wrong({ new = { "time" }, time_offsets = { uptime = 1 } },
        "time_offsets: unknown field 'uptime'")
    end)

    it("values of the wrong type", function()
      for field, value in pairs { argv = "true", env = "A=1", keep = 3, join = "net",
        mounts = true, writes = "x", groups = 1 } do
        wrong({ [field] = value }, field .. ": expected a list, got " .. type(value))
      end
      for _, field in ipairs { "cwd", "trycwd", "hostname", "path" } do
        wrong({ [field] = 1 }, "field '" .. field .. "': string expected, got number")
      end
      for _, field in ipairs { "gate", "init", "lo", "no_new_privs", "setsid" } do
        wrong({ [field] = "yes" }, "field '" .. field .. "': boolean expected, got string")
      end
      wrong({ argv = { "true", {} } }, "argv%[2%]: expected a string, got table")
      wrong({ env = { true } }, "env%[1%]: expected a string, got boolean")
      wrong({ mounts = { "x" } }, "mounts%[1%]: expected a table, got string")
      wrong({ writes = { { "/x" } } }, "writes%[1%]: expected { path, data }")
      wrong({ uid = "root" }, "uid: id from 0 to 4294967294 expected")
      wrong({ gid = -1 }, "gid: id from 0 to 4294967294 expected")
      wrong({ groups = { 2 ^ 32 } }, "groups: id from 0 to 4294967294 expected")
      -- to the kernel it is -1: stay who you are
      wrong({ uid = 4294967295 }, "uid: id from 0 to 4294967294 expected")
      wrong({ maps = "self" }, "maps: expected a table, got string")
      wrong({ caps = "none" }, "caps: expected a table, got string")
      wrong({ pdeathsig = true }, "pdeathsig")
      wrong({ time_offsets = 5 }, "time_offsets: expected a table")
      wrong({ new = { "time" }, time_offsets = { boottime = {} } }, "boottime: expected a number")
      wrong({ new = { "time" }, time_offsets = { boottime = 0 / 0 } }, "out of range")
      wrong({ new = { "time" }, time_offsets = { boottime = 1e300 } }, "out of range")
    end)

    it("to ask for more mounts than it made room for", function()
      local lengths, last = { 1, 30 }, 0
      local mounts = setmetatable({}, {
        __len = function() return table.remove(lengths, 1) or 30 end,
        __index = function(_, i)
          last = i
          return { type = "tmpfs", target = "/nonexistent", optional = true }
        end,
      })
      local child = process.spawn { argv = { "true" }, mounts = mounts }
      if child then ending(child) end
      assert.equal(1, last)
    end)

    it("strings with a NUL byte", function()
      wrong({ argv = { "a\0b" } }, "argv%[1%]: contains a NUL byte")
      wrong({ env = { "A=1", "B=\0" } }, "env%[2%]: contains a NUL byte")
      wrong({ cwd = "/\0" }, "field 'cwd': string contains zeros")
      wrong({ hostname = "\0" }, "field 'hostname': string contains zeros")
      wrong({ writes = { { "/x\0", "" } } }, "writes%[1%]: contains a NUL byte")
      wrong({ writes = { { "/x", "a\0" } } }, "writes%[1%]: contains a NUL byte")
      wrong({ mounts = { { target = "/\0" } } }, "field 'target': string contains zeros")
    end)

    it("descriptors that are closed, or none", function()
      local r, w = assert(fd.pipe())
      local number = r:fileno()
      r:close()
      w:close()
      for _, field in ipairs { "stdin", "stdout", "stderr" } do
        wrong({ [field] = r }, "closed")
        wrong({ [field] = -1 }, "not a descriptor")
        wrong({ [field] = "x" }, "descriptor expected, got string")
        -- the number that the control socket is about to get
        wrong({ [field] = number }, field .. ": descriptor " .. number .. " is not open")
      end
      wrong({ keep = { r } }, "closed")
      wrong({ keep = { number } }, "keep: descriptor " .. number .. " is not open")
      wrong({ keep = { 2 ^ 40 } }, "not a descriptor")
    end)

    it("unknown words", function()
      wrong({ new = { "nett" } }, "unknown namespace 'nett' %(known: user, mnt,")
      wrong({ new = { 1 } }, "namespace expected, got number")
      wrong({ pdeathsig = "TREM" }, "unknown signal 'TREM'")
      wrong({ caps = { bounding = { "net_admn" } } }, "net_admn")
      wrong({ mounts = { { target = "/", flags = { "bnd" } } } }, "unknown mount flag 'bnd'")
      wrong({ mounts = { { attr = "/", set = { "rw" } } } }, "'rw'")
      wrong({ new = { "user" }, maps = { setgroups = "no" } },
        "maps: setgroups is 'deny' or 'allow', not 'no'")
    end)

    it("mounts that refer to nothing", function()
      wrong({ mounts = { {} } }, "mounts%[1%]: needs a target")
      wrong({ mounts = { { place = 1, target = "/" } } }, "field 'place'")
      wrong({ mounts = { { target = "/a" }, { place = 1, target = "/" } } },
        "mounts%[2%]: mounts%[1%] is no grab")
      wrong({ mounts = { { grab = "/a" }, { place = 1, target = "/b" },
        { place = 1, target = "/c" } } }, "mounts%[3%]: mounts%[1%] is placed already")
      assert.error_matches(function() process.mounts { { target = "/a" }, {} } end,
        "mounts%[2%]: needs a target")
      assert.error_matches(function() process.mounts { { targte = "/a" } } end,
        "mounts: unknown field 'targte' .*'target'")
      assert.error_matches(function() process.mounts "x" end, "table expected")
      wrong({ mounts = { { grab = "/a", below = 1 } } }, "field 'below'")
      wrong({ mounts = { { tree = 0 } } }, "mounts%[1%]: tree: needs a name, its grab")
      wrong({ mounts = { { grab = "/", tree = "x" } } }, "descriptor expected")
      local own = { new = { "user", "mnt" }, maps = { uid = { { 0, 5, 2 } } } }
      own.mounts = { { grab = "/" }, { idmap = 1 } }
      wrong(own, "mounts%[2%]: idmap: mounts%[1%] has no tree")
      own.mounts = { { target = "/" }, { idmap = 1 } }
      wrong(own, "mounts%[2%]: mounts%[1%] is no grab")
      wrong({ new = { "mnt" }, mounts = { { grab = "/" }, { idmap = 1 } } },
        "mounts%[2%]: idmap: needs the maps of the plan itself")
      for _, element in ipairs { { symlink = "x" }, { content = "x" } } do
        wrong({ mounts = { element } }, "mounts%[1%]: needs a target")
      end
      wrong({ mounts = { { content = "x", target = "y", mode = "9" } } }, "octal mode expected")
      -- it would change the ids of a child that shares our memory
      wrong({ mounts = { { uid = 0 } } }, "mounts%[1%]: uid: needs the uid of the plan itself")
      wrong({ mounts = { { gid = 0 } } }, "mounts%[1%]: gid: needs the gid of the plan itself")
      assert.error_matches(function() process.mounts { { uid = 0 } } end, "needs the uid")
    end)

    it("wrong maps", function()
      local function maps(ranges, pattern)
        wrong({ new = { "user" }, maps = { uid = ranges } }, pattern)
      end
      wrong({ maps = c.self_maps() }, "maps: need a new user namespace")
      maps({}, "no range")
      maps({ { 0, 0 } }, "range")
      maps({ { 0, 0, 0 } }, "range")
      maps({ { -1, 0, 1 } }, "range")
      maps({ { 0, 4294967295, 2 } }, "range")
      maps({ { 0, 0, 10 }, { 5, 100, 10 } }, "overlaps")
      maps({ { 0, 0, 10 }, { 100, 5, 10 } }, "overlaps")
      wrong({ new = { "user" }, maps = { newuidmap = "newuidmap" } }, "named by its full path")
    end)

    it("time offsets without a time namespace", function()
      wrong({ time_offsets = { boottime = 1 } }, "needs a new time namespace")
    end)

    it("to join what is no namespace", function()
      local file <close> = io.open "/dev/null"
      wrong({ join = { file } }, "join%[1%]: not a namespace")
      local p <close> = assert(process.open(process.getpid()))
      wrong({ join = { p } }, "not a namespace")
    end)
  end)

  -- programs -----------------------------------------------------------------

  it("tells every exit code #valgrind", function()
    for _, code in ipairs { 0, 1, 2, 126, 127, 255 } do
      assert.same({ "", "exit", code }, { output { "exit " .. code } })
    end
  end)

  it("tells a signal from an exit code", function()
    for _, name in ipairs { "KILL", "TERM", "ABRT", "USR1" } do
      assert.same({ "", "signal", name }, { output { "kill -" .. name .. " $$" } })
    end
    assert.same({ "", "exit", 137 }, { output { "exit 137" } })
  end)

  it("knows real-time signals as the shell's numbers", function()
    for name, number in pairs { ["RTMIN+3"] = 37, RTMIN = 34, ["RTMIN+30"] = 64 } do
      assert.same({ "", "signal", name }, { output { ("kill -%d $$"):format(number) } })
      assert.equal(number, process.signal(name))
    end
    assert.equal(62, process.signal "SIGRTMAX-2")
    for _, name in ipairs { "RTMIN+31", "RTMAX-33", "RTMAX+1", "RTMIN3", "RTMIN+", "RTMIN+-1",
      "RTMIN+1x", "RTMIN+99999999999999999999" } do
      assert.error_matches(function() process.signal(name) end, "unknown signal")
    end
  end)

  it("replaces the environment", function()
    local child, bytes = process.clone({}, function()
      assert(process.setenviron { "A=b=c", "B=" })
      local f <close> = io.popen "echo $A-$B-$HOME"
      return f:read "l", os.getenv "A", os.getenv "B", os.getenv "PATH"
    end)
    local text = bytes:read(1000)
    bytes:close()
    require("children").ending(child)
    assert.same({ n = 5, true, "b=c--", "b=c", "" }, table.pack(process.results(text)))
    for _, list in ipairs { { "A" }, { "=b" }, { "A=b\0" }, { 1 } } do
      assert.has_error(function() process.setenviron(list) end)
    end
    assert.is_string(os.getenv "PATH")
  end)

  it("has no status while the program runs", function()
    local p, finish = hold {}
    assert.same({ n = 1 }, table.pack(p:status()))
    assert.same({ "exit", 0 }, { finish() })
  end)

  it("tells a program that cannot start from one that fails", function()
    local dir = tmpdir()
    spew(dir .. "/text", "no program\n")
    spew(dir .. "/script", "#!/nonexistent/interpreter\n")
    spew(dir .. "/empty", "")
    sh(("chmod 644 %s/text; chmod 755 %s/script %s/empty"):format(dir, dir, dir))
    local function fails(name, number, more)
      for _, plan in ipairs { {}, { gate = true }, { init = true } } do
        plan.argv, plan.env = { name }, {}
        for key, value in pairs(more or {}) do plan[key] = value end
        local p, a, b, e, f = process.spawn(plan)
        if p then p, a, b, e, f = p:start() end -- the gate is before exec
        refused("exec", name, number, p, a, b, e, f)
      end
    end
    fails("/nonexistent/program", errno.ENOENT)
    fails("nsbox-no-such-program", errno.ENOENT)
    fails("nsbox-no-such-program", errno.ENOENT, { path = "" })
    fails("", errno.ENOENT)
    fails(dir .. "/text", errno.EACCES)
    fails(dir, errno.EACCES)
    fails(dir .. "/script", errno.ENOENT)
    fails(dir .. "/empty", errno.ENOEXEC)
    fails(dir .. "/text/x", errno.ENOTDIR)
    fails(("x"):rep(300), errno.ENAMETOOLONG)
  end)

  it("keeps the plan of what waits at its gate while others start and are called", function()
    local long = {}
    for i = 1, 300 do long[i] = ("LONG%d=%s"):format(i, ("x"):rep(30)) end
    local waiting = {}
    for i = 1, 3 do
      waiting[i] = process.spawn { argv = { "/nonexistent/program" .. i }, env = {}, gate = true }
      assert.equal("300\n", (output { "env | grep -c ^LONG", env = long, gate = i == 2 }))
      assert.equal("0\n", (output { "env | grep -c ^LONG || :", env = {}, gate = i == 2 }))
      local p, r = process.clone({}, function() return i end)
      assert.equal(i, select(2, process.results(r:read())))
      r:close()
      ending(p)
    end
    for i, p in ipairs(waiting) do
      refused("exec", "/nonexistent/program" .. i, errno.ENOENT, p:start())
    end
  end)

  it("searches PATH as execvp does, without a shell", function()
    local dir = tmpdir()
    for _, name in ipairs { "a", "b", "c" } do sh("mkdir " .. dir .. "/" .. name) end
    spew(dir .. "/a/tool", "not executable")
    spew(dir .. "/b/tool", "#!/bin/sh\necho b $0\n")
    spew(dir .. "/c/tool", "#!/bin/sh\necho c\n")
    spew(dir .. "/c/plain", "echo hello\n")
    sh(("chmod 755 %s/?/tool %s/c/plain; chmod 644 %s/a/tool"):format(dir, dir, dir))
    local function find(name, path, more)
      local plan = { argv = { name }, path = path:gsub("@", dir), env = {} }
      for key, value in pairs(more or {}) do plan[key] = value end
      return output(plan)
    end
    local b = "b " .. dir .. "/b/tool\n"
    assert.equal(b, (find("tool", "@/b:@/c")))
    assert.equal("c\n", (find("tool", "@/c:@/b")))
    -- what may not be executed is passed over, and remembered
    assert.equal(b, (find("tool", "@/a:@/b")))
    refused("exec", "tool", errno.EACCES, find("tool", "@/a:/nonexistent"))
    assert.equal(b, (find("tool", "/nonexistent:@/a/tool:@/b")))
    -- an empty element is not the current directory
    refused("exec", "tool", errno.ENOENT, find("tool", "::", { cwd = dir .. "/b" }))
    assert.equal(b, (find("tool", "::@/b:", { cwd = dir .. "/c" })))
    -- an element that is too long hides nothing
    assert.equal(b, (find("tool", ("/x"):rep(3000) .. ":@/b")))
    -- a name with a slash is not searched
    refused("exec", "b/tool", errno.ENOENT, find("b/tool", "@"))
    assert.equal("c\n", (find("./tool", "@/b", { cwd = dir .. "/c" })))
    -- no shell runs what the kernel does not
    refused("exec", "plain", errno.ENOEXEC, find("plain", "@/c"))
    -- the program's own PATH is another matter
    assert.equal("c\n", (find("tool", "@/c", { env = { "PATH=" .. dir .. "/b" } })))
  end)

  it("gives exactly the arguments and the environment of the plan", function()
    local argv = { "/usr/bin/printf", "[%s]", "a b", "", "$HOME", "ä'\"\n", ("x"):rep(100000) }
    assert.equal("[a b][][$HOME][ä'\"\n][" .. ("x"):rep(100000) .. "]",
      (output { argv = argv }))
    assert.equal("A=1\0B=\0C=x=y\0",
      (output { argv = { "/bin/cat", "/proc/self/environ" }, env = { "A=1", "B=", "C=x=y" } }))
    assert.equal("", (output { argv = { "/bin/cat", "/proc/self/environ" }, env = {} }))
  end)

  -- descriptors --------------------------------------------------------------

  it("gives the streams of the plan", function()
    local dir = tmpdir()
    spew(dir .. "/in", "hello\n")
    for _, more in ipairs { {}, { gate = true } } do
      local stdin <close> = io.open(dir .. "/in")
      local stdout <close> = io.open(dir .. "/out", "w")
      local stderr <close> = io.open(dir .. "/err", "w")
      more.argv = { "/bin/sh", "-c", "cat; echo oops >&2" }
      more.stdin, more.stdout, more.stderr = stdin, stdout, stderr
      local p = assert(process.spawn(more))
      if more.gate then assert(p:start()) end
      assert.same({ "exit", 0 }, { ending(p) })
      assert.equal("hello\n", slurp(dir .. "/out"))
      assert.equal("oops\n", slurp(dir .. "/err"))
    end
  end)

  it("swaps the host's own streams", function()
    local dir = tmpdir()
    local code = [[
      local process, fd = require "nsbox.sys.process", require "nsbox.sys.fd"
      for _, s in ipairs { { 1, 2, 0 }, { 2, 0, 1 }, { 0, 2, 1 }, { 2, 2, 2 } } do
        local p, why = process.spawn { argv = { "/bin/sh", "-c",
          "for i in 0 1 2; do x=$(readlink /proc/$$/fd/$i); echo $x >>$0/report; done",
          "]] .. dir .. [[" },
          env = { "PATH=/bin:/usr/bin" }, stdin = s[1], stdout = s[2], stderr = s[3] }
        if not p then error(why) end
        fd.poll { [p:fileno()] = "r" }
        assert(p:status())
      end
    ]]
    local out = c.script(code, ("exec 0</dev/null 1>%s/one 2>%s/two;"):format(dir, dir))
    assert.equal("", out .. slurp(dir .. "/one") .. slurp(dir .. "/two"))
    local names = { [0] = "/dev/null", dir .. "/one", dir .. "/two" }
    local want = ""
    for _, i in ipairs { 1, 2, 0, 2, 0, 1, 0, 2, 1, 2, 2, 2 } do
      want = want .. names[i] .. "\n"
    end
    assert.equal(want, slurp(dir .. "/report"))
  end)

  it("works in a host that has no standard streams", function()
    local dir = tmpdir()
    local code = [[
      local process, fd = require "nsbox.sys.process", require "nsbox.sys.fd"
      local uid, gid = process.geteuid()
      local report = ""
      for _, more in ipairs { {}, { gate = true }, { init = true } } do
        more.argv = { "/bin/sh", "-c", "echo fine >>]] .. dir .. [[/report" }
        local p, why = process.spawn(more)
        if p and more.gate then p, why = p:start() end
        if p then
          fd.poll { [p:fileno()] = "r" }
          why = table.concat({ p:status() }, " ")
        end
        report = report .. tostring(why) .. "\n"
      end
      io.open("]] .. dir .. [[/status", "w"):write(report):close()
    ]]
    for _, closed in ipairs { "<&-", "<&- >&-", "<&- >&- 2>&-" } do
      c.script(code, "exec " .. closed .. ";")
      assert.equal(("exit 0\n"):rep(3), slurp(dir .. "/status"))
    end
    assert.equal(("fine\n"):rep(9), slurp(dir .. "/report"))
  end)

  it("keeps the descriptors of the list, and no other", function()
    local files, keep, want = {}, {}, {}
    for i = 1, 50 do -- io.open sets no close-on-exec
      files[i] = assert(io.open "/dev/null")
      if i % 10 == 0 then
        keep[#keep + 1] = assert(fd.open("/dev/null", "rdonly"))
        want[#want + 1] = keep[#keep]:fileno()
      end
    end
    for _, more in ipairs { {}, { gate = true }, { init = true } } do
      more[1], more.keep = "ls /proc/$$/fd; :", keep
      local seen = {}
      for name in output(more):gmatch "%d+" do
        if tonumber(name) > 2 then seen[#seen + 1] = tonumber(name) end
      end
      table.sort(seen)
      assert.same(want, seen)
    end
    for _, list in ipairs { files, keep } do
      for _, file in ipairs(list) do file:close() end
    end
  end)

  it("starts in the directory of the plan", function()
    local dir = tmpdir()
    assert.equal(dir .. "\n", (output { "pwd -P", cwd = dir }))
    assert.equal(dir .. "\n", (output { "pwd -P", trycwd = dir, gate = true }))
    refused("cwd", "/nonexistent", errno.ENOENT, output { "pwd", cwd = "/nonexistent" })
    refused("cwd", "/dev/null", errno.ENOTDIR, output { "pwd", cwd = "/dev/null" })
    assert.equal("/\n", (output { "pwd -P", trycwd = "/nonexistent" }))
  end)

  it("resets the signals that the host ignores or blocks", function()
    local out = c.script([[
      local c = require "children"
      function slurp(path) local f <close> = io.open(path) return f:read "a" end
      print(c.status "self".SigIgn:find "[^0]" and c.status "self".SigBlk:find "[^0]" and "host")
      for _, more in ipairs { {}, { gate = true }, { init = true } } do
        more.argv = { "/bin/grep", "-E", "Sig(Blk|Ign)", "/proc/self/status" }
        io.write((c.output(more)))
      end
    ]], "env --ignore-signal=HUP --ignore-signal=PIPE --block-signal=USR2 --block-signal=TERM")
    local clean = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
    assert.equal("host\n" .. clean:rep(3), out)
  end)

  it("reports a status that SIGCHLD's disposition took away #uml", function()
    local out = c.script([[
      local c = require "children"
      local process = require "nsbox.sys.process"
      for _, more in ipairs { {}, { gate = true }, { init = true } } do
        more.argv = { "/bin/sh", "-c", "exit 7" }
        local p = assert(process.spawn(more))
        if more.gate then assert(p:start()) end
        print(c.ending(p))
      end
      print((select(2, process.spawn { argv = { "/nonexistent" } })))
    ]], "env --ignore-signal=CHLD")
    -- PIDFD_GET_INFO has the status since Linux 6.15; nsbox-init always does
    local major, minor = slurp "/proc/sys/kernel/osrelease":match "^(%d+)%.(%d+)"
    local plain = major * 1000 + minor >= 6015 and "exit\t7\n"
      or "nil\tstatus: No child processes\n"
    assert.equal(plain .. plain .. "exit\t7\nexec /nonexistent: No such file or directory\n", out)
  end)

  -- namespaces ---------------------------------------------------------------

  for _, kind in ipairs(kinds) do
    it("makes a namespace, and no other: " .. kind, function()
      needs(probes[kind])
      local outer = here()
      local inner = namespaces((output(box { LIST, new = { kind } })))
      for _, other in ipairs(kinds) do
        assert.is_string(inner[other])
        if other == kind or other == "user" then
          assert.not_equal(outer[other], inner[other])
        else
          assert.equal(outer[other], inner[other])
        end
      end
    end)
  end

  it("makes a namespace without a user namespace #root", function()
    for _, kind in ipairs(kinds) do
      if kind ~= "user" then
        local outer = here()
        local inner = namespaces((output { LIST, new = { kind } }))
        for _, other in ipairs(kinds) do
          assert.equal(other ~= kind, outer[other] == inner[other])
        end
      end
    end
  end)

  it("makes all of them at once", function()
    needs("maps", "netns", "pidns", "timens")
    for _, more in ipairs { {}, { gate = true }, { init = true } } do
      more[1], more.new = LIST, { "mnt", "uts", "ipc", "pid", "net", "cgroup", "time" }
      local outer, inner = here(), namespaces((output(box(more))))
      for _, kind in ipairs(kinds) do assert.not_equal(outer[kind], inner[kind]) end
    end
  end)

  it("makes the program pid 1, without a parent", function()
    needs("maps", "pidns")
    assert.equal("1 0\n", (output(box { "echo $$ $PPID", new = { "pid" } })))
    assert.equal("1 0\n", (output(box { "echo $$ $PPID", new = { "pid" }, gate = true })))
    assert.equal("2 1\n", (output(box { "echo $$ $PPID", new = { "pid" }, init = true })))
    local p, finish = hold(box { new = { "pid" } })
    assert.matches("%s1$", c.status(p:pid()).NSpid)
    finish()
  end)

  it("sets the hostname, in the new namespace only", function()
    needs("maps", "utsns")
    local before = slurp "/proc/sys/kernel/hostname"
    local long = ("x"):rep(64)
    assert.equal("box\n", (output(box { "uname -n", new = { "uts" }, hostname = "box" })))
    assert.equal(long .. "\n", (output(box { "uname -n", new = { "uts" }, hostname = long })))
    refused("hostname", long .. "x", errno.EINVAL,
      output(box { "uname -n", new = { "uts" }, hostname = long .. "x" }))
    assert.equal(before, slurp "/proc/sys/kernel/hostname")
  end)

  it("sets the clocks of a time namespace", function()
    needs("maps", "timens")
    for _, more in ipairs { {}, { gate = true }, { init = true } } do
      more.new, more.time_offsets = { "time" }, { boottime = 1000000.5, monotonic = -0.25 }
      local p, finish
      if more.gate then
        more[1] = "cat /proc/self/timens_offsets"
        assert.matches("monotonic%s+%-1%s+750000000\nboottime%s+1000000%s+500000000\n",
          (output(box(more))))
      elseif not more.init then
        p, finish = hold(box(more))
        local text = slurp(("/proc/%d/timens_offsets"):format(p:pid()))
        finish()
        assert.matches("monotonic%s+%-1%s+750000000\nboottime%s+1000000%s+500000000\n", text)
      end
      more.gate, more.stdin, more.argv = nil, nil, { "/bin/cat", "/proc/uptime" }
      more[1] = nil
      more.new = { "time" }
      assert.is_true(tonumber(output(box(more)):match "^%S+") > 1000000)
    end
    refused("time_offsets", "/proc/self/timens_offsets", errno.ERANGE, output(box { "true",
      new = { "time" }, time_offsets = { boottime = -1e10 } }))
  end)

  it("brings the loopback up", function()
    needs("maps", "netns")
    for _, lo in ipairs { true, false } do
      local p, finish = hold(box { new = { "net" }, lo = lo })
      local trie = slurp(("/proc/%d/net/fib_trie"):format(p:pid()))
      assert.equal(lo, trie:find("127.0.0.1", 1, true) ~= nil)
      finish()
    end
  end)

  -- maps ---------------------------------------------------------------------

  describe("maps #uml", function()
    needs "maps"

    it("the own ids #valgrind", function()
      local uid, gid = process.geteuid()
      for _, more in ipairs { {}, { gate = true }, { init = true } } do
        more[1] = "id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups"
        assert.same({ "0", "0", "0", tostring(uid), "1", "0", tostring(gid), "1", "deny" },
          words((output(box(more)))))
      end
    end)

    it("other ids than 0: uid 0 is not there", function()
      local uid, gid = process.geteuid()
      local maps = { uid = { { 1000, uid, 1 } }, gid = { { 100, gid, 1 } }, setgroups = "deny" }
      for _, more in ipairs { {}, { gate = true }, { init = true } } do
        more[1], more.maps, more.new = "id -u; id -g", maps, { "pid" }
        assert.equal("1000\n100\n", (output(box(more))))
      end
    end)

    it("nothing when not asked to", function()
      local overflow = slurp "/proc/sys/kernel/overflowuid"
      assert.equal(overflow, (output { "id -u", new = { "user" } }))
      assert.equal(overflow, (output { "id -u", new = { "user" }, gate = true }))
    end)

    it("files made inside to the caller outside", function()
      local dir = tmpdir()
      output(box { "id -u; : >" .. dir .. "/file" })
      assert.equal(tostring((process.geteuid())), (sh("stat -c %u " .. dir .. "/file"):match "%d+"))
    end)

    it("one range that a user may not write, and says so #user", function()
      local uid, gid = process.geteuid()
      for _, ranges in ipairs { { { 0, uid, 2 } }, { { 0, 0, 1 } }, { { 0, uid, 1 }, { 1, 1, 1 } } }
      do
        refused("uid_map", nil, errno.EPERM, output { "true", new = { "user" },
          maps = { uid = ranges, gid = { { 0, gid, 1 } }, setgroups = "deny" } })
      end
      refused("gid_map", nil, errno.EPERM, output { "true", new = { "user" },
        maps = { uid = { { 0, uid, 1 } }, gid = { { 0, gid, 1 } } } })
    end)

    it("ranges, and the highest ids, as root #root", function()
      local cases = {
        { { 0, 100000, 65536 } },
        { { 0, 100000, 1 }, { 1, 200000, 10 }, { 1000, 1000, 1 } },
        { { 0, 2 ^ 31, 1 }, { 2 ^ 31, 4294967294, 1 } },
        { { 0, 0, 1 }, { 4294967294, 2 ^ 31, 1 } },
      }
      local eight = {}
      for i = 0, 7 do eight[i + 1] = { i * 10, 100000 + i * 100, 5 } end
      cases[#cases + 1] = eight
      for _, ranges in ipairs(cases) do
        local want = {}
        for i, range in ipairs(ranges) do
          want[i] = ("%d %d %d"):format(table.unpack(range))
          for k = 1, 3 do range[k] = math.tointeger(range[k]) end
        end
        local p, finish = hold { new = { "user", "pid" }, maps = { uid = ranges, gid = ranges } }
        assert.same(want, map_of(p, "uid_map"))
        assert.same(want, map_of(p, "gid_map"))
        assert.equal("allow\n", slurp(("/proc/%d/setgroups"):format(p:pid())))
        assert.same({ "exit", 0 }, { finish() })
      end
    end)

    it("the kernel's ids of a range as root: uid and gid become others #root", function()
      local maps = { uid = { { 0, 100000, 65536 } }, gid = { { 0, 300000, 65536 } } }
      for _, init in ipairs { false, true } do
        local p, finish = hold { new = { "user", "pid" }, maps = maps, uid = 5, gid = 7,
          groups = { 8, 9 }, init = init }
        local pid = p:pid()
        if init then pid = slurp(("/proc/%d/task/%d/children"):format(pid, pid)):match "%d+" end
        local s = c.status(pid)
        assert.same({ "100005", "100005", "100005", "100005" }, words(s.Uid))
        assert.same({ "300007", "300007", "300007", "300007" }, words(s.Gid))
        assert.same({ "300008", "300009" }, words(s.Groups))
        assert.same({ "exit", 0 }, { finish() })
      end
      refused("setuid", "70000", errno.EINVAL,
        output { "true", new = { "user" }, maps = maps, uid = 70000 })
      refused("setgid", "70000", errno.EINVAL,
        output { "true", new = { "user" }, maps = maps, gid = 70000 })
    end)

    it("subordinate ids by the helpers, in any number of ranges #user", function()
      needs "subuid"
      local maps = require("nsbox.idmap").resolve "subuid"
      assert.is_string(maps.newuidmap)
      local uid, gid = process.geteuid()
      local suid, sgid = maps.uid[2][2], maps.gid[2][2]
      for _, count in ipairs { 1, 3, 8 } do
        maps.uid, maps.gid = { { 0, uid, 1 } }, { { 0, gid, 1 } }
        for i = 1, count - 1 do
          maps.uid[i + 1] = { i * 1000, suid + i * 10, i }
          maps.gid[i + 1] = { i * 1000, sgid + i * 10, i }
        end
        for _, more in ipairs { {}, { gate = true }, { init = true } } do
          more.new, more.maps = { "pid" }, maps
          local p, message
          if more.gate then
            more.argv = { "/bin/true" }
            p, message = process.spawn(box(more))
            assert(p, message)
            assert.equal(count, #map_of(p, "uid_map"))
            p:close()
          else
            local finish
            p, finish = hold(box(more))
            assert.equal(count, #map_of(p, "uid_map"))
            assert.equal(count, #map_of(p, "gid_map"))
            if count > 1 then
              assert.equal(("1000 %d 1"):format(suid + 10), map_of(p, "uid_map")[2])
              assert.equal("allow\n", slurp(("/proc/%d/setgroups"):format(p:pid())))
            end
            assert.same({ "exit", 0 }, { finish() })
          end
        end
      end
    end)

    it("subordinate ids in a host that ignores SIGCHLD #user", function()
      needs "subuid"
      assert.equal("0\nexit\t0\n", (c.script([[
        local c = require "children"
        local text, how, value = c.output { "id -u", new = { "user" },
          maps = require("nsbox.idmap").resolve "subuid" }
        io.write(text, how, "\t", value, "\n")
      ]], "env --ignore-signal=CHLD")))
    end)

    it("ids that become others, with subordinate ids #user", function()
      needs "subuid"
      local maps = require("nsbox.idmap").resolve "subuid"
      local p, finish = hold { new = { "user", "pid" }, maps = maps, uid = 5, gid = 7,
        groups = { 8 } }
      local s = c.status(p:pid())
      assert.equal(tostring(maps.uid[2][2] + 4), s.Uid:match "%d+")
      assert.equal(tostring(maps.gid[2][2] + 6), s.Gid:match "%d+")
      assert.equal(tostring(maps.gid[2][2] + 7), s.Groups:match "%d+")
      assert.same({ "exit", 0 }, { finish() })
    end)

    it("with what a refusing helper said #user", function()
      needs "subuid"
      local maps = require("nsbox.idmap").resolve "subuid"
      maps.uid[2] = { 1, 1, 1 } -- not one of ours
      local p, message, number, step = process.spawn { argv = { "true" }, new = { "user" },
        maps = maps }
      assert.is_nil(p)
      assert.same({ "newuidmap", errno.EPERM }, { step, number })
      assert.matches("^newuidmap: Operation not permitted %(.*not allowed.*%)$", message)
      maps.newuidmap = "/nonexistent/newuidmap"
      refused("newuidmap", nil, errno.ENOENT, process.spawn { argv = { "true" },
        new = { "user" }, maps = maps })
    end)

    it("no groups where they are denied", function()
      refused("setgroups", nil, errno.EPERM, output(box { "true", groups = {} }))
    end)

    it("no id that is not mapped", function()
      refused("setuid", "1", errno.EINVAL, output(box { "true", uid = 1 }))
      refused("setgid", "4294967294", errno.EINVAL, output(box { "true", gid = 4294967294 }))
    end)

    it("and leaves the host as it was, also its own files in /proc", function()
      local maps = { {}, box {}, box { new = { "pid", "mnt" } }, box { gate = true },
        box { init = true, new = { "pid" } }, {} }
      if cell == "user" or cell == "asan" then
        maps[#maps + 1] = box { maps = require("nsbox.idmap").resolve "subuid" }
      end
      maps[#maps + 1] = box {}
      maps[#maps + 1] = box { caps = { permitted = { "chown" } } }
      maps[#maps + 1] = box { uid = 0, gid = 0, caps = {} }
      maps[#maps + 1] = box { no_new_privs = true }
      local dumpable = process.dumpable()
      for _, plan in ipairs(maps) do
        plan[1] = "true"
        local text, how, value = output(plan)
        assert.same({ "", "exit", 0 }, { text, how, value })
        assert.equal(dumpable, process.dumpable())
        assert.is_true(#assert(slurp "/proc/self/environ") > 0)
      end
      assert.is_true(dumpable)
    end)
  end)

  -- mounts -------------------------------------------------------------------

  describe("mounts #uml", function()
    needs "maps"

    it("file systems where the plan says, and nothing on the host", function()
      local dir = tmpdir()
      local p, finish = hold(box { new = { "mnt" }, mounts = {
        { target = dir, type = "tmpfs", flags = { "nosuid", "nodev" },
          data = "size=64k,mode=0701" },
      } })
      local m = assert(mount_at(p, dir))
      assert.equal("tmpfs", m.type)
      assert.is_true(has(m.options, "nosuid") and has(m.options, "nodev"))
      assert.equal("701", (sh(("stat -c %%a /proc/%d/root%s"):format(p:pid(), dir)):match "%d+"))
      finish()
      refused("mount", dir .. "/none", errno.ENOENT, output(box { "true", new = { "mnt" },
        mounts = { { target = dir .. "/none", type = "tmpfs" } } }))
      refused("mount", dir, errno.ENODEV, output(box { "true", new = { "mnt" },
        mounts = { { target = dir, type = "nsboxfs" } } }))
    end)

    it("a tree that was there before, read-only with all below it", function()
      local dir = tmpdir()
      for _, name in ipairs { "a", "b" } do sh("mkdir " .. dir .. "/" .. name) end
      local a, b = dir .. "/a", dir .. "/b"
      local plan = box { new = { "mnt" }, mounts = {
        { target = a, type = "tmpfs" },
        { attr = a, set = { "nodev" } },
        { target = a, type = "tmpfs", data = "mode=0755" },
        { grab = a, recursive = true },
        { target = a, type = "tmpfs" },
        { place = 4, target = b, set = { "ro", "nosuid" } },
      } }
      local p, finish = hold(plan)
      local m = assert(mount_at(p, b))
      assert.is_true(has(m.options, "ro") and has(m.options, "nosuid"))
      assert.is_true(has(mount_at(p, a).options, "rw"))
      finish()
      plan = box { new = { "mnt" }, mounts = plan.mounts }
      plan[1] = ("touch %s/x 2>&1; touch %s/x && echo fine"):format(b, a)
      assert.matches("Read%-only file system\nfine\n$", (output(plan)))
    end)

    it("takes lists made ahead, among others and in many plans", function()
      local dir = tmpdir()
      for _, name in ipairs { "a", "b", "c" } do sh("mkdir " .. dir .. "/" .. name) end
      local a, b, c_ = dir .. "/a", dir .. "/b", dir .. "/c"
      local list = {
        { target = a, type = "tmpfs", data = "size=64k,mode=0701" },
        { grab = a, recursive = true },
        { place = 2, target = b, set = { "ro", "nosuid" } },
      }
      local made = process.mounts(list)
      assert.equal("nsbox.mounts (3)", tostring(made))
      assert.equal(list[2], made[2])
      assert.is_nil(made[4])
      assert.is_nil(made.target)
      collectgarbage()
      for _ = 1, 2 do
        local p, finish = hold(box { new = { "mnt" }, mounts = {
          { grab = dir, recursive = true }, made, { place = 1, target = c_, set = { "noexec" } },
        } })
        assert.equal("701", (sh(("stat -c %%a /proc/%d/root%s"):format(p:pid(), a)):match "%d+"))
        local options = assert(mount_at(p, b)).options
        assert.is_true(has(options, "ro") and has(options, "nosuid"))
        assert.is_true(has(assert(mount_at(p, c_)).options, "noexec"))
        finish()
      end
      local both = process.mounts { made, { attr = b, set = { "nodev" } } }
      local p, finish = hold(box { new = { "mnt" }, mounts = { both } })
      assert.is_true(has(assert(mount_at(p, b)).options, "nodev"))
      finish()
      sh("rmdir " .. b)
      refused("bind", b, errno.ENOENT, output(box { "true", new = { "mnt" }, mounts = { made } }))
    end)

    it("leave the old root, and make what is needed in the new one", function()
      local list = {}
      local function add(element) list[#list + 1] = element end
      add { type = "tmpfs", source = "tmpfs", target = "/", root = true, data = "mode=755" }
      add { directory = "d", below = 1, mode = "0750" }
      add { symlink = "d", target = "l", below = 1 }
      add { content = "text\n", target = "d/f", below = 1, mode = "0640" }
      add { content = "text\n", target = "d/g", below = 1 }
      add { mask = "d/f", below = 1 }
      add { mask = "none", below = 1, optional = true }
      for _, path in ipairs { "/bin", "/usr", "/lib", "/lib64" } do
        add { grab = path, recursive = true, optional = true }
        add { place = #list, target = path, make = true, set = { "ro" } }
      end
      add { type = "nsboxfs", target = "/d", try = true }
      add { pivot = true }
      assert.same({ "d\n750 directory\n666 character special file\n644 regular file\ntext\n",
        "exit", 0 }, { output(box { "readlink /l; cd /l; stat -c '%a %F' /d f g; cat f g",
        new = { "mnt" }, mounts = list }) })
    end)

    it("changes attributes recursively, submounts included", function()
      local dir = tmpdir()
      local plan = box { new = { "mnt" }, mounts = {
        { target = dir, type = "tmpfs" },
        { attr = dir, set = { "noexec" } },
      } }
      -- a submount needs a directory that only a program can make
      local child, out = assert(process.clone(plan, function()
        local lfs = require "lfs"
        lfs.mkdir(dir .. "/sub")
        lfs.mkdir(dir .. "/sub/deep dir")
        local text, how, value = output { "touch " .. dir .. " 2>&1; cat /proc/self/mountinfo",
          new = { "mnt" }, mounts = {
            { target = dir .. "/sub/deep dir", type = "tmpfs" },
            { attr = dir, set = { "ro" }, recursive = true },
            { attr = dir .. "/sub/deep dir", set = { "nosuid" }, clear = { "ro" } },
            { grab = dir, recursive = true },
            { place = 4, target = "/mnt", set = { "nodev" } },
          } }
        return text, how, value
      end))
      local text = c.drain(out)
      ending(child)
      local ok, info, how, value = process.results(text)
      assert.same({ true, "exit", 0 }, { ok, how, value }, info)
      local function options(path)
        local found
        for line in info:gmatch "[^\n]+" do
          if words(line)[5] == path then found = words(line)[6] end
        end
        return found or ""
      end
      local deep = "/sub/deep\\040dir"
      assert.is_true(has(options(dir), "ro") and has(options(dir), "noexec"))
      assert.is_true(has(options(dir .. deep), "nosuid") and has(options(dir .. deep), "rw"))
      assert.is_true(has(options "/mnt", "ro") and has(options "/mnt", "nodev"))
      assert.is_true(has(options("/mnt" .. deep), "nodev"))
      assert.matches("Read%-only", info)
    end)

    it("passes over what is optional and missing, and only that", function()
      local dir = tmpdir()
      local none = dir .. "/none"
      assert.same({ "fine\n", "exit", 0 }, { output(box { "echo fine", new = { "mnt" }, mounts = {
        { target = none, type = "tmpfs", optional = true },
        { grab = none, recursive = true, optional = true },
        { place = 2, target = dir, set = { "ro" } },
        { attr = none, set = { "ro" }, recursive = true, optional = true },
        { grab = dir, recursive = true },
        { place = 5, target = none, optional = true },
        { target = "/dev/null/x", type = "tmpfs", optional = true },
      } }) })
      refused("bind", none, errno.ENOENT,
        output(box { "true", new = { "mnt" }, mounts = { { grab = none } } }))
      refused("attr", none, errno.ENOENT,
        output(box { "true", new = { "mnt" }, mounts = { { attr = none, set = { "ro" } } } }))
      refused("bind", none, errno.ENOENT, output(box { "true", new = { "mnt" },
        mounts = { { grab = dir, recursive = true }, { place = 1, target = none } } }))
      refused("mount", dir, errno.ENODEV, output(box { "true", new = { "mnt" },
        mounts = { { target = dir, type = "nsboxfs", optional = true } } }))
    end)

    it("takes the terminal of a stream, and says where there is none", function()
      local t <close> = require "terminal"()
      local target = tmpdir() .. "/console"
      spew(target, "")
      local function plan(o)
        o[1], o.new = "stat -c %t:%T " .. target, { "mnt" }
        o.mounts = { { terminal = true, try = o.try }, { place = 1, target = target } }
        o.try = nil
        return output(box(o))
      end
      local null <close> = fd.open("/dev/null", "rdwr")
      assert.equal((sh("stat -c %t:%T " .. t.path)), (plan { stdin = t.fd }))
      assert.equal("0:0\n", (plan { stdin = null, stderr = null, try = true }))
      refused("bind", nil, errno.ENOENT, plan { stdin = null, stderr = null })
    end)

    it("a new /proc with nothing but the box in it", function()
      needs("procmount", "pidns")
      assert.equal("/proc/1\n", (output(box { "echo /proc/[0-9]*", new = { "mnt", "pid" },
        mounts = { { target = "/proc", type = "proc" } } })))
    end)

    it("lets no directory of the host be the way out", function()
      local outside <close> = assert(fd.open("/tmp", { "path", "directory" }))
      local path = "/proc/self/fd/" .. outside:fileno()
      for _, gate in ipairs { false, true } do
        refused("cwd", path, errno.ENOENT, output(box { "pwd", new = { "mnt" }, keep = { outside },
          cwd = path, gate = gate }))
      end
    end)
  end)

  it("writes files", function()
    local dir = tmpdir()
    spew(dir .. "/file", "")
    local score = tonumber(slurp "/proc/self/oom_score_adj") + 1
    assert.equal(score .. "\n", (output { "cat /proc/self/oom_score_adj", writes = {
      { dir .. "/file", "hello" },
      { dir .. "/none", "x", optional = true },
      { "/proc/self/oom_score_adj", tostring(score) },
    } }))
    assert.equal("hello", slurp(dir .. "/file"))
    refused("write", dir .. "/none", errno.ENOENT,
      output { "true", writes = { { dir .. "/none", "x" } } })
    refused("write", "/proc/self/oom_score_adj", errno.EINVAL,
      output { "true", writes = { { "/proc/self/oom_score_adj", "much" } } })
  end)

  -- privilege ----------------------------------------------------------------

  it("sets all five sets of capabilities", function()
    needs "maps"
    local bit = { chown = 1 << 0, kill = 1 << 5, net_admin = 1 << 12, sys_chroot = 1 << 18 }
    for _, more in ipairs { {}, { gate = true }, { init = true }, { uid = 0 } } do
      more.caps = {
        bounding = { "chown", "kill", "net_admin", "sys_chroot" },
        permitted = { "chown", "kill", "net_admin" },
        effective = { "chown" },
        inheritable = { "kill", "net_admin" },
        ambient = { "kill" },
      }
      -- uid 0 inside would get all of the bounding set from exec
      local uid, gid = process.geteuid()
      more.maps = { uid = { { 7, uid, 1 } }, gid = { { 7, gid, 1 } }, setgroups = "deny" }
      if more.uid then more.uid, more.gid = 7, 7 end
      more.argv = { "/bin/cat", "/proc/self/status" }
      local text, how, value = output(box(more))
      assert.same({ "exit", 0 }, { how, value })
      local masks = {}
      for name, mask in text:gmatch "Cap(%u%l+):%s*(%x+)" do masks[name] = tonumber(mask, 16) end
      assert.same({
        Bnd = bit.chown | bit.kill | bit.net_admin | bit.sys_chroot,
        Inh = bit.kill | bit.net_admin,
        Prm = bit.kill, -- what exec leaves an ordinary user
        Eff = bit.kill,
        Amb = bit.kill,
      }, masks)
    end
  end)

  it("keeps root inside to its bounding set", function()
    needs "maps"
    local text = output(box { argv = { "/bin/cat", "/proc/self/status" },
      caps = { bounding = { "chown" }, permitted = { "chown" } } })
    for _, name in ipairs { "Bnd", "Prm", "Eff" } do
      assert.matches("Cap" .. name .. ":%s*0000000000000001\n", text)
    end
    text = output(box { argv = { "/bin/cat", "/proc/self/status" },
      caps = { bounding = {}, permitted = {} } })
    for _, name in ipairs { "Bnd", "Prm", "Eff", "Amb", "Inh" } do
      assert.matches("Cap" .. name .. ":%s*0000000000000000\n", text)
    end
  end)

  it("explains capabilities that the caller has not #user", function()
    refused("bounding", nil, errno.EPERM,
      output { "true", caps = { bounding = { "chown" } } })
    refused("caps", nil, errno.EPERM, output { "true", caps = { bounding = "all",
      permitted = { "chown" } } })
  end)

  it("gives up ids for good as root #root", function()
    local p, finish = hold { uid = 12345, gid = 54321, groups = { 7 } }
    local s = c.status(p:pid())
    assert.same({ "12345", "12345", "12345", "12345" }, words(s.Uid))
    assert.same({ "54321", "54321", "54321", "54321" }, words(s.Gid))
    assert.same({ "7" }, words(s.Groups))
    assert.matches("^0+$", s.CapPrm)
    finish()
    p, finish = hold { uid = 12345, caps = { permitted = { "kill" }, inheritable = { "kill" },
      ambient = { "kill" } } }
    assert.equal(1 << 5, tonumber(c.status(p:pid()).CapEff, 16))
    finish()
  end)

  it("sets no_new_privs and a session", function()
    for _, more in ipairs { {}, { gate = true }, { init = true } } do
      more.no_new_privs, more.setsid = true, true
      more[1] = "grep NoNewPrivs /proc/self/status; echo $$; cut -d' ' -f6 /proc/$$/stat"
      local nnp, pid, session = table.unpack(words(output(more):gsub("^%S+", "")))
      assert.same({ "1", pid }, { nnp, session })
    end
    assert.equal(c.status "self".NoNewPrivs,
      (output { "grep NoNewPrivs /proc/self/status" }):match "%d")
  end)

  -- its life -----------------------------------------------------------------

  -- kills a host that has started the plan, and waits for the end of that
  local function orphan(plan)
    local r, w = assert(fd.pipe())
    local child, out = assert(process.clone({}, function()
      local p = assert(process.spawn(plan))
      if plan.gate == "open" then assert(p:start()) end
      assert(w:write(p:pid() .. "\n"))
      local block, held = fd.pipe()
      block:read()
      held:close()
    end))
    w:close()
    c.await(r:fileno(), "the host")
    local pid = tonumber(r:read())
    r:close()
    if not pid then
      local text = c.drain(out)
      ending(child)
      error(select(2, process.results(text)))
    end
    local p = assert(process.open(pid))
    child:kill "KILL"
    ending(child)
    out:close()
    c.await(p:fileno(), "the program")
    p:close()
  end

  it("ends with the host when told to by pdeathsig", function()
    local argv = { "/bin/sleep", "1000" }
    orphan { argv = argv, pdeathsig = "KILL" }
    orphan { argv = argv, pdeathsig = "SIGTERM" }
    orphan { argv = argv, pdeathsig = "KILL", no_new_privs = true }
    if require("nsbox.probe").check "maps" then
      orphan(box { argv = argv, pdeathsig = "KILL", new = { "pid", "mnt" } })
      orphan(box { argv = argv, pdeathsig = "KILL", uid = 0, gid = 0 })
      orphan(box { argv = argv, pdeathsig = "KILL", init = true })
    end
  end)

  it("ends with the host when it was made in a joined pid namespace", function()
    needs("maps", "pidns")
    local p, finish = hold(box { new = { "pid" } })
    local join = { assert(sys.ns.open(p:pid(), "user")), assert(sys.ns.open(p:pid(), "pid")) }
    orphan { argv = { "/bin/sleep", "1000" }, pdeathsig = "KILL", join = join }
    join[1]:close()
    join[2]:close()
    finish()
  end)

  it("does not start for a host that died meanwhile", function()
    local object = tmpdir() .. "/orphan.so"
    local out, status = sh(("%s -O1 -Wall -Wextra -Werror -D_GNU_SOURCE -shared -fPIC -o %s "
      .. "spec/orphan.c"):format(os.getenv "CC" or "cc", object))
    assert(status == 0, out)
    local function start(signal)
      return (c.script(([[
        local process = require "nsbox.sys.process"
        process.spawn { argv = { "/bin/echo", "started" }, pdeathsig = %s }
        print "survived"
      ]]):format(signal), "LD_PRELOAD=" .. object))
    end
    assert.matches("started", start "nil") -- without the signal it does
    assert.is_nil(start '"KILL"':find "started")
  end)

  it("ends with the host at its gate, and with nsbox-init", function()
    local argv = { "/bin/sleep", "1000" }
    orphan { argv = argv, gate = true }
    orphan { argv = argv, init = true }
    if require("nsbox.probe").check "maps" then
      orphan(box { argv = argv, gate = true, new = { "pid" } })
      orphan(box { argv = argv, init = true, new = { "pid" } })
    end
  end)

  it("ends the program of an nsbox-init without a pid namespace, too", function()
    local r, w = assert(fd.pipe())
    local child, out = assert(process.clone({}, function()
      assert(process.spawn { argv = { "/bin/sh", "-c", "echo; exec sleep 1000" }, env = {},
        stdout = w, init = true })
      w:close()
      local block, held = fd.pipe()
      block:read()
      held:close()
    end))
    w:close()
    c.await(r:fileno(), "the program")
    assert.equal("\n", r:read())
    child:kill "KILL"
    ending(child)
    out:close()
    assert.equal("", c.drain(r)) -- the program held the other end
  end)

  describe("with a gate #uml", function()
    it("waits with its set-up done, and goes on when told to", function()
      needs("maps", "utsns")
      local dir = tmpdir()
      local r, w = assert(fd.pipe())
      local p = assert(process.spawn(box { argv = { "/bin/sh", "-c", "echo ran; uname -n" },
        env = { "PATH=/bin:/usr/bin" }, stdout = w, new = { "mnt", "uts" }, hostname = "gate",
        mounts = { { target = dir, type = "tmpfs" } }, gate = true }))
      w:close()
      assert.equal("nsbox-init\n", slurp(("/proc/%d/comm"):format(p:pid())))
      assert.equal("tmpfs", mount_at(p, dir).type)
      assert.same({ "0 " .. process.geteuid() .. " 1" }, map_of(p, "uid_map"))
      assert.is_nil((p:status()))
      assert.equal(p, assert(p:start()))
      assert.equal("ran\ngate\n", c.drain(r))
      assert.error_matches(function() p:start() end, "waits at no gate")
      assert.same({ "exit", 0 }, { ending(p) })
    end)

    it("holds no descriptor of the host while it waits", function()
      local file <close> = assert(io.open "/dev/null")
      local kept <close> = assert(fd.open("/dev/null", "rdonly"))
      local p = assert(process.spawn { argv = { "/bin/true" }, keep = { kept }, gate = true })
      local list = {}
      for _, name in ipairs(entries(("/proc/%d/fd"):format(p:pid()))) do
        if tonumber(name) > 2 then
          list[#list + 1] = sh(("readlink /proc/%d/fd/%s"):format(p:pid(), name))
        end
      end
      table.sort(list)
      assert.equal(2, #list) -- the one kept, the control socket
      assert.equal("/dev/null\n", list[1])
      assert.matches("^socket:", list[2])
      assert(p:start())
      assert.same({ "exit", 0 }, { ending(p) })
      assert(file)
    end)

    it("may be killed before it opens", function()
      local p = assert(process.spawn { argv = { "/bin/true" }, gate = true })
      assert(p:kill "KILL")
      c.await(p:fileno())
      assert.same({ "signal", "KILL" }, { p:status() })
      p:close()
      p = assert(process.spawn { argv = { "/bin/true" }, gate = true })
      assert(p:kill "KILL")
      c.await(p:fileno())
      refused("gate", nil, errno.ESRCH, p:start())
      assert.error_matches(function() p:status() end, "closed")
    end)

    it("is not taken for reached when the child is killed on its way", function()
      local dir = tmpdir()
      sh(("mkfifo %s/a %s/b"):format(dir, dir))
      -- the child comes past the first, and waits at the second
      spew(dir .. "/helper", ([[
        ( read line < %s/a
          for p in $(cat /proc/$$/task/$$/children); do
            grep -q victim /proc/$p/comm && kill -9 $p
          done ) &
        exec "$@"
      ]]):format(dir))
      for _, case in ipairs {
        { "process.spawn(plan)", "gate", 'argv = { "/bin/true" }, gate = true,' },
        { "process.clone(plan, print)", "started", "" },
      } do
        local out = c.script(([[
          local process = require "nsbox.sys.process"
          local plan = require "children".box { %s
            writes = { { "/proc/self/comm", "victim" }, { "%s/a", "x" }, { "%s/b", "x" } } }
          print(%s)
        ]]):format(case[3], dir, dir, case[1]), "sh " .. dir .. "/helper env")
        assert.equal(("nil\t%s: No such process\t3\t%s\tnil\n"):format(case[2], case[2]), out)
      end
    end)

    it("leaves nothing when it is closed, or forgotten", function()
      local pids = {}
      do
        local p <close> = assert(process.spawn { argv = { "/bin/true" }, gate = true })
        pids[1] = p:pid()
        local q = assert(process.spawn { argv = { "/bin/true" }, gate = true, init = true })
        pids[2] = q:pid()
        q:close()
        q:close()
        pids[3] = assert(process.spawn { argv = { "/bin/true" }, gate = true }):pid()
      end
      collectgarbage()
      collectgarbage()
      for _, pid in ipairs(pids) do assert.is_nil((slurp(("/proc/%d/stat"):format(pid)))) end
    end)

    it("belongs to the process that made it: a copy in a child does not end it", function()
      local p = assert(process.spawn { argv = { "/bin/true" }, gate = true })
      local child, out = assert(process.clone({}, function() p:close() end))
      c.drain(out)
      assert.same({ "exit", 0 }, { ending(child) })
      assert.is_nil((p:status()))
      assert(p:start())
      assert.same({ "exit", 0 }, { ending(p) })
    end)

    it("tells a failure behind it as one before it", function()
      local p = assert(process.spawn { argv = { "/nonexistent/program" }, gate = true })
      refused("exec", "/nonexistent/program", errno.ENOENT, p:start())
      assert.equal("nsbox.process (closed)", tostring(p))
    end)
  end)

  describe("with nsbox-init #uml", function()
    local function start(command, plan)
      plan = plan or {}
      plan.argv, plan.init = { "/bin/sh", "-c", command }, true
      plan.env = { "PATH=/usr/bin:/bin" }
      local r, w = assert(fd.pipe())
      plan.stdout = w
      local p = assert(process.spawn(plan))
      w:close()
      return p, r
    end

    local function shapes()
      local list = { {} }
      if require("nsbox.probe").check "pidns" then
        list[2] = box { new = { "pid" } }
      end
      return list
    end

    it("reports the program's own status #valgrind", function()
      for _, plan in ipairs(shapes()) do
        for command, want in pairs { ["exit 0"] = { "exit", 0 }, ["exit 137"] = { "exit", 137 },
          ["kill -KILL $$"] = { "signal", "KILL" }, ["kill -TERM $$"] = { "signal", "TERM" },
          ["exit 255"] = { "exit", 255 } } do
          local p, r = start(command, plan)
          assert.equal("", c.drain(r))
          assert.same(want, { ending(p) })
        end
      end
    end)

    it("ends when the program does, and takes the rest with it", function()
      needs("maps", "pidns")
      local p, r = start("sleep 1000 & echo $!", box { new = { "pid" } })
      assert.same({ "exit", 0 }, { ending(p) })
      assert.matches("^%d+\n$", c.drain(r)) -- sleep held the other end
    end)

    it("reaps orphans", function()
      for _, plan in ipairs(shapes()) do
        -- a zombie would answer kill -0 for ever
        local p, r = start([[
          o=$(sh -c 'sh -c : >/dev/null & echo $!')
          while kill -0 $o 2>/dev/null; do :; done
          echo reaped]], plan)
        assert.equal("reaped\n", c.drain(r))
        assert.same({ "exit", 0 }, { ending(p) })
      end
    end)

    it("forwards signals", function()
      for _, plan in ipairs(shapes()) do
        local p, r = start([[
          for s in TERM INT HUP USR1; do trap "echo $s" $s; done
          sleep 1000 >/dev/null &
          trap "kill -9 $!; echo WINCH; exit 3" WINCH
          echo ready
          while :; do wait; done]], plan)
        c.await(r:fileno(), "the program")
        assert.equal("ready\n", r:read())
        for _, name in ipairs { "TERM", "INT", "HUP", "USR1", "WINCH" } do
          assert(p:kill(name))
          c.await(r:fileno(), "the program")
          assert.equal(name .. "\n", r:read())
        end
        assert.equal("", c.drain(r))
        assert.same({ "exit", 3 }, { ending(p) })
      end
    end)

    it("dies of KILL, and its program with it", function()
      for _, plan in ipairs(shapes()) do
        local p, r = start("echo ready; exec sleep 1000", plan)
        c.await(r:fileno(), "the program")
        assert.equal("ready\n", r:read())
        assert(p:kill "KILL")
        assert.same({ "signal", "KILL" }, { ending(p) })
        assert.equal("", c.drain(r))
      end
    end)

    it("ends when its handle is closed", function()
      -- in a child: nobody can wait for what has no handle
      local child, out = assert(process.clone({}, function()
        local p, r = start "exec sleep 1000"
        local watch <close> = assert(process.open(p:pid()))
        p:close()
        c.await(watch:fileno())
        return c.drain(r)
      end))
      assert.same({ true, "" }, { process.results(c.drain(out)) })
      ending(child)
    end)

    it("is small, and holds nothing of the caller", function()
      local file <close> = assert(io.open "/dev/null") -- not close-on-exec
      for _, plan in ipairs(shapes()) do
        local p, finish
        plan.init = true
        plan.keep = { file }
        p, finish = hold(plan)
        local dir = "/proc/" .. p:pid()
        assert.equal("nsbox-init\n", slurp(dir .. "/comm"))
        local pss = tonumber(slurp(dir .. "/smaps_rollup"):match "Pss:%s+(%d+) kB")
        assert.is_true(pss <= 100, pss .. " kB")
        local list = {}
        for _, name in ipairs(entries(dir .. "/fd")) do
          list[#list + 1] = sh(("readlink %s/fd/%s"):format(dir, name)):gsub("%d+", "N")
        end
        table.sort(list)
        assert.same({ "anon_inode:[signalfd]\n", "socket:[N]\n" }, list)
        assert.equal("/\n", (sh("readlink " .. dir .. "/cwd")))
        assert.same({ "exit", 0 }, { finish() })
      end
    end)
  end)

  -- joining ------------------------------------------------------------------

  describe("joins", function()
    needs("maps", "pidns", "utsns", "ipcns", "netns")

    local all = { "mnt", "uts", "ipc", "pid", "net" }

    local function with_box(f)
      local p, finish = hold(box { new = all, hostname = "joined" })
      local handles = {}
      local function open(...)
        local list = {}
        for i, kind in ipairs { ... } do
          list[i] = assert(sys.ns.open(p, kind))
          handles[#handles + 1] = list[i]
        end
        return list
      end
      local ok, message = pcall(f, open, p)
      for _, h in ipairs(handles) do h:close() end
      finish()
      if not ok then error(message, 0) end
    end

    it("each kind of a running box, by way of its user namespace", function()
      with_box(function(open)
        local outer = here()
        for _, kind in ipairs(all) do
          local join = open("user", kind)
          local inner = namespaces((output { LIST, join = join }))
          for _, other in ipairs(kinds) do
            if other == kind or other == "user" then
              assert.not_equal(outer[other], inner[other])
            else
              assert.equal(outer[other], inner[other])
            end
          end
          local _, inode = join[2]:id()
          assert.equal(tostring(inode), inner[kind])
        end
      end)
    end)

    it("all of them, in any order, with more to come", function()
      with_box(function(open)
        local join = open("pid", "net", "mnt", "user", "ipc", "uts")
        for _, more in ipairs { {}, { gate = true }, { init = true }, { new = { "mnt" } },
          { new = { "cgroup" }, gate = true } } do
          more[1], more.join = "uname -n; id -u; " .. LIST, join
          local text, how, value = output(more)
          assert.same({ "exit", 0 }, { how, value })
          assert.matches("^joined\n0\n", text)
          local inner = namespaces(text)
          for _, h in ipairs(join) do
            local _, inode = h:id()
            if h:kind() ~= (more.new or {})[1] then
              assert.equal(tostring(inode), inner[h:kind()])
            end
          end
        end
      end)
    end)

    it("and makes the program a child there", function()
      with_box(function(open, holder)
        local p, finish = hold { join = open("user", "pid") }
        assert.matches("%s[2-9]%d*$", c.status(p:pid()).NSpid)
        assert.equal(c.status(holder:pid()).NSpid:match "^%d+", tostring(holder:pid()))
        finish()
      end)
    end)

    it("and makes a user namespace below", function()
      with_box(function(open)
        for _, more in ipairs { {}, { gate = true } } do
          more[1] = "uname -n; id -u; cat /proc/self/uid_map"
          more.join = open("user", "uts")
          more.new = { "user" }
          more.maps = { uid = { { 5, 0, 1 } }, gid = { { 5, 0, 1 } }, setgroups = "deny" }
          local text, a, b, d = output(more)
          assert(text, a)
          assert.same({ text, a, b, d }, { "joined\n5\n" .. text:match "\n5\n(.*)", "exit", 0 })
        end
      end)
    end)

    it("and makes a user namespace with ranges, as root #root", function()
      needs "timens"
      local own <close> = assert(sys.ns.open(process.getpid(), "uts"))
      local ranges = { { 0, 100000, 65536 }, { 65536, 1, 1 } }
      for _, gate in ipairs { false, true } do
        local text, how, value = output { "cat /proc/self/uid_map", join = { own }, gate = gate,
          new = { "user", "pid", "time" }, maps = { uid = ranges, gid = ranges }, uid = 65536 }
        assert.same({ "0", "100000", "65536", "65536", "1", "1" }, words(text))
        assert.same({ "exit", 0 }, { how, value })
      end
    end)

    it("what it may not, and names it #user", function()
      local own <close> = assert(sys.ns.open(process.getpid(), "uts"))
      refused("setns", "uts", errno.EPERM, output { "true", join = { own } })
      local user <close> = assert(sys.ns.open(process.getpid(), "user"))
      refused("setns", "user", errno.EINVAL, output { "true", join = { user } })
    end)

    it("a pid namespace without its first process, and says what is wrong", function()
      local h
      do
        local p, finish = hold(box { new = { "pid" } })
        h = { assert(sys.ns.open(p, "user")), assert(sys.ns.open(p, "pid")) }
        finish()
      end
      refused("fork", nil, errno.ENOMEM, output { "true", join = h })
      h[1]:close()
      h[2]:close()
    end)
  end)
end)

describe("a process handle", function()
  it("is made of any pid, and says nothing of what is not its child", function()
    local p = assert(process.open(process.getpid()))
    assert.equal(process.getpid(), p:pid())
    assert.same({ n = 1 }, table.pack(p:status()))
    assert.equal("nsbox.process (pid " .. process.getpid() .. ")", tostring(p))
    assert.matches("anon_inode:.*pidfd", (sh(("readlink /proc/%d/fd/%d"):format(
      process.getpid(), p:fileno()))))
    p:close()
    assert.equal("nsbox.process (closed)", tostring(p))
    assert.same({ n = 3, nil, "pid 4194304: No such process", errno.ESRCH },
      table.pack(process.open(1 << 22)))
    assert.error_matches(function() process.open(0) end, "not a pid")
    assert.error_matches(function() process.open "x" end, "number expected")
    assert.error_matches(function() process.open(2 ^ 40) end, "not a pid")
  end)

  it("is no closed one where only a standard stream's number is free", function()
    local out, status = c.script([[
      local process = require "nsbox.sys.process"
      local full = {}
      repeat
        local file = io.open "/dev/null"
        full[#full + 1] = file
      until not file
      io.stdin:close()
      local p, message, errno = process.open(process.getpid())
      full[1]:close()
      os.exit(p == nil and type(message) == "string" and math.type(errno) == "integer")
    ]], "ulimit -n 20;")
    assert.same({ "", 0 }, { out, status })
  end)

  it("raises when it is closed", function()
    local p, finish = hold {}
    finish()
    for _, method in ipairs { "status", "kill", "fileno", "start" } do
      assert.error_matches(function() p[method](p, "TERM") end, "closed nsbox.process")
    end
    p:close()
    assert.is_number(p:pid())
  end)

  it("sends signals by name, and refuses others", function()
    local p, finish = hold {}
    assert.error_matches(function() p:kill "SIGNOPE" end, "unknown signal 'NOPE'")
    assert.error_matches(function() p:kill() end, "bad argument")
    assert.error_matches(function() p:start() end, "waits at no gate")
    assert.is_true(p:kill "SIGTERM")
    assert.same({ "signal", "TERM" }, { finish() })
  end)

  it("remembers the status", function()
    local p, finish = hold {}
    p:kill "KILL"
    c.await(p:fileno())
    assert.same({ "signal", "KILL" }, { p:status() })
    assert.same({ "signal", "KILL" }, { p:status() })
    local ok, _, number = p:kill "TERM"
    assert.same({ nil, errno.ESRCH }, { ok, number })
    finish()
  end)
end)

describe("nsbox.sys.process.chdir #valgrind", function()
  it("goes to a directory by its name or a descriptor", function()
    local before, dir = process.getcwd(), tmpdir()
    finally(function() process.chdir(before) end)
    assert.is_true(process.chdir(dir))
    assert.equal(dir, process.getcwd())
    local f <close> = assert(sys.fd.open(before, { "path", "directory" }))
    assert.is_true(process.chdir(f))
    assert.equal(before, process.getcwd())
    local ok, message, code = process.chdir "/nonexistent"
    assert.same({ nil, "/nonexistent: No such file or directory", errno.ENOENT },
      { ok, message, code })
    assert.has_error(function() process.chdir() end)
  end)
end)

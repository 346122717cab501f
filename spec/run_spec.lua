local run = require "nsbox.run"
local nsbox = require "nsbox"
local boxes = require "boxes"
local inside = require "inside"
local sys = require "nsbox.sys"

local output, misuse, failure = boxes.output, boxes.misuse, boxes.failure

local function script(text, input)
  local file = tmpdir() .. "/script.lua"
  spew(file, text)
  return lua(file, input)
end

describe("nsbox.run", function()
  it("names the line of a mistake through nsbox.try and tail calls", function()
    local out = script [[
local nsbox = require "nsbox"
local function tail(o) return nsbox.run(o) end
for _, f in ipairs {
  function() local v = nsbox.try(nsbox.run, { "true", hostnme = 1 }) return v end,
  function() local v = nsbox.try(nsbox.run, {}) return v end,
  function() local v = tail { "true", tmpfs = "/" } return v end,
  function() local v = nsbox.try(nsbox.run, { "true", maps = "self", namespaces = { "mnt" } })
    return v end,
  function() local v = nsbox.try(nsbox.run, { "true", stdout = "pipe" }) return v end,
} do print(select(2, pcall(f))) end
]]
    local lines = {}
    for line in out:gmatch "script.lua:(%d+): run: " do lines[#lines + 1] = line end
    assert.equal("4 5 6 7 9", table.concat(lines, " "), out)
  end)

  it("has code and hint where no descriptor is left", function()
    local dir, few = tmpdir(), 0
    spew(dir .. "/few.lua", [[
local nsbox = require "nsbox"
local status, e = nsbox.try(nsbox.run, { "true", input = "x", stdout = "capture",
  stderr = "capture" })
print(status or e.code, status or (e.hint or ""):match "RLIMIT_NOFILE")
]])
    -- with one of these the pipes take the last one
    for limit = 6, 12 do
      local out = script(("os.execute 'ulimit -n %d; exec %s %s/few.lua'"):format(limit,
        os.getenv "LUA" or "lua5.4", dir))
      few = few + (out == "EMFILE\tRLIMIT_NOFILE\n" and 1 or 0)
      assert.is_true(out == "EMFILE\tRLIMIT_NOFILE\n" or out == "0\t0\n", out)
    end
    assert.is_true(few > 0)
  end)

  it("says in a word that there is no descriptor to load the rest with", function()
    needs "procmount"
    local dir = tmpdir()
    spew(dir .. "/few.lua", [[
local run = require "nsbox.run"
run { "true" } -- what a launch needs is loaded now
local held = {}
repeat
  local file = io.open "/dev/null"
  held[#held + 1] = file
until not file
print(pcall(run, { "true" }))
]])
    local out = script(("os.execute 'ulimit -n 20; exec %s %s/few.lua'"):format(
      os.getenv "LUA" or "lua5.4", dir))
    assert.matches("^false\trun: .*Too many open files\n$", out)
  end)

  it("says that /proc is not mounted", function()
    needs "maps"
    local texts = table.pack(inside({ "user", "mnt" }, function()
      assert(sys.mount.mount("tmpfs", "/proc", "tmpfs"))
      local out = {}
      for i, f in ipairs { run, nsbox.box, nsbox.netns, nsbox.ns.of, nsbox.ns.list } do
        out[i] = tostring(select(2, nsbox.try(f, i < 4 and { "true" } or nil)))
      end
      return table.unpack(out)
    end))
    assert.equal(5, texts.n)
    for _, text in ipairs(texts) do
      assert.matches("hint: /proc is not mounted here", text)
    end
  end)
end)

describe("nsbox.run refuses, at the caller's line and before anything is done,", function()
  it("what is no table of options", function()
    misuse(nil, "expected a table of options, got nothing")
    misuse(7, "expected a table of options, got a number")
    misuse({}, "which program? the array part is empty")
    misuse({ "" }, "argument 1: expected a program, got an empty string")
    misuse({ "true", [3] = "x" }, "argument 2 is missing")
    misuse({ "true", {} }, "argument 2: expected a string, got a table")
    misuse({ "true", "a\0b" }, "argument 2: 'a\\0b' contains a NUL byte")
  end)

  it("unknown options, with the nearest known one", function()
    misuse({ "true", hostnme = "x" }, "unknown option 'hostnme' (did you mean 'hostname'?)")
    misuse({ "true", time_out = 1 }, "unknown option 'time_out' (did you mean 'timeout'?)")
    misuse({ "true", xyzzy = 1 }, "unknown option 'xyzzy'")
    misuse({ "true", [true] = 1 }, "an option has a name, got true as its key")
  end)

  it("wrong types and NUL bytes", function()
    misuse({ "true", hostname = 5 }, "hostname: expected a string, got a number")
    misuse({ "true", hostname = "a\0b" }, "hostname: 'a\\0b' contains a NUL byte")
    misuse({ "true", hostname = "" }, "hostname: is empty")
    misuse({ "true", hostname = ("h"):rep(65) }, "is too long (65 bytes, at most 64)")
    misuse({ "true", name = ("h"):rep(65) }, "is too long (65 bytes, at most 64)")
    misuse({ "true", cwd = "" }, "cwd: expected a path, got an empty string")
    misuse({ "true", cwd = "/\0" }, "cwd: '/\\0' contains a NUL byte")
    misuse({ "true", init = "yes" }, "init: expected true or false, got a string")
    misuse({ "true", bare = 1 }, "bare: expected true or false")
    misuse({ "true", check = 0 }, "check: expected true or false")
    misuse({ "true", no_new_privs = 0 }, "no_new_privs: expected true or false")
    misuse({ "true", timeout = "5x" }, "timeout: expected a time such as 5 (seconds)")
    misuse({ "true", timeout = -1 }, "timeout: expected a time")
    misuse({ "true", limit = "lots" }, "limit: ")
    misuse({ "true", time_offsets = { boottim = 1 } },
      "unknown option 'boottim' (did you mean 'boottime'?)")
    misuse({ "true", time_offsets = { boottime = "1" } }, "time_offsets: ")
    misuse({ "true", time_offsets = { boottime = 1e11 } }, "time_offsets: ")
  end)

  it("what is no stream", function()
    misuse({ "true", stdin = "capture" }, "stdin: expected one of 'inherit', 'null', 'pipe'")
    misuse({ "true", stdout = "captur" }, "(did you mean 'capture'?)")
    misuse({ "true", stdout = "stdout" }, "stdout: expected one of")
    misuse({ "true", stdout = "pipe" }, "stdout: 'pipe' needs a process to talk to")
    misuse({ "true", stdin = {} }, "stdin: expected 'inherit', 'null', 'pipe', an open file, a "
      .. "descriptor or a function, got a table")
    misuse({ "true", stdin = -1 }, "stdin: expected 'inherit'")
    local file = assert(io.open "/dev/null")
    file:close()
    misuse({ "true", stdin = file }, "got a closed one")
    local handle = assert(sys.fd.open "/dev/null")
    handle:close()
    misuse({ "true", stdout = handle }, "stdout: expected 'inherit', 'null', 'capture', 'pipe', an "
      .. "open file, a descriptor or a function, got a closed one")
    misuse({ "true", stdin = 999 }, "stdin: descriptor 999 is not open")
    misuse({ "true", stdin = 1 << 40 }, "stdin: descriptor 1099511627776 is not open")
    misuse({ "true", input = 5 }, "input: expected a string, got a number")
    misuse({ "true", input = "x", stdin = "null" }, "input: stdin says otherwise")
  end)

  it("what is no environment", function()
    misuse({ "true", env = "PATH" }, "env: expected a table, got a string")
    misuse({ "true", env = { "A=B" } }, "env: 'A=B' is no name of a variable")
    misuse({ "true", env = { [""] = "x" } }, "env: '' is no name of a variable")
    misuse({ "true", env = { A = "x\0y" } }, "env: A: 'x\\0y' contains a NUL byte")
    misuse({ "true", env = { A = true } }, "env: A: expected a string, got true")
  end)

  it("what is no user", function()
    misuse({ "true", user = -1 }, "user: expected an id between 0 and 4294967294")
    misuse({ "true", user = 4294967295 }, "user: expected an id between")
    misuse({ "true", user = 1.5 }, "user: expected an id")
    misuse({ "true", user = "" }, "user: expected a user as a name or an id")
    misuse({ "true", user = "a:" }, "user: expected a group as a name or an id")
    misuse({ "true", user = {} }, "user: expected a user such as 1000")
  end)

  it("what is no map", function()
    local function map(maps, want) misuse({ "true", maps = maps }, want) end
    map("selfish", "maps: expected 'self', 'subuid' or a list")
    map(5, "maps: expected 'self', 'subuid' or a list")
    map({}, "maps: ")
    map({ 0, 1000, 1 }, "each range in braces of its own")
    map({ { 0, -1, 1 } }, "maps[1]")
    map({ { -1, 0, 1 } }, "maps[1]")
    map({ { 0, 1000, 0 } }, "is empty (length 0)")
    map({ { 0, 1000, -5 } }, "maps[1]")
    map({ { 0, 4294967294, 2 } }, "goes beyond the last id")
    map({ { 0, 1 << 40, 1 } }, "maps[1]")
    map({ { 0, 1.5, 1 } }, "maps[1]")
    map({ { 0, "1", 1 } }, "maps[1]")
    map({ { 0, 1, 1, 1 } }, "maps[1]")
    map({ { 0, 1000, 10 }, { 5, 2000, 10 } }, "two ranges overlap inside")
    map({ { 0, 1000, 10 }, { 10, 1005, 10 } }, "two ranges overlap outside")
    map({ uid = { { 0, 1, 1 } } }, "gid")
    map({ uid = { { 0, 1, 1 } }, gid = { { 0, 1, 1 } }, pid = {} }, "got the key pid, too")
  end)

  it("what is no namespace", function()
    local function ns(namespaces, want) misuse({ "true", namespaces = namespaces }, want) end
    ns("net", "namespaces: expected a table, got a string")
    ns({ "nett" }, "(did you mean 'net'?)")
    ns({ nett = true }, "(did you mean 'net'?)")
    ns({ net = {} }, "namespaces: net: expected a pid, a path or a namespace, got a table")
    ns({ net = -1 }, "namespaces: net: expected a pid, got -1")
    ns({ net = 1 << 40 }, "namespaces: net: expected a pid, got 1099511627776")
    ns({ net = "" }, "namespaces: net: expected a path or a name")
    ns({ uts = "blue" }, "'blue' is no path; only network namespaces have names")
    local handle = assert(sys.ns.open "/proc/self/ns/net")
    handle:close()
    ns({ net = handle }, "namespaces: net: expected a namespace, got a closed one")
  end)

  it("what is no mount", function()
    misuse({ "true", bind = 5 }, "bind: expected SRC[:DST[:ro]]")
    misuse({ "true", bind = "/a:b" }, "bind: expected an absolute path, got 'b'")
    misuse({ "true", bind = "/a:/b:rx" }, "bind: expected SRC[:DST[:ro]], got '/a:/b:rx'")
    misuse({ "true", bind = { { "/a", too = "/b" } } }, "unknown option 'too' (did you mean 'to'?)")
    misuse({ "true", bind = { "/a", { "/b", ro = 1 } } }, "bind[2]: ro: expected true or false")
    misuse({ "true", tmpfs = "tmp" }, "tmpfs: expected an absolute path, got 'tmp'")
    misuse({ "true", tmpfs = { "/tmp", size = "big" } }, "tmpfs: ")
    misuse({ "true", tmpfs = { "/tmp", mode = "rwx" } }, "tmpfs: ")
    misuse({ "true", tmpfs = { { "/tmp", sise = 1 } } }, "(did you mean 'size'?)")
    -- one with a named part, not a list that has one
    misuse({ "true", tmpfs = { "/tmp", sise = 1 } }, "(did you mean 'size'?)")
    misuse({ "true", bind = { "/a", too = "/b" } }, "bind: unknown option 'too'")
  end)

  it("lists with a hole, which would lose what comes behind it", function()
    for name, element in pairs { bind = "/usr", tmpfs = "/tmp", caps = "kill", env = "LANG",
      namespaces = "user" } do
      misuse({ "true", [name] = { nil, element } }, name .. ": has a hole (an element is nil)")
      misuse({ "true", [name] = { element, nil, element } }, name .. ": has a hole")
    end
    misuse({ "true", env = { [1.5] = "LANG" } }, "env: has a hole")
  end)

  it("what is no capability", function()
    misuse({ "true", caps = 5 }, "caps: expected a list of capabilities or \"all\", got a number")
    misuse({ "true", caps = { "net_admn" } },
      "caps: 'net_admn' is no capability (did you mean 'net_admin'?)")
    misuse({ "true", caps = { ambiant = {} } },
      "unknown option 'ambiant' (did you mean 'ambient'?)")
    misuse({ "true", caps = "none" }, "caps: 'none' is no capability; {} keeps none")
    misuse({ "true", caps = { ambient = { "root" } } }, "'root' is no capability")
  end)

  it("options that contradict each other", function()
    misuse({ "true", maps = "self", namespaces = { user = false } },
      "maps: need a new user namespace")
    misuse({ "true", hostname = "x", namespaces = { uts = false } },
      "hostname: needs a new uts namespace")
    misuse({ "true", time_offsets = { boottime = 1 }, namespaces = { time = false } },
      "time_offsets: need a new time namespace")
    misuse({ "true", bind = "/usr", namespaces = { mnt = false } },
      "bind: needs a new mnt namespace")
    misuse({ "true", tmpfs = "/tmp", namespaces = { "user" } },
      "tmpfs: needs a new mnt namespace")
  end)
end)

describe("nsbox.run says what failed and what to do:", function()
  needs("maps", "pidns", "procmount")

  local function says(o, first, hint)
    local err, text = failure(o)
    local line, rest = text:match "^([^\n]*)\n?(.*)$"
    assert.equal(first, line)
    if hint then
      assert(rest:find(hint), ("wanted: %s\ngot: %s"):format(hint, rest))
    end
    return err
  end

  it("no such command", function()
    local err = says({ "nonesuch" }, "run: exec nonesuch: No such file or directory (ENOENT)",
      "^  hint: no nonesuch in any directory of PATH %(/usr/local/sbin:")
    assert.same({ "run", "exec", "nonesuch", "ENOENT" },
      { err.op, err.step, err.subject, err.code })
    says({ "/nonesuch" }, "run: exec /nonesuch: No such file or directory (ENOENT)",
      "there is no such file: /nonesuch")
  end)

  it("a file that may not be executed", function()
    says({ "/etc/passwd" }, "run: exec /etc/passwd: Permission denied (EACCES)",
      "^  hint: /etc/passwd is not executable .*chmod %+x$")
    says({ "/etc" }, "run: exec /etc: Permission denied (EACCES)", "/etc is a directory")
  end)

  it("a missing interpreter, a file without one", function()
    local dir = tmpdir()
    os.execute("chmod 755 " .. dir)
    for name, text in pairs { gone = "#!/no/such/sh\n", none = "just text\n" } do
      spew(dir .. "/" .. name, text)
      os.execute("chmod 755 " .. dir .. "/" .. name)
    end
    says({ dir .. "/gone" }, ("run: exec %s/gone: No such file or directory (ENOENT)"):format(dir),
      "exists, but /no/such/sh, its interpreter, does not")
    says({ dir .. "/none" }, ("run: exec %s/none: Exec format error (ENOEXEC)"):format(dir),
      "does not start with #!")
  end)

  it("a missing directory", function()
    says({ "true", cwd = "/no/where" }, "run: cwd /no/where: No such file or directory (ENOENT)",
      "there is no directory /no/where in the box")
    says({ "true", bind = "/no/where:/mnt" },
      "run: bind /no/where: No such file or directory (ENOENT)", "there is no /no/where")
    says({ "true", tmpfs = "/no/where" },
      "run: mount /no/where: No such file or directory (ENOENT)", "there is no /no/where")
  end)

  it("a file that is no namespace, one of another kind, none at all", function()
    says({ "true", namespaces = { net = "/etc/passwd" } },
      "run: open /etc/passwd: not a namespace (EINVAL)", "a namespace is a file such as")
    says({ "true", namespaces = { net = "/proc/self/ns/uts" } },
      "run: open /proc/self/ns/uts: it is a uts namespace, not a net namespace (EINVAL)")
    says({ "true", namespaces = { net = "no-such-name" } },
      "run: open /run/netns/no-such-name: No such file or directory (ENOENT)",
      "there is no network namespace of this name")
    says({ "true", namespaces = { net = "4711" } },
      "run: open /run/netns/4711: No such file or directory (ENOENT)",
      "a pid is a number: net = 4711")
  end)

  it("a dead pid", function()
    local child = assert(sys.process.spawn { argv = { "true" } })
    sys.fd.poll { [child:fileno()] = "r" }
    local pid = child:pid()
    child:status()
    child:close()
    local err = failure { "true", namespaces = { net = pid } }
    assert.matches("there is no process " .. pid, tostring(err))
    assert.equal("open", err.step)
  end)

  it("users that are not in the box's passwd", function()
    says({ "true", user = "nonesuch" },
      "run: user nonesuch: not in the box's /etc/passwd (ENOENT)", "a number needs no entry")
    says({ "true", user = "root:nonesuch" },
      "run: user :nonesuch: not in the box's /etc/group (ENOENT)", "a number needs no entry")
  end)

  it("ids that are not mapped", function()
    says({ "true", user = 1234567, maps = "self" },
      "run: setuid 1234567: Invalid argument (EINVAL)",
      "uid 1234567 has no mapping in the user namespace")
  end)

  it("clocks below zero", function()
    needs "timens"
    says({ "true", time_offsets = { boottime = -1e9 } },
      "run: time_offsets /proc/self/timens_offsets: Numerical result out of range (ERANGE)",
      "an offset may not take a clock below zero")
  end)

  it("limits on namespaces", function()
    local text = inside({ "user" }, function()
      spew("/proc/sys/user/max_uts_namespaces", "0")
      return select(2, failure { "true" })
    end)
    assert.equal("run: clone: No space left on device (ENOSPC)", text:match "^[^\n]*")
    assert.matches("hint: user.max_uts_namespaces is 0: nobody may make them", text)
  end)

  it("a box in a default box, and works in a bare one", function()
    local inner = [[
      local nsbox = require "nsbox"
      print(select(2, nsbox.try(nsbox.run, { "sh", "-c", "exit $$" })))
      print(nsbox.run { "true", namespaces = { pid = false } })]]
    local dir = tmpdir()
    os.execute("chmod 755 " .. dir)
    spew(dir .. "/inner.lua", inner)
    local function outer(o)
      o[1], o[2] = os.getenv "LUA" or "lua5.4", dir .. "/inner.lua"
      o.env = { "*", LUA_PATH = package.path, LUA_CPATH = package.cpath }
      return output(o)
    end
    assert.matches("^run: clone: Operation not permitted %(EPERM%)\n  hint: a seccomp filter is on "
      .. "this process.*%(a box of nsbox: seccomp = false", (outer { stderr = "null" }))
    local text = outer { seccomp = false }
    assert.matches("^run: mount /proc: Operation not permitted %(EPERM%)\n  hint: parts of our own "
      .. "/proc are mounted over .*bare = true.*{ pid = false }%)\n0\texit 0", text)
    assert.matches("^exit 1 in", (outer { bare = true }))
  end)

  -- as an ordinary user with ids of his own, in a mount namespace to lie in
  local function as_user(more, f)
    local ids, dir = sys.process.ids(), tmpdir()
    return inside({ "user", "mnt", maps = { uid = { { 1000, ids.euid, 1 } },
      gid = { { 1000, ids.egid, 1 } }, setgroups = "deny" } }, function()
      for path, text in pairs(more) do
        local copy = dir .. "/" .. path:gsub("/", "_")
        spew(copy, text or slurp(path))
        os.execute("chmod 755 " .. copy)
        assert(sys.mount.mount(copy, path, nil, { "bind" }))
      end
      return f()
    end)
  end

  local PASSWD <const> = "root:x:0:0::/root:/bin/sh\ntester:x:1000:1000::/:/bin/sh\n"
  local TWO <const> = { { 0, 1000, 1 }, { 1, 100000, 10 } }

  it("no entry in /etc/subuid", function()
    local text = as_user({ ["/etc/passwd"] = PASSWD, ["/etc/subuid"] = "other:100000:65536\n" },
      function() return select(2, failure { "true", maps = "subuid" }) end)
    assert.equal("run: subuid /etc/subuid: no range for tester (ENOENT)", text:match "^[^\n]*")
    assert.matches("as root: usermod %-%-add%-subuids 100000%-165535 tester", text)
  end)

  it("two ranges, and a helper that refuses them or has no setuid bit", function()
    needs "subuid"
    local text = as_user({ ["/etc/passwd"] = PASSWD, ["/etc/subuid"] = "" }, function()
      return select(2, failure { "true", maps = TWO })
    end)
    assert.matches("^run: newuidmap: Operation not permitted", text)
    text = as_user({ ["/etc/passwd"] = PASSWD, ["/etc/subuid"] = "tester:100000:65536\n",
      ["/usr/bin/newuidmap"] = false, ["/usr/bin/newgidmap"] = false }, function()
      return select(2, failure { "true", maps = TWO })
    end)
    assert.matches("^run: newuidmap: Operation not permitted", text)
    assert.matches("newuidmap has no setuid bit .*chmod u%+s /usr/bin/newuidmap", text)
  end)

  it("no helper at all", function()
    local text = as_user({ ["/etc/passwd"] = PASSWD }, function()
      for _, dir in ipairs { "/usr/bin", "/bin", "/usr/local/bin" } do
        assert(sys.mount.mount("tmpfs", dir, "tmpfs"))
      end
      return select(2, failure { "true", maps = TWO })
    end)
    assert.matches("^run: newgidmap: the helper is not installed, and a user needs it", text)
    assert.matches("apt%-get install uidmap", text)
  end)
end)

describe("nsbox.run #uml", function()
  needs("maps", "pidns", "procmount")

  it("returns the status and the result", function()
    assert.equal(0, (run "true"))
    local status, result = run { "sh", "-c", "exit 7" }
    assert.equal(7, status)
    assert.equal(7, result.code)
    assert.is_false(result.ok)
    assert.equal("exit", result.reason)
    status, result = run { "sh", "-c", "kill -TERM $$; exit 1", init = true }
    assert.same({ 143, "TERM", "signal" }, { status, result.signal, result.reason })
  end)

  it("launches, feeds, captures and waits #valgrind", function()
    local status, result = run { "sh", "-c", "cat; exit 7", bare = true, input = ("x"):rep(100000),
      stdout = "capture", stderr = function() end }
    assert.same({ 7, 100000 }, { status, #result.stdout })
  end)

  it("defends a box #valgrind", function()
    needs "procmount"
    local out = output { "grep", "-cE", "^(proc|tmpfs|devtmpfs|udev) /proc/", "/proc/mounts" }
    assert.is_true(tonumber(out) > 2, out)
  end)

  it("takes false for none", function()
    needs "procmount"
    local o = { "pwd", cwd = "/usr", stdout = "capture", net = false, dns = false, seccomp = false }
    for _, name in ipairs { "rootfs", "overlay", "devices", "bind", "tmpfs", "timeout" } do
      o[name] = false
    end
    assert.equal("/usr\n", select(2, nsbox.run(o)).stdout)
    misuse({ "true", rootfs = false, overlay = "tmp" }, "overlay: over what?")
  end)

  it("takes numbers as arguments", function()
    assert.equal("1 2.5\n", output { "echo", 1, 2.5 })
  end)

  it("ends a script with the program's status", function()
    local out, status = script 'os.exit(require"nsbox".run { "sh", "-c", "echo hi; exit 3" })'
    assert.equal("hi\n", out)
    assert.equal(3, status)
  end)

  it("closes the Lua state that way", function()
    local out, status = script [[
      local held <close> = setmetatable({}, { __close = function() end })
      setmetatable({}, { __gc = function() print "collected" end })
      os.exit(require"nsbox".run { "sh", "-c", "exit 4" })]]
    assert.equal("collected\n", out)
    assert.equal(4, status)
  end)

  it("raises for a failed program when asked to", function()
    local err = failure { "sh", "-c", "echo no >&2; exit 3", check = true, stderr = "capture" }
    assert.equal("EXIT", err.code)
    assert.equal(3, err.result.status)
    assert.equal("no\n", err.result.stderr)
    assert.matches("^run sh: exit 3 in [%d.]+ s: no %(EXIT%)$", tostring(err))
    assert.equal(0, (run { "true", check = true }))
  end)

  it("keeps that error short", function()
    local err = failure { "sh", "-c", "yes | head -c 100000; yes | head -c 100000 >&2; exit 1",
      check = true, stdout = "capture", stderr = "capture" }
    assert.equal(100000, #err.result.stderr)
    assert.is_true(#tostring(err) < 1000)
  end)

  it("gives nsbox.try the Error, and lets mistakes pass", function()
    local value, err = nsbox.try(run, { "nonesuch" })
    assert.is_nil(value)
    assert.equal("ENOENT", err.code)
    assert.is_false(pcall(nsbox.try, run, { "true", bogus = 1 }))
    assert.equal(0, (nsbox.try(run, "true")))
  end)

  it("prints errors that a reader understands", function()
    local out, status = script 'require"nsbox".run { "nonesuch" }'
    assert.equal(1, status)
    assert.matches("^[^\n]*lua5.4: run: exec nonesuch: No such file or directory %(ENOENT%)\n"
      .. "  hint: no nonesuch in any directory of PATH [^\n]*\n$", out)
  end)

  it("kills the program after a time-out", function()
    local status, result = run { "sleep", "1000", timeout = "50ms" }
    assert.same({ 124, "timeout", "KILL", false },
      { status, result.reason, result.signal, result.ok })
    assert.matches("^killed by KILL: timeout after 0.05 s$", tostring(result))
    status = run { "sleep", "1000", timeout = 0.05, init = true }
    assert.equal(124, status)
    assert.equal(3, (run { "sh", "-c", "exit 3", timeout = "1h" }))
  end)

  it("does not wait for what a program left behind", function()
    local r, w = assert(sys.fd.pipe())
    local out, result = output { "sh", "-c",
      "exec 3<&0; { read x <&3; echo late; } & echo early", stdin = r,
      namespaces = { "user", "mnt" } }
    assert.equal("early\n", out)
    assert.is_true(result.ok)
    w:close()
    r:close()
  end)

  it("takes what a flooding process left behind, and ends", function()
    local r, w = assert(sys.fd.pipe())
    -- it floods until its pipe is closed
    local _, result = output { "sh", "-c", "yes & exit 5", limit = "64K", stdin = r,
      namespaces = { "user", "mnt" } }
    assert.equal(5, result.status)
    w:close()
    r:close()
  end)

  it("ends by Ctrl-C, with its box", function()
    local file = tmpdir() .. "/wait.lua"
    spew(file, 'require"nsbox".run { "sh", "-c", "echo ready; sleep 1000" }')
    local r, w = assert(sys.fd.pipe())
    local errors, ew = assert(sys.fd.pipe())
    local child <close> = assert(sys.process.spawn {
      argv = { os.getenv "LUA" or "lua5.4", file }, stdout = w, stderr = ew,
      env = (function()
        local env = sys.process.environ()
        env[#env + 1] = "LUA_PATH=" .. package.path
        env[#env + 1] = "LUA_CPATH=" .. package.cpath
        return env
      end)() })
    w:close()
    ew:close()
    assert.equal("ready\n", r:read(6))
    -- a signal just before it sleeps would be seen only after the wait
    repeat
      sys.fd.poll({}, 0.005)
    until slurp("/proc/" .. child:pid() .. "/stat"):match "^%d+ %b() (%a)" == "S"
    child:kill "INT"
    sys.fd.poll { [child:fileno()] = "r" }
    assert.same({ "exit", 1 }, { child:status() })
    assert.is_nil(r:read(1)) -- nobody is left who could write
    assert.matches("interrupted!", errors:read(4096))
    r:close()
    errors:close()
  end)

  it("shows with NSBOX_TRACE what it does, in words", function()
    local file = tmpdir() .. "/trace.lua"
    spew(file, 'require"nsbox".run { "true", hostname = "x" }')
    local out = sh(("NSBOX_TRACE=1 LUA_PATH='%s' LUA_CPATH='%s' %s %s"):format(package.path,
      package.cpath, os.getenv "LUA" or "lua5.4", file))
    assert.matches("process.spawn%({", out)
    assert.matches("process.spawn = nsbox.process %(pid %d+%)", out)
    assert.matches('process.status%b() = "exit", 0', out)
  end)

  it("runs a program whose file has capabilities that the box has not #root", function()
    local file = tmpdir() .. "/ping"
    assert.equal("", (sh(("cp /bin/true %s && setcap cap_net_raw+ep %s"):format(file, file))))
    assert.equal(0, (run { file }))
    assert.equal(0, (run { "/mnt/ping", bind = { file:gsub("/ping$", ""), to = "/mnt" } }))
    local err = failure { file, no_new_privs = false }
    assert.same({ "exec", "EPERM" }, { err.step, err.code })
  end)

  it("leaves nothing when a step fails, whichever it is #fault", function()
    local steps = 0
    local file = tmpdir() .. "/fault.lua"
    spew(file, [[
      local nsbox = require "nsbox"
      local status, err = nsbox.try(nsbox.run, { "true", hostname = "x", tmpfs = "/tmp",
        stdout = "capture" })
      print(status == 0 and "ran" or err.code)
      collectgarbage() collectgarbage()
      local children = io.open("/proc/self/task/" .. nsbox.sys.process.getpid() .. "/children")
      assert(children:read "a" == "")]])
    local out, status
    repeat
      steps = steps + 1
      out, status = sh(("NSBOX_FAULT=%d:EIO LUA_PATH='%s' LUA_CPATH='%s' %s %s"):format(steps,
        package.path, package.cpath, os.getenv "LUA" or "lua5.4", file))
      assert.equal(0, status, out)
      assert(out == "ran\n" or out == "EIO\n", out)
    until steps == 80
  end)
end)

-- The options of BOX, each read back from inside the box.

local run = require "nsbox.run"
local boxes = require "boxes"
local sys = require "nsbox.sys"
local inside = require "inside"
local output, new_kinds, failure = boxes.output, boxes.new_kinds, boxes.failure

local function caps(o)
  o[1], o[2], o[3] = "grep", "^Cap", "/proc/self/status"
  local sets = {}
  for name, mask in output(o):gmatch "Cap(%a+):%s*(%x+)" do
    sets[name] = tonumber(mask, 16)
  end
  return sets
end

describe("a box's", function()
  needs("maps", "pidns", "procmount", "netns")

  it("hostname is its own, or its name", function()
    assert.equal("web\n", (output { "hostname", hostname = "web" }))
    assert.equal("shop\n", (output { "hostname", name = "shop" }))
    assert.equal("web\n", (output { "hostname", name = "shop", hostname = "web" }))
    local host = sh "hostname"
    assert.equal(host, (output { "hostname" }))
    assert.equal(64 + 1, #output { "hostname", hostname = ("h"):rep(64) })
    assert.equal("a-1.b2\n", (output { "hostname", hostname = "a-1.b2" }))
    assert.equal("web_1\n", (output { "hostname", name = "web_1" }))
    for _, name in ipairs { "a\n1.2.3.4 b", "a b", "a#b", "-a", "a-", ".a", "a.", "a..b", "a/b" } do
      boxes.misuse({ "hostname", hostname = name }, "hostname: expected a host name")
      boxes.misuse({ "hostname", name = name }, "name: expected a host name")
    end
  end)

  it("namespaces are exactly those of a list", function()
    assert.equal("user mnt", new_kinds { namespaces = { "user", "mnt" } })
    assert.equal("user", new_kinds { namespaces = { "user" } })
    assert.equal("user mnt pid uts", new_kinds { namespaces = { "uts", "user", "pid", "mnt" } })
  end)

  it("namespaces are adjusted by name", function()
    assert.equal("user mnt pid uts ipc cgroup", new_kinds { namespaces = { net = false } })
    assert.equal("user mnt", new_kinds { namespaces = { "user", "mnt", "net", net = false } })
  end)

  it("time namespace is new when asked for #uml", function()
    needs "timens"
    assert.equal("user mnt pid net uts ipc cgroup time", new_kinds { namespaces = { time = true } })
  end)

  it("/proc is the caller's where the pid namespace is", function()
    local out = output { "readlink", "/proc/self", namespaces = { pid = false } }
    assert.is_true(tonumber(out) > 1)
    -- masked and read-only all the same
    out = output { "sh", "-c", "echo x >/proc/sys/kernel/domainname", stderr = "stdout",
      namespaces = { pid = false } }
    assert.matches("Read%-only file system", out)
  end)

  -- an idle process in namespaces of its own
  local function holder(kinds)
    local ids = sys.process.ids()
    local plan = { argv = { "sleep", "1000" }, new = kinds, pdeathsig = "KILL" }
    if kinds[1] == "user" then
      plan.maps = { uid = { { 0, ids.euid, 1 } }, gid = { { 0, ids.egid, 1 } },
        setgroups = "deny" }
    end
    local p = assert(sys.process.spawn(plan))
    return setmetatable({ pid = p:pid(), handle = p }, { __close = function()
      p:kill "KILL"
      sys.fd.poll { [p:fileno()] = "r" }
      p:status()
      p:close()
    end })
  end

  local function id_in(pid, kind)
    return require("lfs").symlinkattributes(("/proc/%d/ns/%s"):format(pid, kind), "target")
  end

  it("namespaces are joined by pid, path, handle or process #uml", function()
    local held <close> = holder { "user", "net", "uts" }
    local path = ("/proc/%d/ns/uts"):format(held.pid)
    local handle <close> = assert(sys.ns.open(path))
    for _, uts in ipairs { held.pid, path, handle, held.handle } do
      local out = output { "sh", "-c", "readlink /proc/self/ns/uts /proc/self/ns/user; id -u",
        namespaces = { "mnt", "pid", user = held.pid, uts = uts } }
      assert.equal(id_in(held.pid, "uts") .. "\n" .. id_in(held.pid, "user") .. "\n0\n", out)
    end
    assert.equal("uts", handle:kind()) -- what was given stays open
  end)

  it("namespaces opened for a launch are closed whatever fails", function()
    local before = #entries "/proc/self/fd"
    collectgarbage "stop"
    finally(function() collectgarbage "restart" end)
    for _, o in ipairs {
      { "true", user = "nobody of this name" },
      { "/no/such/program" },
      { "true", namespaces = { net = "/proc/self/ns/none" } },
    } do
      o.namespaces = o.namespaces or {}
      o.namespaces.uts, o.namespaces.ipc = "/proc/self/ns/uts", "/proc/self/ns/ipc"
      failure(o)
      assert.equal(before, #entries "/proc/self/fd")
    end
  end)

  it("working directory stays the caller's in a joined mount namespace", function()
    local held <close> = holder { "user", "mnt" }
    local out = output { "sh", "-c", "readlink /proc/self/ns/mnt; /bin/pwd",
      namespaces = { "uts", user = held.pid, mnt = held.pid } }
    assert.equal(id_in(held.pid, "mnt") .. "\n" .. require("lfs").currentdir() .. "\n", out)
  end)

  it("namespaces cannot be joined without power over them #user", function()
    local held <close> = holder { "user", "net" }
    local err = failure { "true", namespaces = { net = held.pid } }
    assert.same({ "setns", "EPERM" }, { err.step, err.code })
    assert.matches("join that user namespace", tostring(err))
  end)

  it("network namespace is joined by its name #root #uml", function()
    needs "root"
    local name = "nsbox-spec-" .. sys.process.getpid()
    local want, out = inside({ "mnt" }, function()
      assert(sys.mount.propagation("/", "private", true))
      assert(sh("ip netns add " .. name) == "")
      local there = sh("ip netns exec " .. name .. " readlink /proc/self/ns/net")
      local found = output { "readlink", "/proc/self/ns/net", bare = true,
        namespaces = { "mnt", net = name } }
      sh("ip netns del " .. name)
      return there, found
    end)
    assert.matches("^net:", want)
    assert.equal(want, out)
  end)

  it("maps are the own ids", function()
    local out = output { "sh", "-c", "cat /proc/self/uid_map /proc/self/gid_map", maps = "self" }
    local ids = sys.process.ids()
    assert.matches(("^ *0 +%d +1\n *0 +%d +1\n$"):format(ids.euid, ids.egid), out)
  end)

  it("maps are those of /etc/subuid", function()
    needs "subuid"
    local out = output { "sh", "-c", "wc -l </proc/self/uid_map; id -u; cat /proc/self/setgroups",
      maps = "subuid" }
    assert.equal("2\n0\nallow\n", out)
  end)

  it("maps are ranges, one list for both or one each", function()
    local ids = sys.process.ids()
    local function maps(uid, gid)
      return output { "sh", "-c", "cat /proc/self/uid_map /proc/self/gid_map; id -u; id -g",
        maps = { uid = { { uid, ids.euid, 1 } }, gid = { { gid, ids.egid, 1 } } },
        user = uid .. ":" .. gid }
    end
    assert.matches(("^ *0 +%d +1\n *0 +%d +1\n0\n0\n$"):format(ids.euid, ids.egid), maps(0, 0))
    assert.matches(("^ *5 +%d +1\n *7 +%d +1\n5\n7\n$"):format(ids.euid, ids.egid), maps(5, 7))
    if ids.euid == ids.egid then
      assert.matches(("^ *0 +%d +1\n$"):format(ids.euid), (output { "cat", "/proc/self/uid_map",
        maps = { { 0, ids.euid, 1 } } }))
    end
  end)

  it("maps may have several ranges #root", function()
    needs "root"
    local out = output { "cat", "/proc/self/uid_map",
      maps = { { 0, 100000, 1000 }, { 5000, 300000, 10 }, { 4000000000, 3000000000, 1 } } }
    local got = {}
    for n in out:gmatch "%d+" do got[#got + 1] = tonumber(n) end
    assert.same({ 0, 100000, 1000, 5000, 300000, 10, 4000000000, 3000000000, 1 }, got)
  end)

  it("init is pid 1, reaps, and reports the program's end", function()
    needs "memfd_exec"
    local out = output { "sh", "-c", "echo $$ $PPID; (sh -c 'sleep 0 & exit'); exit 0",
      init = true }
    assert.equal("2 1\n", out)
    assert.equal(9, (run { "sh", "-c", "exit 9", init = true }))
    local _, r = run { "sh", "-c", "kill -KILL $$", init = true }
    assert.same({ 137, "KILL" }, { r.status, r.signal })
    assert.equal("exec", failure({ "nonesuch", init = true }).step)
  end)

  it("bare form has namespaces and maps, and no defence #uml", function()
    local out = output { "sh", "-c", "grep NoNewPrivs /proc/self/status; cut -d' ' -f 6 "
      .. "/proc/1/stat; ! grep -c ' /proc/keys ' /proc/self/mountinfo", bare = true }
    assert.matches("^NoNewPrivs:\t0\n0\n0\n$", out)
    assert.equal((1 << #sys.cap.names()) - 1, caps({ bare = true }).Eff)
    local dir = tmpdir()
    run { "sh", "-c", "echo x >" .. dir .. "/file", bare = true, maps = "self" }
    assert.equal("x\n", slurp(dir .. "/file"))
    assert.equal("user mnt pid net uts ipc cgroup", new_kinds { bare = true })
  end)

  it("binds show directories and files, writable or not #uml", function()
    local dir = tmpdir()
    spew(dir .. "/f", "hello\n")
    local function with(bind, command)
      return output { "sh", "-c", command, bind = bind, maps = "self", stderr = "stdout" }
    end
    assert.equal("hello\n", with(dir .. ":/mnt", "cat /mnt/f; echo new >/mnt/g"))
    assert.equal("new\n", slurp(dir .. "/g"))
    assert.matches("Read%-only", with(dir .. ":/mnt:ro", "echo x >/mnt/h"))
    assert.matches("Read%-only", with({ dir, to = "/mnt", ro = true }, "echo x >/mnt/h"))
    assert.equal("hello\n", with({ { dir .. "/f", to = "/etc/hostname" } }, "cat /etc/hostname"))
    assert.equal("", with(dir, "echo own >" .. dir .. "/own"))
    assert.equal("own\n", slurp(dir .. "/own"))
    assert.equal("hello\nhello\n", with({ dir .. ":/mnt", { dir .. "/f", to = "/etc/hostname" } },
      "cat /mnt/f /etc/hostname"))
    assert.is_truthy(with("spec:/mnt", "ls /mnt"):find("box_spec.lua", 1, true))
    -- a tmpfs below a bind, the working directory in a bind
    assert.equal("hello\n", with(dir, "cd " .. dir .. "; cat f"))
    assert.same({ "f", "g", "own" }, entries(dir))
  end)

  it("binds follow a symbolic link at either end", function()
    local dir = tmpdir()
    spew(dir .. "/f", "shown\n")
    spew(dir .. "/there", "hidden\n")
    os.execute(("ln -s there %s/link"):format(dir))
    local function with(bind, name)
      return output { "cat", dir .. "/" .. name, bind = { bind }, maps = "self" }
    end
    assert.equal("shown\n", with({ dir .. "/f", to = dir .. "/link" }, "link"))
    assert.equal("shown\n", with({ dir .. "/f", to = dir .. "/link", ro = true }, "there"))
    assert.equal("hidden\n", with({ dir .. "/link", to = dir .. "/f" }, "f"))
  end)

  -- what a script in that directory prints
  local function from(dir, command, options)
    local file = tmpdir() .. "/script.lua"
    spew(file, ("require 'lfs'.chdir %q\n%s\nrequire 'nsbox'.run { 'sh', '-c', %q, %s }"):format(
      dir, options and options.first or "", command, options and options[1] or ""))
    return (lua(file))
  end

  it("working directory is walked to again in its own mounts", function()
    assert.equal("/proc 1\n", from("/proc", "echo $(pwd -P) [0-9]*"))
    assert.equal("/proc 1\n", from("/proc", "echo $(pwd -P) [0-9]*", { "bare = true" }))
    assert.equal("/proc 1\n", from("/proc", "echo $(pwd -P) [0-9]*", { "cwd = '.'" }))
    assert.equal("/proc/sys/kernel\n", from("/proc", "pwd -P", { "cwd = 'sys/kernel'" }))
    if slurp "/proc/keys" then
      assert.equal("0\n", from("/proc", "cat keys | wc -c"))
    end
    if require("lfs").attributes("/sys/firmware", "mode") then
      assert.equal("/sys/firmware *\n", from("/sys/firmware", "echo $(pwd -P) *"))
    end
  end)

  it("working directory is / where the box cannot go", function()
    local dir = tmpdir()
    os.execute("chmod 755 " .. dir)
    assert(require("lfs").mkdir(dir .. "/below"))
    spew(dir .. "/below/secret", "x")
    local look = "pwd -P; ls secret 2>/dev/null"
    assert.equal(dir .. "/below\nsecret\n", from(dir .. "/below", look))
    assert.equal("/\n", from(dir .. "/below", look, { ("tmpfs = %q"):format(dir) }))
    assert.equal(dir .. "\n", from(dir, look, { ("tmpfs = %q"):format(dir) }))
    assert(require("lfs").mkdir(dir .. "/gone"))
    local gone = { "", first = ("os.remove %q"):format(dir .. "/gone") }
    assert.equal("/\n", from(dir .. "/gone", look, gone))
    assert(require("lfs").mkdir(dir .. "/gone"))
    gone[1] = "cwd = '.'"
    assert.matches("script.lua:3: run: cwd: '.' is relative, and the current directory was deleted",
      from(dir .. "/gone", look, gone))
    assert(require("lfs").mkdir(dir .. "/gone"))
    gone[1] = "bind = 'x:/mnt'"
    assert.matches("run: bind: 'x' is relative, and the current directory was deleted",
      from(dir .. "/gone", look, gone))
  end)

  it("working directory is / where the box's root may not look #root", function()
    needs "root"
    local dir = tmpdir()
    os.execute("chmod 700 " .. dir)
    assert.equal("/\n", from(dir, "pwd -P"))
  end)

  it("tmpfs is empty, writable, of a size and a mode", function()
    local out = output { "sh", "-c", "ls -A /mnt; stat -c '%a %u %g' /mnt; echo x >/mnt/f; "
      .. "head -c 2000000 /dev/zero >/mnt/big", stderr = "stdout",
      tmpfs = { "/mnt", size = "1M", mode = "0750" } }
    assert.matches("^750 0 0\n.*No space left on device", out)
    out = output { "sh", "-c", "stat -c %a /mnt /tmp; touch /mnt/a /tmp/a && echo fine",
      tmpfs = { "/mnt", "/tmp" } }
    assert.equal("1777\n1777\nfine\n", out)
  end)

  it("binds lie over a tmpfs", function()
    local dir = tmpdir()
    spew(dir .. "/passwd", "")
    assert.equal("passwd\n", (output { "ls", "/mnt", tmpfs = { "/mnt", mode = "0700" },
      bind = dir .. ":/mnt", maps = "self" }))
    assert.equal("", (output { "ls", "/mnt", tmpfs = "/mnt" }))
  end)

  it("capabilities are all, none, or a list", function()
    local all = (1 << #sys.cap.names()) - 1
    local sets = caps { caps = "all" }
    assert.same({ Inh = 0, Prm = all, Eff = all, Bnd = all, Amb = 0 }, sets)
    assert.same({ Inh = 0, Prm = 0, Eff = 0, Bnd = 0, Amb = 0 }, caps { caps = {} })
    local want = 1 << 12 | 1 << 0
    assert.same({ Inh = 0, Prm = want, Eff = want, Bnd = want, Amb = 0 },
      caps { caps = { "net_admin", "CAP_CHOWN" } })
    assert.equal(1 << 0, caps({ caps = "chown" }).Eff)
  end)

  it("ambient capabilities reach a program that is not root #uml", function()
    local ids = sys.process.ids()
    local sets = caps { caps = { ambient = { "net_raw" } }, user = "5:5",
      maps = { uid = { { 5, ids.euid, 1 } }, gid = { { 5, ids.egid, 1 } } } }
    local raw = 1 << 13
    assert.same({ Inh = raw, Prm = raw, Eff = raw, Bnd = raw, Amb = raw }, sets)
  end)

  it("no_new_privs is on, unless it is bare or told otherwise", function()
    local function nnp(o)
      o[1], o[2], o[3] = "grep", "NoNewPrivs", "/proc/self/status"
      return output(o):match "%d"
    end
    assert.same({ "1", "0", "0", "1" }, { nnp {}, nnp { no_new_privs = false },
      nnp { bare = true }, nnp { bare = true, no_new_privs = true } })
  end)

  it("clocks are set back or forth", function()
    needs "timens"
    local function up(o)
      o[1], o[2] = "cat", "/proc/uptime"
      return tonumber(output(o):match "^[%d.]+")
    end
    local now = tonumber(slurp "/proc/uptime":match "^[%d.]+")
    -- a sum of hundredths may be rounded up
    assert.is_true(up { time_offsets = { boottime = 86400 } } > now + 86399.99)
    assert.matches("^monotonic +%-?%d+ +%d+\nboottime +7 +500000000\n$", (output { "cat",
      "/proc/self/timens_offsets", time_offsets = { boottime = 7.5 } }))
  end)
end)

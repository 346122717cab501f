-- The holes of other container programs, by their numbers: each is tried here. Those
-- that have to do with a root file system are in rootfs_spec.lua.

local boxes = require "boxes"
local inside = require "inside"
local lfs = require "lfs"
local nsbox = require "nsbox"
local roots = require "roots"
local sys = require "nsbox.sys"
local terminal = require "terminal"

local ESCAPE <const> = built "escape"
local link = roots.link

describe("a box", function()
  needs("maps", "pidns", "procmount")

  -- to leave a group would open what is closed to it
  it("lets nobody drop groups by its map, CVE-2014-8989 #user", function()
    local ids = sys.process.ids()
    local own = { 0, ids.egid, 1 }
    local maps = { nil, "self", { uid = { { 0, ids.euid, 1 } }, gid = { own } } }
    for i = 1, 3 do
      assert.equal("deny\nset_groups EPERM\n", (boxes.output { "sh", "-c",
        "cat /proc/self/setgroups; " .. ESCAPE .. " set_groups", maps = maps[i], caps = "all" }))
    end
  end)

  it("lets nobody do it when newgidmap writes it, CVE-2018-7169 #user", function()
    needs "subuid"
    local ids = sys.process.ids()
    local all = require("nsbox.idmap").resolve "subuid"
    assert.equal("allow\n", (boxes.output { "cat", "/proc/self/setgroups", maps = "subuid" }))
    -- many users, and only the own group
    assert.equal("deny\n", (boxes.output { "cat", "/proc/self/setgroups",
      maps = { uid = all.uid, gid = { { 0, ids.egid, 1 } } } }))
  end)

  -- a program on its way in, stopped when it is there and before it has become another one
  local function entering(box, dumpable)
    local join = {}
    for i, kind in ipairs(box.ns.kinds) do join[i] = box.ns._handles[kind] end
    local p = assert(sys.process.spawn { argv = { "sleep", "1000" }, join = join, gate = true,
      uid = 0, gid = 0, dumpable = dumpable, pdeathsig = "KILL" })
    local pid = p:pid()
    local inner = slurp(("/proc/%d/status"):format(pid)):match "\nNSpid:[^\n]*%s(%d+)\n"
    local ways = {}
    for i, way in ipairs { "trace", "peek", "its_root", "its_memory" } do
      ways[i] = way .. ":" .. inner
    end
    local text = box:exec { ESCAPE, table.unpack(ways) }.stdout
    local directories = {}
    for fd = 0, 255 do -- root may look
      local path = ("/proc/%d/fd/%d"):format(pid, fd)
      if lfs.attributes(path, "mode") == "directory" then directories[#directories + 1] = fd end
    end
    p:kill "KILL"
    sys.fd.poll { [p:fileno()] = "r" }
    p:status()
    p:close()
    return text:gsub(":%d+", ""), directories
  end

  it("gets no hold of a process that enters, CVE-2016-9962, CVE-2016-8649", function()
    -- with all capabilities it may trace whatever is in it
    local box <close> = nsbox.box { caps = "all", seccomp = false }
    local hidden, directories = entering(box)
    assert.equal("trace EPERM\npeek EPERM\nits_root EACCES\nits_memory EACCES\n", hidden)
    assert.same({}, directories)
    local shown = entering(box, true)
    assert.equal("trace ok\npeek ok\nits_root ok\nits_memory ok\n", shown)
  end)

  -- it is a copy of the script, with all that was ever read by it
  it("gets no hold of a function that is called in it", function()
    local box <close> = nsbox.box { caps = "all", seccomp = false }
    local text = box:call(function(escape)
      local pid = io.open("/proc/self/stat"):read "n"
      local f = io.popen(("%s trace:%d peek:%d its_root:%d its_memory:%d"):format(escape, pid, pid,
        pid, pid))
      return f:read "a"
    end, ESCAPE)
    assert.equal("trace EPERM\npeek EPERM\nits_root EACCES\nits_memory EACCES\n",
      (text:gsub(":%d+", "")))
  end)

  it("cannot type what its caller's shell reads, CVE-2017-5226", function()
    local text = boxes.output { "sh", "-c", "cut -d' ' -f 6,7 /proc/self/stat; "
      .. ESCAPE .. " terminal" }
    assert.matches("^1 0\nterminal ENXIO\n$", text)
    -- escape_spec.lua has a terminal
  end)

  it("reaches no release_agent, CVE-2022-0492", function()
    assert.equal("release_agent EPERM\n", (boxes.output { ESCAPE, "release_agent",
      tmpfs = "/mnt" }))
    -- not even with all that it may have: the kernel asks for its own root
    assert.equal("release_agent EPERM\n", (boxes.output { ESCAPE, "release_agent",
      tmpfs = "/mnt", caps = "all", seccomp = false, masks = false }))
  end)

  it("inherits no capabilities, CVE-2022-29162, CVE-2022-27650", function()
    -- in a user namespace of its own the kernel sees to it
    local function inheritable(bare)
      return inside({ "user" }, function()
        assert(sys.cap.set { inheritable = "all" })
        local o = { bare = bare, namespaces = { user = false } }
        local box <close> = nsbox.box(o)
        o[1], o[2], o[3], o.stdout = "grep", "CapInh", "/proc/self/status", "capture"
        local text = select(2, nsbox.run(o)).stdout
        return text .. box:exec({ "grep", "CapInh", "/proc/self/status" }).stdout
      end)
    end
    local none = "CapInh:\t0000000000000000\n"
    assert.equal(none .. none, inheritable())
    assert.is_true(inheritable(true):sub(1, #none) ~= none)
  end)

  it("cannot write to the machine's control groups, CVE-2023-25809", function()
    local function look(o)
      o[1], o[2], o[3] = "sh", "-c", "grep ' /sys' /proc/self/mountinfo; cat /proc/self/cgroup"
      local text = boxes.output(o)
      -- the place where it is, is the top of what it sees
      for path in text:gmatch "\n%d+:[^:]*:([^\n]*)" do assert.equal("/", path) end
      local count = 0
      for options in text:gmatch "%d+ %d+ %S+ %S+ /sys%S* (%S+)" do
        count = count + 1
        assert.matches("^ro,", options)
      end
      return count
    end
    assert.is_true(look {} > 0)
    if require("nsbox.probe").check "rootfs" then
      assert.is_true(look { rootfs = roots.make() } > 0)
    end
  end)

  it("does not start in a directory that is open here, CVE-2024-21626", function()
    needs "rootfs"
    local root, dir = roots.make(), tmpdir()
    local long = ("x"):rep(200)
    assert(lfs.mkdir(dir .. "/" .. long))
    local open <close> = assert(io.open(dir)) -- not close-on-exec
    local longer <close> = assert(io.open(dir .. "/" .. long))
    local box <close> = nsbox.box { rootfs = root }
    local count = 0
    for fd = 3, 30 do
      local cwd = "/proc/self/fd/" .. fd
      for _, run in ipairs {
        function() return roots.sh(root, "pwd; ls -a ..", { cwd = cwd }) end,
        function() return box:exec({ "sh", "-c", "pwd; ls -a ..", cwd = cwd }).stdout end } do
        local text, err = nsbox.try(run)
        count = count + 1
        if text then
          assert.matches("^/[^\n]*\n", text)
          assert.is_nil(text:find(dir:match "[^/]+$", 1, true))
          assert.is_nil(text:find(long, 1, true))
        else
          assert.equal("cwd", err.step)
        end
      end
    end
    assert.is_true(count > 20 and open ~= nil and longer ~= nil)
  end)

  it("writes its files to no place that the image says, CVE-2025-24965", function()
    needs "rootfs"
    local root, outside = roots.make(), tmpdir()
    lfs.mkdir(root .. "/etc")
    for _, name in ipairs { "hosts", "hostname", "resolv.conf" } do
      spew(outside .. "/" .. name, "mine\n")
      link(outside .. "/" .. name, root .. "/etc/" .. name)
    end
    nsbox.try(roots.sh, root, "true", { hostname = "box" })
    link(outside, root .. "/there")
    nsbox.try(roots.sh, root, "true", { bind = outside .. "/hosts:/there/new" })
    for _, name in ipairs(entries(outside)) do
      assert.equal("mine\n", slurp(outside .. "/" .. name), name)
    end
    assert.equal(3, #entries(outside))
  end)

  -- a link of /proc leads to where a descriptor does: one of the script, which mounts there
  it("has no file made by a descriptor of its caller", function()
    needs "rootfs"
    local root, outside = roots.make(), tmpdir()
    assert(os.execute(("chmod 777 %s"):format(outside)))
    local text = ([[
      local nsbox, root = require "nsbox", %q
      local names = { "10.0.0.1", hosts = { x = "10.0.0.2" } }
      local o = { rootfs = root, namespaces = { pid = false } }
      local function swap(from, to)
        assert(os.rename(root .. "/" .. from, root .. "/" .. to))
      end
      -- the box is there before the link, and after it
      local box = nsbox.box(o)
      swap("etc", "kept")
      swap("link", "etc")
      print(select("#", nsbox.try(nsbox.dns, box, names)))
      o.dns = names
      print(select("#", nsbox.try(nsbox.box, o)))
    ]]):format(root)
    lfs.mkdir(root .. "/etc")
    link("/proc/self/fd/9", root .. "/link")
    -- it is refused, or made inside
    assert.matches("^%d\n%d\n$", (lua("-", text, ("exec 9<%s; "):format(outside))))
    assert.same({}, entries(outside))
  end)

  it("has its settings written by the kernel's /proc, CVE-2025-52881", function()
    needs("rootfs", "netns")
    local root, fake = roots.make(), tmpdir()
    for _, dir in ipairs { "/proc", "/proc/sys", "/proc/sys/net", "/proc/sys/net/ipv4" } do
      lfs.mkdir(root .. dir)
      lfs.mkdir(fake .. dir:sub(6))
    end
    local NAME <const> = "/sys/net/ipv4/ip_default_ttl"
    spew(root .. "/proc" .. NAME, "1\n")
    spew(fake .. NAME, "2\n")
    local o = { rootfs = root, sysctl = { ["net.ipv4.ip_default_ttl"] = 77 } }
    assert.equal("77\n", (roots.sh(root, "cat /proc" .. NAME, o)))
    -- also where the caller has something else put over it
    o.bind = fake .. ":/proc"
    assert.equal("2\n", (roots.sh(root, "cat /proc" .. NAME, o)))
    assert.equal("1\n", slurp(root .. "/proc" .. NAME))
    assert.equal("2\n", slurp(fake .. NAME))
  end)

  it("has them written so while it runs, too, CVE-2025-52881", function()
    needs("rootfs", "netns")
    local root, fake = roots.make(), tmpdir()
    assert(os.execute(("mkdir -p %s/net/ipv4"):format(fake)))
    local NAME <const> = "/net/ipv4/ip_default_ttl"
    spew(fake .. NAME, "2\n")
    local box <close> = nsbox.box { rootfs = root, caps = "all", masks = false,
      bind = fake .. ":/fake" }
    assert.is_true(box:exec({ "mount", "-o", "bind", "/fake", "/proc/sys" }).ok)
    assert.equal("2\n", box:exec({ "cat", "/proc/sys" .. NAME }).stdout)
    local lab <close> = nsbox.scope()
    lab:sysctl(box, { ["net.ipv4.ip_default_ttl"] = 77 })
    assert.equal("2\n", slurp(fake .. NAME))
    assert.is_true(box:exec({ "umount", "/proc/sys" }).ok)
    assert.equal("77\n", box:exec({ "cat", "/proc/sys" .. NAME }).stdout)
  end)

  it("has no console but what its caller has, CVE-2025-52565", function()
    needs "rootfs"
    local root, t <close> = roots.make(), terminal()
    local dir, name = t.path:match "^(.*)/([^/]+)$"
    -- what is at its place is another file, a link to one, nothing
    local function look(put)
      return inside({ "user", "mnt" }, function()
        put()
        return (roots.sh(root, "stat -c %F /dev/console 2>&1", { stdin = t.fd }))
      end)
    end
    local none = "stat: can't stat '/dev/console': No such file or directory\n"
    assert.equal("character special file\n", look(function() end))
    assert.equal(none, look(function() assert(sys.mount("/dev/zero", t.path, nil, "bind")) end))
    for _, target in ipairs { false, "/dev/zero", "/etc" } do
      assert.equal(none, look(function()
        assert(sys.mount("tmpfs", dir, "tmpfs"))
        return target and link(target, dir .. "/" .. name)
      end))
    end
  end)

  it("takes no half of a number for a user, CVE-2026-30892", function()
    for _, text in ipairs { "0x", "0x0", "1000x", "00x", "1e3", "0.0", " 0", "0 ", "0\t",
      "4294967295", "4294967296", "18446744073709551616", "+0", "-0", "-1", ":", ":0", "0:",
      "0:x", "0:-1", "0:0:0", "", "\n", "0\n" } do
      local ok, err = pcall(nsbox.run, { "true", user = text })
      assert.is_false(ok, ("%q"):format(text))
      assert.is_true(type(err) == "string" or err.step == "user", tostring(err))
    end
    -- as the kernel shows it
    assert.equal("0", (boxes.output { "id", "-u", user = "000" }):match "%d+")
  end)
end)

describe("nsbox #long", function() -- what is in front of a sanitizer is not loaded there, either
  it("is not loaded by a setuid program, CVE-2020-5291 #root", function()
    needs "root"
    local dir = tmpdir()
    assert(os.execute(('chmod 755 %s && cp "$(command -v lua5.4)" %s/lua'):format(dir, dir)))
    spew(dir .. "/x.lua", [[print(pcall(require, "nsbox.sys"))]])
    local command = ("sh -c 'exec setpriv --reuid=12345 --regid=12345 --clear-groups %s/lua "
      .. '"$1"' .. "' "):format(dir)
    local function loaded(mode)
      assert(os.execute(("chmod %s %s/lua"):format(mode, dir)))
      return (lua(dir .. "/x.lua", "", command))
    end
    assert.matches("^true", loaded "755")
    assert.matches("^false.*nsbox is not for setuid or setgid programs", loaded "4755")
    assert.matches("^false.*nsbox is not for setuid or setgid programs", loaded "2755")
  end)
end)

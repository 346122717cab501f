-- What every root of a box's own has besides its files: /proc, /sys, cgroups, message queues.

local nsbox = require "nsbox"
local sys = require "nsbox.sys"
local boxes = require "boxes"
local roots = require "roots"
local inside = require "inside"

local function has(options, word)
  return ("," .. options .. ","):find("," .. word .. ",", 1, true) ~= nil
end

local function mounted(root, o)
  return roots.mounts((roots.sh(root, "cat /proc/self/mountinfo", o)))
end

describe("a root of a box's own", function()
  needs("maps", "procmount", "rootfs")

  it("has the cgroups of its own namespace, to look at #uml", function()
    needs "cgroupns"
    local root = roots.make()
    local list = mounted(root, { maps = "self" }) -- an old tmpfs shows no other ids
    local cgroup = list["/sys/fs/cgroup"]
    if not cgroup then -- nothing is better than the machine's
      assert.is_nil((slurp "/proc/filesystems"):find "\tcgroup2\n")
      return
    end
    assert.equal("cgroup2", cgroup.fstype)
    for _, word in ipairs { "ro", "nosuid", "nodev", "noexec" } do
      assert(has(cgroup.options, word), word)
    end
    local out = roots.sh(root, "grep -c '^0::/$' /proc/self/cgroup; cd /sys/fs/cgroup; "
      .. "mkdir mine; echo 1 >cgroup.procs; ls | grep -c '^cgroup.procs$'; "
      .. "cat /proc/self/mountinfo", { maps = "self" })
    assert.matches("^1\nmkdir: [^\n]*Read%-only[^\n]*\nsh: [^\n]*Read%-only[^\n]*\n1\n", out)
    -- and it begins where the box is, not at the machine's
    assert.matches("\n%d+ %d+ %S+ / /sys/fs/cgroup ro", out)
  end)

  it("has no writable cgroup where it shares /sys, or the cgroup namespace, with its caller",
    function()
    local root = roots.make()
    for _, namespaces in ipairs { { net = false }, { cgroup = false }, { net = false,
      cgroup = false } } do
      local list = mounted(root, { namespaces = namespaces })
      for point, m in pairs(list) do
        assert(not point:find "^/sys" or has(m.options, "ro") and has(m.options, "nosuid")
          and has(m.options, "nodev") and has(m.options, "noexec"), point .. " " .. m.options)
        assert(point:find "^/sys" or not m.fstype:find "cgroup", point)
      end
      assert.equal("sysfs", list["/sys"].fstype)
    end
  end)

  it("has message queues of its own, and none of its caller's", function()
    needs "ipcns"
    local root = roots.make()
    local out = roots.sh(root, "touch /dev/mqueue/q; ls /dev/mqueue; cat /proc/self/mountinfo")
    assert.matches("^q\n", out)
    local queue = roots.mounts(out)["/dev/mqueue"]
    assert.equal("mqueue", queue.fstype)
    for _, word in ipairs { "rw", "nosuid", "nodev", "noexec" } do
      assert(has(queue.options, word), word)
    end
    assert.equal("", (roots.sh(root, "ls /dev/mqueue"))) -- another box, another one
    assert.is_nil(mounted(root, { namespaces = { ipc = false } })["/dev/mqueue"])
  end)

  it("brings its caller's /proc and /sys where the kernel gives no new ones", function()
    local root = roots.make()
    -- as an outer container leaves them: parts of both are mounted over
    local refused, text = inside({ "user", "mnt", "pid", "net" }, function()
      assert(sys.mount("proc", "/proc", "proc"))
      assert(sys.mount("sysfs", "/sys", "sysfs"))
      for _, path in ipairs { "/proc/scsi", "/proc/fs", "/proc/bus", "/sys/firmware",
        "/sys/devices/virtual" } do
        if require "nsbox.machine".exists(path) then
          assert(sys.mount("tmpfs", path, "tmpfs"))
        end
      end
      local _, err = nsbox.try(nsbox.run, { "true", rootfs = root })
      return tostring(err), (roots.sh(root, "cat /proc/self/mountinfo; ls /proc/fs | wc -l; "
        .. "touch /sys/firmware/x; echo 1 >/proc/sys/kernel/domainname",
        { namespaces = { pid = false } }))
    end)
    assert.matches("^run: mount /proc: Operation not permitted %(EPERM%)\n  hint: parts of our own "
      .. "/proc are mounted over .*{ pid = false }%)$", refused)
    local list = roots.mounts(text)
    assert.same({ "proc", "sysfs" }, { list["/proc"].fstype, list["/sys"].fstype })
    assert.matches("\n0\ntouch: [^\n]*Read%-only[^\n]*\nsh: [^\n]*Read%-only", text)
    for point, m in pairs(list) do
      assert(not point:find "^/sys" or has(m.options, "ro"), point)
    end
  end)
end)

describe("a session of its own", function()
  needs("maps", "procmount")

  -- process, session, terminal
  local SHOW <const> = { "sh", "-c", "cut -d' ' -f 1,6,7 /proc/$$/stat" }

  local function leads(text)
    local pid, session, tty = text:match "^(%d+) (%d+) (%S+)\n$"
    assert.same({ pid, "0" }, { session, tty })
  end

  it("has every program in a box", function()
    for _, o in ipairs { {}, { caps = "all" }, { init = true } } do
      local run = { SHOW[1], SHOW[2], SHOW[3] }
      for key, value in pairs(o) do run[key] = value end
      leads((boxes.output(run)))
    end
    local b <close> = nsbox.box {}
    leads(b:exec({ SHOW[1], SHOW[2], SHOW[3] }).stdout)
    leads(b:exec({ SHOW[1], SHOW[2], SHOW[3] }).stdout)
  end)
end)

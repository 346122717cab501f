-- What a program in a box may become, and where it may start; and what a box may set.

local nsbox = require "nsbox"
local sys = require "nsbox.sys"
local boxes = require "boxes"
local roots = require "roots"
local inside = require "inside"
local lfs = require "lfs"
local misuse = require "blame".misuse

describe("a program in a box", function()
  needs("maps", "procmount")

  it("gains nothing by a setuid file #root", function()
    needs("root", "idmap")
    local dir = tmpdir()
    assert(os.execute(("cp /bin/cat %s/cat && chmod 4755 %s/cat && chmod 755 %s"):format(dir, dir,
      dir)))
    local function uids(o)
      o[1], o[2], o.user = "/mnt/cat", "/proc/self/status", 1000
      o.bind = { { dir, to = "/mnt", idmap = true } }
      return boxes.output(o):match "\nUid:%s*([%d\t]+)\n"
    end
    assert.equal("1000\t1000\t1000\t1000", uids {})
    assert.equal("1000\t1000\t1000\t1000", uids { caps = "all" })
    assert.equal("1000\t0\t0\t0", uids { no_new_privs = false })
  end)

  it("is not left in its caller's groups where a filter refuses to drop them #root", function()
    needs "root"
    local script = tmpdir() .. "/script.lua"
    spew(script, [[
      local nsbox = require "nsbox"
      for _, o in ipairs { { user = "5:5", namespaces = { user = false } }, {} } do
        o[1] = "true"
        print(select(2, nsbox.try(nsbox.run, o)).step)
      end]])
    assert.equal("setgroups\nsetgroups\n", (lua(script, nil, "setpriv --groups 4,27 "
      .. built "deny" .. " setgroups=1 ")))
  end)

  it("gains nothing by a file's capabilities that its box has not #root", function()
    needs("root", "rootfs", "idmap")
    local root = roots.make()
    assert(os.execute(("cp /bin/busybox %s/bin/busyboxcap"):format(root)))
    local out, status = sh(("setcap cap_net_admin,cap_chown=ep %s/bin/busyboxcap"):format(root))
    assert.equal(0, status, out)
    local function caps(o)
      o.user = 1000
      return roots.sh(root, "busyboxcap grep -E '^Cap(Prm|Bnd)' /proc/self/status", o)
    end
    -- chown is 0, net_admin 12
    assert.equal("CapPrm:\t0000000000001001\nCapBnd:\t0000000000001001\n",
      caps { caps = { "chown", "net_admin" }, no_new_privs = false })
    -- a file that asks for more than its bounding set does not run
    assert.matches("not permitted", caps { caps = { "chown" }, no_new_privs = false })
    assert.matches("not permitted", caps { caps = {}, no_new_privs = false })
    -- and no_new_privs leaves it none
    assert.equal("CapPrm:\t0000000000000000\nCapBnd:\t0000000000001001\n",
      caps { caps = { "chown", "net_admin" } })
  end)

  it("starts in a directory that is its user's alone #root", function()
    needs("root", "rootfs", "idmap")
    local root = roots.make()
    assert(os.execute(("mkdir %s/own && chown 1000:1000 %s/own && chmod 700 %s/own"):format(root,
      root, root)))
    for _, caps in ipairs { false, {} } do
      assert.equal("/own\n", (roots.sh(root, "pwd", { user = 1000, cwd = "/own",
        caps = caps or nil })))
    end
    local err = require "blame".failure(function()
      nsbox.run { "pwd", rootfs = root, user = 1001, cwd = "/own", caps = {} }
    end, "EACCES")
    assert.same({ "cwd", "/own" }, { err.step, err.subject })
  end)

  it("may be shown what has flags that the kernel does not let it drop", function()
    local dir = tmpdir()
    local out = inside({ "user", "mnt" }, function()
      assert(sys.mount("tmpfs", dir, "tmpfs", { "nosuid", "nodev", "noexec" }))
      assert(lfs.mkdir(dir .. "/below"))
      assert(sys.mount("tmpfs", dir .. "/below", "tmpfs", { "nosuid", "noexec", "nodev" }))
      local text = ""
      for _, o in ipairs { { bind = dir }, { bind = { { dir, ro = true } } },
        { bind = dir, bare = true }, { bind = dir, no_new_privs = false } } do
        o.seccomp, o.namespaces = false, { pid = false, net = false }
        o[1], o[2], o.stdout = "cat", "/proc/self/mountinfo", "capture"
        text = text .. select(2, nsbox.run(o)).stdout .. "end\n"
      end
      return text
    end)
    local count = 0
    for options in out:gmatch(" " .. dir:gsub("%p", "%%%0") .. "%S* (%S+) ") do
      count = count + 1
      for _, word in ipairs { "nosuid", "nodev", "noexec" } do
        assert(("," .. options .. ","):find("," .. word .. ",", 1, true), options)
      end
    end
    assert.is_true(count >= 8, out)
  end)
end)

describe("settings of a box", function()
  it("are those of its net and ipc namespaces, and none of the machine's", function()
    for _, key in ipairs { "kernel.core_pattern", "kernel.domainname", "vm.overcommit_memory",
      "fs.file-max", "user.max_user_namespaces", "kernel.shmmax.x", "kernel.msg_next_id",
      "fs.mqueue", "fs/mqueue/msg_max" } do
      misuse(function() nsbox.run { "a", sysctl = { [key] = "1" } } end,
        "'" .. key .. "' is one of the whole machine")
    end
    for _, key in ipairs { "net", "net..x", "net.../../kernel/core_pattern", "net.ipv4.",
      "net./.x" } do
      misuse(function() nsbox.box { "a", sysctl = { [key] = 1 } } end, "sysctl: ")
    end
    local shared = { "a", namespaces = { "user" }, sysctl = { ["net.ipv4.ip_forward"] = 1 } }
    misuse(function() nsbox.run(shared) end, "sysctl: needs a new net namespace")
  end)
end)

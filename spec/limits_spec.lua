-- What a program may have: rlimits, oom_score_adj, nice, affinity, groups.

local nsbox = require "nsbox"
local sys = require "nsbox.sys"
local blame = require "blame"
local boxes = require "boxes"
local roots = require "roots"
local ending = require "children".ending
local misuse, failure, output = blame.misuse, blame.failure, boxes.output

local NAMES <const> = {
  as = "Max address space", core = "Max core file size", cpu = "Max cpu time",
  data = "Max data size", fsize = "Max file size", locks = "Max file locks",
  memlock = "Max locked memory", msgqueue = "Max msgqueue size", nice = "Max nice priority",
  nofile = "Max open files", nproc = "Max processes", rss = "Max resident set",
  rtprio = "Max realtime priority", rttime = "Max realtime timeout",
  sigpending = "Max pending signals", stack = "Max stack size",
}

-- "soft hard", as /proc says them
local function limit(text, name)
  local soft, hard = text:match(NAMES[name] .. "%s+(%S+)%s+(%S+)")
  return soft .. " " .. hard
end

local function niceness(pid)
  return tonumber(slurp(("/proc/%s/stat"):format(pid)):match "^.*%) (.*)$"
    :match(("%S+ "):rep(16) .. "(%S+)"))
end

local function status_of(pid, field)
  return slurp(("/proc/%s/status"):format(pid)):match("\n" .. field .. ":%s*([^\n]-)%s*\n")
end

local function oom(pid)
  return tonumber((slurp(("/proc/%s/oom_score_adj"):format(pid))))
end

local function first_cpu()
  return tonumber(status_of("self", "Cpus_allowed_list"):match "^%d+")
end

describe("limits of a box, misused,", function()
  it("are told so at the caller's line", function()
    misuse(function() nsbox.run { "a", rlimits = { nofiles = 1 } } end,
      "rlimits: 'nofiles' is no resource (did you mean 'nofile'?)")
    misuse(function() nsbox.run { "a", rlimits = { xyzzy = 1 } } end, "see getrlimit(2)")
    misuse(function() nsbox.run { "a", rlimits = 5 } end, "rlimits: expected limits as {")
    misuse(function() nsbox.run { "a", rlimits = { 5 } } end, "rlimits: a limit has a name")
    misuse(function() nsbox.run { "a", rlimits = { nofile = -1 } } end, "nofile: expected a number")
    misuse(function() nsbox.run { "a", rlimits = { nofile = "64K" } } end,
      "nofile: expected a number from 0 on, or 'unlimited', got a string")
    misuse(function() nsbox.run { "a", rlimits = { as = "many" } } end, "as: expected a size")
    misuse(function() nsbox.run { "a", rlimits = { cpu = {} } } end, "cpu: expected a time")
    misuse(function() nsbox.run { "a", rlimits = { core = { 1 } } } end, "core: expected a size")
    misuse(function() nsbox.run { "a", rlimits = { core = { 1, 2, 3 } } } end, "{ soft, hard }")
    misuse(function() nsbox.run { "a", rlimits = { core = { 2, 1 } } } end,
      "core: the soft limit, 2, is above the hard one, 1")
    misuse(function() nsbox.run { "a", rlimits = { core = { "unlimited", 1 } } } end, "is above")
    misuse(function() nsbox.run { "a", oom_score_adj = 1001 } end,
      "oom_score_adj: expected between -1000 and 1000")
    misuse(function() nsbox.run { "a", nice = -21 } end, "nice: expected between -20 and 19")
    misuse(function() nsbox.run { "a", nice = 1.5 } end, "nice: expected an integer")
    misuse(function() nsbox.run { "a", affinity = {} } end, "affinity: on which cpu?")
    misuse(function() nsbox.run { "a", affinity = { 0, "1" } } end, "affinity[2]: expected a cpu")
    misuse(function() nsbox.run { "a", affinity = 8192 } end, "affinity: expected a cpu, 0 to 8191")
    misuse(function() nsbox.run { "a", groups = { -1 } } end, "groups[1]: expected a group")
    misuse(function() nsbox.run { "a", groups = "4294967295" } end, "is beyond the last one")
    misuse(function() nsbox.box { "a", groups = true } end, "groups: expected a group")
  end)

  it("are refused by sys.process.spawn, too", function()
    for want, plan in pairs {
      ["did you mean 'nofile'"] = { rlimits = { nofiel = { 1, 1 } } },
      ["expected { soft, hard }"] = { rlimits = { nofile = 1 } },
      ["expected a table"] = { rlimits = 1 },
      ["nofile: expected a number or 'unlimited'"] = { rlimits = { nofile = { 1, "many" } } },
      ["soft is above hard"] = { rlimits = { nofile = { "unlimited", 1 } } },
      ["oom_score_adj"] = { oom_score_adj = 2000 },
      ["nice"] = { nice = 20 },
      ["affinity%[2%]: expected a cpu"] = { affinity = { 0, -1 } },
      ["affinity: needs at least one"] = { affinity = {} },
    } do
      plan.argv = { "true" }
      assert.error_matches(function() sys.process.spawn(plan) end, want)
    end
  end)
end)

describe("limits of a box", function()
  needs("maps", "procmount", "memfd_exec")

  it("are those of its program #uml", function()
    local cpu, nicer = first_cpu(), math.min(niceness "self" + 4, 19)
    local before = { oom "self", niceness "self", slurp "/proc/self/limits",
      status_of("self", "Cpus_allowed_list") }
    local want = { nofile = "20 40", core = "0 0", as = "1073741824 2147483648",
      cpu = "60 3600", rttime = "200000 1000000", fsize = "1048576 1048576", nproc = "50 60" }
    local given = { nofile = { 20, 40 }, core = 0, as = { "1G", 2 << 30 }, cpu = { 60, "1h" },
      rttime = { "200ms", 1 }, fsize = "1M", nproc = { 50, 60 } }
    for _, init in ipairs { false, true } do
      local text, result = output { "sh", "-c", "cat /proc/self/limits /proc/self/oom_score_adj; "
        .. "cut -d' ' -f 19 /proc/self/stat; grep Cpus_allowed_list /proc/self/status",
        rlimits = given, oom_score_adj = 321, nice = nicer, affinity = cpu, init = init }
      assert.equal(0, result.status)
      for name, value in pairs(want) do assert.equal(value, limit(text, name), name) end
      assert.matches(("\n321\n%d\nCpus_allowed_list:\t"):format(nicer) .. cpu .. "\n$", text)
    end
    -- and of nobody else
    assert.same(before, { oom "self", niceness "self", slurp "/proc/self/limits",
      status_of("self", "Cpus_allowed_list") })
  end)

  it("know every resource by its name", function()
    local ours = slurp "/proc/self/limits"
    for name in pairs(NAMES) do
      local soft, hard = limit(ours, name):match "(%S+) (%S+)"
      soft = tonumber(soft) or soft
      -- what it is already, then less of it
      assert.same({ "exit", 0 }, { ending(assert(sys.process.spawn { argv = { "true" },
        rlimits = { [name] = { soft, tonumber(hard) or hard } } })) })
      local lower = hard == "unlimited" and 1 << 40 or math.max(tonumber(hard) - 1, 0)
      local unit = name == "cpu" and lower or name == "rttime" and lower * 1e-6 or lower
      if name ~= "cpu" and name ~= "rttime" or hard == "unlimited" then
        unit = (name == "cpu" or name == "rttime") and 1000 or unit
        lower = name == "cpu" and 1000 or name == "rttime" and 1000000000 or lower
        assert.equal(lower .. " " .. lower, limit((output { "cat", "/proc/self/limits",
          rlimits = { [name] = unit } }), name))
      end
    end
  end)

  it("hold: files, descriptors, processes", function()
    local dir = tmpdir()
    local _, r = output { "sh", "-c", ("head -c 5000 /dev/zero >%s/f"):format(dir),
      bind = dir, rlimits = { fsize = 1000 }, stderr = "null", maps = "self" }
    assert.is_false(r.ok)
    assert.equal(1000, sys.fd.stat(dir .. "/f").size)
    _, r = output { "cat", "/dev/null", rlimits = { nofile = 3 }, stderr = "null" }
    assert.is_false(r.ok)
    -- nothing of the launch itself needs more
    assert.equal("ran\n", (output { "/bin/echo", "ran", rlimits = { nofile = { 4, 4 } } }))
  end)

  it("are those of all that enters the box, and of its nsbox-init but for rlimits", function()
    local cpu = first_cpu()
    local nicer = math.min(niceness "self" + 3, 19)
    local b <close> = nsbox.box { rlimits = { nofile = { 300, 301 } }, oom_score_adj = 500,
      nice = nicer, affinity = { cpu } }
    assert.same({ 500, nicer, tostring(cpu) }, { oom(b.pid), niceness(b.pid),
      status_of(b.pid, "Cpus_allowed_list") })
    assert.equal(limit(slurp "/proc/self/limits", "nofile"),
      limit(slurp(("/proc/%d/limits"):format(b.pid)), "nofile"))
    local p <close> = b:spawn { "cat", stdin = "pipe", stdout = "null" }
    assert.same({ 500, nicer, tostring(cpu), "300 301" }, { oom(p.pid), niceness(p.pid),
      status_of(p.pid, "Cpus_allowed_list"),
      limit(slurp(("/proc/%d/limits"):format(p.pid)), "nofile") })
    p.stdin:close()
    assert.is_true(p:wait().ok)
    assert.equal("300\n", b:exec({ "sh", "-c", "ulimit -n" }).stdout)
    local text, adj, nice = b:call(function()
      local function read(name)
        local f <close> = io.open("/proc/self/" .. name)
        return f:read "a"
      end
      return read "limits", read "oom_score_adj", read "stat"
    end)
    assert.equal("300 301", limit(text, "nofile"))
    assert.equal("500\n", adj)
    assert.equal(tostring(nicer), nice:match "^.*%) (.*)$":match(("%S+ "):rep(16) .. "(%S+)"))
    assert.equal(0, oom "self")
  end)

  it("go with a root of its own, a gate and a user of its own", function()
    needs "rootfs"
    local root = roots.make()
    local text = roots.sh(root, "cat /proc/self/limits /proc/self/oom_score_adj",
      { rlimits = { nofile = 30 }, oom_score_adj = 9 })
    assert.equal("30 30", limit(text, "nofile"))
    assert.matches("\n9\n$", text)
    local b <close> = nsbox.box { "sh", "-c", "ulimit -n; ulimit -c", stdout = "capture",
      rlimits = { nofile = 33, core = 0 } }
    assert.equal("33\n0\n", b:start():wait().stdout)
  end)

  it("are what the caller has, at most", function()
    if require("nsbox.probe").check "sys_resource" then return end
    local hard = limit(slurp "/proc/self/limits", "nofile"):match "%S+$"
    local err = failure(function()
      nsbox.run { "true", rlimits = { nofile = math.tointeger(tonumber(hard) + 1) } }
    end, "EPERM")
    assert.same({ "rlimits", "nofile" }, { err.step, err.subject })
    assert.matches(("^the hard limit of nofile is %s here, and raising it needs"):format(hard),
      err.hint)
    err = failure(function() nsbox.run { "true", oom_score_adj = oom "self" - 1 } end, "EACCES")
    assert.same({ "oom_score_adj", tostring(oom "self" - 1) }, { err.step, err.subject })
    assert.matches("CAP_SYS_RESOURCE", err.hint)
  end)

  it("may be above the caller's where that has the privilege #uml #root", function()
    needs "sys_resource"
    -- in a box, which has left the namespace where it counts
    local hard = tonumber(limit(slurp "/proc/self/limits", "nofile"):match "%S+$")
    local b <close> = nsbox.box { rlimits = { nofile = { 40, hard + 100 } },
      oom_score_adj = -300 }
    assert.equal(-300, oom(b.pid))
    local p <close> = b:spawn { "cat", stdin = "pipe", stdout = "null" }
    assert.equal(("40 %d"):format(hard + 100),
      limit(slurp(("/proc/%d/limits"):format(p.pid)), "nofile"))
    assert.equal(-300, oom(p.pid))
    p.stdin:close()
    p:wait()
    assert.equal(hard, tonumber(limit(slurp "/proc/self/limits", "nofile"):match "%S+$"))
  end)

  it("say what is above any caller's", function()
    local err = failure(function() nsbox.run { "true", rlimits = { nofile = "unlimited" } } end,
      "EPERM")
    assert.matches("^nofile is at most fs%.nr_open, which is %d+$", err.hint)
  end)

  it("know a cpu that is not there", function()
    for _, list in ipairs { { first_cpu(), 8000 }, { 8000 } } do
      local err = failure(function() nsbox.run { "true", affinity = list } end, "EINVAL")
      assert.same({ "affinity", "cpu 8000" }, { err.step, err.subject })
      assert.matches("^cpu 8000 is not there, or not for this process: this machine has the "
        .. "cpus 0", err.hint)
    end
  end)

  it("let nobody below the caller's niceness #user", function()
    local err = failure(function() nsbox.run { "true", nice = niceness "self" - 1 } end, "EACCES")
    assert.same({ "nice", tostring(niceness "self" - 1) }, { err.step, err.subject })
    assert.matches("^the caller's niceness is " .. niceness "self" .. ", and a lower one needs",
      err.hint)
  end)

  it("let root below it, also for what enters a box #root", function()
    needs "root"
    local wanted = niceness "self" - 1
    assert.equal(wanted .. "\n", (output { "cut", "-d ", "-f19", "/proc/self/stat",
      nice = wanted }))
    local b <close> = nsbox.box { nice = wanted }
    assert.equal(wanted, niceness(b.pid))
    assert.equal(wanted .. "\n", b:exec({ "cut", "-d ", "-f19", "/proc/self/stat" }).stdout)
    -- not from the box itself
    assert.matches("denied", b:exec({ "renice", "-n", "-10", "-p", "1" }).stderr)
  end)

  it("fail at each of their steps, and leave nothing #fault", function()
    for _, step in ipairs { "rlimits", "oom_score_adj", "nice", "affinity" } do
      for _, more in ipairs { "", ", init = true" } do
        local out, status = lua("-", ([[
          local nsbox = require "nsbox"
          local ran, err = nsbox.try(nsbox.run, { "true", rlimits = { nofile = 50 }, nice = 19,
            affinity = %d, oom_score_adj = 5%s })
          print(ran, err.step, err.code)
          local f = io.open("/proc/self/task/" .. nsbox.sys.process.getpid() .. "/children")
          print(f:read "a")]]):format(first_cpu(), more), "NSBOX_FAULT=" .. step .. ":EIO ")
        assert.same({ ("nil\t%s\tEIO\n\n"):format(step), 0 }, { out, status })
      end
    end
  end)
end)

describe("groups of a box", function()
  needs("maps", "procmount")

  local function groups(o)
    o[1], o[2], o[3] = "sh", "-c", "sed -n 's/^Groups:[\t ]*//p' /proc/self/status"
    return (output(o):gsub("%s+$", ""))
  end

  it("are exactly these, by number or as its own /etc/group names them", function()
    needs "subuid"
    local maps = "subuid"
    assert.equal("5 40", groups { groups = { 40, 5 }, maps = maps })
    local gid = sh("getent group mail"):match ":(%d+):"
    assert.equal(gid, groups { groups = "mail", maps = maps })
    assert.equal("", groups { groups = {}, maps = maps, user = "daemon" })
    assert.equal("7", groups { groups = 7, maps = maps, user = "1000:100" })
    local b <close> = nsbox.box { groups = { 7, 9 }, maps = maps }
    assert.equal("7 9\n", b:exec({ "sh", "-c",
      "sed -n 's/^Groups:[\t ]*//p' /proc/self/status | sed 's/ *$//'" }).stdout)
    -- a program that is somebody else has the groups of that one
    assert.equal("\n", b:exec({ "sh", "-c",
      "sed -n 's/^Groups:[\t ]*//p' /proc/self/status | sed 's/ *$//'", user = 5 }).stdout)
    local err = failure(function() groups { groups = "no-such-group", maps = maps } end, "ENOENT")
    assert.same({ "user", ":no-such-group" }, { err.step, err.subject })
    err = failure(function() groups { groups = { 5, 3000000 }, maps = maps } end, "EINVAL")
    assert.equal("setgroups", err.step)
    assert.matches("^gid 3000000 has no mapping", err.hint)
  end)

  it("are root's box's as well #root", function()
    needs "root"
    assert.equal("5 40", groups { groups = { 40, 5 } })
  end)

  it("are those of the image's /etc/group", function()
    needs("subuid", "rootfs")
    local root = roots.make()
    assert(require "lfs".mkdir(root .. "/etc"))
    spew(root .. "/etc/group", "mail:x:77:\n")
    local text = roots.sh(root, "grep Groups /proc/self/status", { groups = "mail",
      maps = "subuid" })
    assert.matches("^Groups:%s77%s*\n$", text)
  end)

  it("cannot be had where setgroups is denied #user", function()
    local err = failure(function() groups { groups = { 0 } } end, "EPERM")
    assert.equal("setgroups", err.step)
    assert.matches('^setgroups is denied in this user namespace.*maps = "subuid" allows groups',
      err.hint)
  end)
end)

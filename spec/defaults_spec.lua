-- What a box has when nothing is said, read back from inside it.

local defaults = require "nsbox.defaults"
local boxes = require "boxes"
local cap = require "nsbox.sys.cap"
local output = boxes.output

describe("nsbox.defaults", function()
  it("keeps capabilities that exist, Docker's without two", function()
    local known = {}
    for _, name in ipairs(cap.names()) do known[name] = true end
    for _, name in ipairs(defaults.caps) do
      assert.is_true(known[name])
      assert.is_true(name ~= "mknod" and name ~= "net_raw")
    end
    assert.equal(12, #defaults.caps)
  end)

  -- this machine may have none of these files: what is missing in a list would not show
  it("hides and protects all of these paths", function()
    assert.same({ "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
      "/proc/timer_stats", "/proc/sched_debug", "/proc/interrupts" }, defaults.masked_files)
    assert.same({ "/proc/acpi", "/proc/asound", "/proc/scsi", "/sys/firmware",
      "/sys/devices/virtual/powercap" }, defaults.masked_directories)
    assert.same({ "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" },
      defaults.readonly_paths)
  end)
end)

describe("a default box #uml", function()
  needs("maps", "pidns", "procmount", "netns")

  it("has new namespaces of every kind but time", function()
    assert.equal("user mnt pid net uts ipc cgroup", boxes.new_kinds {})
  end)

  it("has exactly the documented capabilities, a filter, and a session of its own", function()
    -- chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service
    -- sys_chroot audit_write setfcap
    local out = output { "sh", "-c", "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; "
      .. "cut -d' ' -f 6 /proc/1/stat" }
    assert.equal([[
CapInh:	0000000000000000
CapPrm:	00000000a00405fb
CapEff:	00000000a00405fb
CapBnd:	00000000a00405fb
CapAmb:	0000000000000000
NoNewPrivs:	1
Seccomp:	2
1
]], out)
  end)

  it("shows the host's files read-only, on all mounts", function()
    local seen, writable = {}, {}
    for line in output { "cat", "/proc/self/mountinfo" }:gmatch "[^\n]+" do
      local point, options = line:match "^%S+ %S+ %S+ %S+ (%S+) (%S+)"
      seen[point] = options -- of two on one place the later is the visible one
    end
    for point, options in pairs(seen) do
      if not options:find "^ro" and not point:find "^/proc" then
        writable[#writable + 1] = point
      end
    end
    assert.same({}, writable)
    local dir = tmpdir()
    local _, r = output { "sh", "-c", ('echo x >"%s/file"'):format(dir), stderr = "null" }
    assert.is_false(r.ok)
    assert.same({}, entries(dir))
    assert.equal(0, (require "nsbox.run" { "sh", "-c", "echo x >/dev/null" }))
  end)

  it("has a /proc of its own, with nothing of the host's to change or see", function()
    -- the length of each file, the entries of each directory
    local script = "set -e\n"
    for _, path in ipairs(defaults.masked_files) do
      script = script .. ("if [ -e %s ]; then wc -c <%s; fi\n"):format(path, path)
    end
    for _, path in ipairs(defaults.masked_directories) do
      script = script .. ('if [ -d %s ]; then ls -A %s; if { echo >%s/x; } 2>/dev/null; then echo '
        .. 'writable; fi; fi\n'):format(path, path, path)
    end
    for _, path in ipairs(defaults.readonly_paths) do
      script = script .. ("if [ -e %s ]; then echo is there: %s .; fi\n"):format(path, path)
    end
    local out, r = output { "sh", "-c", script .. "cat /proc/self/mountinfo", stderr = "stdout" }
    assert.equal(0, r.status, out)
    local seen, mounts = out:match "^([0\n]+)(.*)$"
    assert.is_truthy(seen and seen:find "0", out)
    for path in mounts:gmatch "is there: (%S+)" do
      assert.matches("\n%S+ %S+ %S+ %S+ " .. path:gsub("%p", "%%%0") .. " ro", mounts)
    end
    assert.truthy(mounts:find("is there: /proc/sys .", 1, true))
    assert.equal("1 \n", (output { "sh", "-c", "cd /proc; for p in [0-9]*; do [ -d /proc/$p ] && "
      .. "[ $p = 1 ] && printf '%s ' $p; done; echo" }))
    out = output { "sh", "-c", "echo x >/proc/sys/kernel/domainname; "
      .. "echo 0 >/proc/sys/net/ipv4/ip_forward", stderr = "stdout" }
    assert.equal(2, select(2, out:gsub("Read%-only file system", "")))
  end)

  it("has loopback up, and ping's sockets open", function()
    local out = output { "sh", "-c", "cat /proc/sys/net/ipv4/ping_group_range; "
      .. "ip -o addr show dev lo" }
    assert.matches("^0\t%d+\n", out)
    assert.matches("127.0.0.1/8", out)
  end)

  it("leaves the host's mounts as they are", function()
    local before = slurp "/proc/self/mountinfo"
    require "nsbox.run" { "true", tmpfs = "/tmp", bind = "/usr:/mnt" }
    assert.equal(before, slurp "/proc/self/mountinfo")
  end)

  it("has no uid of the kernel's root #root", function()
    needs "root"
    local map = output { "cat", "/proc/self/uid_map" }
    local inside, outside, length = map:match "^%s*(%d+)%s+(%d+)%s+(%d+)\n$"
    assert.equal("0", inside)
    assert.is_true(tonumber(outside) >= 65536)
    assert.equal("65536", length)
  end)

  it("has only the user's own ids #user", function()
    local ids = require("nsbox.sys.process").ids()
    assert.matches(("^%%s*0%%s+%d%%s+1\n$"):format(ids.euid), (output { "cat",
      "/proc/self/uid_map" }))
    assert.equal("deny\n", (output { "cat", "/proc/self/setgroups" }))
  end)

  it("is gone with its descendants when the program ends", function()
    local r, w = assert(require("nsbox.sys.fd").pipe())
    require "nsbox.run" { "sh", "-c", "sleep 1000 & setsid sleep 1000 & exit 0", stdout = w }
    w:close()
    assert.is_nil(r:read(1))
    r:close()
  end)
end)

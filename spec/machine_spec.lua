local machine = require "nsbox.machine"

describe("nsbox.machine", function()
  it("reads files, or says why not", function()
    assert.equal(slurp "/proc/version", machine.read "/proc/version")
    local text, message, errno = machine.read "/no/such"
    assert.is_nil(text)
    assert.is_string(message)
    assert.equal(2, errno)
  end)

  it("reads settings, status and limits", function()
    assert.equal((sh "uname -r"):match "%S+", machine.sysctl "kernel.osrelease")
    assert.is_nil(machine.sysctl "no.such.setting")
    assert.equal("1", machine.status "Threads")
    assert.is_nil(machine.status "NoSuchField")
    assert.matches("^%w+$", machine.limit "Max open files")
  end)

  it("finds the mount a path is on", function()
    assert.equal("proc", machine.mount_of("/proc/1/status").fstype)
    assert.equal("/proc", machine.mount_of("/proc").point)
    assert.are_not.equal("/proc", machine.mount_of("/processes").point)
  end)

  it("takes for an escape in mountinfo what the kernel writes as one, and nothing else", function()
    local read = machine.read
    finally(function() machine.read = read end)
    machine.read = function()
      return "1 1 0:1 / /a\\040b\\134 rw - x y z\n2 1 0:1 / /\\999\\08\\777\r rw - x y z\n"
    end
    local mounts = machine.mounts()
    assert.equal("/a b\\", mounts[1].point)
    assert.equal("/\\999\\08\\777\r", mounts[2].point)
  end)

  it("looks for whole words among mount options", function()
    local mount = { options = "ro,nosuid" }
    assert.is_true(machine.has_option(mount, "ro"))
    assert.is_true(machine.has_option(mount, "nosuid"))
    assert.is_false(machine.has_option(mount, "suid"))
  end)

  it("knows what is there", function()
    assert.is_true(machine.exists "/proc/self")
    assert.is_false(machine.exists "/no/such")
    assert.is_false(machine.exists "/proc/version/x")
    assert.equal("directory", machine.stat("/proc").type)
    assert.is_nil(machine.stat "/no/such")
  end)

  it("does not know what only /proc tells where that is not mounted", function()
    needs "maps"
    local inside, sys = require "inside", require "nsbox.sys"
    local proc, userns, admin, user = inside({ "user", "mnt" }, function()
      local doctor = require "nsbox.doctor"
      local probe = require "nsbox.probe"
      probe.names = function() return {} end
      assert(sys.mount.mount("tmpfs", "/proc", "tmpfs"))
      return machine.has_proc(), machine.initial_userns() == nil, machine.has_cap(21),
        doctor.findings().versions.user
    end)
    assert.same({ false, true, true }, { proc, userns, admin })
    assert.matches("^uid %d+, gid %d+$", user)
    assert.is_true(machine.has_proc())
  end)

  it("knows the process", function()
    assert.equal(tonumber((sh "id -u")), machine.ids().euid)
    assert.equal(not in_userns(), machine.initial_userns())
    local caps = {}
    for _, name in ipairs(require("nsbox.sys.cap").get().effective) do caps[name] = true end
    assert.equal(caps.sys_admin or false, machine.has_cap(21))
  end)
end)

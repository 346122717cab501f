local place = require "nsbox.place"
local ns = require "nsbox.sys.ns"
local process = require "nsbox.sys.process"
local E = require "nsbox.error"

local function refused(...)
  local ok, err = pcall(place.open, ...)
  assert.is_false(ok)
  assert.is_true(E.is(err), tostring(err))
  return tostring(err)
end

describe("nsbox.place", function()
  it("knows the forms without the kernel", function()
    local own <close> = assert(ns.open "/proc/self/ns/net")
    for _, x in ipairs { 1, "blue", "/run/netns/blue", own } do
      assert.is_true(place.check(x, "net"))
    end
    for _, x in ipairs { 0, -1, "", "a\0b", {}, 1.5, true, io.stdout } do
      local ok, why = place.check(x, "net")
      assert.is_nil(ok)
      assert.matches("^expected ", why)
    end
    local closed = require("nsbox.ns").of(nil, "net")
    closed:close()
    assert.equal("expected a namespace, got a closed one", select(2, place.check(closed, "net")))
    assert.equal("'blue' is no path; only network namespaces have names",
      select(2, place.check("blue", "uts")))
  end)

  it("opens a pid, a path, a process; an ns handle is itself", function()
    local want <close> = assert(ns.open "/proc/self/ns/uts")
    local pid = process.getpid()
    local by_pid <close> = place.open(pid, "uts")
    local by_path <close> = place.open("/proc/self/ns/uts", "uts")
    local self <close> = assert(process.open(pid))
    local by_process <close> = place.open(self, "uts")
    assert.equal(want, by_pid)
    assert.equal(want, by_path)
    assert.equal(want, by_process)
    assert.is_true(rawequal(want, place.open(want, "uts")))
  end)

  it("says what is wrong with a place", function()
    assert.matches("^open: open /etc/passwd: not a namespace %(EINVAL%)\n",
      refused("/etc/passwd", "net"))
    assert.matches("^run: open /proc/self/ns/uts: it is a uts namespace, not a net namespace",
      refused("/proc/self/ns/uts", "net", "run"))
    assert.matches("a pid is a number: net = 12\n?", refused("12", "net"))
    assert.matches("there is no process 4194305", refused(4194305, "net"))
    assert.matches("ip netns shows them", refused("no-such-name", "net"))
  end)

  it("does not close a handle of the wrong kind that it was given", function()
    local uts <close> = assert(ns.open "/proc/self/ns/uts")
    refused(uts, "net")
    assert.equal("uts", uts:kind())
  end)
end)

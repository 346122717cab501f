local process = require "nsbox.sys.process"
local fd = require "nsbox.sys.fd"

local function ending(p)
  fd.poll { [p:fileno()] = "r" }
  local how, value = p:status()
  p:close()
  return how, value
end

local function self_maps()
  local uid, gid = process.geteuid()
  return { uid = { { 0, uid, 1 } }, gid = { { 0, gid, 1 } }, setgroups = "deny" }
end

describe("a launch", function()
  needs "maps"

  it("starts a program in new namespaces #valgrind", function()
    local p = assert(process.spawn { argv = { "/bin/sh", "-c", "exit $$" },
      new = { "user", "pid" }, maps = self_maps() })
    assert.same({ "exit", 1 }, { ending(p) })
  end)

  it("fails at any step without a trace #fault", function()
    local script = [[
      local p, _, errno, step = require("nsbox.sys.process").spawn { argv = { "/bin/true" },
        new = { "user", "pid", "mnt", "uts" }, hostname = "x" }
      print(p and "started" or step, errno)
    ]]
    local steps = 0
    repeat
      steps = steps + 1
      local out = sh(("NSBOX_FAULT=%d:EIO LUA_CPATH='%s/?.so' lua5.4 -e '%s'"):format(steps,
        os.getenv "NSBOX_BUILD" or "build", script))
      assert.is_truthy(out:find("^%S+%s"))
    until out:find "^started"
    assert.is_true(steps > 6)
  end)
end)

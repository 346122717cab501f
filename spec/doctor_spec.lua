local doctor = require "nsbox.doctor"
local probe = require "nsbox.probe"

describe("nsbox.doctor", function()
  it("finds what the probes say", function()
    local findings = doctor.findings()
    assert.equal(#probe.names(), #findings)
    for i, name in ipairs(probe.names()) do
      assert.equal(name, findings[i].name)
      assert.equal((probe.check(name)), findings[i].ok)
    end
    assert.equal((sh "uname -r"):match "%S+", findings.versions.kernel)
  end)

  it("prints yes and no, why, and a remedy", function()
    assert.equal([[
nsbox 1, Lua 5.4, Linux 6, Debian, uid 0
yes  userns  a user namespace
NO   maps    ids in it
             why: uid_map: Operation not permitted
             try: something else
]], doctor.format { versions = { nsbox = "1", lua = "Lua 5.4", kernel = "6", system = "Debian",
      user = "uid 0" },
      { name = "userns", what = "a user namespace", ok = true },
      { name = "maps", what = "ids in it", ok = false, remedy = "something else",
        why = "uid_map: Operation not permitted" } })
  end)

  it("finds what it can without /proc", function()
    needs "maps"
    -- what looks for leaks at the end looks into /proc
    local out, status = require("children").script([[
      local sys = require "nsbox.sys"
      assert(sys.unshare { "user", "mnt" })
      assert(sys.mount.mount("tmpfs", "/proc", "tmpfs"))
      require "nsbox".doctor()
    ]], "ASAN_OPTIONS=detect_leaks=0")
    assert.equal(0, status)
    assert.matches("\nNO   maps .*\n +why: .*\n +try: [^\n]*mount %-t proc", out)
    assert.matches("\nyes  pidfd ", out)
  end)

  it("prints and returns its findings", function()
    local script = tmpdir() .. "/doctor.lua"
    spew(script, 'local f = require "nsbox".doctor() print("and " .. #f .. " findings")')
    local out, status = lua(script)
    assert.equal(0, status)
    assert.matches("^nsbox [%d.]+, Lua 5.4, Linux ", out)
    assert.matches("\nyes  pidfd ", out)
    assert.matches(("\nand %d findings\n$"):format(#probe.names()), out)
  end)
end)

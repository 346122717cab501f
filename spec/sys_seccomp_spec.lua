-- nsbox.sys.seccomp, the field `seccomp` of a plan, and process.filter

local fd = require "nsbox.sys.fd"
local process = require "nsbox.sys.process"
local run = require "packetfilter".run
local seccomp = require "nsbox.sys.seccomp"

local function raises(want, f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok)
  assert.matches(want, message)
end

local function insn(k) return string.pack("<I2 B B I4", 6, 0, 0, k) end
local ALLOW = insn(0x7fff0000)

-- output of a program with this plan, and how it ended
local function out(plan)
  local r, w = assert(fd.pipe())
  plan.stdout, plan.env = w, { "PATH=/usr/bin:/bin" }
  local p = assert(process.spawn(plan))
  w:close()
  local text = {}
  for data in function() return r:read(4096) end do text[#text + 1] = data end
  r:close()
  fd.poll({ [p:fileno()] = "r" }, 30)
  local how, code = p:status()
  p:close()
  return table.concat(text), how, code
end

describe("the field seccomp of a plan", function()
  it("puts the filter on the program", function()
    local text = out { argv = { "cat", "/proc/self/status" }, no_new_privs = true,
      seccomp = process.filter {} }
    assert.matches("\nSeccomp:\t2\n", text)
  end)

  it("is the last thing before the program", function()
    local profile = { action = "allow", rules = {} }
    for name in ("prctl setsid chdir close_range dup3 rt_sigprocmask"):gmatch "%S+" do
      profile.rules[#profile.rules + 1] = { call = name, action = "errno" }
    end
    local text = out { argv = { "cat", "/proc/self/status" }, no_new_privs = true, setsid = true,
      cwd = "/", seccomp = seccomp.compile(profile) }
    assert.matches("\nSeccomp:\t2\n", text)
  end)

  it("with a filter that kills leaves the caller's memory first", function()
    local kills = seccomp.compile { action = "allow",
      rules = { { call = "execve", action = "kill_process" } } }
    for _ = 1, 3 do
      local text, how, code = out { argv = { "true" }, no_new_privs = true, seccomp = kills }
      assert.same({ "", "signal", "SYS" }, { text, how, code })
    end
  end)

  it("raises for what is no filter", function()
    for _, case in ipairs { { "", "this has 0 bytes" }, { "1234567", "this has 7 bytes" },
      { ("x"):rep(8 * 4097), "this has 32776 bytes" }, { true, "got boolean" }, { {}, "got table" },
    } do
      raises(case[2], process.spawn, { argv = { "true" }, seccomp = case[1] })
    end
    raises("idle has no program", process.spawn, { idle = true, seccomp = ALLOW })
  end)

  it("says which step the kernel refused", function()
    local p, message, errno, step = process.spawn { argv = { "true" }, no_new_privs = true,
      seccomp = ("garbage!"):rep(4) }
    assert.same({ nil, 22, "seccomp" }, { p, errno, step })
    assert.matches("Invalid argument", message)
  end)

  it("needs no_new_privs or a capability #user", function()
    local p, _, errno, step = process.spawn { argv = { "true" }, seccomp = ALLOW }
    assert.same({ nil, 13, "seccomp" }, { p, errno, step })
  end)

  it("fails on purpose #fault", function()
    local text, status = lua("-", [[
      local p = require "nsbox.sys.process"
      print(p.spawn { argv = { "true" }, no_new_privs = true, seccomp = p.filter {} })
    ]], "NSBOX_FAULT=seccomp:EFAULT ")
    assert.equal(0, status)
    assert.matches("^nil\tseccomp: Bad address\t14\tseccomp\tnil\n", text)
  end)
end)

describe("process.filter", function()
  it("raises for what are no capabilities, and no filter", function()
    raises("unknown capability 'nothing'", process.filter, { "nothing" })
    raises("list of capabilities", process.filter, 1)
    raises("not a filter", process.filter, {}, "1234567")
    assert.equal("", process.filter({}, ""))
  end)

  it("changes only marks", function()
    local text = insn(0x50001) .. insn(0x50000 | 2048 + 21) .. insn(0x50000 | 3072 + 21)
      .. insn(0x50000 | 2047) .. insn(0x50000 | 3136) .. insn(0x7fff0000 | 2069)
      .. string.pack("<I2 B B I4", 0x15, 1, 2, 0x50000 | 2069)
    local function at(bytes, i) return bytes:sub(i * 8 - 7, i * 8) end
    local without, with = process.filter({}, text), process.filter({ "sys_admin" }, text)
    for _, i in ipairs { 1, 4, 5, 6, 7 } do
      assert.equal(at(text, i), at(without, i))
      assert.equal(at(text, i), at(with, i))
    end
    assert.equal(insn(0x50001) .. insn(0x50026), without:sub(9, 24))
    assert.equal(ALLOW .. ALLOW, with:sub(9, 24))
  end)
end)

describe("nsbox.sys.seccomp", function()
  it("knows the calls of architectures, and their numbers", function()
    local calls, token = seccomp.calls "x86_64"
    assert.same({ 0, 59, 435, 0xc000003e }, { calls.read, calls.execve, calls.clone3, token })
    calls, token = seccomp.calls "x86"
    assert.same({ 3, 11, 102, 0x40000003 }, { calls.read, calls.execve, calls.socketcall, token })
    calls, token = seccomp.calls "aarch64"
    assert.same({ 63, 221, nil, 0xc00000b7 }, { calls.read, calls.execve, calls.open, token })
    calls = seccomp.calls "arm"
    assert.same({ 3, 0xf0005 }, { calls.read, calls.set_tls })
    assert.is_table((seccomp.calls(seccomp.arch())))
    raises("unknown architecture 'pdp11'", seccomp.calls, "pdp11")
  end)

  it("compiles rules with arguments", function()
    local bytes = assert(seccomp.compile { action = "errno", errno = 5, rules = {
      { call = "read", action = "allow" },
      { call = "write", action = "allow", args = { { index = 0, op = "eq", value = 2 } } },
      { call = "kill", action = "errno", errno = 3, args = {
        { index = 0, op = "gt", value = 1 }, { index = 1, op = "masked_eq", value = 8, value2 = 8 },
      } },
      { call = "ptrace", action = "trap" }, { call = "reboot", action = "kill_process" },
      { call = "sync", action = "log" }, { call = "mount", action = "errno", errno = 5 },
    } })
    local calls, token = seccomp.calls(seccomp.arch())
    local function answer(name, ...) return run(bytes, token, calls[name], { ... }) end
    assert.equal("allow", answer "read")
    assert.equal(5, answer("write", 1))
    assert.equal("allow", answer("write", 2))
    assert.equal(3, answer("kill", 2, 9))
    assert.equal(5, answer("kill", 2, 7))
    assert.equal(5, answer("kill", 1, 8))
    assert.equal("trap", answer "ptrace")
    assert.equal("kill_process", answer "reboot")
    assert.equal("log", answer "sync")
    assert.equal(5, answer "mount")
    assert.equal("kill_thread", run(bytes, 0x12345678, 0))
  end)

  it("describes them", function()
    local text = assert(seccomp.describe { action = "kill_process",
      rules = { { call = "getpid", action = "allow" } } })
    assert.matches('filter for syscall "getpid"', text)
    assert.matches("action ALLOW;", text)
    assert.matches("action KILL_PROCESS;", text)
  end)

  it("raises for misuse", function()
    for _, case in ipairs {
      { {}, "rules: expected a list" },
      { { rules = {} }, "needs an action" },
      { { action = "explode", rules = {} }, "unknown action 'explode'" },
      { { action = "allow", rules = {}, x = 1 }, "'x'" },
      { { action = "allow", rules = {}, arches = { "vax" } }, "unknown architecture 'vax'" },
      { { action = "allow", rules = { { call = "nope", action = "log" } } }, "no system call" },
      { { action = "allow", rules = { { call = "read" } } }, "needs an action" },
      { { action = "allow", rules = { "read" } }, "table expected" },
      { { action = "errno", errno = 5000, rules = {} }, "errno" },
      { { action = "allow", rules = { { call = "read", action = "log", args = { { index = 6,
        op = "eq" } } } } }, "index" },
      { { action = "allow", rules = { { call = "read", action = "log",
        args = { { op = "is" } } } } }, "unknown comparison 'is'" },
      { { action = "allow", rules = { { call = "read", action = "log", args = { { op = "eq",
        value = 1.5 } } } } }, "value: expected an integer" },
    } do
      raises(case[2], seccomp.compile, case[1])
    end
  end)

  it("passes on what libseccomp refuses", function()
    -- one argument twice
    local bytes, message, errno = seccomp.compile { action = "allow", rules = { { call = "read",
      action = "log", args = { { index = 0, op = "gt", value = 1 },
        { index = 0, op = "lt", value = 9 } } } } }
    assert.same({ nil, 22 }, { bytes, errno })
    assert.matches("^seccomp: ", message)
  end)
end)

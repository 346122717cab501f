-- The built-in filter, run on every number that a call can have.

local filter = require "nsbox.filter"
local policy = require "nsbox.policy"
local process = require "nsbox.sys.process"
local run = require "packetfilter".run
local seccomp = require "nsbox.sys.seccomp"

local NEWUSER, AF_ALG, AF_VSOCK = 0x10000000, 38, 40
local EPERM, ENOSYS = 1, 38

-- name → entry of the policy, by reading it anew
local function entries()
  local of = {}
  for name in policy.allow:gmatch "%S+" do
    assert(not of[name], name .. " is listed twice")
    of[name] = "allow"
  end
  for _, entry in ipairs(policy.refuse) do
    for name in entry[1]:gmatch "%S+" do
      assert(not of[name], name .. " is listed twice")
      of[name] = entry
    end
  end
  return of
end

-- what the call fails with, or "allow", when its arguments are all 0
local function expected(entry, has)
  if entry == "allow" or entry and entry.unless and has[entry.unless] then
    return "allow"
  elseif entry == nil then
    return ENOSYS
  elseif entry.arg and not entry.but then
    return "allow" -- none of the values refused is 0
  elseif entry.but then
    return "allow"
  end
  return entry.err == "ENOSYS" and ENOSYS or EPERM
end

local function each_call(f, arches)
  for _, arch in ipairs(arches or filter.arches()) do
    local calls, token = seccomp.calls(arch)
    local by = {}
    for name, number in pairs(calls) do by[number] = name end
    f(arch, token, calls, by)
  end
end

describe("the built-in filter", function()
  local of = entries()

  local function compare(caps, marked, arches)
    local bytes, has = process.filter(caps, marked), {}
    for _, name in ipairs(caps) do has[name] = true end
    if has.sys_admin then has.syslog, has.perfmon, has.bpf = true, true, true end
    local wrong, seen = {}, 0
    each_call(function(arch, token, _, by)
      local function look(number)
        local want = expected(of[by[number]], has)
        local got = run(bytes, token, number)
        seen = seen + 1
        if got ~= want then
          wrong[#wrong + 1] = ("%s %d %s: %s, not %s"):format(arch, number, by[number], got, want)
        end
      end
      for number = 0, 1100 do look(number) end
      for number = 0xf0000, 0xf0010 do look(number) end -- the private ones of arm
    end, arches)
    assert.same({}, wrong)
    assert.equal(1118 * #(arches or filter.arches()), seen)
  end

  it("decides so on every machine that nsbox knows", function()
    for _, arches in pairs(policy.arches) do
      local marked = filter.make(filter.rules(), arches)
      compare({}, marked, arches)
      compare({ "sys_admin" }, marked, arches)
      assert.is_true(#marked < 8 * 200 * #arches)
    end
  end)

  it("decides each number as the policy says, without capabilities", function()
    compare {}
  end)

  it("decides so with each capability that lifts something", function()
    for name in pairs(policy.caps) do compare { name } end
    compare(require("nsbox.defaults").caps)
  end)

  it("allows what it allows as libseccomp would", function()
    local profile = { action = "errno", errno = 38, arches = {}, rules = {} }
    for i, arch in ipairs(filter.arches()) do profile.arches[i] = arch end
    local known = {}
    each_call(function(_, _, calls)
      for name in pairs(calls) do known[name] = true end
    end)
    for name in policy.allow:gmatch "%S+" do
      if known[name] then
        profile.rules[#profile.rules + 1] = { call = name, action = "allow" }
      end
    end
    local theirs, ours = assert(seccomp.compile(profile)), process.filter {}
    local differ = {}
    each_call(function(arch, token, _, by)
      for number = 0, 1100 do
        local entry = of[by[number]]
        if entry == nil or entry == "allow" then
          local a, b = run(theirs, token, number), run(ours, token, number)
          -- of the i386 libseccomp opens the old ways to a socket and to System V, too
          if a ~= b and by[number] ~= "socketcall" then
            differ[#differ + 1] = ("%s %s: %s, %s"):format(arch, by[number], a, b)
          end
        end
      end
    end)
    assert.same({}, differ)
    assert.is_true(#ours * 2 < #theirs)
  end)

  it("looks at arguments, at all of what the kernel looks at and at no more", function()
    local bytes, high = process.filter {}, 5 << 32
    each_call(function(_, token, calls)
      local function answer(name, ...) return run(bytes, token, calls[name], { ... }) end
      for _, more in ipairs { 0, high } do
        for bit = 0, 31 do
          local new = 0x7e020000 >> bit & 1 == 1
          assert.equal(new and EPERM or "allow", answer("clone", more | 1 << bit | 17))
          assert.equal((new or bit == 7) and EPERM or "allow", answer("unshare", more | 1 << bit))
        end
        for request = 0x5400, 0x5430 do
          assert.equal((request == 0x5412 or request == 0x541c) and EPERM or "allow",
            answer("ioctl", 0, more | request))
        end
        for family = 0, 50 do
          assert.equal((family == AF_ALG or family == AF_VSOCK) and EPERM or "allow",
            answer("socket", more | family))
        end
        for _, ok in ipairs { 0, 8, 0x20000, 0x20008, 0xffffffff } do
          assert.equal("allow", answer("personality", more | ok))
        end
        for bit = 18, 27 do assert.equal(EPERM, answer("personality", more | 1 << bit)) end
        if calls.socketcall then
          assert.equal(EPERM, answer("socketcall", more | 1))
          assert.equal("allow", answer("socketcall", more | 2))
        end
      end
    end)
  end)

  it("knows no architecture but this machine's, nor calls by the numbers of x32", function()
    local bytes = process.filter "all"
    assert.equal(ENOSYS, run(bytes, 0x12345678, 0))
    each_call(function(_, token, calls)
      for _, number in pairs(calls) do
        assert.equal(ENOSYS, run(bytes, token, number | 0x40000000))
        assert.equal(ENOSYS, run(bytes, token, number | 0x80000000))
      end
    end)
  end)

  it("never ends a program, and is small", function()
    for _, caps in ipairs { {}, "all" } do
      local bytes = process.filter(caps)
      assert.is_false(filter.kills(bytes))
      assert.is_true(#bytes < 8 * 200 * #filter.arches())
    end
  end)

  it("lifts user namespaces with sys_admin", function()
    local bytes = process.filter { "sys_admin" }
    each_call(function(_, token, calls)
      assert.equal("allow", run(bytes, token, calls.clone, { NEWUSER }))
      assert.equal("allow", run(bytes, token, calls.clone3))
      assert.equal(EPERM, run(bytes, token, calls.keyctl))
    end)
  end)
end)

describe("nsbox.filter", function()
  it("makes a filter of rules that lie far apart", function()
    local rules, n = {}, 0
    local calls, token = seccomp.calls(filter.arches()[1])
    for name, number in pairs(calls) do
      if number % 2 == 0 then
        n = n + 1
        rules[name] = filter.refusal(number + 100)
      end
    end
    assert.is_true(n > 100)
    local bytes = filter.make(rules)
    for name, number in pairs(calls) do
      assert.equal(rules[name] and number + 100 or 38, run(bytes, token, number))
    end
  end)

  it("tells a filter that kills from others", function()
    local function of(action) return filter.kills(string.pack("<I2 B B I4", 6, 0, 0, action)) end
    assert.is_true(of(0x80000000))
    assert.is_true(of(0))
    assert.is_true(of(0x30000))
    assert.is_false(of(0x7fff0000))
    assert.is_false(of(0x50001))
    assert.is_false(of(0x7ffc0000))
  end)
end)

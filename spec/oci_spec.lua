-- Profiles of container runtimes, as rules for libseccomp.

local oci = require "nsbox.oci"
local machine = require "nsbox.machine"

local KNOWN = { read = true, write = true, clone = true, bpf = true, ptrace = true }

local function read(syscalls, has, more)
  local t = { defaultAction = "SCMP_ACT_ERRNO", syscalls = syscalls }
  for key, value in pairs(more or {}) do t[key] = value end
  return oci.read(t, has or {}, "x86_64", KNOWN)
end

-- "read allow, write errno 5" …
local function rules(...)
  local profile = assert(read(...))
  local words = {}
  for i, rule in ipairs(profile.rules) do
    words[i] = rule.call .. " " .. rule.action .. (rule.errno and " " .. rule.errno or "")
    for _, arg in ipairs(rule.args) do
      words[i] = ("%s %d%s%d,%d"):format(words[i], arg.index, arg.op, arg.value, arg.value2)
    end
  end
  return table.concat(words, "; ")
end

local function group(names, more)
  local g = { names = names, action = "SCMP_ACT_ALLOW" }
  for key, value in pairs(more or {}) do g[key] = value end
  return g
end

describe("nsbox.oci", function()
  it("reads actions, errnos and names", function()
    assert.equal("read allow; write errno 1; ptrace errno 38; bpf trap; clone kill_process",
      rules { group { "read" }, group({ "write" }, { action = "SCMP_ACT_ERRNO" }),
        group({ "ptrace" }, { action = "SCMP_ACT_ERRNO", errnoRet = 38 }),
        group({}, { name = "bpf", action = "SCMP_ACT_TRAP" }),
        group({ "clone" }, { action = "SCMP_ACT_KILL_PROCESS" }) })
    local profile = read({}, {}, { defaultErrnoRet = 95 })
    assert.same({ "errno", 95 }, { profile.action, profile.errno })
    -- by name, as podman's file has it beside the number, which counts
    profile = read({}, {}, { defaultErrno = "ENOSYS" })
    assert.same({ "errno", 38 }, { profile.action, profile.errno })
    assert.equal("read errno 13; write errno 1", rules { group({ "read" }, { errno = "EACCES",
      action = "SCMP_ACT_ERRNO" }), group({ "write" }, { errno = "EACCES", errnoRet = 1,
      action = "SCMP_ACT_ERRNO" }) })
    -- no thread is there to be told, and a mitigation stays
    assert.is_table(read({}, {}, { flags = { "SECCOMP_FILTER_FLAG_TSYNC",
      "SECCOMP_FILTER_FLAG_SPEC_ALLOW" } }))
    profile = read({}, {}, { defaultAction = "SCMP_ACT_KILL" })
    assert.same({ "kill_thread" }, { profile.action, profile.errno })
  end)

  it("reads arguments; one twice means either", function()
    assert.equal("clone allow 0masked_eq2114060288,0 1ne3,0", rules { group({ "clone" }, { args = {
      { index = 0, value = 2114060288, op = "SCMP_CMP_MASKED_EQ" },
      { index = 1, value = 3, op = "SCMP_CMP_NE" } } }) })
    assert.equal("read allow 0eq1,0; read allow 0eq2,0", rules { group({ "read" }, { args = {
      { index = 0, value = 1, op = "SCMP_CMP_EQ" }, { index = 0, value = 2, op = "SCMP_CMP_EQ" },
    } }) })
  end)

  it("reads for whom a group is", function()
    local of_cap = { group({ "bpf" }, { includes = { caps = { "CAP_BPF", "CAP_CHOWN" } } }),
      group({ "read" }, { excludes = { caps = { "CAP_BPF" } } }) }
    assert.equal("read allow", rules(of_cap))
    assert.equal("", rules(of_cap, { bpf = true }))
    assert.equal("bpf allow", rules(of_cap, { bpf = true, chown = true }))
    assert.equal("read allow", rules { group({ "read" }, { includes = { arches = { "arm64",
      "amd64" } } }), group({ "write" }, { includes = { arches = { "s390x" } } }),
      group({ "clone" }, { excludes = { arches = { "amd64" } } }) })
    local real = machine.sysctl
    finally(function() machine.sysctl = real end)
    local of_kernel = { group({ "ptrace" }, { includes = { minKernel = "4.8" } }),
      group({ "bpf" }, { excludes = { minKernel = "5.10" } }) }
    for release, want in pairs { ["4.7.99"] = "bpf allow", ["4.8.0"] = "ptrace allow; bpf allow",
      ["5.9-x"] = "ptrace allow; bpf allow", ["5.10.1"] = "ptrace allow", ["6.1"] = "ptrace allow",
    } do
      machine.sysctl = function() return release end
      assert.equal(want, rules(of_kernel))
    end
  end)

  it("reads architectures, in both forms", function()
    local profile = read({}, {}, { architectures = { "SCMP_ARCH_X86_64", "SCMP_ARCH_X32" } })
    assert.same({ "x86_64", "x32" }, profile.arches)
    -- those that this kernel does not run have no calls
    profile = read({}, {}, { architectures = { "SCMP_ARCH_S390X", "SCMP_ARCH_AARCH64",
      "SCMP_ARCH_X86_64", "SCMP_ARCH_MIPS" } })
    assert.same({ "x86_64" }, profile.arches)
    profile = read({}, {}, { archMap = {
      { architecture = "SCMP_ARCH_AARCH64", subArchitectures = { "SCMP_ARCH_ARM" } },
      { architecture = "SCMP_ARCH_X86_64", subArchitectures = { "SCMP_ARCH_X86" } } } })
    assert.same({ "x86" }, profile.arches)
  end)

  it("takes what JSON has for nothing", function()
    local dkjson = require "dkjson"
    local profile = assert(oci.read(dkjson.decode [[{ "defaultAction": "SCMP_ACT_ERRNO",
      "defaultErrnoRet": null, "archMap": null, "syscalls": [ { "names": ["read"],
      "action": "SCMP_ACT_ALLOW", "args": null, "comment": "", "includes": {}, "excludes": null },
      { "names": ["write"], "action": "SCMP_ACT_ALLOW", "args": [ { "index": 0,
      "value": 4294967295, "op": "SCMP_CMP_EQ" } ] } ] }]], {}, "x86_64", KNOWN))
    assert.equal(2, #profile.rules)
    assert.equal(0xffffffff, profile.rules[2].args[1].value)
    assert.equal("integer", math.type(profile.rules[2].args[1].value))
  end)

  it("leaves out what is allowed and unknown, not what is refused and unknown", function()
    assert.equal("read allow", rules { group { "read", "from_the_future" } })
    local profile, message = read { group({ "ptrac" }, { action = "SCMP_ACT_ERRNO" }) }
    assert.is_nil(profile)
    assert.equal("syscalls[1].names[1]: 'ptrac' is no system call (did you mean 'ptrace'?)",
      message)
  end)

  it("says what is wrong, and where", function()
    local function wrong(want, ...)
      local profile, message = read(...)
      assert.is_nil(profile)
      assert.equal(want, message)
    end
    wrong("syscalls: expected a list, got a number", 3)
    wrong("syscalls[1]: expected a table, got a string", { "read" })
    -- what would not be read must not look as if it were
    wrong("syscalls: has a hole (an element is nil)", { nil, group { "read" } })
    wrong("syscalls: expected a list, got a table with the key 'read'", { read = group { "read" } })
    wrong("syscalls[1].names: has a hole (an element is nil)", { group { nil, "read" } })
    wrong("syscalls[1].names: expected a list, got a table with the key 'read'",
      { group { read = true } })
    wrong("syscalls[1]: unknown option 'nam' (did you mean 'name'?)", { { nam = "x" } })
    wrong("syscalls[1].action: expected a word, got nothing", { { name = "read" } })
    wrong("syscalls[1].errnoRet: expected an integer, got '1.5'",
      { group({ "read" }, { action = "SCMP_ACT_ERRNO", errnoRet = 1.5 }) })
    wrong("syscalls[1].names[1]: expected a name, got a number", { group { 1 } })
    wrong("syscalls[1].args[1].index: expected between 0 and 5, got 6", { group({ "read" },
      { args = { { index = 6, op = "SCMP_CMP_EQ" } } }) })
    wrong("syscalls[1].args[1].value: expected an integer, got '1.844674407371e+19'",
      { group({ "read" }, { args = { { index = 0, op = "SCMP_CMP_EQ", value = 2.0 ^ 64 } } }) })
    wrong("syscalls[1].includes: unknown option 'cap' (did you mean 'caps'?)",
      { group({ "read" }, { includes = { cap = {} } }) })
    wrong("syscalls[1].includes.minKernel: expected a version like '4.8', got 'four'",
      { group({ "read" }, { includes = { minKernel = "four" } }) })
    wrong("architectures[1]: expected a name like 'SCMP_ARCH_X86_64', got 'amd64'", {}, {},
      { architectures = { "amd64" } })
    wrong("architectures[1]: expected a name like 'SCMP_ARCH_X86_64', got 'SCMP_ARCH_X72'", {}, {},
      { architectures = { "SCMP_ARCH_X72" } })
    wrong("defaultErrnoRet: expected between 0 and 4095, got 4096", {}, {},
      { defaultErrnoRet = 4096 })
    wrong("syscalls[1].errnoRet: expected between 0 and 4095, got -1",
      { group({ "read" }, { action = "SCMP_ACT_ERRNO", errnoRet = -1 }) })
    local names = {}
    for i = 1, 65537 do
      names[i] = "read"
    end
    wrong("syscalls[1]: more than 65536 rules", { group(names) })
    wrong("unknown option 'listenerPath'", {}, {}, { listenerPath = "/x" })
    wrong("flags: expected a list, got true", {}, {}, { flags = true })
    wrong("flags[1]: expected a word, got a number", {}, {}, { flags = { 1 } })
    wrong("flags[1]: expected one of 'SECCOMP_FILTER_FLAG_SPEC_ALLOW', "
      .. "'SECCOMP_FILTER_FLAG_TSYNC', got 'SCMP_FILTER_FLAG_TSYNC' (did you mean "
      .. "'SECCOMP_FILTER_FLAG_TSYNC'?)", {}, {},
      { flags = { "SCMP_FILTER_FLAG_TSYNC" } })
    wrong("flags[2]: 'SECCOMP_FILTER_FLAG_LOG' is not supported: refusals are not logged", {}, {},
      { flags = { "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG" } })
    wrong("flags[1]: 'SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV' is not supported: there is no "
      .. "SCMP_ACT_NOTIFY", {}, {}, { flags = { "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" } })
    wrong("defaultErrno: expected a name like 'EPERM', got 'EFOO'", {}, {},
      { defaultErrno = "EFOO" })
    wrong("syscalls[1].errno: expected a name like 'EPERM', got '3'",
      { group({ "read" }, { action = "SCMP_ACT_ERRNO", errno = 3 }) })
  end)

  it("takes an architecture once, however often it is named", function()
    local twice = {}
    for i = 1, 40 do
      twice[i] = i % 2 == 0 and "SCMP_ARCH_X86" or "SCMP_ARCH_X32"
    end
    assert.same({ "x32", "x86" }, read({}, {}, { architectures = twice, archMap = { {
      architecture = "SCMP_ARCH_X86_64", subArchitectures = { "SCMP_ARCH_X86" } } } }).arches)
  end)

  it("knows the architectures that libseccomp is asked for", function()
    needs "libseccomp"
    local ok, message = pcall(require("nsbox.sys.seccomp").calls, "none")
    assert.is_false(ok)
    for name in message:match "known: ([^)]*)":gmatch "[%w_]+" do
      local profile = oci.read({ defaultAction = "SCMP_ACT_ERRNO", architectures = { "SCMP_ARCH_"
        .. name:upper() } }, {}, name, KNOWN)
      assert.same({ name }, profile.arches)
    end
  end)

  it("takes a profile with any part of it replaced, or says what is wrong", function()
    local VALUES = { "", "SCMP_ACT_ALLOW", "read", -1, 0, 1.5, 2 ^ 70, 0 / 0, true, {}, { {} },
      { names = 1 }, { "read" }, { caps = 1 }, function() end, io.stdout }
    local function whole()
      return { defaultAction = "SCMP_ACT_ERRNO", defaultErrnoRet = 1,
        architectures = { "SCMP_ARCH_X86_64" },
        archMap = { { architecture = "SCMP_ARCH_X86_64",
          subArchitectures = { "SCMP_ARCH_X86" } } },
        syscalls = { group({ "read" }, { comment = "", errnoRet = 3, args = { { index = 0,
          value = 1, valueTwo = 2, op = "SCMP_CMP_EQ" } }, includes = { caps = { "CAP_BPF" },
          arches = { "amd64" }, minKernel = "4.8" }, excludes = { caps = { "CAP_BPF" } } }) } }
    end
    -- all places in it, as lists of keys
    local places = {}
    local function walk(t, path)
      for key, value in pairs(t) do
        local here = { table.unpack(path) }
        here[#here + 1] = key
        places[#places + 1] = here
        if type(value) == "table" then walk(value, here) end
      end
    end
    walk(whole(), {})
    local good, bad = 0, 0
    for _, place in ipairs(places) do
      for _, value in ipairs(VALUES) do
        local t = whole()
        local at = t
        for i = 1, #place - 1 do at = at[place[i]] end
        at[place[#place]] = value
        local profile, message = oci.read(t, {}, "x86_64", KNOWN)
        if profile then
          good = good + 1
        else
          bad = bad + 1
          assert.is_string(message)
          assert.is_nil(message:find("%.lua:%d"), message)
        end
      end
    end
    assert.is_true(good > 20 and bad > 200)
  end)

  it("is taken for one by its words", function()
    assert.is_true(oci.is { defaultAction = "x" })
    assert.is_true(oci.is { syscalls = {} })
    assert.is_false(oci.is { deny = {} })
  end)
end)

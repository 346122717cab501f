describe("nsbox", function()
  it("loads nothing but the C half", function()
    local script = tmpdir() .. "/load.lua"
    spew(script, [[
      local before = {}
      for name in pairs(package.loaded) do before[name] = true end
      require "nsbox"
      for name in pairs(package.loaded) do
        if not before[name] then print(name) end
      end
      for name in pairs(_G) do assert(name == "arg" or before[name] or before._G, name) end]])
    local out, status = lua(script)
    assert.equal(0, status)
    local names = {}
    for name in out:gmatch "%S+" do names[#names + 1] = name end
    table.sort(names)
    assert.same({ "nsbox", "nsbox.sys" }, names)
  end)

  it("finds its parts when they are used", function()
    local nsbox = require "nsbox"
    assert.equal(require("nsbox.error").try, nsbox.try)
    assert.equal(require("nsbox.error").Error, nsbox.Error)
    assert.equal(require "nsbox.sys", nsbox.sys)
    assert.is_function(nsbox.run)
    assert.is_function(nsbox.doctor)
    assert.equal(nsbox.sys._VERSION, nsbox._VERSION)
  end)

  it("has every verb of a scope", function()
    local nsbox = require "nsbox"
    for _, verb in ipairs { "box", "netns", "bridge", "veth", "macvlan", "ipvlan", "vlan", "vxlan",
      "add", "link", "nat", "dns", "sysctl" } do
      assert.equal(require("nsbox.scope")[verb], nsbox[verb])
      assert.equal("nsbox." .. verb, getmetatable(nsbox[verb]).__name)
    end
  end)

  it("has nil for what it does not know", function()
    assert.is_nil(require("nsbox").nosuchverb)
  end)

  it("refuses a C half of another version, naming both", function()
    local script = tmpdir() .. "/version.lua"
    spew(script, [[
      package.loaded["nsbox.sys"] = { _VERSION = "0.0.9" }
      print(select(2, pcall(require, "nsbox")))]])
    assert.matches("the Lua files are version [%d.]+ %(.*nsbox.lua%), but the C half is version "
      .. "0.0.9 %(.*nsbox.so%): install both from the same release", (lua(script)))
  end)

  -- what make install installs: compiled, several modules in one file, some
  -- of them without line numbers
  it("says the same in its installed form", function()
    needs("maps", "procmount")
    local file = tmpdir() .. "/installed.lua"
    spew(file, [[
      local nsbox = require "nsbox"
      print(pcall(function()
        nsbox.run { "true", hostnme = "box" }
      end))
      print(pcall(nsbox.run, { "true", namespaces = { nett = true } }))
      print(nsbox.try(nsbox.run, { "/no/such/program", bare = true }))
      print(nsbox.run { "sh", "-c", "exit 3", bare = true })
      print(pcall(function() return nsbox.box { "true", timeout = "5 years" } end))]])
    local function said(tree)
      return (sh(("LUA_PATH='%s/?.lua;;' %s %s"):format(tree, os.getenv "LUA" or "lua5.4", file))
        :gsub("in %d+%.%d+ s", "in … s"))
    end
    local compiled = (os.getenv "NSBOX_BUILD" or "build") .. "/lua"
    assert.matches("^\27Lua", slurp(compiled .. "/nsbox/run.lua"))
    assert.matches("hostnme.-\n.-nett.-\n.-ENOENT.-\n3\texit 3 in … s\n.-5 years", said "lua")
    assert.equal(said "lua", said(compiled))
  end)

  it("has errors that lua prints without a traceback", function()
    local script = tmpdir() .. "/error.lua"
    spew(script, [[require("nsbox.error").raise { op = "run", subject = "x", code = "ENOENT" }]])
    local out, status = lua(script)
    assert.equal(1, status)
    assert.equal("lua5.4: run x: ENOENT\n", (out:gsub("^[^\n]*lua5.4:", "lua5.4:")))
  end)
end)

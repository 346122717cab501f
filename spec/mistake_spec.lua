local mistake = require "nsbox.mistake"

describe("nsbox.mistake", function()
  local known = { hostname = 1, memory = 1, addr = 1, alias = 1, bind = 1, pids = 1, [1] = 1 }

  it("suggests the nearest name", function()
    for given, nearest in pairs { hostnme = "hostname", Hostname = "hostname", mem = "memory",
      adress = "addr", bnid = "bind", pid = "pids" } do
      assert.equal(nearest, mistake.suggest(given, known))
    end
  end)

  it("suggests nothing when nothing is near", function()
    assert.is_nil(mistake.suggest("xyz", known))
    assert.is_nil(mistake.suggest("", known))
    assert.is_nil(mistake.suggest("a", {}))
  end)

  it("says what it got", function()
    assert.equal("expected x, got a table", mistake.expected("x", {}))
    assert.equal("expected x, got nothing", mistake.expected("x", nil))
    assert.equal("expected x, got true", mistake.expected("x", true))
    assert.equal("expected x, got a FILE*", mistake.expected("x", io.stdout))
  end)

  it("blames the next line of the script where the level has none", function()
    local E = require "nsbox.error"
    local function wrong() mistake.raise("x", 2) end
    local function line(f)
      local ok, err = pcall(f)
      assert.is_false(ok)
      return err:match "^[^\n]*(mistake_spec.lua:%d+: x)$" or err
    end
    local here
    local function at(offset) return ("mistake_spec.lua:%d: x"):format(here + offset) end
    here = debug.getinfo(1, "l").currentline
    assert.equal(at(1), line(function() wrong() end))
    assert.equal(at(2), line(function() E.try(wrong) end))
    assert.equal(at(3), line(function() local v = E.try(pcall(error) and 1 or wrong) return v end))
    assert.equal("x", select(2, coroutine.resume(coroutine.create(wrong))))
  end)

  it("prints control characters as numbers", function()
    assert.equal("expected x, got 'a\\10b'", mistake.bad("x", "a\nb"))
  end)
end)

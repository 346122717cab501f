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

  it("prints control characters as numbers", function()
    assert.equal("expected x, got 'a\\10b'", mistake.bad("x", "a\nb"))
  end)
end)

local probe = require "nsbox.probe"

describe("nsbox.probe", function()
  it("rejects a name it does not know, at the caller's line", function()
    local ok, message = pcall(function() probe.check "usrns" end)
    assert.is_false(ok)
    assert.matches("probe_spec.lua:%d+: unknown probe 'usrns' %(did you mean 'userns'%?%)", message)
  end)

  for _, name in ipairs(probe.names()) do
    it(name .. " says yes, or no with the reason", function()
      local ok, why, remedy = probe.check(name)
      assert.is_boolean(ok)
      assert.equal(ok, why == nil)
      assert.is_true(remedy == nil or type(remedy) == "string")
      assert.is_string(probe.what(name))
    end)
  end

  it("tries once per process", function()
    local process = require "nsbox.sys.process"
    local spawn = process.spawn
    process.spawn = function() error "again" end
    finally(function() process.spawn = spawn end)
    assert.has_no.errors(function() probe.check "userns" end)
  end)

  it("has root only outside of user namespaces", function()
    if in_userns() or sh "id -u" ~= "0\n" then
      assert.is_false((probe.check "root"))
    end
  end)

  it("gives a list of its own", function()
    probe.names()[1] = nil
    assert.is_string(probe.names()[1])
  end)
end)

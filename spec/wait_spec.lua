local wait = require "nsbox.wait"
local fd = require "nsbox.sys.fd"
local E = require "nsbox.error"

describe("nsbox.wait", function()
  it("has a clock that never goes back", function()
    local a = wait.now()
    assert.is_true(wait.now() >= a)
  end)

  it("returns what is ready, and nothing when the time is over", function()
    local r, w = assert(fd.pipe())
    assert.same({}, wait.poll({ [r:fileno()] = "r" }, 0))
    assert.same({ [w:fileno()] = "w" }, wait.poll { [r:fileno()] = "r", [w:fileno()] = "w" })
    w:write "x"
    assert.same({ [r:fileno()] = "r" }, wait.poll { [r:fileno()] = "r" })
    local before = wait.now()
    assert.same({}, wait.poll({}, 0.01))
    assert.is_true(wait.now() - before >= 0.01)
    r:close()
    w:close()
  end)

  it("tells the end of a pipe", function()
    local r, w = assert(fd.pipe())
    w:close()
    assert.same({ [r:fileno()] = "r" }, wait.poll { [r:fileno()] = "r" })
    r:close()
  end)

  it("raises for a descriptor that is closed", function()
    local ok, err = pcall(wait.poll, { [999] = "r" }, 0)
    assert.is_false(ok)
    assert.is_true(E.is(err))
    assert.equal("EBADF", err.code)
  end)
end)

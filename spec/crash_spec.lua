-- A few kills of each recipe; `make crash` does many.
local function crash()
  local out, status = sh(("%s spec/crash/harness.lua 24"):format(os.getenv "LUA" or "lua5.4"))
  assert.equal(0, status, out)
  assert.matches("\n(%d+) kills at fault points, (%d+) at random times: something left after 0\n$",
    out)
end

describe("a script that is killed", function()
  it("leaves nothing that a recovery does not undo #root", crash)

  it("leaves nothing that a recovery does not undo, of a user #user", function()
    needs("maps", "procmount")
    crash()
  end)
end)

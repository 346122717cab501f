-- A few kills of each recipe; `make crash` does many.
local function crash()
  local out, status = sh(("%s spec/crash/harness.lua 24"):format(os.getenv "LUA" or "lua5.4"))
  -- what was left first: there may be room for the beginning of it only
  assert.equal(0, status, (out:match "LEFT.*" or "") .. out)
  assert.matches("\n(%d+) kills at fault points, (%d+) at random times: something left after 0\n$",
    out)
end

describe("a script that is killed", function()
  it("leaves nothing that a recovery does not undo #root #long", crash)

  it("leaves nothing that a recovery does not undo, of a user #user #long", function()
    needs("maps", "procmount")
    crash()
  end)
end)

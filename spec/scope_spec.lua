local nsbox = require "nsbox"
local children = require "children"
local misuse = require("blame").misuse

describe("nsbox.scope", function()
  it("says what is wrong at the caller's line", function()
    misuse(function() nsbox.scope "shop" end, "scope: named scopes and options")
    local s = nsbox.scope()
    misuse(function() s:box { "true", foo = 1 } end, "box: unknown option 'foo'")
    s:close()
    s:close()
    assert.equal("scope (closed): 0 boxes", tostring(s))
    misuse(function() s:box { "true" } end, "box: the scope is closed")
  end)

  -- something that a scope owns, and what it does when it is closed
  local function part(s, close)
    local x = { close = close }
    s._made[#s._made + 1] = x
  end

  it("undoes in reverse order; a failure does not stop the rest", function()
    local s, order = nsbox.scope(), {}
    for i = 1, 3 do
      part(s, function()
        order[#order + 1] = i
        if i == 2 then error("second", 0) end
      end)
    end
    local ok, err = pcall(s.close, s)
    assert.is_false(ok)
    assert.same({ 3, 2, 1 }, order)
    assert.same({ "scope.close", { "second" } }, { err.op, err.undo })
    s:close()
  end)

  it("keeps the error that ends it", function()
    local ok, err = pcall(function()
      local s <close> = nsbox.scope()
      part(s, function() error("the undo", 0) end)
      error("the cause", 0)
    end)
    assert.is_false(ok)
    assert.equal("the cause", err)
  end)

  describe("with boxes", function()
    needs "maps"

    it("has them by name, once", function()
      local s <close> = nsbox.scope()
      local a = s:box { name = "a" }
      assert.equal(a, s.boxes.a)
      misuse(function() s:box { name = "a" } end, "box: the scope has a box 'a' already")
      assert.equal("scope (here): 1 box", tostring(s))
      a:close()
      assert.is_nil(s.boxes.a)
      s:box({ name = "a" }):close()
    end)

    it("ends them", function()
      local s = nsbox.scope()
      local a, b = s:box {}, s:box { "true" }
      s:close()
      assert.same({ "exited", "exited" }, { a.state, b.state })
    end)

    it("is not undone by a forked child that unwinds", function()
      local s <close> = nsbox.scope()
      local b = s:box {}
      local p, r = assert(nsbox.sys.process.clone({}, function() s:close() end))
      assert.same({ "exit", 0 }, { children.ending(p) })
      r:close()
      assert.equal("running", b.state)
      assert.equal("here\n", b:exec({ "echo", "here" }).stdout)
    end)
  end)

  it("of the script ends with the Lua state", function()
    needs "maps"
    for _, ending in ipairs { "", "os.exit(0, true)", "error 'x'" } do
      local out = children.script([[
        local b = require "nsbox".box {}
        print(b.pid)
        io.stdout:flush()
      ]] .. ending)
      local left = nsbox.sys.process.open(math.tointeger(out:match "^%d+"))
      if left then
        children.await(left:fileno(), "the box")
        left:close()
      end
    end
  end)
end)

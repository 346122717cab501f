local nsbox = require "nsbox"
local children = require "children"
local misuse = require("blame").misuse

describe("nsbox.scope", function()
  it("says what is wrong at the caller's line", function()
    misuse(function() nsbox.scope "a b" end, "scope: argument 1: 'a b' is no name for a scope")
    misuse(function() nsbox.scope { "a", prun = true } end, "(did you mean 'prune'?)")
    misuse(function() nsbox.scope { prune = false } end, "scope: prune: of a scope with a name")
    misuse(function() nsbox.scope { timeout = 5 } end, "scope: timeout: of a scope with a name")
    misuse(function() nsbox.scope { 5 } end, "scope: argument 1: expected a name")
    local s = nsbox.scope()
    misuse(function() s:box { "true", foo = 1 } end, "box: unknown option 'foo'")
    misuse(function() s:netns {} end, "netns: which name?")
    misuse(function() s:netns "a/b" end, "'a/b' is no name")
    misuse(function() s:netns ".." end, "'..' is no name")
    misuse(function() s:netns(("x"):rep(256)) end, "longer than 255 bytes")
    misuse(function() s:commit() end, "commit: an anonymous scope keeps nothing")
    s:close()
    s:close()
    assert.equal("scope (closed): empty", tostring(s))
    misuse(function() s:box { "true" } end, "box: the scope is closed")
  end)

  -- something that a scope owns: a step of a kind that only this spec knows
  local order, broken
  package.loaded["nsbox.undo.spec"] = {
    phase = 9,
    undo = function(steps, fail)
      for _, step in ipairs(steps) do
        order[#order + 1] = step.what
        if broken == step.what then
          fail(step, require("nsbox.error").new { op = "undo", subject = step.what,
            code = "EBUSY" })
        end
      end
    end,
    there = function() return true end,
    describe = function(step) return step.what end,
  }
  local function part(s, what)
    local p = require("nsbox.part").new(s, "box")
    s._parts[#s._parts + 1] = p
    p:step("spec", { what = what, durable = false }, function() return {} end)
    return p
  end
  before_each(function()
    order, broken = {}, nil
  end)

  it("loses no second argument of a verb that takes one", function()
    local s <close> = nsbox.scope()
    misuse(function() s:bridge("br0", { addr = "10.0.3.1/24" }) end,
      'bridge: takes one table: bridge { "br0", addr = … }')
    misuse(function() nsbox.bridge("br0", { addr = "10.0.3.1/24" }) end, "bridge: takes one table")
    misuse(function() s:box({ "true" }, { name = "x" }) end, "box: takes one table: box { …, name")
    misuse(function() s:veth({ "a" }, { "b" }) end, "veth: takes one table")
    misuse(function() s:netns("blue", true) end, 'netns: takes one table: netns { "blue", option')
  end)

  it("undoes in reverse order; a failure does not stop the rest", function()
    local s = nsbox.scope()
    for _, what in ipairs { "a", "b", "c" } do part(s, what) end
    broken = "b"
    local ok, err = pcall(s.close, s)
    assert.is_false(ok)
    assert.same({ "c", "b", "a" }, order)
    assert.same({ "scope.close", 1, "b", "EBUSY" },
      { err.op, #err.undo, err.undo[1].subject, err.undo[1].code })
    s:close()
  end)

  it("keeps the error that ends it, and tells what the undo left", function()
    broken = "a"
    local cause = require("nsbox.error").new { op = "x", code = "EIO" }
    local ok, err = pcall(function()
      local s <close> = nsbox.scope()
      part(s, "a")
      error(cause, 0)
    end)
    assert.is_false(ok)
    assert.equal(cause, err)
    assert.same("a", err.undo[1].subject)
    ok, err = pcall(function()
      local s <close> = nsbox.scope()
      part(s, "a")
      error("the cause", 0)
    end)
    assert.same({ false, "the cause" }, { ok, err })
  end)

  it("undoes by its plan what was interrupted in the middle", function()
    local s = nsbox.scope()
    local p = part(s, "a")
    assert.has_error(function()
      p:step("spec", { what = "b", durable = false }, function() error "interrupted!" end)
    end)
    assert.has_error(function()
      p:step("spec", { what = "c", durable = false }, function()
        require("nsbox.error").raise { op = "x", code = "EEXIST" } -- somebody else has it
      end)
    end)
    s:close()
    assert.same({ "b", "a" }, order)
  end)

  it("ends with the coroutine that is closed, and with one that nobody finishes", function()
    local co = coroutine.create(function()
      local s <close> = nsbox.scope()
      part(s, "a")
      coroutine.yield()
    end)
    assert(coroutine.resume(co))
    assert(coroutine.close(co))
    assert.same({ "a" }, order)
    co = coroutine.wrap(function()
      local s <close> = nsbox.scope()
      part(s, "b")
      coroutine.yield()
    end)
    co()
    co = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.same({ "a", "b" }, order)
  end)

  it("forgets what is released", function()
    local s = nsbox.scope()
    part(s, "a"):release()
    part(s, "b"):close()
    assert.same({ "b" }, order)
    s:close()
    assert.same({ "b" }, order)
  end)

  it("holds the lock of its journal until all is undone, also at the end of the state", function()
    local out = children.script [[
      local nsbox = require "nsbox"
      local name
      package.loaded["nsbox.undo.spec"] = { phase = 9, undo = function()
        print(select(2, require "nsbox.journal".open("x", name)))
      end }
      S = nsbox.scope()
      local part = require "nsbox.part".new(S, "box")
      S._parts[1] = part
      part:step("spec", {}, function() return {} end)
      name = S._journal.name
    ]]
    assert.equal("busy\n", out)
  end)

  describe("with boxes", function()
    needs("maps", "procmount")

    it("has them by name, once", function()
      local s <close> = nsbox.scope()
      local a = s:box { name = "a" }
      assert.equal(a, s.boxes.a)
      misuse(function() s:box { name = "a" } end, "box: the scope has a box 'a' already")
      assert.matches("^scope %(.*%): 1 box$", tostring(s))
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

    it("ends them by what was recorded, never by their handles", function()
      local out, status = children.script [[
        local nsbox = require "nsbox"
        local fd = nsbox.sys.fd
        local s = nsbox.scope()
        local b = s:box { "sleep", "60" }
        b:start()
        local watch = assert(nsbox.sys.process.open(b.pid))
        -- what the collector may have done by then
        require("nsbox.wait").leave(b)
        b._handle:close()
        b._settle = function() end
        s:close()
        print(fd.poll({ [watch:fileno()] = "r" }, 0)[watch:fileno()])
      ]]
      assert.same({ "r\n", 0 }, { out, status })
    end)

    it("is not undone by a forked child that unwinds", function()
      local s <close> = nsbox.scope()
      local b = s:box {}
      local p, r = assert(nsbox.sys.process.clone({}, function()
        assert(not pcall(s.box, s, {}))
        s:close()
      end))
      assert.same({ "exit", 0 }, { children.ending(p) })
      r:close()
      assert.equal("running", b.state)
      assert.equal("here\n", b:exec({ "echo", "here" }).stdout)
    end)
  end)

  it("of the script ends with the Lua state", function()
    needs("maps", "procmount")
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

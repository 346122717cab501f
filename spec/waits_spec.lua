local nsbox = require "nsbox"
local misuse = require("blame").misuse

local function program(...)
  return require("nsbox.process").start("spawn", { argv = { ... } },
    require("nsbox.stream").open({ stdin = "pipe" }, { "null", "null", "null" }))
end

describe("nsbox.wait{}", function()
  it("says what is wrong at the caller's line", function()
    misuse(function() nsbox.wait() end, "wait: expected { process or box")
    misuse(function() nsbox.wait {} end, "wait: expected { process or box")
    misuse(function() nsbox.wait { 3 } end, "wait: argument 1: expected a process or a box")
    local p <close> = program "true"
    misuse(function() nsbox.wait { p, timout = 1 } end, "wait: unknown option 'timout'")
    misuse(function() nsbox.wait { p, timeout = "x" } end, "wait: timeout: ")
    misuse(function() p:wait { 1 } end, "wait: ")
  end)

  it("returns the first to end, and its result", function()
    local slow <close> = program "cat"
    local quick <close> = program("sh", "-c", "exit 3")
    local first, result = nsbox.wait { slow, quick }
    assert.equal(quick, first)
    assert.equal(3, result.status)
    assert.equal(quick, nsbox.wait { slow, quick })
    local none, why = nsbox.wait { slow, timeout = 0 }
    assert.same({ nil, "timeout" }, { none, why })
    slow.stdin:close()
    assert.equal(slow, nsbox.wait { slow })
  end)
end)

describe("nsbox.loop", function()
  it("takes a function, or nil", function()
    misuse(function() nsbox.loop "luv" end, "got 'luv'; an event loop is used through")
    misuse(function() nsbox.loop(3) end, "got a number")
  end)

  it("sleeps through the function where the coroutine can yield", function()
    local wait = require "nsbox.wait"
    local p <close> = program "cat"
    nsbox.loop(function(fds, timeout) return coroutine.yield(fds, timeout) end)
    local ok, err = pcall(function()
      local co = coroutine.create(function() return p:wait { timeout = 1000 } end)
      local _, fds, timeout = assert(coroutine.resume(co))
      assert.equal("r", fds[p:fileno()])
      assert.is_true(timeout > 0 and timeout <= 1000)
      p.stdin:close()
      local alive = true
      local result
      while alive do
        _, result = assert(coroutine.resume(co, wait.poll { [p:fileno()] = "r" }))
        alive = coroutine.status(co) ~= "dead"
      end
      assert.equal(0, result.status)
    end)
    nsbox.loop(nil)
    assert(ok, err)
  end)
end)

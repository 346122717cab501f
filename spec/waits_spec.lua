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
    misuse(function() nsbox.wait({ 3 }, 5) end, "wait: takes one table: wait { …, timeout = … }")
    -- at a line of the script, also by try
    misuse(function() nsbox.try(nsbox.wait, {}) end, "wait: expected { process or box")
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
  it("takes a loop's name, a function, or nil", function()
    misuse(function() nsbox.loop "luvv" end, "loop: expected one of 'cqueues', 'luv', got 'luvv' "
      .. "(did you mean 'luv'?)")
    misuse(function() nsbox.loop(3) end, "got a number")
  end)

  it("says what to install when the library is not there", function()
    local path, cpath = package.path, package.cpath
    package.path, package.cpath = path:match "^[^;]*;[^;]*", ""
    local ok, err = nsbox.try(nsbox.loop, "luv")
    package.path, package.cpath = path, cpath
    assert.is_nil(ok)
    assert.same({ "loop", "luv", "ENOENT" }, { err.op, err.subject, err.code })
    assert.matches("install luv (package lua-luv", err.hint, 1, true)
  end)

  it("sleeps through the function where the coroutine can yield", function()
    local wait = require "nsbox.wait"
    local p <close> = program "cat"
    nsbox.loop(function(fds, timeout) return coroutine.yield(fds, timeout) end)
    local ok, err = pcall(function()
      local co = coroutine.create(function() return p:wait { timeout = 1000 } end)
      local _, fds, timeout = assert(coroutine.resume(co))
      -- its own descriptor: nobody can close it meanwhile
      local copy = next(fds)
      assert.same({ [copy] = "r" }, fds)
      assert.not_equal(p:fileno(), copy)
      assert.is_true(timeout > 0 and timeout <= 1000)
      p.stdin:close()
      local result
      while coroutine.status(co) ~= "dead" do
        wait.poll { [copy] = "r" }
        _, result = assert(coroutine.resume(co, { [copy] = "r" }))
      end
      assert.equal(0, result.status)
    end)
    nsbox.loop(nil)
    assert(ok, err)
  end)

  it("refuses what the function returns when it is no table", function()
    local p <close> = program "cat"
    nsbox.loop(function() end)
    local ok, err = coroutine.resume(coroutine.create(function() p:wait() end))
    nsbox.loop(nil)
    assert.same({ false, "loop: the function returned a nil, not a table of descriptors" },
      { ok, err })
  end)
end)

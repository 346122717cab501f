-- The event loops whose names nsbox.loop knows, with the real libraries: waits
-- in one coroutine let the others run.

local children = require "children"

-- go(f) starts a coroutine in the loop, finish() runs it to its end
local LOOPS = {
  cqueues = [[
    local cq = require "cqueues".new()
    local function go(f) cq:wrap(f) end
    local function finish() assert(cq:loop()) end
  ]],
  luv = [[
    local uv = require "luv"
    local function go(f) coroutine.wrap(f)() end
    local function finish() uv.run() end
  ]],
}

local PROLOGUE = [[
  local nsbox = require "nsbox"
  local fd = require "nsbox.sys.fd"
  -- longer than any machine takes, shorter than for ever
  local LONG = 60
  local function descriptors()
    local n = 0
    for _ in require "lfs".dir "/proc/self/fd" do n = n + 1 end
    return n
  end
  nsbox.loop "%s"
]]

local function run(name, body)
  local out, status = children.script(PROLOGUE:format(name) .. LOOPS[name] .. body)
  assert.equal(0, status, out)
  return out
end

for name in pairs(LOOPS) do
  describe(("nsbox.loop %q"):format(name), function()
    needs("maps", "procmount")

    it("runs two boxes side by side: each waits for the other", function()
      assert.equal("exit exit\n", run(name, [[
        local r1, w1 = fd.pipe()
        local r2, w2 = fd.pipe()
        local reasons = {}
        local function side(r, w)
          go(function()
            local _, result = nsbox.run { "sh", "-c", "echo; read x", stdin = r, stdout = w,
              timeout = LONG }
            reasons[#reasons + 1] = result.reason
          end)
        end
        side(r1, w2)
        side(r2, w1)
        finish()
        print(table.concat(reasons, " "))
      ]]))
    end)

    it("gives two coroutines the same result, also when one closes the box at once", function()
      assert.equal("3 true 0\n", (run(name, [[
        -- the loop's own descriptors, and the modules, come first
        go(function() nsbox.box { "true" }:close() end)
        finish()
        local before = descriptors()
        local box = nsbox.box { "sh", "-c", "read x; exit 3", stdin = "pipe" }:start()
        local results = {}
        for i = 1, 2 do
          go(function()
            results[i] = box:wait { timeout = LONG }
            box:close()
          end)
        end
        go(function() box.stdin:write "\n" end)
        finish()
        print(results[1].status, results[1] == results[2], descriptors() - before)
      ]]):gsub("\t", " ")))
    end)

    it("reads and writes streams, calls and executes, while others run", function()
      assert.equal("write line 42 exec\n", run(name, [[
        local said = {}
        local function say(word) said[#said + 1] = word end
        local box = nsbox.box {}
        local p = box:spawn { "cat", stdin = "pipe", stdout = "pipe" }
        go(function()
          say(p.stdout:read("l", { timeout = LONG }))
          say(box:call(function() return 42 end))
          say(box:exec { "echo", "-n", "exec" }.stdout)
          p:close()
          box:close()
        end)
        go(function()
          say "write"
          p.stdin:write "line\n"
        end)
        finish()
        print(table.concat(said, " "))
      ]]))
    end)

    it("ends a wait when its time is over", function()
      assert.equal("nil timeout\n", (run(name, [[
        local box <close> = nsbox.box { "sleep", "1000" }:start()
        go(function() print(box:wait { timeout = "10ms" }) end)
        finish()
      ]]):gsub("\t", " ")))
    end)

    it("blocks where nothing can yield", function()
      assert.equal("0\n", run(name, [[
        print((nsbox.run { "true" }))
        finish()
      ]]))
    end)
  end)
end

describe("nsbox.loop \"luv\"", function()
  needs("maps", "procmount")

  it("lets a coroutine be closed while it waits, which kills its box", function()
    assert.equal("true\tfalse\n", run("luv", [[
      local function alone()
        return (io.open("/proc/self/task/" .. nsbox.sys.process.getpid() .. "/children"):read "a")
      end
      local co = coroutine.create(function() nsbox.run { "sleep", "1000" } end)
      coroutine.resume(co)
      io.write(tostring(alone() ~= ""), "\t")
      coroutine.close(co)
      finish()
      print(alone() ~= "")
    ]]))
  end)

  it("is not confused by who else resumes its coroutine", function()
    assert.equal("0\n", run("luv", [[
      local p = nsbox.box { "cat", stdin = "pipe" }:start()
      local co = coroutine.create(function() print(p:wait().status) end)
      for _ = 1, 3 do coroutine.resume(co) end
      p.stdin:close()
      finish()
    ]]))
  end)
end)

describe("nsbox.loop \"cqueues\"", function()
  needs("maps", "procmount")

  it("blocks in a coroutine that a thread runs itself", function()
    assert.equal("0\tdone\n", run("cqueues", [[
      go(function()
        for status in coroutine.wrap(function()
          coroutine.yield((nsbox.run { "true" }))
        end) do io.write(status, "\t") end
        print "done"
      end)
      finish()
    ]]))
  end)
end)

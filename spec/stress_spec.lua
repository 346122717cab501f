-- Many launches in one process; `make stress` does 10,000.

local c = require "children"

local slow = cell:find "^asan"
local full = cell == "user" or cell == "root"
local COUNT = tonumber(os.getenv "NSBOX_STRESS") or full and 600 or slow and 100 or 300

describe("many launches", function()
  needs("maps", "pidns", "utsns")

  it("leave nothing, and do not grow the host", function()
    local out = c.script('dofile "spec/stress.lua"', ("NSBOX_STRESS=%d NSBOX_STRESS_DIR=%s")
      :format(COUNT, tmpdir()))
    local left, memory = out:match "^(.*), memory (%-?%d+) kB\n$"
    assert.equal("descriptors 0, mounts 0, children 0", left or out)
    -- a sanitizer keeps freed memory for a while, on purpose
    if not slow then assert.is_true(tonumber(memory) <= 1024, memory .. " kB") end
  end)

  for _, mode in ipairs { "generational", "incremental", "full" } do
    it("survive a collector that never rests: " .. mode, function()
      needs "procmount"
      assert.same({ "descriptors 0, children ''\n", 0 }, { c.script(
        ('arg = { "%s" } dofile "spec/collector.lua"'):format(mode)) })
    end)
  end

  it("cost a large host no copy of its page tables", function()
    -- 32 MB in place; a page that a copy was made of faults when it is written again
    local function faults(before)
      local out = c.script([[
        local c = require "children"
        local process = require "nsbox.sys.process"
        local large = {}
        for i = 1, 1 << 21 do large[i] = i end
        local function count()
          local f <close> = io.open "/proc/self/stat"
          return tonumber(f:read "a":match("^%d+ %b() " .. ("%S+ "):rep(7) .. "(%d+)"))
        end
        local sum = 0
        for round = 1, 6 do
          local p = assert(process.spawn(c.box { argv = { "/bin/true" }, env = {},
            new = { "pid" } }))
          c.ending(p)
          local before = count()
          for i = 1, #large, 256 do large[i] = -i end
          if round > 1 then sum = sum + count() - before end
        end
        print(sum)
      ]], before)
      return assert(tonumber(out), out)
    end
    local shared, copied = faults "", faults "NSBOX_LAUNCH=fork"
    assert.is_true(shared < copied / 10, ("%d faults, %d with a copy"):format(shared, copied))
  end)

  it("hang in no host with busy threads #long", function()
    local program = tmpdir() .. "/threads"
    local out, status = sh(("%s -O1 -Wall -Wextra -Werror $(pkg-config --cflags lua5.4) -Icsrc "
      .. "-o %s spec/threads.c build/libnsbox.a $(pkg-config --libs lua5.4) -lcap -lpthread")
      :format(os.getenv "CC" or "cc", program))
    assert(status == 0, out)
    local script = tmpdir() .. "/script.lua"
    local n = full and 1000 or 100
    spew(script, ([[
      package.path = "lua/?.lua;spec/?.lua;" .. package.path
      local c = require "children"
      local process = require "nsbox.sys.process"
      for i = 1, %d do
        local plan = c.box { argv = { "/bin/true" }, env = {}, new = { "pid" },
          gate = i %% 3 == 0, init = i %% 5 == 0 }
        local p = assert(process.spawn(plan))
        if plan.gate then assert(p:start()) end
        local how, value = c.ending(p)
        assert(how == "exit" and value == 0)
      end
      for i = 1, %d do
        local p, out = assert(process.clone({ "user", "pid", maps = c.self_maps() }, function()
          local t = {}
          for k = 1, 200 do t[k] = ("x"):rep(k) end
          io.write ""
          return #table.concat(t)
        end))
        local ok, length = process.results(c.drain(out))
        assert(ok and length == 20100, length)
        assert(c.ending(p) == "exit")
      end
      io.write "done\n"
    ]]):format(n, n // 5))
    -- the watchdog is for a hang
    local run = ("timeout -k 5 300 %s %s"):format(program, script)
    out, status = sh(run .. " </dev/null")
    assert.same({ "done\n", 0 }, { out, status })
    -- children of a thread that fork and never exec hold copies of descriptors
    spew(script, (slurp(script):gsub("for i = 1, %d+ do\n%s+local p, out.-\n      end\n", "")
      :gsub("for i = 1, %d+ do", "for i = 1, 60 do", 1)))
    out, status = sh(run .. " fork </dev/null")
    assert.same({ "done\n", 0 }, { out, status })
  end)
end)

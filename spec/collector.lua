-- What stress_spec.lua runs under a collector that never rests: boxes, programs,
-- calls and namespaces, most of them dropped where they stand.
--
-- Usage: lua5.4 collector.lua MODE; prints what was left.

local lfs = require "lfs"
local modes = {
  generational = function() collectgarbage("generational", 1, 1) end,
  incremental = function() collectgarbage("incremental", 1, 1000, 1) end,
  -- a full collection every so many instructions
  full = function() debug.sethook(function() collectgarbage() end, "", 200) end,
}
modes[arg[1]]()

local nsbox = require "nsbox"

local function descriptors()
  collectgarbage()
  collectgarbage()
  local n = 0
  for _ in lfs.dir "/proc/self/fd" do n = n + 1 end
  return n
end

local function round(i)
  local status, r = nsbox.run { "sh", "-c", "cat; exit 3", input = ("x"):rep(1000 * i),
    stdout = "capture", bare = true }
  assert(status == 3 and r.stdout == ("x"):rep(1000 * i))
  do
    local box <close> = nsbox.box { "cat", stdin = "pipe", stdout = "pipe", bare = true,
      init = i % 2 == 0 }
    box:start()
    box.stdin:write(("line\n"):rep(10)):close()
    local lines = 0
    for line in box.stdout:lines() do
      assert(line == "line")
      lines = lines + 1
    end
    assert(lines == 10 and box:wait().ok)
  end
  do
    local scope <close> = nsbox.scope()
    local box = scope:box { bare = true }
    local big = box:call(function(t, s) return { t, s, nil, { #s } } end, { 1, { 2 } },
      ("y"):rep(10000))
    assert(big[1][2][1] == 2 and big[4][1] == 10000)
    assert(not nsbox.try(box.call, box, function() error { deep = { i } } end))
    assert(box:exec({ "echo", "in" }).stdout == "in\n")
    local ns = nsbox.ns.of(box, "user", "uts") -- dropped
    assert(ns:exec({ "echo", "in" }).stdout == "in\n")
    scope:box { "true", bare = true }
  end
  local made = nsbox.ns.new { "user", "uts" }
  local inode = made.uts.inode
  assert(nsbox.ns.compare(made).uts.a == inode)
  local held = false
  for record in nsbox.ns.list "uts" do held = held or record.inode == inode end
  assert(held)
end

local function children()
  local f <close> = io.open(("/proc/self/task/%d/children"):format(nsbox.sys.process.getpid()))
  return f:read "a"
end

round(1)
-- the script's own scope may have an island until the end
local before, island = descriptors(), children()
for i = 2, 5 do round(i) end
local left = children()
print(("descriptors %d, children '%s'"):format(descriptors() - before,
  left ~= island and left or ""))

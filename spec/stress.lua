-- What stress_spec.lua runs: launches of all shapes, and what they leave.
-- NSBOX_STRESS is their number, NSBOX_STRESS_DIR a directory to mount on.
--
-- A process of its own, because the garbage of hundreds of specs would hide, or
-- look like, a leak.  Prints one line: descriptors, mounts and children that
-- came to be, and by how many kB the resident memory grew after a warm-up.

local lfs = require "lfs"
local sys = require "nsbox.sys"
local c = require "children"
local process = sys.process

local COUNT = assert(tonumber(os.getenv "NSBOX_STRESS"))
local DIR = assert(os.getenv "NSBOX_STRESS_DIR")

local function read(path)
  local f <close> = assert(io.open(path))
  return f:read "a"
end

local shapes = {
  function() return {} end,
  function() return c.box { new = { "pid" } } end,
  function()
    return c.box { new = { "pid", "mnt", "uts", "ipc" }, hostname = "stress",
      mounts = { { target = DIR, type = "tmpfs" } } }
  end,
  function() return c.box { gate = true } end,
  function() return c.box { new = { "pid" }, init = true } end,
  function() return c.box { uid = 0, gid = 0, caps = {} } end,
  function() return { argv = { "/nonexistent" } } end,
  function() return c.box { new = { "pid" }, gate = true }, "close" end,
  function() return c.box { new = { "pid", "uts" }, init = true, argv = { "/nonexistent" } } end,
}

local function function_in_a_child(i)
  local p, out = assert(process.clone({ "user", "pid", maps = c.self_maps() },
    function(x) return x end, i))
  local ok, value = process.results(c.drain(out))
  assert(ok and value == i)
  assert(c.ending(p) == "exit")
end

local function program(i)
  local plan, close = shapes[i % #shapes + 1]()
  plan.env, plan.argv = {}, plan.argv or { "/bin/true" }
  local p, message, errno = process.spawn(plan)
  if plan.argv[1] == "/nonexistent" then
    assert(not p and errno == sys.errno.ENOENT, message)
    return
  end
  assert(p, message)
  if close then return p:close() end
  if plan.gate then assert(p:start()) end
  local how, value = c.ending(p)
  assert(how == "exit" and value == 0)
end

local function run(count)
  for i = 1, count do
    if i % 20 == 0 then function_in_a_child(i) else program(i) end
  end
end

local function state()
  collectgarbage()
  collectgarbage()
  local files = 0
  for _ in lfs.dir "/proc/self/fd" do files = files + 1 end
  local pid = process.getpid()
  return {
    descriptors = files,
    mounts = select(2, read "/proc/self/mountinfo":gsub("\n", "")),
    children = select(2, read(("/proc/%d/task/%d/children"):format(pid, pid)):gsub("%d+", "")),
    rss = tonumber(read "/proc/self/smaps_rollup":match "Rss:%s+(%d+) kB"),
  }
end

run(math.min(COUNT, 300))
local before = state()
run(COUNT)
local after = state()
print(("descriptors %d, mounts %d, children %d, memory %d kB"):format(
  after.descriptors - before.descriptors, after.mounts - before.mounts,
  after.children - before.children, after.rss - before.rss))

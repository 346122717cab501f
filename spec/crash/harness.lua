-- Kills recipes and looks at what is left:
--
--     lua5.4 spec/crash/harness.lua [KILLS] [RECIPE…]
--
-- as root, or as an ordinary user, who gets user, network, mount and pid
-- namespaces of his own for it. Each recipe is killed KILLS times, half of them
-- at system calls (strace(1) delivers the signal when the script enters one;
-- with many kills, at every one of them in turn), half at random times. After
-- each the scopes are recovered and the named ones removed, by scripts that are
-- killed at that in the same way, and then by this process; and the machine is
-- compared with how it was before. The last line has the sums.

local here = arg[0]:match "^(.*)/" or "."
local INSIDE = "NSBOX_CRASH_INSIDE"

local function quote(s) return "'" .. s:gsub("'", "'\\''") .. "'" end

if not os.getenv(INSIDE) then
  local words = {}
  for i = 1, #arg do words[i] = quote(arg[i]) end
  local user = io.popen "id -u":read "a" ~= "0\n"
  -- the shell is pid 1 there, and reaps what loses its parent
  os.exit((os.execute(("%s=1 exec unshare %s -nmpf --kill-child --mount-proc --propagation private "
    .. "sh -c 'mount -t tmpfs -o mode=755 tmpfs /run || exit; [ ! -d /etc/netns ] || "
    .. "mount -t tmpfs tmpfs /etc/netns; \"$@\"; exit $?' crash %s %s %s"):format(
    INSIDE, user and "-Ur" or "", os.getenv "LUA" or "lua5.4", quote(arg[0]),
    table.concat(words, " ")))) and 0 or 1, true)
end

local nsbox = require "nsbox"
local lfs = require "lfs"
local fd, process = nsbox.sys.fd, nsbox.sys.process

local PATIENCE <const> = 20 -- seconds for what the kernel ends after a process

-- the machine ---------------------------------------------------------------------

local function sh(command)
  os.execute("{ " .. command .. "; } >/dev/null 2>&1")
end

local function slurp(path)
  local f = io.open(path, "rb")
  if not f then return "" end
  local text = f:read "a"
  f:close()
  return text
end

local function entries(path)
  local names = {}
  if lfs.attributes(path, "mode") == "directory" then
    for name in lfs.dir(path) do
      if name ~= "." and name ~= ".." then names[#names + 1] = name end
    end
  end
  table.sort(names)
  return names
end

local function devices(text)
  local names = {}
  for name in text:gmatch "([^%s|]+):" do names[#names + 1] = name end
  table.sort(names)
  return table.concat(names, " ")
end

local function command(pid)
  return (slurp("/proc/" .. pid .. "/cmdline"):gsub("%z", " "))
end

-- zombies of nobody's are the shell's to reap, a moment later; one that is listed
-- may be gone when it is looked at; one without a command has no memory any more
local function processes()
  local found = {}
  for _, pid in ipairs(entries "/proc") do
    local stat = pid:find "^%d+$" and slurp("/proc/" .. pid .. "/stat")
    local state = stat and stat:match "%) (%u)"
    local words = state and state ~= "Z" and command(pid) or ""
    if words ~= "" then found[#found + 1] = pid .. " " .. words end
  end
  return found
end

local stranger

local SWITCHES = { "net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding",
  "net/ipv4/ip_default_ttl", "net/ipv4/conf/all/accept_redirects", "net/ipv4/conf/lo/forwarding" }

-- "lo <LOOPBACK,UP> mtu 65536 …", and addresses and routes: what a scope may have borrowed
local function borrowed(before)
  local p = io.popen(before .. [[sh -c '
    ip -o link show type veth; ip -o -d link show lo; ip -o addr show dev lo; ip route show dev lo;
    ip -6 route show dev lo']])
  local text = p:read "a"
  p:close()
  return (text:gsub("@%w+", ""):gsub("valid_lft %S+ preferred_lft %S+", "")
    :gsub("state %u+", ""):gsub(" link%-netnsid %d+", ""):gsub(",?LOWER_UP", ""))
end

-- what nftables has here and there
local function rules()
  if not require("nsbox.probe").check "nftables" then return "" end
  local own <close> = assert(nsbox.sys.nft.open())
  local there <close> = assert(nsbox.sys.nft.open(stranger))
  return assert(own:run "list ruleset") .. assert(there:run "list ruleset")
end

local function machine()
  local mounts = {}
  for line in slurp "/proc/self/mountinfo":gmatch "[^\n]+" do
    -- the directory of names stays, as with ip netns
    if line:match "^%S+ %S+ %S+ %S+ (%S+)" ~= "/run/netns" then mounts[#mounts + 1] = line end
  end
  local rundir = require("nsbox.rundir").path()
  local values = {}
  for i, name in ipairs(SWITCHES) do
    values[i] = slurp("/proc/sys/" .. name)
      .. assert(nsbox.sys.netlink.sysctl_get(stranger, name)) .. "\n"
  end
  return {
    processes = table.concat(processes(), "\n"),
    mounts = table.concat(mounts, "\n"),
    names = table.concat(entries "/run/netns", " "),
    journals = table.concat(entries(rundir), " "),
    ["files in /etc/netns"] = table.concat(entries "/etc/netns", " "),
    links = devices(slurp "/proc/self/net/dev"),
    ["stranger's links"] = devices(slurp(("/proc/%d/net/dev"):format(stranger))),
    borrowed = borrowed "",
    ["stranger's"] = borrowed(("nsenter -t %d -n "):format(stranger)),
    sysctls = table.concat(values),
    rules = rules(),
  }
end

local function difference(before, after)
  local out = {}
  for what, value in pairs(before) do
    if after[what] ~= value then
      out[#out + 1] = ("%s:\n  before: %s\n  after:  %s"):format(what, value, after[what])
    end
  end
  return #out > 0 and table.concat(out, "\n") or nil
end

-- when nothing is on its way out any more
local function quiet_machine()
  local now = machine()
  while true do
    fd.poll({}, 0.05)
    local later = machine()
    if not difference(now, later) then
      return later
    end
    now = later
  end
end

-- one kill ------------------------------------------------------------------------

local script = os.tmpname()
local log = os.tmpname()

-- scripts that undo: what is recovered may still stand
local RECOVER = [[require "nsbox".scope.recover()]]
local REMOVE = [[
  local scopes = require "nsbox".scope
  scopes.recover()
  for _, scope in ipairs(scopes.list()) do
    if not scope.anonymous then scopes.remove(scope.name) end
  end
]]

-- what looks for leaks at the end cannot do so in a process that is traced
local function environment(is_traced)
  local env = {}
  for _, name in ipairs { "PATH", "LUA_PATH", "LUA_CPATH", "XDG_RUNTIME_DIR", "SUBUID", "HOME",
    "ASAN_OPTIONS", "UBSAN_OPTIONS" } do
    local value = os.getenv(name)
    if value and is_traced then value = value:gsub("detect_leaks=1", "detect_leaks=0") end
    env[#env + 1] = value and name .. "=" .. value or nil
  end
  return env
end

local function start(words, is_traced)
  local null <close> = assert(fd.open("/dev/null", "rdwr"))
  local p = assert(process.spawn { argv = words, env = environment(is_traced), stdin = null,
    stdout = null, stderr = os.getenv "NSBOX_CRASH_LOUD" and 2 or null })
  return p
end

local function wait(p, seconds)
  local ready
  repeat ready = fd.poll({ [p:fileno()] = "r" }, seconds) until ready
  return next(ready) ~= nil
end

local function lua_words(code)
  if code then return os.getenv "LUA" or "lua5.4", "-e", code end
  return os.getenv "LUA" or "lua5.4", script
end

local function traced(options, text)
  local words = { "strace", "-qq", "-o", log }
  table.move(options, 1, #options, #words + 1, words)
  for _, word in ipairs { lua_words(text) } do words[#words + 1] = word end
  local p = start(words, true)
  assert(wait(p, 60), "the recipe hangs")
  return p:status()
end

-- every system call from the first one that touches the state: { name, which one of it }
local function points(code)
  assert(traced({}, code) == "exit")
  local counts, found, begun = {}, {}, false
  for line in io.lines(log) do
    local name = line:match "^([%w_]+)%("
    if name then
      counts[name] = (counts[name] or 0) + 1
      begun = begun or line:find("/proc/self/ns/user", 1, true) or line:find("^clone", 1)
      if begun then found[#found + 1] = { name, counts[name] } end
    end
  end
  return found
end

local function kill_at(point, code)
  traced({ "-e", ("inject=%s:signal=KILL:when=%d"):format(point[1], point[2]) }, code)
end

local function kill_after(seconds, code)
  local p = start { lua_words(code) }
  if not wait(p, seconds) then
    p:kill "KILL"
    wait(p)
  end
  p:status()
end

local function duration(text)
  local p, from = start { lua_words(text) }, process.clock()
  wait(p)
  local how, code = p:status()
  assert(how == "exit" and code == 0, "the recipe fails by itself")
  return process.clock() - from
end

-- what cannot be recovered, or was lost by that: nil, or why
local function recover(recipe)
  local ok, err = pcall(nsbox.scope.recover)
  if not ok then return "recover: " .. tostring(err) end
  for _, name in ipairs(recipe.stands) do
    if not lfs.attributes("/run/netns/" .. name) then return "committed, and gone: " .. name end
  end
end

-- what cannot be undone: nil, or why
local function undo()
  local ok, err = pcall(nsbox.scope.recover)
  if not ok then return "recover: " .. tostring(err) end
  for _, scope in ipairs(nsbox.scope.list()) do
    if not scope.anonymous then
      ok, err = pcall(nsbox.scope.remove, scope.name)
      if not ok then return "remove: " .. tostring(err) end
    end
  end
end

-- tries until there is nothing to say, or for long. A child that was being started
-- when the script was killed holds its locks until it has seen that.
local function settle(try)
  local deadline, found = process.clock() + PATIENCE
  repeat
    found = try()
    if found then fd.poll({}, 0.002) end
  until not found or process.clock() > deadline
  return found
end

-- undoes, and compares; nil: nothing is left. interrupt(script) runs one that undoes, and
-- kills it
local function left(recipe, before, interrupt)
  local lost
  if interrupt and recipe.stands then
    interrupt(RECOVER)
    lost = settle(function() return recover(recipe) end)
  end
  if interrupt then interrupt(REMOVE) end
  return lost or settle(function()
    local found = undo()
    if recipe.cleanup then sh(recipe.cleanup) end
    return found or before and difference(before, machine())
  end)
end

-- all -----------------------------------------------------------------------------

local kills = tonumber(arg[1]) or 100
local wanted = {}
for i = 2, #arg do wanted[arg[i]] = true end

local other = assert(process.spawn { argv = { "sleep", "3600" }, new = { "net" },
  env = environment() })
stranger = other:pid()
-- something to borrow: its other end is somewhere else
os.execute(("ip link add card type veth peer card netns %d"):format(stranger))
-- a machine that believes no redirects, and forwards for one device: a kernel that begins to
-- forward, or ends it, changes both
for key, value in pairs { ["net/ipv4/conf/all/accept_redirects"] = "0",
  ["net/ipv4/conf/lo/forwarding"] = "1" } do
  nsbox.sys.netlink.sysctl_set(nil, key, value)
  nsbox.sys.netlink.sysctl_set(stranger, key, value)
end

local sums = { 0, 0, 0 }
local function count(which, what, ...)
  sums[which] = sums[which] + 1
  local found = left(...)
  if found then
    sums[3] = sums[3] + 1
    print(("LEFT after %s\n%s"):format(what, found))
  end
end

local recipes, chosen = dofile(here .. "/recipes.lua"), {}
for _, recipe in ipairs(recipes) do
  -- in a user namespace of one id no program has others to change to
  local possible = not recipe.ids
    or slurp "/proc/self/uid_map":match "^%s*%d+%s+%d+%s+(%d+)" ~= "1"
  -- nor may everybody open every file
  local file = recipe.file and io.open(recipe.file, "r+b")
  possible = possible and (file or not recipe.file)
    and (not recipe.needs or require("nsbox.probe").check(recipe.needs))
  if file then file:close() end
  if possible and (not next(wanted) or wanted[recipe[1]]) then chosen[#chosen + 1] = recipe end
end

for _, recipe in ipairs(chosen) do
  local name, code = recipe[1], recipe[2]
  local f <close> = assert(io.open(script, "w"))
  f:write(("local nsbox, stranger = require 'nsbox', %d\n%s"):format(stranger, code))
  f:flush()
  local function prepare()
    if recipe.before then duration(recipe.before) end
  end
  prepare()
  local seconds = duration()
  left(recipe)
  local before = quiet_machine()
  prepare()
  local all = points()
  left(recipe, before)
  -- what is left in the middle of it, and what undoing that takes
  prepare()
  kill_at(all[#all // 2])
  local undoing, longest = points(REMOVE), duration(REMOVE)
  left(recipe, before)
  local half = math.ceil(kills / #chosen / 2)
  local step = #all / half
  for i = 1, half do
    local point = all[math.floor((i - 1) * step) % #all + 1]
    prepare()
    kill_at(point)
    local at = undoing[math.random(#undoing)]
    count(1, ("%s, killed at %s number %d, and at %s number %d of the undo"):format(name,
      point[1], point[2], at[1], at[2]), recipe, before, function(undoer) kill_at(at, undoer) end)
  end
  for _ = 1, half do
    local after, later = math.random() * seconds * 1.1, math.random() * longest * 1.5
    prepare()
    kill_after(after)
    count(2, ("%s, killed after %.1f ms, and %.1f ms of the undo"):format(name, after * 1e3,
      later * 1e3), recipe, before, function(undoer) kill_after(later, undoer) end)
  end
  print(("%-20s %4d system calls, killed at %d; %d times at random"):format(name, #all, half, half))
end

other:kill "KILL"
wait(other)
os.remove(script)
os.remove(log)
print(("%d kills at fault points, %d at random times: something left after %d"):format(
  table.unpack(sums)))
os.exit(sums[3] == 0, true)

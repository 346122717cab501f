-- What an island costs an ordinary user: to make one, without and with subordinate
-- ids, beside what `unshare -Urnm true` costs, and a bridge with N named namespaces
-- on it, beside what root pays without one.
--
-- Variants take turns, and ratios are taken within a round. As root, who runs the
-- user's part as nobody: make bench WHAT=island, or with ROUNDS=25

local LUA <const> = os.getenv "LUA" or "lua5.4"
local ROUNDS <const> = tonumber(os.getenv "ROUNDS") or 11
local NEW <const> = "unshare -nmpf --kill-child --mount-proc sh -c 'mount -t tmpfs tmpfs /run; "
  .. "ulimit -n 65536 2>/dev/null; exec \"$@\"' new "
local NOBODY <const> = "setpriv --reuid 65534 --regid 65534 --clear-groups "

-- newuidmap reads them there
local SUBIDS <const> = [[sh -c 'echo 65534:100000:65536 >/run/ids && ]]
  .. [[for f in subuid subgid; do mount --bind /run/ids /etc/$f || exit; done; exec "$@"' ids ]]

local figures <const> = dofile((arg[0]:match "^(.*)/" or ".") .. "/figures.lua")
local median <const>, row <const> = figures.median, figures.row

local workers = {}

local function clock()
  return require("nsbox.sys.process").clock() * 1e6
end

-- prints what an island took, and what the command took, median of both and of their ratio;
-- option: of the command
function workers.make(rounds, option)
  local nsbox, took, command = require "nsbox", {}, {}
  local process, fd = nsbox.sys.process, nsbox.sys.fd
  local argv = { "unshare", "-Urnm", "true" }
  if option then
    table.insert(argv, 2, option)
  end
  nsbox.scope { private = true }.ns:close()
  for i = 1, rounds do
    local start = clock()
    local s = nsbox.scope { private = true }
    local ns = s.ns
    took[i] = clock() - start
    ns:close()
    s:close()
    start = clock()
    local p = assert(process.spawn { argv = argv,
      env = { "PATH=/usr/bin:/bin" } })
    fd.poll { [p:fileno()] = "r" }
    p:status()
    command[i] = clock() - start
  end
  print(("%.0f %.0f %.3f"):format(median(took), median(command),
    figures.paired(took, command, figures.ratio)))
end

-- prints up and down, a namespace
function workers.up(n)
  local s = require("nsbox").scope()
  local start = clock()
  s:batch(function()
    local br = s:bridge { "br0", addr = "10.0.0.1/16" }
    for i = 1, n do
      br:attach(s:netns("ns" .. i), { "eth0" })
    end
  end)
  local up = clock()
  s:close()
  print(("%.0f %.0f"):format((up - start) / n, (clock() - up) / n))
end

if arg[1] == "--worker" then
  workers[arg[2]](math.tointeger(tonumber(arg[3])), arg[4])
  return
end

local WORKER <const> = ("%s %s --worker "):format(LUA, arg[0])

local function run(command)
  local f <close> = assert(io.popen(command))
  local numbers = {}
  for word in f:read("a"):gmatch "[%d.]+" do
    numbers[#numbers + 1] = tonumber(word)
  end
  return assert(numbers[1] and numbers, command)
end

local MAKE <const> = NOBODY .. WORKER .. "make " .. 3 * ROUNDS
local made, more = run(NEW .. MAKE), run(NEW .. SUBIDS .. MAKE .. " --map-auto")
print "\n**An island, microseconds**\n"
row("by an ordinary user", "median", "x unshare")
row("---", "---:", "---:")
row("`unshare -Urnm true`", ("%.0f"):format(made[2]), "1.00")
row("an island, in the script", ("%.0f"):format(made[1]), ("%.2f"):format(made[3]))
row("`unshare -Urnm --map-auto true`", ("%.0f"):format(more[2]), "1.00")
row("an island with subordinate ids", ("%.0f"):format(more[1]), ("%.2f"):format(more[3]))

for _, n in ipairs { 10, 100 } do
  local up, down, ratios = { {}, {} }, { {}, {} }, {}
  for round = 1, ROUNDS do
    local rooted = run(("%s%sup %d"):format(NEW, WORKER, n))
    local island = run(("%s%s%sup %d"):format(NEW, NOBODY, WORKER, n))
    up[1][round], up[2][round], down[1][round], down[2][round] =
      rooted[1], island[1], rooted[2], island[2]
    ratios[round] = island[1] / rooted[1]
  end
  print(("\n**%d namespaces on a bridge, microseconds each**\n"):format(n))
  row(("%d namespaces"):format(n), "up", "x root", "down")
  row("---", "---:", "---:", "---:")
  row("root", ("%.0f"):format(median(up[1])), "1.00", ("%.0f"):format(median(down[1])))
  row("an ordinary user, on an island", ("%.0f"):format(median(up[2])),
    ("%.2f"):format(median(ratios)), ("%.0f"):format(median(down[2])))
end

-- What networks cost: a bridge and N named namespaces with a card on it, up and
-- down; a card for a process that runs; one link of a thousand.  Compared with
-- the same requests by raw rtnetlink (netlimit.c) and with the commands of ip(8).
--
-- Every run has a network, mount and pid namespace of its own.  All variants take
-- turns, and ratios are taken within a round.
--
-- Usage, as root: make bench WHAT=network, or with ROUNDS=25

local LUA <const> = os.getenv "LUA" or "lua5.4"
local BUILD <const> = os.getenv "NSBOX_BUILD" or "build"
local ROUNDS <const> = tonumber(os.getenv "ROUNDS") or 11
local LIMIT <const> = BUILD .. "/bench/netlimit"
local NEW <const> = "unshare -nmpf --kill-child --mount-proc sh -c 'mount -t tmpfs tmpfs /run; "
  .. "ulimit -n 65536 2>/dev/null; exec \"$@\"' new "

-- what one run does, in there --------------------------------------------------

local workers = {}

local function clock()
  return require("nsbox.sys.process").clock() * 1e6
end

local function cards(s, n)
  local br = s:bridge { "br0", addr = "10.0.0.1/16" }
  for i = 1, n do
    br:attach(s:netns("ns" .. i), { "eth0" })
  end
end

-- "batch" or "each"; prints up and down
function workers.up(n, how)
  local s = require("nsbox").scope()
  n = math.tointeger(tonumber(n))
  local start = clock()
  if how == "batch" then
    s:batch(function()
      cards(s, n)
    end)
  else
    cards(s, n)
  end
  local up = clock()
  s:close()
  print(("%.0f %.0f"):format(up - start, clock() - up))
end

local figures <const> = dofile((arg[0]:match "^(.*)/" or ".") .. "/figures.lua")
local median <const>, row <const> = figures.median, figures.row

function workers.attach(pid, count)
  local s <close> = require("nsbox").scope()
  local br, took = s:bridge { "br0", addr = "10.0.0.1/16" }, {}
  for i = 1, tonumber(count) do
    local start = clock()
    local card = br:attach(math.tointeger(tonumber(pid)), "eth0")
    took[i] = clock() - start
    card:close()
  end
  print(median(took))
end

function workers.get(name, count)
  local nl <close>, took = require("nsbox.sys.netlink").open(), {}
  for i = 1, tonumber(count) do
    local start = clock()
    assert(nl:link_get(name))
    took[i] = clock() - start
  end
  print(median(took))
end

if arg[1] == "--worker" then
  workers[arg[2]](arg[3], arg[4])
  return
end

-- all runs ---------------------------------------------------------------------

local WORKER <const> = ("%s %s --worker "):format(LUA, arg[0])

local SHELL <const> = [[
n=$0; now() { echo ${EPOCHREALTIME/./}; }; a=$(now)
ip link add br0 type bridge; ip addr add 10.0.0.1/16 dev br0; ip link set br0 up
for i in $(seq $n); do
  ip netns add ns$i; ip link add veth$i type veth peer name p$i
  ip link set p$i netns ns$i; ip netns exec ns$i ip link set p$i name eth0
  ip netns exec ns$i ip link set lo up
  ip netns exec ns$i ip addr add 10.0.$(((i+1)/256)).$(((i+1)%256))/16 dev eth0
  ip netns exec ns$i ip link set eth0 up; ip link set veth$i master br0; ip link set veth$i up
  ip netns exec ns$i ip route add default via 10.0.0.1
done
b=$(now); for i in $(seq $n); do ip link del veth$i; ip netns del ns$i; done; ip link del br0
echo $((b-a)) $(($(now)-b))]]

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- the numbers that a command prints
local function run(command)
  local f <close> = assert(io.popen(command))
  local numbers = {}
  for word in f:read("a"):gmatch "[%d.]+" do
    numbers[#numbers + 1] = tonumber(word)
  end
  return assert(numbers[1] and numbers, command)
end

-- list of { name, command, index of what it is compared with }
local function compare(title, list, rounds, per)
  local took = {}
  for round = 1, rounds do
    for i, variant in ipairs(list) do
      took[i] = took[i] or {}
      took[i][round] = run(variant[2])
    end
  end
  print(("\n**%s**\n"):format(title))
  row(title:match "^[^,]*", "up", "x limit", "down")
  row("---", "---:", "---:", "---:")
  for i, variant in ipairs(list) do
    local up, down, ratios = {}, {}, {}
    for round = 1, rounds do
      up[round], down[round] = took[i][round][1] / per, (took[i][round][2] or 0) / per
      ratios[round] = took[i][round][1] / took[variant[3] or i][round][1]
    end
    row(variant[1], ("%.1f"):format(median(up)), ("%.2f"):format(median(ratios)),
      took[i][1][2] and ("%.1f"):format(median(down)) or "")
  end
end

for _, n in ipairs { 1, 10, 100, 500 } do
  local list = {
    { "limit: all in one request", ("%s%s up %d batch"):format(NEW, LIMIT, n) },
    { "limit: one request each", ("%s%s up %d each"):format(NEW, LIMIT, n) },
    { "what `scope:batch` asks for, in C", ("%s%s up %d batch same"):format(NEW, LIMIT, n), 1 },
    { "what `bridge:attach` asks for, in C", ("%s%s up %d each same"):format(NEW, LIMIT, n), 2 },
    { "`scope:batch`", ("%s%sup %d batch"):format(NEW, WORKER, n), 1 },
    { "`bridge:attach`, one by one", ("%s%sup %d each"):format(NEW, WORKER, n), 2 },
  }
  if n == 10 then -- it takes 40 ms each
    list[7] = { "`ip` and `ip netns exec`, by a shell",
      ("%sbash -c %s %d"):format(NEW, quote(SHELL), n), 1 }
  end
  compare(("%d namespaces on a bridge, microseconds each"):format(n), list,
    n > 100 and math.ceil(ROUNDS / 3) or ROUNDS, n)
end

local function with_process(command)
  return NEW .. "sh -c " .. quote("unshare -n sleep 600 & until [ $(readlink /proc/$!/ns/net) != "
    .. "$(readlink /proc/self/ns/net) ]; do :; done; " .. command .. "; kill $!")
end

compare("A card for a process that runs, microseconds", {
  { "limit", with_process(LIMIT .. " attach $! 20 same") },
  { "`bridge:attach(pid)`", with_process(WORKER .. "attach $! 20"), 1 },
}, ROUNDS, 1)

local function with_links(command)
  return NEW .. "sh -c " .. quote("seq 500 | sed \"s/.*/link add a& type veth peer name b&/\" | "
    .. "ip -batch -; " .. command)
end

compare("One link of a thousand by its name, microseconds", {
  { "limit", with_links(LIMIT .. " get a250 1000") },
  { "`link_get`", with_links(WORKER .. "get a250 1000"), 1 },
}, math.ceil(ROUNDS / 3), 1)

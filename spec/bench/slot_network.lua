-- A slot of a benchmark of networks: one bridge, and as many namespaces on it as the
-- argument says, kept; with the second argument "eager" each card is a request of its
-- own, with "down" all of it is removed.

local nsbox = require "nsbox"
local lfs = require "lfs"

local N <const>, HOW <const> = math.tointeger(tonumber(arg[1])), arg[2] or "batch"

if HOW == "down" then
  nsbox.scope.remove "bench"
  return
end

local function resolv(i)
  local dir = "/run/etc/ns" .. i
  lfs.mkdir(dir)
  local f <close> = assert(io.open(dir .. "/resolv.conf", "w"))
  f:write "nameserver 10.0.0.1\n"
end

local function up(s)
  local br = s:bridge { "br0", addr = "10.0.0.1/16" }
  for i = 1, N do
    br:attach(s:netns("ns" .. i), { "eth0", peer = "veth" .. i,
      addr = ("10.0.%d.%d/16"):format((i + 1) // 256, (i + 1) % 256) })
    resolv(i)
  end
end

local s = nsbox.scope { "bench" }
lfs.mkdir "/run/etc"
if HOW == "eager" then
  up(s)
else
  s:batch(function() up(s) end)
end
s:commit()

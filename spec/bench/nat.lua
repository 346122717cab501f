-- What NAT and published ports cost: `make bench WHAT=nat`, as root.
--
-- Ports: a thousand on a hundred cards, against `nft -f` with the same rules,
-- and one more. Traffic: through our table and through rules by hand, taking
-- turns. All in network namespaces of its own.

local INSIDE <const> = "NSBOX_BENCH_INSIDE"
if not os.getenv(INSIDE) then
  local inside = "%s=1 unshare -nmpf --mount-proc sh -c 'mount -t tmpfs tmpfs /run; exec %s %s'"
  os.exit(os.execute(inside:format(INSIDE, os.getenv "LUA" or "lua5.4", arg[0])), true)
end

local nsbox = require "nsbox"
local clock = nsbox.sys.process.clock

local ROUNDS <const> = tonumber(os.getenv "ROUNDS") or 5
local CARDS <const>, PORTS <const> = 100, 10
local PUMP <const> = (os.getenv "NSBOX_BUILD" or "build") .. "/bench/pump"
local RULES <const> = os.tmpname()

local figures <const> = dofile((arg[0]:match "^(.*)/" or ".") .. "/figures.lua")
local median <const> = figures.median

local function ms(f)
  local from = clock()
  f()
  return (clock() - from) * 1e3
end

local function ports()
  local ours, theirs, more = {}, {}, {}
  for _ = 1, ROUNDS do
    local s <close> = nsbox.scope()
    local bridge = s:bridge { "br0", addr = "10.1.0.1/16" }
    local places, cards = {}, {}
    for i = 1, CARDS do places[i] = nsbox.ns.new { "net" } end
    s:batch(function()
      for i, place in ipairs(places) do cards[i] = bridge:attach(place) end
    end)
    ours[#ours + 1] = ms(function()
      s:batch(function()
        for i, card in ipairs(cards) do
          local list = {}
          for p = 1, PORTS do list[p] = ("%d:80"):format(10000 + i * PORTS + p) end
          card:publish(list)
        end
      end)
    end)
    for i = 1, 5 do
      more[#more + 1] = ms(function() cards[i]:publish((20000 + i) .. ":80") end)
    end
    os.execute(("nft list ruleset | sed 's/nsbox-[0-9a-f]*/other/' >%s"):format(RULES))
    theirs[#theirs + 1] = ms(function() os.execute("nft -f " .. RULES) end)
    os.execute "nft delete table inet other"
    s:close()
    for _, place in ipairs(places) do place:close() end
  end
  print(("| %d ports on %d cards | ms | x nft |"):format(CARDS * PORTS, CARDS))
  print "| --- | ---: | ---: |"
  local limit = median(theirs)
  print(("| `nft -f` with the same rules | %.1f | 1.00 |"):format(limit))
  print(("| `link:publish` in a batch | %.1f | %.2f |"):format(median(ours), median(ours) / limit))
  print(("| one more | %.1f | |\n"):format(median(more)))
end

local function traffic()
  local s <close> = nsbox.scope()
  local internet <close> = nsbox.ns.new { "net" }
  local web <close> = nsbox.ns.new { "net" }
  s:veth { { "wan", addr = "203.0.113.1/24" },
    { "eth0", netns = internet, addr = "203.0.113.9/24" } }
  local bridge = s:bridge { "br0", addr = "10.0.3.1/24" }
  bridge:attach(web)
  s:sysctl(nil, { ["net.ipv4.ip_forward"] = 1 })
  local server <close> = internet:spawn { PUMP, "serve", "80", stdout = "pipe" }
  assert(server.stdout:read "l" == "ready")
  local function rate()
    return tonumber(web:exec { PUMP, "send", "203.0.113.9", "80", "1000", check = true }.stdout)
  end
  local ours, theirs = {}, {}
  for _ = 1, ROUNDS do
    os.execute [[nft 'add table ip hand;
      add chain ip hand post { type nat hook postrouting priority srcnat; };
      add rule ip hand post ip saddr 10.0.3.0/24 oifname "wan" masquerade']]
    theirs[#theirs + 1] = rate()
    os.execute "nft delete table ip hand"
    local nat = s:nat(bridge)
    ours[#ours + 1] = rate()
    nat:close()
  end
  local ratios = {}
  for i = 1, ROUNDS do ratios[i] = ours[i] / theirs[i] end
  print "| one TCP stream through NAT | MB/s | x by hand |"
  print "| --- | ---: | ---: |"
  print(("| one nft rule by hand | %.0f | 1.00 |"):format(median(theirs)))
  print(("| `scope:nat` | %.0f | %.2f |"):format(median(ours), median(ratios)))
end

ports()
traffic()
os.remove(RULES)

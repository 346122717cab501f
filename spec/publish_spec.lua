local nsbox = require "nsbox"
local dkjson = require "dkjson"
local blame = require "blame"
local netns = require "netns"
local ports = require "nsbox.ports"
local world = require "world"

local misuse, failure = blame.misuse, blame.failure

-- what nft itself shows: set → "tcp . 8080 : 10.0.3.2 . 80" …
local function maps()
  local out, found = sh "nft -j list ruleset", {}
  local function words(x)
    if type(x) ~= "table" then return tostring(x) end
    local list = {}
    for i, value in ipairs(x.concat) do list[i] = words(value) end
    return table.concat(list, " . ")
  end
  for _, entry in ipairs(dkjson.decode(out).nftables) do
    if entry.map and entry.map.elem then
      local list = {}
      for i, pair in ipairs(entry.map.elem) do
        list[i] = words(pair[1]) .. " : " .. words(pair[2])
      end
      table.sort(list)
      found[entry.map.name] = list
    end
  end
  return found
end

local function count_tables()
  return select(2, sh "nft list tables":gsub("table inet nsbox%-", ""))
end

describe("ports", function()
  it("are docker's words", function()
    local function read(text)
      local out = {}
      for i, p in ipairs(assert(ports.check(text))) do
        out[i] = ("%s %s %s%s>%d"):format(p.protocol, p.addr or "*", p.first or "?",
          p.choose and p.last and "-" .. p.last or "", p.to)
      end
      return table.concat(out, ", ")
    end
    for text, want in pairs {
      ["8080:80"] = "tcp * 8080>80", ["80"] = "tcp * ?>80", ["53:53/udp"] = "udp * 53>53",
      ["127.0.0.1:53:53/udp"] = "udp 127.0.0.1 53>53", ["[::1]:80:81"] = "tcp ::1 80>81",
      ["[0:0::1]:80:81/sctp"] = "sctp ::1 80>81", ["127.0.0.1::80"] = "tcp 127.0.0.1 ?>80",
      ["[::1]::80"] = "tcp ::1 ?>80",
      ["8000-8002:80-82"] = "tcp * 8000>80, tcp * 8001>81, tcp * 8002>82",
      ["8000-8002:80"] = "tcp * 8000-8002>80", ["80-81"] = "tcp * ?>80, tcp * ?>81",
    } do
      assert.equal(want, read(text), text)
    end
    assert.equal("tcp * ?>80", read(80))
    assert.equal("tcp * 1>1, udp * 1>1", read { "1:1", "1:1/udp" })
    for text, want in pairs {
      ["0:80"] = "from 1 to 65535", ["80:65536"] = "from 1 to 65535", [""] = "'' is no port",
      ["a:80"] = "'a' is no port", ["80:"] = "'' is no port", ["1.2.3:80:80"] = "no address",
      ["10.0.0.1/8:80:80"] = "expected ports|no address|expected one", ["80-79"] = "ends before",
      ["1-3:1-2"] = "3 ports of the host for 2", ["80/tpc"] = "did you mean 'tcp'",
      ["1:2:3:4"] = "expected ports", ["::1:80:80"] = "expected ports|no address",
      ["-1:80"] = "no port",
    } do
      local ok, wrong = ports.check(text)
      assert.is_nil(ok, text)
      local hit
      for one in want:gmatch "[^|]+" do hit = hit or wrong:find(one, 1, true) end
      assert.truthy(hit, text .. ": " .. wrong)
    end
    assert.matches("%[2%] '80:x': 'x' is no port", (select(2, ports.check { "80", "80:x" })))
    assert.matches("80/tcp is published twice", (select(2, ports.check { "80:1", "80:2" })))
    assert.matches("which ports", (select(2, ports.check {})))
    assert.matches("expected ports", (select(2, ports.check { true })))
  end)
end)

describe("publish", function()
  needs("netns", "nftables", "bridge", "sysctl")

  it("leads from anywhere to the card: tcp, udp, v4, v6, hairpin, localhost", function()
    netns(function()
      local w <close> = world.make { nat = true }
      for _, protocol in ipairs { "tcp", "udp" } do
        w:serve(w.web, protocol, "::", 80, protocol)
      end
      local card = w.cards.web:publish { "8080:80", "8080:80/udp" }
      assert.equal(w.cards.web, card)
      assert.same({ { protocol = "tcp", port = 8080, to = 80 },
        { protocol = "udp", port = 8080, to = 80 } }, card.published)
      for _, protocol in ipairs { "tcp", "udp" } do
        -- from elsewhere: who asks is seen
        assert.equal(protocol .. " 203.0.113.9", w:ask(w.internet, protocol, "203.0.113.1", 8080))
        assert.equal(protocol .. " 2001:db8::9", w:ask(w.internet, protocol, "2001:db8::1", 8080))
        -- from the host
        assert.equal(protocol .. " 203.0.113.1", w:ask(nil, protocol, "203.0.113.1", 8080))
        assert.equal(protocol .. " 10.0.3.1", w:ask(nil, protocol, "127.0.0.1", 8080))
        assert.equal(protocol .. " 2001:db8::1", w:ask(nil, protocol, "2001:db8::1", 8080))
        -- from its own network, by way of the host; from itself
        assert.equal(protocol .. " 10.0.3.1", w:ask(w.db, protocol, "203.0.113.1", 8080))
        assert.equal(protocol .. " fd00:3::1", w:ask(w.db, protocol, "2001:db8::1", 8080))
        assert.equal(protocol .. " 10.0.3.1", w:ask(w.web, protocol, "203.0.113.1", 8080))
        assert.equal(protocol .. " fd00:3::1", w:ask(w.web, protocol, "2001:db8::1", 8080))
      end
      assert.same({ "tcp . 8080 : 10.0.3.2 . 80", "udp . 8080 : 10.0.3.2 . 80" }, maps().any4)
      w:close()
      assert.equal(0, count_tables())
      assert.equal("0\n", slurp "/proc/sys/net/ipv4/ip_forward")
    end)
  end)

  it("leads from ::1 where rules of IP do not look at bridges", function()
    netns(function()
      -- there is no such file where they never do
      local f = io.open("/proc/sys/net/bridge/bridge-nf-call-ip6tables", "w")
      if f then f:write("0"):close() end
      local w <close> = world.make {}
      w:serve(w.web, "tcp", "::", 80, "web")
      w.cards.web:publish { "[::1]:8080:80" }
      assert.equal("web fd00:3::1", w:ask(nil, "tcp", "::1", 8080))
      assert.equal("ECONNREFUSED", w:ask(nil, "tcp", "2001:db8::1", 8080))
    end)
  end)

  it("keeps the networks near by from 127.0.0.1", function()
    netns(function()
      local w <close> = world.make {}
      w:serve(nil, "tcp", "127.0.0.1", 90, "secret")
      w.cards.web:publish "8080:80"
      assert.equal("1\n", slurp "/proc/sys/net/ipv4/conf/br0/route_localnet")
      w.web:exec { "ip", "route", "add", "local", "127.0.0.2", "dev", "lo" }
      w.web:exec { "ip", "route", "del", "local", "127.0.0.0/8", "dev", "lo", "table", "local" }
      w.web:exec { "ip", "route", "del", "local", "127.0.0.1", "dev", "lo", "table", "local" }
      w.web:exec { "ip", "route", "add", "127.0.0.1", "via", "10.0.3.1", "src", "10.0.3.2" }
      w.web:exec { "sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet" }
      assert.not_matches("secret", w:try(w.web, "tcp", "127.0.0.1", 90))
      w.bridge:down()
      w.bridge:set { "lan" }
      w.bridge:up()
      assert.equal("1\n", slurp "/proc/sys/net/ipv4/conf/lan/route_localnet")
      assert.not_matches("secret", w:try(w.web, "tcp", "127.0.0.1", 90))
      -- were it not for the table, they would get there
      assert.equal("", (sh "nft flush ruleset"))
      assert.equal("secret 10.0.3.2", w:ask(w.web, "tcp", "127.0.0.1", 90))
    end)
  end)

  it("takes ranges, one address, any free port", function()
    netns(function()
      local w <close> = world.make {}
      w:serve(w.web, "tcp", "::", 81, "web")
      w:serve(w.db, "tcp", "::", 81, "db")
      w.cards.web:publish { "8000-8002:80-82", "203.0.113.1:9000:81" }
      w.cards.db:publish { "0.0.0.0:9000:81", "81" }
      assert.equal("web 203.0.113.9", w:ask(w.internet, "tcp", "203.0.113.1", 8001))
      -- the one address goes before all
      assert.equal("web 203.0.113.9", w:ask(w.internet, "tcp", "203.0.113.1", 9000))
      assert.equal("db 10.0.3.1", w:ask(nil, "tcp", "127.0.0.1", 9000))
      local chosen = w.cards.db.published[2].port
      assert.is_true(chosen >= 49153 and chosen <= 65535)
      assert.equal("db 203.0.113.9", w:ask(w.internet, "tcp", "203.0.113.1", chosen))
      w.cards.db:publish { "8000-8005:81" }
      assert.equal(8003, w.cards.db.published[3].port)
      local err = failure(function() w.cards.web:publish "8000-8003:81" end)
      assert.same({ "EADDRINUSE", "all ports from 8000 to 8003 are taken" },
        { err.code, err.detail })
    end)
  end)

  it("forgets where a udp client was led before", function()
    netns(function()
      local w <close> = world.make {}
      w:serve(w.web, "udp", "0.0.0.0", 53, "web")
      w:serve(w.db, "udp", "0.0.0.0", 53, "db")
      w:serve(nil, "udp", "203.0.113.1", 5354, "host")
      local function ask() return w:ask(w.internet, "udp", "203.0.113.1", 5353, 4000) end
      local first = w.scope:_within("publish", function(part)
        require("nsbox.publish").submit { part = part, link = w.cards.web, device = w.bridge,
          ports = ports.check "5353:53/udp" }
        return part
      end)
      assert.equal("web 203.0.113.9", ask())
      first:close()
      w.cards.db:publish "5353:53/udp"
      assert.equal("db 203.0.113.9", ask())
    end)
  end)

  it("tells who has a port", function()
    netns(function()
      local w <close> = world.make {}
      w:serve(nil, "tcp", "127.0.0.1", 8080)
      w:serve(nil, "udp", "0.0.0.0", 5353)
      local err = failure(function() w.cards.web:publish "8080:80" end)
      assert.same({ "publish", "EADDRINUSE", "8080:80" }, { err.op, err.code, err.subject })
      assert.matches("a socket of uid %d+ waits at 127.0.0.1, port 8080", err.detail)
      assert.matches("sport = :8080", err.hint)
      err = failure(function() w.cards.web:publish "127.0.0.1:5353:53/udp" end)
      assert.matches("waits at 0.0.0.0, port 5353", err.detail)
      -- another address, another protocol
      w.cards.web:publish { "203.0.113.1:8080:80", "8080:80/udp" }
      err = failure(function() w.cards.db:publish { "81:81", "8080:80/udp" } end)
      assert.same({ "EADDRINUSE", "8080:80/udp" }, { err.code, err.subject })
      assert.equal("this scope publishes 8080/udp already, to 10.0.3.2:80",
        (err.detail:gsub("fd00:3::2:80", "10.0.3.2:80")))
      -- and nothing of it was done
      assert.same({ "udp . 8080 : 10.0.3.2 . 80" }, maps().any4)
      local other <close> = nsbox.scope { "publish-spec" }
      local bridge = other:bridge { "br1", addr = "10.0.4.1/24" }
      local place <close> = nsbox.ns.new { "net" }
      err = failure(function() bridge:attach(place, { publish = { "9000:80", "8080:80/udp" } }) end)
      assert.same({ "EADDRINUSE", "8080:80/udp" }, { err.code, err.subject })
      assert.equal("another scope publishes 8080/udp already, to 10.0.3.2:80",
        (err.detail:gsub("fd00:3::2:80", "10.0.3.2:80")))
      assert.equal(1, count_tables())
      assert.equal(0, #(nsbox.net.links(place)) - 1)
      err = failure(function() w.cards.web:publish "192.0.2.7:80:80" end)
      assert.same({ "EADDRNOTAVAIL", "192.0.2.7 is no address of the host" },
        { err.code, err.detail })
      bridge:attach(place, { "eth0", addr = "10.0.4.2/24" })
      misuse(function() w.cards.web:publish "99999:80" end, "publish: '99999:80': a port is")
      misuse(function() w.bridge:attach(w.web, { publish = "x" }) end, "no port")
      misuse(function() w.scope:bridge { "br9", publish = "80:80" } end, "unknown option 'publish'")
    end)
  end)

  it("is refused what another scope has of one address, or of all", function()
    netns(function()
      local w <close> = world.make {}
      w:serve(w.web, "tcp", "::", 81, "web")
      w.cards.web:publish { "9000:81", "203.0.113.1:9001:81" }
      local other <close> = nsbox.scope()
      local bridge = other:bridge { "br1", addr = "10.0.4.1/24" }
      local place <close> = nsbox.ns.new { "net" }
      local card = bridge:attach(place)
      for _, port in ipairs { "203.0.113.1:9000:81", "9001:81" } do
        local err = failure(function() card:publish(port) end)
        assert.same({ "EADDRINUSE", port }, { err.code, err.subject })
        assert.matches("^another scope publishes 900%d/tcp already, to 10.0.3.2:81$", err.detail)
      end
      -- and a free one is none of these
      card:publish { "203.0.113.1:9000-9002:81", "127.0.0.1:9001:82" }
      assert.equal(9002, card.published[1].port)
      w.cards.db:publish "9001-9003:81"
      assert.equal(9003, w.cards.db.published[1].port)
      assert.same({ "127.0.0.1 . tcp . 9001 : 10.0.4.2 . 82",
        "203.0.113.1 . tcp . 9002 : 10.0.4.2 . 81" }, maps().at4)
      assert.equal("web 203.0.113.9", w:ask(w.internet, "tcp", "203.0.113.1", 9000))
      other:close()
    end)
  end)

  it("has no address to lead to, and says so", function()
    netns(function()
      local s <close> = nsbox.scope()
      local bridge = s:bridge { "br0", addr = "10.0.3.1/24" }
      local place <close> = nsbox.ns.new { "net" }
      local card = bridge:attach(place)
      local err = failure(function() card:publish "[::]:80:80" end)
      assert.same({ "EADDRNOTAVAIL", "eth0 has no IPv6 address that it could lead to" },
        { err.code, err.detail })
      local bare = bridge:attach(place, { addr = false })
      err = failure(function() bare:publish "80:80" end)
      assert.matches("no address", err.detail)
      s:close()
    end)
  end)

  it("gives a port to one of several who ask at once", function()
    netns(function()
      local script, here <close> = tmpdir() .. "/x.lua", nsbox.ns.of(nil, "net")
      spew(script, [[
        local nsbox = require "nsbox"
        local s <close> = nsbox.scope()
        local place <close> = nsbox.ns.new { "net" }
        local bridge = s:bridge { "br" .. arg[1], addr = "10.7." .. arg[1] .. ".1/24" }
        local card = bridge:attach(place)
        print "ready"
        io.flush()
        io.read "l"
        for port = 10001, 10020 do
          local _, err = nsbox.try(card.publish, card, port .. ":80")
          print(port, err and err.code)
        end
        print "done"
        io.flush()
        io.read "l"
      ]])
      local scripts, winners = {}, {}
      for i = 1, 3 do
        scripts[i] = here:spawn { os.getenv "LUA" or "lua5.4", script, tostring(i), env = { "*" },
          stdin = "pipe", stdout = "pipe" }
      end
      for _, p in ipairs(scripts) do assert.equal("ready", p.stdout:read "l") end
      for _, p in ipairs(scripts) do p.stdin:write "go\n" end
      for _, p in ipairs(scripts) do
        for line in p.stdout:lines() do
          if line == "done" then break end
          local port, code = line:match "^(%d+)\t(%S+)$"
          assert.is_true(code == "nil" or code == "EADDRINUSE", line)
          winners[port] = (winners[port] or 0) + (code == "nil" and 1 or 0)
        end
      end
      for _, p in ipairs(scripts) do p.stdin:write "end\n" end
      for _, p in ipairs(scripts) do assert.is_true(p:wait().ok) end
      for port = 10001, 10020 do assert.equal(1, winners[tostring(port)], port) end
      assert.equal(0, count_tables())
    end)
  end)

  it("is one transaction for a batch, and undone in whole", function()
    netns(function()
      local s <close> = nsbox.scope()
      local bridge = s:bridge { "br0", addr = "10.0.3.1/24" }
      local places, cards = {}, {}
      for i = 1, 5 do places[i] = nsbox.ns.new { "net" } end
      s:batch(function()
        for i, place in ipairs(places) do
          cards[i] = bridge:attach(place,
            { publish = { (8000 + i) .. ":80", (9000 + i) .. ":90" } })
        end
        misuse(function() cards[1]:publish "1:1" end, "made when the batch ends")
      end)
      assert.equal(10, #maps().any4)
      s:batch(function()
        for i, card in ipairs(cards) do card:publish((7000 + i) .. ":70") end
        assert.equal(10, #maps().any4)
      end)
      assert.equal(15, #maps().any4)
      local err = failure(function()
        s:batch(function()
          for i, place in ipairs(places) do
            bridge:attach(place, { publish = (7100 - 20 * i) .. ":1" })
          end
          cards[1]:publish "7001:80"
        end)
      end)
      assert.matches("this scope publishes 7001/tcp already", tostring(err))
      assert.equal(15, #maps().any4)
      cards[1]:close()
      assert.equal(12, #maps().any4)
      s:close()
      assert.equal(0, count_tables())
      for _, place in ipairs(places) do place:close() end
    end)
  end)

  it("ends with its box", function()
    needs "procmount"
    netns(function()
      local s <close> = nsbox.scope()
      local bridge = s:bridge { "br0", addr = "10.0.3.1/24" }
      local box = s:box { name = "web", net = { bridge, publish = "8080:80" } }
      s:box { name = "db", net = { bridge, publish = { "8081:80" } } }
      assert.same({ "tcp . 8080 : 10.0.3.2 . 80", "tcp . 8081 : 10.0.3.3 . 80" }, maps().any4)
      box:close()
      assert.same({ "tcp . 8081 : 10.0.3.3 . 80" }, maps().any4)
    end)
  end)

  it("stands in a named scope", function()
    needs "procmount"
    netns(function()
      local other <close> = nsbox.scope()
      local place = other:box { name = "idle" }.pid
      local function run(more)
        local s <close> = nsbox.scope { "publish-spec" }
        local bridge = s:bridge { "br0", addr = "10.0.3.1/24" }
        local card = bridge:attach(place, { "eth0", publish = "8080:80" })
        if more then card:publish(more) end
        s:commit()
        return card.fresh
      end
      assert.is_true(run())
      assert.is_false(run "81:81")
      assert.is_false(run "81:81")
      assert.same({ "tcp . 8080 : 10.0.3.2 . 80", "tcp . 81 : 10.0.3.2 . 81" }, maps().any4)
      assert.is_false(run())
      assert.same({ "tcp . 8080 : 10.0.3.2 . 80" }, maps().any4)
      nsbox.scope.remove "publish-spec"
      assert.equal(0, count_tables())
    end)
  end)

  it("is whole in later runs of a named scope", function()
    needs "procmount"
    netns(function()
      assert.equal("", (sh [[ip link set lo up; ip link add docker0 type bridge
        ip addr add 10.0.5.1/24 dev docker0; ip addr add fd00:5::1/64 dev docker0
        ip link set docker0 up]]))
      local other <close> = nsbox.scope()
      local place = other:box { name = "idle" }.pid
      local function run(publish)
        local s <close> = nsbox.scope { "publish-spec" }
        local docker = s:link "docker0"
        local card = docker:attach(place, { "eth0", addr = { "10.0.5.9/24", "fd00:5::9/64" },
          publish = publish and { "[::1]:8080-8089:80", "8080:80/udp", "82", "82" } or nil })
        if publish then card:publish "10.0.5.1:81:81" end
        s:commit()
        return card.published
      end
      local function kernel()
        local out = ""
        for _, key in ipairs { "ipv4/ip_forward", "ipv6/conf/all/forwarding",
          "ipv4/conf/docker0/route_localnet" } do
          out = out .. slurp("/proc/sys/net/" .. key)
        end
        return out .. sh [[
          ip -6 route show table local dev docker0 | grep -c 'local ::1 ']]
      end
      -- which of two chosen ones is which is nobody's business
      local function sorted(list)
        local words = {}
        for i, p in ipairs(list) do
          words[i] = ("%s %s %d>%d"):format(p.protocol, p.addr or "*", p.port, p.to)
        end
        table.sort(words)
        return words
      end
      local first = sorted(run(true))
      assert.same({ "tcp 10.0.5.1 81>81", "tcp ::1 8080>80", "udp * 8080>80" },
        { first[3], first[4], first[5] })
      assert.matches("^tcp %* (%d+)>82$", first[1])
      assert.matches("^tcp %* (%d+)>82$", first[2])
      assert.not_equal(first[1], first[2])
      assert.equal("1\n1\n1\n1\n", kernel())
      local before = maps()
      for _ = 1, 2 do
        assert.same(first, sorted(run(true)))
        assert.equal("1\n1\n1\n1\n", kernel())
        assert.same(before, maps())
      end
      nsbox.scope.remove "publish-spec"
      assert.equal("0\n0\n0\n0\n", kernel())
      assert.is_nil(run(false))
      nsbox.scope.remove "publish-spec"
    end)
  end)

  it("is an option of every link, and of set", function()
    needs "macvlan"
    netns(function()
      local place <close> = nsbox.ns.new { "net" }
      local function run()
        local s <close> = nsbox.scope { "publish-spec" }
        local cable = s:veth { { "v0", addr = "10.0.6.1/24", publish = "80:80" },
          { "eth0", netns = place, addr = "10.0.6.2/24", publish = { "8081:80", "8082:80/sctp" } } }
        assert.same({ 1, 2 }, { #cable[1].published, #cable[2].published })
        assert.same({ protocol = "sctp", port = 8082, to = 80 }, cable[2].published[2])
        local card = s:macvlan { "m0", link = "v0", addr = "10.0.7.1/24", publish = "8083:80" }
        card:set { publish = "8084:80" }
        assert.same({ { protocol = "tcp", port = 8083, to = 80 },
          { protocol = "tcp", port = 8084, to = 80 } }, card.published)
        s:batch(function()
          s:veth { { "v2", addr = "10.0.8.1/24" },
            { "eth1", netns = place, addr = "10.0.8.2/24", publish = "8085:80" } }
        end)
        s:commit()
      end
      for _ = 1, 2 do
        run()
        assert.same({ "sctp . 8082 : 10.0.6.2 . 80", "tcp . 80 : 10.0.6.1 . 80",
          "tcp . 8081 : 10.0.6.2 . 80", "tcp . 8083 : 10.0.7.1 . 80",
          "tcp . 8084 : 10.0.7.1 . 80", "tcp . 8085 : 10.0.8.2 . 80" }, maps().any4)
      end
      nsbox.scope.remove "publish-spec"
      assert.equal(0, count_tables())
    end)
  end)

  it("stays with a card that is released; needs a scope, and a card that is there", function()
    netns(function()
      sh "ip link add docker0 type bridge; ip addr add 10.0.5.1/24 dev docker0"
      local s, place <close> = nsbox.scope(), nsbox.ns.new { "net" }
      local docker = s:link "docker0"
      local one, two = docker:attach(place, { publish = "8080:80" }), docker:attach(place)
      one:release()
      two:delete()
      local err = failure(function() two:publish "81:81" end, "ENODEV")
      assert.same({ "publish", "eth1" }, { err.op, err.subject })
      s:close()
      assert.same({ "tcp . 8080 : 10.0.5.2 . 80" }, maps().any4)
      assert.equal("1\n1\n", slurp "/proc/sys/net/ipv4/ip_forward"
        .. slurp "/proc/sys/net/ipv4/conf/docker0/route_localnet")
      misuse(function() one:publish "81:81" end, "publish: the scope is closed")
    end)
  end)

  it("leads to a card of the host itself, and leaves it its loopback device", function()
    netns(function()
      local w <close> = world.make {}
      w:serve(nil, "tcp", "::", 80, "host")
      w.scope:link "wan":publish "8080:80"
      for _, addr in ipairs { "127.0.0.1", "203.0.113.1", "::1" } do
        assert.equal("host " .. addr, w:ask(nil, "tcp", addr, 80))
        assert.equal("host " .. addr, w:ask(nil, "tcp", addr, 8080))
      end
      assert.equal("host 203.0.113.9", w:ask(w.internet, "tcp", "203.0.113.1", 8080))
      assert.equal("0\n", slurp "/proc/sys/net/ipv4/conf/lo/route_localnet")
    end)
  end)

  it("leads over a bridge that is borrowed, and to a card that is on none", function()
    netns(function()
      assert.equal("", (sh [[ip link set lo up; ip link add docker0 type bridge
        ip addr add 10.0.5.1/24 dev docker0; ip link set docker0 up]]))
      do
        local w <close> = setmetatable({ places = {}, servers = {}, scope = nsbox.scope(),
          here = nsbox.ns.of(nil, "net") }, world.class)
        local one, two = w:place(), w:place()
        w.scope:link "docker0":attach(one, { publish = "8080:80" })
        local cable = w.scope:veth { { "v0", addr = "10.0.6.1/24" },
          { "eth0", netns = two, addr = "10.0.6.2/24" } }
        cable[2]:publish "8081:80"
        w:serve(one, "tcp", "0.0.0.0", 80, "one")
        w:serve(two, "tcp", "0.0.0.0", 80, "two")
        assert.equal("one 10.0.5.1", w:ask(nil, "tcp", "127.0.0.1", 8080))
        assert.equal("two 10.0.6.1", w:ask(nil, "tcp", "127.0.0.1", 8081))
        assert.equal("1\n", slurp "/proc/sys/net/ipv4/conf/docker0/route_localnet")
      end
      assert.equal("0\n", slurp "/proc/sys/net/ipv4/conf/docker0/route_localnet")
      assert.equal(0, count_tables())
    end)
  end)
end)

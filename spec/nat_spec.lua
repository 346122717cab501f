local nsbox = require "nsbox"
local dkjson = require "dkjson"
local blame = require "blame"
local netns = require "netns"
local world = require "world"

local misuse, failure = blame.misuse, blame.failure

-- what nft itself shows: the tables of nsbox, their sets by name
local function tables(netns_)
  local out = sh(("%snft -j list ruleset"):format(netns_ or ""))
  local found, count = {}, 0
  for _, entry in ipairs(dkjson.decode(out).nftables) do
    local set = entry.set or entry.map
    if entry.table and entry.table.name:find "^nsbox%-" then
      count = count + 1
    elseif set and set.elem then
      found[set.name] = set.elem
    end
  end
  return count, found
end

local function sysctl(key)
  return (slurp("/proc/sys/" .. key):gsub("%s+$", ""))
end

describe("nat", function()
  needs("netns", "nftables", "bridge", "sysctl")

  it("translates what leaves a bridge, v4 and v6, and no more when it is closed", function()
    netns(function()
      local w <close> = world.make { nat = true }
      assert.equal(" 203.0.113.1", w:ask(w.web, "tcp", "203.0.113.9", 80))
      assert.equal(" 203.0.113.1", w:ask(w.web, "udp", "203.0.113.9", 80))
      assert.equal(" 2001:db8::1", w:ask(w.web, "tcp", "2001:db8::9", 80))
      -- within the subnet nobody is somebody else
      w:serve(w.db, "tcp", "0.0.0.0", 81)
      assert.equal(" 10.0.3.2", w:ask(w.web, "tcp", "10.0.3.3", 81))
      assert.equal("1", sysctl "net/ipv4/ip_forward")
      assert.equal("1", sysctl "net/ipv6/conf/all/forwarding")
      local count, sets = tables()
      assert.equal(1, count)
      assert.equal(1, #sets.nat4)
      assert.matches("bridge br0: .*, 2 ports, nat", tostring(w.bridge))
      w:close()
      assert.equal(0, (tables()))
      assert.equal("0", sysctl "net/ipv4/ip_forward")
      assert.equal("0", sysctl "net/ipv6/conf/all/forwarding")
    end)
  end)

  it("goes out by the one device that it is told, and ends alone", function()
    netns(function()
      local w <close> = world.make {}
      local nat = w.scope:nat { w.bridge, out = "wan" }
      assert.matches("^nat of 10.0.3.0/24 .* out by wan$", tostring(nat))
      assert.equal(" 203.0.113.1", w:ask(w.web, "tcp", "203.0.113.9", 80))
      nat:close()
      nat:close()
      assert.equal(0, (tables()))
      assert.equal("timeout", w:try(w.web, "tcp", "203.0.113.9", 80))
      -- by a subnet; and not by another device
      local other <close> = w.scope:nat { "10.0.3.99/24", out = "lo" }
      assert.equal("nat of 10.0.3.0/24 out by lo", tostring(other))
      assert.equal("timeout", w:try(w.web, "tcp", "203.0.113.9", 80))
    end)
  end)

  it("leaves forwarding to the last scope that needs it, and other tables alone", function()
    netns(function()
      assert.equal("", (sh "nft 'add table inet mine; add chain inet mine c'"))
      local a, b <close> = nsbox.scope(), nsbox.scope()
      a:bridge { "br0", addr = "10.0.3.1/24", nat = true }
      b:bridge { "br1", addr = "10.0.4.1/24", nat = true }
      assert.equal(2, (tables()))
      a:close()
      assert.equal("1", sysctl "net/ipv4/ip_forward")
      assert.equal(1, (tables()))
      b:close()
      assert.equal("0", sysctl "net/ipv4/ip_forward")
      assert.equal("table inet mine {\n\tchain c {\n\t}\n}\n",
        (sh "nft list ruleset"))
    end)
  end)

  it("is of one address, too, and no more when it is closed", function()
    netns(function()
      local s <close> = nsbox.scope()
      local _ <close> = s:nat "10.9.0.0/16"
      for _, o in ipairs { "10.5.5.5/32", { "10.5.5.6/32", out = "lo" }, "fd00:5::/128" } do
        local before = select(2, tables())
        s:nat(o):close()
        assert.same(before, select(2, tables()))
        s:nat(o):close()
      end
      s:nat "10.5.5.5/32"
      -- of a bridge with two in one subnet, too
      s:bridge { "br0", addr = { "10.0.3.1/24", "10.0.3.2/24" }, nat = true }
      assert.equal(3, #select(2, tables()).nat4)
      s:close()
      assert.equal(0, (tables()))
    end)
  end)

  it("is of networks in one another, and forgets those that are gone", function()
    netns(function()
      local s <close> = nsbox.scope()
      local function networks()
        local list = {}
        for i, entry in ipairs(select(2, tables()).within4 or {}) do
          local prefix = entry.concat[1].prefix
          list[i] = ("%s/%d"):format(prefix.addr, prefix.len)
        end
        table.sort(list)
        return table.concat(list, " ")
      end
      s:nat "10.9.0.0/16"
      local all = s:nat "0.0.0.0/0"
      assert.equal("0.0.0.0/0 10.9.0.0/16", networks())
      all:close()
      assert.equal("10.9.0.0/16", networks())
      -- a bridge that makes place for a larger one
      s:bridge({ "br0", addr = "10.0.3.1/24", nat = true }):close()
      local bridge = s:bridge { "br0", addr = "10.0.0.1/16", nat = true }
      assert.equal("10.0.0.0/16 10.9.0.0/16", networks())
      -- and a card that is in a part of it
      local place <close> = nsbox.ns.new { "net" }
      local card = bridge:attach(place, { addr = "10.0.7.2/24", gateway = false })
      card:publish "8080:80"
      assert.equal("10.0.0.0/16 10.9.0.0/16", networks())
      s:nat { "10.0.8.0/24", out = "lo" }
      assert.equal("10.0.0.0/16 10.9.0.0/16", networks())
      card:close()
      bridge:close()
      assert.equal("10.0.8.0/24 10.9.0.0/16", networks())
      s:close()
      assert.equal(0, (tables()))
    end)
  end)

  it("goes on, with what it needs, when it is released", function()
    netns(function()
      local s <close> = nsbox.scope()
      s:bridge({ "br0", addr = "10.0.3.1/24", nat = true }):release()
      s:bridge { "br1", addr = "fd00:4::1/64", nat = true }
      s:close()
      assert.equal("1", sysctl "net/ipv4/ip_forward")
      assert.equal("0", sysctl "net/ipv6/conf/all/forwarding")
      local count, sets = tables()
      assert.same({ 1, 1, nil }, { count, #sets.nat4, sets.nat6 })
      assert.equal("br0", netns.ip("link show dev br0")[1].ifname)
    end)
  end)

  it("keeps the routes of a router, and goes on listening to it", function()
    netns(function()
      assert.equal("", (sh [[ip link add up0 type veth peer up1
        ip link set up0 up; ip link set up1 up
        ip -6 route add default via fe80::99 dev up0 proto ra]]))
      do
        local s <close> = nsbox.scope()
        s:bridge { "br0", addr = "fd00:3::1/64", nat = true }
        assert.equal("2", sysctl "net/ipv6/conf/up0/accept_ra")
        assert.matches("fe80::99", (sh "ip -6 route show default"))
      end
      assert.equal("1", sysctl "net/ipv6/conf/up0/accept_ra")
      assert.equal("0", sysctl "net/ipv6/conf/all/forwarding")
      assert.matches("fe80::99", (sh "ip -6 route show default"))
    end)
  end)

  it("stands in a named scope, and comes back when somebody flushed it", function()
    netns(function()
      local function run()
        local s <close> = nsbox.scope { "nat-spec" }
        local br = s:bridge { "br0", addr = "10.0.3.1/24", nat = true }
        local nat = s:nat "10.7.0.0/16"
        s:commit()
        return br.fresh, nat.fresh
      end
      assert.same({ true, true }, { run() })
      local count, before = tables()
      assert.equal(1, count)
      for _ = 1, 2 do
        assert.same({ false, false }, { run() })
        assert.same(before, select(2, tables()))
        assert.equal("1", sysctl "net/ipv4/ip_forward")
      end
      sh "nft flush ruleset"
      assert.same({ true, true }, { run() })
      count = tables()
      assert.equal(1, count)
      assert.equal(2, #select(2, tables()).nat4)
      assert.matches("nat of 10.7.0.0/16", nsbox.scope.show "nat-spec")
      nsbox.scope.remove "nat-spec"
      assert.equal(0, (tables()))
      assert.equal("0", sysctl "net/ipv4/ip_forward")
    end)
  end)

  it("forwards in later runs of a named scope, as long as something needs it", function()
    netns(function()
      assert.equal("", (sh [[ip link add up0 type veth peer up1
        ip link set up0 up; ip link set up1 up
        ip -6 route add default via fe80::99 dev up0 proto ra]]))
      local function run(...)
        local s <close> = nsbox.scope { "nat-spec" }
        for _, o in ipairs { ... } do s:bridge(o) end
        s:commit()
        return sysctl "net/ipv4/ip_forward" .. sysctl "net/ipv6/conf/all/forwarding"
          .. sysctl "net/ipv6/conf/up0/accept_ra"
      end
      local function one() return { "br0", addr = "10.0.3.1/24", nat = true } end
      local function two() return { "br1", addr = "fd00:3::1/64", nat = true } end
      assert.equal("112", run(one(), two()))
      assert.equal("112", run(two(), one()))
      -- no router is there at this moment
      sh "ip -6 route del default"
      assert.equal("112", run(one(), two()))
      assert.equal("101", run(one()))
      assert.equal("101", run(one()))
      assert.equal("001", run({ "br2", addr = "10.0.4.1/24" }))
      nsbox.scope.remove "nat-spec"
    end)
  end)

  it("names what is wrong", function()
    netns(function()
      local s <close> = nsbox.scope()
      local plain = s:bridge { "br0", addr = false }
      local err = failure(function() s:nat(plain) end)
      assert.same({ "nat", "EADDRNOTAVAIL", "br0" }, { err.op, err.code, err.subject })
      assert.matches("give the bridge an address", err.hint)
      err = failure(function() s:nat { "10.0.3.0/24", out = "nope" } end)
      assert.same({ "ENODEV", "nope" }, { err.code, err.subject })
      s:nat "10.0.3.0/24"
      err = failure(function() s:nat "10.0.3.0/24" end)
      assert.equal("EEXIST", err.code)
      assert.matches("translates this subnet", err.detail)
      misuse(function() s:nat() end, "nat: expected")
      misuse(function() s:nat {} end, "nat: of which bridge or subnet?")
      misuse(function() s:nat "10.0.3.0" end, "has no prefix")
      misuse(function() s:nat(s) end, "expected a bridge, or a subnet")
      misuse(function() s:nat { "10.0.3.0/24", ou = "lo" } end, "did you mean 'out'?")
      misuse(function() s:bridge { "br1", nat = 1 } end, "true, or the name of a device")
    end)
  end)

  it("says which package is missing", function()
    netns(function()
      local s <close> = nsbox.scope()
      package.loaded["nsbox.sys.nft"] = nil
      package.preload["nsbox.sys.nft"] = function()
        error "libnftables.so.1: cannot open shared object file: No such file or directory"
      end
      local err = failure(function() s:bridge { "br0", addr = "10.0.3.1/24", nat = true } end)
      assert.matches("libnftables.so.1: cannot open", err.detail)
      assert.matches("Debian: libnftables1", err.hint)
      assert.equal("0", sysctl "net/ipv4/ip_forward")
      assert.is_false(s:bridge("br0")._nat or false)
    end)
  end)
end)

-- a rule of somebody's; what it says
local function others(command)
  assert.equal("", (sh("" .. command)))
end

describe("a firewall that drops what is forwarded", function()
  needs("netns", "nftables", "bridge", "sysctl")

  local function refused()
    local s <close> = nsbox.scope()
    local err = failure(function() s:bridge { "br0", addr = "10.0.3.1/24", nat = true } end)
    assert.same({ "bridge", "br0", "EACCES" }, { err.op, err.subject, err.code })
    assert.equal("0", sysctl "net/ipv4/ip_forward")
    assert.equal(0, (tables()))
    local br, place <close> = s:bridge { "br0", addr = "10.0.3.1/24" }, nsbox.ns.new { "net" }
    local card = br:attach(place)
    failure(function() card:publish "80:80" end, "EACCES")
    -- who knows better is believed, by what comes after, too
    s:nat { br, firewall = false }
    card:publish "80:80"
    return err
  end

  local function let_through()
    local s <close> = nsbox.scope()
    assert.equal("br0", s:bridge { "br0", addr = "10.0.3.1/24", nat = true }.name)
  end

  it("is named: a policy", function()
    netns(function()
      let_through()
      others [[nft 'add table inet fw;
        add chain inet fw pass { type filter hook forward priority 0; policy drop; }']]
      local err = refused()
      assert.equal("the chain pass of table inet fw drops what is forwarded (its policy is drop)",
        err.detail)
      -- its own advice helps
      others(err.hint:match "let it through: (.*); where":gsub("nft (insert[^;]*)", "nft '%1'"))
      let_through()
    end)
  end)

  it("is named: a last rule", function()
    netns(function()
      others [[nft 'add table ip fw;
        add chain ip fw passing { type filter hook forward priority 0; };
        add rule ip fw passing iifname { "eth0", "eth1" } accept;
        add rule ip fw passing counter reject with icmp type admin-prohibited']]
      assert.matches("table ip fw .* %(its last rule drops all%)", refused().detail)
      others [[nft 'insert rule ip fw passing iifname "br*" accept']]
      let_through()
      others [[nft 'delete table ip fw; add table ip fw; add set ip fw lan { type ifname; };
        add chain ip fw passing { type filter hook forward priority 0; policy drop; };
        add rule ip fw passing iifname @lan accept; add rule ip fw passing oifname @lan accept;
        add element ip fw lan { "eth0" }']]
      refused()
      others [[nft 'add element ip fw lan { "br0" }']]
      let_through()
      -- of no concern to what is v6 only
      others [[nft 'flush chain ip fw passing; add rule ip fw passing drop']]
      local s <close> = nsbox.scope()
      s:bridge { "br0", addr = "fd00:3::1/64", nat = true }
    end)
  end)

  it("is named: iptables, new and old, as Docker leaves it", function()
    netns(function()
      -- only real root may see which old tables there are
      local old = slurp "/proc/net/ip_tables_names" and "iptables-legacy" or nil
      for _, command in ipairs { "iptables-nft", old } do
        -- its lock is not everybody's
        local iptables = "XTABLES_LOCKFILE=/dev/null " .. command
        others(iptables .. " -P FORWARD DROP; " .. iptables .. " -A FORWARD -i docker0 -j ACCEPT")
        local err = refused()
        assert.matches("chain FORWARD of .* drops what is forwarded %(its policy is", err.detail)
        assert.matches("%-I FORWARD %-i br0 %-j ACCEPT", err.hint)
        others(iptables .. " -I FORWARD -o br+ -j ACCEPT")
        let_through()
        others(iptables .. " -P FORWARD ACCEPT")
      end
    end)
  end)
end)

describe("isolate", function()
  needs("netns", "nftables", "bridge", "sysctl")

  it("keeps a bridge from other bridges, both ways, and lets it out", function()
    netns(function()
      local w <close> = world.make { nat = true, isolate = true }
      local other = w.scope:bridge { "br1", addr = "10.0.4.1/24" }
      local far = w:place()
      other:attach(far)
      w:serve(far, "tcp", "0.0.0.0", 80)
      w:serve(w.db, "tcp", "0.0.0.0", 80)
      assert.equal(" 203.0.113.1", w:ask(w.web, "tcp", "203.0.113.9", 80))
      assert.equal(" 10.0.3.2", w:ask(w.web, "tcp", "10.0.3.3", 80))
      assert.equal("timeout", w:try(w.web, "tcp", "10.0.4.2", 80))
      assert.equal("timeout", w:try(far, "tcp", "10.0.3.3", 80))
      -- and under another name
      w.bridge:down()
      w.bridge:set { "lan" }
      w.bridge:up()
      assert.equal(" 203.0.113.1", w:ask(w.web, "tcp", "203.0.113.9", 80))
      assert.equal("timeout", w:try(w.web, "tcp", "10.0.4.2", 80))
      assert.equal("timeout", w:try(far, "tcp", "10.0.3.3", 80))
    end)
  end)

  it("is not so without it", function()
    netns(function()
      local w <close> = world.make { nat = true }
      local other = w.scope:bridge { "br1", addr = "10.0.4.1/24" }
      local far = w:place()
      other:attach(far)
      w:serve(far, "tcp", "0.0.0.0", 80)
      assert.equal(" 10.0.4.1", w:ask(w.web, "tcp", "10.0.4.2", 80))
    end)
  end)
end)

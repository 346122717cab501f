-- What is killed: one recipe for each verb, and some together. A recipe gets
-- `nsbox`, and `stranger`, the pid of a process in a network namespace that is
-- not the script's. Each ends by undoing what it made, or by keeping it as a
-- named scope, which the harness then removes. `before` is run, and not killed,
-- before each; `stands` are the names of namespaces that are there after each
-- recovery, `cleanup` is a command that removes what may have been released.

return {
  { "box", [[
    local s <close> = nsbox.scope()
    s:box { "sleep", "60", name = "a" }:start()
    s:box { "sleep", "60", init = true }:start()
    s:box { name = "idle" }
    s:box { rootfs = {}, tmpfs = "/tmp" }
    s:box { "true" }:start():wait()
    s.boxes.a:close()
  ]] },
  { "box with many ids", [[
    -- it forgets its death signal, as programs do that drop their privilege
    local s <close> = nsbox.scope()
    local b = s:box { "setpriv", "--reuid", "1000", "--clear-groups", "sleep", "60",
      maps = os.getenv "SUBUID" and "subuid" or nil }
    b:start()
    s:box { "sleep", "60" }
  ]], ids = true },
  { "netns", [[
    local s <close> = nsbox.scope()
    s:netns "blue"
    s:netns "red":close()
    s:netns "green"
  ]] },
  { "bridge", [[
    local s <close> = nsbox.scope()
    s:bridge "br0"
    s:bridge "br1":close()
    s:bridge { "br2", netns = stranger }
    s:netns "blue"
    s:bridge { "br3", netns = "blue" }
  ]] },
  { "attach", [[
    local s <close> = nsbox.scope()
    local br = s:bridge { "br0", addr = "10.0.3.1/24" }
    br:attach(stranger, { "eth1" })
    br:attach(s:netns "blue")
    br:attach(stranger):close()
    local b = s:box { "true", net = { br, isolated = true } }
    b:start():wait()
    s:box { name = "idle", net = br }:close()
  ]] },
  { "pool", [[
    -- subnets and addresses that are chosen, and free again
    local s <close> = nsbox.scope { pool = { "10.20.0.0/29", { "10.21.0.0/16", size = 24 } } }
    local br = s:bridge "br0"
    local t <close> = nsbox.scope()
    t:link "br0":attach(stranger)
    br:attach(stranger)
    s:bridge { "br1", netns = stranger }
    s:bridge "br2":close()
    t:bridge "br2"
  ]] },
  { "veth", [[
    local s <close> = nsbox.scope()
    s:netns "blue"
    s:veth { { "a", addr = "10.1.0.1/24" }, { "b", netns = "blue" } }
    s:veth { { "c", netns = stranger }, { "d", netns = "blue" } }
    s:veth { "e", { "f", netns = stranger } }:close()
  ]] },
  { "batch", [[
    local s <close> = nsbox.scope()
    s:batch(function()
      local br = s:bridge { "br0", addr = "10.0.3.1/24" }
      for i = 1, 4 do br:attach(s:netns("n" .. i)) end
      br:attach(stranger)
      s:veth { "a", { "b", netns = stranger } }
    end)
    pcall(s.batch, s, function()
      s:bridge "br1":attach(stranger)
      s:veth { "a", "c" }
    end)
  ]] },
  { "device", [[
    local s <close> = nsbox.scope()
    local br = s:bridge { "br0", addr = "10.0.3.1/24" }
    s:macvlan { "eth1", link = br, netns = stranger, addr = "10.0.3.2/24" }
    s:macvlan { "mv0", link = "br0", mode = "private" }:close()
    s:vxlan { "vx0", id = 5, link = br, remote = "10.0.3.9", netns = stranger }
    s:add { "ifb0", type = "ifb" }:set { netns = stranger }
  ]] },
  { "tap", [[
    local s <close> = nsbox.scope()
    s:add { "tap0", type = "tap", mtu = 1400, addr = "10.0.4.1/24" }
    s:add { "tun0", type = "tun", netns = stranger }
    s:add { "tap1", type = "tap" }:close()
  ]], file = "/dev/net/tun" },
  { "link", [[
    local s <close> = nsbox.scope()
    local lo = s:link "lo"
    lo:set { alias = "lent", mtu = 60000, up = true, promisc = true }
    lo:addr "10.9.0.1/24":addr "fd09::1/64":route "10.5.0.0/16"
    s:link { "lo", netns = stranger }:addr "10.9.0.1/24":up():route "10.5.0.0/16"
    lo:deladdr "10.9.0.1/24"
    lo:close()
    s:link "card":set { "eth7", netns = stranger, addr = "10.7.0.1/24" }:addr "10.8.0.1/24"
  ]] },
  { "nat", [[
    local s <close> = nsbox.scope()
    s:bridge { "br0", addr = { "10.0.3.1/24", "fd00:3::1/64" }, nat = true, isolate = true }
    s:nat { "10.7.0.0/16", out = "lo" }:close()
    s:bridge { "br1", addr = "10.0.4.1/24", netns = stranger, nat = "lo" }
    s:nat { "10.7.0.0/16", netns = stranger }
    pcall(s.nat, s, "10.0.3.0/24")
    s:bridge { "br2", addr = "10.0.5.1/24", nat = true }:close()
  ]], needs = "nftables" },
  { "publish", [[
    local s <close> = nsbox.scope()
    local br = s:bridge { "br0", addr = { "10.0.3.1/24", "fd00:3::1/64" } }
    br:attach(stranger, { "eth1", publish = { "8080:80", "8081:81/udp" } }):publish "82"
    s:batch(function()
      for i = 1, 3 do br:attach(s:netns("n" .. i), { publish = (9000 + i) .. ":80" }) end
    end)
    pcall(function() br:attach(stranger, { publish = { "83:83", "8080:80" } }) end)
    local lo = s:link "lo"
    lo:up():addr "10.8.0.1/24":addr "fd00:8::1/64"
    lo:publish "127.0.0.1:84:84"
    lo:publish "[fd00:8::1]:85:85":close()
    s:veth { { "p0", addr = { "10.8.1.1/24", "fd00:81::1/64" } }, { "p1", netns = stranger,
      addr = { "10.8.1.2/24", "fd00:81::2/64" }, publish = "86:86" } }
  ]], needs = "nftables" },
  { "sysctl", [[
    local s <close> = nsbox.scope()
    s:sysctl(stranger, { ["net.ipv4.ip_forward"] = 1, ["net.ipv4.ip_default_ttl"] = 65 })
    s:sysctl(nil, { ["net.ipv6.conf.all.forwarding"] = 1 }):close()
    s:sysctl(nil, { ["net.ipv4.ip_forward"] = 1 })
    s:netns { "blue", sysctl = { ["net.ipv4.ip_forward"] = 1 } }
  ]] },
  { "dns", [[
    local s <close> = nsbox.scope()
    local br = s:bridge { "br0", addr = "10.0.3.1/24" }
    s:box { name = "a", net = br, dns = { "9.9.9.9", hosts = { x = "1.2.3.4" } } }
    s:dns(s:box { name = "b", net = br }, "9.9.9.9"):close()
    pcall(function() -- /etc is not everybody's
      s:netns { "blue", dns = "9.9.9.9" }
      s:dns("blue", { "8.8.8.8", hosts = { x = "1.2.3.4" } })
    end)
  ]], needs = "mount_api" },
  { "island", [[
    local s <close> = nsbox.scope { private = true }
    local br = s:bridge { "br0", addr = "10.0.3.1/24" }
    br:attach(s:netns "blue")
    s:netns "red":close()
    s:batch(function() s:veth { "a", { "b", netns = "blue" } } end)
    local b = s:box { "sleep", "60", net = br }
    b:start()
    s:box { name = "idle", net = br }
    s:sysctl(nil, { ["net.ipv4.ip_forward"] = 1 })
    s:link "lo":addr "10.9.0.1/24"
    s.ns:exec { "true" }
    b:close()
  ]] },
  { "uplink", [[
    local s <close> = nsbox.scope { private = true, uplink = "slirp4netns" }
    s:bridge { "br0", addr = "10.0.3.1/24" }
  ]], file = "/dev/net/tun", needs = "slirp4netns" },
  { "error", [[
    pcall(function()
      local s <close> = nsbox.scope()
      s:netns "blue"
      s:bridge "br0"
      s:bridge "br0"
    end)
  ]] },
  { "named", [[
    local s = nsbox.scope { "shop" }
    s:netns "blue"
    s:bridge "br0"
    s:commit()
    s:close()
    s = nsbox.scope { "shop" }
    s:netns "blue"
    s:netns "red"
    s:commit()
    s:bridge "br1"
    s:close()
  ]] },
  { "later run", [[
    local s = nsbox.scope { "shop" }
    s:netns "blue"
    s:netns "red"
    s:bridge { "br1", netns = "blue" }
    s:commit()
    s:bridge "br2"
    s:close()
  ]], before = [[
    local s = require "nsbox".scope { "shop" }
    s:netns "blue"
    s:netns "green"
    s:bridge { "br0", netns = s:netns "grey" }
    s:commit()
  ]], stands = { "blue" } },
  { "release", [[
    local s <close> = nsbox.scope()
    local one = s:netns "one"
    s:netns "two"
    local br = s:bridge "br0"
    s:bridge "br1"
    one:release()
    br:release()
  ]], cleanup = "ip link del br0; ip netns del one" },
}

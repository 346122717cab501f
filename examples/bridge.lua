#!/usr/bin/env lua5.4
-- A network line by line as with ip and brctl: by primitives, and by verbs.
--
--     ns1: eth0 192.168.10.11/24 ── lxcbr0.1 ── lxcbr0 192.168.10.1/24
--
-- Needs: netns bridge mount_api etc_netns
-- Network: private
-- Usage: lua5.4 examples/bridge.lua
-- Output:
--     eth0 192.168.10.11/24 via 192.168.10.1, nameserver 192.168.10.1
--     eth0 192.168.10.11/24 via 192.168.10.1, nameserver 192.168.10.1

local nsbox = require "nsbox"
local netlink = nsbox.sys.netlink

local function show(ns1)
  local routes, links = nsbox.net.routes(ns1), nsbox.net.links(ns1)
  print(("%s %s via %s, %s"):format(routes[1].dev, links[2].addrs[1], routes[1].via,
    (ns1:exec { "cat", "/etc/netns/ns1/resolv.conf" }.stdout:gsub("\n", ""))))
end

do -- rung 1: a function for each operation, where the scope works
  local lab <close> = nsbox.scope()
  local ns1 = lab:netns "ns1"                                       -- ip netns add ns1
  lab.ns:call(function()
    local here, there = netlink.open(), netlink.open "/run/netns/ns1"
    assert(here:link_add { "lxcbr0", kind = "bridge", data = { stp = false } }) -- brctl addbr, stp
    assert(here:addr_add { "192.168.10.1/24", dev = "lxcbr0" })     -- ip addr add … dev lxcbr0
    assert(here:link_set { "lxcbr0", up = true })                   -- ip link set lxcbr0 up
    assert(here:link_add { "lxcbr0.1", kind = "veth", master = "lxcbr0", up = true, -- ip link add
      peer = { "eth0", netns = ns1._handles.net } })                -- … type veth peer … netns ns1
    assert(there:addr_add { "192.168.10.11/24", dev = "eth0" })     -- ip -n ns1 addr add …
    assert(there:link_set { "eth0", up = true })                    -- ip -n ns1 link set eth0 up
    assert(there:route_add { "default", via = "192.168.10.1" })     -- ip -n ns1 route add default
  end)
  lab:dns("ns1", "192.168.10.1")                                    -- /etc/netns/ns1/resolv.conf
  show(ns1)
  lab:link "lxcbr0.1":delete()
  lab:link "lxcbr0":delete()
end

do -- rung 2: what is wanted; lo is up, and all of it goes with the scope
  local lab <close> = nsbox.scope()
  local bridge = lab:bridge { "lxcbr0", addr = "192.168.10.1/24", stp = false }
  local ns1 = lab:netns { "ns1", dns = "192.168.10.1" }
  bridge:attach("ns1", { "eth0", addr = "192.168.10.11/24", peer = "lxcbr0.1" })
  show(ns1)
end

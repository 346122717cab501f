#!/usr/bin/env lua5.4
-- Two namespaces with a card of their own on one card of the machine, a macvlan.
--
--     red: eth0 10.0.8.2 ──┐
--                          ├── the card "under"
--     blue: eth0 10.0.8.3 ─┘
--
-- Needs: netns macvlan mount_api
-- Network: private
-- Usage: lua5.4 examples/macvlan.lua; root on a real card: link = nsbox.net.uplink()
-- Output:
--     eth0 in netns red: 10.0.8.2/24
--     64 bytes from 10.0.8.3: icmp_seq=1 ttl=64 time=… ms

local nsbox = require "nsbox"

local lab <close> = nsbox.scope()
lab:veth { { "under" }, { "wire" } } -- it stands for a real card
local there = lab:netns "red"
lab:netns "blue"
local red = lab:macvlan { "eth0", link = "under", netns = "red", addr = "10.0.8.2/24" }
lab:macvlan { "eth0", link = "under", netns = "blue", addr = "10.0.8.3/24" }
print(("%s in %s: %s"):format(red.name, red.netns, nsbox.net.links(there)[2].addrs[1]))
print(there:exec({ "ping", "-c1", "-W5", "10.0.8.3" }).stdout:match "[^\n]*icmp_seq[^\n]*")

#!/usr/bin/env lua5.4
-- Two boxes on a bridge, which find each other by name.
--
--     box left ── eth0 10.0.3.2 ──┐
--                                 ├── br0 10.0.3.1/24
--     box right ─ eth0 10.0.3.3 ──┘
--
-- Needs: netns procmount bridge
-- Network: private
-- Usage: lua5.4 examples/pair.lua
-- Output:
--     bridge br0: 10.0.3.1/24, 2 ports
--     eth0@… in box left: 10.0.3.2/24, up
--     eth0@… in box right: 10.0.3.3/24, up
--     1 packets transmitted, 1 received, 0% packet loss, time …
--     10.0.3.3        right

local nsbox = require "nsbox"

local lab <close> = nsbox.scope()
local bridge = lab:bridge { "br0", addr = "10.0.3.1/24" }
local left = lab:box { name = "left", net = bridge }
local right = lab:box { name = "right", net = bridge }
print(bridge)
print(left.links[1])
print(right.links[1])

local ping = left:exec { "ping", "-c", "1", "-W", "5", "right", check = true }
print(ping.stdout:match "[^\n]* packets transmitted[^\n]*")
io.write(left:exec({ "getent", "-s", "files", "hosts", "right" }).stdout)

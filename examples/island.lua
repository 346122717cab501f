#!/usr/bin/env lua5.4
-- A network without privilege: an ordinary user's scope works on an island of its own.
--
--     island ── br0 10.0.3.1/24 ── eth0 10.0.3.2 box web
--          └─── name blue, known to ip netns in there
--
-- Needs: netns procmount bridge mount_api
-- Usage: lua5.4 examples/island.lua
-- Output:
--     scope (private island of uid …): empty
--     box web: 10.0.3.2
--     in there, uid 0: br0 10.0.3.1/24
--     names in there: blue
--     here: no br0
--     scope (private island of uid …): 1 box, 3 links, 1 netns

local nsbox = require "nsbox"

local lab <close> = nsbox.scope { private = true } -- for root, too; a user needs no option
print(lab)
local bridge = lab:bridge { "br0", addr = "10.0.3.1/24" }
local web = lab:box { name = "web", net = bridge }
bridge:attach(lab:netns "blue")

print("box web: " .. web.links[1].ip)
local look = lab.ns:exec { "sh", "-c", "id -u; ip -br -4 addr show dev br0; ip netns" }.stdout
print(("in there, uid %s: %s %s"):format(look:match "^(%d+)\n(%S+)%s+%S+%s+(%S+)"))
print("names in there: " .. look:match "([^\n ]+)[^\n]*\n$")

local seen = false
for _, link in ipairs(nsbox.net.links()) do
  seen = seen or link.name == "br0"
end
print("here: " .. (seen and "br0" or "no br0"))
print(lab)

#!/usr/bin/env lua5.4
-- One more card for a container that is running, anybody's: by the pid of a process in it.
--
--     pid: eth1 10.0.9.2/24 ── br9 10.0.9.1/24
--
-- Needs: netns bridge procmount
-- Network: private
-- Usage: lua5.4 examples/addnic.lua; root: PID [BRIDGE ADDRESS/PREFIX], as docker0 172.17.0.99/16
-- Output:
--     eth1@… in pid …: 10.0.9.2/24, up
--     64 bytes from 10.0.9.2: icmp_seq=1 ttl=64 time=… ms

local nsbox = require "nsbox"

local lab <close> = nsbox.scope()
local pid, name, addr = math.tointeger(tonumber(arg[1])), arg[2], arg[3]
if not pid then -- somebody's container
  pid = lab:box({ "sleep", "60" }):start().pid
end
local bridge = name and lab:link(name) or lab:bridge { "br9", addr = "10.0.9.1/24" }
local card = bridge:attach(pid, { "eth1", addr = addr })
print(card)
print(lab.ns:exec({ "ping", "-c1", "-W5", card.ip }).stdout:match "[^\n]*icmp_seq[^\n]*")
if arg[1] then
  card:release() -- it stays
end

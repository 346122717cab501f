#!/usr/bin/env lua5.4
-- Subnets and addresses that nobody has to choose, and that nobody has twice.
--
--     office 172.17.0.0/16 (a VPN) ── this machine ── 0.0.0.0/1 (a VPN takes all)
--                                       ├── shop 172.18.0.0/16: web .2, db .3
--                                       └── lab  10.20.7.0/24:  probe .2
--
-- Needs: maps procmount bridge
-- Network: private
-- Usage: lua5.4 examples/pool.lua; root: unshare -nm lua5.4 examples/pool.lua
-- Output:
--     bridge shop: 172.18.0.1/16, 2 ports
--     web 172.18.0.2, db 172.18.0.3
--     bridge lab: 10.20.7.1/24, 1 port
--     probe 10.20.7.2
--     bridge: more: no subnet of the pool (10.20.7.0/24) is free: taken by lab…

local nsbox = require "nsbox"

-- what is there already: the routes of two VPNs
local shop <close> = nsbox.scope()
shop:bridge { "tun0", addr = "10.8.0.1/24", routes = {
  { "172.17.0.0/16", via = "10.8.0.2" }, { "0.0.0.0/1", via = "10.8.0.2" } } }

-- the first subnet that is free: the office has 172.17; what takes the whole world takes none
local bridge = shop:bridge "shop"
local web, db = shop:box { name = "web", net = bridge }, shop:box { name = "db", net = bridge }
print(bridge)
print(("web %s, db %s"):format(web.links[1].ip, db.links[1].ip))

-- a pool of one's own; { "10.20.0.0/16", size = 24 } would be all subnets of that size in it
local lab <close> = nsbox.scope { pool = "10.20.7.0/24" }
local bench = lab:bridge "lab"
local probe = lab:box { name = "probe", net = bench }
print(bench)
print("probe " .. probe.links[1].ip)
local _, err = nsbox.try(lab.bridge, lab, "more")
print(("%s: %s: %s"):format(err.op, err.subject, err.detail))

#!/usr/bin/env lua5.4
-- Ports of the machine lead into boxes, in docker's words.
--
--     internet ── wan 203.0.113.1:8080 ──┐
--     this machine ── 127.0.0.1:8080 ────┼── br0 ── web 10.0.3.2:80
--     db ── 10.0.3.1:8080 ───────────────┘
--
-- Needs: netns bridge nftables procmount
-- Network: private
-- Usage: sudo unshare -nm lua5.4 examples/publish.lua
-- Output:
--     tcp 8080 leads to 80
--     internet: hello 203.0.113.9
--     this machine: hello 10.0.3.1
--     db: hello 10.0.3.1
--     publish 8080:80: this scope publishes 8080/tcp already, to 10.0.3.2:80 (EADDRINUSE)

local nsbox = require "nsbox"

local lab <close> = nsbox.scope()
lab:link "lo":up() -- this private network has just been made
local internet = lab:box { name = "internet" }
lab:veth { { "wan", addr = "203.0.113.1/24" },
  { "eth0", netns = internet, addr = "203.0.113.9/24" } }
local bridge = lab:bridge { "br0", addr = "10.0.3.1/24" }
local web = lab:box { name = "web", net = { bridge, publish = "8080:80" } }
local db = lab:box { name = "db", net = bridge }

web:spawn { "perl", "-MIO::Socket", "-e", [[
  my $s = IO::Socket::INET->new(LocalPort => 80, Listen => 9);
  while (my $c = $s->accept) { print {$c} "hello ", $c->peerhost, "\n" }]] }
web:ready { port = 80 }

local port = web.links[1].published[1]
print(("%s %d leads to %d"):format(port.protocol, port.port, port.to))
local function ask(addr) return "read line </dev/tcp/" .. addr .. "; echo $line" end
io.write("internet: ", internet:exec { "bash", "-c", ask "203.0.113.1/8080" }.stdout)
io.write("this machine: ", lab.ns:exec { "bash", "-c", ask "127.0.0.1/8080" }.stdout)
io.write("db: ", db:exec { "bash", "-c", ask "10.0.3.1/8080" }.stdout)
print(select(2, nsbox.try(db.links[1].publish, db.links[1], "8080:80")))

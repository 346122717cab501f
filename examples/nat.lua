#!/usr/bin/env lua5.4
-- Boxes on a bridge reach the world under the address of the machine.
--
--     web 10.0.3.2 ── br0 10.0.3.1   wan 203.0.113.1 ── internet 203.0.113.9
--                          └──── nat ────┘
--
-- The internet, here a namespace, knows no way to 10.0.3.0/24.
--
-- Needs: netns bridge nftables procmount
-- Network: private
-- Usage: sudo unshare -nm lua5.4 examples/nat.lua
-- Output:
--     bridge br0: 10.0.3.1/24, 1 port
--     without: no answer
--     nat of 10.0.3.0/24
--     with: an answer
--     web sees 203.0.113.9, which sees 203.0.113.1

local nsbox = require "nsbox"

local lab <close> = nsbox.scope()
local internet = lab:box { name = "internet" }
lab:veth { { "wan", addr = "203.0.113.1/24" },
  { "eth0", netns = internet, addr = "203.0.113.9/24" } }
local bridge = lab:bridge { "br0", addr = "10.0.3.1/24" } -- nat = true does it at once
local web = lab:box { name = "web", net = bridge }
print(bridge)

local function answer()
  return web:exec { "ping", "-c1", "-W1", "203.0.113.9" }.ok and "an answer" or "no answer"
end

print("without: " .. answer())
print(lab:nat(bridge))
print("with: " .. answer())

-- who asks? a server of one line, in Perl, which every Debian has
internet:spawn { "perl", "-MIO::Socket", "-e", [[
  my $s = IO::Socket::INET->new(LocalPort => 80, Listen => 9);
  while (my $c = $s->accept) { print {$c} $c->peerhost, "\n" }]] }
internet:ready { port = 80 }
local seen = web:exec { "bash", "-c", "read line </dev/tcp/203.0.113.9/80; echo $line" }.stdout
print("web sees 203.0.113.9, which sees " .. seen:match "%S+")

#!/usr/bin/env lua5.4
-- A server and its client under test, over a link of 10 Mbit/s: output, exit codes, a time-out.
--
--     box client ── eth0 10.0.3.3 ── br0 ── eth0 10.0.3.2, 10 Mbit/s ── box server
--
-- Needs: netns procmount bridge
-- Network: private
-- Usage: lua5.4 examples/harness.lua
-- Output:
--     client: exit 0, 65536 bytes, not at once
--     a port that nobody has: exit 1
--     a server that says nothing: killed by KILL: timeout after 0.2 s

local nsbox = require "nsbox"

-- one connection: 64 KiB to whoever comes, and then for ever nothing
local SERVER <const> = [[perl -MIO::Socket::INET -e '
  my $s = IO::Socket::INET->new(LocalPort => 80, Listen => 5, ReuseAddr => 1) or die $!;
  print { $s->accept } "x" x 65536; while (1) { push @all, $s->accept }']]
local CLIENT <const> = [[perl -MIO::Socket::INET -e '
  my $s = IO::Socket::INET->new(PeerAddr => "server:$ARGV[0]") or exit 1;
  print while read $s, $_, 4096' ]]

local lab <close> = nsbox.scope()
local bridge = lab:bridge { "br0", addr = "10.0.3.1/24" }
local server = lab:box { "sh", "-c", SERVER, name = "server", stdout = "null", stderr = "null",
  caps = { "net_bind_service" }, net = { bridge, rate = "10mbit" } }
local client = lab:box { name = "client", net = bridge }
server:start():ready { port = 80 }

local clock = nsbox.sys.process.clock
local before = clock()
local result = client:exec { "sh", "-c", CLIENT .. 80 }
print(("client: exit %d, %d bytes, %s"):format(result.code, #result.stdout,
  clock() - before > 0.03 and "not at once" or "at once"))
print("a port that nobody has: exit " .. client:exec({ "sh", "-c", CLIENT .. 81 }).code)
print("a server that says nothing: " .. tostring(client:exec { "sh", "-c", CLIENT .. 80,
  timeout = 0.2 }):gsub(" in .*", ""))

#!/usr/bin/env lua5.4
-- Namespaces are files: parent and child side by side, one held, and joined.
--
--     caller ── /proc/PID/ns/uts ── box, which ends; the namespace does not
--
-- Needs: maps
-- Usage: lua5.4 examples/namespaces.lua
-- Output:
--     user   another
--     mnt    another
--     pid    shared
--     net    shared
--     uts    another
--     ipc    shared
--     cgroup shared
--     held: 0 processes, its host name is child

local nsbox = require "nsbox"

local box = nsbox.box { namespaces = { "user", "mnt", "uts" }, hostname = "child" }
local pairs_of = nsbox.ns.compare(nil, box.pid)
for kind in ("user mnt pid net uts ipc cgroup"):gmatch "%a+" do
  print(("%-6s %s"):format(kind, pairs_of[kind].same and "shared" or "another"))
end

-- a descriptor holds what its last process leaves
local held <close> = nsbox.ns.of(box, "user", "uts")
box:close()
for record in nsbox.ns.list "uts" do
  if record.inode == held.uts.inode then
    io.write("held: ", #record.pids, " processes, its host name is ", held:exec "hostname".stdout)
  end
end

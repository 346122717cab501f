#!/usr/bin/env lua5.4
-- Namespaces are files: parent and child side by side; one held by a descriptor,
-- joined, pinned by a mount and joined again.
--
--     parent ── /proc/PID/ns/uts ── child, which ends; the namespace does not
--
-- Needs: maps
-- Usage: lua5.4 examples/namespaces.lua
-- Output:
--     kind   parent     child
--     user   … … two
--     mnt    … … two
--     pid    … … shared
--     net    … … …
--     uts    … … two
--     ipc    … … shared
--     cgroup … … shared
--     held: 0 processes, its host name is child
--     pinned: …

local nsbox = require "nsbox"

local box = nsbox.box { namespaces = { "user", "mnt", "uts" }, hostname = "child" }
local pairs_of = nsbox.ns.compare(nil, box.pid)
print "kind   parent     child"
for kind in ("user mnt pid net uts ipc cgroup"):gmatch "%a+" do
  local pair = pairs_of[kind]
  print(("%-6s %d %d %s"):format(kind, pair.a, pair.b, pair.same and "shared" or "two"))
end

-- a descriptor holds what its last process leaves
local held = nsbox.ns.of(box, "user", "uts")
box:close()
for record in nsbox.ns.list "uts" do
  if record.inode == held.uts.inode then
    io.write("held: ", #record.pids, " processes, its host name is ", held:exec "hostname".stdout)
  end
end

-- and a mount what the last descriptor leaves: root's, or in a mount namespace of one's own
local uts, where = nsbox.ns.of(held, "uts"), os.tmpname() .. ".ns"
local ok, err = nsbox.try(uts.pin, uts, where)
held:close()
uts:close()
if ok then
  local again <close> = nsbox.ns.open(where)
  io.write("pinned: ", where, ", its host name is ", again:exec "hostname".stdout)
  nsbox.ns.unpin(where)
else
  print("pinned: not by this user: " .. err.code)
end
os.remove((where:gsub("%.ns$", "")))

#!/usr/bin/env lua5.4
-- A script that is killed in the middle, and the next one, which cleans up after it.
--
-- Needs: maps
-- Usage: lua5.4 examples/crash.lua
-- Output:
--     first run: made blue
--     first run: killed by KILL
--     left: blue
--     second run: recovered 1 scope
--     left: nothing

local nsbox = require "nsbox"

if arg[1] == "first" then
  local lab = nsbox.scope()
  lab:netns "blue"
  lab:bridge { "br0", netns = "blue" }
  print "first run: made blue"
  io.stdout:flush()
  nsbox.sys.process.open(nsbox.sys.process.getpid()):kill "KILL"
elseif arg[1] == "second" then
  -- nsbox.scope() does the same before anything else
  print(("second run: recovered %d scope"):format(nsbox.scope.recover()))
else
  -- a place where everybody is root, so that this runs for every user
  local place <close> = nsbox.ns.new { "user", "mnt", "net" }
  place:exec { "mount", "-t", "tmpfs", "tmpfs", "/run", check = true }
  local function run(word)
    return place:exec { arg[-1], arg[0], word, env = { "*" }, stdout = "inherit",
      stderr = "inherit" }
  end
  local function left()
    local names = place:exec({ "ls", "/run/netns" }).stdout:gsub("%s+$", "")
    print("left: " .. (names ~= "" and names or "nothing"))
  end
  print("first run: " .. tostring(run "first"):gsub(" in .*", ""))
  left()
  run "second"
  left()
end

#!/usr/bin/env lua5.4
-- Twenty boxes at once, all captured; the first to end wins.
--
-- Needs: maps procmount
-- Usage: lua5.4 examples/many.lua
-- Output:
--     the first to end: box 13, which says: first
--     still running: 19

local nsbox = require "nsbox"

local scope <close> = nsbox.scope()
local boxes = {}
for i = 1, 20 do
  -- all but one wait for a line that never comes
  boxes[i] = scope:box { "sh", "-c", i == 13 and "echo first" or "read line",
    stdin = "pipe", stdout = "capture", name = "b" .. i }:start()
end

local winner, result = nsbox.wait(boxes)
io.write("the first to end: box ", winner.name:sub(2), ", which says: ", result.stdout)

local running = 0
for _, box in ipairs(boxes) do
  running = running + (box.state == "running" and 1 or 0)
end
print("still running: " .. running)

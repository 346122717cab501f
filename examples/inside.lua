#!/usr/bin/env lua5.4
-- A Lua function runs in a box and brings its values, or its error, back.
--
-- Needs: maps procmount
-- Usage: lua5.4 examples/inside.lua
-- Output:
--     inner: pid 1 is nsbox-init, 7 * 6 = 42
--     the function failed: …: not today

local nsbox = require "nsbox"

local box <close> = nsbox.box { hostname = "inner" }

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read "l"
end

-- the child is a copy of this script: what it needs comes along
local name, first, product = box:call(function(a, b)
  return read "/proc/sys/kernel/hostname", read "/proc/1/comm", a * b
end, 7, 6)
print(("%s: pid 1 is %s, 7 * 6 = %d"):format(name, first, product))

local _, err = nsbox.try(box.call, box, function() error "not today" end)
print("the function failed: " .. err.cause)

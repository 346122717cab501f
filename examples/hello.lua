#!/usr/bin/env lua5.4
-- A program in a box of its own: new namespaces, root inside, nobody outside.
--
--     caller ── nsbox.run ── pid 1 "sh", uid 0, host name "box"
--
-- Needs: userns procmount
-- Usage: lua5.4 examples/hello.lua
-- Output:
--     hello from box, I am root, pid 1

local nsbox = require "nsbox"

os.exit(nsbox.run {
  "sh", "-c", "echo hello from $(hostname), I am $(id -un), pid $$", hostname = "box",
})

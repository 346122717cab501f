-- Runs a command in a default box; for the cell of that name.
-- Usage: lua5.4 spec/inbox.lua COMMAND…

local nsbox = require "nsbox"

-- an init, because the specs leave orphans to reap; specs write below /tmp, and make boxes,
-- which the filter forbids
os.exit(nsbox.run { env = { "*" }, bind = "/tmp", init = true, seccomp = false,
  table.unpack(arg) })

#!/usr/bin/env lua5.4
-- A program that nobody trusts: it sees programs and its own /tmp, reaches no network, gains
-- nothing, and ends after five seconds.
--
-- Needs: procmount rootfs
-- Usage: lua5.4 examples/sandbox.lua [PROGRAM ARGUMENT…]
-- Output:
--     hello from inside
--     sh: 2: cannot create /usr/mine: Read-only file system
--     /etc: hosts
--     lo
--     1: all processes there are
--     exit	0
--     killed by KILL: timeout after 0.2 s

local nsbox = require "nsbox"

local function sandbox(program)
  program.rootfs = { ro = true }
  program.bind = {}
  for _, dir in ipairs { "/usr", "/bin", "/lib", "/lib64" } do
    if io.open(dir) then
      table.insert(program.bind, { dir, ro = true })
    end
  end
  program.tmpfs = { "/tmp", size = "16M" }
  program.cwd = "/tmp"
  program.caps = {}
  program.timeout = program.timeout or "5s"
  local _, result = nsbox.run(program)
  return result
end

if arg[1] then
  os.exit(sandbox(arg).status, true)
end
local result = sandbox { "sh", "-c", [[echo hello from inside >f; cat f
  echo mine >/usr/mine
  echo /etc: $(ls /etc)
  grep -o '[a-z0-9]*:' /proc/net/dev | tr -d : | sort
  set -- /proc/[0-9]*; echo "$#: all processes there are"]], stderr = "stdout" }
print(result.reason, result.status)
print(sandbox { "sh", "-c", "while :; do :; done", timeout = "200ms" })

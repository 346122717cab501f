#!/usr/bin/env lua5.4
-- The user-namespace program of the article, step by step with rung 1 only: a
-- child in new namespaces waits at a pipe while the parent writes its id maps,
-- then sets the host name, mounts /proc and becomes a shell.
--
--     parent ── clone(user pid mnt uts) ──> child
--        │  writes uid_map, gid_map            │ waits: read(pipe)
--        └──────── closes the pipe ──────────> │ sethostname, mount, exec
--
-- Needs: userns procmount
-- Usage: lua5.4 examples/user.lua      (an interactive shell; or pipe commands in)
-- Input: id -u; hostname; echo $$; exit
-- Output:
--     Parent: eUID = …;  eGID = …
--     Parent […] - start a container!
--     Parent […] - Container […]!
--     Parent […] - user/group mapping done!
--     Container [    1] - inside the container!
--     Container: eUID = 0;  eGID = 0
--     Container [    1] - setup hostname!
--     0
--     container
--     1

local sys = require "nsbox.sys"
local process, fd = sys.process, sys.fd

local function say(...)
  print(string.format(...))
end

local uid, gid = process.geteuid()
say("Parent: eUID = %d;  eGID = %d", uid, gid)
say("Parent [%5d] - start a container!", process.getpid())

local r, w = assert(fd.pipe())
local child, res = assert(process.clone({ "user", "pid", "mnt", "uts" }, function()
  w:close()
  r:read(1) -- the parent closes its end when the maps are there

  say("Container [%5d] - inside the container!", process.getpid())
  say("Container: eUID = %d;  eGID = %d", process.geteuid())
  say("Container [%5d] - setup hostname!", process.getpid())
  assert(process.sethostname("container"))
  assert(sys.mount.propagation("/", "private", true))
  assert(sys.mount.mount("proc", "/proc", "proc", { "nosuid", "nodev", "noexec" }))
  assert(process.exec { os.getenv "SHELL" or "/bin/sh" })
end))
say("Parent [%5d] - Container [%5d]!", process.getpid(), child:pid())

assert(sys.idmap.uid_map(child:pid(), { { 0, uid, 1 } }))
assert(sys.idmap.setgroups(child:pid(), "deny"))
assert(sys.idmap.gid_map(child:pid(), { { 0, gid, 1 } }))
say("Parent [%5d] - user/group mapping done!", process.getpid())
io.stdout:flush()
w:close()
fd.poll({ [child:fileno()] = "r" })
local failure = res:read(4096) -- exec closed it, unless a step before failed
if failure then
  error(select(2, process.results(failure)), 0)
end
local how, code = child:status()
os.exit(how == "exit" and code or 128 + process.signal(code), true)

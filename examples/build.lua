#!/usr/bin/env lua5.4
-- A build that can use only what it names: the compiler's /usr, and a work directory to write to.
--
-- Needs: procmount rootfs
-- Usage: lua5.4 examples/build.lua
-- Output:
--     built: a program that says hello
--     not built: …fatal error: /etc/passwd: No such file or directory

local nsbox = require "nsbox"

local work = os.tmpname()
assert(os.execute(("rm %s && mkdir %s"):format(work, work)))

local function write(name, text)
  local f <close> = assert(io.open(work .. "/" .. name, "w"))
  f:write(text)
end

local function build(...)
  local o = { "cc", ... }
  o.rootfs, o.cwd, o.tmpfs = { ro = true }, "/work", "/tmp"
  o.env, o.stderr = { LANG = "C" }, "capture"
  o.bind = { { work, to = "/work", idmap = true } }
  for _, dir in ipairs { "/usr", "/bin", "/lib", "/lib64", "/etc/alternatives" } do
    if io.open(dir) then
      table.insert(o.bind, { dir, ro = true })
    end
  end
  return select(2, nsbox.run(o))
end

write("hello.c", "#include <stdio.h>\nint main(void) { puts(\"a program that says hello\"); }\n")
write("outside.c", "#include \"/etc/passwd\"\n")
assert(build("-o", "hello", "hello.c").ok)
io.write("built: ", io.popen(work .. "/hello"):read "a")
print("not built: " .. build("-c", "outside.c").stderr:match "[^\n]*")
os.execute("rm -rf " .. work)

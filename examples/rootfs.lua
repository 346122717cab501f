#!/usr/bin/env lua5.4
-- An image made by hand, and a box that has it as its root: nothing else of the machine is there.
--
--     bin/busybox, etc/passwd               the image: a directory
--     /proc /sys /dev /dev/pts /dev/shm     made by the box
--     /etc/hosts /etc/hostname              what the box says of itself
--     /run /tmp                             in memory, asked for
--
-- A larger one: debootstrap bookworm image; lua5.4 examples/rootfs.lua image
--
-- Needs: procmount rootfs
-- Usage: lua5.4 examples/rootfs.lua [DIRECTORY]
-- Output:
--     I am root, pid 1 of alone
--     bin dev etc proc run sys tmp
--     fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero
--     127.0.1.1	alone
--     by root
--     what it wrote is gone, and the image as it was: true

local nsbox = require "nsbox"

local image = arg[1]
if not image then
  image = os.tmpname()
  assert(os.execute((([[rm %s && mkdir -p %s/bin %s/etc && cp /bin/busybox %s/bin &&
    for name in sh id hostname ls echo cat grep stat; do ln -s busybox %s/bin/$name; done &&
    echo 'root:x:0:0::/:/bin/sh' >%s/etc/passwd]]):gsub("%%s", image))))
end

local function run(command, overlay)
  nsbox.run { "sh", "-c", command, rootfs = image, hostname = "alone", check = true,
    tmpfs = { "/run", "/tmp" }, overlay = overlay }
end

run "echo I am $(id -un), pid $$ of $(hostname); echo $(ls /); echo $(ls /dev)"
run "grep alone /etc/hosts"
run("echo by root >/made; stat -c 'by %U' /made; rm -rf /bin /etc/passwd", "tmp")
local made = io.open(image .. "/made") or not io.open(image .. "/bin/busybox")
print("what it wrote is gone, and the image as it was: " .. tostring(not made))
if not arg[1] then
  os.execute("rm -rf " .. image)
end

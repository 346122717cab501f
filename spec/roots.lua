-- Root file systems for specs.
--
--     make()            a new directory with a busybox in bin, and its usual names
--     sh(root, command, o)  what the shell command printed in a box with that root: text, result
--     link(target, path)  makes a symbolic link
--     mounts(text)      what a box's /proc/self/mountinfo says: by mount point,
--                       { options, fstype, super }; and how many there are

local lfs = require "lfs"

local M = {}

local NAMES <const> = "sh cat ls echo touch stat id pwd mkdir readlink grep head wc sleep env "
  .. "hostname sort rm mv ln test true cut tr find chown umount mount"

function M.link(target, path)
  assert(lfs.link(target, path, true))
end

function M.make()
  local dir = tmpdir()
  assert(os.execute(("chmod 755 %s && mkdir %s/bin && cp /bin/busybox %s/bin"):format(dir, dir,
    dir)))
  for name in NAMES:gmatch "%S+" do
    M.link("busybox", dir .. "/bin/" .. name)
  end
  return dir
end

function M.sh(root, command, o)
  o = o or {}
  o[1], o[2], o[3] = "sh", "-c", command
  o.rootfs, o.stdout, o.stderr = o.rootfs or root, "capture", "stdout"
  local _, result = require("nsbox").run(o)
  return result.stdout, result
end

function M.mounts(text)
  local list, count = {}, 0
  for line in text:gmatch "[^\n]+" do
    local point, options, kind, super = line:match
      "^%d+ %d+ %S+ %S+ (%S+) (%S+) .-%- (%S+) %S+ (%S+)"
    if point then
      list[point], count = { options = options, fstype = kind, super = super }, count + 1
    end
  end
  return list, count
end

return M

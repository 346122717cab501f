--- Root file systems in files: `nsbox.rootfs.unpack`.
--
-- @module nsbox.rootfs

local M = {}

-- how a compressed archive begins, and the option of tar for it
local COMPRESSED <const> = {
  { "\x1f\x8b", "--gzip" }, { "BZh", "--bzip2" }, { "\xfd7zXZ\0", "--xz" },
  { "\x28\xb5\x2f\xfd", "--zstd" },
}

local function raise(subject, detail, errno, result)
  require("nsbox.error").raise { op = "rootfs.unpack", subject = subject, detail = detail,
    errno = errno, result = result }
end

local function open(tarball)
  local file, message, errno = io.open(tarball, "rb")
  local head = file and file:read(6)
  if not head then
    raise(tarball, file and "the archive is empty"
      or message:gsub("^.*: ", ""), errno)
  end
  if not file:seek "set" then
    raise(tarball, "a pipe, or what has no beginning to go back to: unpack takes a file")
  end
  for _, kind in ipairs(COMPRESSED) do
    if head:sub(1, #kind[1]) == kind[1] then
      return file, kind[2]
    end
  end
  return file, nil
end

-- where programs are; nothing else of the machine is seen
local PROGRAMS <const> = { "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64" }

local function binds(dir, to)
  local list = { { dir, to = to, idmap = true } }
  for _, path in ipairs(PROGRAMS) do
    if require("nsbox.machine").exists(path) then
      list[#list + 1] = { path, ro = true }
    end
  end
  return list
end

--- Unpacks an archive of a root file system, by tar in a box that sees programs, the archive
-- and the directory, and can write nowhere else.
--
-- As root the files have the owners that the archive says; of an ordinary user all are
-- his. Devices are left out: nobody in a box can make one, and a box has a /dev of its own.
--
-- tar(1)
-- @tparam string tarball its name; also compressed
-- @tparam string dir which is made when it is missing
-- @treturn string dir
-- @raise an `nsbox.Error` with what tar says; what it wrote until then stays
function M.unpack(tarball, dir)
  for i, value in ipairs { tarball or false, dir or false } do
    if type(value) ~= "string" or value == "" then
      error(("rootfs.unpack: argument %d: expected a path, got %s"):format(i,
        type(value) == "string" and "an empty string" or type(value)), 2)
    end
  end
  local file <close>, option = open(tarball)
  local lfs = require "lfs"
  local made, message, errno = lfs.mkdir(dir)
  if not made and lfs.attributes(dir, "mode") ~= "directory" then
    raise(dir, message, errno)
  end
  local privileged = require("nsbox.idmap").who("rootfs.unpack").root
  local _, result = require "nsbox.run" { "tar", "--extract", "--file=-", "--numeric-owner",
    "--same-permissions", "--delay-directory-restore", "--anchored", "--exclude=dev/*",
    "--exclude=./dev/*", privileged and "--same-owner" or "--no-same-owner", option,
    rootfs = { ro = true }, bind = binds(dir, "/to"), cwd = "/to", stdin = file, stdout = "null",
    stderr = "capture" }
  if not result.ok then
    local said = result.stderr:match "%S[^\n]*" or tostring(result)
    raise(tarball, said:find "^tar: " and said or "tar: " .. said, nil, result)
  end
  return dir
end

return M

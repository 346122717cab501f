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
  local head
  local file, message, errno = io.open(tarball, "rb")
  if file then
    head, message, errno = file:read(6)
  end
  if not head then
    raise(tarball, message and message:gsub("^.*: ", "") or "the archive is empty", errno)
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

-- what programs that unpack begin with when they complain, and how they are to be read
local UNPACKERS <const> = { { "^gzip: stdin: ", "gzip: " }, { "^bzip2: ", "bzip2: " },
  { "^/%*stdin%*\\ : ", "zstd: " }, { "^tar: Unexpected EOF", "tar: Unexpected EOF" } }

-- a line of tar's, or of who unpacks for it
local function reading(line)
  for _, it in ipairs(UNPACKERS) do
    if line:find(it[1]) then
      return "the archive is damaged: " .. line:gsub(it[1], it[2])
    end
  end
  return line:find "^tar[: ]" and line or "tar: " .. line
end

local NO_DEVICE <const> = "^tar: .*: Cannot mknod: Operation not permitted$"
local SUMMARY <const> = "tar: Exiting with failure status due to previous errors"

-- what is wrong, nil: nothing but devices, which are to be left out. tar goes on after these;
-- it writes a name on one line, whatever is in it
local function complaint(result)
  -- xz writes a line in pieces, between which tar may write one of its own
  local xz = result.stderr:find("xz: ", 1, true) and result.stderr:match "%(stdin%): (%u[%l ]+)"
  if xz then
    return "the archive is damaged: xz: " .. xz:gsub("tar$", "")
  end
  local devices = false
  for line in result.stderr:gmatch "%S[^\n]*" do
    local device = line:find(NO_DEVICE) ~= nil
    devices = devices or device
    if not device and line ~= SUMMARY then
      return reading(line)
    end
  end
  if not devices or result.reason ~= "exit" or result.truncated then
    return "tar: " .. tostring(result)
  end
end

--- Unpacks an archive of a root file system, by tar in a box that sees programs, the archive
-- and the directory, and can write nowhere else.
--
-- As root the files have the owners that the archive says; of an ordinary user all are
-- his. Devices are left out, wherever they are, and all that is in dev: nobody in a box can
-- make one, and a box has a /dev of its own.
--
-- tar(1)
-- @tparam string tarball its name; also compressed
-- @tparam string dir which is made when it is missing
-- @treturn string dir
-- @raise an `nsbox.Error` with what tar says; what it wrote until then stays
function M.unpack(tarball, dir, ...)
  local mistake = require "nsbox.mistake"
  local given = { tarball, dir }
  for i = 1, 2 do
    local path = given[i]
    local wrong = type(path) ~= "string" and mistake.expected("a path", path)
      or path == "" and "expected a path, got an empty string"
      or path:find("\0", 1, true) and mistake.nul(path)
    if wrong then
      mistake.raise(("rootfs.unpack: argument %d: %s"):format(i, wrong), 2)
    end
  end
  if select("#", ...) > 0 then
    mistake.raise("rootfs.unpack: takes an archive and a directory, and no options", 2)
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
  local wrong = not result.ok and complaint(result)
  if wrong then
    raise(tarball, wrong, nil, result)
  end
  return dir
end

return M

--- Where nsbox keeps its state: /run/nsbox for root, else a directory of the user's.
--
--     whose /run is his own    /run/nsbox
--     others                   $XDG_RUNTIME_DIR/nsbox, else /tmp/nsbox-UID
--
-- A user namespace has a directory of its own, named by its inode (and, inodes
-- being used again, by who is root there): what was made in one cannot be
-- seen, and so not be undone, from another. It goes when it is empty.
--
-- It is 0700 and must belong to who uses it: what is in there tells what to
-- remove.
--
-- file-hierarchy(7), user_namespaces(7)
--
-- @internal nsbox.rundir

local fd = require "nsbox.sys.fd"
local process = require "nsbox.sys.process"

local ENOENT <const>, EEXIST <const> = 2, 17
local FIRST <const> = 0xEFFFFFFD -- inode of the first user namespace

local M = {}

local function own(path, euid)
  local st = fd.stat(path)
  return st and st.type == "directory" and st.uid == euid
end

-- what the id is called outside of this user namespace
local function outside(id)
  local f <close> = io.open "/proc/self/uid_map"
  for line in f and f:lines() or function() end do
    local first, other, count = line:match "(%d+)%s+(%d+)%s+(%d+)"
    local at = id - tonumber(first)
    if at >= 0 and at < tonumber(count) then
      return tonumber(other) + at
    end
  end
  return id
end

local function suffix_of(euid)
  local userns = fd.stat "/proc/self/ns/user"
  return userns and userns.ino ~= FIRST and ("-%d-%d"):format(outside(euid), userns.ino) or ""
end

--- The directory, which may not be there yet.
-- @treturn string
-- @treturn boolean whether it goes when it is empty
function M.path()
  local euid = process.geteuid()
  local suffix = suffix_of(euid)
  if euid == 0 and own("/run", 0) then
    return "/run/nsbox" .. suffix, suffix ~= ""
  end
  local xdg = os.getenv "XDG_RUNTIME_DIR"
  if xdg and xdg:sub(1, 1) == "/" and own(xdg, euid) then
    return xdg .. "/nsbox" .. suffix, suffix ~= ""
  end
  return ("/tmp/nsbox-%d%s"):format(euid, suffix), suffix ~= ""
end

-- what to do about it, said of the directory
local function hint_for(advice)
  local path = M.path()
  return ("nsbox keeps its journals in %s: %s%s"):format(path, advice, path:find "^/run/nsbox"
    and "" or ", or set XDG_RUNTIME_DIR to a directory of your own")
end

local WRITE <const> = "this user has to be able to write there"
local ROOM <const> = "there has to be room"
local ADVICE <const> = { ENOTDIR = "remove what is there, it is no directory", EACCES = WRITE,
  EPERM = WRITE, EROFS = WRITE, ENOSPC = ROOM, EDQUOT = ROOM }

--- Raises that something of it cannot be read or written.
-- @tparam string op the verb that asks
-- @tparam string path
-- @tparam string message
-- @tparam integer errno
function M.fail(op, path, message, errno)
  local advice = ADVICE[require("nsbox.sys.errno")[errno]]
  require("nsbox.error").raise { op = op, subject = path, errno = errno,
    detail = message:gsub("^/[^:]*: ", ""), hint = advice and hint_for(advice) or nil }
end

local function refuse(op, path, detail)
  require("nsbox.error").raise { op = op, subject = path, code = "EPERM", detail = detail,
    hint = hint_for "it believes what is there, so remove it" }
end

--- The directory, checked.
-- @tparam string op the verb that asks, for the Error
-- @tparam ?boolean create make it when it is not there
-- @treturn ?string its path; nil: it is not there
-- @raise an Error, when it cannot be made or is not ours alone
function M.open(op, create)
  local path = M.path()
  -- not through a link that somebody put there
  local dir, message, errno = fd.open(path, { "directory", "nofollow", "path" })
  if not dir and errno == ENOENT then
    if not create then
      return nil
    end
    local ok
    ok, message, errno = fd.mkdir(path, "0700")
    if ok or errno == EEXIST then
      dir, message, errno = fd.open(path, { "directory", "nofollow", "path" })
    end
  end
  if not dir then
    M.fail(op, path, message, errno)
  end
  local st = fd.stat(dir)
  dir:close()
  if st.uid ~= process.geteuid() then
    refuse(op, path, ("it belongs to uid %d"):format(st.uid))
  elseif st.mode & 18 ~= 0 then -- 022
    refuse(op, path, ("others may write to it (mode %04o)"):format(st.mode))
  end
  return path
end

--- Removes the directory, if it is empty and one that goes then.
function M.tidy()
  local path, goes = M.path()
  if goes then
    os.remove(path)
  end
end

return M

--- The ids a user was given in /etc/subuid and /etc/subgid, and the helpers
-- that may write maps with them.
--
-- Parsed here and not by libsubid or NSS: the helpers decide in the end, and
-- a box has to come up without the network.
--
-- subuid(5), newuidmap(1)
--
-- @internal nsbox.subid

local MAX_LINES <const> = 340
local END <const> = 0xffffffff
local COUNT <const> = 65536

-- 0x70000000. systemd takes 524288 to 1879048191 for its containers, useradd
-- gives out ranges from 100000 to 600100000; above 2^31 some programs take an
-- id for negative. So this is the first id that nobody else hands out.
local BASE <const> = 1879048192

local DIRS <const> = { "/usr/bin/", "/bin/", "/usr/local/bin/" }

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read("a")
  if file then
    file:close()
  end
  return text
end

local function overlaps(ranges, start, count)
  for _, range in ipairs(ranges) do
    if start < range[1] + range[2] and range[1] < start + count then
      return true
    end
  end
  return false
end

local M = {}

--- The ranges of a user in the text of /etc/subuid or /etc/subgid.
-- Lines that make no sense are passed over, as newuidmap does; so is a range
-- that overlaps an earlier one, which the kernel would refuse.
-- @tparam string text
-- @tparam ?string name the user's name
-- @tparam integer uid
-- @treturn table list of `{ start, count }`
function M.parse(text, name, uid)
  local ranges = {}
  for line in text:gmatch("[^\n]+") do
    local owner, start, count = line:match("^([^:#]+):(%d+):(%d+)%s*$")
    start, count = math.tointeger(tonumber(start)), math.tointeger(tonumber(count))
    local ours = owner and (owner == name or owner == tostring(uid))
    if ours and start and count and count > 0 and count <= END and start <= END - count
      and not overlaps(ranges, start, count) then
      ranges[#ranges + 1] = { start, count }
    end
  end
  return ranges
end

-- whose ranges: the helpers go by the real uid
local function owner(who)
  local uid, name = who.uid, who.name
  if not uid then
    uid = require("nsbox.sys.process").ids().uid
  end
  if name == nil then
    local user = require("nsbox.sys.process").user(uid)
    name = user and user.name
  end
  return uid, name
end

-- root has its own id among the kernel's, a user brings it along as 0
local function ranges_of(which, own, who, op)
  local path = "/etc/sub" .. which
  local text = (who.read or read)(path)
  local uid, name = owner(who)
  local found = M.parse(text or "", name, uid)
  local ranges, inside = {}, 0
  if not who.root then
    ranges[1], inside = { 0, own, 1 }, 1
  end
  for _, range in ipairs(found) do
    local start, count = range[1], math.min(range[2], END - inside)
    if #ranges < MAX_LINES and count > 0 and not (not who.root and own >= start
      and own < start + count) then
      ranges[#ranges + 1] = { inside, start, count }
      inside = inside + count
    end
  end
  if #found == 0 then
    local user = name or tostring(uid)
    require("nsbox.error").raise({ op = op, step = "sub" .. which, subject = path,
      code = "ENOENT", detail = (text and "no range for " or "no such file, so no range for ")
      .. user }, { user = user })
  end
  return ranges
end

--- The maps of "subuid": the own ids as 0, then all ranges the user has.
-- Root's box gets the ranges only: the kernel's uid 0 is not for a box.
-- @tparam table who as from `nsbox.idmap.who`
-- @tparam string op the verb that asks, for the Error when there are none
-- @treturn table `{ uid = ranges, gid = ranges }`
function M.ranges(who, op)
  return { uid = ranges_of("uid", who.euid, who, op), gid = ranges_of("gid", who.egid, who, op) }
end

--- The maps of root's box: root's own range where it has one, else a fixed one.
-- @tparam table who as from `nsbox.idmap.who`
-- @treturn table `{ uid = ranges, gid = ranges }`
function M.root_range(who)
  local maps = {}
  for _, which in ipairs { "uid", "gid" } do
    local text = (who.read or read)("/etc/sub" .. which)
    local start = BASE
    for _, range in ipairs(text and M.parse(text, "root", 0) or {}) do
      if range[2] >= COUNT then
        start = range[1]
        break
      end
    end
    maps[which] = { { 0, start, COUNT } }
  end
  return maps
end

--- The full path of newuidmap or newgidmap; raises an Error when it is not there.
-- @tparam string name
-- @tparam string op the verb that asks, for the Error
-- @treturn string
function M.helper(name, op)
  for _, dir in ipairs(DIRS) do
    local file, _, errno = io.open(dir .. name, "rb")
    if file then
      file:close()
    end
    -- 2 is ENOENT: a file that we may not read is one we may run
    if file or errno ~= 2 then
      return dir .. name
    end
  end
  require("nsbox.error").raise { op = op, step = name, code = "ENOENT",
    detail = "the helper is not installed, and a user needs it for these ids" }
end

return M

--- The option `user`: who a program is, in its box's own words.
--
-- As docker's: a user, or "user:group", each a name or a number. Names are
-- looked up in the box's own /etc/passwd and /etc/group, which the caller
-- reads by descriptor; never by NSS, which would load the host's libraries
-- and ask the host's services. Unlike docker, a number is always an id, also
-- where an image has a user *named* "1000": a name must not turn into uid 0.
--
-- passwd(5), group(5), credentials(7)
--
-- @internal nsbox.user

local MAX_ID <const> = 0xfffffffe

-- an id, nil where the text is no number at all, false where it is no id
local function id_of(text)
  if not text:find("^%d+$") then
    return nil
  end
  local id = #text <= 10 and math.tointeger(tonumber(text))
  return id and id <= MAX_ID and id
end

-- name or id, or nil and what is wrong
local function half(text, what)
  local id = id_of(text)
  if id == false then
    return nil, ("the %s id %s is beyond the last one, 4294967294"):format(what, text)
  elseif not id and (text == "" or text:find("[%c:]") or text:find("^[-+]")) then
    return nil, ("expected a %s as a name or an id, got '%s'"):format(what,
      (text:gsub("%c", "?")))
  end
  return id or text
end

local function passwd_entries(text)
  local next_line = text:gmatch("[^\n]+")
  return function()
    for line in next_line do
      local name, uid, gid, home = line:match("^([^:]+):[^:]*:(%d+):(%d+):[^:]*:([^:]*)")
      uid, gid = id_of(uid or ""), id_of(gid or "")
      -- no variable of an environment can have a zero in it
      if uid and gid and not home:find("\0", 1, true) then
        return name, uid, gid, home
      end
    end
  end
end

local function group_entries(text)
  local next_line = text:gmatch("[^\n]+")
  return function()
    for line in next_line do
      local name, gid, members = line:match("^([^:]+):[^:]*:(%d+):([^:]*)$")
      gid = id_of(gid or "")
      if gid then
        return name, gid, members
      end
    end
  end
end

local function find_user(text, wanted)
  for name, uid, gid, home in passwd_entries(text or "") do
    if name == wanted or uid == wanted then
      return { name = name, uid = uid, gid = gid, home = home ~= "" and home or "/" }
    end
  end
end

local function find_group(text, wanted)
  for name, gid in group_entries(text or "") do
    if name == wanted then
      return gid
    end
  end
end

local function groups_with(text, user)
  local gids = {}
  for _, gid, members in group_entries(text or "") do
    if ("," .. members .. ","):find("," .. user .. ",", 1, true) then
      gids[#gids + 1] = gid
    end
  end
  return gids
end

local function not_found(op, subject, path, text)
  require("nsbox.error").raise { op = op, step = "user", subject = subject, code = "ENOENT",
    detail = text and "not in the box's " .. path or "the box has no " .. path
    .. " to look it up in" }
end

local READ_MAX <const> = 1 << 20 -- bytes of a passwd or group

local M = {}

--- Reads a passwd or group file of a box, which may be anything.
-- What is no regular file is not read (a FIFO would wait for ever), and
-- nothing beyond a size that none should have.
-- @tparam string path
-- @param[opt] root a directory that is "/" for it
-- @treturn ?string its text
function M.read(path, root)
  local fd = require "nsbox.sys.fd"
  local file <close> = fd.open(path, { "rdonly", "nonblock" }, nil, root)
  local stat = file and fd.stat(file)
  if not stat or stat.type ~= "file" then
    return nil
  end
  local chunks, size = {}, 0
  while size < READ_MAX do
    local chunk = file:read(math.min(READ_MAX - size, 65536))
    if not chunk then
      return table.concat(chunks)
    end
    chunks[#chunks + 1], size = chunk, size + #chunk
  end
  -- half a line could name another id
  return table.concat(chunks):match "^.*\n" or ""
end

--- Checks the option `user`, as a type for `nsbox.opts`; also called `check`.
-- @tparam integer|string spec `1000`, `"1000:100"`, `"www-data"`, `"name:group"`
-- @treturn ?table `{ user, group }`, each an id, a name or nil
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.parse(spec)
  if math.type(spec) then
    local id = math.tointeger(spec)
    if not id or id < 0 or id > MAX_ID then
      return nil, ("expected an id between 0 and 4294967294, got %s"):format(spec)
    end
    return { user = id }
  elseif type(spec) ~= "string" then
    return nil, ("expected a user such as 1000, '1000:100' or 'www-data', got a %s"):format(
      type(spec))
  end
  local left, right = spec:match("^([^:]*):(.*)$")
  local user, message = half(left or spec, "user")
  local group
  if user and right then
    group, message = half(right, "group")
  end
  if message then
    return nil, message
  end
  return { user = user, group = group }
end

M.check = M.parse

--- Checks a group, as a type for `nsbox.opts`.
-- @tparam integer|string value a gid or a name
-- @treturn ?integer|string the same, a gid of digits as an integer
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.check_group(value)
  local id = math.type(value) and math.tointeger(value)
  if id and id >= 0 and id <= MAX_ID then
    return id
  elseif type(value) == "string" then
    return half(value, "group")
  end
  return nil, ("expected a group as a name or an id, got %s"):format(
    math.type(value) and value or "a " .. type(value))
end

--- Finds out the ids of groups.
-- @tparam table groups as from `check_group`
-- @tparam function read from "/etc/group" to its text, or nil
-- @tparam string op the verb that asks, for an Error
-- @treturn table list of ids
function M.resolve_groups(groups, read, op)
  local gids, text = {}, nil
  for i, group in ipairs(groups) do
    if math.type(group) then
      gids[i] = group
    else
      text = text or read("/etc/group") or ""
      gids[i] = find_group(text, group) or not_found(op, ":" .. group, "/etc/group", text)
    end
  end
  return gids
end

--- Finds out the ids of a user.
-- A name that is not in the box's files raises an Error, a spec that makes no
-- sense a string.
-- @tparam integer|string|table spec as for `parse`, or what that returned
-- @tparam function read from "/etc/passwd" and "/etc/group" to their text, or nil
-- @tparam[opt="box"] string op the verb that asks, for the Error
-- @treturn table `{ uid, gid, groups, home, name }`; groups is empty where a
--   group was given, as in docker; name is nil for an id without an entry
function M.resolve(spec, read, op)
  op = op or "box"
  local wanted, message = spec, nil
  if type(spec) ~= "table" then
    wanted, message = M.parse(spec)
  end
  if not wanted then
    error(op .. ": user: " .. message, 2)
  end
  local passwd = read("/etc/passwd")
  local user = find_user(passwd, wanted.user)
  if not user then
    if type(wanted.user) == "string" then
      not_found(op, wanted.user, "/etc/passwd", passwd)
    end
    user = { uid = wanted.user, gid = 0, home = "/" }
  end
  user.groups = {}
  if wanted.group then
    local group = read("/etc/group")
    local gid = math.type(wanted.group) and wanted.group or find_group(group, wanted.group)
    user.gid = gid or not_found(op, ":" .. wanted.group, "/etc/group", group)
  elseif user.name then
    user.groups = groups_with(read("/etc/group"), user.name)
  end
  return user
end

return M

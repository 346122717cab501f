--- The options `bind` and `tmpfs`: what is shown where.
--
-- A bind shows what is mounted there when the box is made, and nothing that comes later,
-- unless its `propagation` is "slave": then the caller's later mounts below it appear in the
-- box, each with the flags it has outside, also below a bind that is `ro`. What the box mounts
-- is never seen outside.
--
-- @internal nsbox.binds

local M = {}

local function mistake(name, ...)
  return nil, require("nsbox.mistake")[name](...)
end

local function absolute(path, what)
  if type(path) ~= "string" then
    return mistake("expected", what, path)
  elseif path:find("\0", 1, true) then
    return mistake("nul", path)
  elseif path:sub(1, 1) ~= "/" then
    return nil, ("expected an absolute path, got '%s'"):format(path)
  end
  -- "/tmp/" and "/tmp" are the same place
  return path:gsub("(.)/+$", "%1"), nil
end

--- Checks a place to mount at.
-- A mount on "/" is not what a path leads to: "/" stays the root that was there
-- before, and nothing would be shown or hidden.
-- @param path what was given
-- @tparam string what it is to be
-- @treturn ?string the path
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.target(path, what)
  local message
  path, message = absolute(path, what)
  if not path then
    return nil, message
  end
  local depth = 0
  for part in path:gmatch "[^/]+" do
    if part == ".." then
      depth = math.max(depth - 1, 0)
    elseif part ~= "." then
      depth = depth + 1
    end
  end
  if depth == 0 then
    return nil, ("'%s': the root is what `rootfs` says, or the host's; name a place below it")
      :format(path)
  end
  return path, nil
end

local target = M.target

--- Whether a path is a directory's, or below it, by their names alone.
-- @tparam string path
-- @tparam string dir without a slash at its end
-- @treturn boolean
function M.within(path, dir)
  return (path .. "/"):sub(1, #dir + 1) == dir .. "/"
end

local function relative_to_cwd(path)
  if type(path) == "string" and path ~= "" and path:sub(1, 1) ~= "/" then
    local cwd = require("nsbox.sys.process").getcwd()
    if not cwd then
      return nil, ("'%s' is relative, and the current directory was deleted"):format(path)
    end
    return cwd .. "/" .. path
  end
  return path
end

--- Checks what is to be shown: a path, relative to the caller's directory or absolute.
-- @param path what was given
-- @tparam string what it is to be
-- @treturn ?string an absolute path
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.source(path, what)
  local from, message = relative_to_cwd(path)
  if message then
    return nil, message
  end
  return absolute(from, what)
end

-- "SRC[:DST[:ro]]"
local function split(text)
  local from, to, mode = text:match "^([^:]+):([^:]+):([^:]*)$"
  if not from then
    from, to = text:match "^([^:]+):([^:]+)$"
  end
  if mode and mode ~= "ro" and mode ~= "rw" then
    return nil, ("expected SRC[:DST[:ro]], got '%s'"):format(text)
  end
  return { from or text, to = to, ro = mode == "ro" }
end

local BIND <const> = { to = true, ro = true, idmap = true, propagation = true }
local PROPAGATION <const> = { private = true, slave = true }

local function one_bind(b)
  local message
  if type(b) == "string" then
    b, message = split(b)
    if not b then
      return nil, message
    end
  elseif type(b) ~= "table" then
    return mistake("expected", "SRC[:DST[:ro]] or { SRC, to =, ro =, idmap =, propagation = }",
      b)
  end
  for key, value in next, b do
    if key ~= 1 and not BIND[key] then
      return mistake("unknown", key, BIND)
    elseif key == "propagation" and not PROPAGATION[value] then
      return mistake("in_field", key, require("nsbox.mistake").not_one_of(tostring(value),
        PROPAGATION))
    elseif (key == "ro" or key == "idmap") and type(value) ~= "boolean" then
      return nil, key .. ": " .. require("nsbox.mistake").expected("true or false", value)
    end
  end
  local slave = b.propagation == "slave" or nil
  if slave and b.idmap then
    return nil, "propagation: what is shown with other ids gets no mounts later"
  end
  local out = { ro = b.ro or false, idmap = b.idmap, slave = slave }
  out.from, message = M.source(b[1], "a path to show")
  if out.from then
    out.to, message = target(b.to or out.from, "a path to show it at")
  end
  if message then
    return nil, message
  end
  return out
end

local function one_tmpfs(t)
  t = type(t) == "string" and { t } or t
  if type(t) ~= "table" then
    return mistake("expected", "DIR or { DIR, size =, mode = }", t)
  end
  for key in next, t do
    if key ~= 1 and key ~= "size" and key ~= "mode" then
      return mistake("unknown", key, { size = true, mode = true })
    end
  end
  local units = require "nsbox.units"
  local dir, message = target(t[1], "a directory")
  local size, mode = t.size, t.mode or "1777"
  if dir and size then
    size, message = units.size(size, {})
    message = size == 0 and "size: 0 is no limit to the kernel; say how much, or nothing" or message
  end
  if dir and not message then
    mode, message = units.mode(mode)
  end
  if message then
    return nil, message
  end
  mode = type(mode) == "number" and ("%o"):format(mode) or mode
  local data = "mode=" .. mode .. (size and (",size=%d"):format(size) or "")
  return { type = "tmpfs", source = "tmpfs", target = dir, flags = { "nosuid", "nodev" },
    data = data }
end

local function list(value, check)
  return require("nsbox.types").list(check, true)(value)
end

--- Checks the option `bind`: one or a list.
-- @param value what was given
-- @treturn ?table list of `{ from =, to =, ro =, idmap =, slave = }`
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.check(value)
  return list(value, one_bind)
end

-- adds what takes the source of a bind; its index
local function grab(mounts, b, who, op, opened)
  if b.idmap and require("nsbox.idmapped").is_needed(who) then
    return require("nsbox.idmapped").take(mounts, b.from, op, opened)
  end
  mounts[#mounts + 1] = { grab = b.from, recursive = true }
  return #mounts
end

--- Puts the elements that take all sources of binds into a list of mounts.
--
-- Until a tree is taken it has to get the caller's mounts, and all others must not: so these
-- come first.
-- @tparam table mounts the list
-- @tparam table plan gets `slave` where one of them is
-- @tparam ?table binds as `check` gives them
-- @tparam table who `{ euid, egid, maps = }`, as the machine counts ids
-- @tparam string op the verb, for an Error
-- @tparam table opened gets what has to be closed after the launch
-- @treturn table the index of the element of each
function M.take(mounts, plan, binds, who, op, opened)
  local taken = {}
  for i, b in ipairs(binds or {}) do
    if b.slave then
      mounts[#mounts + 1] = { grab = b.from, recursive = true, slave = true }
      taken[i], plan.slave = #mounts, true
    end
  end
  if plan.slave then
    mounts[#mounts + 1] = { target = "/", flags = { "private", "rec" } }
  end
  for i, b in ipairs(binds or {}) do
    if not b.slave then
      taken[i] = grab(mounts, b, who, op, opened)
    end
  end
  return taken
end

--- Checks the option `tmpfs`: one or a list. Without a size the kernel lets it have as much as
-- half of the machine's memory.
-- @param value what was given
-- @treturn ?table list of mounts for `sys.process.spawn`
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.check_tmpfs(value)
  return list(value, one_tmpfs)
end

return M

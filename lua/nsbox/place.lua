--- Which namespace is meant: every form that a `netns` may have.
--
-- A box, an ns object or a record of its list, a scope (where it works), an ns
-- handle, a process handle, an integer (a pid), a string with a slash (a path), and for network
-- namespaces a name under /run/netns, as `ip netns` knows it.
--
-- @internal nsbox.place

local ns = require "nsbox.sys.ns"

local NETNS_DIR <const> = "/run/netns/"
local MAX_INT <const> = 2147483647
local ENOENT <const>, EACCES <const>, ESRCH <const>, EINVAL <const> = 2, 13, 3, 22

local M = {}

-- of a box only the one that is asked for
local function open_box(box, kind)
  for _, own in ipairs(box._kinds) do
    if own == kind and not box._result then
      return ns.open(box._handle, kind)
    end
  end
  local subject = "box " .. (box.name or box.pid)
  if box._result then
    return nil, subject .. ": it has ended", ESRCH
  end
  return nil, ("%s: it has no %s namespace of its own"):format(subject, kind), ENOENT
end

local function is_scope(x)
  local meta = type(x) == "table" and getmetatable(x)
  return type(meta) == "table" and meta.__name == "nsbox.scope"
end

--- A form that is no scope: of a scope the namespaces that it works in.
-- @param x any form
-- @return a form
function M.meant(x)
  return is_scope(x) and x.ns or x
end

-- an object's own handle stays its own: this is another one
local function open_object(place, kind)
  if place._open then
    return place:_open(kind)
  end
  if place.state and place._handle then
    return open_box(place, kind)
  end
  if place.pids and place.fds then
    return require("nsbox.nslist").open(place)
  end
  local handle = place._handles and place._handles[kind]
  if not handle then
    return nil, ("%s: it has no %s namespace of its own"):format(tostring(place), kind), ENOENT
  end
  return handle:dup()
end

local function open(place, kind)
  place = M.meant(place)
  if type(place) == "table" then
    return open_object(place, kind)
  end
  if type(place) == "string" and not place:find("/", 1, true) then
    return ns.open(NETNS_DIR .. place)
  elseif type(place) == "userdata" and place.id then
    return place
  elseif math.type(place) == "integer" or type(place) == "userdata" then
    return ns.open(place, kind)
  end
  return ns.open(place)
end

--- Whether x has one of the forms, judged without the kernel.
-- @param x anything
-- @tparam string kind `"net"`
-- @treturn ?boolean true
-- @treturn[2] nil
-- @treturn[2] string what was expected
function M.check(x, kind)
  if math.type(x) == "integer" then
    if x > 0 and x <= MAX_INT then
      return true
    end
    return nil, "expected a pid, got " .. x
  elseif type(x) == "string" then
    if x == "" or x:find("\0", 1, true) then
      return nil, "expected a path or a name"
    elseif kind == "net" or x:find("/", 1, true) then
      return true
    end
    return nil, ("'%s' is no path; only network namespaces have names"):format(x)
  elseif is_scope(x) then
    return not x._closed or nil, "the scope is closed"
  elseif type(x) == "table" and (x._handles or x.state or x.pids or x._open) then
    return true
  elseif type(x) == "userdata" and not io.type(x) and (x.id or x.pid) then
    if pcall(x.fileno, x) then
      return true
    end
    return nil, "expected a namespace, got a closed one"
  elseif type(x) == "table" and getmetatable(x) and x.kinds then
    return nil, "expected a namespace, got a closed one"
  end
  return nil, require("nsbox.mistake").expected("a pid, a path or a namespace", x)
end

-- only where boxes are: a mistake is no reason to load them
local function box_of(name)
  local boxes = package.loaded["nsbox.box"]
  return boxes and boxes.named[name]
end

-- what to do about a place that cannot be opened, as far as its form tells
local function hint(place, kind, errno)
  if type(place) == "table" and place._open then
    return errno == ENOENT and ("the scope works in a %s: the names there are those that it made")
      :format(tostring(place._island)) or nil
  end
  if math.type(place) and not require("nsbox.machine").has_proc() then
    return nil -- which the step's own hint says
  end
  local bare = type(place) == "string" and not place:find("/", 1, true)
  if bare and errno == ENOENT and place:find("^%d+$") then
    return ("'%s' is a name under %s; a pid is a number: %s = %s"):format(place, NETNS_DIR, kind,
      place)
  elseif bare and errno == EINVAL then
    return ("%s%s is a file, but no namespace: left from a program that crashed, or from before a "
      .. "restart; remove it (ip netns delete %s)"):format(NETNS_DIR, place, place)
  elseif bare and errno == ENOENT and box_of(place) then
    return ("a name is one under %s; there is a box '%s', and a box is named by its object: "
      .. "%s = scope.boxes.%s"):format(NETNS_DIR, place, kind, place)
  elseif bare and errno == ENOENT then
    return ("there is no network namespace of this name (ip netns shows them); one elsewhere is "
      .. "named by its path or a pid: %s = \"/proc/PID/ns/%s\""):format(kind, kind)
  elseif type(place) == "string" and errno == ENOENT and not place:find "^[./]" then
    return ("'%s' is a path, for there is a '/' in it; a name under %s has none"):format(place,
      NETNS_DIR)
  elseif math.type(place) == "integer" and errno == ENOENT
    and require("nsbox.machine").exists("/proc/" .. place .. "/ns") then
    return require("nsbox.machine").exists("/proc/self/ns/" .. kind)
      and ("process %d has ended, and waits for its parent: it has no namespaces"):format(place)
      or ("this kernel has no %s namespaces"):format(kind)
  elseif math.type(place) == "integer" and (errno == ENOENT or errno == ESRCH) then
    return "there is no process " .. place
  elseif math.type(place) == "integer" and errno == EACCES then
    return ("looking at the namespaces of another user's process needs CAP_SYS_PTRACE over it "
      .. "(pid %d)"):format(place)
  elseif errno == EINVAL then
    return ("a namespace is a file such as /proc/PID/ns/%s, or a bind mount of one"):format(kind)
  end
end

--- Opens the namespace of a kind.
-- @param place see above
-- @tparam string kind `"net"`
-- @tparam[opt="open"] string op the verb that asks, for the Error
-- @treturn userdata an ns handle
function M.open(place, kind, op)
  local handle, message, errno = open(place, kind)
  if not handle then
    local path, why = message:match("^(.-): (.*)$")
    require("nsbox.error").raise { op = op or "open", step = "open",
      subject = path or tostring(place), detail = why or message, errno = errno,
      hint = hint(place, kind, errno) }
  end
  local found = handle:kind()
  if found ~= kind then
    if handle ~= place then
      handle:close()
    end
    require("nsbox.error").raise { op = op or "open", step = "open", subject = tostring(place),
      code = "EINVAL", detail = ("it is a %s namespace, not a %s namespace"):format(found, kind),
      hint = false }
  end
  return handle
end

return M

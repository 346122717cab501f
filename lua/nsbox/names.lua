--- Boxes on one bridge find each other by name.
--
-- Each sees a hosts file with the names of all boxes of the scope that are on
-- its bridges. Boxes that see the same share one file: when a box comes or goes,
-- as many files are written as there are different views, in place.
--
-- hosts(5)
--
-- @internal nsbox.names

local fd = require "nsbox.sys.fd"

local M = {}

local TARGET <const> = "/etc/hosts"

---@class nsbox.View  what some boxes see
---@field bridges table key of a bridge → true
---@field own table[] further entries, `{ address, name }`
---@field users table box → true
---@field handle userdata the file, open
---@field path string its name, for boxes to come

local function state(scope)
  -- by bridge: list of { box, name, address }; and the views
  scope._names = scope._names or { bridges = {}, views = {} }
  return scope._names
end

local function key_of(bridge)
  return ("%s %s %d"):format(bridge._identity.netns, bridge._identity.nsinode, bridge.index)
end

-- the same bridges and the same further entries make the same view
local function signature(bridges, own)
  local out = {}
  for key in next, bridges do
    out[#out + 1] = key
  end
  table.sort(out)
  for _, entry in ipairs(own) do
    out[#out + 1] = entry.address .. " " .. entry.name
  end
  return table.concat(out, "\n")
end

local function text_of(names, view)
  local entries = {}
  for key in next, view.bridges do
    for _, entry in ipairs(names.bridges[key] or {}) do
      entries[#entries + 1] = entry
    end
  end
  return require("nsbox.hosts").text(view.own, entries)
end

-- in place: it is mounted, and what is renamed over it would not be seen
local function write(names, view)
  local handle <close> = fd.open(("/proc/self/fd/%d"):format(view.handle:fileno()), { "wronly" })
  local text = text_of(names, view)
  if handle and text ~= view.text then
    require("nsbox.undo.content").write(handle, text)
    view.text = text
  end
end

local function close_view(names, view)
  view.handle:close()
  for i = #names.views, 1, -1 do
    if names.views[i] == view then
      table.remove(names.views, i)
    end
  end
end

local function still_there(view)
  local st, own = fd.stat(view.path), fd.stat(view.handle)
  return st and st.ino == own.ino and st.dev == own.dev
end

-- the view of that signature, made when there is none that could be mounted
local function view_of(part, names, bridges, own)
  local wanted = signature(bridges, own)
  for _, view in ipairs(names.views) do
    if signature(view.bridges, view.own) == wanted and still_there(view) then
      return view
    end
  end
  local view = { bridges = bridges, own = own, users = {} }
  view.text = text_of(names, view)
  local held = require("nsbox.dns").hold(part, "dns", view.text)
  view.path, view.handle = held.path, held.handle
  names.views[#names.views + 1] = view
  return view
end

local function copy(set)
  local out = {}
  for key, value in next, set do
    out[key] = value
  end
  return out
end

local function alone(view, box)
  for user in next, view.users do
    if user ~= box then
      return false
    end
  end
  return true
end

local function leave_view(names, box)
  local view = box._view
  if view then
    box._view = nil
    view.users[box] = nil
    if next(view.users) == nil then
      close_view(names, view)
    end
  end
end

-- lets a box see these: its own file says something else, or another one is mounted
local function see(part, names, box, bridges, own)
  local view = box._view
  if view and alone(view, box) then
    view.bridges, view.own = bridges, own
    write(names, view)
    return
  end
  view = view_of(part, names, bridges, own)
  local st = fd.stat(view.handle)
  local ok, err = pcall(require("nsbox.dns").show, part, "dns", { pid = box.pid, box = box },
    { { path = view.path, target = TARGET, dev = st.dev, ino = st.ino } })
  if not ok then
    if next(view.users) == nil then
      close_view(names, view)
    end
    error(err, 0)
  end
  leave_view(names, box)
  view.users[box], box._view = true, view
end

local function own_mounts(box)
  for _, kind in ipairs(box._plan.new or {}) do
    if kind == "mnt" then
      return true
    end
  end
  return false
end

--- Gives a box further names.
-- @tparam nsbox.Part part
-- @tparam nsbox.Box box
-- @tparam table[] entries `{ address, name }`
function M.add(part, box, entries)
  local names, view = state(part.scope), box._view
  local own = view and table.move(view.own, 1, #view.own, 1, {}) or {}
  table.move(entries, 1, #entries, #own + 1, own)
  see(part, names, box, view and copy(view.bridges) or {}, own)
end

local function refresh(names, key)
  for _, view in ipairs(names.views) do
    if view.bridges[key] then
      write(names, view)
    end
  end
end

-- a bare box is what unshare gives, and one of another scope is none of ours
local function takes_part(part, box)
  return type(box) == "table" and box._plan and not box._options.bare
    and box._scope == part.scope
end

--- Whether a box is told of names by files of its own.
-- @tparam nsbox.Part part
-- @tparam any box anything else is not
-- @treturn boolean
function M.takes_files(part, box)
  return takes_part(part, box) and own_mounts(box)
end

--- Before a box is made that is going to be on bridges: its plan gets the file, which costs less
-- than a mount afterwards. The object is told by `born`.
-- @tparam nsbox.Part part
-- @tparam table o its checked options
-- @tparam table plan its plan
-- @treturn ?nsbox.View
function M.plan(part, o, plan)
  local mnt = false
  for _, kind in ipairs(plan.new or {}) do
    mnt = mnt or kind == "mnt"
  end
  local st = fd.stat(TARGET)
  if not mnt or o.bare or not o.net or not plan.mounts or not st or st.type ~= "file"
    or o.bind or o.tmpfs or o.rootfs then
    return nil
  end
  local bridges = {}
  for _, it in ipairs(o.net) do
    bridges[key_of(it[1])] = true
  end
  local view = view_of(part, state(part.scope), bridges, {})
  -- the list is every box's
  local mounts = table.move(plan.mounts, 1, #plan.mounts, 2, { { grab = view.path } })
  mounts[#mounts + 1] = { place = 1, target = TARGET,
    set = { "ro", "nosuid", "nodev", "noexec" } }
  plan.mounts = mounts
  return view
end

--- The box of `plan` is there, or could not be made.
-- @tparam nsbox.Part part
-- @tparam ?nsbox.View view what `plan` returned
-- @tparam ?nsbox.Box box nil: there is none
function M.born(part, view, box)
  if view and box then
    view.users[box], box._view = true, view
  elseif view and next(view.users) == nil then
    close_view(state(part.scope), view)
  end
end

--- A box comes to a bridge.
-- @tparam nsbox.Part part
-- @tparam any box anything else is passed over
-- @tparam nsbox.Link bridge
-- @tparam string[] addresses with or without their prefix
-- @treturn ?function to be called when it leaves
function M.join(part, box, bridge, addresses)
  if not takes_part(part, box) then
    return nil
  end
  local names, key = state(part.scope), key_of(bridge)
  local group = names.bridges[key] or {}
  names.bridges[key] = group
  local mine = {}
  for _, address in ipairs(box.name and addresses or {}) do
    local entry = { box = box, name = box.name, address = address:match "^[^/]+" }
    mine[entry], group[#group + 1] = true, entry
  end
  local view = box._view
  if not (view and view.bridges[key]) and own_mounts(box) then
    local bridges = view and copy(view.bridges) or {}
    bridges[key] = true
    -- who has no hosts file can do without
    local ok, err = pcall(see, part, names, box, bridges, view and view.own or {})
    if not ok and not require("nsbox.error").is(err) then
      error(err, 0)
    end
  end
  refresh(names, key)
  return function()
    for i = #group, 1, -1 do
      if mine[group[i]] then
        table.remove(group, i)
      end
    end
    refresh(names, key)
  end
end

--- A box is gone.
-- @tparam nsbox.Scope scope
-- @tparam nsbox.Box box
function M.gone(scope, box)
  local names = scope._names
  if names then
    leave_view(names, box)
    for key, group in next, names.bridges do
      local count = #group
      for i = count, 1, -1 do
        if group[i].box == box then
          table.remove(group, i)
        end
      end
      if #group < count then
        refresh(names, key)
      end
    end
  end
end

return M

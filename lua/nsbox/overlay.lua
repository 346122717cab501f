--- The option `overlay`: layers over a root file system, of which one takes the changes.
--
-- Where nothing else is said they go into memory, and are gone with the box. The
-- mount is the box's own; no path of it needs to exist but those of the layers.
--
-- overlayfs (Documentation/filesystems/overlayfs.rst)
--
-- @internal nsbox.overlay

local M = {}

local KNOWN <const> = { lower = true, upper = true, work = true }

local function path(value, name)
  local checked, message = require("nsbox.binds").source(value, "a directory")
  if message then
    return nil, ("%s: %s"):format(name, message)
  end
  return checked
end

--- Checks the option: "tmp", or `{ lower = one or a list, upper =, work = }`.
-- @param value what was given
-- @treturn ?table `{ lower = list, upper =, work = }`
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.check(value)
  if value == "tmp" then
    return { lower = {} }
  elseif type(value) ~= "table" then
    return nil, require("nsbox.mistake").expected("\"tmp\" or { lower =, upper =, work = }", value)
  end
  for key in next, value do
    if not KNOWN[key] then
      return nil, require("nsbox.mistake").unknown(tostring(key), KNOWN)
    end
  end
  if (value.upper == nil) ~= (value.work == nil) then
    return nil, "upper and work go together: work is an empty directory on the same file system"
  end
  local lower, out = value.lower, { lower = {} }
  for i, dir in ipairs(type(lower) == "table" and lower or { lower }) do
    local checked, message = path(dir, "lower")
    if message then
      return nil, message
    end
    out.lower[i] = checked
  end
  for _, name in ipairs { "upper", "work" } do
    if value[name] ~= nil then
      local checked, message = path(value[name], name)
      if message then
        return nil, message
      end
      out[name] = checked
    end
  end
  return out
end

--- The directories whose files are to be seen, the uppermost first.
-- @tparam table o checked options: `overlay`, `rootfs`
-- @treturn table list of paths
function M.layers(o)
  local list = table.move(o.overlay.lower, 1, #o.overlay.lower, 1, {})
  list[#list + 1] = o.rootfs.dir
  return list
end

-- as overlayfs reads them
local function escape(dir)
  return (dir:gsub("[\\:,]", "\\%0"))
end

-- upper and work have to be on one mount: what both are in
local function common(a, b)
  local dir = ""
  for name in (a .. "/"):gmatch "(/[^/]*)" do
    if (b .. "/"):sub(1, #dir + #name + 1) ~= dir .. name .. "/" then
      break
    end
    dir = dir .. name
  end
  return dir == "" and "/" or dir
end

--- What has to be shown with other ids, for a box that has others.
-- @tparam table o checked options
-- @treturn table list of paths, those above before those below
function M.sources(o)
  local list = M.layers(o)
  if o.overlay.upper then
    list[#list + 1] = common(o.overlay.upper, o.overlay.work)
  end
  table.sort(list, function(a, b) return #a < #b end)
  return list
end

--- Adds the mount that becomes the root.
-- @tparam table list of mounts
-- @tparam table o checked options
-- @tparam integer scratch the element with a file system for what is thrown away
-- @tparam boolean in_userns whether the box has a user namespace
function M.add(list, o, scratch, in_userns)
  local upper, work = o.overlay.upper, o.overlay.work
  local layers = M.layers(o)
  for i, dir in ipairs(layers) do
    layers[i] = escape(dir)
  end
  if not upper then
    list[#list + 1] = { directory = "upper", below = scratch }
    list[#list + 1] = { directory = "work", below = scratch }
    -- the scratch lies over "/", and that is the way there
    upper, work = "/../upper", "/../work"
  end
  list[#list + 1] = { type = "overlay", source = "overlay", target = "/", root = true,
    flags = { "nosuid", "nodev" }, data = ("lowerdir=%s,upperdir=%s,workdir=%s%s"):format(
      table.concat(layers, ":"), escape(upper), escape(work), in_userns and ",userxattr" or "") }
end

return M

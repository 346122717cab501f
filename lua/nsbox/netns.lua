--- Network namespaces with a name: the verb `netns` of a scope.
--
-- The name is a file under /run/netns, the namespace mounted on it: `ip netns`
-- sees those made here, and `netns = NAME` those made there.
--
-- ip-netns(8), network_namespaces(7)
--
-- @module nsbox.netns

local ns = require "nsbox.sys.ns"
local netnsdir = require "nsbox.netnsdir"
local newfile = require "nsbox.newfile"
local opts = require "nsbox.opts"
local parts = require "nsbox.part"

local DIR <const> = netnsdir.DIR
local EEXIST <const> = 17

local M = {}

local function name_of(value)
  if type(value) ~= "string" then
    return nil, require("nsbox.mistake").expected("a name", value)
  end
  local wrong = netnsdir.wrong(value)
  return not wrong and value or nil, wrong
end

local schema = opts.schema("netns", {
  { name_of, alone = true, doc = "its name under /run/netns" },
  sysctl = { opts.by "nsbox.setting", doc = "{ [\"net.ipv4.ip_forward\"] = 1, … }" },
  dns = { opts.by "nsbox.dns", none = true,
    doc = "{ server…, search =, options =, hosts = }, or \"host\"" },
})

local function taken(path)
  local there <close> = ns.open(path)
  if there then
    return ("a network namespace has this name already (ip netns shows them); netns = \"%s\" "
      .. "uses it"):format(path:match "[^/]*$")
  end
  return ("%s is a file, but no namespace: it is left from a program that crashed, or from before "
    .. "a restart; remove it"):format(path)
end

local function failure(path, message, errno)
  return require("nsbox.error").new { op = "netns", subject = path:gsub("^/proc/self/fd/%d+/", "/"),
    errno = errno,
    hint = errno == EEXIST and taken(path) or nil, detail = message:gsub("^[^\n]-: ", "") }
end

local function raise(...)
  error(failure(...), 0)
end

-- what is set inside goes with it: no steps
local function configure(part, handle, o)
  if o.sysctl then
    local place <close> = require("nsbox.netplace").open(handle, "netns", part.scope._island)
    place.label = "netns " .. o[1]
    require("nsbox.setting").write(place, "netns", o.sysctl)
  end
end

local function give_name(part, handle, path)
  local ground = part:ground()
  local _, inode = handle:id()
  -- the empty file that the namespace is mounted on
  local file <close> = newfile.new(path, "0444", "", raise)
  parts.steps({ { part, "file", file.plan },
    { part, "pin", { path = path, nskind = "net", inode = inode, cookie = handle:cookie() } } },
    function()
      local fields, message, errno = file:name()
      local mounted
      if fields then
        mounted, message, errno = ground:pin(handle, path)
      end
      return { fields or false, mounted and {} or false },
        not mounted and failure(path, message, errno) or nil
    end)
end

local function object_of(part, handle, name, path)
  local object = require("nsbox.ns").make { net = handle }
  object.name, object._pin, object._island = name, path, part.scope._island
  return object
end

--- Makes a network namespace with a name, loopback up; see `nsbox.part`.
-- @tparam nsbox.Part part
-- @tparam table|string o `{ name, dns =, sysctl = }`
-- @tparam integer level whose line to blame
-- @treturn nsbox.Namespaces
function M.make(part, o, level)
  o = schema:check(o, level + 1)
  local name = o[1]
  if not name then
    require("nsbox.mistake").raise("netns: which name?", level + 1)
  end
  if part:stands(name, o) then
    local path = DIR .. "/" .. name
    return object_of(part, require("nsbox.error").check("netns", path, ns.open(path)), name, path)
  end
  local ground = part:ground()
  local path = ground:names "netns" .. "/" .. name
  local handle, message, errno = ground:newnet()
  if not handle then
    local step, why = message:match "^(%w+) [^:]*: (.*)$"
    require("nsbox.error").raise({ op = "netns", step = step or "newnet", subject = name,
      detail = why or message, errno = errno }, { new = { "net" } })
  end
  local ok, err = pcall(function()
    configure(part, handle, o)
    give_name(part, handle, path)
    if o.dns then
      require("nsbox.dns").apply(part, "netns", part:place(name), o.dns)
    end
  end)
  if not ok then
    handle:close()
    error(err, 0)
  end
  return object_of(part, handle, name, path)
end

return M

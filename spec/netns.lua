-- netns(f, ...) runs f in a child that has a network namespace of its own (as
-- root of a user namespace when this is no root), and returns what f returned.
-- In there:
--
--     netns.ip "link show br0"      what ip(8) says: its JSON as a Lua value
--     netns.bridge "vlan"           the same for bridge(8)
--     netns.tc "qdisc show"         and for tc(8)
--     netns.new()                   a handle of one more network namespace
--
-- netns.power() says whether a namespace can be made without a user namespace.

local dkjson = require "dkjson"
local inside = require "inside"
local machine = require "nsbox.machine"
local sys = require "nsbox.sys"

-- a child does not load what its mount namespace may hide
local netlink = sys.netlink -- luacheck: ignore

local CAP_SYS_ADMIN <const> = 21

local M = {}

local function json(command)
  -- a sanitizer that this process runs under is nothing for other programs
  local out, status = sh("" .. command)
  if out == "" then return {} end
  local value, _, why = dkjson.decode(out, 1, nil, nil)
  if not value then error(("%s (status %d): %s: %s"):format(command, status, why, out), 2) end
  return value
end

function M.power() return machine.has_cap(CAP_SYS_ADMIN) end
function M.ip(words) return json("ip -j -d " .. words) end
function M.bridge(words) return json("bridge -j -d " .. words) end
function M.tc(words) return json("tc -j -d -s " .. words) end

function M.new()
  local home <close> = assert(sys.ns.open "/proc/thread-self/ns/net")
  assert(sys.unshare "net")
  local ns = assert(sys.ns.open "/proc/thread-self/ns/net")
  assert(sys.setns(home))
  return ns
end

-- what an assertion raises is a table with a text
local function readable(ok, ...)
  if ok then return ... end
  local err = ...
  if type(err) == "table" then err = err.message or err end
  error(tostring(err), 0)
end

return setmetatable(M, { __call = function(_, f, ...)
  local kinds = { "net" }
  if not M.power() then kinds[2] = "user" end
  return inside(kinds, function(...) return readable(pcall(f, ...)) end, ...)
end })

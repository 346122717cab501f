-- A small world for specs of networks, in the network namespace that the spec
-- is in: a bridge with two places on it, and an internet behind another card.
--
--     web 10.0.3.2 ─┐
--     db  10.0.3.3 ─┴─ br0 10.0.3.1   wan 203.0.113.1 ── internet 203.0.113.9, port 80
--     (and the same in v6: fd00:3::/64, 2001:db8::/64)
--
--     local w <close> = world.make { nat = true }    options of the bridge
--     w:place()                                a further network namespace
--     w:serve(place, protocol, address, port, answer)
--     w:ask(place, protocol, address, port, from)   the answer, or why there is none;
--                                                   place nil: from here
--     w:try(place, …)                          the same where none is expected

local nsbox = require "nsbox"

local World = {}
World.__index = World

local M = { class = World }

-- the helper is loaded there as here, whatever runs us
local function command(words)
  local out = { "lua5.4", "spec/traffic.lua" }
  for i = 1, #words do out[#out + 1] = tostring(words[i]) end
  return out
end

function World:place()
  local place = nsbox.ns.new { "net" }
  self.places[#self.places + 1] = place
  return place
end

function World:serve(place, ...)
  local o = command { "serve", ... }
  o.stdout, o.env = "pipe", { "PATH" }
  local server = (place or self.here):spawn(o)
  assert(server.stdout:read "l" == "ready", "the server is not ready")
  self.servers[#self.servers + 1] = server
  return server
end

local function ask(self, place, ...)
  local o = command { ... }
  o.env = { "PATH" }
  local result = (place or self.here):exec(o)
  return ((result.stdout .. result.stderr):gsub("\n$", ""))
end

function World:ask(place, ...) return ask(self, place, "ask", ...) end
function World:try(place, ...) return ask(self, place, "try", ...) end

function World:close()
  for _, server in ipairs(self.servers) do server:close() end
  self.scope:close()
  for _, place in ipairs(self.places) do place:close() end
  self.here:close()
  self.servers, self.places = {}, {}
end

World.__close = World.close

function M.make(options)
  local self = setmetatable({ places = {}, servers = {}, scope = nsbox.scope(),
    here = nsbox.ns.of(nil, "net") }, World)
  self.internet, self.web, self.db = self:place(), self:place(), self:place()
  self.scope:veth { { "wan", addr = { "203.0.113.1/24", "2001:db8::1/64" } },
    { "eth0", netns = self.internet, addr = { "203.0.113.9/24", "2001:db8::9/64" } } }
  self.scope:link "lo":up()
  local o = { "br0", addr = { "10.0.3.1/24", "fd00:3::1/64" } }
  for key, value in pairs(options) do o[key] = value end
  self.bridge = self.scope:bridge(o)
  self.cards = {
    web = self.bridge:attach(self.web, { addr = { "10.0.3.2/24", "fd00:3::2/64" } }),
    db = self.bridge:attach(self.db, { addr = { "10.0.3.3/24", "fd00:3::3/64" } }),
  }
  self:serve(self.internet, "tcp", "::", 80)
  self:serve(self.internet, "udp", "::", 80)
  return self
end

return M

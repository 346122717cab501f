--- Uplinks: how an island reaches the world.
--
-- A program of the user's own has a tap device in the island and sockets outside of
-- it: pasta, or slirp4netns. What comes from an island looks as if the user himself
-- sent it. It ends with the island, at the latest with the script.
--
-- pasta(1), slirp4netns(1)
--
-- @internal nsbox.uplink

local fd = require "nsbox.sys.fd"
local process = require "nsbox.process"
local stream = require "nsbox.stream"
local wait = require "nsbox.wait"

local DEVICE <const> = "uplink"
local PATIENCE <const> = 10 -- seconds
local LOG <const> = 16384   -- bytes of what it says

local M = {}

---@class nsbox.Uplink
---@field name string "pasta" or "slirp4netns"
---@field published table[] what `publish` was told
local Uplink = { __name = "nsbox.uplink" }
Uplink.__index = Uplink

-- programs ------------------------------------------------------------------------

-- "-t 127.0.0.1/8080:80"; where nothing is said, pasta forwards what is there
local function pasta_ports(list)
  local words = {}
  for proto, letter in next, { tcp = "t", udp = "u" } do
    local any = false
    for _, p in ipairs(list) do
      if p.proto == proto then
        any = true
        words[#words + 1] = "-" .. letter
        words[#words + 1] = ("%s%d:%d"):format(p.addr and p.addr .. "/" or "", p.port, p.to)
      end
    end
    if not any then
      words[#words + 1] = "-" .. letter
      words[#words + 1] = "none"
    end
  end
  return words
end

local PROGRAMS <const> = {
  pasta = { package = "passt", argv = function(self)
    local words = { self.path, "--config-net", "--foreground", "--quiet", "--stderr", "--no-map-gw",
      "-T", "none", "-U", "none", "-I", DEVICE }
    if self.island.uid == 0 then -- else it would become nobody, to whom the island is closed
      words[#words + 1] = "--runas"
      words[#words + 1] = "0"
    end
    local ports = pasta_ports(self.published)
    table.move(ports, 1, #ports, #words + 1, words)
    words[#words + 1] = tostring(self.island.process.pid)
    return words
  end },
  slirp4netns = { package = "slirp4netns", argv = function(self)
    local pid = tostring(self.island.process.pid)
    local dir = self.island:directory("uplink", "/run/nsbox-uplink")
    -- by the process: a path of a socket has 108 bytes
    self.socket = dir .. "/api"
    return { self.path, "--configure", "--mtu=65520", "--disable-host-loopback",
      "--userns-path=/proc/" .. pid .. "/ns/user",
      ("--api-socket=/proc/%s/root/run/nsbox-uplink/api"):format(pid), pid, DEVICE }
  end },
}

-- in this order, where it is not said
local ORDER <const> = { "pasta", "slirp4netns" }

--- Checks `uplink`, as a type for `nsbox.opts`.
-- @param value
-- @treturn ?string|boolean
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.check(value)
  if value == false or PROGRAMS[value] then
    return value
  elseif type(value) == "string" then
    return nil, require("nsbox.mistake").not_one_of(value, PROGRAMS)
  end
  return nil, require("nsbox.mistake").expected("'pasta', 'slirp4netns' or false", value)
end

--- Where the program of an uplink is.
-- @tparam string name
-- @treturn ?string its path; nil: it is not installed
function M.find(name)
  for dir in ((os.getenv "PATH" or "") .. ":/usr/bin:/usr/sbin:/usr/local/bin"):gmatch "[^:]+" do
    local st = dir:sub(1, 1) == "/" and fd.stat(dir .. "/" .. name)
    if st and st.type == "file" and st.mode & 73 ~= 0 then -- 0111
      return dir .. "/" .. name
    end
  end
end

-- its life ------------------------------------------------------------------------

local function has_way_out(place)
  for _, route in ipairs(place.nl:route_list { table = "main" } or {}) do
    if route.dst == "default" and place.nl:name(route.dev or 0) == DEVICE then
      return true
    end
  end
end

-- what it said last that tells why: slirp4netns goes on to say that its child has failed
local function last_words(self)
  local said = ""
  for line in (self.process._result and self.process._result.stderr or ""):gmatch "[^\n]+" do
    if line:find "%S" and not line:find "^child failed" and not line:find "^WARNING" then
      said = line:match "^%s*(.-)%s*$"
    end
  end
  return said
end

local EACCES <const> = 13

local function fail(self, op, detail, code)
  local said = last_words(self)
  require("nsbox.error").raise { op = op, step = "uplink", subject = self.name, code = code,
    netns = tostring(self.island), detail = detail .. (said ~= "" and ": " .. said or ""),
    hint = said:find "tun" and require("nsbox.hints").hint(op, "tuntap_add", EACCES, {}) or false }
end

-- until the island has a way out, or there is none
local function await(self, op)
  local place <close> = require("nsbox.netplace").open(self.island.home, op)
  local monitor <close> = require("nsbox.net").monitor { "route", "link",
    netns = self.island.home }
  local ready = wait.until_(function()
    if self.process._result then
      return false
    end
    while monitor:next { timeout = 0 } do -- what woke us up
      place.defaults = nil
    end
    return has_way_out(place) or nil
  end, wait.now() + PATIENCE, { [monitor:fileno()] = "r" })
  if not ready then
    local ended = self.process._result
    self.process:close()
    fail(self, op, ended and "it ended at once" or ("not ready within %d s"):format(PATIENCE),
      ended and "ECHILD" or "ETIMEDOUT")
  end
end

-- nsbox-init is its parent, and ends it when the script does
local function launch(self, op)
  local env, path = require("nsbox.program").environment(nil, "/")
  local part = self.island._part
  part:step("process", {}, function()
    self.process = process.start(op, { argv = PROGRAMS[self.name].argv(self), init = true,
      setsid = true, pdeathsig = "KILL", cwd = "/", env = env, path = path },
      stream.open({ stderr = "capture", limit = LOG }, stream.NULL))
    return { pid = self.process.pid, id = self.process._handle:identity() }
  end)
  await(self, op)
end

local function missing(op, name)
  return require("nsbox.error").new { op = op, step = "uplink", subject = name, code = "ENOENT",
    detail = name and "it is not installed" or "neither pasta nor slirp4netns is installed",
    hint = "install the package passt, which has pasta, or slirp4netns; uplink = false is an "
      .. "island without a way out" }
end

--- Starts one for an island.
-- @tparam nsbox.Island island
-- @tparam string op the verb that needs it, for an Error
-- @tparam ?string wanted which; nil: one that is installed and works, if any
-- @treturn ?nsbox.Uplink
-- @treturn[2] nil
-- @treturn[2] nsbox.Error why there is none
-- @raise an Error, when it was asked for and cannot be had
function M.start(island, op, wanted)
  local last = missing(op, wanted)
  for _, name in ipairs(wanted and { wanted } or ORDER) do
    local self = setmetatable({ name = name, island = island, published = {},
      path = M.find(name) }, Uplink)
    if not self.path and wanted then
      error(last, 0)
    elseif self.path then
      local ok, err = pcall(launch, self, op)
      if ok then
        return self
      elseif wanted or not require("nsbox.error").is(err) then
        error(err, 0)
      end
      last = err
    end
  end
  return nil, last
end

--- Raises, once, that it has ended.
-- @tparam string op the verb that comes upon it, for an Error
function Uplink:look(op)
  if not self.told and not self.process._result then
    self.process:_move(wait.poll({ [self.process:fileno()] = "r" }, 0))
  end
  if self.process._result and not self.told then
    self.told = true
    fail(self, op, "the uplink of the island has ended: " .. tostring(self.process._result)
      :match "^[^\n]*", "ECHILD")
  end
end

-- ports ---------------------------------------------------------------------------

-- asks slirp4netns, which answers in JSON and hangs up
local function ask(self, text)
  local handle <close> = require("nsbox.error").check("publish", self.socket,
    fd.connect(self.socket))
  local pieces = {}
  require("nsbox.error").check("publish", self.socket, handle:write(text))
  while true do
    local data = handle:read(4096)
    if not data then
      return table.concat(pieces)
    end
    pieces[#pieces + 1] = data
  end
end

local function refused(p, detail)
  require("nsbox.error").raise { op = "publish", step = "uplink",
    subject = ("%s%d/%s"):format(p.addr and p.addr .. ":" or "", p.port, p.proto),
    code = "EADDRINUSE", detail = detail }
end

local function add_slirp(self, p)
  local answer = ask(self, ('{"execute":"add_hostfwd","arguments":{"proto":"%s","host_addr":"%s",'
    .. '"host_port":%d,"guest_port":%d}}'):format(p.proto, p.addr or "0.0.0.0", p.port, p.to))
  p.id = tonumber(answer:match '"id"%s*:%s*(%d+)')
  if not p.id then
    refused(p, answer:match '"desc"%s*:%s*"(.-)"' or answer)
  end
end

-- not by the death of its nsbox-init, which it would outlive for a moment, with its ports and
-- its device
local function stop(self)
  self.process:_end("TERM", PATIENCE)
end

-- pasta takes its ports when it starts: connections through it are lost
local function restart(self)
  stop(self)
  local ok, err = pcall(launch, self, "publish")
  if not ok and require("nsbox.error").is(err) and err.detail:find "[Pp]ort" then
    local v6 = err.detail:find "'%-%a [%x:]*:[%x:.]*/"
    err.code = v6 and "EADDRNOTAVAIL" or "EADDRINUSE"
    err.errno = require("nsbox.sys.errno")[err.code]
    err.hint = v6 and "pasta opens ports in IPv6 where the machine has a default route in it"
  end
  if not ok then
    error(err, 0)
  end
end

local function without(list, gone)
  local out = {}
  for _, p in ipairs(list) do
    out[#out + 1] = not gone[p] and p or nil
  end
  return out
end

--- Opens ports of the machine: what comes to them goes to ports of the island, where it
-- arrives at its address, or, from the machine itself, at its loopback device.
-- @tparam table[] list `{ proto = "tcp" or "udp", addr = of the machine or nil, port =, to = }`
-- @treturn table[] list, for `unpublish`
-- @raise an Error; then none of them is open
function Uplink:publish(list)
  local before = self.published
  local ok, err
  self.published = table.move(list, 1, #list, #before + 1, table.move(before, 1, #before, 1, {}))
  if self.name == "pasta" then
    ok, err = pcall(restart, self)
  else
    ok, err = pcall(function()
      for _, p in ipairs(list) do
        add_slirp(self, p)
      end
    end)
  end
  if not ok then
    pcall(self.unpublish, self, list) -- why it failed comes before that it ended with it
    error(err, 0)
  end
  return list
end

--- Whether it carries a port of the machine, of any address.
-- @tparam string proto
-- @tparam integer port
-- @treturn boolean
function Uplink:carries(proto, port)
  for _, p in ipairs(self.published) do
    if p.proto == proto and p.port == port then
      return true
    end
  end
  return false
end

--- Closes ports again.
-- @tparam table[] list what `publish` was given
function Uplink:unpublish(list)
  local gone = {}
  for _, p in ipairs(list) do
    gone[p] = true
  end
  local before = #self.published
  self.published = without(self.published, gone)
  if self.process._result then
    return
  elseif self.name == "pasta" then
    if #self.published < before then
      restart(self)
    end
    return
  end
  for _, p in ipairs(list) do
    if p.id then
      ask(self, ('{"execute":"remove_hostfwd","arguments":{"id":%d}}'):format(p.id))
      p.id = nil
    end
  end
end

--- Whether ports lead to the island.
-- @tparam table[] list what `publish` was given
-- @treturn boolean
function Uplink:publishes(list)
  local found = {}
  for _, p in ipairs(self.published) do
    found[p] = true
  end
  for _, p in ipairs(list) do
    if not found[p] then
      return false
    end
  end
  return not self.process._result
end

--- Ends it.
function Uplink:_settle()
  stop(self)
end

return M

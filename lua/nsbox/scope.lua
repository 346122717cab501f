--- Scopes: one owner for everything that a recipe makes.
--
-- What a method of a scope makes is undone when the scope ends: by `close`, by
-- `<close>`, by an error, at the end of the script; after a crash, when any
-- scope is opened the next time, for what was done stands in a journal. One
-- failure neither stops the rest nor hides what caused the undo.
--
--     nsbox.scope()            anonymous: it cleans up
--     nsbox.scope { "shop" }   named: what `commit` was called for stays
--     nsbox.VERB               the same verb on the script's own scope, which
--                              ends with the Lua state
--
-- @module nsbox.scope

local process = require "nsbox.sys.process"

-- verb → its module, whose `make(part, o, level)` returns an object; one with two arguments
-- gets the second after the level
local VERBS <const> = { box = "nsbox.box", netns = "nsbox.netns", bridge = "nsbox.bridge",
  veth = "nsbox.veth", macvlan = "nsbox.device", ipvlan = "nsbox.device", vlan = "nsbox.device",
  vxlan = "nsbox.device", add = "nsbox.device", link = "nsbox.link",
  sysctl = "nsbox.setting", dns = "nsbox.dns", nat = "nsbox.nat" }
-- the same, for methods of what a scope made
local METHODS <const> = { attach = "nsbox.attach" }

---@class nsbox.Scope
---@field name? string of a named scope
---@field private boolean whether it works on an island of its own
---@field ns nsbox.Namespaces where it works
---@field boxes table the boxes that have a name, by it
local Scope = { __name = "nsbox.scope" }

-- what is found out, or made, when it is asked for
local computed = {}

function Scope.__index(self, key)
  local f = computed[key]
  if f then
    return f(self)
  end
  return Scope[key]
end

local M = {}

local function mistake(message, level)
  require("nsbox.mistake").raise(message, level + 1)
end

local function new(fields)
  local self = fields or {}
  self.boxes, self._parts, self._pid = {}, {}, process.getpid()
  return setmetatable(self, Scope)
end

local function check_open(self, verb, level)
  if self._closed then
    mistake(verb .. ": the scope is closed", level + 1)
  elseif not self:_is_ours() then
    mistake(verb .. ": the scope belongs to another process, which forked this one", level + 1)
  end
end

-- the journal, made when there is something to write
function Scope:_writes(op)
  if not self._journal then
    self:_own(require("nsbox.journal").create(op))
  end
  return self._journal
end

-- A state finalizes first what was made last: this comes before the journal's handle,
-- so that the undo at the end of the state is done under its lock.
local Ending = { __gc = function(ending)
  pcall(ending.scope.close, ending.scope, true)
end }

function Scope:_own(journal)
  self._journal, self._ending = journal, setmetatable({ scope = self }, Ending)
end

-- where it works ---------------------------------------------------------------------

-- what was asked for, else what this process may do; a named scope is never moved
function computed.private(self)
  if self._wanted == nil then
    self._wanted = not self._named and not self._here and not require("nsbox.island").is_needless()
  end
  return self._wanted
end

-- Where it works: on an island, which is made where the scope has one and it is not
-- there yet, or here.
function Scope:_land(op)
  if self._island or not self.private then
    if self._island then
      self._island:look(op)
    end
    return self._island or require "nsbox.here"
  end
  local part = require("nsbox.part").new(self, "island")
  local ok, island = pcall(require("nsbox.island").make, part, op, self._uplink)
  if not ok then
    part:undo()
    error(island, 0)
  end
  part.object, self._island, self._ground = island, island, part
  -- it stays in the journal, whatever becomes of the rest
  self._journal:keep()
  return island
end

function computed.ns(self)
  if self._closed then
    mistake("ns: the scope is closed", 3)
  end
  if not self._ns then
    self._ns = self:_land("scope.ns"):object()
  end
  return self._ns
end

-- the mark of the links that this run makes: in the request that makes each
function Scope:_group()
  self._mark = self._mark or require("nsbox.random").u32() >> 1 | 1 << 16
  return self._mark
end

-- what failed in an undo, on the error that caused it
local function attach(err, failures)
  if #failures > 0 and require("nsbox.error").is(err) then
    err.undo = err.undo or {}
    table.move(failures, 1, #failures, #err.undo + 1, err.undo)
  end
end

--- Does something in a part of its own; what it did is undone when it raises.
-- @tparam string verb
-- @tparam function f gets the part, returns its object
-- @return the object
function Scope:_within(verb, f, ...)
  if self._named then
    self._named:lock(self, verb)
  end
  local part = require("nsbox.part").new(self, verb)
  -- on the list at once: a step whose undo fails is tried again at the end
  self._parts[#self._parts + 1] = part
  local ok, object = pcall(f, part, ...)
  if not ok then
    attach(object, part:undo())
    for _, step in ipairs(part.steps) do
      if not step.over then
        error(object, 0)
      end
    end
    self:_drop(part)
    error(object, 0)
  end
  part.object = object
  return object, part
end

-- what is queued is not there yet
local function check_no_batch(self, verb, level)
  if self._batch then
    mistake(verb .. ": a batch of this scope has not ended", level + 1)
  end
end

-- what is done while a batch waits would be undone with it
function Scope:_check_batch(verb, level)
  if self._batch and coroutine.status(self._batch.thread) == "suspended" then
    mistake(verb .. ": a batch of this scope waits in another coroutine", level + 1)
  end
end

-- the second argument of the others would be lost
local TWO <const> = { sysctl = true, dns = true }

local function check_one(verb, o, more, level)
  if more ~= nil and not TWO[verb] then
    local option = type(more) == "table" and next(more)
    mistake(("%s: takes one table: %s { %s, %s = … }"):format(verb, verb,
      type(o) == "string" and ("%q"):format(o) or "…",
      type(option) == "string" and option or "option"), level + 1)
  end
end

local function make(self, verb, o, level, more)
  check_one(verb, o, more, level + 1)
  check_open(self, verb, level + 1)
  self:_check_batch(verb, level + 1)
  local object, part = self:_within(verb, require(VERBS[verb] or METHODS[verb]).make, o,
    level + 3, more)
  object._part = part
  if object.fresh == nil then
    object.fresh = part.standing == nil
  end
  return object
end

Scope._make = make

for verb in next, VERBS do
  Scope[verb] = function(self, o, more)
    local object = make(self, verb, o, 2, more)
    return object
  end
end

--- Creates a box: complete, its pid 1 waiting before the program.
-- @tparam table|string o the program and its arguments; BOX and PROGRAM options
-- @treturn nsbox.Box
-- @function Scope:box

--- Makes a network namespace with a name, as `ip netns add` does.
-- @tparam table|string o `{ name, dns =, sysctl = { [key] = value } }`
-- @treturn nsbox.Namespaces
-- @function Scope:netns

--- Makes a bridge.
-- @tparam table|string o `{ name, addr = "10.0.3.1/24", … }`: INTERFACE, and the bridge's own
--   options as in `ip`; without `addr`, or with "auto", it is in a free subnet of the scope's
--   pool; false: a plain switch
-- @treturn nsbox.Link
-- @function Scope:bridge

--- Makes a veth link, each end where it is wanted.
-- @tparam table o `{ { name, INTERFACE }, { name, INTERFACE }, … }`: the options of an end, its
--   `netns` among them; those of the whole hold for both
-- @treturn nsbox.Cable
-- @function Scope:veth

--- Runs a function whose verbs are sent together: the kernel does in one go what
-- `attach` and `veth` ask for. What they return is valid when `batch` returns.
-- @tparam function f
-- @return f's values
-- @raise an Error with `failures`, when something failed; then all of it is undone
function Scope:batch(f)
  check_open(self, "batch", 2)
  if self._batch then
    mistake("batch: this is in a batch already", 2)
  elseif type(f) ~= "function" then
    mistake("batch: " .. require("nsbox.mistake").expected("a function", f), 2)
  end
  return require("nsbox.batch").run(self, f, 1)
end

--- Makes a macvlan: a card of its own on another one.
-- @tparam table o `{ name, link =, mode = "bridge", netns =, … }`: the device below, by name,
--   index or link object; INTERFACE, and what ip(8) takes
-- @treturn nsbox.Link
-- @function Scope:macvlan

--- Makes an ipvlan: an address of its own on another card, under its hardware address.
-- @tparam table o `{ name, link =, mode = "l2", flags =, netns =, … }`
-- @treturn nsbox.Link
-- @function Scope:ipvlan

--- Makes a vlan: the packets of a card that bear a number.
-- @tparam table o `{ name, link =, id =, protocol =, netns =, … }`
-- @treturn nsbox.Link
-- @function Scope:vlan

--- Makes a vxlan: a network inside of UDP packets.
-- What it sends goes out by `link`, or without one by the routes of the namespace it is in.
-- @tparam table o `{ name, id =, link =, group = | remote =, src =, dstport = 4789, … }`
-- @treturn nsbox.Link
-- @function Scope:vxlan

--- Makes a device of any other kind.
-- @tparam table o `{ name, type = "dummy", netns =, … }`: INTERFACE, `link`, and what ip(8)
--   takes for the kind; for one not known here, `data` as in `nsbox.sys.netlink`
-- @treturn nsbox.Link
-- @function Scope:add

--- Borrows a device that is there: it is never deleted, and what is changed by this object
-- becomes what it was, where it is still as it was left.
-- @tparam table|string o `{ name, netns = }`
-- @treturn nsbox.Link
-- @function Scope:link

--- Translates the addresses of a bridge's boxes, or of a subnet, to that of the device by which
-- they go out, and lets the kernel forward, until the last scope ends that needs it.
-- @tparam table|string o `{ bridge or subnet, out = ifname }`; without `out`: by any device
-- @treturn nsbox.Made
-- @function Scope:nat

--- Sets kernel settings of a network namespace; with the scope they become what they were.
-- @param netns any form of it; nil: the caller's own
-- @tparam table values `{ ["net.ipv4.ip_forward"] = 1, … }`, keys as in sysctl(8)
-- @treturn nsbox.Made
-- @function Scope:sysctl

--- Sets the name servers and host names of a network namespace: of a name under /run/netns in
-- /etc/netns, as `ip netns exec` shows them, of a box or another process in its own files.
-- @param netns a name, a box, a pid
-- @tparam table|string o `{ server…, search =, options =, hosts = { name = address } }`; or
--   "host": the servers of this machine
-- @treturn nsbox.Made
-- @function Scope:dns

-- off the list; nothing is undone
function Scope:_drop(part)
  for i = #self._parts, 1, -1 do
    if self._parts[i] == part then
      table.remove(self._parts, i)
    end
  end
  local reaching = self._ground and self._island.uplink
  if #self._parts == 0 and self._journal and not self._named and not reaching then
    self._journal:reset()
  end
  local object = part.object
  if object and part.verb == "box" and self.boxes[object.name or 0] == object then
    self.boxes[object.name] = nil
  end
end

function Scope:_is_ours()
  return process.getpid() == self._pid
end

-- what is left of objects when their things are gone
local function settle(parts)
  for i = #parts, 1, -1 do
    local object = parts[i].object
    if object and object._settle then
      pcall(object._settle, object)
    end
  end
end

-- the parts, and before them the island that they may be on
local function all_parts(self)
  local list = { self._ground }
  table.move(self._parts, 1, #self._parts, #list + 1, list)
  return list
end

local function undo_all(self, parts)
  local steps = {}
  for _, part in ipairs(parts) do
    local object = part.object
    if object and object._reap then
      pcall(object._reap, object)
    end
    for _, step in ipairs(part.steps) do
      -- with the island goes what is on it
      step.over = step.over or step._inside and self._ground ~= nil
      steps[#steps + 1] = step
    end
  end
  local failures = #steps > 0 and require("nsbox.undo").run(steps, { whole = true }) or {}
  settle(parts)
  return failures
end

-- lets go of the journal, which is not needed when nothing is left
local function finish(self)
  local parts = all_parts(self)
  if self._ns then
    self._ns:_settle()
  end
  local failures = undo_all(self, parts)
  local journal = self._journal
  local whole = true
  for _, part in ipairs(parts) do
    for _, step in ipairs(part.steps) do
      whole = whole and step.over
    end
  end
  if journal and (self._named or not whole) then
    for _, part in ipairs(parts) do
      part:note "undone"
    end
  end
  self._parts, self.boxes, self._journal, self._ground = {}, {}, nil, nil
  if not journal then
    return failures
  elseif whole and not (self._named and self._named:keeps()) then
    journal:remove()
  else
    journal:close()
  end
  return failures
end

--- Undoes everything, last made first; twice is harmless.
-- @raise an Error with the failures in `undo`, unless another error is on its way
function Scope:close(cause)
  -- a forked child never undoes its parent's work
  if self._closed or not self:_is_ours() then
    return
  end
  local failures = finish(self)
  self._closed = true
  if #failures == 0 then
    return
  elseif cause == nil then
    require("nsbox.error").raise { op = "scope.close", subject = self.name, undo = failures,
      detail = ("%d of its parts could not be undone"):format(#failures) }
  end
  attach(cause, failures)
end

Scope.__close = Scope.close

function Scope.__gc(self)
  pcall(self.close, self, true)
end

--- Keeps everything that was made, and forgets it: nothing undoes it any more.
function Scope:release()
  check_open(self, "release", 2)
  check_no_batch(self, "release", 2)
  local parts = table.move(self._parts, 1, #self._parts, 1, {})
  for i = #parts, 1, -1 do
    local it = parts[i].object or parts[i] -- a verb that failed has no object
    it:release()
  end
  if self._ground and #parts > 0 then -- it ends with the script
    self._ground:note "kept"
    self._ground = nil
  end
end

--- Of a named scope: what was made stands; what an earlier run made and this
-- one did not is removed, unless `prune = false`.
-- @raise an Error when something cannot be kept; then nothing has changed
function Scope:commit()
  check_open(self, "commit", 2)
  check_no_batch(self, "commit", 2)
  if not self._named then
    mistake("commit: an anonymous scope keeps nothing: nsbox.scope { \"name\" }", 2)
  end
  self._named:commit(self)
end

--- Of a named scope: goes back to the state before this run, and ends.
function Scope:rollback()
  check_open(self, "rollback", 2)
  self:close()
end

local FORMS <const> = { { "box", "boxes" }, { "link", "links" }, { "netns", "netns" },
  { "borrowed link", "borrowed links" } }
-- verbs whose parts are links; what is changed is not counted
local LINKS <const> = { bridge = "link", attach = "link", veth = "link", macvlan = "link",
  ipvlan = "link", vlan = "link", vxlan = "link", add = "link", link = "borrowed link" }

local function count(self)
  local numbers, words = {}, {}
  for _, part in ipairs(self._parts) do
    local word = LINKS[part.verb] or part.verb
    numbers[word] = (numbers[word] or 0) + 1
  end
  for _, form in ipairs(FORMS) do
    local n = numbers[form[1]]
    if n then
      words[#words + 1] = ("%d %s"):format(n, n == 1 and form[1] or form[2])
    end
  end
  return #words > 0 and table.concat(words, ", ") or "empty"
end

function Scope:__tostring()
  local unreached = self._island and self._island.unreached
  local where = self._closed and "closed" or not self.private and "here"
    or tostring(self._island or ("private island of uid %d"):format(process.geteuid()))
      .. (unreached and ", no way out: " .. unreached.detail or "")
  return ("scope %s(%s): %s"):format(self.name and ('"%s" '):format(self.name) or "", where,
    count(self))
end

M.new = new

-- an anonymous one; where nobody keeps journals there is nothing to recover
local function open_anonymous(o)
  if o and o.private == false and not require("nsbox.island").is_needless() then
    require("nsbox.error").raise { op = "scope", code = "EPERM",
      detail = "this process may not change the network that it is in",
      hint = "without private = false the scope works on an island of its own" }
  end
  if require("nsbox.sys.fd").stat((require("nsbox.rundir").path())) then
    require("nsbox.scopes").recover_quietly "scope"
  end
  return new { _pool = o and o.pool, _wanted = o and o.private,
    _uplink = o and o.uplink }
end

-- the scope behind nsbox.VERB; it must be there before what it owns, so that
-- the state finalizes it after
local script
local function script_scope()
  if script and script._pid ~= process.getpid() then
    script = nil -- a forked child's own
  end
  script = script or open_anonymous()
  return script
end

-- nsbox.box { … } and the like; what has functions besides is a callable table
for verb in next, VERBS do
  M[verb] = setmetatable({}, {
    __name = "nsbox." .. verb,
    __call = function(_, o, more)
      local object = make(script_scope(), verb, o, 2, more)
      return object
    end,
  })
end

for _, name in ipairs { "open", "list", "show", "remove", "recover" } do
  M[name] = function(...)
    return require("nsbox.scopes")[name](...)
  end
end

--- Makes a scope, or declares the whole of a named one.
-- @function scope
-- @tparam[opt] table|string o `{ name, timeout = 10, prune = true }`: how long to wait for
--   another run of the same scope; whether a commit removes what was not declared. With or
--   without a name `pool`: the subnets for bridges without an address, `"10.20.0.0/16"`, or
--   `{ "10.0.0.0/8", size = 24 }`, one or a list; default 172.17 to 172.31, 192.168, 10;
--   without one `private`: true, an island of its own; false, here or not at all; absent: here,
--   if this process may change the network here; and `uplink`, "pasta" or "slirp4netns", by
--   which an island reaches the world; false: not at all; absent: what is installed, when
--   `nat` or a published port asks for it
-- @treturn nsbox.Scope
-- @raise an Error, ETIMEDOUT: another run has it; EPERM: `private = false`, without the privilege
return setmetatable(M, {
  __name = "nsbox.scope",
  __call = function(_, o)
    if o == nil then
      return open_anonymous()
    end
    o = require("nsbox.scopes").options(o, 2)
    return o[1] and require("nsbox.scopes").declare(o) or open_anonymous(o)
  end,
})

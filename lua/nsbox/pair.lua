--- Pairs: veth links, each end made in its namespace, many in few requests.
--
-- A pair is one request to where the first end is, `a`; the other end, `b`, is
-- born in its own namespace under its final name (a link that moves costs some
-- 20 ms). What either end is told follows in one send for each namespace.
--
-- veth(4), rtnetlink(7)
--
-- @internal nsbox.pair

local interface = require "nsbox.interface"
local netplace = require "nsbox.netplace"
local parts = require "nsbox.part"

-- at once: each of them holds two descriptors meanwhile
local CHUNK <const> = 128
local EEXIST <const> = 17

local M = {}

---@class nsbox.Pair  a pair that is going to be made
---@field part nsbox.Part
---@field prepare function (pair, places): sets `a` and `b`; raises when it cannot be
---@field a nsbox.PairEnd gets the step; its options are `interface.born`'s and `configure`'s
---@field b nsbox.PairEnd
---@field plan? table fields of the step
---@field finish function (pair, record of a, record of b)
---@field object table what the verb returned
---@field together integer how many are made with it

---@class nsbox.PairEnd
---@field place nsbox.NetPlace
---@field name string
---@field o table checked options
---@field configure? function (batch, record of this end, of the other): more requests

-- places by how they are meant, each opened once
local Places = {}
Places.__index = Places

--- Opens a place, or finds it opened.
-- @param netns any form of `netns`; nil: the own
-- @tparam string op the verb, for an Error
-- @treturn nsbox.NetPlace
function Places:open(netns, op)
  local key = netns == nil and self or netns
  local place = self.by_key[key]
  if not place then
    place = netplace.open(netns, op)
    self.by_key[key] = place
  end
  return place
end

--- The ledger, opened once: until the steps are in the journal, nobody else chooses addresses.
-- @tparam nsbox.Part part that is going to choose
-- @treturn nsbox.Ledger
function Places:ledger(part)
  self.open_ledger = self.open_ledger or require("nsbox.ledger").open(part.scope, part.verb)
  return self.open_ledger
end

--- Lets others choose.
function Places:chosen()
  if self.open_ledger then
    self.open_ledger:close()
  end
end

function Places:__close()
  self:chosen()
  for _, place in next, self.by_key do
    place:close()
  end
end

-- Requests to several places: what there is for a place goes out in one send
local Outbox = {}
Outbox.__index = Outbox

local function outbox()
  return setmetatable({ order = {}, by_place = {} }, Outbox)
end

--- The batch for a place: what is queued there until the next call is this end's.
-- @tparam nsbox.Pair pair that it belongs to
-- @tparam nsbox.NetPlace place
-- @tparam string name of the end
-- @treturn userdata
function Outbox:for_end(pair, place, name)
  local mail = self.by_place[place]
  if not mail then
    mail = { place = place, batch = place.nl:batch(), pairs = {}, names = {}, after = {} }
    self.by_place[place], self.order[#self.order + 1] = mail, mail
  end
  local n = #mail.pairs + 1
  mail.pairs[n], mail.names[n], mail.after[n] = pair, name, #mail.batch
  return mail.batch
end

--- Sends all.
-- @tparam function fail gets pair, place, name, message, errno of each request that failed
function Outbox:send(fail)
  for _, mail in ipairs(self.order) do
    local results, failed = mail.batch:send()
    local n = 1
    for i = 1, failed > 0 and #results or 0 do
      while mail.after[n + 1] and mail.after[n + 1] < i do
        n = n + 1
      end
      if results[i] ~= true then
        fail(mail.pairs[n], mail.place, mail.names[n], results[i][1], results[i][2])
      end
    end
  end
end

-- the Error of what a primitive said of one of the ends
local function failure(pair, place, name, message, errno)
  local a = pair.a
  local this = place == a.place and name == (pair.ra or a).name and a or pair.b
  return place:failure(pair.part.verb, name, message, errno, { of = this.o })
end

-- of the request that makes a pair: which of the two names is taken
local function explain(pair, place, name, message, errno)
  local b = pair.b
  if errno == EEXIST and not b.name:find("%", 1, true) and b.place.nl:link_get(b.name) then
    return b.place:failure(pair.part.verb, b.name, message:gsub(" %S+:", " " .. b.name .. ":", 1),
      errno)
  end
  return failure(pair, place, name, message, errno)
end

local Run = {}
Run.__index = Run

--- The first failure of a pair counts: what follows is its consequence.
function Run:fail(pair, err)
  if not pair.failed then
    pair.failed = err
    self.failures[#self.failures + 1] = err
  end
end

--- The same, of what a primitive said.
function Run:failed(pair, place, name, message, errno)
  self:fail(pair, failure(pair, place, name, message, errno))
end

-- One queue is all that an end uses, unless somebody tells it to have more; the kernel
-- makes one for each processor, and takes them back, which waits for all of those
local QUEUES <const> = 1

local function request(pair)
  local a, b = pair.a, pair.b
  -- by these they are told from others afterwards
  a.o.mac = a.o.mac or interface.random_mac "02"
  b.o.mac = b.o.mac or interface.random_mac "02"
  -- the rest of what `interface.born` says the peer takes only later
  local peer = { b.name, netns = b.place:namespace(), mac = b.o.mac, mtu = b.o.mtu,
    txqueuelen = b.o.txqueuelen, numtxqueues = QUEUES, numrxqueues = QUEUES }
  return interface.born(a.o, { a.name, kind = "veth", group = pair.plan.group, peer = peer,
    numtxqueues = QUEUES, numrxqueues = QUEUES })
end

-- The record of the other end. The first end is not asked for: that it has no
-- carrier yet would be dealt with at once, which waits for all processors.
local function find(b, port)
  local number = 0
  repeat -- "eth%d": the first name that is not taken was not given to this one
    local record = b.place.nl:link_get((b.name:gsub("%%d", number)))
    if record and record.peer == port and record.mac == b.o.mac then
      return record
    end
    number = number + 1
  until not record or not b.name:find("%", 1, true)
end

--- Makes all, one request each, as few sends as there are namespaces.
function Run:create(live)
  local out = outbox()
  for _, pair in ipairs(live) do
    out:for_end(pair, pair.a.place, pair.a.name):link_add(request(pair))
  end
  out:send(function(pair, ...)
    self:fail(pair, explain(pair, ...))
  end)
  local outcome = {}
  for i, pair in ipairs(live) do
    local a = pair.a
    local index = not pair.failed and a.place.nl:index(a.name) or nil
    pair.ra = index and { name = a.name, index = index, mac = a.o.mac, kind = "veth" }
    pair.rb = index and find(pair.b, index)
    if pair.failed then
      outcome[i] = parts.lost(pair.failed) and {}
    else
      outcome[i] = { index = index, mac = pair.b.o.mac }
    end
  end
  return outcome
end

local GONE <const> = "link_get: it went away while it was being made"
local ENODEV <const> = 19

--- Those that are there with both ends; a namespace may have ended meanwhile.
function Run:identify(live)
  local made = {}
  for _, pair in ipairs(live) do
    if not pair.failed then
      if pair.rb then
        made[#made + 1] = pair
      else
        self:failed(pair, pair.b.place, pair.a.name, GONE, ENODEV)
      end
    end
  end
  return made
end

local function tell(out, pair, this, own, other)
  local batch = out:for_end(pair, this.place, own.name)
  interface.configure(batch, own.index, this.o, this == pair.b)
  if this.configure then
    this.configure(batch, own, other)
  end
end

--- What both ends are told when they are there.
function Run:configure(made)
  local out = outbox()
  for _, pair in ipairs(made) do
    tell(out, pair, pair.a, pair.ra, pair.rb)
    tell(out, pair, pair.b, pair.rb, pair.ra)
  end
  out:send(function(...)
    self:failed(...)
  end)
end

--- Makes some.
function Run:chunk(pairs_)
  local places <close> = setmetatable({ by_key = {} }, Places)
  local live, items = {}, {}
  for _, pair in ipairs(pairs_) do
    local ok, err = pcall(pair.prepare, pair, places)
    if ok then
      live[#live + 1] = pair
      pair.plan.peer_netns, pair.plan.peer_nsinode = pair.b.place.cookie, pair.b.place.inode
      items[#items + 1] = { pair.part, "link", pair.plan }
    elseif require("nsbox.error").is(err) then
      if pair.plan then
        pair.plan.over = true -- its addresses are free
      end
      self:fail(pair, err)
    else
      error(err, 0)
    end
  end
  if #live == 0 then
    return
  end
  parts.steps(items, function()
    places:chosen()
    return self:create(live)
  end)
  local made = self:identify(live)
  self:configure(made)
  for _, pair in ipairs(made) do
    if not pair.failed then
      pair:finish(pair.ra, pair.rb)
    end
  end
end

-- the ports that lead to them, in one transaction
local function publish(run, list, publications)
  for _, pair in ipairs(list) do
    for _, it in ipairs(pair.publications or {}) do
      publications[#publications + 1] = it
    end
  end
  if #publications > 0 then
    local ok, err = pcall(require("nsbox.publish").run, publications)
    if not ok and not require("nsbox.error").is(err) then
      error(err, 0)
    end
    table.insert(run.failures, not ok and err or nil)
  end
end

--- Makes pairs.
-- @tparam nsbox.Pair[] list
-- @tparam[opt] nsbox.Publication[] publications of links that are there
-- @treturn nsbox.Error[] one for each pair that failed; it may be there in part
function M.run(list, publications)
  local run = setmetatable({ failures = {} }, Run)
  for _, pair in ipairs(list) do
    pair.together = #list
  end
  for from = 1, #list, CHUNK do
    run:chunk(table.move(list, from, math.min(from + CHUNK - 1, #list), 1, {}))
    if #run.failures > 0 then
      break -- all of it is going to be undone
    end
  end
  if #run.failures == 0 then
    publish(run, list, publications or {})
  end
  return run.failures
end

--- Makes a pair: at once, or when the batch of its scope ends.
-- @tparam nsbox.Pair pair
function M.submit(pair)
  local batch = pair.part.scope._batch
  if batch then
    batch[#batch + 1] = pair
    return
  end
  local failures = M.run { pair }
  if failures[1] then
    error(failures[1], 0)
  end
end

return M

-- Processes that choose subnets and addresses at once:
--
--     unshare -nm lua5.4 spec/pool_stress.lua PROCESSES ROUNDS|20s
--
-- in a network namespace of its own. Each makes bridges and cards, on a bridge that all
-- share as well, and says of every subnet and every address that it has it, by a directory
-- of that name: who finds it there has found a collision. Every third round ends in the
-- middle, as if it was killed, and the others recover what it left.

local nsbox = require "nsbox"
local sys = require "nsbox.sys"
local lfs = require "lfs"

local COUNT, HOW = tonumber(arg[1]), assert(arg[2])
local ROUNDS, SECONDS = tonumber(HOW), tonumber(HOW:match "^(%d+)s$")
local CARDS <const> = 3

local dir = os.tmpname()
os.remove(dir)
assert(lfs.mkdir(dir))
local function mark(name) return dir .. "/" .. name:gsub("/", "_") end

-- what a child of this process returns
local function results(child, out)
  local text = {}
  for piece in function() return out:read() end do text[#text + 1] = piece end
  assert(sys.fd.poll { [child:fileno()] = "r" })
  child:status()
  return sys.process.results(table.concat(text))
end

local function round(i, n, leave)
  local scope = nsbox.scope { pool = { { "10.20.0.0/20", size = 28 } } }
  local mine, collisions = {}, 0
  local function take(name)
    if lfs.mkdir(mark(name)) then
      mine[#mine + 1] = name
    else
      collisions = collisions + 1
      io.stderr:write(("process %d, round %d: somebody else has %s\n"):format(i, n, name))
    end
  end
  local ns <close> = nsbox.ns.new { "net" }
  local bridge, shared, cards = scope:bridge {}, scope:link "shared", {}
  take(bridge.subnet)
  take(bridge:attach(ns).ip)
  take(shared:attach(ns).ip)
  scope:batch(function()
    for j = 1, CARDS do cards[j] = shared:attach(ns) end
  end)
  for _, card in ipairs(cards) do take(card.ip) end
  for _, name in ipairs(mine) do assert(lfs.rmdir(mark(name))) end
  if not leave then scope:close() end
  return collisions
end

local function process(i)
  local collisions, n = 0, 0
  local deadline = SECONDS and sys.process.clock() + SECONDS
  while deadline and sys.process.clock() < deadline or not deadline and n < ROUNDS do
    n = n + 1
    if n % 3 == 0 then
      local ok, more = results(assert(sys.clone({}, round, i, n, true)))
      collisions = collisions + (assert(ok, more) and more)
    else
      collisions = collisions + round(i, n)
    end
  end
  return collisions, n
end

local owner = nsbox.scope()
owner:bridge { "shared", addr = "10.30.0.1/20" }
local children = {}
for i = 1, COUNT do
  children[i] = { assert(sys.clone({}, process, i)) }
end
local collisions, rounds = 0, 0
for _, child in ipairs(children) do
  local ok, more, n = results(table.unpack(child))
  if not ok then
    io.stderr:write(tostring(more), "\n")
    more = 1
  end
  collisions, rounds = collisions + more, math.max(rounds, n or 0)
end
owner:close()
nsbox.scope.recover()
lfs.rmdir(dir)
print(("%d processes, %s rounds each: %d collisions"):format(COUNT, SECONDS and "up to " .. rounds
  or rounds, collisions))
os.exit(collisions == 0 and 0 or 1, true)

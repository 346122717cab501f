--- Numbers that no other script has.
--
-- Marks and generated names must differ between all scripts of a machine, also
-- between those that call math.randomseed with the same number, and between a
-- script and its forked children.
--
-- random(4)
--
-- @internal nsbox.random

local process = require "nsbox.sys.process"

local CHUNK <const> = 256

local pool, at, owner = "", 1, nil

local function refill()
  local f <close> = io.open("/dev/urandom", "rb")
  pool, at, owner = f and f:read(CHUNK) or "", 1, process.getpid()
  while #pool < 8 do -- a root directory without devices
    pool = pool .. string.pack("I2", math.random(0, 0xffff))
  end
end

local M = {}

--- Random bytes, eight at most.
-- @tparam integer count
-- @treturn string
function M.bytes(count)
  if at + count - 1 > #pool or owner ~= process.getpid() then
    refill()
  end
  at = at + count
  return pool:sub(at - count, at - 1)
end

--- A random number of 32 bits.
-- @treturn integer
function M.u32()
  return (string.unpack("I4", M.bytes(4)))
end

return M

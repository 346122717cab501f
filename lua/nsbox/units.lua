--- Option types that carry units, and words the kernel has.
--
-- A number is the base unit, a string brings its own. Each parser takes a
-- value (and the field's settings) and returns the value to use, or nil and
-- what was expected. Loaded when an option of such a type is first given.
--
-- @internal nsbox.units

local function mistake(name, ...)
  return nil, require("nsbox.mistake")[name](...)
end

local MAX_ID <const> = 0xfffffffe -- (uid_t)-1 means "no change" to the kernel

local SECONDS <const> = {
  us = 1e-6, ms = 1e-3, s = 1, sec = 1, m = 60, min = 60, h = 3600, d = 86400,
}
local BYTES <const> = {
  b = 1, k = 1 << 10, m = 1 << 20, g = 1 << 30, t = 1 << 40,
}
local BITS <const> = {
  bit = 1, kbit = 1e3, mbit = 1e6, gbit = 1e9, tbit = 1e12,
  bps = 8, kbps = 8e3, mbps = 8e6, gbps = 8e9, tbps = 8e12,
}
for _, names in ipairs { "kb", "mb", "gb", "tb", "kib", "mib", "gib", "tib" } do
  BYTES[names] = BYTES[names:sub(1, 1)]
end

local SIGNALS <const> = {}
for name in ([[HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD
  CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS]]):gmatch("%u%w*") do
  SIGNALS[name] = true
end

-- between the first and the last of the real-time ones; libc keeps two for itself
SIGNALS.RTMIN, SIGNALS.RTMAX = true, true
local REALTIME <const> = 30

local function bounded(value, number, field, what)
  if number ~= number or number < 0 or number == math.huge then
    return mistake("bad", what, value)
  elseif field and (number < (field.min or 0) or number > (field.max or math.huge)) then
    return mistake("out_of_range", number, field)
  end
  return number
end

-- value in base units, or nil and a message
local function measure(value, field, units, what)
  if type(value) == "number" then
    return bounded(value, value, field, what)
  elseif type(value) ~= "string" then
    return mistake("expected", what, value)
  end
  local digits, unit = value:match("^(%d+%.?%d*)(%a+)$")
  local factor = unit and units[unit:lower()]
  if not factor then
    return mistake("bad", what, value)
  end
  return bounded(value, tonumber(digits) * factor, field, what)
end

local function whole(value, field, units, what)
  local number, message = measure(value, field, units, what)
  if not number then
    return nil, message
  end
  local integer = math.tointeger(number) or number < 2 ^ 63 and math.floor(number)
  if not integer or type(value) == "number" and integer ~= number then
    return mistake("bad", what, value)
  end
  return integer
end

local M = {}

--- A time: seconds, or "500ms", "5s", "2m", "1h", "1d".
-- @treturn ?number seconds
function M.duration(value, field)
  return measure(value, field, SECONDS, "a time such as 5 (seconds), '500ms' or '1h'")
end

--- A size: bytes, or "64K", "256M", "1G" (1024 each).
-- @treturn ?integer bytes
function M.size(value, field)
  return whole(value, field, BYTES, "a size such as 4096 (bytes), '64K' or '256M'")
end

--- A rate: bit/s, or "10mbit", "1gbit", "100kbps" (1000 each; bps are bytes, as in tc(8)).
-- @treturn ?integer bits per second
function M.rate(value, field)
  return whole(value, field, BITS, "a rate such as 1000000 (bit/s) or '10mbit'")
end

--- A share, only as a string: "1%", "0.5%".
-- @treturn ?number per cent, 0 to 100
function M.percent(value, field)
  local digits = type(value) == "string" and value:match("^(%d+%.?%d*)%%$")
  local number = tonumber(digits or nil)
  if not number or number > 100 then
    return mistake(type(value) == "string" and "bad" or "expected",
      "a percentage such as '1%'", value)
  end
  return bounded(value, number, field, "a percentage")
end

--- File mode bits, only as a string: "0755" (the number 0755 is decimal in Lua).
-- @treturn ?integer
function M.mode(value)
  if type(value) == "string" and value:match("^[0-7]+$") and #value <= 5 then
    local mode = tonumber(value, 8)
    if mode <= 4095 then
      return mode
    end
  end
  return mistake(type(value) == "string" and "bad" or "expected",
    "a mode as a string, such as '0755'", value)
end

--- A signal as a word: "TERM", also "SIGTERM", "RTMIN+1".
-- @treturn ?string the word without SIG
function M.signal(value)
  if type(value) ~= "string" then
    return mistake("expected", "a signal such as 'TERM'", value)
  end
  local name = value:gsub("^SIG", "")
  local away = name:match "^RTMIN%+(%d+)$" or name:match "^RTMAX%-(%d+)$"
  if SIGNALS[name] or away and tonumber(away) <= REALTIME then
    return name
  end
  local near = require("nsbox.mistake").suggest(name:upper(), SIGNALS)
  local _, bad = mistake("bad", "a signal such as 'TERM'", value)
  return nil, bad .. (near and (" (did you mean '%s'?)"):format(near) or "")
end

--- A user or group id: unsigned, 32 bit.
-- @treturn ?integer
function M.id(value)
  local id = math.type(value) and math.tointeger(value)
  if id and id >= 0 and id <= MAX_ID then
    return id
  end
  return mistake(math.type(value) and "bad" or "expected",
    "an id between 0 and 4294967294", value)
end

--- The name of a network interface: at most 15 bytes, see dev_valid_name in the kernel.
-- @treturn ?string
function M.ifname(value)
  if type(value) ~= "string" then
    return mistake("expected", "an interface name", value)
  elseif #value > 15 then
    return mistake("too_long", value, 15)
  elseif value == "" or value == "." or value == ".." or value:find("[%s/:%c]") then
    return mistake("bad", "an interface name (no spaces, slashes or colons)", value)
  end
  return value
end

return M

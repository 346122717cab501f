--- Published ports, in the words of docker:
--
--     "8080:80"                     of every address of the host, v4 and v6
--     "127.0.0.1:53:53/udp"         of this address only; "[::1]:80:80"
--     "8000-8009:8000-8009"         ten of them
--     "8000-8009:80"                the first free one
--     "80", "127.0.0.1::80"         any free one
--
-- @internal nsbox.ports

local inet = require "nsbox.inet"

local PROTOCOLS <const> = { tcp = true, udp = true, sctp = true }
local MOST <const> = 65535

local M = {}

---@class nsbox.Port
---@field text string as it was written
---@field protocol string "tcp", "udp", "sctp"
---@field addr? string of the host; nil: every one
---@field first? integer port of the host; nil: any free one
---@field last? integer the last one that may be chosen, where there is a choice
---@field to integer port inside
---@field choose boolean one is to be chosen

-- "8000-8009" -> 8000, 8009; nil: what is wrong
local function range(text)
  local from, to = text:match "^(%d+)%-(%d+)$"
  from, to = tonumber(from or text:match "^%d+$"), tonumber(to)
  to = to or from
  if not from then
    return nil, ("'%s' is no port"):format(text)
  elseif from < 1 or to > MOST then
    return nil, ("a port is a number from 1 to %d"):format(MOST)
  elseif to < from then
    return nil, ("the range %s ends before it begins"):format(text)
  end
  return math.tointeger(from), math.tointeger(to)
end

-- address, ports of the host, ports inside
local function split(text)
  local addr, rest = text:match "^%[(.-)%]:(.*)$"
  if addr then
    return addr, rest:match "^([^:]*):([^:]*)$"
  end
  addr, rest = text:match "^([^:]+):([^:]*:[^:]*)$"
  rest = rest or text
  local outside, inside = rest:match "^([^:]*):([^:]*)$"
  return addr, outside or "", inside or not rest:find(":", 1, true) and rest or nil
end

local function parse(given)
  local text, protocol = given:match "^(.*)/(%w+)$"
  text, protocol = text or given, protocol or "tcp"
  if not PROTOCOLS[protocol] then
    return nil, require("nsbox.mistake").not_one_of(protocol, PROTOCOLS)
  end
  local addr, outside, inside = split(text)
  if not inside then
    return nil, "expected ports as docker has them: '8080:80', '127.0.0.1:53:53/udp', "
      .. "'[::1]:80:80', '8000-8009:8000-8009', '80'"
  end
  local a = addr and inet.parse(addr)
  if addr and (not a or a.prefix) then
    return nil, ("'%s' is no address"):format(addr)
  end
  local to, to_last = range(inside)
  if not to then
    return nil, to_last
  end
  local from, last
  if outside ~= "" then
    from, last = range(outside)
    if not from then
      return nil, last
    end
  end
  local count = to_last - to + 1
  local choose = not from or count == 1 and last > from
  if not choose and last - from + 1 ~= count then
    return nil, ("%d ports of the host for %d"):format(last - from + 1, count)
  end
  return a, from, last, to, count, choose, protocol
end

--- Checks one or a list, as a type for `nsbox.opts`.
-- @param value
-- @treturn ?nsbox.Port[]
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.check(value)
  local out, seen = {}, {}
  for i, given in ipairs(type(value) == "table" and value or { value }) do
    given = math.type(given) == "integer" and tostring(given) or given
    if type(given) ~= "string" then
      return nil, require("nsbox.mistake").expected("ports as '8080:80'", given)
    end
    local a, from, last, to, count, choose, protocol = parse(given)
    if a == nil and from and not to then -- nil, what is wrong
      return nil, (type(value) == "table" and ("[%d] "):format(i) or "")
        .. ("'%s': %s"):format(given:sub(1, 80):gsub("%c", "?"), from)
    end
    for n = 0, count - 1 do
      local port = { text = given, protocol = protocol, addr = a and inet.text(a.bytes) or nil,
        first = from and (choose and from or from + n) or nil, last = choose and last or nil,
        to = to + n, choose = choose }
      local key = not choose and ("%s/%s %s"):format(port.first, protocol, port.addr or "")
      if key and seen[key] then
        return nil, ("'%s': %d/%s is published twice"):format(given, port.first, protocol)
      elseif key then
        seen[key] = true
      end
      out[#out + 1] = port
    end
  end
  if #out == 0 then
    return nil, "which ports? \"8080:80\""
  end
  return out
end

return M

--- Internet addresses, v4 and v6, as text and as bytes.
--
-- An address is a table `{ bytes, family, prefix }`: 4 or 16 bytes, "inet" or
-- "inet6", the prefix where the text had one. Nothing here asks the kernel.
--
-- inet_pton(3), ip-address(8)
--
-- @internal nsbox.inet

local M = {}

local function v4(text)
  local a, b, c, d = text:match "^(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)$"
  -- a leading zero means octal to some
  if not a or (text:find "^0%d" or text:find "%.0%d") then
    return nil
  end
  a, b, c, d = tonumber(a), tonumber(b), tonumber(c), tonumber(d)
  return a < 256 and b < 256 and c < 256 and d < 256 and string.char(a, b, c, d) or nil
end

-- groups of one side of "::" -> bytes
local function groups(text)
  if text == "" then
    return ""
  end
  local out = {}
  for part in (text .. ":"):gmatch "([^:]*):" do
    local word = part:match "^%x%x?%x?%x?$"
    local tail = not word and v4(part)
    if word then
      out[#out + 1] = string.pack(">I2", tonumber(word, 16))
    elseif tail then
      out[#out + 1] = tail
    else
      return nil
    end
  end
  return table.concat(out)
end

local function v6(text)
  local head, tail = text:match "^(.-)::(.*)$"
  if not head then
    local bytes = groups(text)
    return bytes and #bytes == 16 and bytes or nil
  end
  head, tail = groups(head), groups(tail)
  if not head or not tail or #head + #tail > 14 then
    return nil
  end
  return head .. ("\0"):rep(16 - #head - #tail) .. tail
end

--- Of which version an address or a network is, whatever else is wrong with it.
-- @tparam string text
-- @treturn string "4" or "6"
function M.version(text)
  return text:find(":", 1, true) and "6" or "4"
end

--- Reads an address, with or without a prefix.
-- @tparam string text
-- @treturn ?table `{ bytes, family, prefix }`
function M.parse(text)
  if type(text) ~= "string" then
    return nil
  end
  local host, prefix = text:match "^(.-)/(%d%d?%d?)$"
  host = host or text
  local bytes = v4(host) or host:find(":", 1, true) and v6(host) or nil
  prefix = prefix and tonumber(prefix)
  if not bytes or prefix and prefix > #bytes * 8 then
    return nil
  end
  return { bytes = bytes, family = #bytes == 4 and "inet" or "inet6", prefix = prefix }
end

--- Writes bytes as text: v6 as RFC 5952 wants it.
-- @tparam string bytes 4 or 16
-- @treturn string
function M.text(bytes)
  if #bytes == 4 then
    return ("%d.%d.%d.%d"):format(bytes:byte(1, 4))
  end
  local words = { string.unpack(">I2I2I2I2I2I2I2I2", bytes) }
  -- the longest run of zeros, of two at least
  local from, len, run = nil, 1, 0
  for i = 1, 9 do
    if words[i] == 0 and i < 9 then
      run = run + 1
    else
      if run > len then
        from, len = i - run, run
      end
      run = 0
    end
  end
  local function hex(i, j)
    local out = {}
    for k = i, j do
      out[#out + 1] = ("%x"):format(words[k])
    end
    return table.concat(out, ":")
  end
  return from and hex(1, from - 1) .. "::" .. hex(from + len, 8) or hex(1, 8)
end

--- The network that an address with a prefix is in.
-- @tparam table a as from `parse`, with a prefix
-- @treturn string its first address, as bytes
function M.network(a)
  local bytes, whole, bits = a.bytes, a.prefix // 8, a.prefix % 8
  if whole == #bytes then
    return bytes
  end
  return bytes:sub(1, whole) .. string.char(bytes:byte(whole + 1) & (0xff << (8 - bits)) & 0xff)
    .. ("\0"):rep(#bytes - whole - 1)
end

--- The one way to write an address or network.
-- @tparam string text with a prefix, or without: then with its longest
-- @treturn ?string nil: it is none
function M.canonical(text)
  local a = M.parse(text)
  return a and ("%s/%d"):format(M.text(a.bytes), a.prefix or #a.bytes * 8)
end

--- Whether an address is in a network.
-- @tparam table net as from `parse`, with a prefix
-- @tparam table a as from `parse`
-- @treturn boolean
function M.contains(net, a)
  if net.family ~= a.family then
    return false
  end
  local whole, bits = net.prefix // 8, net.prefix % 8
  local x, y = net.bytes, a.bytes
  return x:sub(1, whole) == y:sub(1, whole)
    and (bits == 0 or (x:byte(whole + 1) ~ y:byte(whole + 1)) >> (8 - bits) == 0)
end

--- Checks an address with its prefix, as a type for `nsbox.opts`.
-- @param value
-- @treturn ?string
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.check_addr(value)
  local a = M.parse(value)
  if not a then
    local host, prefix = tostring(value):match "^(.-)/(%d+)$"
    host = host and M.parse(host)
    if host then
      return nil, ("'%s': the prefix of an %s address is at most %d, not %s"):format(value,
        host.family == "inet" and "IPv4" or "IPv6", #host.bytes * 8, prefix)
    end
    return nil, require("nsbox.mistake").bad("an address with its prefix, as '10.0.3.1/24'", value)
  elseif not a.prefix then
    return nil, ("'%s' has no prefix: '%s/%d' is this address alone, '%s/%d' one in a network")
      :format(value, value, #a.bytes * 8, value, a.family == "inet" and 24 or 64)
  end
  return value
end

--- Checks an address that a device is to have, as a type for `nsbox.opts`. The kernel takes some
-- of IPv4 that are of no use, and one, 0.0.0.0, as if it had taken it.
-- @param value
-- @treturn ?string
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.check_own(value)
  local ok, wrong = M.check_addr(value)
  local a = ok and M.parse(value)
  if a and a.family == "inet" then
    local first, host = a.bytes:byte(), string.unpack(">I4", a.bytes)
    local mask = 0xffffffff >> a.prefix
    if host == 0 then
      return nil, ("'%s' is no address of a device"):format(value)
    elseif first & 0xf0 == 0xe0 then
      return nil, ("'%s' is a multicast address"):format(value)
    elseif a.prefix < 31 and host & mask == mask then
      return nil, ("'%s' is the broadcast address of its network, %s/%d"):format(value,
        M.text(M.network(a)), a.prefix)
    end
  end
  return ok, wrong
end

--- Checks an address without a prefix, as a type for `nsbox.opts`.
-- @param value
-- @treturn ?string
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.check_host(value)
  local a = M.parse(value)
  if not a then
    return nil, require("nsbox.mistake").bad("an address, as '10.0.3.1'", value)
  elseif a.prefix then
    return nil, ("'%s': an address without a prefix is wanted: '%s'"):format(value,
      M.text(a.bytes))
  end
  return value
end

return M

-- Lua values as bytes, as a forked child may send them
local decode, encode = fuzz.decode, fuzz.encode

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return rawequal(a, b) and math.type(a) == math.type(b) or a ~= a and b ~= b
  end
  for key, value in next, a do
    if type(key) ~= "table" and not same(value, b[key]) then
      return false
    end
  end
  return true
end

return function(bytes)
  local values = table.pack(decode(bytes))
  local n = values[1]
  assert(n == values.n - 1 or n == -1 and values.n == 1, "count")
  if n < 0 then
    return
  end
  -- what was understood can be said, and is understood the same
  local again = table.pack(decode(encode(table.unpack(values, 2, values.n))))
  assert(again.n == values.n, "lost")
  for i = 1, values.n do
    assert(same(values[i], again[i]), "changed")
  end
end

-- /etc/subuid and /etc/subgid, as somebody may have written them
local subid = require "nsbox.subid"
local is_error = require("nsbox.error").is

local LAST <const> = 0xffffffff

local function check(ranges, from, what)
  table.sort(ranges, function(a, b)
    return a[from] < b[from]
  end)
  local free = 0
  for _, range in ipairs(ranges) do
    local start, count = range[from], range[#range]
    assert(math.type(start) == "integer" and math.type(count) == "integer", what)
    assert(start >= free and count > 0 and start + count <= LAST, what)
    free = start + count
  end
end

return function(text)
  check(subid.parse(text, "me", 1000), 1, "parse")
  local who = { uid = 1000, euid = 1000, egid = 1000, name = "me", root = #text % 2 == 0,
    read = function()
      return text
    end }
  local ok, maps = pcall(subid.ranges, who, "run")
  if ok then
    check(maps.uid, 1, "inside")
    check(maps.uid, 2, "outside")
  elseif not is_error(maps) then
    error(maps, 0)
  end
  check(subid.root_range(who).uid, 2, "root")
end

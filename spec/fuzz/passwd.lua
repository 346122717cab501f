-- /etc/passwd and /etc/group of an image, which may be anything
local user = require "nsbox.user"
local is_error = require("nsbox.error").is

local LAST <const> = 0xfffffffe

local function is_id(n)
  return math.type(n) == "integer" and n >= 0 and n <= LAST
end

return function(text)
  -- the first line is who is asked for
  local spec, rest = text:match "^([^\n]*)\n?(.*)$"
  local wanted = user.parse(spec)
  if not wanted then
    return
  end
  local ok, found = pcall(user.resolve, wanted, function()
    return rest
  end, "run")
  if not ok then
    assert(is_error(found), found)
    return
  end
  assert(is_id(found.uid) and is_id(found.gid))
  for _, gid in ipairs(found.groups) do
    assert(is_id(gid))
  end
  -- it becomes a variable of the environment
  assert(found.home ~= "" and not found.home:find "%z", "home")
end

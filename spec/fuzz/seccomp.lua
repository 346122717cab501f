-- a profile as OCI runtimes have it, from its text to the filter
local seccomp = require "nsbox.seccomp"
local is_error = require("nsbox.error").is

local text

-- the file that the option names
local open = io.open
function io.open(path, mode) -- luacheck: ignore 122
  if path ~= "profile.json" then
    return open(path, mode)
  end
  return { close = function() end, read = function()
    return text
  end }
end

local CAPS <const> = { "chown", "sys_admin" }

return function(bytes)
  text = bytes
  local choice = assert(seccomp.check "profile.json")
  local ok, filter = pcall(seccomp.bytes, choice, CAPS, "run")
  if ok then
    assert(#filter > 0 and #filter % 8 == 0)
  elseif not is_error(filter) then
    error(filter, 0)
  end
end

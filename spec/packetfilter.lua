-- Runs a seccomp filter as the kernel does, on a call that nobody makes.
--
--     run(bytes, token, number, args)   "allow", "kill", the number of an errno …

local M = {}

-- struct seccomp_data, little endian as the machines are
local function data(token, number, args)
  local text = string.pack("<I4 I4 I8", number & 0xffffffff, token, 0)
  for i = 1, 6 do
    text = text .. string.pack("<i8", args and args[i] or 0)
  end
  return text
end

local ACTIONS = { [0x7fff] = "allow", [0x8000] = "kill_process", [0] = "kill_thread",
  [3] = "trap", [0x7ffc] = "log" }

function M.run(bytes, token, number, args)
  local call, a, at = data(token, number, args), 0, 0
  while true do
    local code, yes, no, k = string.unpack("<I2 B B I4", bytes, at * 8 + 1)
    at = at + 1
    if code == 0x20 then a = string.unpack("<I4", call, k + 1)
    elseif code == 0x54 then a = a & k
    elseif code == 0x05 then at = at + k
    elseif code == 0x15 then at = at + (a == k and yes or no)
    elseif code == 0x25 then at = at + (a > k and yes or no)
    elseif code == 0x35 then at = at + (a >= k and yes or no)
    elseif code == 0x45 then at = at + (a & k ~= 0 and yes or no)
    elseif code == 0x06 then
      local action = k >> 16
      return action == 5 and k & 0xffff or ACTIONS[action] or ("%#x"):format(k)
    else
      error(("no such instruction: %#x"):format(code))
    end
  end
end

return M

-- Boxes start in a root file system in which somebody swaps directories for
-- links that lead out of it, all the time.
--
--     race(rounds) → what came of them: code of the Error, or "ran" → how often;
--                    the names that turned up outside: none

local lfs = require "lfs"
local nsbox = require "nsbox"
local sys = require "nsbox.sys"
local roots = require "roots"

local SWAPPED <const> = { "d", "etc", "dev", "proc" }

-- until it is killed
local function swap(root)
  while true do
    for _, name in ipairs(SWAPPED) do
      local path = root .. "/" .. name
      os.rename(path, path .. ".real")
      os.rename(path .. ".link", path)
      os.rename(path, path .. ".link")
      os.rename(path .. ".real", path)
    end
  end
end

return function(rounds)
  local root, outside, shown = roots.make(), tmpdir(), tmpdir()
  for _, name in ipairs(SWAPPED) do
    assert(lfs.mkdir(root .. "/" .. name))
    assert(lfs.link(outside, root .. "/" .. name .. ".link", true))
  end
  local attacker, out = assert(sys.clone({ pdeathsig = "KILL" }, function() swap(root) end))
  local came = {}
  local ok, err = pcall(function()
    for i = 1, rounds do
      local ran, why = nsbox.try(nsbox.run, { "true", rootfs = root,
        bind = ("%s:/d/in%d/in"):format(shown, i % 50), tmpfs = ("/d/tmp%d"):format(i % 50) })
      local code = ran and "ran" or why.code
      came[code] = (came[code] or 0) + 1
    end
  end)
  attacker:kill "KILL"
  sys.fd.poll { [attacker:fileno()] = "r" }
  attacker:status()
  attacker:close()
  out:close()
  assert(ok, err)
  return came, entries(outside)
end

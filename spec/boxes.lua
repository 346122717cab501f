-- Ways of running a box that specs share.
--
--     output(o)         what it printed to stdout; the result
--     misuse(o, want)   the string that run(o) raises names this line and has
--                       `want` in it, and nothing was started
--     failure(o)        the Error that run(o) raises, and its text

local run = require "nsbox.run"
local E = require "nsbox.error"

local M = {}

function M.output(o)
  o.stdout = o.stdout or "capture"
  local _, result = run(o)
  return result.stdout, result
end

function M.misuse(o, want)
  local line
  local ok, message = pcall(function()
    line = debug.getinfo(1, "l").currentline + 1
    run(o)
  end)
  assert(not ok, "nothing was raised: " .. want)
  assert(type(message) == "string", "not a string: " .. tostring(message))
  local where, what = message:match "^[^\n]-([%w_]+%.lua:%d+): (.*)$"
  assert(where == "boxes.lua:" .. line, "another line is blamed: " .. message)
  assert(what:sub(1, 5) == "run: " and what:find(want, 6, true),
    ("wanted: %s\ngot: %s"):format(want, message))
end

function M.failure(o)
  local ok, err = pcall(run, o)
  assert(not ok, "nothing was raised")
  assert(E.is(err), "not an Error: " .. tostring(err))
  return err, tostring(err)
end

-- the namespaces of this process: kind → identity
function M.ours()
  local ids = {}
  for kind in ("user mnt pid net uts ipc cgroup time"):gmatch "%a+" do
    ids[kind] = require("lfs").symlinkattributes("/proc/self/ns/" .. kind, "target")
  end
  return ids
end

-- which kinds of them are others in a box with these options
function M.new_kinds(o)
  o[1], o[2], o[3] = "sh", "-c", "for k in user mnt pid net uts ipc cgroup time; do "
    .. "readlink /proc/self/ns/$k; done"
  local ours, kinds = M.ours(), {}
  for id in M.output(o):gmatch "%S+" do
    local kind = id:match "^%a+"
    if ours[kind] ~= id then kinds[#kinds + 1] = kind end
  end
  return table.concat(kinds, " ")
end

return M

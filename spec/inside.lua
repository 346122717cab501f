-- inside(options, f, ...) runs f in a child that sys.clone makes, waits for it
-- and returns what f returned; an error of f is raised here.  Without maps of
-- its own, a new user namespace makes the caller root in it.

local sys = require "nsbox.sys"

local function has(list, word)
  for _, w in ipairs(list) do
    if w == word then return true end
  end
  return false
end

return function(options, f, ...)
  if has(options, "user") and not options.maps then
    local ids = sys.process.ids()
    options.maps = {
      uid = { { 0, ids.euid, 1 } },
      gid = { { 0, ids.egid, 1 } },
      setgroups = "deny",
    }
  end
  local child, out = assert(sys.clone(options, f, ...))
  local bytes = {}
  for piece in function() return out:read() end do
    bytes[#bytes + 1] = piece
  end
  out:close()
  assert(sys.fd.poll { [child:fileno()] = "r" })
  child:status()
  child:close()
  local answer = table.pack(sys.process.results(table.concat(bytes)))
  if not answer[1] then error(answer[2], 0) end
  return table.unpack(answer, 2, answer.n)
end

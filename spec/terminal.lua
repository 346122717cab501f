-- A terminal, made by script(1).
--
--     terminal()        path, fd (open on it), close()

local sys = require "nsbox.sys"

local Terminal = {}
Terminal.__index = Terminal

function Terminal:close()
  self.fd:close()
  self.input:close()
  self.output:close()
  self.process:kill "KILL"
  sys.fd.poll { [self.process:fileno()] = "r" }
  self.process:status()
  self.process:close()
end
Terminal.__close = Terminal.close

return function()
  local input, ours = assert(sys.fd.pipe())
  local output, theirs = assert(sys.fd.pipe())
  local p = assert(sys.process.spawn { stdin = input, stdout = theirs, pdeathsig = "KILL",
    argv = { "script", "-qec", "tty; exec cat >/dev/null", "/dev/null" } })
  input:close()
  theirs:close()
  local path = ""
  repeat path = path .. assert(output:read()) until path:find "\n"
  path = path:match "/dev/%S+"
  return setmetatable({ path = path, process = p, input = ours, output = output,
    fd = assert(sys.fd.open(path, "rdwr")) }, Terminal)
end

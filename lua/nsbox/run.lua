--- `nsbox.run`: a program in a box of its own, from start to end.
--
-- @module nsbox.run

local opts = require "nsbox.opts"
local plan = require "nsbox.plan"
local stream = require "nsbox.stream"
local process = require "nsbox.process"
local program = require "nsbox.program"

local schema = opts.schema("run", plan.fields)

-- with a network, or names, there is more to undo than a process
local function connected(given, o)
  local first = o.net and o.net[1]
  local bridge = first and first[1]
  local scope <close> = require("nsbox.scope").new { _here = true,
    _island = bridge and bridge._part and bridge._part.scope._island }
  local box = scope:_make("box", given, 3)
  box:start()
  local result = box:wait()
  return result.status, result
end

--- Runs a program in new namespaces, and waits for its end.
--
-- Box, start, wait and close in one. `os.exit(nsbox.run { … })` ends the
-- script with the program's status: the second value makes os.exit close the
-- Lua state.
--
-- @function run
-- @tparam table|string o the program and its arguments as the array part;
--   @{options.md|options of PROGRAM and BOX} as named fields
-- @treturn integer status as in the shell: the code, 128 + signal
-- @treturn nsbox.Result
-- @raise a string for a mistake in the options; an `nsbox.Error` for a program
--   that could not be started, or, with `check`, that failed (code "EXIT")
-- @see clone(2), execve(2), user_namespaces(7)
local function run(o)
  local given = o
  o = schema:check(given, 2)
  local wrong = program.conflict(o, true)
  if wrong then
    require("nsbox.mistake").raise("run: " .. wrong, 2)
  end
  if o.net or o.dns then
    return connected(given, o)
  end
  local p, _, opened <close> = plan.build(o, "run", 2)
  local running <close> = process.start("run", p, stream.open(o, stream.INHERIT), o.timeout)
  opened:hand_over(running)
  local result = running:wait()
  if o.check and not result.ok then
    require("nsbox.result").fail("run", o[1], result)
  end
  return result.status, result
end

return run

-- Output handler of the cell runner: failures as they happen, one line at the
-- end, and the status of every spec in the file named by NSBOX_STATUS, which
-- spec/cells.lua adds up:
--
--     passed|failed|skipped TAB seconds TAB file TAB name TAB reason
--     end                                            (the run was complete)
--
-- A spec's line is written when the next one starts, because what after_each
-- finds (a leak, see spec/helper.lua) fails the spec before it.

local pretty = require "pl.pretty"

return function(options)
  local busted = require "busted"
  local handler = require "busted.outputHandlers.base"()
  local cell = os.getenv "NSBOX_CELL" or "here"
  local path = os.getenv "NSBOX_STATUS"
  local out = path and assert(io.open(path, "w"))
  local count = { passed = 0, failed = 0, skipped = 0 }
  local last, file, started = nil, "?", os.time()

  local function text(message)
    if type(message) == "table" and not (getmetatable(message) or {}).__tostring then
      return pretty.write(message)
    end
    return tostring(message)
  end

  local function flush()
    if not last then return end
    count[last.status] = count[last.status] + 1
    if out then
      local reason = (last.reason or ""):gsub("%s+", " ")
      out:write(("%s\t%.3f\t%s\t%s\t%s\n"):format(last.status, last.seconds, last.file,
        last.name, reason))
      out:flush()
    end
    last = nil
  end

  local function report(name, message, trace)
    local where = trace and trace.short_src
      and ("%s:%d: "):format(trace.short_src, trace.currentline) or ""
    io.write(("\nFAILED %s: %s%s\n  %s\n"):format(cell, where, name,
      (text(message):gsub("\n", "\n  "))))
    local traceback = trace and trace.traceback
    if options.verbose and traceback then
      io.write("  ", (traceback:gsub("\n", "\n  ")), "\n")
    end
    io.flush()
  end

  function handler.fileStart(element)
    file = element.name
    handler.successes = {} -- a line each is all that is wanted of them
    return nil, true
  end

  function handler.testStart()
    flush()
    return nil, true
  end

  function handler.testEnd(element, _, status)
    last = {
      status = status == "success" and "passed" or status == "pending" and "skipped" or "failed",
      seconds = element.duration or 0,
      name = handler.getFullName(element),
      file = file,
    }
    if status == "pending" then
      local kept = handler.pendings[#handler.pendings]
      last.reason = text(kept and kept.message or "pending"):gsub("^spec/helper%.lua:%d+: ", "")
    end
    return nil, true
  end

  -- a failure in the spec itself, in a hook around it, or while loading a file
  function handler.problem(element, _, message, trace)
    if text(message):find "interrupted!$" then os.exit(130) end -- Ctrl-C
    if element.descriptor == "it" then
      report(handler.getFullName(element), message, trace)
    elseif element.descriptor == "after_each" and last then
      report(last.name, message, trace)
      last.status, last.reason = "failed", text(message)
    else
      local name = (element.descriptor or "busted") .. " " .. (handler.getFullName(element) or "")
      report(name, message, trace)
      flush()
      last = { status = "failed", seconds = 0, file = file, name = name, reason = text(message) }
    end
    return nil, true
  end

  function handler.suiteEnd()
    flush()
    if out then
      out:write "end\n"
      out:close()
      out = nil
    end
    io.write(("%-10s %d passed, %d failed, %d skipped in %.1f s\n"):format(cell, count.passed,
      count.failed, count.skipped, handler.getDuration() or os.time() - started))
    io.flush()
    return nil, true
  end

  busted.subscribe({ "file", "start" }, handler.fileStart)
  busted.subscribe({ "test", "start" }, handler.testStart)
  busted.subscribe({ "test", "end" }, handler.testEnd)
  busted.subscribe({ "error" }, handler.problem)
  busted.subscribe({ "failure" }, handler.problem)
  busted.subscribe({ "suite", "end" }, handler.suiteEnd)

  return handler
end

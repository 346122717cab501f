local pipe = require "nsbox.pipe"
local fd = require "nsbox.sys.fd"
local blame = require "blame"
local misuse, failure = blame.misuse, blame.failure

local function ends()
  local r, w = assert(fd.pipe())
  r:nonblock(true)
  w:nonblock(true)
  return pipe.new(r), pipe.new(w)
end

describe("nsbox.pipe", function()
  it("says what is wrong at the caller's line", function()
    local r, w = ends()
    finally(function() r:close() w:close() end)
    misuse(function() r:read "x" end, "read: expected 'l', 'L', 'a' or a number of bytes")
    misuse(function() r:read(-1) end, "read: expected")
    misuse(function() r:read("l", 3) end, "read: ")
    misuse(function() r:read("l", { timeot = 3 }) end, "read: unknown option 'timeot'")
    misuse(function() r:lines "x" end, "lines: expected")
    misuse(function() w:write {} end, "write: expected a string, got a table")
    r:close()
    r:close()
    w:close()
    misuse(function() r:read() end, "read: the pipe is closed")
    misuse(function() r:lines() end, "lines: the pipe is closed")
    misuse(function() w:write "x" end, "write: the pipe is closed")
  end)

  it("reads as a Lua file does", function()
    local r, w = ends()
    finally(function() r:close() w:close() end)
    assert.equal(w, w:write "one\ntwo\nthree\n\nfour")
    assert.equal("one", r:read())
    assert.equal("two\n", r:read "L")
    assert.equal("th", r:read(2))
    assert.equal("", r:read(0))
    assert.equal("ree", r:read "*l")
    assert.equal("", r:read "l")
    local line, why = r:read("l", { timeout = 0 })
    assert.same({ nil, "timeout" }, { line, why })
    w:write(5)
    w:close()
    assert.equal("four5", r:read "a")
    assert.equal("", r:read "a")
    assert.is_nil(r:read())
    assert.is_nil(r:read(0)) -- as of a file
  end)

  it("iterates over lines, the last one without its end", function()
    local r, w = ends()
    finally(function() r:close() w:close() end)
    w:write "a\nb"
    w:close()
    local all = {}
    for line in r:lines() do all[#all + 1] = line end
    assert.same({ "a", "b" }, all)
  end)

  it("raises when nobody reads", function()
    local r, w = ends()
    finally(function() r:close() w:close() end)
    r:close()
    assert.equal("write", failure(function() w:write "x" end, "EPIPE").op)
  end)
end)

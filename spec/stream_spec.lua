local nsbox = require "nsbox"
local run = require "nsbox.run"
local sys = require "nsbox.sys"
local boxes = require "boxes"
local output = boxes.output

local MB <const> = 1 << 20

describe("a stream", function()
  needs("maps", "pidns", "procmount")

  it("is captured, the newline kept", function()
    local _, r = run { "sh", "-c", "echo out; printf err >&2", stdout = "capture",
      stderr = "capture" }
    assert.same({ "out\n", "err" }, { r.stdout, r.stderr })
    assert.is_nil(r.truncated)
    assert.is_nil((select(2, run { "true" })).stdout)
  end)

  it("is joined to stdout", function()
    assert.equal("one\ntwo\n", (output { "sh", "-c", "echo one; echo two >&2", stderr = "stdout" }))
    local chunks = {}
    run { "sh", "-c", "echo x >&2", stdout = function(c) chunks[#chunks + 1] = c end,
      stderr = "stdout" }
    assert.same({ "x\n" }, chunks)
  end)

  it("is null", function()
    assert.equal(0, (run { "sh", "-c", "read x && exit 1; echo lost; echo lost >&2",
      stdin = "null", stdout = "null", stderr = "null" }))
    assert.equal("/dev/null\n", (output { "readlink", "/proc/self/fd/0", stdin = "null" }))
  end)

  it("is the caller's", function()
    local file = tmpdir() .. "/inherit.lua"
    spew(file, 'require"nsbox".run { "sh", "-c", "read x; echo $x; echo $x >&2" }')
    assert.equal("hi\nhi\n", (lua(file, "hi\n")))
    spew(file, 'require"nsbox".run { "echo", "same", stdin = "inherit", stdout = "inherit", '
      .. 'stderr = "inherit" }')
    assert.equal("same\n", (lua(file)))
  end)

  it("is a file, in the order in which both sides write", function()
    local path = tmpdir() .. "/log"
    do
      local file <close> = assert(io.open(path, "w"))
      file:write "before\n"
      run { "echo", "inside", stdout = file, stderr = file }
      file:seek "end"
      file:write "after\n"
    end
    assert.equal("before\ninside\nafter\n", slurp(path))
    local file <close> = assert(io.open(path))
    assert.equal("before\ninside\nafter\n", (output { "cat", stdin = file }))
  end)

  it("is a descriptor, as a handle or a number", function()
    local r, w = assert(sys.fd.pipe())
    run { "echo", "one", stdout = w }
    run { "echo", "two", stdout = w:fileno() }
    w:close()
    local text = ""
    for piece in function() return r:read() end do text = text .. piece end
    r:close()
    assert.equal("one\ntwo\n", text)
  end)

  it("can be swapped with another", function()
    local r1, w1 = assert(sys.fd.pipe())
    local r2, w2 = assert(sys.fd.pipe())
    run { "sh", "-c", "echo out; echo err >&2", stdout = w2, stderr = w1 }
    w1:close()
    w2:close()
    assert.same({ "err\n", "out\n" }, { r1:read(), r2:read() })
    r1:close()
    r2:close()
  end)

  it("is a function that gets every chunk, and nil at the end", function()
    local got, ended = {}, 0
    local _, r = run { "sh", "-c", "echo one; echo two", stdout = function(chunk)
      if chunk then got[#got + 1] = chunk else ended = ended + 1 end
    end }
    assert.equal("one\ntwo\n", table.concat(got))
    assert.equal(1, ended)
    assert.is_nil(r.stdout)
  end)

  it("is a function that gives chunks until nil", function()
    local n = 0
    assert.equal("1 2 3 ", (output { "cat", stdin = function()
      n = n + 1
      return n <= 3 and n .. " " or nil
    end }))
  end)

  it("passes an error of its function on, and the box is gone", function()
    local r, w = assert(sys.fd.pipe())
    local ok, err = pcall(run, { "sh", "-c", "echo x; sleep 1000", stderr = w,
      stdout = function() error "of mine" end })
    w:close()
    assert.is_false(ok)
    assert.matches("stream_spec.lua:%d+: of mine$", err)
    assert.is_nil(r:read(1)) -- nobody holds the other end
    r:close()
    local mine = {}
    ok, err = pcall(run, { "sleep", "1000", stdin = function() error(mine) end })
    assert.same({ false, mine }, { ok, err })
    ok, err = pcall(run, { "sleep", "1000", stdin = function() return {} end })
    assert.same({ false, "stdin: the function returned a table, not a string or nil" }, { ok, err })
  end)

  it("has ended when its function raised at the end, and the others have theirs", function()
    -- what is left behind holds the pipe: the end of the program is what ends it
    local box <close> = nsbox.box { "sh", "-c", "sleep 60 & echo $! >&2; exit 3",
      namespaces = { pid = false }, stderr = "capture",
      stdout = function(chunk) if not chunk then error("spoilt", 0) end end }
    local ok, err = pcall(box.wait, box:start())
    local result = box:wait { timeout = 5 }
    assert.same({ false, "spoilt", "exited", 3 }, { ok, err, box.state, result and result.status })
    sh("kill " .. result.stderr)
  end)

  it("may have its box closed by its function", function()
    for _, case in ipairs { { "stdout", "echo; sleep 60" }, { "stdout", "exit 3", last = true },
      { "stdin", "read x; sleep 60" } } do
      local box
      box = nsbox.box { "sh", "-c", case[2], [case[1]] = function(chunk)
        if not case.last or not chunk then box:close() end
        return "x"
      end }
      local result = box:start():wait { timeout = 5 }
      assert.equal(case.last and "exit" or "signal", result.reason)
      assert.equal(result, box:wait())
    end
  end)

  it("may have the box closed in which its program is", function()
    for _, verb in ipairs { "exec", "call" } do
      local box = nsbox.box {}
      local function close(chunk) return chunk and box:close() end
      local ok, result = pcall(box[verb], box, verb == "exec"
        and { "sh", "-c", "echo; sleep 60", stdout = close }
        or { function() print() io.stdout:flush() sys.fd.poll({}, 60) end, stdout = close })
      result = ok and result or result.result
      assert.equal("KILL", result.signal)
    end
  end)

  it("feeds an input, also an empty and a large one", function()
    assert.equal("abc", (output { "cat", input = "abc" }))
    assert.equal("", (output { "cat", input = "" }))
    assert.equal("a\0b\255", (output { "cat", input = "a\0b\255" }))
    local text = ("0123456789abcdef"):rep(MB // 16)
    assert.equal(text, (output { "cat", input = text }))
  end)

  it("survives a program that does not want its input", function()
    local text = ("x"):rep(MB)
    assert.equal(0, (run { "true", input = text }))
    assert.equal(0, (run { "sh", "-c", "exec <&-; exit 0", input = text }))
    assert.equal("xxxx", (output { "head", "-c", "4", input = text }))
    assert.equal("after\n", (output { "sh", "-c", "head -c 9 >/dev/null; exec <&-; echo after",
      input = text }))
  end)

  it("may be closed by the program long before its end", function()
    local r, w = assert(sys.fd.pipe())
    local ended = false
    local _, result = run { "sh", "-c", "echo x; exec >&-; read y; exit 4", stdin = r,
      stderr = "capture", stdout = function(chunk)
        if not chunk then
          ended = true
          w:write "go\n" -- it waits for the end of its own output
        end
      end }
    w:close()
    r:close()
    assert.is_true(ended)
    assert.equal(4, result.status)
  end)

  it("keeps no more than limit says, and says so", function()
    local out, r = output { "sh", "-c", "yes | head -c 300000; echo done >&2", limit = "64K",
      stderr = "capture" }
    assert.equal(65536, #out)
    assert.is_true(r.truncated)
    assert.equal("done\n", r.stderr)
    out, r = output { "printf", "12345", limit = 5 }
    assert.same({ "12345", nil }, { out, r.truncated })
    out, r = output { "printf", "12345", limit = 4 }
    assert.same({ "1234", true }, { out, r.truncated })
  end)

  it("keeps 16 MB when nothing is said", function()
    local out, r = output { "head", "-c", "17000000", "/dev/zero" }
    assert.equal(16 * MB, #out)
    assert.is_true(r.truncated)
  end)
end)

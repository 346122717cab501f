local E = require "nsbox.error"
local errno = require "nsbox.sys.errno"

-- the line of this file that called f
local function line_of(f)
  local ok, err = pcall(f)
  assert.is_false(ok)
  return err
end

describe("nsbox.error", function()
  it("prints one line, and the hint indented below", function()
    local e = E.new { op = "link.add", subject = "br0", errno = errno.EEXIST,
                      detail = "File exists", hint = "take another name" }
    assert.equal("link.add br0: File exists (EEXIST)\n  hint: take another name", tostring(e))
  end)

  it("prints no commands for a terminal that are in a name", function()
    local err = E.new { op = "open", subject = "a\27[31mb\n\127", netns = "netns \27c",
      code = "ENOENT", detail = "first\nsecond\27]0;x\7 ünï\xc2\x9b1m",
      hint = "there are: \27[2J\n  and more" }
    assert.equal("open a\\27[31mb\\10\\127 (in netns \\27c): first; second\\27]0;x\\7 ünï?1m "
      .. "(ENOENT)\n  hint: there are: \\27[2J\n  and more", tostring(err))
    assert.equal("a\27[31mb\n\127", err.subject)
  end)

  it("prints one line only when there is no hint", function()
    local e = E.new { op = "run", detail = "strange", hint = false }
    assert.equal("run: strange", tostring(e))
  end)

  it("names the step and the network namespace", function()
    local e = E.new { op = "run", step = "mount", subject = "/proc", netns = "blue",
                      errno = errno.EPERM, detail = "Operation not permitted", hint = false }
    assert.equal("run: mount /proc (in blue): Operation not permitted (EPERM)", tostring(e))
  end)

  it("folds a helper's lines into one", function()
    local e = E.new { op = "run", detail = "newuidmap: no\nUsage: newuidmap\n", hint = false }
    assert.equal("run: newuidmap: no; Usage: newuidmap", tostring(e))
  end)

  it("chains its causes, with the first hint of the chain", function()
    local low = E.new { op = "mount", subject = "/proc", code = "EPERM", hint = "look there" }
    local e = E.new { op = "box.start", subject = "web", cause = low }
    assert.equal("box.start web: mount /proc: EPERM\n  hint: look there", tostring(e))
    e = E.new { op = "call", detail = "in the child", cause = "boom" }
    assert.equal("call: in the child: boom", tostring(e))
  end)

  it("lists failures of the undo", function()
    local e = E.new { op = "box", code = "ENOENT", hint = false, undo = {
      E.new { op = "link.delete", subject = "br0", code = "EBUSY", hint = false }, "odd" } }
    assert.equal("box: ENOENT\n  undo: link.delete br0: EBUSY\n  undo: odd", tostring(e))
  end)

  it("concatenates on either side", function()
    local e = E.new { op = "run", detail = "no", hint = false }
    assert.equal("box: run: no", "box: " .. e)
    assert.equal("run: no!", e .. "!")
    assert.equal("run: norun: no", e .. e)
  end)

  it("fills code from errno and errno from code", function()
    assert.equal("ENOENT", E.new({ op = "x", errno = errno.ENOENT, hint = false }).code)
    assert.equal(errno.ENOENT, E.new({ op = "x", code = "ENOENT", hint = false }).errno)
    assert.is_nil(E.new({ op = "x", code = "EXIT", hint = false }).errno)
  end)

  it("tells its own from others", function()
    assert.is_true(E.is(E.new { op = "x" }))
    assert.is_false(E.is { op = "x" })
    assert.is_false(E.is "x")
    assert.is_false(E.is(nil))
  end)

  describe("check", function()
    it("passes values on, a lone nil and false included", function()
      assert.same({ 1, nil, 3, n = 3 }, table.pack(E.check("op", "s", 1, nil, 3)))
      assert.same({ n = 1 }, table.pack(E.check("op", "s", nil)))
      assert.same({ false, n = 1 }, table.pack(E.check("op", "s", false)))
      assert.same({ n = 0 }, table.pack(E.check("op", "s")))
    end)

    it("raises a failure, the subject said once", function()
      local e = line_of(function()
        E.check("ns.open", "/nowhere", io.open("/nowhere"))
      end)
      assert.is_true(E.is(e))
      assert.equal("ns.open /nowhere: No such file or directory (ENOENT)",
        tostring(e):match("^[^\n]*"))
      assert.equal("No such file or directory", e.detail)
      assert.equal(errno.ENOENT, e.errno)
    end)

    it("appends the detail", function()
      local e = line_of(function()
        E.check("link.add", "br0", nil, "br0: Invalid argument", errno.EINVAL, "mtu too small")
      end)
      assert.equal("Invalid argument: mtu too small", e.detail)
    end)
  end)

  it("spawn_failed names step and object", function()
    local e = line_of(function()
      E.spawn_failed("run", { argv = { "/bin/foo" } }, "exec /bin/foo: No such file or directory",
        errno.ENOENT, "exec", "/bin/foo")
    end)
    assert.equal("run: exec /bin/foo: No such file or directory (ENOENT)",
      tostring(e):match("^[^\n]*"))
    assert.equal("exec", e.step)
    assert.is_string(e.hint)
  end)

  describe("try", function()
    it("returns f's values", function()
      assert.same({ 1, nil, n = 2 }, table.pack(E.try(function(...) return ... end, 1, nil)))
    end)

    it("returns nil and the Error", function()
      local v, e = E.try(E.raise, { op = "x", code = "ENOENT" })
      assert.is_nil(v)
      assert.equal("ENOENT", e.code)
    end)

    it("lets strings and other values pass, unchanged", function()
      local e = line_of(function()
        E.try(function() error("misuse") end)
      end)
      assert.matches("^[^\n]*error_spec.lua:%d+: misuse$", e)
      local t = {}
      assert.equal(t, line_of(function() E.try(error, t) end))
    end)
  end)
end)

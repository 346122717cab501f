local result = require "nsbox.result"

describe("a result", function()
  it("of an exit", function()
    local r = result.new("exit", 0, 0.01234)
    assert.same({ true, 0, 0, nil, "exit", 0.01234 },
      { r.ok, r.status, r.code, r.signal, r.reason, r.seconds })
    assert.equal("exit 0 in 0.012 s", tostring(r))
    r = result.new("exit", 3, 1)
    assert.same({ false, 3, 3 }, { r.ok, r.status, r.code })
    assert.equal("exit 3 in 1.000 s", tostring(r))
  end)

  it("of a signal", function()
    local r = result.new("signal", "TERM", 2)
    assert.same({ ok = false, status = 143, signal = "TERM", reason = "signal", seconds = 2 },
      setmetatable(r, nil))
    assert.equal("killed by SEGV in 0.500 s", tostring(result.new("signal", "SEGV", 0.5)))
    assert.equal(165, result.new("signal", "RTMIN+3", 0).status)
  end)

  it("of a time-out", function()
    local r = result.new("signal", "KILL", 5.01, 5)
    assert.same({ false, 124, "KILL", "timeout" }, { r.ok, r.status, r.signal, r.reason })
    assert.equal("killed by KILL: timeout after 5 s", tostring(r))
  end)

  it("that nobody knows", function()
    local r = result.new(nil, nil, 1)
    assert.same({ false, 255, "unknown" }, { r.ok, r.status, r.reason })
    assert.equal("ended in 1.000 s, nobody knows how", tostring(r))
  end)

  it("prints its captured text below", function()
    local r = result.new("exit", 0, 0)
    r.stdout, r.stderr = "one\ntwo\n", "bad\n"
    assert.equal("exit 0 in 0.000 s\none\ntwo\nbad", tostring(r))
    r.stdout, r.stderr = "", nil
    assert.equal("exit 0 in 0.000 s", tostring(r))
  end)

  it("has a summary that stays short", function()
    local r = result.new("exit", 2, 0)
    assert.equal("exit 2 in 0.000 s", result.summary(r))
    r.stdout, r.stderr = ("x"):rep(1000), "no such thing\n"
    assert.equal("exit 2 in 0.000 s: no such thing", result.summary(r))
    r.stderr = ("ä"):rep(1000) .. "!"
    assert.is_true(#result.summary(r) < 500)
    assert.is_truthy(utf8.len(result.summary(r)))
    assert.matches("!$", result.summary(r))
  end)

  it("closes, for a local with <close>", function()
    local r <close> = result.new("exit", 0, 0)
    assert.is_true(r.ok)
  end)
end)

local units = require "nsbox.units"

-- given → value, or false for a mistake
local function cases(parser, list)
  for _, case in ipairs(list) do
    local value, message = units[parser](case[1], case[3] or {})
    if case[2] == false then
      assert.is_nil(value, ("%s(%s)"):format(parser, tostring(case[1])))
      assert.is_string(message)
    else
      assert.equal(case[2], value, ("%s(%s): %s"):format(parser, tostring(case[1]), message))
    end
  end
end

describe("nsbox.units", function()
  it("rejects what makes no sense, with an example", function()
    local _, message = units.duration("5", {})
    assert.equal("expected a time such as 5 (seconds), '500ms' or '1h', got '5'", message)
    _, message = units.mode(755)
    assert.equal("expected a mode as a string, such as '0755', got a number", message)
    _, message = units.signal("TREM")
    assert.equal("expected a signal such as 'TERM', got 'TREM' (did you mean 'TERM'?)", message)
  end)

  it("reads durations in seconds", function()
    cases("duration", { { 5, 5 }, { 0, 0 }, { 0.25, 0.25 }, { "500ms", 0.5 }, { "1.5s", 1.5 },
      { "2m", 120 }, { "2min", 120 }, { "1h", 3600 }, { "1d", 86400 }, { "1us", 1e-6 },
      { "5", false }, { "", false }, { "ms", false }, { "-1s", false }, { "1 s", false },
      { -1, false }, { 0 / 0, false }, { math.huge, false }, { true, false }, { "1w", false } })
  end)

  it("reads sizes in bytes, 1024 to the K", function()
    cases("size", { { 4096, 4096 }, { 0, 0 }, { "64K", 65536 }, { "64k", 65536 },
      { "64KiB", 65536 }, { "256M", 256 << 20 }, { "1G", 1 << 30 }, { "2T", 2 << 40 },
      { "512b", 512 }, { "1.5G", 3 << 29 }, { 2 ^ 20, 1 << 20 },
      { 1.5, false }, { "64", false }, { "64Q", false }, { -1, false }, { {}, false },
      { "99999999T", false }, { 2 ^ 63, false } })
  end)

  it("reads rates in bit/s, 1000 to the k", function()
    cases("rate", { { 1000, 1000 }, { "10mbit", 10000000 }, { "1gbit", 1000000000 },
      { "1Mbit", 1000000 }, { "100kbps", 800000 }, { "500bit", 500 }, { "10", false },
      { "10mb", false } })
  end)

  it("reads percentages from strings only", function()
    cases("percent", { { "1%", 1 }, { "0.5%", 0.5 }, { "100%", 100 }, { "101%", false },
      { 1, false }, { "1", false }, { "-1%", false } })
  end)

  it("reads modes from strings only", function()
    cases("mode", { { "0755", 493 }, { "644", 420 }, { "1777", 1023 }, { 755, false },
      { "0788", false }, { "17777", false }, { "", false } })
  end)

  it("knows signals as words", function()
    cases("signal", { { "TERM", "TERM" }, { "SIGTERM", "TERM" }, { "RTMIN+1", "RTMIN+1" },
      { "SIGRTMAX-30", "RTMAX-30" }, { "RTMIN", "RTMIN" }, { "RTMIN+31", false },
      { 15, false }, { "term", false }, { "SIG", false }, { "NOPE", false } })
  end)

  it("keeps ids unsigned 32 bit", function()
    cases("id", { { 0, 0 }, { 4294967294, 4294967294 }, { 2147483648, 2147483648 },
      { 4294967295, false }, { -1, false }, { 1.5, false }, { "1", false } })
  end)

  it("keeps interface names as short as the kernel does", function()
    cases("ifname", { { "eth0", "eth0" }, { ("x"):rep(15), ("x"):rep(15) },
      { ("x"):rep(16), false }, { "", false }, { ".", false }, { "..", false }, { "a/b", false },
      { "a b", false }, { "a:b", false }, { 1, false } })
  end)

  it("honours min and max of a field", function()
    cases("duration", { { "1s", false, { min = 2 } }, { "3s", 3, { min = 2, max = 4 } },
      { 5, false, { max = 4 } } })
  end)
end)

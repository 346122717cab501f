local opts = require "nsbox.opts"

local bind = opts.schema("bind", { { "path" }, to = "path", ro = "boolean" })
local schema = opts.schema("run", {
  { "arg", doc = "the program and its arguments" },
  hostname = { "string", max = 64 },
  memory = { "size", none = true },
  timeout = "duration",
  bare = "boolean",
  caps = { "string", list = true },
  bind = { bind, list = true },
  stdin = { "string", one_of = { "inherit", "null" } },
  count = { "integer", min = 1, max = 5 },
  ratio = "number",
  limit = { "size", default = 16 },
  even = { function(value)
    if value % 2 == 0 then return value // 2 end
    return nil, "expected an even number"
  end },
  env = "table", hook = "function", cwd = "path", anything = "any",
})

local function run(o)
  local checked = schema:check(o, 2) -- a tail call would hide the caller
  return checked
end

local function mistake(o)
  local ok, message = pcall(run, o)
  assert.is_false(ok)
  assert.is_string(message)
  return (message:gsub("^[^:]+:%d+: ", ""))
end

describe("nsbox.opts", function()
  it("takes one thing where there is one", function()
    local one = opts.schema("bridge", { { "any", alone = true }, mtu = "integer" })
    assert.same({ "br0" }, one:check "br0")
    assert.same({ false, "bridge: argument 2: there is one thing only, got 'br1' as well" },
      { pcall(function() one:check({ "br0", "br1" }, 100) end) })
    assert.same({ false, "bridge: argument 2: there is one thing only, got a number as well" },
      { pcall(function() one:check({ "br0", 2 }, 100) end) })
  end)

  it("blames the caller's line", function()
    local here = debug.getinfo(1, "l").currentline + 1
    local ok, message = pcall(function() run { hostnme = "x" } end)
    assert.is_false(ok)
    assert.matches("opts_spec.lua:" .. here .. ": run: unknown option 'hostnme'", message)
  end)

  local mistakes = {
    { "suggests the nearest option", { hostnme = "x" },
      "run: unknown option 'hostnme' (did you mean 'hostname'?)" },
    { "suggests nothing that is far", { zzz = 1 }, "run: unknown option 'zzz'" },
    { "rejects a wrong type", { hostname = 1 }, "run: hostname: expected a string, got a number" },
    { "names the mistake in a list", { caps = { "a", 1 } },
      "run: caps[2]: expected a string, got a number" },
    { "rejects keys in a list", { caps = { a = 1 } },
      "run: caps: expected a list, got a table with the key 'a'" },
    { "rejects NUL bytes", { "a\0b" }, "run: argument 1: 'a\\0b' contains a NUL byte" },
    { "rejects an over-long name", { hostname = ("x"):rep(65) },
      "run: hostname: '" .. ("x"):rep(37) .. "...' is too long (65 bytes, at most 64)" },
    { "rejects a hole in the array part", { "a", nil, "c" },
      "run: argument 2 is missing (it is nil)" },
    { "rejects a number key beyond the array part", { "a", [7] = "b" },
      "run: argument 2 is missing (it is nil)" },
    { "rejects a fraction as a key", { [1.5] = "a" },
      "run: an option has a name, got a number as its key" },
    { "rejects false where there is no none", { hostname = false },
      "run: hostname: expected a string, got false" },
    { "lists the words", { stdin = "nul" },
      "run: stdin: expected one of 'inherit', 'null', got 'nul' (did you mean 'null'?)" },
    { "keeps numbers in their range", { count = 6 },
      "run: count: expected between 1 and 5, got 6" },
    { "rejects what is no number", { ratio = 0 / 0 },
      "run: ratio: expected a number, got " .. 0 / 0 },
    { "wants whole numbers", { count = 1.5 }, "run: count: expected an integer, got 1.5" },
    { "rejects an empty path", { cwd = "" }, "run: cwd: expected a path, got an empty string" },
    { "reaches into nested tables", { bind = { { "/a", too = "/b" } } },
      "run: bind[1]: unknown option 'too' (did you mean 'to'?)" },
    { "uses a type of one's own", { even = 3 }, "run: even: expected an even number" },
    { "rejects a wrong function", { hook = 1 }, "run: hook: expected a function, got a number" },
    { "rejects what is no table", 5, "run: expected a table of options, got a number" },
    { "rejects nothing", nil, "run: expected a table of options, got nothing" },
  }
  for _, case in ipairs(mistakes) do
    it(case[1], function()
      assert.equal(case[3], mistake(case[2]))
    end)
  end

  it("takes no array part where none is declared", function()
    local s = opts.schema("x", { a = "boolean" })
    local _, message = s:parse { "y" }
    assert.equal("argument 1: takes none", message)
  end)

  it("returns a new table, and leaves the given one alone", function()
    local given = { "sh", "-c", hostname = "x", memory = "64K", timeout = "500ms" }
    local o = run(given)
    assert.same({ "sh", "-c", hostname = "x", memory = 65536, timeout = 0.5, limit = 16 }, o)
    assert.equal("64K", given.memory)
    assert.is_nil(given.limit)
  end)

  it("takes a string for a table with just that", function()
    assert.same({ "true", limit = 16 }, run "true")
  end)

  it("takes numbers as arguments of programs", function()
    assert.same({ "sleep", "5" }, { table.unpack(run { "sleep", 5 }) })
  end)

  it("allows false for none, and keeps a false boolean", function()
    local o = run { memory = false, bare = false }
    assert.is_false(o.memory)
    assert.is_false(o.bare)
  end)

  it("makes a list of one or a list", function()
    assert.same({ "a" }, run({ caps = "a" }).caps)
    assert.same({ "a", "b" }, run({ caps = { "a", "b" } }).caps)
    assert.same({}, run({ caps = {} }).caps)
    assert.same({ { "/a" } }, run({ bind = "/a" }).bind)
    assert.same({ { "/a", to = "/b" } }, run({ bind = { "/a", to = "/b" } }).bind)
    assert.same({ { "/a" }, { "/b", ro = true } },
      run({ bind = { "/a", { "/b", ro = true } } }).bind)
  end)

  it("converts by a type of one's own", function()
    assert.equal(2, run({ even = 4 }).even)
  end)

  it("compiles a field when it is first used", function()
    local s = opts.schema("x", { bad = "no such type", good = "boolean" })
    assert.same({ good = true }, s:parse { good = true })
    assert.error_matches(function() s:parse { bad = 1 } end, "no such option type")
  end)
end)

local types = require "nsbox.types"

local function check(field, value)
  return types.compile(field)(value, field)
end

-- what is refused, and how it is worded, is in opts_spec.lua
describe("nsbox.types", function()
  it("rejects a type that does not exist", function()
    assert.error_matches(function() types.compile { "no such type" } end, "no such option type")
  end)

  it("knows numbers", function()
    assert.equal(1.5, check({ "number" }, 1.5))
    assert.is_nil((check({ "number" }, 0 / 0)))
    assert.is_nil((check({ "number", min = 0 }, -1)))
    assert.equal("integer", math.type(check({ "integer" }, 2.0)))
    assert.is_nil((check({ "integer" }, 2 ^ 63)))
    assert.is_nil((check({ "integer" }, "2")))
  end)

  it("knows tables, functions and anything", function()
    assert.equal(print, check({ "function" }, print))
    assert.equal(math, check({ "table" }, math))
    assert.equal(5, check({ "any" }, 5))
  end)

  it("finds the types with units", function()
    assert.equal(65536, check({ "size" }, "64K"))
  end)

  it("makes lists, also of types with settings", function()
    assert.same({ 1 }, check({ "integer", list = true, max = 2 }, 1))
    local value, message = check({ "integer", list = true, max = 2 }, { 1, 3 })
    assert.is_nil(value)
    assert.equal("[2] expected at most 2, got 3", message)
    value, message = check({ "any", list = true }, { 1, nil, 3 })
    assert.is_nil(value)
    assert.matches("hole", message)
  end)

  it("takes an object for one element", function()
    local object = setmetatable({}, {})
    assert.equal(object, check({ "table", list = true }, object)[1])
  end)

  it("takes one of some words, in lists, too", function()
    local field = { "any", one_of = { "a", "b" }, list = true }
    assert.same({ "b" }, check(field, "b"))
    assert.is_nil((check(field, { "a", "c" })))
  end)
end)

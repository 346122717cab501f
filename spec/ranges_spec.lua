local ranges = require "nsbox.ranges"

-- what is refused, and how it is worded, is in idmap_spec.lua
describe("nsbox.ranges", function()
  it("copies one list for uids and gids", function()
    local given = { { 0, 1000, 1 }, { 1, 5000, 10 } }
    local maps = ranges.parse(given)
    assert.same({ uid = given, gid = given }, maps)
    assert.are_not.equal(given, maps.uid)
    assert.are_not.equal(given[1], maps.uid[1])
  end)

  it("copies two lists", function()
    local given = { uid = { { 0, 1, 1 } }, gid = { { 0, 2, 1 } } }
    assert.same(given, ranges.parse(given))
  end)

  it("keeps the order, also where it is not sorted", function()
    local given = { { 100, 5, 1 }, { 0, 6, 1 } }
    assert.same(given, ranges.parse(given).uid)
  end)

  it("turns whole floats into integers", function()
    assert.equal("integer", math.type(ranges.parse { { 0.0, 1e3, 1 } }.uid[1][2]))
  end)

  it("lets ranges touch", function()
    assert.is_table(ranges.parse { { 0, 10, 5 }, { 5, 15, 5 } })
  end)

  it("refuses a map whose text fills a page", function()
    local list = {} -- lines of 24 bytes, as the kernel gets them
    for i = 1, 170 do list[i] = { 1000000000 + i, 2000000000 + i, 1 } end
    assert.is_table(ranges.parse(list)) -- 4080
    list[171] = { 1, 100000, 1000 } -- 14 more, 4094
    assert.is_table(ranges.parse(list))
    list[171] = { 1, 1000000, 1000 } -- 4095
    assert.is_table(ranges.parse(list))
    list[171] = { 1, 10000000, 1000 } -- 4096
    local maps, message = ranges.parse(list)
    assert.is_nil(maps)
    assert.matches("less than 4096 bytes of text, these 171 ranges have 4096", message)
    maps, message = ranges.parse { uid = { { 0, 1, 1 } }, gid = list }
    assert.is_nil(maps)
    assert.matches("^gid: a map has less", message)
  end)

  it("takes the last id, not the one after it", function()
    assert.is_table(ranges.parse { { 4294967294, 4294967294, 1 } })
    assert.is_nil((ranges.parse { { 4294967295, 0, 1 } }))
  end)
end)

local record = require "nsbox.record"

local HEAD <const> = "nsbox\t1\tboot=x\n"

describe("a journal's line", function()
  it("brings back what it was given", function()
    local fields = { kind = "file", path = "/a\tb\nc%41", name = "007", part = 3, empty = true,
      dev = "true", where = "-12", text = "", spec = "1.5" }
    local step = record.read(HEAD .. record.line("do", 1, fields)).steps[1]
    step.n, step._run = nil, nil
    assert.same(fields, step)
  end)

  it("leaves out what is nobody else's", function()
    assert.equal("do\t1\n", record.line("do", 1, { _journaled = true, n = 7, object = {} }))
  end)
end)

describe("a journal", function()
  it("has damaged lines where a field is of the wrong type, or not to be written", function()
    for _, line in ipairs { "do\t1\tkind=x\tpart=y", "do\t1\tkind=5", "do\t1\tkind=false",
      "do\t1\tkind=x\tpart=true", "commit\t0\tdrop=5",
      "do\t1\tkind=x\tover=true", "do\t1\tkind=x\t_run=1" } do
      local state = record.read(HEAD .. line .. "\ndo\t2\tkind=y\n")
      assert.equal(1, state.damaged, line)
      assert.equal(2, state.steps[1].n)
      assert.is_nil(state.steps[2])
    end
    -- what was done keeps its number, and its part
    local state = record.read(HEAD .. "do\t1\tkind=x\n"
      .. "did\t1\tn=9\ndid\t1\tpart=x\ndid\t1\tkind=false\nundone\t1\n")
    assert.equal(3, state.damaged)
    assert.equal(1, state.steps[1].n)
    assert.is_nil(state.steps[1].part)
    assert.is_true(state.steps[1].over)
  end)
end)

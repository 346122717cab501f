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

-- the lines of a journal, as a crash or another version may have left them
local record = require "nsbox.record"

return function(text)
  -- as a whole, and in two parts, as somebody reads who looks again
  for _, head in ipairs { "", "nsbox\t1\tname=x\n" } do
    local whole = record.read(head .. text)
    assert(math.type(whole.damaged) == "integer")
    local cut = (head .. text:sub(1, #text // 2)):match "^.*\n" or ""
    if #cut > 0 then
      record.read((head .. text):sub(#cut + 1), record.read(cut))
    end
    for _, step in ipairs(whole.steps) do
      assert(whole.by_n[step.n] == step and math.type(step.n) == "integer")
      assert(step.n <= whole.last)
      -- what was read can be written, and means the same
      local again = record.read("nsbox\t1\n" .. record.line("do", step.n, step)).steps[1]
      for name, value in pairs(again) do
        assert(name == "n" or name == "_run" or step[name] == value, name)
      end
    end
  end
end

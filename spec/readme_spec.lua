-- The Lua blocks of the README compile, and those that say so run.
--
-- A block runs when its first line is `-- runs`, or the line before it
-- `<!-- runs -->`; `runs, needs PROBE` skips where the probe says no.  What it
-- prints is compared with its comments `--> output`; "…" stands for anything,
-- and a remark in parentheses after two spaces is not part of the output.

local function blocks()
  local list, block, previous, number = {}, nil, "", 0
  for line in (slurp "README.md" .. "\n"):gmatch "([^\n]*)\n" do
    number = number + 1
    if block and line:find "^```" then
      list[#list + 1] = block
      block = nil
    elseif block then
      block[#block + 1] = line
    elseif line:find "^```lua" then
      block = { line = number, marker = previous:match "^<!%-%-%s*(.-)%s*%-%->$" }
    end
    if line ~= "" then previous = line end
  end
  return list
end

describe("README.md", function()
  for _, block in ipairs(blocks()) do
    local text = table.concat(block, "\n") .. "\n"
    local marker = (block.marker or ""):find "^runs" and block.marker
      or text:match "^%-%-%s*(runs[^\n]*)"

    it(("compiles the block in line %d"):format(block.line), function()
      assert(load(text, "=README.md:" .. block.line))
    end)

    if marker then
      it(("runs the block in line %d"):format(block.line), function()
        local probe = marker:match "needs%s+(.+)"
        if probe then
          for name in probe:gmatch "[^%s,]+" do needs(name) end
        end
        local want = {}
        for line in text:gmatch "%-%->%s?([^\n]*)" do
          want[#want + 1] = line:gsub("%s%s+%b()$", "") .. "\n"
        end
        -- the directory of names is shared, as ip netns leaves it
        finally(function() sh "umount /run/netns && rmdir /run/netns" end)
        local file = tmpdir() .. "/block.lua"
        spew(file, text)
        local got, status = lua(file)
        want = table.concat(want)
        if not matches(want, got) then assert.equal(want, got) end
        assert.equal(0, status)
      end)
    end
  end
end)

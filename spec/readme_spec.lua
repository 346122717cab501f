-- The Lua blocks of the README compile, and those that say so run.
--
-- A block runs when its first line is `-- runs`, or the line before it
-- `<!-- runs -->`; `runs, needs PROBE` skips where the probe says no.  What it
-- prints is compared with its comments `--> output`; "…" stands for anything,
-- and a remark in parentheses after two spaces is not part of the output.

-- The specs that the tables name exist, and each row has a defence that `make mutate` takes
-- away, or says that it cannot.

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

  local rows = {}
  for cells in (slurp "README.md"):gmatch "\n| ([^\n]*%`%l+_spec`: [^\n]*) |%f[\n]" do
    local row, file = { text = cells }, nil
    for part in (cells:match "[^|]*$" .. "; "):gmatch "%s*(.-); " do
      local other, name = part:match "^`(%l+_spec)`: (.*)$"
      file = other or file
      row[#row + 1] = { file, name or part }
    end
    rows[#rows + 1] = row
  end

  it("names specs that exist", function()
    local names = {}
    for _, row in ipairs(rows) do
      for _, it in ipairs(row) do
        local file = it[1]
        if not names[file] then
          names[file] = {}
          for name in assert(slurp("spec/" .. file .. ".lua")):gmatch 'it%("([^\n]-)", function' do
            names[file][name:gsub(" #%l+", "")] = true
          end
        end
        assert.is_true(names[file][it[2]], file .. ": " .. it[2])
      end
    end
    assert.is_true(#rows >= 30)
  end)

  it("says of each what was seen to fail without it", function()
    local taken = {}
    for _, m in ipairs(dofile "spec/mutations.lua") do taken[m[4] .. m[5]] = true end
    for _, row in ipairs(rows) do
      local seen = row.text:find("*not forced*", 1, true) ~= nil
      for _, it in ipairs(row) do seen = seen or taken[it[1] .. it[2]] end
      assert.is_true(seen, row.text)
    end
  end)

  -- else `make mutate` is of no use when somebody wants it
  it("knows where each defence is", function()
    local text = setmetatable({}, { __index = function(t, path)
      t[path] = assert(slurp(path))
      return t[path]
    end })
    for _, m in ipairs(dofile "spec/mutations.lua") do
      for i = 2, #m do
        if i == 2 or i >= 7 and i % 2 == 1 then
          local first, last = text[m[1]]:find(m[i], 1, true)
          local where = ("%s: %s"):format(m[1], m[i])
          assert.is_truthy(first, where)
          assert.is_nil(text[m[1]]:find(m[i], last + 1, true), where)
        end
      end
    end
  end)
end)
